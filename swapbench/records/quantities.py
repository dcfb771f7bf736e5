"""The plan of a measurement and the quantities measured: speed, weight, accuracy, power and parity."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from swapbench.records.values import Absent, Frozen, Interval, Proportion


class Plan(Frozen):
    """How to measure. Every field has a default that suits a shared desktop.

    Attributes:
        min_rounds: fewest rounds; a round gives every file a fresh worker process.
        max_rounds: most rounds.
        slices_per_round: slices of each worker in a round.
        slice_ns: length of a slice: runs back to back.
        warmup_runs: fewest runs before the first slice.
        warmup_ns: least time before the first slice.
        threads: of one inference.
        target_relative_half_width: of the interval of the median, at which measuring stops.
        time_budget_s: for all files of a run, after which measuring stops.
        power_window_s: length of the idle and busy windows of a power pass.
        confidence: of all intervals.
        seed: of all random choices.
        fps: decisions a second at which a camera would ask for them; None: back to back.
    """

    min_rounds: int = 6
    max_rounds: int = 20
    slices_per_round: int = 8
    slice_ns: int = 20_000_000
    warmup_runs: int = 5
    warmup_ns: int = 50_000_000
    threads: int = 1
    target_relative_half_width: float = 0.02
    time_budget_s: float = 60.0
    power_window_s: float = 10.0
    confidence: float = 0.95
    seed: int = 0
    fps: float | None = Field(default=None, gt=0)


class ToolSummary(Frozen):
    """Statistics that a tool reports in place of the single runs of a process. None: not reported."""

    runs: int | None = None
    mean_ns: int | None = None
    sd_ns: int | None = None
    min_ns: int | None = None
    p05_ns: int | None = None
    median_ns: int | None = None
    p95_ns: int | None = None
    max_ns: int | None = None


class WorkerTimes(Frozen):
    """One fresh process: how it loaded, and every timed run in slices.

    Attributes:
        round: its number, from 0.
        load_ns: time to load the file.
        first_ns: time of the first run.
        warmup_runs: runs before the first slice.
        slices_ns: wall time of each run, a tuple for each slice.
        cpu_ns: process CPU time over the same runs, None where it is not known.
        summary: of a tool that reports no single runs; slices_ns then holds one number, see Speed.sample.
        late_frames: frames of a camera that were lost because they came while another one was computed; None
            for runs that wait for no frame.
        decisions: of a system, what each run in slices_ns was: number of the presentation, 1 where it was
            accepted, and inferences of each member; None for a file.
    """

    round: int
    load_ns: int
    first_ns: int
    warmup_runs: int
    slices_ns: tuple[tuple[int, ...], ...]
    cpu_ns: int | None
    summary: ToolSummary | None = None
    late_frames: int | None = None
    decisions: tuple[tuple[tuple[int, ...], ...], ...] | None = None

    @property
    def runs_ns(self) -> tuple[int, ...]:
        """All timed runs of this process, in the order in which they happened."""
        return tuple(ns for runs_ns in self.slices_ns for ns in runs_ns)


class Speed(Frozen):
    """Latency of one inference at batch 1: raw samples by worker process.

    Attributes:
        workers: one for each round.
        input: what was fed: "sample" (a real preprocessed image) or "random" (seeded, shape of the graph).
        stopped: what ended measuring: the target width, the time budget or the number of rounds.
        sample: what one number in slices_ns is: a timed run, or what a tool reports of all runs of one
            process.
        sitting: when the speed pass began, in which files were timed in turn; "" in older records, whose runs
            had one each unless they were resumed.
    """

    workers: tuple[WorkerTimes, ...]
    input: str
    stopped: Literal["target", "budget", "rounds"]
    sample: Literal["run", "process median", "process mean"] = "run"
    sitting: str = ""

    @property
    def runs_ns(self) -> list[int]:
        """Latencies of all workers, in order."""
        return [ns for worker in self.workers for ns in worker.runs_ns]


class SustainedPoint(Frozen):
    """One stretch of a sustained run, up to the start of the next.

    Its quantiles are kept instead of its runs, because minutes of them are too many.

    Attributes:
        start_s: from the beginning of the sustained run.
        p50_ns: median of its runs (stats.quantile).
        p90_ns: 90th percentile of its runs.
        runs: how many.
        temperature_c: of the device at its end, None where the device does not say.
        thermal_status: Android's at its end, see THERMAL_STATUSES; None where the device does not say.
    """

    start_s: float = Field(ge=0)
    p50_ns: int
    p90_ns: int
    runs: int
    temperature_c: float | None = None
    thermal_status: int | None = Field(default=None, ge=0, le=6)


class Sustained(Frozen):
    """Latency and temperature while one file runs without a pause for minutes, in order of time."""

    points: tuple[SustainedPoint, ...] = Field(min_length=1)


NOT_SUSTAINED: Final = Absent(absent="no sustained run was made")
"""What a record says without a sustained run; so do all of schema versions 1 and 2."""

NOT_PACED: Final = Absent(
    absent="times at a camera's frame rate were not asked for", remedy="Give the rate, e.g. --fps 15"
)
NO_THRESHOLD: Final = Absent(
    absent="the data have no development split to freeze a threshold on, and none was given",
    remedy="Add a development split, or give a threshold that was frozen elsewhere: --threshold",
)
"""Why accuracy without a threshold has neither APCER nor BPCER."""

NOTHING_TO_COMPARE: Final = Absent(
    absent="the development split has no frame that could be read", remedy="Name a dataset with --data"
)
"""What a record says of parity with its network where that is known and there were no samples."""
NOT_ELSEWHERE: Final = Absent(absent="the file ran on this computer itself")
"""What a record that was not made on a phone says of parity with the desktop."""


class PeakMemory(Frozen):
    """Peak resident set of a fresh worker, in a pass of its own.

    Attributes:
        before_load_bytes: after importing the runtime, before loading the model.
        peak_bytes: high-water mark after the runs.
        kind: what sort of memory the number is, in words.
    """

    before_load_bytes: int
    peak_bytes: int
    kind: str


class Weight(Frozen):
    """What the file costs to ship and to hold.

    params and macs are counted on the exported graph: one fused multiply-add is one MAC; convolutions, linear
    layers and matrix products count; batch normalisation is folded in exported files.
    """

    file_bytes: int
    params: int
    macs: int
    uncounted_ops: tuple[str, ...] = ()
    ops: dict[str, int] = Field(default_factory=dict)
    peak_memory: PeakMemory | Absent


class Parity(Frozen):
    """How far the scores of a file are from a reference's on the same real samples.

    The reference is the PyTorch network, or the same file on another device. Correlations are None where a
    side is constant, and where an older record does not know them.

    Attributes:
        samples: that were compared.
        max_abs_difference: of the scores.
        mean_abs_difference: of the scores.
        correlation: of the scores, Pearson's.
        rank_correlation: Spearman's.
        logit_correlation: of the logits, Pearson's; see `swapbench.pad.agreement.logits`.
        logit_error: root mean square error of the logits over the standard deviation of the reference's.
        decision_flips: samples that the two decide differently.
        threshold: where they are decided.
        tolerance: the limits of the file's precision, see `swapbench.pad.agreement.TOLERANCES`.
    """

    samples: int
    max_abs_difference: float
    mean_abs_difference: float
    correlation: float | None
    rank_correlation: float | None = None
    logit_correlation: float | None = None
    logit_error: float | None = None
    decision_flips: int
    threshold: float
    tolerance: dict[str, float]


class FailedFrames(Frozen):
    """Frames that have no score for one and the same reason.

    Attributes:
        reason: why, in words.
        frames: how many.
        files: the first of their files, at most `FILES_NAMED`.
    """

    FILES_NAMED: ClassVar[int] = 20
    FILES_SHOWN: ClassVar[int] = 3

    reason: str
    frames: int
    files: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The same in a line, with the first of the files."""
        shown = ", ".join(self.files[: self.FILES_SHOWN])
        more = ", ..." if len(self.files) > self.FILES_SHOWN else ""
        frames = "1 frame has" if self.frames == 1 else f"{self.frames} frames have"
        return f"{frames} no score ({shown}{more}): {self.reason}"


class FoldErrors(Frozen):
    """One fold of a protocol: its own threshold, frozen on its own development split, and its errors."""

    fold: str
    threshold: float
    dev_eer: float
    apcer_by_species: dict[str, Proportion]
    bpcer: Proportion
    apcer: float
    acer: float
    hter: float
    eer: float
    auc: float
    bona_fide: int
    attacks: int
    failures_to_acquire: int


class Accuracy(Frozen):
    """ISO/IEC 30107-3 errors of the file's own scores at a threshold frozen on the development split.

    Without a development split the threshold is a given one, or there is none: then apcer, bpcer, acer, hter
    and dev_eer are None and apcer_by_species is empty. eer, auc and bpcer_at_apcer need none: they choose
    their thresholds on the test split itself, which flatters them.

    With several folds (OULU-NPU protocols 3 and 4) apcer, acer, hter, eer, auc and dev_eer are means over
    `folds`, acer_sd is the standard deviation over them (n - 1), threshold is None because each fold has its
    own, and the proportions count the errors of all folds together, each at its own threshold.

    Attributes:
        dataset: its name.
        dataset_digest: of its samples.
        simulated: whether the data are simulated.
        protocol: of the dataset.
        threshold: on the score; None with several folds, and without any.
        threshold_rule: how it was chosen on the development split; "given" for one from elsewhere, empty
            without any.
        apcer_by_species: attack presentations accepted, by attack instrument species.
        bpcer: bona fide presentations rejected.
        apcer: largest over the species.
        acer: mean of APCER and BPCER.
        acer_interval: of acer.
        acer_bias: how much too high acer is on average because the worst of several species is taken, as far
            as people drawn again show it (less than it is where species are alike); None for one species.
        eer: equal error rate of the test split.
        auc: area under the ROC curve of the test split.
        dev_eer: equal error rate of the development split.
        auc_interval: of auc.
        bpcer_at_apcer: bpcer10, bpcer20, bpcer100: at the lowest threshold of this same split with APCER <=
            10, 5, 1 %.
        hter: (pooled FAR + FRR) / 2 at the frozen threshold: hter@source-dev.
        hter_interval: of hter.
        eer_interval: of eer.
        acer_sd: over several folds.
        folds: one by one, where there are several.
        failures_to_acquire: presentations without a score: in no rate, in no trial count.
        failures_by_class: the same by class: bona_fide, attack.
        frames: test frames or images that were to be scored.
        frames_without_score: those of them that have none.
        failed_frames: why frames of either split have none, and which.
        crops_at_border: test frames whose crop, at its full size, leaves the frame, so that the card's
            border decides what the network sees there; None in records older than this.
        subjects: people in the test split.
        faces: where the face boxes came from.
        basis: what the numbers rest on: a carved development split, files that are missing.
        bona_fide: bona fide presentations with a score.
        attacks: attack presentations with a score.
        scores_sha256: digest of the file of scores.
        invoke_ns: time inside the runtime's invoke during the scoring pass.
        pass_ns: wall time of the scoring pass in the worker, without loading.
    """

    dataset: str
    dataset_digest: str
    simulated: bool
    protocol: str
    threshold: float | None
    threshold_rule: str
    apcer_by_species: dict[str, Proportion]
    bpcer: Proportion | None
    apcer: float | None
    acer: float | None
    acer_interval: Interval | None
    acer_bias: float | None = None
    eer: float
    auc: float
    dev_eer: float | None
    auc_interval: Interval | None = None
    bpcer_at_apcer: dict[str, Proportion | Absent] = Field(default_factory=dict)
    hter: float | None = None
    hter_interval: Interval | None = None
    eer_interval: Interval | None = None
    acer_sd: float | None = None
    folds: tuple[FoldErrors, ...] = ()
    failures_to_acquire: int
    failures_by_class: dict[str, int] = Field(default_factory=dict)
    frames: int | None = None
    frames_without_score: int | None = None
    failed_frames: tuple[FailedFrames, ...] = ()
    crops_at_border: int | None = None
    subjects: int | None = None
    faces: str = ""
    basis: tuple[str, ...] = ()
    bona_fide: int
    attacks: int
    scores_sha256: str
    invoke_ns: int
    pass_ns: int


class CounterRead(Frozen):
    """One energy counter over one window.

    Attributes:
        counter: its name, "whole/part" for one whose energy is inside another's.
        used_uj: difference of the raw counter values, already unwrapped by the meter.
        window_ns: length of the window.
    """

    counter: str
    used_uj: int
    window_ns: int

    @property
    def counts_towards_total(self) -> bool:
        """False for a counter named `whole/part`: its energy is inside the whole's already."""
        return "/" not in self.counter


PowerGrade = Literal["rails", "charge", "current"]
POWER_GRADES: tuple[PowerGrade, ...] = ("rails", "charge", "current")
"""How a phone's energy was measured, best first.

Counters of its power rails; its battery's charge counter from step to step, times voltage; battery current
times voltage, sampled.
"""


class Power(Frozen):
    """Idle, busy, idle. Energy counters of the whole scope; runs counted inside the busy window.

    Attributes:
        meter: its name.
        scope: what its counters cover.
        resolution_uj: step of the counters.
        update_ns: time between two new values of the counters.
        idle_before: the counters over the idle window before the runs.
        busy: the counters during the runs.
        idle_after: the counters over the idle window after the runs.
        runs: inside the busy window.
        grade: see POWER_GRADES; None for a computer's counters.
        basis: what the numbers rest on, in words, such as the unit and the sign of a battery's current.
    """

    meter: str
    scope: str
    resolution_uj: int
    update_ns: int
    idle_before: tuple[CounterRead, ...]
    busy: tuple[CounterRead, ...]
    idle_after: tuple[CounterRead, ...]
    runs: int
    grade: PowerGrade | None = None
    basis: tuple[str, ...] = ()
