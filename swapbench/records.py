"""The nouns: frozen values that cross a process or the disk. Raw numbers, the unit in the name, no arithmetic.

This module knows nothing about hardware, files or statistics. A quantity that was not measured is an `Absent`
with its reason, never 0. What can be computed from the raw numbers is computed elsewhere, by pure functions.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic needs the real type at run time
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 3
"""Version of the record format.

History: 1 (2026-11) first. 2 (2026-11): accuracy says HTER, its folds, its frames and what it rests on; preprocessing says
where the face box comes from. 3 (2026-11): sustained runs, and the frame rate of the plan; times at that rate and frames lost; a phone's
state, and how far its scores are from the desktop's. Everything that an older version lacks has a default, so its records are read as they are.
"""

Format = Literal["onnx", "tflite"]
Precision = Literal["fp32", "fp16", "int8", "unknown"]
FaceBoxes = Literal["given", "detector", "frame"]
FACE_BOXES: tuple[FaceBoxes, ...] = ("given", "detector", "frame")
"""Where the face box of a frame comes from; see Preprocessing."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
FORMATS: tuple[Format, ...] = ("onnx", "tflite")


class Frozen(BaseModel):
    """A value: immutable, equal by content, refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, which is validated; pydantic's `model_copy` would not do that.

        Fields left to their defaults stay unset in the copy.

        Raises:
            pydantic.ValidationError: a changed value is not valid, or there is no such field.
        """
        return type(self)(**{**{name: getattr(self, name) for name in self.model_fields_set}, **changes})


class Absent(Frozen):
    """A quantity that was not measured: why, and what would make it measurable."""

    absent: str = Field(description="the reason, in one sentence")
    remedy: str = Field(default="", description="the exact command, permission or hardware that would help")


class Doubt(Frozen):
    """A reason to distrust a record, with what to do about it.

    code: a stable word a program can match, e.g. "wide_interval"; quantity: which of the four it touches.
    """

    code: str
    quantity: Literal["speed", "weight", "accuracy", "power", "run"]
    message: str
    remedy: str = ""


class Variant(Frozen):
    """Which network in which file: the text of a variant is its file name, `minifasnet_v2.kd.int8.tflite`."""

    net: str
    recipe: str | None = None
    precision: Precision
    format: Format

    @property
    def name(self) -> str:
        """The file name without its format suffix."""
        return ".".join(part for part in (self.net, self.recipe, self.precision) if part)

    @property
    def file_name(self) -> str:
        """The file name; it sorts and globs."""
        return f"{self.name}.{self.format}"


class Preprocessing(Frozen):
    """From a frame and a face box to the network's input, as data.

    The crop is `crop_scale` times the face box about its centre, made smaller where the frame is too small and
    shifted inside the frame (never padded), resized to width x height, channels in `channel_order`; then
    per channel `(pixel * scale - mean) / std` with pixel in 0..255.
    keep_box_aspect: False crops a square on the longer side of the box, True scales the box as it is (minivision).
    resize: "antialias" (support grows with the reduction) or "bilinear" (four neighbours, as OpenCV's default).
    face_box: "given" takes the dataset's own box and asks the detector where the dataset has none; "detector" always asks
    the detector; "frame" crops nothing away.
    """

    face_box: FaceBoxes = "given"

    width_px: int
    height_px: int
    crop_scale: float
    keep_box_aspect: bool = False
    resize: Literal["antialias", "bilinear"] = "antialias"
    channel_order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class OutputMeaning(Frozen):
    """What the first output tensor of a network means.

    logits: the score is softmax(output)[bona_fide]; probabilities: output[bona_fide]; score: the one number itself.
    Scores rise with bona fide.
    """

    kind: Literal["logits", "probabilities", "score"]
    bona_fide_index: int = 0
    classes: tuple[str, ...] = ()


class Training(Frozen):
    """How a checkpoint was made: enough to make it again."""

    command: str
    seed: int
    data: str
    data_digest: str
    simulated_data: bool
    commit: str = ""
    time: str = ""
    seconds: float | None = None
    machine: str = ""
    packages: dict[str, str] = Field(default_factory=dict)
    dev_results: dict[str, float] = Field(default_factory=dict)


class ModelCard(Frozen):
    """A network that swapbench knows: architecture as data, checkpoint by digest, preprocessing, meaning of the output."""

    name: str
    recipe: str | None = None
    summary: str
    family: str = Field(
        description="the builder in swapbench.workshop.nets, e.g. 'minifasnet' or 'resnet_map'"
    )
    architecture: dict[str, Any] = Field(description="arguments of the builder: widths are data")
    checkpoint: str = Field(description="file name relative to the card, or an absolute path")
    checkpoint_sha256: str
    rename_keys: dict[str, str] = Field(
        default_factory=dict,
        description="regular expression -> replacement, applied to foreign state dict keys in order",
    )
    preprocessing: Preprocessing
    output: OutputMeaning
    licence: str = "Apache-2.0"
    source: str = ""
    training: Training | None = None


class Plan(Frozen):
    """How to measure. Every field has a default that suits a shared desktop."""

    min_rounds: int = 4
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
    fps: float | None = Field(
        default=None,
        gt=0,
        description="decisions a second at which a camera would ask for them; None: back to back",
    )


THERMAL_STATUSES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""What Android's thermal status numbers mean, from 0."""


class CpuCluster(Frozen):
    """Cores of one kind. allowed_khz: the highest frequency allowed now, below max_khz where something caps it."""

    cores: tuple[int, ...]
    capacity: int | None = Field(default=None, description="relative to the fastest core of the phone: 1024")
    max_khz: int | None = None
    allowed_khz: int | None = None
    governor: str | None = None


class PhoneState(Frozen):
    """What can make a phone faster or slower, at one moment. None: the phone does not tell.

    thermal_status: see THERMAL_STATUSES; temperatures_c: by sensor; surface_c: what the start gate
    looks at, the hottest skin sensor or else the battery; plugged: what supplies it, e.g. ("usb",).
    """

    thermal_status: int | None = None
    temperatures_c: dict[str, float] = Field(default_factory=dict)
    surface_c: float | None = None
    battery_percent: int | None = None
    charging: bool | None = None
    plugged: tuple[str, ...] | None = None
    battery_saver: bool | None = None
    screen_on: bool | None = None
    clusters: tuple[CpuCluster, ...] = ()


class StartGate(Frozen):
    """Waiting for a phone to cool down before measuring. surface_c: where the waiting ended, None where it is not told."""

    limit_c: float
    surface_c: float | None
    waited_s: float
    passed: bool


class Machine(Frozen):
    """The fingerprint that says what may be compared with what.

    state: a phone's when this was written; state_before: when its measurement began, after the start gate.
    """

    name: str
    device: str
    system: str
    abi: str
    soc: str
    logical_cores: int
    memory_bytes: int
    governor: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    emulated: bool = False
    load_1min: float | None = None
    busy_cores: float | None = Field(
        default=None, description="cores that other work kept busy in the second before measuring began"
    )
    temperature_c: float | None = None
    on_battery: bool | None = None
    build: str | None = Field(
        default=None, description="the exact build of the system: Android's fingerprint"
    )
    state: PhoneState | None = None
    state_before: PhoneState | None = None
    start_gate: StartGate | None = None


OUTCOMES: Final = frozenset({"delegated"})
"""Settings that say what came of a run: how much of the graph a delegate took."""


class RuntimeUsed(Frozen):
    """What really ran, as the worker itself reported it."""

    runtime: str
    version: str
    package: str
    providers: tuple[str, ...]
    threads: int
    settings: dict[str, str] = Field(
        default_factory=dict, description="what else changes speed, e.g. spinning: off"
    )
    delegated_nodes: int | None = Field(
        default=None, description="graph nodes that the delegate took; None: unknown"
    )
    nodes: int | None = Field(default=None, description="graph nodes in all; None: unknown")

    @property
    def configuration(self) -> dict[str, str]:
        """The settings that were chosen: flavour of the libraries, cores, delegate; without OUTCOMES."""
        return {name: value for name, value in self.settings.items() if name not in OUTCOMES}


class ToolSummary(Frozen):
    """What a tool that tells no single runs said of those of one process. None: it did not say."""

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

    slices_ns: one tuple of per-run wall times for each slice; cpu_ns: process CPU time over the same runs, None where
    it is not told. summary: of a tool that tells no single runs; slices_ns then holds one number, see Speed.sample.
    late_frames: frames of a camera that came while another one was computed and so were lost, None for runs that wait for no frame.
    """

    round: int
    load_ns: int
    first_ns: int
    warmup_runs: int
    slices_ns: tuple[tuple[int, ...], ...]
    cpu_ns: int | None
    summary: ToolSummary | None = None
    late_frames: int | None = None

    @property
    def runs_ns(self) -> tuple[int, ...]:
        """All timed runs of this process, in the order in which they happened."""
        return tuple(ns for one in self.slices_ns for ns in one)


class Speed(Frozen):
    """Latency of one inference at batch 1: raw samples by worker process."""

    workers: tuple[WorkerTimes, ...]
    input: str = Field(
        description="what was fed: 'sample' (a real preprocessed image) or 'random' (seeded, graph shape)"
    )
    stopped: Literal["target", "budget", "rounds"]
    sample: Literal["run", "process median", "process mean"] = Field(
        default="run",
        description="what one number in slices_ns is: a timed run, or what a tool said of all runs of one process",
    )

    @property
    def runs_ns(self) -> list[int]:
        """Latencies of all workers, in order."""
        return [ns for worker in self.workers for ns in worker.runs_ns]


class SustainedPoint(Frozen):
    """One stretch of a sustained run, from `start_s` after its begin to the start of the next.

    p50_ns, p90_ns: quantiles of its runs (stats.quantile), kept instead of the runs because minutes of them are too many.
    temperature_c, thermal_status: what the device said at its end, None where it says nothing. thermal_status is Android's:
    0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown.
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
"""What a record says that does not speak of sustained runs; so do all of schema versions 1 and 2."""


NOT_PACED: Final = Absent(
    absent="times at a camera's frame rate were not asked for", remedy="Give the rate, e.g. --fps 15"
)
NOT_ELSEWHERE: Final = Absent(absent="the file ran on this computer itself")
"""What a record says of parity with the desktop that was not made on a phone."""


class PeakMemory(Frozen):
    """Peak resident set of a fresh worker, in a pass of its own.

    before_load_bytes: after importing the runtime, before the model; peak_bytes: high-water mark after the runs.
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


class Interval(Frozen):
    """A two-sided interval and how it was made."""

    low: float
    high: float
    confidence: float = 0.95
    method: str


class Proportion(Frozen):
    """errors out of trials, with an exact interval."""

    errors: int
    trials: int
    interval: Interval

    @property
    def rate(self) -> float:
        """The point estimate."""
        return self.errors / self.trials


class Parity(Frozen):
    """How far the scores of a file are from a reference's on the same real samples: the PyTorch network, or another device."""

    samples: int
    max_abs_difference: float
    mean_abs_difference: float
    correlation: float | None
    decision_flips: int
    threshold: float
    tolerance: dict[str, float]


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
    """ISO/IEC 30107-3 errors of the exported file's own scores at a threshold frozen on the development split.

    With several folds (OULU-NPU protocols 3 and 4) apcer, acer, hter, eer, auc and dev_eer are means over `folds`, acer_sd
    is the standard deviation over them (n - 1), threshold is None because each fold has its own, and the
    proportions count the errors of all folds together, each at its own threshold.
    """

    dataset: str
    dataset_digest: str
    simulated: bool
    protocol: str
    threshold: float | None
    threshold_rule: str
    apcer_by_species: dict[str, Proportion]
    bpcer: Proportion
    apcer: float
    acer: float
    acer_interval: Interval | None
    eer: float
    auc: float
    dev_eer: float
    auc_interval: Interval | None = None
    bpcer_at_apcer: dict[str, Proportion | Absent] = Field(
        default_factory=dict,
        description="bpcer10, bpcer20, bpcer100: at the lowest threshold of this same split with APCER <= 10, 5, 1 %",
    )
    hter: float | None = Field(
        default=None, description="(pooled FAR + FRR) / 2 at the frozen threshold: hter@source-dev"
    )
    hter_interval: Interval | None = None
    eer_interval: Interval | None = None
    acer_sd: float | None = None
    folds: tuple[FoldErrors, ...] = ()
    failures_to_acquire: int = Field(
        description="presentations without a score: in no rate, in no trial count"
    )
    failures_by_class: dict[str, int] = Field(
        default_factory=dict, description="the same by class: bona_fide, attack"
    )
    frames: int | None = Field(default=None, description="test frames or images that were to be scored")
    frames_without_score: int | None = None
    subjects: int | None = Field(default=None, description="people in the test split")
    faces: str = Field(default="", description="where the face boxes came from")
    basis: tuple[str, ...] = Field(
        default=(), description="what the numbers rest on: a carved development split, files that are missing"
    )
    bona_fide: int = Field(description="bona fide presentations with a score")
    attacks: int = Field(description="attack presentations with a score")
    scores_sha256: str
    invoke_ns: int = Field(description="time inside the runtime's invoke during the scoring pass")
    pass_ns: int = Field(description="wall time of the scoring pass in the worker, load excluded")


class CounterRead(Frozen):
    """One energy counter over one window: raw counter values, already unwrapped into `used_uj` by the meter."""

    counter: str
    used_uj: int
    window_ns: int

    @property
    def counts_towards_total(self) -> bool:
        """False for a counter named `whole/part`: its energy is inside the whole's already."""
        return "/" not in self.counter


PowerGrade = Literal["rails", "charge", "current"]
POWER_GRADES: tuple[PowerGrade, ...] = ("rails", "charge", "current")
"""How a phone's energy was measured, best first: counters of its power rails; its battery's charge counter from step to
step, times voltage; battery current times voltage, sampled."""


class Power(Frozen):
    """Idle, busy, idle. Energy counters of the whole scope; runs counted inside the busy window.

    grade: see POWER_GRADES, None for a computer's counters. basis: what the numbers rest on, in words, such as the unit
    and the sign that were found for a battery's current.
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


class Record(Frozen):
    """Everything measured about one exported file under one runtime on one device. Written once, never rewritten.

    speed: runs back to back; paced: runs that wait for the frames of a camera at plan.fps, where that was asked for;
    parity: of the file with its PyTorch network; device_parity: of the device's scores with the same file's on the desktop,
    every frame of the data, decisions at the threshold that the desktop's scores freeze.
    """

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    id: str
    time: datetime
    run: str
    variant: Variant
    artifact: str
    artifact_sha256: str
    card: ModelCard | None
    runtime: RuntimeUsed
    plan: Plan
    machine: Machine
    speed: Speed | Absent
    weight: Weight | Absent
    accuracy: Accuracy | Absent
    power: tuple[Power, ...] | Absent
    parity: Parity | Absent
    sustained: Sustained | Absent = NOT_SUSTAINED
    paced: Speed | Absent = NOT_PACED
    device_parity: Parity | Absent = NOT_ELSEWHERE
    doubts: tuple[Doubt, ...]

    @property
    def valid(self) -> bool:
        """True when nothing speaks against using this record."""
        return not self.doubts
