"""What the columns, labels, species and splits of a score file mean, ours or other people's.

They are recognised by their usual names unless the caller says otherwise. A label that could mean either
class is refused, never guessed; whatever had to be assumed is added to the remarks that are passed in.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import numpy as np

from swapbench.data.tables import column_name
from swapbench.data.words import NO_SPECIES, is_bona_fide, plain, split_named
from swapbench.errors import BadDataset
from swapbench.pad.scores import coded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.data.tables import TextTable
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
    "label": (
        *("is_bonafide", "is_bona_fide", "is_live", "is_real", "is_genuine", "is_attack", "is_spoof"),
        *("is_fake", "labels", "class", "target", "gt", "ground_truth", "truth", "y_true"),
    ),
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
        "y_score",
    ),
    "data": (),
}
"""Our column -> what others call it; the first that is there wins.

bob.pad.base writes claimed_id, test_label, is_bonafide, attack_type, score.
"""


_SAYS_BONA_FIDE = ("isbonafide", "islive", "isreal", "isgenuine")
_SAYS_ATTACK = ("isattack", "isspoof", "isfake")
_TRUTH: Mapping[str, bool] = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}

KNOWN_NAMES = frozenset(COLUMNS).union(*SYNONYMS.values()) - {"attack"}
"""Names that tell a header from data, where "attack" is a label."""

EACH_ROW = "row"
"""What is given as the column of presentations where each row is one."""

_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?(\d+,?\d*|,\d+)(e[+-]?\d+)?", re.IGNORECASE)
_NAN = re.compile(r"[+-]?nan", re.IGNORECASE)


def is_number(text: str) -> bool:
    """True where Python reads the text as a float, nan included."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def match_columns(text: TextTable, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Which column of a file is which of ours.

    Where several columns could be the labels or the scores, and differ, none is chosen. Of several others,
    one with our own name is taken, else the first in the order of `SYNONYMS`.

    Args:
        text: the file
        given: our name -> the file's, before any usual name

    Returns:
        Our name -> the file's for every column that is there, and remarks on what was assumed.

    Raises:
        BadDataset: a given column does not exist, none holds presentations, labels or scores, or several
            differing ones could
    """
    usual = {column_name(name): name for name in reversed(text.header)}
    matched = {}
    for ours in COLUMNS:
        if ours in given:
            if given[ours] in text.header:
                matched[ours] = given[ours]
            elif (ours, given[ours]) != ("presentation", EACH_ROW):
                has = "no header, so its columns have numbers, and" if text.headless else ""
                raise BadDataset(
                    f"{text.path} has {has} no column {given[ours]!r}",
                    remedy=f"Its columns: {', '.join(text.header)}.",
                )
        else:
            names = [usual[name] for name in (ours, *SYNONYMS[ours]) if name in usual]
            if names:
                matched[ours] = _only(text, ours, names)
    needed = (
        ("label", "score") if given.get("presentation") == EACH_ROW else ("presentation", "label", "score")
    )
    missing = [ours for ours in needed if ours not in matched]
    if missing and text.headless and not given:
        raise _headless(text)
    for ours in missing:
        trials = f", or --column {ours}={EACH_ROW} where each row is a presentation of its own"
        raise BadDataset(
            f"no column of {text.path} is recognised as the {ours}",
            remedy=f"Its columns: {', '.join(text.header)}. Name the right one: --column {ours}=NAME"
            f"{trials if ours == 'presentation' else ''}.",
        )
    renamed = [f"{ours} = {theirs}" for ours, theirs in matched.items() if ours != theirs]
    return matched, [f"columns were read as {', '.join(renamed)}"] if renamed else []


def _headless(text: TextTable) -> BadDataset:
    """What to say of a file whose first row is data."""
    row = [column[0] for column in text.columns]
    shown = ", ".join(f"{number} is {field!r}" for number, field in enumerate(row, 1))
    trial, *others = range(1, len(row) + 1) if len(row) > 2 else (EACH_ROW, *range(1, len(row) + 1))
    score = next((number for number in reversed(others) if re.search("[.,]", row[number - 1])), others[-1])
    label = next((number for number in others if number != score), score)
    return BadDataset(
        f"{text.path} has no header: its first row is data ({shown})",
        remedy="Add a line with names, or name the columns by their numbers, as in"
        f" --column presentation={trial},label={label},score={score}.",
    )


def _only(text: TextTable, ours: str, names: Sequence[str]) -> str:
    """The one of several columns that could be ours; BadDataset where the choice would change the result."""
    candidates = [name for name in names if ours != "score" or _has_numbers(text.column(name))] or names[:1]
    if ours not in {"label", "score"}:
        return candidates[0]
    first = candidates[0]
    for other in candidates[1:]:
        differing = _differing(text.column(first), text.column(other), numbers=ours == "score")
        if differing is not None:
            raise BadDataset(
                f"{text.path}: {first} and {other} could both be the {ours}, and differ in line"
                f" {text.lines[differing]}",
                remedy=f"Choose one: --column {ours}={first} or --column {ours}={other}.",
            )
    return first


def _has_numbers(column: Text) -> bool:
    return any(is_number(field) or _COMMA.fullmatch(field.strip().rstrip("% ")) for field in column.tolist())


def _differing(one: Text, other: Text, *, numbers: bool) -> int | None:
    """The first row in which two columns of scores or of labels say different things; None for nowhere."""
    meanings = [[is_bona_fide(label) for label in column.tolist()] for column in (one, other)]
    if numbers or not any(None in column for column in meanings):
        pairs = zip(one, other, strict=True) if numbers else zip(*meanings, strict=True)
        return next((row for row, (first, second) in enumerate(pairs) if first != second), None)
    # labels that are not all known words agree where one column names the classes of the other more finely
    contradictions = [_contradiction(one, other), _contradiction(other, one)]
    found = [row for row in contradictions if row is not None]
    finer = len(found) == 1 and min(len(set(column.tolist())) for column in (one, other)) > 1
    return found[0] if found and not finer else None


def _contradiction(one: Text, other: Text) -> int | None:
    """The first row whose value in `one` went with another value in `other` before; None for nowhere."""
    beside: dict[str, str] = {}
    pairs = enumerate(zip(one.tolist(), other.tolist(), strict=True))
    return next((row for row, (key, value) in pairs if beside.setdefault(key, value) != value), None)


def numbers_of(text: TextTable, column: Text, remarks: list[str]) -> Scores:
    """The scores as float64, with decimal points or commas, or in per cent, with a remark.

    Raises:
        BadDataset: one is no finite number or NaN, with its line, or points and commas are mixed
    """
    try:
        scores: Scores = column.astype(np.float64)
    except ValueError:
        scores = _read_numbers(text, column, remarks)
    infinite = np.flatnonzero(np.isinf(scores))
    if infinite.size:
        text.refuse(int(infinite[0]), "the score is infinite", "A score is a finite number, or nan.")
    return scores


def _read_numbers(text: TextTable, column: Text, remarks: list[str]) -> Scores:
    """Scores that Python does not read as they stand."""
    texts = [field.strip() for field in column.tolist()]
    shares = [field.endswith("%") for field in texts]
    texts = [field.rstrip("% ") for field in texts]
    plain_numbers = [field for field in texts if not _NAN.fullmatch(field)]
    commas = not all(map(_POINT.fullmatch, plain_numbers)) and all(map(_COMMA.fullmatch, plain_numbers))
    if commas:
        remarks.append("decimal commas of scores were read as points")
        texts = [field.replace(",", ".") for field in texts]
    for row, field in enumerate(texts):
        if not is_number(field):
            mixed = any(map(_COMMA.fullmatch, plain_numbers)) and any("." in one for one in plain_numbers)
            comma = _COMMA.fullmatch(field) is not None and mixed
            text.refuse(
                row,
                f"the score {column[row]!r} is not a number" + (", and others have a decimal point" * comma),
                "Write all with a decimal point." if comma else "Use nan where there is none.",
            )
    if any(shares):
        if not all(share or _NAN.fullmatch(field) for share, field in zip(shares, texts, strict=True)):
            row = shares.index(not shares[0])
            text.refuse(row, f"only some scores are in per cent, not {column[row]!r}", "Write all alike.")
        remarks.append("scores in per cent were divided by 100")
    return np.array([float(field) for field in texts]) / (100 if any(shares) else 1)


def labels_of(
    text: TextTable, column: Text, header: str, bona_fide_label: str | None
) -> tuple[NDArray[np.bool_], Text]:
    """What the labels of a file mean.

    Args:
        text: the file, for messages
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
        meaning = _meaning_of_labels(text, column, labels, header)
    else:
        meaning = [_same_label(label, bona_fide_label) for label in labels]
        if not any(meaning):
            raise BadDataset(
                f"{text.path}: no row has the label {bona_fide_label!r}",
                remedy=f"Labels: {', '.join(labels)}.",
            )
    attacks = {plain(label) for label, real in zip(labels, meaning, strict=True) if not real}
    kinds = [
        "" if real else f"label {label.strip()}" if len(attacks) > 1 else NO_SPECIES
        for label, real in zip(labels, meaning, strict=True)
    ]
    return np.array(meaning, dtype=np.bool_)[code], np.array(kinds, dtype=np.object_)[code]


def _meaning_of_labels(text: TextTable, column: Text, labels: Sequence[str], header: str) -> list[bool]:
    numbers = {label: float(label) for label in labels if is_number(label)}
    signed = any(value < 0 or label.strip() == "+1" for label, value in numbers.items())
    meaning = []
    of_truth = _plain_truth(header)
    for label in labels:
        truth = _TRUTH.get(label.strip().lower())
        real = is_bona_fide(label)
        if of_truth is not None and truth is not None:
            meaning.append(truth == of_truth)
        elif real is not None:
            meaning.append(real)
        elif label in numbers and signed and numbers[label] in {1.0, -1.0, -2.0}:
            meaning.append(numbers[label] > 0)
        elif label in numbers or truth is not None:
            raise BadDataset(
                f"{text.path}: it is unclear which of the labels {', '.join(labels)} is bona fide"
                " (1 is spoof in CelebA-Spoof, and live in many others)",
                remedy=f"Name it: --bona-fide-label {shlex.quote(label)}, or whichever it is.",
            )
        else:
            text.refuse(
                int(np.flatnonzero(column == label)[0]),
                f"unknown label {label!r}",
                "Name the one that is bona fide: --bona-fide-label LABEL.",
            )
    return meaning


def _same_label(label: str, other: str) -> bool:
    if is_number(label) and is_number(other):
        return float(label) == float(other)
    return plain(label) == plain(other)


def _plain_truth(header: str) -> bool | None:
    """What true means in a column of this name: True for bona fide, None where it is not known."""
    if plain(header) in _SAYS_BONA_FIDE:
        return True
    return False if plain(header) in _SAYS_ATTACK else None


def species_of(text: TextTable, column: Text, real: NDArray[np.bool_], remarks: list[str]) -> Text:
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
        text.refuse(
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


def splits_of(text: TextTable, column: Text) -> Text:
    """The split of each row as dev, test or train; BadDataset with the line of an unknown one."""
    code, names = coded(column)
    meaning = [split_named(name) for name in names]
    if None in meaning:
        name = names[meaning.index(None)]
        text.refuse(int(np.flatnonzero(column == name)[0]), f"unknown split {name!r}", "Use dev or test.")
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
