"""Which columns the sections of the Markdown report show: a heading, and from a row to its cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench import units
from swapbench.report.tables.fields import FIELDS
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
    ("p90, ms", lambda row: cells.ms(FIELDS["latency_p90_ns"](row))),
    ("File size", lambda row: cells.or_dash(units.size, FIELDS["file_bytes"](row))),
    ("MACs", lambda row: cells.or_dash(units.count, FIELDS["macs"](row))),
    ("Peak memory", lambda row: cells.or_dash(units.size, FIELDS["peak_memory_bytes"](row))),
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
    ("Cores", lambda row: FIELDS["cores"](row) or units.NOT_MEASURED),
    ("Libraries", lambda row: FIELDS["flavour"](row) or units.NOT_MEASURED),
    ("Threads", lambda row: str(FIELDS["threads"](row))),
    ("p05", lambda row: cells.ms(FIELDS["latency_p05_ns"](row))),
    ("Median", cells.median),
    ("p90", lambda row: cells.ms(FIELDS["latency_p90_ns"](row))),
    ("p95", lambda row: cells.ms(FIELDS["latency_p95_ns"](row))),
    ("p99", lambda row: cells.ms(FIELDS["latency_p99_ns"](row))),
    ("Load", lambda row: cells.ms(FIELDS["load_ns"](row))),
    ("First", lambda row: cells.ms(FIELDS["first_ns"](row))),
    ("Runs", lambda row: str(FIELDS["runs"](row))),
    ("Workers", lambda row: str(FIELDS["workers"](row))),
    ("CPU time (stand-in, not energy)", lambda row: cells.ms(FIELDS["cpu_time_ns"](row))),
)

PACED: tuple[Column, ...] = (
    FILE,
    ("Frames a second", lambda row: cells.or_dash(lambda rate: f"{rate:g}", FIELDS["paced_fps"](row))),
    ("Median", cells.paced_median),
    ("p95", lambda row: cells.ms(FIELDS["paced_p95_ns"](row))),
    ("Median back to back", lambda row: cells.ms(FIELDS["latency_p50_ns"](row))),
    ("Missed frames", cells.frames),
)

WEIGHT: tuple[Column, ...] = (
    FILE,
    ("File size", lambda row: cells.or_dash(units.size, FIELDS["file_bytes"](row))),
    ("Params", lambda row: cells.or_dash(units.count, FIELDS["params"](row))),
    ("MACs", lambda row: cells.or_dash(units.count, FIELDS["macs"](row))),
    ("Peak memory", lambda row: cells.or_dash(units.size, FIELDS["peak_memory_bytes"](row))),
    ("Before load", lambda row: cells.or_dash(units.size, FIELDS["memory_before_load_bytes"](row))),
)

ACCURACY: tuple[Column, ...] = (
    FILE,
    ("APCER (worst species)", cells.apcer),
    (
        "BPCER",
        lambda row: cells.with_interval(
            cells.bare_percent, FIELDS["bpcer"](row), FIELDS["bpcer_low"](row), FIELDS["bpcer_high"](row)
        ),
    ),
    ("ACER", cells.acer),
    (
        "HTER @source-dev",
        lambda row: cells.with_interval(
            cells.bare_percent,
            FIELDS["hter_source_dev"](row),
            FIELDS["hter_source_dev_low"](row),
            FIELDS["hter_source_dev_high"](row),
        ),
    ),
    (
        "HTER @target-EER",
        lambda row: cells.with_interval(
            cells.bare_percent,
            FIELDS["hter_target_eer"](row),
            FIELDS["hter_target_eer_low"](row),
            FIELDS["hter_target_eer_high"](row),
        ),
    ),
    ("AUC", lambda row: cells.or_dash(cells.bare_percent, FIELDS["auc"](row))),
    ("BPCER10", lambda row: cells.or_dash(cells.bare_percent, FIELDS["bpcer10"](row))),
    ("BPCER20", lambda row: cells.or_dash(cells.bare_percent, FIELDS["bpcer20"](row))),
    ("BPCER100", lambda row: cells.or_dash(cells.bare_percent, FIELDS["bpcer100"](row))),
    ("Threshold", lambda row: cells.or_dash(units.significant, FIELDS["threshold"](row))),
    (
        "Max score drift",
        lambda row: cells.or_dash(units.significant, FIELDS["parity_max_abs_difference"](row)),
    ),
    (
        "Flips",
        lambda row: (
            units.NOT_MEASURED
            if FIELDS["parity_samples"](row) is None
            else f"{FIELDS['parity_decision_flips'](row)}/{FIELDS['parity_samples'](row)}"
        ),
    ),
)

ELSEWHERE: tuple[Column, ...] = (
    FILE,
    (
        "Largest score difference",
        lambda row: cells.or_dash(units.significant, FIELDS["device_max_abs_difference"](row)),
    ),
    ("Flipped decisions", cells.device_flips),
)
