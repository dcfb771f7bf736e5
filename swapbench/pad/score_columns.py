"""What the columns, labels, species and splits of a score file mean, ours or other people's.

They are recognised by their usual names unless the caller says otherwise. A label that could mean either
class is refused, never guessed; whatever had to be assumed is added to the remarks that are passed in.
"""

from __future__ import annotations

import csv
import gzip
from typing import IO, TYPE_CHECKING, NoReturn

import numpy as np

from swapbench.errors import BadDataset
from swapbench.pad.scores import coded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.pad.scores import Scores, Text

COLUMNS = ("fold", "split", "presentation", "frame", "subject", "label", "species", "score", "data")

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "fold": (),
    "split": ("set", "subset", "group", "partition"),
    "presentation": (
        "video",
        "video_id",
        "test_label",
        "path",
        "file",
        "filename",
        "file_name",
        "image",
        "name",
    ),
    "frame": ("frame_id", "frame_number", "frame_index"),
    "subject": ("subject_id", "client", "client_id", "claimed_id", "person", "person_id", "identity"),
    "label": ("is_bonafide", "is_bona_fide", "is_live", "is_real", "class", "target", "gt", "ground_truth"),
    "species": ("attack_type", "pai", "pai_species", "spoof_type", "attack"),
    "score": (
        "scores",
        "prob",
        "probability",
        "liveness",
        "liveness_score",
        "live_score",
        "prediction",
        "pred",
    ),
    "data": (),
}
"""Our column -> what others call it; the first that is there wins.

bob.pad.base writes claimed_id, test_label, is_bonafide, attack_type, score.
"""

SPLIT_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
    **dict.fromkeys(("train", "training"), "train"),
}
LABEL_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("bonafide", "live", "real", "genuine"), True),
    **dict.fromkeys(("attack", "spoof", "fake", "imposter", "impostor"), False),
}
NO_SPECIES = "attack (species not given)"

_SAYS_BONA_FIDE = ("isbonafide", "islive", "isreal")
_TRUTH: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}


def open_text(path: Path) -> IO[str]:
    """Open a score file as text, unpacked where its name ends in .gz."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def is_number(text: str) -> bool:
    """True where Python reads the text as a float, nan included."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def match_columns(
    path: Path, header: Sequence[str], given: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Which column of a file is which of ours.

    Args:
        path: the file, for messages
        header: its column names
        given: our name -> the file's, before any usual name

    Returns:
        Our name -> the file's for every column that is there, and remarks on what was assumed.

    Raises:
        BadDataset: a given column does not exist, or none holds presentations, labels or scores
    """
    usual = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in reversed(header)}
    matched = {}
    for ours in COLUMNS:
        if ours in given:
            if given[ours] not in header:
                raise BadDataset(
                    f"{path} has no column {given[ours]!r}", remedy=f"Its columns: {', '.join(header)}."
                )
            matched[ours] = given[ours]
        else:
            names = [usual[name] for name in (ours, *SYNONYMS[ours]) if name in usual]
            if names:
                matched[ours] = names[0]
    for ours in ("presentation", "label", "score"):
        if ours not in matched:
            raise BadDataset(
                f"no column of {path} is recognised as the {ours}",
                remedy=f"Its columns: {', '.join(header)}. Name the right one: --column {ours}=NAME.",
            )
    renamed = [f"{ours} = {theirs}" for ours, theirs in matched.items() if ours != theirs]
    return matched, [f"columns were read as {', '.join(renamed)}"] if renamed else []


def numbers_of(path: Path, column: Text) -> Scores:
    """The scores as float64; BadDataset with the line of the first that is not a finite number or NaN."""
    try:
        scores: Scores = column.astype(np.float64)
    except ValueError:
        row = next(row for row, text in enumerate(column.tolist()) if not is_number(text))
        refuse_row(path, row, f"the score {column[row]!r} is not a number", "Use nan where there is none.")
    infinite = np.flatnonzero(np.isinf(scores))
    if infinite.size:
        refuse_row(path, int(infinite[0]), "the score is infinite", "A score is a finite number, or nan.")
    return scores


def labels_of(
    path: Path, column: Text, header: str, bona_fide_label: str | None
) -> tuple[NDArray[np.bool_], Text]:
    """What the labels of a file mean.

    Args:
        path: the file, for messages
        column: the labels, [rows]
        header: name of the column
        bona_fide_label: the label that means bona fide, all others being attacks; None: by their usual
            meaning

    Returns:
        Which rows are bona fide, and the species of each row as far as its label tells, "" for bona fide.

    Raises:
        BadDataset: a label is unknown or could mean either class
    """
    code, labels = coded(column)
    if bona_fide_label is None:
        meaning = _meaning_of_labels(path, column, labels, header)
    else:
        meaning = [_same_label(label, bona_fide_label) for label in labels]
        if not any(meaning):
            raise BadDataset(
                f"{path}: no row has the label {bona_fide_label!r}", remedy=f"Labels: {', '.join(labels)}."
            )
    attacks = {_plain(label) for label, real in zip(labels, meaning, strict=True) if not real}
    kinds = [
        "" if real else f"label {label.strip()}" if len(attacks) > 1 else NO_SPECIES
        for label, real in zip(labels, meaning, strict=True)
    ]
    return np.array(meaning, dtype=np.bool_)[code], np.array(kinds, dtype=np.object_)[code]


def _meaning_of_labels(path: Path, column: Text, labels: Sequence[str], header: str) -> list[bool]:
    numbers = {label: float(label) for label in labels if is_number(label)}
    signed = any(value < 0 or label.strip() == "+1" for label, value in numbers.items())
    meaning = []
    for label in labels:
        word = _plain(label)
        truth = label.strip().lower()
        if _plain(header) in _SAYS_BONA_FIDE and truth in _TRUTH:
            meaning.append(_TRUTH[truth])
        elif word in LABEL_WORDS:
            meaning.append(LABEL_WORDS[word])
        elif label in numbers and signed and numbers[label] in {1.0, -1.0, -2.0}:
            meaning.append(numbers[label] > 0)
        elif label in numbers:
            raise BadDataset(
                f"{path}: it is unclear which of the labels {', '.join(labels)} is bona fide"
                " (1 is spoof in CelebA-Spoof, and live in many others)",
                remedy="Name it: --bona-fide-label 1, or whichever it is.",
            )
        else:
            row = int(np.flatnonzero(column == label)[0])
            refuse_row(
                path,
                row,
                f"unknown label {label!r}",
                "Name the one that is bona fide: --bona-fide-label LABEL.",
            )
    return meaning


def _same_label(label: str, other: str) -> bool:
    if is_number(label) and is_number(other):
        return float(label) == float(other)
    return _plain(label) == _plain(other)


def _plain(text: str) -> str:
    return text.strip().lower().replace(" ", "").replace("_", "").replace("-", "")


def species_of(path: Path, column: Text, real: NDArray[np.bool_], remarks: list[str]) -> Text:
    """The species of each row, empty for bona fide; attacks without one become `NO_SPECIES`, with a remark.

    Raises:
        BadDataset: a bona fide row has the species of an attack
    """
    code, names = coded(column)
    trimmed = np.array([name.strip() for name in names], dtype=np.object_)
    of_attacks = np.zeros(len(names), dtype=np.bool_)
    of_attacks[code[~real]] = trimmed[code[~real]] != ""
    contradictory = np.flatnonzero(real & of_attacks[code])
    if contradictory.size:
        row = int(contradictory[0])
        refuse_row(
            path,
            row,
            f"a bona fide presentation has the attack species {column[row]!r}",
            "Are the labels inverted? Name the one that is bona fide: --bona-fide-label LABEL.",
        )
    species: Text = np.where(real, "", trimmed[code])
    nameless = ~real & (species == "")
    if np.any(nameless):
        remarks.append(f"{int(np.sum(nameless))} attack rows do not name a species")
        species[nameless] = NO_SPECIES
    return species


def splits_of(path: Path, column: Text) -> Text:
    """The split of each row as dev, test or train; BadDataset with the line of an unknown one."""
    code, names = coded(column)
    meaning = [SPLIT_WORDS.get(name.strip().lower(), "") for name in names]
    if "" in meaning:
        name = names[meaning.index("")]
        refuse_row(
            path, int(np.flatnonzero(column == name)[0]), f"unknown split {name!r}", "Use dev or test."
        )
    splits: Text = np.array(meaning, dtype=np.object_)[code]
    return splits


def subjects_of(column: Text | None, presentation: Text, remarks: list[str]) -> Text:
    """The subject of each row; where none is named, each presentation counts as a person of its own."""
    if column is None:
        remarks.append(
            "no column of subjects: every presentation counts as a person of its own,"
            " so intervals are too narrow"
        )
        return presentation
    nameless = column == ""
    if np.any(nameless):
        remarks.append(
            f"{int(np.sum(nameless))} rows do not name a subject and count as people of their own,"
            " so intervals are too narrow"
        )
        column = np.where(nameless, presentation, column)
    return column


def without_spaces(column: Text) -> Text:
    """The same texts without leading and trailing spaces."""
    code, names = coded(column)
    trimmed: Text = np.array([name.strip() for name in names], dtype=np.object_)[code]
    return trimmed


def refuse_row(path: Path, row: int, complaint: str, remedy: str) -> NoReturn:
    """Raise BadDataset with the line of the row-th row of data, which is only looked up now."""
    with open_text(path) as text:
        reader = csv.reader(text)
        line, seen = 0, -2  # the header is no data
        for fields in reader:
            seen += any(field.strip() for field in fields) or len(fields) > 1
            if seen == row:
                line = reader.line_num
                break
    raise BadDataset(f"{path} line {line}: {complaint}", remedy=remedy)
