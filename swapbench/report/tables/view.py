"""What was asked of a table: which columns, in which order, in which groups.

A view is what all skins of a chosen table have in common, so that they cannot disagree: the digits of every
cell, what stands beside them, which is best, why one is missing, what speaks against a row. Skins add only
markup.

**Best** is a row of a group that no row beats with which it may be compared (see report.rows.comparable). A
row that a doubt about the column's quantity (or about the whole run) speaks against is never best: a number
to be read with care is no winner. Rows whose digits are equal are best together; where all are equal, none
is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from swapbench import units
from swapbench.errors import UserError
from swapbench.report.rows.comparable import names_of, rivals
from swapbench.report.tables.columns import COLUMNS, column, columns, constraint
from swapbench.report.tables.doubts import NAMES_AT_MOST, doubt_kinds, few
from swapbench.report.tables.table import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Cell, Column
    from swapbench.report.tables.doubts import DoubtKind
    from swapbench.report.tables.table import Table

NOT_MEASURED = "n/a"
TOO_DIFFERENT = "Rows were scored on different data or protocols: their accuracies cannot be compared."
NOT_HELD = "the record does not hold it"
Notes = Literal["none", "short", "full"]
TAILS = ("latency_p90", "latency_p95", "latency_p99", "paced_p95")

_DEFAULT = (
    "latency_p50",
    "latency_p90",
    "paced_p50",
    "paced_p95",
    "paced_missed",
    "file_bytes",
    "macs",
    "peak_memory",
    "apcer",
    "acer",
    "device_difference",
    "device_flips",
    "energy",
    "speed_up",
)
_NAMING = frozenset({"file", "model", "net"})


def without_threshold(names: Sequence[str], rows: Sequence[Row]) -> tuple[str, ...]:
    """Names of columns, of which AUC and the EER stand for ACER where no row has one but some were scored."""
    scored = [row.accuracy for row in rows if row.accuracy is not None]
    if not scored or any(accuracy.acer is not None for accuracy in scored):
        return tuple(names)
    place = names.index("acer")
    return (*names[:place], "auc", "hter_target_eer", *names[place + 1 :])


@dataclass(frozen=True)
class Query:
    """What a person asked for, as typed. Empty: the default.

    Attributes:
        columns: names.
        sort: names, with "-" before them for descending.
        group: names of text columns, the outermost first.
        where: 'runtime=litert' (text, exactly), 'acer<=0.05' (numbers).
        notes: what stands below a LaTeX table: nothing, what fits a paper, or every reason and every doubt.
    """

    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    notes: Notes = "short"

    def __bool__(self) -> bool:
        return bool(self.columns or self.sort or self.group or self.where)


@dataclass(frozen=True)
class Line:
    """A row of the table and its cells, one a column."""

    row: Row
    cells: tuple[Cell, ...]

    @property
    def doubtful(self) -> bool:
        """Whether anything speaks against the row: it carries a dagger."""
        return bool(self.row.doubts)


@dataclass(frozen=True)
class Group:
    """Rows that belong together; title: what they have in common, "" where they are all there is."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Selection:
    """What was chosen of a table: columns, and rows in their order by the titles of their groups."""

    table: Table
    columns: tuple[Column, ...]
    members: tuple[tuple[str, tuple[Row, ...]], ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows in the order in which they are shown."""
        return tuple(row for _, rows in self.members for row in rows)

    @property
    def data_simulated(self) -> bool:
        """True when the accuracy of any row that is shown comes from simulated data."""
        return any(row.data_simulated for row in self.rows)


@dataclass(frozen=True)
class View(Selection):
    """A chosen table, ready for any skin.

    Attributes:
        groups: the members with their cells.
        caption: whose numbers these are.
        notes: why numbers are missing, numbered from 1 by place.
        doubt_kinds: what the dagger means.
        remarks: how to read it.
    """

    groups: tuple[Group, ...]
    caption: str = ""
    notes: tuple[str, ...] = ()
    doubt_kinds: tuple[DoubtKind, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """One sentence a kind of doubt, for the dagger."""
        return tuple(kind.text() for kind in self.doubt_kinds)

    @property
    def naming(self) -> int:
        """The place of the column that names a row: it carries the dagger."""
        return next(place for place, column in enumerate(self.columns) if column.name in _NAMING)


def selection_of(table: Table, query: Query | None = None) -> Selection:
    """Which rows and columns of a table a query asks for.

    Rows of several devices are always grouped by device: their numbers cannot be compared. Without columns
    the usual ones are chosen that have a number. Named absolute columns are followed by their ratios where a
    reference was asked for and no ratio was named.

    Raises:
        UnknownName: there is no column of a name.
        UserError: a condition cannot be read or leaves no row.
    """
    query = query or Query()
    rows = where(table.rows, query.where)
    chosen = _chosen(query.columns, rows, relative=table.reference_was_asked)
    titled = _grouped(rows, _group_columns(query.group, rows))
    members = tuple((title, tuple(_sorted(members, query.sort))) for title, members in titled)
    return Selection(table, chosen, members)


def view_of(table: Table, query: Query | None = None) -> View:
    """The view of what a query asks for; raises what selection_of raises."""
    return dressed(selection_of(table, query))


def dressed(chosen: Selection) -> View:
    """The view of what was chosen."""
    reasons: dict[str, int] = {}
    groups = tuple(
        Group(title, tuple(_lines(rows, chosen.columns, reasons))) for title, rows in chosen.members
    )
    rows = chosen.rows
    return View(
        chosen.table,
        chosen.columns,
        chosen.members,
        groups,
        caption_of(rows),
        tuple(reasons),
        doubt_kinds(rows),
        _remarks(chosen.table, rows, chosen.columns, groups),
    )


def by_place(table: Table, columns: tuple[Column, ...], rows: Sequence[Row]) -> Selection:
    """Some columns of some rows, by machine where there are several."""
    places = {row.place: "" for row in rows}
    if len(table.machines) > 1:
        places = {place: place for place in places}
    members = tuple(
        (title, tuple(row for row in rows if row.place == place)) for place, title in places.items()
    )
    return Selection(table, columns, members)


def plain_view(chosen: Selection, caption: str) -> View:
    """A section of a report, which has its notes elsewhere and nothing in bold."""
    columns = chosen.columns
    groups = tuple(
        Group(title, tuple(Line(row, tuple(column.cell(row) for column in columns)) for row in rows))
        for title, rows in chosen.members
    )
    return View(chosen.table, columns, chosen.members, groups, caption)


# ---- Choosing ----


def _chosen(names: Sequence[str], rows: Sequence[Row], *, relative: bool) -> tuple[Column, ...]:
    if not names:
        usual = [COLUMNS[name] for name in without_threshold(_DEFAULT, rows)]
        return (
            COLUMNS["file"],
            *(column for column in usual if any(column.value(row) is not None for row in rows)),
        )
    chosen = columns(names, rows)
    if relative and not any(column.relative for column in chosen):
        chosen = tuple(
            each for column in chosen for each in (column, *(COLUMNS[name] for name in column.ratios))
        )
    return chosen if any(column.name in _NAMING for column in chosen) else (COLUMNS["file"], *chosen)


def where(rows: Sequence[Row], conditions: Sequence[str]) -> tuple[Row, ...]:
    """Those rows that meet all conditions, as in Query.where; UserError and UnknownName as in `view_of`."""
    for text in conditions:
        name, equals, wanted = text.partition("=")
        if equals and not name.endswith(("<", ">")):
            of = column(name.strip(), rows)
            if of.numeric:
                raise UserError(
                    f"condition {text!r} asks for an exact number",
                    remedy=f"Write {name.strip()}<=amount or {name.strip()}>=amount",
                )
            values = {of.text(row) for row in rows}
            rows = tuple(row for row in rows if of.text(row) == wanted.strip())
            remedy = f"There are: {', '.join(sorted(values))}"
        else:
            wanted_of = constraint(text, rows)
            rows = tuple(row for row in rows if wanted_of.met(row))
            remedy = "Ask for less"
        if not rows:
            raise UserError(f"no record meets the condition {text!r}", remedy=remedy)
    return tuple(rows)


def _group_columns(names: Sequence[str], rows: Sequence[Row]) -> tuple[Column, ...]:
    chosen = columns(names, rows) if names else ()
    numeric = [column.name for column in chosen if column.numeric]
    if numeric:
        texts = [column.name for column in COLUMNS.values() if not column.numeric]
        raise UserError(
            f"{numeric[0]} holds numbers, and rows are grouped by text", remedy=f"One of: {', '.join(texts)}"
        )
    device = COLUMNS["device"]
    if device not in chosen and len({row.place for row in rows}) > 1:
        return (device, *chosen)
    return chosen


def _grouped(rows: Sequence[Row], by: Sequence[Column]) -> list[tuple[str, list[Row]]]:
    names = names_of(rows)

    def named(column: Column, row: Row) -> str:
        return names[row.place] if column.name == "device" else column.text(row)

    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(named(column, row) for column in by), []).append(row)
    return [
        (" · ".join(f"{column.title}: {text}" for column, text in zip(by, key, strict=True)), members)
        for key, members in groups.items()
    ]


def _sorted(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """Stable, by the first key first; rows without a value come last whichever the direction."""
    ordered = list(rows)
    for key in reversed(keys):
        of = column(key.removeprefix("-"), rows)
        have = [row for row in ordered if _present(of, row)]
        have.sort(key=_sort_key(of), reverse=key.startswith("-"))
        ordered = [*have, *(row for row in ordered if not _present(of, row))]
    return ordered


def _present(of: Column, row: Row) -> bool:
    value = of.value(row)
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _sort_key(of: Column) -> Callable[[Row], tuple[float, str]]:
    return lambda row: (of.number(row) or 0.0, str(of.value(row)))


# ---- Cells ----


def _lines(rows: Sequence[Row], columns: Sequence[Column], reasons: dict[str, int]) -> Iterator[Line]:
    """The lines of a group; reasons become numbers in the order in which a reader meets them."""
    by_column = [_cells(column, rows) for column in columns]
    for row, cells in zip(rows, zip(*by_column, strict=True), strict=True):
        yield Line(
            row,
            tuple(
                cell._replace(text=NOT_MEASURED, note=reasons.setdefault(cell.absent, len(reasons) + 1))
                if cell.absent
                else cell
                for cell in cells
            ),
        )


def _cells(of: Column, rows: Sequence[Row]) -> list[Cell]:
    """One column of a group, the best marked, and a reason in each cell without a number."""
    cells = [of.cell(row) for row in rows]
    if not of.numeric:
        return cells
    for place in _best(of, rows, [cell.digits for cell in cells]):
        cells[place] = cells[place]._replace(best=True)
    return [
        cell._replace(absent=NOT_HELD) if cell.text == units.NOT_MEASURED and not cell.absent else cell
        for cell in cells
    ]


def _best(of: Column, rows: Sequence[Row], digits: Sequence[str]) -> frozenset[int]:
    """The places of the best rows of a group in one column; see the head of this module."""
    if not of.better:
        return frozenset()
    counted = [place for place, shown in enumerate(digits) if shown]
    choose = min if of.better == "lower" else max
    best: set[int] = set()
    for like in rivals([rows[place] for place in counted], [of]):
        others = [counted[place] for place in like.rivals]
        fair = [
            place
            for place in others
            if not any(doubt.quantity in {of.about, "run"} for doubt in rows[place].doubts)
        ]
        if fair and len({digits[place] for place in others}) > 1:
            winner = choose(fair, key=lambda place: of.number(rows[place]) or 0.0)
            best |= {
                counted[place] for place in like.members if digits[counted[place]] == digits[winner]
            } & set(fair)
    return frozenset(best)


# ---- Words ----


def caption_of(rows: Sequence[Row]) -> str:
    """How many records of which runs these are, from which machines, and from when."""
    runs = list(dict.fromkeys(row.run for row in rows))
    machines = list(dict.fromkeys(row.machine for row in rows))
    times = sorted({f"{row.time:%Y-%m-%d}" for row in rows})
    when = times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"
    count = f"{len(rows)} record{'s' * (len(rows) != 1)}"
    return f"{count} of run{'s' * (len(runs) != 1)} {few(runs)} on {few(machines)}, {when}."


SAID = {
    "simulated_rows": " Rows: {}.",
    "more_flips": "So do {} more.",
    "frame_rate": "Frame rate: {} frames a second.",
    "intervals": "In brackets: intervals{}.",
    "confidence": " (latency: {})",
    "tails": "{}: an upper bound at 95 % for a typical process.",
    "spread": "±: worst-case uncertainty.",
    "bound": "<: no more than a bound is known.",
    "ratios": "Ratios: {} in fp32 of the same format, runtime, version, threads, settings and device is 1 "
    "(reductions and speed-up: more is better).",
    "reference": "No fp32 file was measured in place of {}, so that is the reference.",
    "too_different": TOO_DIFFERENT,
    "best": "Bold: best of {}; rows with a doubt about the quantity are left out of this.",
}
"""Remarks on how to read a view; the page says the same with the same words."""


def flip_sentence(row: Row) -> str:
    """What must be said of a file that decides otherwise on its device than on the desktop.

    "" where it does not.
    """
    parity = row.device_parity
    if parity is None or not parity.decision_flips:
        return ""
    return (
        f"{row.label} decides otherwise on {row.machine} than on the desktop: {parity.decision_flips} of "
        f"{parity.samples} decisions flip, scores are up to "
        f"{units.significant(parity.max_abs_difference, 2)} apart."
    )


def _remarks(
    table: Table, rows: Sequence[Row], chosen: Sequence[Column], groups: Iterable[Group]
) -> tuple[str, ...]:
    shown = [cell for group in groups for line in group.lines for cell in line.cells]
    remarks = [SIMULATED] if any(row.data_simulated for row in rows) else []
    flips = [text for text in map(flip_sentence, rows) if text]
    if remarks and any(row.data_simulated is False for row in rows):
        remarks[0] += SAID["simulated_rows"].format(few([row.label for row in rows if row.data_simulated]))
    remarks += flips[:NAMES_AT_MOST]
    if len(flips) > NAMES_AT_MOST:
        remarks.append(SAID["more_flips"].format(len(flips) - NAMES_AT_MOST))
    rates = sorted({row.conditions.frame_rate for row in rows if row.conditions.frame_rate is not None})
    if rates and any("paced" in column.parts for column in chosen):
        remarks.append(SAID["frame_rate"].format(" or ".join(f"{rate:g}" for rate in rates)))
    if any(cell.aside.startswith("[") for cell in shown):
        timed = any(column.name == "latency_p50" for column in chosen) and confidences(rows)
        level = SAID["confidence"].format(confidences(rows)) if timed else ""
        remarks.append(SAID["intervals"].format(level))
    tails = [column for column in chosen if column.name in TAILS]
    if any(column.digits(row) for column in tails for row in rows):
        names = ", ".join(dict.fromkeys(column.name.rpartition("_")[2] for column in tails))
        remarks.append(SAID["tails"].format(names))
    if any(cell.aside.startswith("±") for cell in shown):
        remarks.append(SAID["spread"])
    if any(cell.text.startswith("<") for cell in shown):
        remarks.append(SAID["bound"])
    if table.reference is not None and any(column.relative for column in chosen):
        remarks.append(SAID["ratios"].format(table.reference))
        remarks += other_references(rows)
    scored = {
        (row.conditions.data, row.conditions.protocol)
        for row in rows
        if any(column.about == "accuracy" and column.digits(row) for column in chosen)
    }
    if len(scored) > 1:
        remarks.append(SAID["too_different"])
    if any(cell.best for cell in shown):
        among = "its group" if len(tuple(groups)) > 1 else "the rows"
        remarks.append(SAID["best"].format(among))
    return tuple(remarks)


def confidences(rows: Iterable[Row]) -> str:
    """The confidences of latency intervals in words, "" where no row has one."""
    levels = sorted({row.speed.confidence for row in rows if row.speed and row.speed.confidence is not None})
    return " or ".join(f"{100 * level:.3g} %" for level in levels)


def other_references(rows: Iterable[Row]) -> list[str]:
    """Which files ratios refer to where their network was not measured in fp32, as at most one sentence."""
    labels = {
        row.relative.reference for row in rows if row.relative and row.relative.reference_precision != "fp32"
    }
    if not labels:
        return []
    return [SAID["reference"].format(units.some(sorted(labels)))]


_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def superscript(number: int) -> str:
    """The mark of a numbered footnote in plain text: 12 -> '¹²'."""
    return str(number).translate(_SUPERSCRIPTS)


def plain_cell(cell: Cell, column: Column) -> str:
    """A cell as plain text: '4.49 [4.43, 4.56]', '7.12×', 'n/a²'."""
    return column.plain(cell) + (superscript(cell.note) if cell.note else "")
