"""One row of a report: all that it says of one record.

What a record says already (its variant, weight, errors, parity) stands in the row as it is; only what must be
computed from raw numbers is a value of its own. A value that does not exist is None, and `Row.missing` says
why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the row cache needs the types of the fields at run time
from typing import TYPE_CHECKING, Literal

from swapbench.records import (  # noqa: TC001
    Accuracy,
    Doubt,
    OperatorProfile,
    Parity,
    RuntimeUsed,
    Variant,
    Weight,
)
from swapbench.report.rows.comparable import SAME_DATA, Conditions, names_of, settings_text, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Quantity = Literal[
    "speed",
    "tail",
    "paced",
    "weight",
    "memory",
    "accuracy",
    "power",
    "parity",
    "device_parity",
    "operators",
    "reference",
]


@dataclass(frozen=True)
class Missing:
    """Why a number of a row does not exist. `quantity` says which part of the row it would have been in."""

    quantity: Quantity
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Latency:
    """Latency of one inference at batch 1, back to back, as a typical fresh process shows it.

    Attributes:
        p05_ns: what the work costs when nothing disturbs it; None of a tool that does not report it.
        p05_low_ns: lower end of its interval; None for a single process.
        p05_high_ns: upper end of its interval.
        p50_ns: the median; as p05_ns otherwise.
        p50_low_ns: lower end of the interval of the median.
        p50_high_ns: upper end of the interval of the median.
        confidence: of both intervals; None where there is none.
        p90_ns: an upper bound at 95 %; None where there are too few processes or runs to claim one.
        p95_ns: as p90_ns.
        p99_ns: as p90_ns.
        load_ns: median over fresh worker processes.
        first_ns: median of the first inference over fresh worker processes.
        cpu_time_ns: process CPU time of one inference: a stand-in for effort, not an energy.
        runs: timed runs of all workers.
        workers: fresh processes with a timed run.
        input: what was fed; see records.Speed.
        sitting: tells the files of a run that were timed together from the others; see records.Speed.
        p50_by_round_ns: round -> the median of its process; files of one sitting share their rounds.
    """

    p05_ns: float | None
    p05_low_ns: float | None
    p05_high_ns: float | None
    p50_ns: float
    p50_low_ns: float | None
    p50_high_ns: float | None
    confidence: float | None
    p90_ns: float | None
    p95_ns: float | None
    p99_ns: float | None
    load_ns: float
    first_ns: float
    cpu_time_ns: float | None
    runs: int
    workers: int
    input: str
    sitting: str
    p50_by_round_ns: dict[int, float]


@dataclass(frozen=True)
class PacedLatency:
    """Latency of runs that wait for the frames of a camera.

    Attributes:
        p50_ns: the median, with its interval, as in Latency.
        p50_low_ns: lower end of the interval of the median.
        p50_high_ns: upper end of the interval of the median.
        p95_ns: an upper bound at 95 %; None where there are too few processes or runs to claim one.
        missed: share of `frames` that came while one was still computed; None where the runtime does not
            count them.
        frames: frames that came, computed or not.
    """

    p50_ns: float
    p50_low_ns: float | None
    p50_high_ns: float | None
    p95_ns: float | None
    missed: float | None
    frames: int | None


@dataclass(frozen=True)
class Energy:
    """Energy of one inference by one meter.

    Above idle with its uncertainty, and with the idle share (gross).
    """

    meter: str
    scope: str
    above_idle_uj: float
    uncertainty_uj: float
    gross_uj: float
    runs: int
    limit_uj: float

    @property
    def resolved(self) -> bool:
        """False when the uncertainty is as large as the energy itself.

        Then only `limit_uj` may be printed.
        """
        return self.above_idle_uj > self.uncertainty_uj


@dataclass(frozen=True)
class DecisionRow:
    """What one decision costs: of a system, and of a file alone, which decides by the mean of its frames.

    Attributes:
        basis: "file", or of a system "computed" from the records of its members, or "measured".
        frames: of a presentation that a decision looks at, the mean.
        time_ns: computing time, the mean over presentations.
        time_low_ns: lower end of its interval.
        time_high_ns: upper end of its interval.
        time_p90_ns: so much or less in nine of ten decisions; None of a file alone of several frames, whose
            record does not say how many each presentation has.
        time_worst_ns: the most; None as time_p90_ns.
        energy_uj: above idle, the mean; None where it is not known.
        energy_low_uj: lower end of its interval.
        energy_high_uj: upper end of its interval.
        latency_ns: from the first frame to the decision at a camera's rate, the mean; None without a rate.
        fps: that rate.
    """

    basis: Literal["file", "computed", "measured"]
    frames: float
    time_ns: float
    time_low_ns: float | None
    time_high_ns: float | None
    time_p90_ns: float | None
    time_worst_ns: float | None
    energy_uj: float | None
    energy_low_uj: float | None
    energy_high_uj: float | None
    latency_ns: float | None
    fps: float | None


@dataclass(frozen=True)
class Relative:
    """One row against its reference. None where either side is missing, or the reference is 0.

    Named for their direction: `speed_up`, `size_reduction` and their kind are reference / this row (more than
    1 is better), `accuracy_kept` and `error_ratio` are this row / reference. The reference itself has no
    interval.

    Attributes:
        reference: label of the reference.
        reference_precision: fp32 wherever the reference network was measured in fp32 under the row's setup.
        paired: whether the interval of speed_up is of the ratios of the rounds that both files were timed in.
            Of files that were not timed together it joins the worst ends of both medians' intervals, which is
            wider and covers at least 1 - 2 (1 - confidence).
    """

    reference: str
    reference_precision: str
    paired: bool
    speed_up: float | None
    speed_up_low: float | None
    speed_up_high: float | None
    speed_up_p05: float | None
    size_reduction: float | None
    params_reduction: float | None
    macs_reduction: float | None
    memory_reduction: float | None
    accuracy_kept: float | None
    error_ratio: float | None
    energy_reduction: float | None


@dataclass(frozen=True)
class Row:
    """All that a report says of one record; rates are fractions of 1.

    Attributes:
        label: unique among the rows of one table.
        used: runtime, version, providers and settings, as the worker reported them.
        conditions: what must be equal for two rows to be compared.
        weight: the record's own; its peak_memory may be an Absent.
        accuracy: the record's own.
        energy: one for each meter, the record's first meter first.
        decision: what one decision costs; None where times or accuracy are missing.
        parity: scores of the file against those of its PyTorch network.
        device_parity: scores of the device against those of the same file on the desktop.
        operators: what the runtime made of the file's graph, where its operators were profiled.
        trained_on_simulated_data: None where the record does not say how its network was trained.
        missing: why values above are None.
        relative: None for a row alone, and where there is no reference.
    """

    label: str
    record_id: str
    run: str
    time: datetime
    variant: Variant
    artifact_sha256: str
    used: RuntimeUsed
    conditions: Conditions
    speed: Latency | None
    paced: PacedLatency | None
    weight: Weight | None
    accuracy: Accuracy | None
    energy: tuple[Energy, ...]
    decision: DecisionRow | None
    parity: Parity | None
    device_parity: Parity | None
    operators: OperatorProfile | None
    trained_on_simulated_data: bool | None
    doubts: tuple[Doubt, ...]
    missing: tuple[Missing, ...]
    relative: Relative | None

    @property
    def net(self) -> str:
        """The network without its recipe."""
        return self.variant.net

    @property
    def recipe(self) -> str | None:
        """How the network was changed, None for the network as it is."""
        return self.variant.recipe

    @property
    def model(self) -> str:
        """`net` or `net.recipe`."""
        return f"{self.variant.net}.{self.variant.recipe}" if self.variant.recipe else self.variant.net

    @property
    def precision(self) -> str:
        """Of the file: fp32, fp16, int8 or unknown."""
        return self.variant.precision

    @property
    def format(self) -> str:
        """Of the file: onnx or tflite."""
        return self.variant.format

    @property
    def is_system(self) -> bool:
        """Whether it is of files that decide together, and not of a file."""
        return self.decision is not None and self.decision.basis != "file"

    @property
    def machine(self) -> str:
        """The device's own name."""
        return self.conditions.device

    @property
    def runtime(self) -> str:
        """Name of the runtime, without its version."""
        return self.used.runtime

    @property
    def place(self) -> str:
        """Machine, cores and libraries as one line of text; see Conditions.place."""
        return self.conditions.place

    @property
    def settings(self) -> str | None:
        """All that was chosen for the runtime, as one text; None where nothing was."""
        return settings_text(self.used)

    @property
    def data_simulated(self) -> bool | None:
        """Whether the accuracy comes from simulated data; None where there is no accuracy."""
        return None if self.accuracy is None else self.accuracy.simulated

    @property
    def valid(self) -> bool:
        """True when nothing speaks against using this row."""
        return not self.doubts


def data_name(accuracy: Accuracy) -> str:
    """Data set and protocol, with the start of the digest, for rows of several data sets."""
    return f"{accuracy.dataset} {accuracy.dataset_digest[:6]} {accuracy.protocol}"


def distinction_among(rows: Sequence[Row]) -> Callable[[Row], list[str]]:
    """What to say of a row in a title: its data and its place, each only where the rows differ in it."""
    places = names_of(rows)
    data = {tuple(value_of(row, name) for name in SAME_DATA) for row in rows if row.accuracy}

    def distinction(row: Row) -> list[str]:
        words = [data_name(row.accuracy)] if row.accuracy and len(data) > 1 else []
        return [*words, *([places[row.place]] if len(places) > 1 else [])]

    return distinction


def hter(accuracy: Accuracy) -> float | None:
    """(pooled FAR + FRR) / 2 at the threshold frozen on the development split; None without a threshold.

    Records of schema version 1 do not hold it, but its parts: one fold, errors by species, rejected bona
    fide.
    """
    if accuracy.hter is not None or accuracy.bpcer is None:
        return accuracy.hter
    attacks = accuracy.apcer_by_species.values()
    far = sum(species.errors for species in attacks) / sum(species.trials for species in attacks)
    return (far + accuracy.bpcer.rate) / 2


def worst_species(accuracy: Accuracy) -> tuple[str, ...]:
    """The attack instrument species of the highest APCER; several where they tie."""
    rates = {name: errors.rate for name, errors in sorted(accuracy.apcer_by_species.items())}
    worst = max(rates.values(), default=None)
    return tuple(name for name, rate in rates.items() if rate == worst)
