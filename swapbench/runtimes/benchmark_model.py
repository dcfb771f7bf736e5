"""Google's `benchmark_model` as a tool, for delegates (GPU, NPU, NNAPI), where the user has the program.

There are two programs of that name. The classic one (TensorFlow, LiteRT 1) applies a TFLite delegate. The
present one (LiteRT 2) drives the CompiledModel API: it has no flags for XNNPACK and NNAPI, knows NPUs, and
falls back on the CPU unless it is told not to. A flag that it does not know is a warning to both.

It reports a summary of one process instead of single runs, so processes are the samples
(`bench.measure_tool_speed`). It feeds one random tensor and compares nothing. It exits with 0 and prints a
latency even if the delegate took no node at all, so what the delegate took is parsed from its output: no
node, or for an accelerator none that is told, is a failure; fewer than all are recorded or, on request, a
failure.

Formats: those of tools/benchmark of LiteRT and TensorFlow from 2.x to today, with and without percentiles,
as logcat shows them and as terminals get them. Numbers have six significant digits ("3.1407e+06"); times are
microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from swapbench.errors import UserError, WorkerFailed
from swapbench.ports import ToolRun
from swapbench.records import RuntimeUsed, ToolSummary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swapbench.ports import Finished, Tool
    from swapbench.records import Format

Delegate = Literal["cpu", "xnnpack", "gpu", "npu", "nnapi"]
Api = Literal["delegates", "CompiledModel"]
Taken = Literal["all", "part", "none"]

FEWEST_RUNS: Final = 10
COMPILED_MODEL_BANNER: Final = "benchmark_litert_model"
"""In the program and in what it prints: the source file of the tool that drives the CompiledModel API."""
_FLAGS: Final[Mapping[Api, Mapping[Delegate, tuple[str, ...]]]] = {
    "delegates": {
        "cpu": ("--use_xnnpack=false",),
        "xnnpack": ("--use_xnnpack=true",),
        "gpu": ("--use_gpu=true",),
        "nnapi": ("--use_nnapi=true", "--disable_nnapi_cpu=true"),
    },
    "CompiledModel": {
        "xnnpack": ("--use_cpu=true",),
        "gpu": ("--use_gpu=true",),
        "npu": ("--use_npu=true",),
    },
}
"""NNAPI runs without its own CPU kernels, which would count as delegated."""
_API_NAMES: Final[Mapping[Api, str]] = {
    "delegates": "TFLite's delegates",
    "CompiledModel": "LiteRT's CompiledModel",
}
_WHOLE_GRAPH: Final[Mapping[Api, tuple[str, ...]]] = {
    "delegates": ("--require_full_delegation=true",),
    # with use_cpu, which is its default, it would abort
    "CompiledModel": ("--use_cpu=false", "--require_full_delegation=true"),
}
_ACCELERATORS: Final = frozenset({"gpu", "npu", "nnapi"})
_NODE_NAMES: Final[Mapping[Delegate, tuple[str, ...]]] = {
    "gpu": ("gpu", "litert_cl", "litert_gl", "litert_webgpu", "litert_vulkan"),
    "npu": ("npu", "dispatch"),
}
"""What stands in the name of a delegate's node, in lower case, where it is not the delegate's own name.

LiteRT's GPU accelerators are called after what they drive (OpenCL, ...), its NPUs "DispatchDelegate".
"""
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
    r"for (?:the whole graph|subgraph (\d+)(?: \(.*\))?)\.$"
)
_APPLIED = re.compile(
    r"^Explicitly applied (\S+) delegate, "
    r"and the model graph will be (completely|partially) executed by the delegate"
)
_NOT_APPLIED = re.compile(
    r"^Though (\S+) delegate is explicitly applied, the model graph will not be executed by the delegate\.$"
)
_ERROR = re.compile(r"^(?:ERROR|FATAL): ?(.*)$")
_DISALLOWED = "Disallowed CPU fallback detected"
_UNCONSUMED = re.compile(r"^Unconsumed cmdline flags: *(.*)$")
_NOT_LOADED = re.compile(r"^.*\bcould not be (?:\w+ )?loaded\b.*$")
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Control sequences of terminals (ECMA-48)."""


@dataclass(frozen=True)
class Coverage:
    """How much of a graph a delegate took.

    Attributes:
        taken: None where it is unknown.
        delegated_nodes: None where it is unknown.
        nodes: Of the whole graph; None where it is unknown.
    """

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
    """The numbers that one process of the tool printed; None where it did not print one."""

    summary: ToolSummary
    init_ns: int | None
    first_ns: int | None
    warmup_runs: int | None
    threads: int | None


def report(text: str) -> Report:
    """Parse what one process printed, in any of the tool's formats.

    Each block `count=...` belongs to the line "Running benchmark" before it: the first is the warm-up, the
    last what was measured. Old builds do not print such lines; older ones only print a line of averages.

    Raises:
        WorkerFailed: It timed no run, or printed no times.
    """
    lines = [_bare(line) for line in text.splitlines()]
    blocks = _blocks(lines)
    timed = blocks[-1] if blocks else {}
    warm = blocks[0] if len(blocks) > 1 else {}
    averages = _averages(lines)
    if timed.get("count") == 0:
        raise WorkerFailed("benchmark_model did not time any run")
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
        raise WorkerFailed(f"benchmark_model printed no times: {_complaint(text)}")
    first = timed.get("first") if warm.get("count") == 0 else warm.get("first", averages.get("First"))
    return Report(
        summary=summary,
        init_ns=_ns(averages.get("Init")),
        first_ns=_ns(first),
        warmup_runs=_whole(warm.get("count")),
        threads=_threads(lines),
    )


def coverage(text: str, delegate: Delegate) -> Coverage:
    """What a delegate took, from the lines about replaced nodes (summed over subgraphs) or the delegate.

    Of several lines for one subgraph the first counts: later ones are about the rest. Lines of other
    delegates, such as XNNPACK for what the GPU left over, are ignored. `cpu` takes everything and prints
    nothing.
    """
    if delegate == "cpu":
        return Coverage()
    taken: Taken | None = None
    replaced: dict[str, tuple[int, int]] = {}  # subgraph -> (delegated nodes, nodes)
    for line in map(_bare, text.splitlines()):
        if (match := _REPLACING.match(line)) and _is_of(match[3], delegate):
            replaced.setdefault(match[5] or "", (int(match[1]), int(match[2])))
        elif (match := _APPLIED.match(line)) and _is_of(match[1], delegate):
            taken = "all" if match[2] == "completely" else "part"
        elif (match := _NOT_APPLIED.match(line)) and _is_of(match[1], delegate):
            taken = "none"
    if not replaced:
        return Coverage(taken)
    delegated = sum(count for count, _ in replaced.values())
    nodes = sum(total for _, total in replaced.values())
    if taken is None:
        taken = "all" if delegated == nodes else "part" if delegated else "none"
    return Coverage(taken, delegated, nodes)


def refusal(text: str, delegate: Delegate) -> str:
    """Why what a process timed cannot be the delegate's, in its own words; "" where it says nothing."""
    for line in map(_bare, text.splitlines()):
        if match := _UNCONSUMED.match(line):
            return f"it does not know {match[1]}"
        if delegate in _ACCELERATORS and _NOT_LOADED.match(line) and delegate in line.lower():
            return line[:300]
    return ""


@dataclass
class BenchmarkModel:
    """The program on one device with one delegate; implements ports.Tool.

    Attributes:
        program: Its path on the device.
        delegate: What must run the graph.
        name: In records.
        formats: The model files that it runs.
        version: Of the program, as far as it is known: it does not print one.
        prefix: What starts it, e.g. ("taskset", "f0").
        cores: The kind of cores that the prefix pins it to, "" for all.
        require_full: A delegate that takes less than the whole graph is a failure.
        settings: Further flags of the tool, recorded with the results.
        api: Of which of the two programs it is.

    Raises:
        UserError: The program does not have the delegate.
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
    api: Api = "delegates"

    def __post_init__(self) -> None:
        if self.delegate not in _FLAGS[self.api]:
            raise UserError(
                f"this benchmark_model, which drives {_API_NAMES[self.api]}, has no delegate {self.delegate}",
                remedy=f"Choose {', '.join(_FLAGS[self.api])}, or prepare the phone with the other program.",
            )

    @property
    def accelerated(self) -> bool:
        """Whether the delegate runs elsewhere than on the CPU."""
        return self.delegate in _ACCELERATORS

    def command(self, artifact: str, *, threads: int, options: Mapping[str, str | int | float]) -> list[str]:
        """The command line of one process.

        Args:
            artifact: The model file on the device.
            threads: Of the CPU.
            options: `warmup_runs`, `warmup_ns`, `timed_ns` (at least that long, and at least FEWEST_RUNS
                runs); others are flags of the tool.
        """
        others = dict(options)
        seconds = {
            "warmup_min_secs": float(others.pop("warmup_ns", 50_000_000)) / 1e9,
            "min_secs": float(others.pop("timed_ns", 1_000_000_000)) / 1e9,
        }
        flags = {
            "graph": artifact,
            "num_threads": threads,
            "num_runs": FEWEST_RUNS,
            **{name: f"{value:.6g}" for name, value in seconds.items()},
            **others,
            **self.settings,
        }
        argv = [*self.prefix, self.program, *(f"--{name}={value}" for name, value in flags.items())]
        argv += _FLAGS[self.api][self.delegate]
        # CompiledModel requires nothing of its CPU; what that took is looked at afterwards
        whole = self.require_full and (self.accelerated or self.api == "delegates")
        return [*argv, *_WHOLE_GRAPH[self.api]] if whole else argv

    def parse_run(self, finished: Finished) -> ToolRun:
        """The result of one process.

        Raises:
            WorkerFailed: It failed, or the delegate took nothing, less than required, or nobody knows what.
        """
        text = f"{finished.stdout}\n{finished.stderr}"
        took = coverage(text, self.delegate)
        why_not = refusal(text, self.delegate)
        if why_not:
            raise WorkerFailed(
                f"it is not the {self.delegate} delegate that benchmark_model timed: {why_not}",
                remedy="Use a benchmark_model that has the delegate, with its libraries beside the program.",
            )
        if _DISALLOWED in text or (self.require_full and took.taken in {"part", "none"}):
            raise WorkerFailed(
                f"the {self.delegate} delegate took {took.text}, but the whole graph is required",
                remedy="Export the file so that the delegate supports every operator, "
                "or omit --require-full-delegation.",
            )
        if finished.exit_code != 0:
            raise WorkerFailed(
                f"benchmark_model ended with {finished.exit_code}: {_complaint(text)}",
                remedy="Run it by hand on the device to see its whole output.",
            )
        if took.taken == "none":
            raise WorkerFailed(
                f"the {self.delegate} delegate took no node of the graph: it is the CPU that was timed",
                remedy="Measure with --delegate cpu or xnnpack, "
                "or export the file with operators that the delegate supports.",
            )
        if took.taken is None and self.delegate != "cpu" and (self.accelerated or self.require_full):
            raise WorkerFailed(
                f"benchmark_model does not say what the {self.delegate} delegate took: "
                "it may be the CPU that was timed",
                remedy="Use a build of benchmark_model that logs which nodes a delegate replaces.",
            )
        result = report(text)
        if (
            result.init_ns is None
            or result.first_ns is None
            or result.warmup_runs is None
            or result.threads is None
        ):
            raise WorkerFailed(
                "this benchmark_model does not report its load time, first run, warm-up runs or threads",
                remedy="Use one from TensorFlow 2.4 or newer, or from LiteRT.",
            )
        return ToolRun(
            used=self._used(took, result.threads),
            load_ns=result.init_ns,
            first_ns=result.first_ns,
            warmup_runs=result.warmup_runs,
            input="random",
            summary=result.summary,
        )

    def _used(self, took: Coverage, threads: int) -> RuntimeUsed:
        settings = {"delegate": self.delegate, **self.settings}
        if self.api != "delegates":
            settings["api"] = self.api
        elif self.delegate == "gpu":  # the tool's own default, which computes in half precision
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
    """A line without control sequences and without the prefixes of logcat and of the tool's own log."""
    return _LEVEL.sub("", _logged(line))


def _logged(line: str) -> str:
    return _LOGCAT.sub("", _TERMINAL.sub("", line).strip())


def _is_of(name: str, delegate: Delegate) -> bool:
    """Whether the tool's name of a delegate means this one."""
    return any(part in name.lower() for part in _NODE_NAMES.get(delegate, (delegate,)))


def _blocks(lines: Iterable[str]) -> list[dict[str, float]]:
    """The statistics of every part that was run, warm-up first; empty for parts that printed none."""
    lines = list(lines)
    headed = any(_RUNNING.match(line) for line in lines)
    blocks: list[dict[str, float]] = []
    for line in lines:
        if _RUNNING.match(line):
            blocks.append({})
        elif (match := _COUNT.match(line)) and (not headed or (blocks and not blocks[-1])):
            block = {name: float(number) for name, number in _STATISTIC.findall(line)}
            if "avg" not in block and "curr" in block:  # one run, or all alike: only that number is printed
                alike = dict.fromkeys(("first", "min", "max", "avg", "p5", "median", "p95"), block["curr"])
                block = {**alike, "std": 0.0, **block}
            block["count"] = float(match[1])
            if headed:
                blocks[-1] = block
            else:
                blocks.append(block)
    return blocks


def _averages(lines: Iterable[str]) -> dict[str, float]:
    """Init, First, Warmup and Inference in microseconds, as far as the last lines have them."""
    averages: dict[str, float] = {}
    for line in lines:
        if match := _TIMINGS.match(line):
            names = ("Init", "First", "Warmup", "Inference")
            averages |= {name: float(number) for name, number in zip(names, match.groups(), strict=True)}
        elif match := _LEGACY.match(line):
            fields = {name: float(number) for name, number in _LEGACY_FIELD.findall(match[1])}
            if "no stats" in fields:
                fields["Inference"] = fields.pop("no stats")
            averages |= fields
        elif match := _INITIALISED.match(line):
            averages.setdefault("Init", float(match[1]) * 1_000)
    return averages


def _threads(lines: Iterable[str]) -> int | None:
    counts = [int(match[1]) for line in lines if (match := _THREADS.match(line))]
    return counts[-1] if counts else None


def _ns(microseconds: float | None) -> int | None:
    return None if microseconds is None else round(microseconds * 1_000)


def _whole(count: float | None) -> int | None:
    return None if count is None else round(count)


def _complaint(text: str) -> str:
    """The last error line that names a reason."""
    lines = [_logged(line) for line in text.splitlines() if line.strip()]
    errors = [match[1] for line in lines if (match := _ERROR.match(line))]
    reasons = [error for error in errors if "Benchmarking failed" not in error]
    return (reasons or errors or lines or ["no output"])[-1][:300]


if TYPE_CHECKING:
    _keeps_the_port: type[Tool] = BenchmarkModel
