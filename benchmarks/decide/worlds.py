"""The data of the studies: slices of world 2, and the same without a species of attack."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from swapbench.data.dataset import SPLITS
from swapbench.data.manifests import manifest_path
from swapbench.files import write_atomically
from swapbench.simulate.dataset import Recipe, simulate

ROOT = Path(__file__).parents[2]
BUILD = Path("build") / "world"
_SLICE = {"train_identities": 240, "dev_identities": 60, "test_identities": 100}


@dataclass(frozen=True)
class Data:
    """Simulated data of a study.

    Attributes:
        recipe: what to make.
        without: a species that is left out of train and dev, and which alone is left among the attacks of
            the test split; "" for none.
    """

    recipe: Recipe
    without: str = ""

    @property
    def folder(self) -> Path:
        """Where it is, relative to the repository."""
        name = f"simulated-{self.recipe.digest}"
        return BUILD / (f"{name}-without-{self.without}" if self.without else name)

    @property
    def images(self) -> Path | None:
        """Where its paths begin; None where it is the folder itself."""
        return BUILD / f"simulated-{self.recipe.digest}" if self.without else None

    def make(self) -> None:
        """Make what is not there yet."""
        source = simulate(ROOT / BUILD, self.recipe)
        if self.without:
            _leave_out(source, ROOT / self.folder, self.without)


def _leave_out(source: Path, folder: Path, species: str) -> None:
    """Write manifests over the same files, in which a species is only in the test split, alone."""
    folder.mkdir(parents=True, exist_ok=True)
    about = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    about["name"] = f"simulated without {species}"
    write_atomically(folder / "dataset.json", json.dumps(about, indent=2) + "\n")
    for split in SPLITS:
        with manifest_path(source, split).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        left = [row for row in rows if not row["species"] or (row["species"] == species) == (split == "test")]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(left)
        write_atomically(manifest_path(folder, split), text.getvalue())


SLICE = Data(Recipe.of_world(2, **_SLICE))
SMALL = Data(Recipe.of_world(2, **_SLICE | {"train_identities": 160}))
SENSORS = Data(Recipe.of_world(2, **_SLICE, modalities=("rgb", "depth", "nir")))
FEW = Data(Recipe.of_world(2, train_identities=240))
ALL = Data(Recipe.of_world(2))
WITHOUT = {species: Data(SMALL.recipe, species) for species in ("print", "replay")}
