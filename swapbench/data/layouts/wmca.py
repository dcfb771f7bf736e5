"""WMCA (George et al., TIFS 2020) in its preprocessed form: faces in colour, and in depth and infrared.

`WMCA_preprocessed_RGB/WMCA/face-station/DD.MM.YY/CLIENT_SESSION_PRESENTER_TYPE_PAI.hdf5` has faces in colour
as arrays [3, h, w], the same path below `WMCA_preprocessed_CDIT/WMCA` has [4, 128, 128]: grey, depth,
infrared, thermal (which is not read). `wmca-protocols-csv/PROTOCOL-grandtest.csv` names each file without its
suffix, its label (0 = bona fide) and, last, its group: train, dev or eval.

CLIENT is who is shown, or what: of an attack the number of the instrument, so a person of the intervals is an
instrument there. TYPE numbers the kinds of attack; we keep the number, `type2`. Faces are cut out: take whole
frames (`--faces frame`). Read from descriptions and public code; tried on a small tree, not on the data.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from swapbench.data.layouts.corpus import Contents, Layout, counted, not_there, shortened
from swapbench.data.samples import Presentation
from swapbench.files import content_of

if TYPE_CHECKING:
    from pathlib import Path

COLOUR, OTHERS = "WMCA_preprocessed_RGB/WMCA", "WMCA_preprocessed_CDIT/WMCA"
PROTOCOL = "wmca-protocols-csv/PROTOCOL-grandtest.csv"
SPLITS = {"train": "train", "dev": "dev", "eval": "test"}
_FILE = re.compile(r"face-station/[\d.]+/(\d+)_(\d+)_\d+_(\d+)_\d+")


def _contents(root: Path, _published: bool) -> Contents:
    if not (root / PROTOCOL).is_file():
        return Contents((), faults=(not_there(root, PROTOCOL, "It is handed out with the dataset."),))
    presentations: list[Presentation] = []
    missing: list[Presentation] = []
    odd: list[str] = []
    for fields in csv.reader(content_of(root / PROTOCOL).decode("utf-8", "replace").splitlines()):
        presentation = _presentation(root, [field.strip() for field in fields])
        if presentation is None:
            odd.append(",".join(fields))
        elif all(path.is_file() for path in (presentation.path, *dict(presentation.beside).values())):
            presentations.append(presentation)
        else:
            missing.append(presentation)
    odd = odd[1:] if odd and "," in odd[0] and not odd[0].startswith("face-station") else odd  # the header
    findings = (
        (f"{PROTOCOL}: left out {counted(len(odd), 'line')} in another form ({shortened(odd)})",)
        if odd
        else ()
    )
    return Contents(tuple(presentations), tuple(missing), findings=findings)


def _presentation(root: Path, fields: list[str]) -> Presentation | None:
    """The capture of a line; None for a line in another form."""
    match = _FILE.fullmatch(fields[0]) if len(fields) >= 3 else None
    if match is None or not fields[1].isdecimal() or fields[-1] not in SPLITS:
        return None
    real = int(fields[1]) == 0
    others = root / OTHERS / f"{fields[0]}.hdf5"
    return Presentation(
        name=f"{fields[0]}.hdf5",
        path=root / COLOUR / f"{fields[0]}.hdf5",
        video=True,
        subject=f"wmca:{match[1]}",
        label="bona_fide" if real else "attack",
        species="" if real else f"type{int(match[3])}",
        session=match[2],
        split=SPLITS[fields[-1]],
        beside=(("depth", others), ("nir", others)),
    )


LAYOUT = Layout(
    letter="",
    key="wmca",
    title="WMCA",
    marks=(COLOUR,),
    contents=_contents,
    official={},
    protocol="grandtest",
)
