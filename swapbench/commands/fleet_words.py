"""What was asked for, as the words of a command for a host of a fleet, with the files that it needs there."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench.commands.named_files import models_below, with_card
from swapbench.commands.options import FRAMES_PER_VIDEO
from swapbench.errors import UserError
from swapbench.files import file_sha256
from swapbench.modelfile import MODEL_SUFFIXES
from swapbench.modelfile.parts import files_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from swapbench.catalog import Folders
    from swapbench.commands.options import JudgedData
    from swapbench.commands.run import RunRequest

_BELOW = "files"
"""Folder of a job in which what was named lies, so that it never meets folders of the host."""


@dataclass
class Packing:
    """Files that travel with a job: they lie there as they lie here, so that their names mean the same.

    Attributes:
        folders: Of the working folder here.
        files: Place there -> digest.
        local: Digest -> the file here.
    """

    folders: Folders
    files: dict[str, str] = field(default_factory=dict)
    local: dict[str, Path] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)

    def place(self, path: Path, below: str = _BELOW) -> str:
        """Where a path lies there."""
        whole = path.absolute()
        root = self.folders.root.absolute()
        inner = whole.relative_to(root) if whole.is_relative_to(root) else Path("outside", *whole.parts[1:])
        parts = [part for part in inner.parts if part != ".."]
        return "/".join(filter(None, (below, *parts)))

    def add(self, path: Path, place: str) -> str:
        """Let a file travel; returns its place there. UserError where it cannot be read."""
        self.files[place] = self.digest(path)
        return place

    def digest(self, path: Path) -> str:
        """The digest of a file that may travel. UserError where it cannot be read."""
        whole = path.resolve()
        if whole not in self._digests:
            try:
                self._digests[whole] = file_sha256(path)
            except OSError as error:
                raise UserError(f"cannot read {path}: {error.strerror}") from error
        self.local[self._digests[whole]] = path
        return self._digests[whole]

    def tree(self, path: Path) -> str:
        """A file, or a folder with all that is in it."""
        for inner in sorted(path.rglob("*")) if path.is_dir() else (path,):
            if inner.is_file() or inner == path:
                self.add(inner, self.place(inner))
        return self.place(path)

    def model(self, path: Path) -> str:
        """A model file with its weights and the card beside it, or a folder of them."""
        for model in models_below(path) if path.is_dir() else [path]:
            known = model.is_file() and model.suffix.lower() in MODEL_SUFFIXES
            for part in files_of(model) if known else (model,):
                self.add(part, self.place(part))
            card = model.with_suffix(".toml")
            if card.is_file():
                self.add(card, self.place(card))
        return self.place(path)

    def card(self, name: str) -> str:
        """A card by its file or by its name."""
        if name.endswith(".toml"):
            return self.tree(Path(name))
        own = self.folders.models / f"{name}.toml"
        if own.is_file():
            self.add(own, f"models/{name}.toml")
        return name

    def manifest(self, path: Path, images: Path | None) -> str:
        """A manifest with the files that it names; in a folder of its own they need not be named."""
        place = self.tree(path)
        if path.is_dir() or images is not None:
            return place
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                names = [row.get("path") or "" for row in csv.DictReader(file)]
        except (OSError, ValueError, csv.Error) as error:
            raise UserError(f"cannot read the manifest {path} ({error})") from error
        for name in dict.fromkeys(filter(None, names)):
            if Path(name).is_absolute():
                raise UserError(
                    f"the manifest {path} names {name}, which hosts of a fleet do not have",
                    remedy="Write paths relative to the manifest, or to a folder given with --images",
                )
            image = path.parent / name
            if image.is_file():
                self.add(image, self.place(image))
        return place


def run_words(packing: Packing, request: RunRequest) -> list[str]:
    """The words that make a host do a run, without its device and its name.

    Raises:
        UserError: The run needs what only this computer has.
    """
    variants, device, timing = request.variants, request.device, request.timing
    _refuse(
        {
            "--models": variants.models,
            "--format": variants.formats,
            "--precision": variants.precisions,
            "all bundled models": not request.files,
        },
        "A fleet measures files: make them with swapbench export, and name them",
    )
    _refuse({"--detached": device.detached}, "It needs a person at the cable: run it on the phone's host")
    _refuse({"--serial": device.serial}, "A fleet chooses among the phones of a profile")
    words = ["run"]
    for name in request.files:
        path, card = with_card(name)
        words.append(packing.model(path) + (f"={packing.card(card)}" if card else ""))
    words += many("--runtime", request.runtimes)
    words += shape_words(request.shapes)
    kinds = ("sweep",) if device.sweep else device.cores
    words += options_words({"--cores": ",".join(kinds) or None})
    words += many("--delegate", device.delegates)
    words += ["--require-full-delegation"] * device.require_full_delegation
    words += options_words(
        {
            "--threads": timing.threads,
            "--budget": timing.budget_s,
            "--target": timing.target,
            "--fps": timing.fps,
            "--sustained": None if timing.sustained_s is None else f"{timing.sustained_s:g}s",
            "--window": timing.window_s,
            "--seed": timing.seed,
            "--card": packing.card(request.card) if request.card else None,
        }
    )
    words += ["--profile"] * timing.profile
    words += data_words(packing, request.data)
    words += ["--no-accuracy"] * (not request.accuracy)
    return words


def data_words(packing: Packing, data: JudgedData) -> list[str]:
    """The words that name the data that models are judged on."""
    detector = data.detector
    if detector is not None and "=" in detector:
        name, _, weights = detector.partition("=")
        detector = f"{name}={packing.tree(Path(weights))}"
    return [
        *options_words(
            {
                "--data": data.data and packing.manifest(data.data, data.images),
                "--data-root": data.data_root and packing.tree(data.data_root),
                "--protocol": data.protocol,
                "--frames": data.frames if data.frames != FRAMES_PER_VIDEO else None,
                "--faces": data.faces,
                "--images": data.images and packing.tree(data.images),
                "--boxes": data.boxes and packing.tree(data.boxes),
                "--detector": detector,
                "--threshold": getattr(data, "threshold", None),
            }
        ),
        *(["--no-cache"] * (not data.keep_crops)),
    ]


def shape_words(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The words that set free lengths of inputs."""
    return many(
        "--shape",
        [f"{name}={_lengths(shape)}" if name else _lengths(shape) for name, shape in shapes.items()],
    )


def command_files(packing: Packing, words: Sequence[str], besides: Iterable[Path], folder: Path) -> list[str]:
    """The words of a command, as they are, with every file that one of them names where it lies here.

    For commands whose files all lie in the working folder. A word that only looks like a file costs nothing
    but its journey.

    Args:
        packing: Takes the files.
        words: Of the command.
        besides: Folders that it reads without naming them.
        folder: That it writes to; of what is there only networks and recipes travel.

    Raises:
        UserError: A file lies elsewhere.
    """
    for path in [*map(Path, filter(_may_be_a_path, words)), *besides]:
        if path != folder and path.exists():
            _travel(packing, path)
    for path in sorted([*folder.glob("*.toml"), *folder.glob("*.safetensors")]):
        _travel(packing, path)
    return list(words)


def _may_be_a_path(word: str) -> bool:
    return bool(word) and not word.startswith("-")


def _travel(packing: Packing, path: Path) -> None:
    root = packing.folders.root.absolute()
    inside = path.absolute().is_relative_to(root) and ".." not in path.parts
    if not inside:
        raise UserError(
            f"{path} lies outside the working folder, where hosts of a fleet do not find it",
            remedy="Name it by a path that begins in the working folder (a link will do)",
        )
    for inner in sorted(path.rglob("*")) if path.is_dir() else (path,):
        if inner.is_file():
            packing.add(inner, inner.absolute().relative_to(root).as_posix())


def options_words(values: Mapping[str, Any]) -> list[str]:
    """The words of options that have a value."""
    return [word for name, value in values.items() if value is not None for word in (name, f"{value}")]


def many(name: str, values: Iterable[str]) -> list[str]:
    """The words of an option that is repeated."""
    return [word for value in values for word in (name, value)]


def _lengths(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))


def _refuse(given: Mapping[str, object], remedy: str) -> None:
    wrong = next((name for name, value in given.items() if value), None)
    if wrong is not None:
        raise UserError(f"{wrong} cannot go to a fleet", remedy=remedy)
