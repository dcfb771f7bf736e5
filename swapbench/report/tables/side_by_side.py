"""Runtimes side by side: one network in one precision, a row a runtime; why one is slow where it is known.

The whole report shows it as a section, the page as a table of its own, and `swapbench compare` in a terminal
and as JSON: an object with `kind` ("swapbench.side_by_side"), `version` (1) and `networks`, each with `net`,
`recipe`, `precision`, `place`, `reference` (a label) and `rows`. A row has fields of the JSON skin of the
whole table, under their names; `agreement` (how far it is from the reference, an object with `absent` where
that is not known, null for the reference itself) and `hindrances` (sentences).
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from swapbench import units
from swapbench.records import Absent
from swapbench.report.rows.comparable import names_of
from swapbench.report.rows.side_by_side import explained
from swapbench.report.tables import fields
from swapbench.report.tables.column import Amount, Column
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.doubts import sentence
from swapbench.report.tables.markdown import escaped
from swapbench.report.tables.section import Section
from swapbench.report.tables.table import Table
from swapbench.report.tables.view import Selection, dressed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from swapbench.pad.score_agreement import ScoreAgreement
    from swapbench.report.rows.row import Row
    from swapbench.report.rows.side_by_side import SideBySide
    from swapbench.report.tables.terminal import TerminalTable
    from swapbench.report.tables.view import View

TITLE: Final = "Runtimes side by side"
_FIELDS: Final = (
    "label",
    "format",
    "runtime",
    "runtime_version",
    "providers",
    "delegated_nodes",
    "nodes",
    "threads",
    "latency_p50_ns",
    "latency_p50_low_ns",
    "latency_p50_high_ns",
    "load_ns",
    "file_bytes",
    "peak_memory_bytes",
    "speed_up",
    "speed_up_low",
    "speed_up_high",
    "paired",
    "size_reduction",
    "memory_reduction",
    "doubts",
    "missing",
)
_PLAIN = Amount("count", lambda number: units.significant(number, 2))
_CORRELATION = Amount("count", lambda number: f"{number:.4f}")
_CAPTION: Final = (
    "One network in one precision, under each runtime that ran it; only what was measured in one place "
    "stands side by side. Reference: of the runtime that most of these networks ran under. Speed-up: "
    "reference / this row (more is better), with the interval of the ratios by round where both were timed "
    "together."
)
_DIFFERENCES: Final = (
    " Differences and decisions: scores of the same test presentations, each side at its own threshold "
    "frozen on the development split."
)
_WHY: Final = "What keeps a runtime from being faster, as far as it was read in the files or measured:"


# ---- The section of a report ----


def section(sets: Sequence[SideBySide]) -> Section:
    """A row a runtime, each network in each precision after the other."""
    names = ["model", "precision", "runtime", *_varying(sets)]
    scored = any(group.agreements for group in sets)
    columns = (
        *(COLUMNS[name] for name in names),
        *_quantities(("latency_p50", "speed_up", "load", "file_bytes", "peak_memory")),
        *(agreement_columns(sets) if scored else ()),
        COLUMNS["reference"],
    )
    rows = tuple(row for group in sets for row in group.rows)
    caption = _CAPTION + _DIFFERENCES * scored
    return Section(TITLE, columns, rows, caption, below=_below(sets))


def _varying(sets: Sequence[SideBySide]) -> list[str]:
    """Columns that tell sets of one network apart."""
    rows = [row for group in sets for row in group.rows]
    return [
        name for name in ("threads", "cores", "flavour") if len({COLUMNS[name].text(row) for row in rows}) > 1
    ]


def _quantities(names: Iterable[str]) -> Iterator[Column]:
    return (COLUMNS[name] for name in names)


def _below(sets: Sequence[SideBySide]) -> str:
    """In Markdown: why a difference is missing, and what slows a runtime down."""
    lines = [f"- {escaped(label)}: {escaped(sentence(text))}" for label, text in _absences(sets)]
    parts = ["\n".join([f"Why a difference is missing ({units.NOT_MEASURED}):", "", *lines])] if lines else []
    lines = [
        line
        for row, texts in explained(row for group in sets for row in group.rows)
        for line in (f"- {escaped(row.label)}", *(f"  - {escaped(sentence(text))}" for text in texts))
    ]
    parts += ["\n".join([_WHY, "", *lines])] if lines else []
    return "\n\n".join(parts)


def _absences(sets: Sequence[SideBySide]) -> Iterator[tuple[str, str]]:
    """Labels of the rows that miss a difference or decisions, with the reason."""
    by_reason: dict[str, list[str]] = {}
    for group in sets:
        for label, found in group.agreements.items():
            missing = found if isinstance(found, Absent) else found.flips
            if isinstance(missing, Absent):
                by_reason.setdefault(missing.absent, []).append(label)
    for reason, labels in by_reason.items():
        yield ", ".join(labels), reason


def agreement_columns(sets: Sequence[SideBySide]) -> tuple[Column, ...]:
    """How far a row's scores are from those of its set's reference, which agrees with itself."""
    found: dict[str, ScoreAgreement | Absent] = {}
    for group in sets:
        found |= group.agreements
        known = [each for each in group.agreements.values() if not isinstance(each, Absent)]
        if known:
            undecided = known[0].flips if isinstance(known[0].flips, Absent) else 0
            found[group.reference.label] = replace(
                known[0],
                max_abs_difference=0.0,
                mean_abs_difference=0.0,
                rank_correlation=1.0,
                flips=undecided,
            )
        elif group.agreements:
            found[group.reference.label] = next(iter(group.agreements.values()))

    def number(name: str) -> Callable[[Row], float | None]:
        def value(row: Row) -> float | None:
            agreement = found.get(row.label)
            return (
                getattr(agreement, name)
                if agreement is not None and not isinstance(agreement, Absent)
                else None
            )

        return value

    def decisions(row: Row) -> str | None:
        agreement = found.get(row.label)
        if agreement is None or isinstance(agreement, Absent) or isinstance(agreement.flips, Absent):
            return None
        return f"{agreement.flips} of {agreement.compared}"

    def why(row: Row) -> str:
        agreement = found.get(row.label)
        if isinstance(agreement, Absent):
            return agreement.absent
        if agreement is not None and isinstance(agreement.flips, Absent):
            return agreement.flips.absent
        return ""

    difference = number("max_abs_difference")
    return (
        Column("score_difference", "Largest difference", difference, (), _PLAIN, why=why),
        Column("score_ranks", "Rank correlation", number("rank_correlation"), (), _CORRELATION, why=why),
        Column("decisions", "Decisions that differ", decisions, (), why=why),
    )


# ---- A terminal, a page ----


def view(sets: Sequence[SideBySide], caption: str = "") -> View:
    """A group a network and precision, a line a runtime, in few columns."""
    rows = tuple(row for group in sets for row in group.rows)
    places = names_of(rows)
    members = tuple(
        (
            " · ".join(
                [
                    group.reference.model,
                    group.reference.precision,
                    *([places[group.reference.place]] if len(places) > 1 else []),
                ]
            ),
            group.rows,
        )
        for group in sets
    )
    often = {
        row.label
        for group in sets
        for row in group.rows
        if sum(row.runtime == other.runtime for other in group.rows) > 1
    }

    def named(row: Row) -> str:
        return row.label if row.label in often else row.runtime

    difference, _, decisions = agreement_columns(sets)
    columns = (
        replace(COLUMNS["file"], title="Runtime", value=named),
        replace(COLUMNS["latency_p50"], title="Median", low=None, high=None),
        *_quantities(("speed_up", "load", "file_bytes", "peak_memory")),
        *((decisions, difference) if any(group.agreements for group in sets) else ()),
    )
    shown = dressed(Selection(Table(rows, None, False), columns, members))
    return replace(shown, caption=caption, remarks=(*shown.remarks, *_remarks(sets)))


def first_rows(sets: Sequence[SideBySide], at_most: int) -> tuple[SideBySide, ...]:
    """The sets as far as their rows fit, the last cut if need be, but none to its reference alone."""
    fitting: list[SideBySide] = []
    for group in sets:
        rows = group.rows[:at_most]
        if group.reference not in rows:
            rows = (group.reference, *rows[:-1])
        if len(rows) < min(2, len(group.rows)):
            break
        fitting.append(replace(group, rows=rows))
        at_most -= len(rows)
    return tuple(fitting)


def _remarks(sets: Sequence[SideBySide]) -> Iterator[str]:
    references = dict.fromkeys(group.reference.runtime for group in sets)
    yield f"Ratios and differences: against {' or '.join(references)}; speed-up: more is better."
    rows = [row for group in sets for row in group.rows if row.label != group.reference.label]
    if any(row.relative is not None and not row.relative.paired for row in rows):
        yield "Not all were timed together: such an interval joins the worst ends of both medians' intervals."


def terminal_table(sets: Sequence[SideBySide], *, every_doubt: bool) -> TerminalTable:
    """The view for a terminal."""
    from swapbench.report.tables.terminal import Hints, TerminalTable

    return TerminalTable(view(sets), every_doubt, Hints("They are in --json.", "the option --doubts"))


def reasons(sets: Sequence[SideBySide]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What keeps each runtime from being faster: ('net, int8 under litert', sentences), where it is known."""
    return tuple(
        (f"{group.title} under {row.runtime}", tuple(map(sentence, texts)))
        for group in sets
        for row, texts in explained(group.rows)
    )


# ---- JSON ----


def json_text(sets: Sequence[SideBySide], notes: Sequence[str] = ()) -> str:
    """Everything, as the head of this module describes it, with a newline at the end."""
    document = {
        "kind": "swapbench.side_by_side",
        "version": 1,
        "networks": [_network(group) for group in sets],
        "notes": list(notes),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _network(group: SideBySide) -> dict[str, Any]:
    known = {row.label: texts for row, texts in explained(group.rows)}
    return {
        "net": group.reference.net,
        "recipe": group.reference.recipe,
        "precision": group.reference.precision,
        "place": group.reference.place,
        "reference": group.reference.label,
        "rows": [
            {name: fields.plain(fields.field(name)(row)) for name in _FIELDS}
            | {
                "agreement": _agreement(group.agreements.get(row.label)),
                "hindrances": known.get(row.label, ()),
            }
            for row in group.rows
        ],
    }


def _agreement(found: ScoreAgreement | Absent | None) -> dict[str, Any] | None:
    if found is None:
        return None
    if isinstance(found, Absent):
        return found.model_dump()
    flips = found.flips.model_dump() if isinstance(found.flips, Absent) else found.flips
    return asdict(replace(found, flips=0)) | {"flips": flips}
