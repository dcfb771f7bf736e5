"""CelebA-Spoof (Zhang et al., ECCV 2020): 561,575 published images, no development split.

`metas/intra_test/{train,test}_label.json` map `Data/{train,test}/ID/{live,spoof}/NAME.{jpg,png}` to 44
integers: [0:40] attributes of the face; [40] the spoof type, 0 for live; [41] light; [42] place; [43] **0 =
live, 1 = spoof**, the inverse of everything else. `NAME_BB.txt` beside an image holds its face box. A person
is an ID; a presentation is one image.

The paper counts 625,537 images of 10,177 people; its authors kept some of them back (issues 3 and 38 of the
repository ZhangYuanhan-AI/CelebA-Spoof), and the lists name 494,405 and 67,170. The maximum over species is
over the ten spoof types, where tables of the literature mostly pool them. Entries that contradict themselves
are left out, counted and named.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from swapbench.data.layouts.corpus import Contents, FaceFormat, Layout, counted, entries, not_there, shortened
from swapbench.data.samples import Annotation, Presentation
from swapbench.errors import BadDataset
from swapbench.files import content_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.data.samples import Box

SPECIES = (
    *("", "photo", "poster", "a4"),
    *("face_mask", "upper_body_mask", "region_mask"),
    *("pc", "pad", "phone", "3d_mask"),
)
"""By spoof type; the first one is live."""

LIGHTS = ("", "normal", "strong", "back", "dark")
PLACES = ("", "indoor", "outdoor")
SESSIONS = {
    (place, light): " ".join(filter(None, (PLACES[place], LIGHTS[light])))
    for place in range(len(PLACES))
    for light in range(len(LIGHTS))
}
LABELS = 44
_NAME = re.compile(r"(Data/(?:train|test)/(\w+)/(live|spoof))/((\w+)\.(?:jpg|jpeg|png))")


def _contents(root: Path, published: bool) -> Contents:
    train, test = (_split(root, split) for split in ("train", "test"))
    remarks = ("CelebA-Spoof: 561,575 of the paper's 625,537 images were published",) if published else ()
    return Contents(
        presentations=(*train.presentations, *test.presentations),
        missing=(*train.missing, *test.missing),
        faults=(*train.faults, *test.faults),
        remarks=(*remarks, *train.remarks, *test.remarks),
    )


def _split(root: Path, split: str) -> Contents:
    name = f"metas/intra_test/{split}_label.json"
    labels = _labels(root, name)
    if isinstance(labels, BadDataset):
        return Contents((), faults=(labels,))
    presentations: list[Presentation] = []
    missing: list[Presentation] = []
    unreadable, contradictory = [], []
    place, folder, person, files = "", root, "", frozenset[str]()
    for image in sorted(labels):  # so that each folder is listed once and no file is looked up on its own
        match, row = _NAME.fullmatch(image), labels[image]
        if match is None or not _readable(row):
            unreadable.append(f"{image[:60]!r}")
            continue
        if not row[43] == (row[40] != 0) == (match[3] == "spoof"):
            contradictory.append(image)
            continue
        if match[1] != place:
            place = match[1]
            folder, person, files = root / place, f"celeba:{match[2]}", frozenset(entries(root / place)[0])
        images = presentations if match[4] in files else missing
        box = f"{match[5]}_BB.txt"
        images.append(
            Presentation(
                name=image,
                path=folder / match[4],
                video=False,
                subject=person,
                label="attack" if row[43] else "bona_fide",
                species=SPECIES[row[40]],
                domain=LAYOUT.key,
                session=SESSIONS[row[42], row[41]],
                split=split,
                annotation=Annotation(folder / box, "celeba") if box in files else None,
            )
        )
    faults, remarks = [], []
    if unreadable:
        faults.append(
            BadDataset(
                f"{name}: {counted(len(unreadable), 'row')} not of the form image: {LABELS} labels"
                f" ({shortened(unreadable)})",
                remedy='A row looks like "Data/train/1/live/000003.jpg": [44 integers].',
            )
        )
    if contradictory:
        remarks.append(
            f"{name}: left out {counted(len(contradictory), 'row')} naming both live and spoof"
            f" ({shortened(contradictory)})"
        )
    return Contents(tuple(presentations), tuple(missing), tuple(faults), remarks=tuple(remarks))


def _labels(root: Path, name: str) -> dict[str, Any] | BadDataset:
    try:
        labels = json.loads(content_of(root / name))
    except FileNotFoundError:
        return not_there(root, name, "CelebA-Spoof has metas/intra_test/{train,test}_label.json.")
    except OSError as error:
        return BadDataset(f"cannot read {root / name}: {error.strerror}")
    except (ValueError, RecursionError) as error:
        return BadDataset(f"{root / name} is not JSON: {error}", remedy="Unpack it again.")
    if not isinstance(labels, dict) or not labels:
        return BadDataset(f"{root / name} does not map any image to its labels", remedy="Unpack it again.")
    return labels


def _readable(row: object) -> bool:
    """True for 44 integers of which the last four mean something."""
    return (
        isinstance(row, list)
        and len(row) == LABELS
        and {type(label) for label in row[40:]} == {int}
        and 0 <= row[40] < len(SPECIES)
        and 0 <= row[41] < len(LIGHTS)
        and 0 <= row[42] < len(PLACES)
        and 0 <= row[43] <= 1
    )


def _box(numbers: Sequence[float]) -> Box:
    """One line `x y w h score`, without the score in some files."""
    x, y, width, height = numbers[:4]
    return x, y, width, height


LAYOUT = Layout(
    letter="",
    key="celeba-spoof",
    title="CelebA-Spoof",
    marks=("metas/intra_test", "Data/train", "Data/test"),
    contents=_contents,
    official={("train", ""): 494_405, ("test", ""): 67_170},
    protocol="intra-test",
    faces=FaceFormat("celeba", (4, 5), _box, numbered=False, side_px=224),
)
