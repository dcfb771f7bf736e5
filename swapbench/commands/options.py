"""The options of the commands, as frozen groups: built once from what was typed, then handed on whole.

This module is imported for `--help`, so it imports nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.devices.android_text import Cores
    from swapbench.records import FaceBoxes, Format, Precision
    from swapbench.runtimes.benchmark_model import Delegate

FRAMES_PER_VIDEO: Final = 8
"""As in data.manifests, which is too much to import for --help; a test holds both equal."""

CORES: Final = ("big", "mid", "little", "all")
SWEEP: Final = "sweep"
DELEGATES: Final = ("cpu", "xnnpack", "gpu", "npu", "nnapi")

GATE_BUDGET_S: Final = 20.0
"""Default time for the rounds of one model in a gate."""

LAST: Final = 20
"""So many earlier records a gate with a history holds each number against."""

PROFILE_PROCESSES: Final = 5
"""Fresh processes in which a file is profiled: their range misses the median once in 16 times."""

LEAST_SUSTAINED_S = 5.0


@dataclass(frozen=True)
class DataOptions:
    """The data to score on. With none named it is the simulated set, which is made on first use.

    Attributes:
        data: A dataset in its official layout, a manifest, or a folder with one.
        data_root: A folder of several datasets, for protocols across them.
        protocol: For example "1" or "O+C+I:M"; None takes the dataset's own splits.
        frames: Frames of each video, spread evenly.
        faces: Where face boxes come from; None leaves it to the model card.
        images: The folder in which relative paths of a manifest begin; None takes the manifest's.
        boxes: A table of face boxes; None takes the dataset's own.
        detector: What finds faces otherwise, "dlib" or "yunet=FILE"; None for dlib.

    Raises:
        UserError: Both a dataset and a folder of datasets were named.
        UnknownName: There is no such source of face boxes.
    """

    data: Path | None = None
    data_root: Path | None = None
    protocol: str | None = None
    frames: int = FRAMES_PER_VIDEO
    faces: FaceBoxes | None = None
    images: Path | None = None
    boxes: Path | None = None
    detector: str | None = None

    def __post_init__(self) -> None:
        if self.data is not None and self.data_root is not None:
            from swapbench.errors import UserError

            raise UserError(
                "a dataset and --data-root cannot be combined",
                remedy="Name one dataset, or with --data-root a folder of several",
            )
        if self.faces is not None:
            from swapbench.catalog import checked_names
            from swapbench.records import FACE_BOXES

            checked_names("source of face boxes", (self.faces,), FACE_BOXES)

    @property
    def named(self) -> bool:
        """Whether any data were named."""
        return self.data is not None or self.data_root is not None


@dataclass(frozen=True)
class JudgedData(DataOptions):
    """The data that models are judged on.

    Attributes:
        threshold: One that was frozen elsewhere; None freezes it on the development split.
        keep_crops: Whether crops of faces stay in the working folder for the next time.
    """

    threshold: float | None = None
    keep_crops: bool = True


@dataclass(frozen=True)
class DeviceOptions:
    """The device to measure on.

    Attributes:
        serial: Which of several attached phones; None takes ANDROID_SERIAL or the only one.
        cores: Kinds of cores of a phone, measured one after another; none leaves the choice to its system.
        sweep: Measure on every kind of cores that the phone has.
        delegates: What TFLite's benchmark_model times beside the runtimes.
        require_full_delegation: Fail where a delegate takes only part of the graph.
        detached: The phone measures its battery by itself while its cable is out.
    """

    name: str = "local"
    serial: str | None = None
    cores: tuple[Cores, ...] = ()
    sweep: bool = False
    delegates: tuple[Delegate, ...] = ()
    require_full_delegation: bool = False
    detached: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        serial: str | None = None,
        cores: str | None = None,
        delegates: Sequence[str] = (),
        *,
        require_full_delegation: bool = False,
        detached: bool = False,
    ) -> DeviceOptions:
        """The same from options as they were typed: cores are "big", "big,little" or "sweep".

        Raises:
            UnknownName: There is no such kind of cores or delegate.
            UserError: The cores are empty, or mix "sweep" with kinds.
        """
        from swapbench.catalog import checked_names, split_commas
        from swapbench.errors import UserError

        kinds = tuple(dict.fromkeys(split_commas((cores or "",))))
        checked_names("kind of cores", kinds, (*CORES, SWEEP))
        if cores is not None and (not kinds or (SWEEP in kinds and len(kinds) > 1)):
            raise UserError(
                f"--cores {cores!r} is not a valid choice of cores",
                remedy="Name kinds, as in --cores big,little, or --cores sweep for all that the phone has",
            )
        return cls(
            name,
            serial or None,
            () if SWEEP in kinds else cast("tuple[Cores, ...]", kinds),
            sweep=SWEEP in kinds,
            delegates=cast(
                "tuple[Delegate, ...]", checked_names("delegate", split_commas(delegates), DELEGATES)
            ),
            require_full_delegation=require_full_delegation,
            detached=detached,
        )


@dataclass(frozen=True)
class VariantOptions:
    """The networks, by name or card file, and the files of each; empty means all."""

    models: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    precisions: tuple[Precision, ...] = ()

    @classmethod
    def of(cls, models: Sequence[str], formats: Sequence[str], precisions: Sequence[str]) -> VariantOptions:
        """The same from options as they were typed; each text may hold several, separated by commas.

        Raises:
            UnknownName: There is no such format or precision.
        """
        from swapbench.catalog import checked_names, split_commas
        from swapbench.records import ALL_FORMATS, ALL_PRECISIONS

        known = [name for name in ALL_PRECISIONS if name != "unknown"]
        return cls(
            split_commas(models),
            checked_names("format", split_commas(formats), ALL_FORMATS),
            cast("tuple[Precision, ...]", checked_names("precision", split_commas(precisions), known)),
        )


@dataclass(frozen=True)
class TimingOptions:
    """How a run times, and the energy that it measures along with it.

    Attributes:
        target: Relative half-width of the interval of every median at which timing stops.
        budget_s: Time for the speed phase; None takes some seconds for each file.
        seed: Of the order of slices and of the bootstrap.
        fps: Frame rate of a camera at which files are timed too, and energy is measured; None for none.
        window_s: Length of each of the three energy windows.
        sustained_s: How long every file also runs without a pause; None for not at all.
        profile: Whether each runtime is also asked which operators take the time.
    """

    threads: int = 1
    target: float = 0.02
    budget_s: float | None = None
    seed: int = 0
    fps: float | None = None
    window_s: float = 10.0
    sustained_s: float | None = None
    profile: bool = False


def input_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs as they were typed, "input=1,3,80,80": by name, "" for an only input without one.

    Raises:
        UserError: One is not a list of lengths, or an input has two.
    """
    from swapbench.errors import UserError

    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, lengths = text.rpartition("=")
        numbers = lengths.replace("x", ",").split(",")
        if not all(number.strip().isdecimal() and len(number) < 10 and int(number) for number in numbers):
            raise UserError(
                f"--shape {text!r} is not a shape", remedy="Write whole numbers: --shape input=1,3,80,80"
            )
        if name in shapes:
            raise UserError(f"--shape gives {name or 'the input'} two shapes", remedy="Leave one of them out")
        shapes[name] = tuple(int(number) for number in numbers)
    return shapes


def frame_counts(text: str) -> tuple[int, ...]:
    """Numbers of frames as they were typed, "1,2,4,8".

    Raises:
        UserError: One is no whole number from 1 to 1000.
    """
    from swapbench.errors import UserError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 5 and 1 <= int(part) <= 1000 for part in parts):
        raise UserError(
            f"--frames {text!r} are not numbers of frames", remedy="Write whole numbers: --frames 1,2,4,8"
        )
    return tuple(int(part) for part in parts)


def sustained_s(text: str | None) -> float | None:
    """Seconds of a sustained run as it was typed, "10min".

    Raises:
        UserError: It is not a time, or too short a one.
    """
    from swapbench import units
    from swapbench.errors import UserError

    if text is None:
        return None
    duration_s = units.amount(text, "time", "--sustained") / 1e9
    if duration_s < LEAST_SUSTAINED_S:
        raise UserError(
            f"--sustained {text} is too short: the least is {LEAST_SUSTAINED_S:g} s",
            remedy="For example: --sustained 10min",
        )
    return duration_s


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run's records and report.

    Attributes:
        name: A folder in reports/; None takes a time stamp.
        replace: Measure again under a name that exists.
        relative_to: The model that the report compares with; None takes the one with the most MACs.
        report: Whether tables, figures and page are drawn.

    Raises:
        UserError: The name is not that of a folder.
    """

    name: str | None = None
    replace: bool = False
    relative_to: str | None = None
    report: bool = True

    def __post_init__(self) -> None:
        from swapbench.errors import UserError

        if self.name is not None and (Path(self.name).name != self.name or self.name in {"", ".", ".."}):
            raise UserError(
                f"{self.name!r} is not a valid run name", remedy="Use letters, digits, dots and dashes"
            )


@dataclass(frozen=True)
class ScoringOptions:
    """How model files are scored on data.

    Attributes:
        card: Model card (name or file) of files that carry none of their own.
        runtimes: The first that runs a file is taken; all if empty.
        shapes: Of inputs whose lengths a file leaves free; see `input_shapes`.
        shard: Which of how many shards of the data is scored; None for all.
    """

    data: JudgedData
    card: str | None = None
    runtimes: tuple[str, ...] = ()
    device: str = "local"
    threads: int = 1
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shard: tuple[int, int] | None = None


@dataclass(frozen=True)
class ScoreOutput:
    """The score file that is written.

    Attributes:
        path: A .csv or .csv.gz file.
        raw_csv: Whether text that a spreadsheet would compute stands as it is.
    """

    path: Path
    raw_csv: bool = False


@dataclass(frozen=True)
class ScoreReading:
    """How a score file of somebody else is read; see `pad.score_files.read_score_file`.

    Attributes:
        columns: Our name of a column -> its name in the file.
        bona_fide_label: The label that means bona fide; None where it is plain.
        rising_with: What high scores mean, "bona_fide" or "attack".
        group_frames: Whether names that differ only in the number of a frame are one presentation.
    """

    columns: Mapping[str, str]
    bona_fide_label: str | None = None
    rising_with: str = "bona_fide"
    group_frames: bool = False

    @classmethod
    def of(
        cls,
        columns: Sequence[str],
        bona_fide_label: str | None,
        scores_are: str,
        *,
        group_frames: bool = False,
    ) -> ScoreReading:
        """The same from options as they were typed: columns as in `score=probability`.

        Raises:
            UserError: A column is not written like that.
            UnknownName: High scores mean neither "bona_fide" nor "attack".
        """
        from swapbench.catalog import checked_names, split_commas
        from swapbench.errors import UserError

        mapping = {}
        for text in split_commas(columns):
            ours, equals, theirs = text.partition("=")
            if not equals or not ours or not theirs:
                raise UserError(
                    f"--column {text!r} names no column", remedy="Write ours=theirs, as in score=probability"
                )
            mapping[ours] = theirs
        checked_names("meaning of a score", (scores_are,), ("bona_fide", "attack"))
        return cls(mapping, bona_fide_label, scores_are, group_frames)


@dataclass(frozen=True)
class PairOptions:
    """How a gate measures its pairs of files and judges them.

    Attributes:
        policy: None for the default budgets.
        runtimes: All if empty.
        budget_s: Time for the rounds of one model; confirming a FAIL may add to it.
        card: Model card (name or file) of files that carry none of their own.
        shapes: Of inputs whose lengths a file leaves free; see `input_shapes`.
    """

    policy: Path | None = None
    runtimes: tuple[str, ...] = ()
    device: str = "local"
    threads: int = 1
    budget_s: float = GATE_BUDGET_S
    card: str | None = None
    seed: int = 0
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SystemOptions:
    """How a system is found and judged.

    Attributes:
        run: The run folder that holds its members; None takes the newest, or measures files that have none.
        name: What it is called; None makes a name of its rule and its members.
        target: What it must keep to on the development split, such as "apcer<=5 %".
        slack: How far its ACER there may be above the lowest of all that is tried, 0.005 for half a point.
        cost: What is to be small: "time" or "energy".
        fps: Frames a second of a camera.
        runtimes: Whose records are taken, where there are several of a file.
        data: What files without records are scored on.
        card: The card of those files.
    """

    run: Path | None = None
    name: str | None = None
    target: str | None = None
    slack: float = 0.005
    cost: str = "time"
    fps: float | None = None
    runtimes: tuple[str, ...] = ()
    data: JudgedData = field(default_factory=JudgedData)
    card: str | None = None


@dataclass(frozen=True)
class RunSelection:
    """The runs of a report, and where it goes.

    Attributes:
        runs: Run folders or patterns; the newest run if empty.
        relative_to: The model that others are compared with; None takes the one with the most MACs.
        out: The folder to write to; None takes that of the run.
        raw_csv: Whether text that a spreadsheet would compute stands in CSV as it is.
    """

    runs: tuple[Path, ...] = ()
    relative_to: str | None = None
    out: Path | None = None
    raw_csv: bool = False


@dataclass(frozen=True)
class TrendSelection:
    """Which trends a person wants.

    Attributes:
        columns: names; the usual ones if empty.
        where: conditions on rows, as in `swapbench report --where`.
    """

    columns: tuple[str, ...] = ()
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class FigureOptions:
    """How one figure is drawn; see `report.figures.draw`."""

    x: str = "latency_p50"
    y: str = "acer"
    style: str = "paper"
    width: str = "column"
    history: Path | None = None
    labels: str = "auto"
    shares: bool = False
    uncertainty: str = "bars"


def command_line(options: Any) -> list[str]:
    """A frozen group as the words that it would be typed with; what has its default is left out.

    A field without a default is an argument, every other one the option of its name: `latency_ms` is
    --latency-ms. A group in a group is written out in its place.
    """
    words: list[str] = []
    for member in fields(options):
        value, option = getattr(options, member.name), f"--{member.name.replace('_', '-')}"
        if is_dataclass(value):
            words += command_line(value)
        elif member.default is MISSING:
            words.append(str(value))
        elif value == member.default:
            continue
        elif isinstance(value, bool):
            words.append(option)
        elif isinstance(value, tuple):
            words += [word for item in value for word in (option, str(item))]
        else:
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return words
