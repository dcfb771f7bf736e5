"""The whole report as Markdown: a list of views as data, and what must be said around them.

The main table comes first, then its details by quantity, ratios to the reference, why numbers are missing,
doubts, machines. Each section has one table for every machine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.records import NO_THRESHOLD
from swapbench.report.rows.comparisons import NOT_COMPARED
from swapbench.report.tables import side_by_side
from swapbench.report.tables.column import DAGGER, Column
from swapbench.report.tables.columns import COLUMNS, column, fold_column
from swapbench.report.tables.doubts import doubt_kinds, sentence
from swapbench.report.tables.fields import FIELDS
from swapbench.report.tables.markdown import escaped, grids
from swapbench.report.tables.section import Section
from swapbench.report.tables.table import SIMULATED, table_of
from swapbench.report.tables.view import (
    TOO_DIFFERENT,
    confidences,
    flip_sentence,
    other_references,
    plain_view,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from swapbench.pad.score_parity import ScoreParity
    from swapbench.records import Accuracy, Record
    from swapbench.report.rows.comparisons import Comparisons
    from swapbench.report.rows.fp32_parity import RowParity
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table


def markdown_text(records: Sequence[Record], relative_to: str | None = None) -> str:
    """The whole report of some records; raises what table.table_of raises."""
    return as_markdown(table_of(records, relative_to))


def as_markdown(table: Table, comparisons: Comparisons = NOT_COMPARED) -> str:
    """The whole report.

    Args:
        table: of all records.
        comparisons: what is known of its rows beside others.
    """
    parts = [_head(table)]
    parts += [_text(section, table) for section in sections_of(table, comparisons)]
    parts += [_notes(table), _doubts(table), _machines(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def sections_of(table: Table, comparisons: Comparisons = NOT_COMPARED) -> Iterator[Section]:
    """The sections of the whole report, those without rows included."""
    rows = table.rows
    file = COLUMNS["file"]
    yield Section(
        "Speed, weight, accuracy, power",
        _named(
            "model precision format runtime latency_p50 latency_p90 file_bytes macs peak_memory apcer "
            "worst_species acer energy"
        ),
        rows,
        _main_caption(table),
    )
    yield Section(
        f"Relative to {table.reference or ''}",
        _named(
            "file reference speed_up speed_up_p05 size_reduction params_reduction macs_reduction "
            "memory_reduction energy_reduction accuracy_kept error_ratio"
        ),
        tuple(row for row in rows if row.relative),
        _relative_caption(table),
    )
    yield side_by_side.section(comparisons.side_by_side(rows))
    yield Section(
        "Speed",
        (
            *_named(
                "file cores flavour threads latency_p05 latency_p50 latency_p90 latency_p95 latency_p99 load "
                "first runs workers"
            ),
            replace(COLUMNS["cpu_time"], title="CPU time (stand-in, not energy)"),
        ),
        tuple(row for row in rows if row.speed),
        _speed_caption(rows),
    )
    yield Section(
        "At a camera's frame rate",
        _named("file paced_fps paced_p50 paced_p95 latency_p50 paced_missed paced_frames"),
        tuple(row for row in rows if row.paced),
        "Times of an inference that waited for its frame; the processor slows down in between, so the "
        "order of two files may be another than back to back (median latency). Missed: frames that came "
        "while one was still computed, of all frames.",
    )
    yield Section(
        "Weight",
        _named("file file_bytes params macs peak_memory memory_before_load"),
        tuple(row for row in rows if row.weight),
        _weight_caption(rows),
    )
    scored = tuple(row for row in rows if row.accuracy)
    yield Section(
        "Accuracy",
        _named(
            "file apcer worst_species bpcer acer hter hter_target_eer auc bpcer10 bpcer20 bpcer100 threshold "
            "parity_difference parity_ranks parity_logits parity_flips parity_samples"
        ),
        scored,
        _accuracy_caption(scored),
    )
    yield Section(
        "APCER by attack species",
        (file, *(replace(column(f"apcer.{name}", rows), title=name) for name in table.species)),
        tuple(row for row in scored if row.accuracy and row.accuracy.apcer_by_species),
        "APCER in per cent with its interval.",
    )
    folds = dict.fromkeys(fold.fold for row in scored if row.accuracy for fold in row.accuracy.folds)
    yield Section(
        "Folds",
        (*_named("file acer acer_sd"), *map(fold_column, folds)),
        tuple(row for row in scored if row.accuracy and row.accuracy.folds),
        "ACER of each fold, each at the threshold frozen on its own development split, with their mean and "
        "standard deviation; one file for all folds.",
    )
    yield _score_parity(table, comparisons.parities)
    beside = tuple(row for row in rows if row.device_parity)
    yield Section(
        "On the device and on the desktop",
        _named("file device_difference device_flips device_samples"),
        beside,
        _elsewhere_caption(beside),
    )
    yield Section(
        "Energy",
        _named("file meter scope energy energy_gross energy_runs"),
        tuple(replace(row, energy=(energy,)) for row in rows for energy in row.energy),
        "Energy of one inference. Above idle: minus the idle measured before and after, with its worst-case "
        "uncertainty; < where only a bound is known. Idle included: everything that the scope used "
        "meanwhile.",
    )


def _named(names: str) -> tuple[Column, ...]:
    return tuple(COLUMNS[name] for name in names.split())


def _text(section: Section, table: Table) -> str:
    """A heading, one grid for each machine, a caption; nothing when no row belongs."""
    if not section.rows:
        return ""
    view = plain_view(section.selection(table), section.caption)
    head = f"## {escaped(section.title)}"
    return "\n\n".join(filter(None, [head, section.lead, *grids(view), view.caption, section.below]))


# ---- Captions ----


def _main_caption(table: Table) -> str:
    text = (
        f"Latency of one inference at batch 1, median{_confidence(table)}. "
        "APCER of the worst attack species (named), intervals in brackets."
    )
    if any(row.doubts for row in table.rows):
        text += f" {DAGGER} doubtful: see Doubts."
    return text + f" {units.NOT_MEASURED} not measured: see Notes."


def _confidence(table: Table) -> str:
    text = confidences(table.rows)
    return f" with its {text} interval (order statistics over processes)" if text else ""


def _relative_caption(table: Table) -> str:
    others = "".join(f" {escaped(text)}" for text in other_references(table.rows))
    chosen = "" if table.reference_was_asked else " (the network with the most MACs)"
    return (
        f"Reference of a row: {escaped(table.reference or '')}{chosen} in fp32, in the same format, under "
        "the same runtime, version, threads and settings, on the same machine. Speed-up and reductions are "
        "reference / this row (more is better); 1 - ACER kept and error ratio are this row / reference (an "
        f"error ratio above 1 is more errors; {units.NOT_MEASURED} when the reference makes none). The "
        "interval is of the ratios by round; where two files were not timed together, it joins the worst "
        f"ends of both medians' intervals.{others}"
    )


def _speed_caption(rows: Iterable[Row]) -> str:
    inputs = ", ".join(sorted({row.speed.input for row in rows if row.speed}))
    return (
        f"Times of one inference in a typical fresh process; input: {escaped(inputs)}. p05: what the work "
        "costs when nothing disturbs it. p90, p95, p99: upper bounds at 95 % confidence, refused where there "
        "are too few processes or runs. Load and first run: median over fresh worker processes. CPU time: "
        "a stand-in for effort, not energy."
    )


def _weight_caption(rows: Iterable[Row]) -> str:
    kinds = {kind for row in rows if (kind := FIELDS["memory_kind"](row))}
    text = "Parameters and multiply-accumulates (MACs) are counted on the exported graph."
    return text + (f" Memory: {escaped('; '.join(sorted(kinds)))}." if kinds else "")


def _accuracy_caption(rows: Sequence[Row]) -> str:
    scored = [row.accuracy for row in rows if row.accuracy]
    data = dict.fromkeys(f"{accuracy.dataset} ({_counted(accuracy)})" for accuracy in scored)
    rules = dict.fromkeys(accuracy.threshold_rule or f"none, {NO_THRESHOLD.absent}" for accuracy in scored)
    parts = [
        f"After ISO/IEC 30107-3, of the exported file's own scores. Data: {escaped('; '.join(data))}.",
        (
            f"Threshold: {escaped('; '.join(rules))}. HTER @source-dev uses that threshold; HTER "
            "@target-EER chooses its own on the test scores, as much of the literature does, and is "
            "comparable with such numbers only."
        ),
        "Difference and flips from PyTorch: scores and decisions of the file against those of its network.",
    ]
    basis = dict.fromkeys(text for accuracy in scored for text in accuracy.basis)
    if basis:
        parts.append(f"These numbers rest on: {escaped('; '.join(basis))}.")
    if len({(accuracy.dataset_digest, accuracy.protocol) for accuracy in scored}) > 1:
        parts.append(f"**{TOO_DIFFERENT}**")
    return " ".join(parts)


def _counted(accuracy: Accuracy) -> str:
    lost = f"{accuracy.failures_to_acquire} failures to acquire"
    by_class = accuracy.failures_by_class
    if accuracy.failures_to_acquire and by_class:
        lost += f" ({by_class.get('bona_fide')} bona fide, {by_class.get('attack')} attacks)"
    parts = [accuracy.protocol, f"{accuracy.bona_fide} bona fide, {accuracy.attacks} attacks, {lost}"]
    if accuracy.subjects is not None:
        parts.append(f"{accuracy.subjects} people")
    if accuracy.frames is not None:
        parts.append(f"{accuracy.frames} frames, {accuracy.frames_without_score} of them without a score")
        parts += [group.sentence for group in accuracy.failed_frames]
    if accuracy.crops_at_border is not None:
        parts.append(f"{accuracy.crops_at_border} crops leave the frame")
    if accuracy.faces:
        parts.append(f"face boxes: {accuracy.faces}")
    return "; ".join([*parts, f"digest {accuracy.dataset_digest[:12]}"])


def _elsewhere_caption(rows: Iterable[Row]) -> str:
    devices = ", ".join(dict.fromkeys(row.machine for row in rows))
    return (
        f"Scores that {escaped(devices)} gave against those of the same file on the desktop, over every "
        "frame; decisions at the threshold that the desktop's scores freeze."
    )


# ---- Score parity: not of a row alone ----


def _score_parity(table: Table, parities: Sequence[RowParity]) -> Section:
    """Whether a cheaper file decides as its fp32 file does, and which attacks pay where it does not."""
    by_record = {(parity.run, parity.record_id): parity for parity in parities}
    by_label = {row.label: by_record.get((row.run, row.record_id)) for row in table.rows}

    def text(name: str, title: str, value: Callable[[ScoreParity], str | None]) -> Column:
        def of(row: Row) -> str | None:
            parity = by_label[row.label]
            return None if parity is None else value(parity.found)

        return Column(name, title, of, ())

    def against(row: Row) -> str | None:
        parity = by_label[row.label]
        return None if parity is None else parity.reference

    def change_of(species: str) -> Callable[[ScoreParity], str | None]:
        def change(parity: ScoreParity) -> str | None:
            changes = {species_.name: species_.at_own_threshold.change for species_ in parity.species}
            return _points(changes[species]) if species in changes else None

        return change

    columns = (
        COLUMNS["file"],
        Column("against", "Against", against, ()),
        text("mean", "Mean difference", lambda parity: units.significant(parity.mean_abs_difference, 2)),
        text("largest", "Largest", lambda parity: units.significant(parity.max_abs_difference, 2)),
        text("rank", "Rank correlation", _rank_correlation),
        text("flips", "Flips", lambda parity: f"{parity.flips}/{parity.presentations}"),
        text("p", "McNemar p", lambda parity: units.significant(parity.p_value, 2)),
        *(text(name, f"APCER {name}", change_of(name)) for name in table.species),
        text("bpcer", "BPCER", lambda parity: _points(parity.bona_fide.at_own_threshold.change)),
        text(
            "verdict",
            "Verdict",
            lambda parity: f"FAILS ON {parity.worst_species}" if parity.flag else "alike",
        ),
    )
    rows = tuple(row for row in table.rows if by_label[row.label])
    sentences = [
        f"- **{escaped(row.label)}**: {escaped(sentence(parity.found.sentence))}"
        for row in rows
        if (parity := by_label[row.label]) and parity.found.flag
    ]
    caption = (
        "Scores of the test presentations against the network's own fp32 file, or its fp16 file where none "
        "in fp32 was measured. Flips: decisions that differ at the threshold frozen for that file, with "
        "McNemar's exact test. APCER and BPCER: change in percentage points, each file at its own frozen "
        "threshold. FAILS ON: an attack species is accepted clearly more often (at either threshold; "
        "McNemar's test, Holm over the species)."
    )
    return Section("Score parity", columns, rows, caption, lead="\n".join(sentences))


def _rank_correlation(parity: ScoreParity) -> str | None:
    return None if parity.rank_correlation is None else f"{parity.rank_correlation:.4f}"


def _points(change: float) -> str:
    """A change of a rate in percentage points, with its sign."""
    return "0" if change == 0 else f"{100 * change:+.2f}"


# ---- Around the tables ----


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
        named = _rows_named([row.label for row in table.rows if row.data_simulated], table)
        parts.append(f"> **{SIMULATED}**" + (f" Rows: {named}." if real else ""))
    parts.append(f"{count} record{'s' * (count != 1)} of run {runs}, {when.strip()}.")
    if len(table.machines) > 1:
        what = "machines" if len({row.machine for row in table.rows}) > 1 else "kinds of cores or libraries"
        parts.append(
            f"**The records come from {len(table.machines)} {what}.** Each has its own tables; "
            f"numbers of different {what} cannot be compared."
        )
    flips = [f"- **{escaped(text)}**" for text in map(flip_sentence, table.rows) if text]
    if flips:
        parts.append("\n".join(flips))
    return "\n\n".join(parts)


def _notes(table: Table) -> str:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in table.rows:
        for missing in row.missing:
            groups.setdefault((missing.quantity, missing.reason, missing.remedy), []).append(row.label)
    lines = [
        f"- {quantity}, {_rows_named(labels, table)}: {escaped(sentence(reason))}{_helps(remedy)}"
        for (quantity, reason, remedy), labels in groups.items()
    ]
    return (
        "\n\n".join([f"## Notes\n\nWhy a number is missing ({units.NOT_MEASURED}):", "\n".join(lines)])
        if lines
        else ""
    )


def _doubts(table: Table) -> str:
    lines = []
    for kind in doubt_kinds(table.rows):
        head = f"- **{escaped(kind.code)}** ({kind.quantity})"
        helps = _helps(" Or: ".join(kind.remedies))
        if len(kind.messages) == 1:
            [(message, labels)] = kind.messages.items()
            lines.append(f"{head}, {_rows_named(labels, table)}: {escaped(message)}{helps}")
        else:
            lines.append(f"{head}:{helps}")
            lines += [
                f"  - {_rows_named(labels, table)}: {escaped(message)}"
                for message, labels in kind.messages.items()
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


def _helps(remedy: str) -> str:
    """No full stop is added: a remedy may be a command to copy."""
    return f" What helps: {escaped(' '.join(remedy.split()))}" if remedy.strip() else ""


def _rows_named(labels: Sequence[str], table: Table) -> str:
    if len(labels) == len(table.rows):
        return "all rows"
    return ", ".join(map(escaped, labels))
