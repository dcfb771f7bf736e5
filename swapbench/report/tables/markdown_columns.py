"""Which columns the sections of the Markdown report show: a heading, and from a row to its cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench import units
from swapbench.report.tables import cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.report.rows.summary import Row

    Column = tuple[str, Callable[[Row], str]]

TEXT_COLUMNS = frozenset(
    {
        "Model",
        "File",
        "Precision",
        "Format",
        "Runtime",
        "Cores",
        "Libraries",
        "Meter",
        "Scope",
        "Against",
        "Verdict",
    }
)
OPTIONAL_COLUMNS = frozenset(
    {
        "Less memory",
        "Less energy",
        "BPCER10",
        "BPCER20",
        "BPCER100",
        "Max score drift",
        "Flips",
        "Cores",
        "Libraries",
    }
)
"""Left out where no row has them; the notes say why."""

FILE: Column = ("File", cells.file)

MAIN: tuple[Column, ...] = (
    ("Model", lambda row: row.model + (cells.DOUBTFUL if row.doubts else "")),
    ("Precision", lambda row: row.precision),
    ("Format", lambda row: row.format),
    ("Runtime", lambda row: row.runtime),
    ("Median, ms", cells.median),
    ("p90, ms", lambda row: cells.ms(row.latency_p90_ns)),
    ("File size", lambda row: cells.or_dash(units.size, row.file_bytes)),
    ("MACs", lambda row: cells.or_dash(units.count, row.macs)),
    ("Peak memory", lambda row: cells.or_dash(units.size, row.peak_memory_bytes)),
    ("APCER, %", cells.apcer),
    ("ACER, %", cells.acer),
    ("Energy above idle", cells.first_energy),
)

RELATIVE: tuple[Column, ...] = (
    FILE,
    ("Speed-up (median)", cells.speed_up),
    ("Speed-up (p05)", cells.relative_cell("speed_up_p05")),
    ("Smaller file", cells.relative_cell("size_reduction")),
    ("Fewer params", cells.relative_cell("params_reduction")),
    ("Fewer MACs", cells.relative_cell("macs_reduction")),
    ("Less memory", cells.relative_cell("memory_reduction")),
    ("Less energy", cells.relative_cell("energy_reduction")),
    (
        "1 - ACER kept",
        lambda row: cells.or_dash(units.percent, row.relative.accuracy_kept if row.relative else None),
    ),
    ("Error ratio", cells.relative_cell("error_ratio")),
)

SPEED: tuple[Column, ...] = (
    FILE,
    ("Cores", lambda row: row.cores or units.NOT_MEASURED),
    ("Libraries", lambda row: row.flavour or units.NOT_MEASURED),
    ("Threads", lambda row: str(row.threads)),
    ("p05", lambda row: cells.ms(row.latency_p05_ns)),
    ("Median", cells.median),
    ("p90", lambda row: cells.ms(row.latency_p90_ns)),
    ("p95", lambda row: cells.ms(row.latency_p95_ns)),
    ("p99", lambda row: cells.ms(row.latency_p99_ns)),
    ("Load", lambda row: cells.ms(row.load_ns)),
    ("First", lambda row: cells.ms(row.first_ns)),
    ("Runs", lambda row: str(row.runs)),
    ("Workers", lambda row: str(row.workers)),
    ("CPU time (stand-in, not energy)", lambda row: cells.ms(row.cpu_time_ns)),
)

PACED: tuple[Column, ...] = (
    FILE,
    ("Frames a second", lambda row: cells.or_dash(lambda rate: f"{rate:g}", row.paced_fps)),
    ("Median", cells.paced_median),
    ("p95", lambda row: cells.ms(row.paced_p95_ns)),
    ("Median back to back", lambda row: cells.ms(row.latency_p50_ns)),
    ("Missed frames", cells.frames),
)

WEIGHT: tuple[Column, ...] = (
    FILE,
    ("File size", lambda row: cells.or_dash(units.size, row.file_bytes)),
    ("Params", lambda row: cells.or_dash(units.count, row.params)),
    ("MACs", lambda row: cells.or_dash(units.count, row.macs)),
    ("Peak memory", lambda row: cells.or_dash(units.size, row.peak_memory_bytes)),
    ("Before load", lambda row: cells.or_dash(units.size, row.memory_before_load_bytes)),
)

ACCURACY: tuple[Column, ...] = (
    FILE,
    ("APCER (worst species)", cells.apcer),
    ("BPCER", lambda row: cells.with_interval(cells.bare_percent, row.bpcer, row.bpcer_low, row.bpcer_high)),
    ("ACER", cells.acer),
    (
        "HTER @source-dev",
        lambda row: cells.with_interval(
            cells.bare_percent, row.hter_source_dev, row.hter_source_dev_low, row.hter_source_dev_high
        ),
    ),
    (
        "HTER @target-EER",
        lambda row: cells.with_interval(
            cells.bare_percent, row.hter_target_eer, row.hter_target_eer_low, row.hter_target_eer_high
        ),
    ),
    ("AUC", lambda row: cells.or_dash(cells.bare_percent, row.auc)),
    ("BPCER10", lambda row: cells.or_dash(cells.bare_percent, row.bpcer10)),
    ("BPCER20", lambda row: cells.or_dash(cells.bare_percent, row.bpcer20)),
    ("BPCER100", lambda row: cells.or_dash(cells.bare_percent, row.bpcer100)),
    ("Threshold", lambda row: cells.or_dash(units.significant, row.threshold)),
    ("Max score drift", lambda row: cells.or_dash(units.significant, row.parity_max_abs_difference)),
    (
        "Flips",
        lambda row: (
            units.NOT_MEASURED
            if row.parity_samples is None
            else f"{row.parity_decision_flips}/{row.parity_samples}"
        ),
    ),
)

ELSEWHERE: tuple[Column, ...] = (
    FILE,
    ("Largest score difference", lambda row: cells.or_dash(units.significant, row.device_max_abs_difference)),
    ("Flipped decisions", cells.device_flips),
)
