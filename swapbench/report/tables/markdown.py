"""The Markdown skin of the table: legible in a terminal (columns are padded) and on a forge (everything is escaped)."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.report.tables.fields import FIELDS
from swapbench.report.tables import cells
from swapbench.report.tables.markdown_columns import (
    ACCURACY,
    ELSEWHERE,
    FILE,
    MAIN,
    OPTIONAL_COLUMNS,
    PACED,
    RELATIVE,
    SPEED,
    TEXT_COLUMNS,
    WEIGHT,
)
from swapbench.report.tables.table import SIMULATED, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.records import FoldErrors, Record
    from swapbench.report.rows.fp32_parity import RowParity
    from swapbench.report.rows.summary import Row
    from swapbench.report.tables.markdown_columns import Column
    from swapbench.report.tables.table import Table


def markdown_text(records: Sequence[Record], relative_to: str | None = None) -> str:
    """The records as the Markdown skin of their table; raises what table.table_of raises."""
    return as_markdown(table_of(records, relative_to))


def as_markdown(table: Table, parities: Sequence[RowParity] = ()) -> str:
    """The whole report: main table, its details by quantity, ratios to the reference, notes, doubts, machines.

    parities: how far each file's scores are from its network's fp32 file; see report.parity.
    """
    parts = [
        _head(table),
        _section(table, "Speed, weight, accuracy, power", MAIN, _main_caption(table)),
        _section(
            table, _against(table), RELATIVE, _relative_caption(table), lambda row: row.relative is not None
        ),
        _section(
            table,
            "Speed",
            SPEED,
            _speed_caption(table),
            lambda row: FIELDS["latency_p50_ns"](row) is not None,
        ),
        _section(
            table,
            "At a camera's frame rate",
            PACED,
            _PACED_CAPTION,
            lambda row: FIELDS["paced_p50_ns"](row) is not None,
        ),
        _section(
            table, "Weight", WEIGHT, _weight_caption(table), lambda row: FIELDS["file_bytes"](row) is not None
        ),
        _section(
            table, "Accuracy", ACCURACY, _accuracy_caption(table), lambda row: FIELDS["acer"](row) is not None
        ),
        _species(table),
        _folds(table),
        _score_parity(table, parities),
        _section(
            table,
            "On the device and on the desktop",
            ELSEWHERE,
            _elsewhere_caption(table),
            lambda row: FIELDS["device_samples"](row) is not None,
        ),
        _energy(table),
        _notes(table),
        _doubts(table),
        _machines(table),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_NARROW = re.compile(r"[ -~†±×µ–]*")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@functools.lru_cache(maxsize=2**16)  # a name stands in every section
def escaped(text: str) -> str:
    """`text` so that Markdown (also in a table cell) shows it as it is; line breaks and control characters become spaces."""
    text = _CONTROLS.sub(" ", text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    text = re.sub(r"<(?=[\w/!?])", "&lt;", text)
    text = re.sub(r"([\\`*|~$])", r"\\\1", text)
    # Without a closing bracket no link can form; other brackets are intervals and stay legible.
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)
    # An underscore inside a word is no emphasis; leaving it alone keeps file names legible in a terminal.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned as plain text too: text to the left, numbers to the right."""
    lines = [[escaped(cell) for cell in line] for line in (header, *rows)]
    return aligned(lines, [heading in TEXT_COLUMNS for heading in header])


def aligned(lines: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """A Markdown table of cells that are Markdown already; the first line is the heading, `left` says which columns are text."""
    widths = [max(3, *map(_width, column)) for column in zip(*lines, strict=True)]

    def line_of(line: Sequence[str]) -> str:
        padded = (
            cell + " " * (width - _width(cell)) if to_left else " " * (width - _width(cell)) + cell
            for cell, width, to_left in zip(line, widths, left, strict=True)
        )
        return "| " + " | ".join(padded) + " |"

    rule = (
        "-" * width if to_left else "-" * (width - 1) + ":"
        for width, to_left in zip(widths, left, strict=True)
    )
    return "\n".join([line_of(lines[0]), "| " + " | ".join(rule) + " |", *map(line_of, lines[1:])])


def _width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if _NARROW.fullmatch(text):
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


# ---- Sections ----


def _head(table: Table) -> str:
    count = len(table.rows)
    first, last = min(row.time for row in table.rows), max(row.time for row in table.rows)
    when = (
        f"{first:%Y-%m-%d %H:%M}" + ("" if first == last else f" to {last:%Y-%m-%d %H:%M}") + f" {first:%Z}"
    )
    runs = ", ".join(dict.fromkeys(escaped(row.run) for row in table.rows))
    parts = ["# swapbench report"]
    if table.data_simulated:
        real = any(row.data_simulated is False for row in table.rows)
        named = _rows_named([row for row in table.rows if row.data_simulated], table)
        parts.append(f"> **{SIMULATED}**" + (f" Rows: {named}." if real else ""))
    parts.append(f"{count} record{'s' * (count != 1)} of run {runs}, {when.strip()}.")
    if len(table.machines) > 1:
        what = "machines" if len({row.machine for row in table.rows}) > 1 else "kinds of cores or libraries"
        parts.append(
            f"**The records come from {len(table.machines)} {what}.** Each has its own tables; "
            f"numbers of different {what} must not be compared."
        )
    flips = [f"- **{escaped(text)}**" for text in map(cells.flip_sentence, table.rows) if text]
    if flips:
        parts.append("\n".join(flips))
    return "\n\n".join(parts)


def _section(
    table: Table,
    title: str,
    columns: Sequence[Column],
    caption: str,
    belongs: Callable[[Row], bool] = lambda _: True,
) -> str:
    """A heading, one grid for each machine, a caption; nothing when no row belongs."""
    parts = [f"## {title}"]
    columns = [column for column in columns if column[0] not in OPTIONAL_COLUMNS or _any(table.rows, column)]
    for machine in table.machines:
        rows = [row for row in table.rows if row.place == machine and belongs(row)]
        if not rows:
            continue
        if len(table.machines) > 1:
            parts.append(f"**{escaped(machine)}**")
        parts.append(
            grid([heading for heading, _ in columns], [[cell(row) for _, cell in columns] for row in rows])
        )
    return "\n\n".join([*parts, caption]) if len(parts) > 1 else ""


def _any(rows: Sequence[Row], column: Column) -> bool:
    return any(column[1](row) != units.NOT_MEASURED for row in rows)


def _main_caption(table: Table) -> str:
    text = f"Latency of one inference at batch 1, median{_confidence(table)}. Error rates in per cent{_acer_interval()}."
    if any(row.doubts for row in table.rows):
        text += f" {cells.DOUBTFUL.strip()} doubtful: see Doubts."
    return text + f" {units.NOT_MEASURED} not measured: see Notes."


def _acer_interval() -> str:
    return ", APCER of the worst attack species (named), intervals in brackets"


def _confidence(table: Table) -> str:
    levels = sorted(
        {
            FIELDS["latency_confidence"](row)
            for row in table.rows
            if FIELDS["latency_confidence"](row) is not None
        }
    )
    if not levels:
        return ""
    return (
        f" with its {' or '.join(f'{100 * level:g} %' for level in levels)} interval (bootstrap over workers)"
    )


def _against(table: Table) -> str:
    return f"Relative to {escaped(table.reference or '')}"


def _relative_caption(table: Table) -> str:
    chosen = "" if table.reference_was_asked else " (the network with the most MACs)"
    return (
        f"Reference of a row: {escaped(table.reference or '')}{chosen} in fp32, in the same format, under the same runtime, "
        "version, threads and settings, on the same machine. Speed-up and reductions are reference / this row (more is better); "
        f"1 - ACER kept and error ratio are this row / reference (an error ratio above 1 is more errors; "
        f"{units.NOT_MEASURED} when the reference makes none). The interval joins the worst ends of both medians' "
        "intervals."
    )


def _speed_caption(table: Table) -> str:
    inputs = ", ".join(sorted({FIELDS["input"](row) for row in table.rows if FIELDS["input"](row)}))
    return (
        f"Milliseconds an inference; input: {escaped(inputs)}. p05: what the work costs when nothing disturbs it. p90, p95, p99: "
        "early-stopping estimates at 99 % confidence (MLPerf), refused where there are too few runs. Load and first "
        "inference: median over fresh worker processes."
    )


_PACED_CAPTION = (
    "Milliseconds an inference that waited for its frame; the processor slows down in between, so the order of two files may be "
    "another than back to back. p95: as above. Missed: frames that came while one was still computed."
)


def _elsewhere_caption(table: Table) -> str:
    devices = ", ".join(
        dict.fromkeys(row.machine for row in table.rows if FIELDS["device_samples"](row) is not None)
    )
    return (
        f"Scores that {escaped(devices)} gave against those of the same file on the desktop, over every frame; decisions at the "
        "threshold that the desktop's scores freeze."
    )


def _weight_caption(table: Table) -> str:
    kinds = "; ".join(
        sorted({FIELDS["memory_kind"](row) for row in table.rows if FIELDS["memory_kind"](row)})
    )
    text = "Parameters and multiply-accumulates (MACs) are counted on the exported graph."
    return text + (f" Memory: {escaped(kinds)}." if kinds else "")


def _accuracy_caption(table: Table) -> str:
    scored = [row for row in table.rows if FIELDS["acer"](row) is not None]
    data = dict.fromkeys(f"{FIELDS['dataset'](row)} ({_counted(row)})" for row in scored)
    rules = dict.fromkeys(FIELDS["threshold_rule"](row) or "" for row in scored)
    parts = [
        f"Per cent, after ISO/IEC 30107-3, of the exported file's own scores. Data: {escaped('; '.join(data))}.",
        (
            f"Threshold: {escaped('; '.join(rules))}. HTER @source-dev uses that threshold; HTER @target-EER chooses its "
            "own on the test scores, as much of the literature does, and is comparable with such numbers only."
        ),
        "Max score drift and flips: against the PyTorch network.",
    ]
    basis = dict.fromkeys(text for row in scored for text in FIELDS["basis"](row))
    if basis:
        parts.append(f"These numbers rest on: {escaped('; '.join(basis))}.")
    if len({(FIELDS["dataset_digest"](row), FIELDS["protocol"](row)) for row in scored}) > 1:
        parts.append(
            "**Rows were scored on different data or protocols: their accuracies must not be compared.**"
        )
    return " ".join(parts)


def _counted(row: Row) -> str:
    lost = f"{FIELDS['failures_to_acquire'](row)} failures to acquire"
    if FIELDS["failures_to_acquire"](row) and FIELDS["failures_bona_fide"](row) is not None:
        lost += f" ({FIELDS['failures_bona_fide'](row)} bona fide, {FIELDS['failures_attacks'](row)} attacks)"
    parts = [
        str(FIELDS["protocol"](row)),
        f"{FIELDS['bona_fide'](row)} bona fide, {FIELDS['attacks'](row)} attacks, {lost}",
    ]
    if FIELDS["subjects"](row) is not None:
        parts.append(f"{FIELDS['subjects'](row)} people")
    if FIELDS["frames"](row) is not None:
        parts.append(
            f"{FIELDS['frames'](row)} frames, {FIELDS['frames_without_score'](row)} of them without a score"
        )
    if FIELDS["faces"](row) is not None:
        parts.append(f"face boxes: {FIELDS['faces'](row)}")
    return "; ".join([*parts, f"digest {(FIELDS['dataset_digest'](row) or '')[:12]}"])


def _species(table: Table) -> str:
    columns = (FILE, *((name, cells.species_cell(name)) for name in table.species))
    caption = "APCER in per cent with its interval."
    return _section(
        table,
        "APCER by attack species",
        columns,
        caption,
        lambda row: bool(row.accuracy and row.accuracy.apcer_by_species),
    )


def _folds_of(row: Row) -> tuple[FoldErrors, ...]:
    return row.accuracy.folds if row.accuracy else ()


def _folds(table: Table) -> str:
    names = dict.fromkeys(one.fold for row in table.rows for one in _folds_of(row))
    if not names:
        return ""

    def of(name: str) -> Callable[[Row], str]:
        return lambda row: next(
            (cells.bare_percent(one.acer) for one in _folds_of(row) if one.fold == name), units.NOT_MEASURED
        )

    def spread(row: Row) -> str:
        sd = (
            units.NOT_MEASURED
            if FIELDS["acer_sd"](row) is None
            else cells.bare_percent(FIELDS["acer_sd"](row))
        )
        return f"{cells.or_dash(cells.bare_percent, FIELDS['acer'](row))} ± {sd}"

    columns = (FILE, ("ACER, mean ± sd", spread), *((f"Fold {name}", of(name)) for name in names))
    caption = "ACER of each fold in per cent, each at the threshold frozen on its own development split; one file for all folds."
    return _section(table, "Folds", columns, caption, lambda row: bool(_folds_of(row)))


def _score_parity(table: Table, parities: Sequence[RowParity]) -> str:
    """Whether a cheaper file decides as its fp32 file does, and which attacks pay where it does not."""
    by_record = {(one.run, one.record_id): one for one in parities}
    lines, sentences = [], []
    header = (
        "File", "Against", "Mean difference", "Largest", "Rank correlation", "Flips", "McNemar p",
        *(f"APCER {name}" for name in table.species), "BPCER", "Verdict",
    )  # fmt: skip
    for row in table.rows:
        one = by_record.get((row.run, row.record_id))
        if one is None:
            continue
        found = one.found
        changes = {change.name: change.at_own_threshold.change for change in found.species}
        lines.append(
            (
                cells.file(row),
                one.reference,
                units.significant(found.mean_abs_difference, 2),
                units.significant(found.max_abs_difference, 2),
                cells.or_dash(lambda value: f"{value:.4f}", found.rank_correlation),
                f"{found.flips}/{found.presentations}",
                units.significant(found.p_value, 2),
                *(cells.or_dash(cells.points, changes.get(name)) for name in table.species),
                cells.points(found.bona_fide.at_own_threshold.change),
                f"FAILS ON {found.worst_species}" if found.flag else "alike",
            )
        )
        if found.flag:
            sentences.append(f"- **{escaped(row.label)}**: {_sentence(found.sentence)}")
    if not lines:
        return ""
    caption = (
        "Scores of the test presentations against the network's own fp32 file. Flips: decisions that differ at the threshold "
        "frozen for that file, with McNemar's exact test. APCER and BPCER: change in percentage points, each file at its own frozen threshold. FAILS ON: an attack species is accepted "
        "clearly more often (at either threshold; McNemar's test, Holm over the species)."
    )
    return "\n\n".join(filter(None, ["## Score parity", "\n".join(sentences), grid(header, lines), caption]))


def _energy(table: Table) -> str:
    header = ("File", "Meter", "Scope", "Above idle", "Gross", "Runs")
    parts = []
    for machine in table.machines:
        lines = [
            (
                cells.file(row),
                one.meter,
                one.scope,
                cells.energy(one),
                units.energy(one.gross_uj),
                str(one.runs),
            )
            for row in table.rows
            for one in row.energy
            if row.place == machine
        ]
        if lines:
            parts += [f"**{escaped(machine)}**"] if len(table.machines) > 1 else []
            parts.append(grid(header, lines))
    caption = (
        "Energy of one inference. Above idle: minus the idle measured before and after, with its worst-case uncertainty; "
        "< where only a bound is known. Gross: everything that the scope used meanwhile."
    )
    return "\n\n".join(["## Energy", *parts, caption]) if parts else ""


def _notes(table: Table) -> str:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in table.rows:
        for one in row.missing:
            groups.setdefault((one.quantity, one.reason, one.remedy), []).append(row)
    lines = [
        f"- {quantity}, {_rows_named(rows, table)}: {_sentence(reason)}{_helps(remedy)}"
        for (quantity, reason, remedy), rows in groups.items()
    ]
    return (
        "\n\n".join([f"## Notes\n\nWhy a number is missing ({units.NOT_MEASURED}):", "\n".join(lines)])
        if lines
        else ""
    )


def _doubts(table: Table) -> str:
    groups: dict[tuple[str, str, str], dict[str, list[Row]]] = {}
    for row in table.rows:
        for doubt in row.doubts:
            messages = groups.setdefault((doubt.code, doubt.quantity, doubt.remedy), {})
            messages.setdefault(doubt.message, []).append(row)
    lines = []
    for (code, quantity, remedy), messages in groups.items():
        head = f"- **{escaped(code)}** ({quantity})"
        if len(messages) == 1:
            [(message, rows)] = messages.items()
            lines.append(f"{head}, {_rows_named(rows, table)}: {_sentence(message)}{_helps(remedy)}")
        else:
            lines.append(f"{head}:{_helps(remedy)}")
            lines += [
                f"  - {_rows_named(rows, table)}: {_sentence(message)}" for message, rows in messages.items()
            ]
    if not lines:
        return ""
    doubtful = sum(1 for row in table.rows if row.doubts)
    title = f"## Doubts\n\n{doubtful} of {len(table.rows)} records must be read with care:"
    return "\n\n".join([title, "\n".join(lines)])


def _machines(table: Table) -> str:
    lines = [f"- {escaped(machine)}" for machine in table.machines]
    versions = sorted(
        {f"{row.runtime} {row.used.version} ({', '.join(row.used.providers)})" for row in table.rows}
    )
    lines += [f"- {escaped(version)}" for version in versions]
    return "\n\n".join([f"## Machine{'s' * (len(table.machines) != 1)} and runtimes", "\n".join(lines)])


def _sentence(text: str) -> str:
    text = escaped(" ".join(text.split()))
    return text + ("" if not text or text[-1] in ".!?" else ".")


def _helps(remedy: str) -> str:
    """No full stop is added: a remedy may be a command to copy."""
    return f" What helps: {escaped(' '.join(remedy.split()))}" if remedy.strip() else ""


def _rows_named(rows: Sequence[Row], table: Table) -> str:
    if len(rows) == len(table.rows):
        return "all rows"
    return ", ".join(escaped(row.label) for row in rows)
