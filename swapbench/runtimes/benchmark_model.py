"""TFLite's own `benchmark_model` as a tool: the delegates that it has (GPU, NNAPI), where the user has the program.

It tells no single runs but a summary of one process, so processes are the samples (`bench.measure_tool_speed`). It feeds one
random tensor and compares nothing. It ends well, with a latency, also where the delegate took no node at all: what the
delegate took is read from what it prints, none is a failure, and less than all is told or, if so asked, a failure.

Formats: of LiteRT's and TensorFlow's tools/benchmark from 2.x to today, with and without percentiles, and as logcat shows
them. Numbers have six significant digits ("3.1407e+06"), times are microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from swapbench.errors import WorkerFailed
from swapbench.ports import ToolRun
from swapbench.records import RuntimeUsed, ToolSummary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swapbench.ports import Finished, Tool
    from swapbench.records import Format

Delegate = Literal["cpu", "xnnpack", "gpu", "nnapi"]
Taken = Literal["all", "part", "none"]

FEWEST_RUNS: Final = 10
_FLAGS: Final[Mapping[Delegate, tuple[str, ...]]] = {
    "cpu": ("--use_xnnpack=false",),
    "xnnpack": ("--use_xnnpack=true",),
    "gpu": ("--use_gpu=true",),
    "nnapi": ("--use_nnapi=true", "--disable_nnapi_cpu=true"),
}
"""NNAPI without its own CPU kernels, which would count as delegated."""
_BUILTIN: Final = "builtin"

_N = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LOGCAT = re.compile(
    r"^\d\d-\d\d \d\d:\d\d:\d\d\.\d+ +"
    r"(?:(?:\d+ +\d+ +[VDIWEF] +tflite *: ?)|(?:[VDIWEF]/tflite *\( *\d+\): ?))"
)
_LEVEL = re.compile(r"^(?:INFO|WARN|WARNING|ERROR|VERBOSE): ?")
_RUNNING = re.compile(r"^Running benchmark for at least (\d+) iterations and at least ")
_COUNT = re.compile(r"^count=(\d+)(?: |$)")
_STATISTIC = re.compile(rf"\b(first|curr|min|max|avg|std|p5|median|p95)=({_N})")
_TIMINGS = re.compile(
    rf"^Inference timings in us: Init: ({_N}), First inference: ({_N}), "
    rf"Warmup \(avg\): ({_N}), Inference \(avg\): ({_N})$"
)
_LEGACY = re.compile(r"^Average inference timings in us: (.*)$")
_LEGACY_FIELD = re.compile(rf"(Warmup|Init|Inference|no stats): ({_N})")
_INITIALISED = re.compile(rf"^Initialized session in ({_N})ms\.$")
_THREADS = re.compile(r"^(?:#threads used for CPU inference|Num threads): \[(\d+)\]$")
_REPLACING = re.compile(
    r"^Replacing (\d+) out of (\d+) node\(s\) with delegate \((\S+)\) node, yielding (\d+) partitions "
    r"for (?:the whole graph|subgraph (\d+))\.$"
)
_APPLIED = re.compile(
    r"^Explicitly applied (\S+) delegate, and the model graph will be (completely|partially) executed by the delegate"
)
_NOT_APPLIED = re.compile(
    r"^Though (\S+) delegate is explicitly applied, the model graph will not be executed by the delegate\.$"
)
_ERROR = re.compile(r"^(?:ERROR|FATAL): ?(.*)$")
_DISALLOWED = "Disallowed CPU fallback detected"


@dataclass(frozen=True)
class Coverage:
    """What a delegate took of a graph: its nodes and those in all where they were told, and how much that is."""

    taken: Taken | None = None
    delegated_nodes: int | None = None
    nodes: int | None = None

    @property
    def text(self) -> str:
        """In words."""
        if self.nodes is not None:
            return f"{self.delegated_nodes} of {self.nodes} nodes"
        return {"all": "the whole graph", "part": "a part of the graph", "none": "no node", None: "unknown"}[
            self.taken
        ]


@dataclass(frozen=True)
class Report:
    """Everything that one process of the tool printed that is a number of ours. None: it did not say."""

    summary: ToolSummary
    init_ns: int | None
    first_ns: int | None
    warmup_runs: int | None
    threads: int | None


def report(text: str) -> Report:
    """Read what one process printed, in any of its formats. WorkerFailed where it timed no run, or told none.

    The blocks `count=...` belong to the line "Running benchmark" before them: the first is the warm-up, the last what was
    measured. Old builds print no such lines, older ones only one line of averages.
    """
    lines = [_bare(line) for line in text.splitlines()]
    blocks = _blocks(lines)
    timed = blocks[-1] if blocks else {}
    warm = blocks[0] if len(blocks) > 1 else {}
    averages = _averages(lines)
    if timed.get("count") == 0:
        raise WorkerFailed("benchmark_model timed no run")
    summary = ToolSummary(
        runs=_whole(timed.get("count")),
        mean_ns=_ns(timed.get("avg", averages.get("Inference"))),
        sd_ns=_ns(timed.get("std")),
        min_ns=_ns(timed.get("min")),
        p05_ns=_ns(timed.get("p5")),
        median_ns=_ns(timed.get("median")),
        p95_ns=_ns(timed.get("p95")),
        max_ns=_ns(timed.get("max")),
    )
    if summary.mean_ns is None and summary.median_ns is None:
        raise WorkerFailed(f"benchmark_model told no times: {_complaint(text)}")
    first = timed.get("first") if warm.get("count") == 0 else warm.get("first", averages.get("First"))
    return Report(
        summary=summary,
        init_ns=_ns(averages.get("Init")),
        first_ns=_ns(first),
        warmup_runs=_whole(warm.get("count")),
        threads=_threads(lines),
    )


def coverage(text: str, delegate: Delegate) -> Coverage:
    """What a delegate took, from the lines about replaced nodes (summed over subgraphs) or about the delegate.

    Of several lines for one subgraph the first counts: later ones are about what is left. Lines of other delegates, such as
    XNNPACK for what the GPU left over, are not looked at. `cpu` takes everything and says nothing.
    """
    if delegate == "cpu":
        return Coverage()
    taken: Taken | None = None
    replaced: dict[str, tuple[int, int]] = {}
    for line in map(_bare, text.splitlines()):
        if (one := _REPLACING.match(line)) and delegate in one[3].lower():
            replaced.setdefault(one[5] or "", (int(one[1]), int(one[2])))
        elif (one := _APPLIED.match(line)) and delegate in one[1].lower():
            taken = "all" if one[2] == "completely" else "part"
        elif (one := _NOT_APPLIED.match(line)) and delegate in one[1].lower():
            taken = "none"
    if not replaced:
        return Coverage(taken)
    delegated = sum(one for one, _ in replaced.values())
    nodes = sum(all_ for _, all_ in replaced.values())
    if taken is None:
        taken = "all" if delegated == nodes else "part" if delegated else "none"
    return Coverage(taken, delegated, nodes)


@dataclass
class BenchmarkModel:
    """The program on one device with one delegate; implements ports.Tool.

    program: its path there. prefix: what starts it, e.g. ("taskset", "f0"), and cores: what kind those are, in a word.
    version: of the program, as far as it is known: it does not tell. require_full: a delegate that takes less than the whole graph is a failure.
    """

    program: str
    delegate: Delegate = "xnnpack"
    name: str = "benchmark_model"
    formats: tuple[Format, ...] = ("tflite",)
    version: str = "unknown"
    prefix: tuple[str, ...] = ()
    cores: str = ""
    require_full: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def command(self, artifact: str, *, threads: int, options: Mapping[str, str | int | float]) -> list[str]:
        """The command line of one process.

        options: warmup_runs, warmup_ns, timed_ns (at least so long, and at least FEWEST_RUNS); others are flags of the tool.
        """
        given = dict(options)
        seconds = {
            "warmup_min_secs": float(given.pop("warmup_ns", 50_000_000)) / 1e9,
            "min_secs": float(given.pop("timed_ns", 1_000_000_000)) / 1e9,
        }
        flags = {
            "graph": artifact,
            "num_threads": threads,
            "num_runs": FEWEST_RUNS,
            **{name: f"{value:.6g}" for name, value in seconds.items()},
            **given,
            **self.settings,
        }
        argv = [*self.prefix, self.program, *(f"--{name}={value}" for name, value in flags.items())]
        argv += _FLAGS[self.delegate]
        return [*argv, "--require_full_delegation=true"] if self.require_full else argv

    def parse_run(self, finished: Finished) -> ToolRun:
        """What one process said. WorkerFailed where it failed, or where the delegate took nothing or less than required."""
        text = f"{finished.stdout}\n{finished.stderr}"
        took = coverage(text, self.delegate)
        if _DISALLOWED in text or (self.require_full and took.taken in {"part", "none"}):
            raise WorkerFailed(
                f"the {self.delegate} delegate took {took.text}, and the whole graph is required",
                remedy="Export the file so that the delegate knows every operator, or leave out --require-full-delegation.",
            )
        if finished.exit_code != 0:
            raise WorkerFailed(
                f"benchmark_model ended with {finished.exit_code}: {_complaint(text)}",
                remedy="Run it by hand on the device to see everything it says.",
            )
        if took.taken == "none":
            raise WorkerFailed(
                f"the {self.delegate} delegate took no node of the graph: what was timed is the CPU",
                remedy="Measure with --delegate cpu or xnnpack, or export the file with operators that the delegate knows.",
            )
        said = report(text)
        if said.init_ns is None or said.first_ns is None or said.warmup_runs is None or said.threads is None:
            raise WorkerFailed(
                "this benchmark_model does not tell how it loaded, ran first, warmed up or how many threads it used",
                remedy="Use one of TensorFlow 2.4 or newer, or of LiteRT.",
            )
        return ToolRun(
            used=self._used(took, said.threads),
            load_ns=said.init_ns,
            first_ns=said.first_ns,
            warmup_runs=said.warmup_runs,
            input="random",
            summary=said.summary,
        )

    def _used(self, took: Coverage, threads: int) -> RuntimeUsed:
        settings = {"delegate": self.delegate, **self.settings}
        if self.delegate == "gpu":  # the tool's own default, which computes in half precision
            settings.setdefault("gpu_precision_loss_allowed", "true")
        if self.delegate != "cpu":
            settings["delegated"] = took.text
        if self.prefix[:1] == ("taskset",) and len(self.prefix) == 2:
            settings["affinity"] = self.prefix[1]
        elif self.prefix:
            settings["started_by"] = " ".join(self.prefix)
        if self.cores:
            settings |= {"cores": self.cores, "affinity": self.prefix[-1]}
        providers: tuple[str, ...] = (self.delegate, _BUILTIN)
        if self.delegate == "cpu":
            providers = (_BUILTIN,)
        elif took.taken == "all":
            providers = (self.delegate,)
        return RuntimeUsed(
            runtime=self.name,
            version=self.version,
            package=self.name,
            providers=providers,
            threads=threads,
            settings=settings,
            delegated_nodes=took.delegated_nodes,
            nodes=took.nodes,
        )


# ---------------------------------------------------------------------------------------------- lines


def _bare(line: str) -> str:
    """A line without what logcat and the tool's own log put before it."""
    return _LEVEL.sub("", _LOGCAT.sub("", line.strip()))


def _blocks(lines: Iterable[str]) -> list[dict[str, float]]:
    """The statistics of every part that was run, warm-up first; empty ones for parts that told none."""
    lines = list(lines)
    headed = any(_RUNNING.match(line) for line in lines)
    found: list[dict[str, float]] = []
    for line in lines:
        if _RUNNING.match(line):
            found.append({})
        elif (one := _COUNT.match(line)) and (not headed or (found and not found[-1])):
            block = {name: float(number) for name, number in _STATISTIC.findall(line)}
            if "avg" not in block and "curr" in block:  # one run, or all alike: only that one number is told
                alike = dict.fromkeys(("first", "min", "max", "avg", "p5", "median", "p95"), block["curr"])
                block = {**alike, "std": 0.0, **block}
            block["count"] = float(one[1])
            if headed:
                found[-1] = block
            else:
                found.append(block)
    return found


def _averages(lines: Iterable[str]) -> dict[str, float]:
    """Init, First, Warmup and Inference in microseconds, as far as the last lines tell them."""
    told: dict[str, float] = {}
    for line in lines:
        if one := _TIMINGS.match(line):
            names = ("Init", "First", "Warmup", "Inference")
            told |= {name: float(number) for name, number in zip(names, one.groups(), strict=True)}
        elif one := _LEGACY.match(line):
            fields = {name: float(number) for name, number in _LEGACY_FIELD.findall(one[1])}
            if "no stats" in fields:
                fields["Inference"] = fields.pop("no stats")
            told |= fields
        elif one := _INITIALISED.match(line):
            told.setdefault("Init", float(one[1]) * 1_000)
    return told


def _threads(lines: Iterable[str]) -> int | None:
    told = [int(one[1]) for line in lines if (one := _THREADS.match(line))]
    return told[-1] if told else None


def _ns(microseconds: float | None) -> int | None:
    return None if microseconds is None else round(microseconds * 1_000)


def _whole(count: float | None) -> int | None:
    return None if count is None else round(count)


def _complaint(text: str) -> str:
    """The last error that says something."""
    lines = [_LOGCAT.sub("", line.strip()) for line in text.splitlines() if line.strip()]
    errors = [one[1] for line in lines if (one := _ERROR.match(line))]
    telling = [error for error in errors if "Benchmarking failed" not in error]
    return (telling or errors or lines or ["nothing was said"])[-1][:300]


if TYPE_CHECKING:
    _keeps_the_port: type[Tool] = BenchmarkModel
