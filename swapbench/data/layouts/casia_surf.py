"""CASIA-SURF (Zhang et al., CVPR 2019) as the challenge of that year hands it out, in three modalities.

`train_list.txt`, `val_private_list.txt` and `test_private_list.txt` name the images of each capture and its
label, 1 = bona fide: `Training/real_part/CLKJ_AS0005/real.rssdk/color/101.jpg .../depth/101.jpg
.../ir/101.jpg 1`, and `Val/0000/000000-color.jpg Val/0000/000000-depth.jpg Val/0000/000000-ir.jpg 0`. The
lists without labels (`*_public_list.txt`) are not read. Attacks are photographs of which eyes, nose and mouth
may be cut out: in Training the folder says which, `06_enm_b.rssdk`; elsewhere nothing does, and the species
is `photo`.

Images are cut-out faces: take whole frames (`--faces frame`). Who is shown in Val and Testing is not said, so
each capture there counts as a person of its own, and intervals over people are too narrow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from swapbench.data.layouts.corpus import Contents, Layout, counted, not_there, shortened
from swapbench.data.samples import Presentation
from swapbench.files import content_of

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.errors import BadDataset

LISTS = {"train": "train_list.txt", "dev": "val_private_list.txt", "test": "test_private_list.txt"}
_TRAINING = re.compile(
    r"Training/(?:real|fake)_part/(\w+)/(?:real|\d\d_([a-z]+_[a-z]+))\.rssdk/color/\w+\.jpg"
)
_OTHER = re.compile(r"(?:Val|Testing)/\w+/\w+-color\.jpg")


def _contents(root: Path, published: bool) -> Contents:
    presentations: list[Presentation] = []
    missing: list[Presentation] = []
    faults: list[BadDataset] = []
    findings: list[str] = []
    for split, name in LISTS.items():
        if not (root / name).is_file():
            if published:
                faults.append(not_there(root, name, "It is one of the lists with labels of the challenge."))
            continue
        odd: list[str] = []
        for line in content_of(root / name).decode("utf-8", "replace").splitlines():
            presentation = _presentation(root, split, line.split())
            if presentation is None:
                odd += [line] if line.strip() else []
            elif all(path.is_file() for path in (presentation.path, *dict(presentation.beside).values())):
                presentations.append(presentation)
            else:
                missing.append(presentation)
        if odd:
            findings.append(
                f"{name}: left out {counted(len(odd), 'line')} in another form ({shortened(odd)})"
            )
    remarks = ("CASIA-SURF does not say who is shown in Val and Testing: intervals there are too narrow",)
    return Contents(tuple(presentations), tuple(missing), tuple(faults), tuple(findings), remarks)


def _presentation(root: Path, split: str, fields: list[str]) -> Presentation | None:
    """The capture of a line; None for a line in another form."""
    if len(fields) != 4 or fields[3] not in {"0", "1"}:
        return None
    colour, depth, infrared, label = fields
    training = _TRAINING.fullmatch(colour)
    if training is None and _OTHER.fullmatch(colour) is None:
        return None
    if any(".." in name or name.startswith("/") for name in (depth, infrared)):
        return None
    person = training[1] if training is not None else colour.removesuffix("-color.jpg")
    cut_out = training[2] if training is not None else None
    return Presentation(
        name=colour,
        path=root / colour,
        video=False,
        subject=f"casia-surf:{person}",
        label="bona_fide" if label == "1" else "attack",
        species="" if label == "1" else f"photo_{cut_out}" if cut_out else "photo",
        split=split,
        beside=(("depth", root / depth), ("nir", root / infrared)),
    )


def _recognised(root: Path) -> bool:
    return (root / LISTS["train"]).is_file() and (root / "Training").is_dir()


LAYOUT = Layout(
    letter="",
    key="casia-surf",
    title="CASIA-SURF",
    marks=(),
    contents=_contents,
    official={("train", ""): 29_266, ("dev", ""): 9_608, ("test", ""): 57_710},
    recognised=_recognised,
)
