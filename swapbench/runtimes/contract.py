"""The worker contract: what a timed program of ours takes, does and prints, and how its parent reads it.

A worker is one fresh process with one model. It never sees a meter, a device or another model. Its standard
output is JSON, one object per line:

    {"event": "loaded", "runtime", "version", "package", "providers", "settings", "delegated_nodes", "nodes",
     "threads", "load_ns", "first_ns", "warmup_runs", "before_load_bytes", "input"}
    {"event": "slice", "run_ns": [...], "cpu_ns", "peak_rss_bytes", "late_frames", "decisions"}
    {"event": "outputs", "first": i, "rows": [[...], ...]}
    {"event": "scored", "n", "invoke_ns", "pass_ns", "outputs": [{"name", "shape"}]}
    {"event": "profile", "run_ns": [...],
     "nodes": [{"name", "op", "output", "provider", "count", "run_ns": [...]}],
     "placed": [{"name", "op", "output", "provider"}], "absent"}
    {"event": "about", "runtime", "version", "package", "providers", "packages": {name: version}}
    {"event": "error", "message", "stage"}                                 and exit status 1

`decisions` is a system's: see `swapbench.systems.worker`.

The stage of an error is "model" or "run" where the runtime refuses to load or to run the file.

Modes:

- *time*: loaded, then one slice of `--runs` runs.
- *serve*: loaded, then one slice for every request line on standard input: `{"runs": N}` (exactly N runs),
  `{"slice_ns": T}` (until T has passed, at least one run) or both (whichever ends first), each with an
  optional `"wake_runs"` (untimed, 2 by default). The end of the input ends the worker.
- *score*: loaded, then every sample once, the outputs in chunks, then scored. A row holds the numbers of all
  outputs that were asked for, one output after the other; `outputs` says which they are.
- *profile*: loaded, then at most `--runs` runs without the runtime's own profiler and as many with it, which
  gives each node's time in every run; `absent` says why there are no such times.
- *about*: no file is loaded; the only answer says which package was imported, with what beside it may change
  its speed, and which providers it could use on this machine.

Options:

- `--mode`, `--artifact FILE` (in every mode but *about*), `--threads N`, `--runs N`
- `--warmup-runs N`, `--warmup-ns T`: at least that many untimed runs, and for at least that long
- `--samples FILE` with `--normalise JSON` and, for timing, `--index I`: what is fed; otherwise random numbers
  from `--seed S`, and zeros for wide integers and for graphs with several inputs
- `--reads JSON`, in scoring, of a part of a network: the files before it in order, as
  `[{"artifact": FILE, "place": I}]`. The images are fed to the first, and the output at the place of each is
  fed to the next; `--shapes` and the like are those of the file itself
- `--outputs I[,I]`: which outputs scoring returns, by their places in the graph; the first unless told
- `--shapes 1x3x80x80[,...]`: of every input in the graph's order, where the file leaves lengths free, and
  `--dimensions N=1[,...]`: the free lengths of an ONNX file that have a name
- `--provider NAME`: the execution provider or delegate that must be used
- `--switches NAME=on|off[,...]`: options of the runtime, which `settings` reports, to turn on or off
- `--fps N`: camera pacing. Every timed run waits for its frame; frames due during a run are lost and counted
  in the slice's `late_frames`. Scoring is never paced.

The native runner also takes `--runtime`, `--library FILE`, `--affinity HEXMASK` and `--watch FILE[,FILE]`
with `--period-ms T`; see `native/runner.c`.

One timed run is the same for every runtime: *handing over the input array, computing, and taking the first
output as an array of one's own*. That is what an application pays; decoding, cropping and normalising an
image are not part of it. `cpu_ns` is the process's CPU time over the timed runs of a slice, over all
threads. `peak_rss_bytes` is the high-water mark of the resident set (VmHWM). `before_load_bytes` is the
resident set once the runtime is imported.

With several threads, a worker answers only when its thread pool is asleep, so that a waiting worker does not
spin against the one that is being timed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from swapbench.errors import WorkerFailed
from swapbench.ports import Loaded, Node, Outputs, OutputTensor, Profile, Slice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.ports import Mode, Runtime
    from swapbench.records import Format

LENDER: Final = Path(__file__).with_name("lend.py")
"""Starts a worker with an interpreter that has no swapbench."""


@dataclass(frozen=True)
class About:
    """What a worker says of its runtime without a file.

    Attributes:
        package: The distribution that was imported.
        version: Of it.
        providers: Execution providers, delegates or devices that it could use; empty where it cannot say.
        packages: Name -> version of what may change its speed, Python among them.
    """

    package: str
    version: str
    providers: tuple[str, ...]
    packages: Mapping[str, str]


def answer(line: str) -> dict[str, Any] | None:
    """The JSON object in a worker's line, or None where the line is something else (a library's output)."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _expected(line: str, kind: str) -> dict[str, Any]:
    event = answer(line)
    if event is None:
        raise WorkerFailed(f"the worker printed {line.strip()[:200]!r}, which is not an answer")
    if event["event"] == "error" and event.get("stage") in {"model", "run"}:
        from swapbench.runtimes.refusals import refused  # the parent's alone: a worker must not pay for it

        raise refused(str(event.get("message", "")))
    if event["event"] == "error":
        raise WorkerFailed(str(event.get("message", "the worker failed without a message")))
    if event["event"] != kind:
        raise WorkerFailed(f"the worker answered {event['event']!r} instead of {kind!r}")
    return event


def parse_loaded(line: str) -> Loaded:
    """Parse a "loaded" line; WorkerFailed on an error line or anything else."""
    from swapbench.records import RuntimeUsed  # pydantic: the parent has it, the worker must not pay for it

    event = _expected(line, "loaded")
    try:
        return Loaded(
            used=RuntimeUsed(
                runtime=event["runtime"],
                version=event["version"],
                package=event["package"],
                providers=tuple(event["providers"]),
                threads=event["threads"],
                settings=event.get("settings") or {},
                delegated_nodes=event.get("delegated_nodes"),
                nodes=event.get("nodes"),
            ),
            load_ns=int(event["load_ns"]),
            first_ns=int(event["first_ns"]),
            warmup_runs=int(event["warmup_runs"]),
            before_load_bytes=int(event["before_load_bytes"]),
            input=str(event["input"]),
        )
    except (KeyError, ValueError, TypeError) as problem:
        raise WorkerFailed(f"the worker's 'loaded' line is incomplete: {problem!r}") from None


def parse_slice(line: str) -> Slice:
    """Parse a "slice" line; WorkerFailed on an error line or anything else."""
    event = _expected(line, "slice")
    try:
        first, *more = event["run_ns"]
        run_ns = (int(first), *(int(ns) for ns in more))
        late, decisions = event.get("late_frames"), event.get("decisions")
        return Slice(
            run_ns=run_ns,
            cpu_ns=int(event["cpu_ns"]),
            peak_rss_bytes=int(event["peak_rss_bytes"]),
            late_frames=None if late is None else int(late),
            decisions=None if decisions is None else tuple(tuple(map(int, one)) for one in decisions),
        )
    except (KeyError, ValueError, TypeError) as problem:
        raise WorkerFailed(f"the worker's 'slice' line is incomplete: {problem!r}") from None


def parse_about(stdout: str) -> About:
    """Parse the output of a worker that was asked about its runtime.

    Raises:
        WorkerFailed: An error line, or no answer.
    """
    for line in stdout.splitlines():
        if answer(line) is None:
            continue
        event = _expected(line, "about")
        try:
            return About(
                package=str(event["package"]),
                version=str(event["version"]),
                providers=tuple(str(provider) for provider in event["providers"]),
                packages={str(name): str(version) for name, version in event["packages"].items()},
            )
        except (KeyError, TypeError, AttributeError) as problem:
            raise WorkerFailed(f"the worker's 'about' line is incomplete: {problem!r}") from None
    raise WorkerFailed("it answered nothing about its runtime")


def parse_outputs(stdout: str) -> Outputs:
    """Parse the output of a scoring worker; WorkerFailed on an error line, a gap or a missing end."""
    rows: list[tuple[float, ...]] = []
    for line in stdout.splitlines():
        event = answer(line)
        if event is None or event["event"] == "loaded":
            continue
        try:
            if event["event"] == "outputs":
                if event["first"] != len(rows):
                    raise WorkerFailed(f"rows {len(rows)} to {event['first']} of the outputs are missing")
                rows.extend(tuple(float(value) for value in row) for row in event["rows"])
                continue
            event = _expected(line, "scored")
            if event["n"] != len(rows):
                raise WorkerFailed(f"the worker scored {event['n']} samples but printed {len(rows)} rows")
            tensors = tuple(
                OutputTensor(str(tensor["name"]), tuple(int(length) for length in tensor["shape"]))
                for tensor in event.get("outputs", ())
            )
            return Outputs(tuple(rows), int(event["invoke_ns"]), int(event["pass_ns"]), tensors)
        except (KeyError, ValueError, TypeError) as problem:
            raise WorkerFailed(f"a line of the scoring worker is incomplete: {problem!r}") from None
    raise WorkerFailed("the scoring worker ended before all samples were scored")


def parse_profile(stdout: str) -> Profile:
    """Parse the output of a profiling worker.

    Raises:
        WorkerFailed: An error line, a line that contradicts itself, or a missing end.
    """
    loaded: Loaded | None = None
    for line in stdout.splitlines():
        event = answer(line)
        if event is None:
            continue
        if loaded is None:
            loaded = parse_loaded(line)
            continue
        event = _expected(line, "profile")
        try:
            nodes = tuple(_node(fields) for fields in event["nodes"])
            absent = str(event["absent"])
            runs = {len(node.run_ns) for node in nodes}
            if len(runs) > 1 or 0 in runs or bool(nodes) == bool(absent) or not event["run_ns"]:
                raise WorkerFailed("the worker's 'profile' line contradicts itself")
            return Profile(
                used=loaded.used,
                run_ns=tuple(int(ns) for ns in event["run_ns"]),
                nodes=nodes,
                placed=tuple(_node(fields) for fields in event["placed"]),
                absent=absent,
            )
        except (KeyError, ValueError, TypeError) as problem:
            raise WorkerFailed(f"the worker's 'profile' line is incomplete: {problem!r}") from None
    raise WorkerFailed("the profiling worker ended before it was done")


def _node(fields: Mapping[str, Any]) -> Node:
    return Node(
        name=str(fields["name"]),
        op=str(fields["op"]),
        output=str(fields["output"]),
        provider=str(fields["provider"]),
        run_ns=tuple(int(ns) for ns in fields.get("run_ns", ())),
        count=int(fields.get("count", 1)),
    )


@dataclass
class PythonWorker:
    """The parent's side of a worker that is a Python module; implements ports.Runtime.

    Attributes:
        name: Of the runtime, in records.
        formats: The model files that it runs.
        module: What the worker is run as: `python -m module`.
        python: The interpreter that runs it. One that is not ours needs only the runtime and numpy.
        distributions: What `pip install` calls it; several where each brings it, the usual one first.
        advice: How to get it where plain `pip install` is not the way.
        most_threads: That it can use; None for any number.
        installed: Name -> version of the packages of an interpreter of its own; empty where it shares ours.
        lent: Modules that another interpreter gets beside `module`, each with its whole package.
        switchable: Options that a person may turn on or off, which change results and times.
        switches: Those that are turned, each "on" or "off"; the others stay as the runtime has them.
    """

    name: str
    formats: tuple[Format, ...]
    module: str
    python: str = sys.executable
    distributions: tuple[str, ...] = ()
    advice: str = ""
    most_threads: int | None = None
    installed: Mapping[str, str] = field(default_factory=dict)
    lent: tuple[str, ...] = ()
    switchable: tuple[str, ...] = ()
    switches: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the worker has an interpreter of its own."""
        return self.python != sys.executable

    @property
    def start(self) -> list[str]:
        """How the worker's command line begins.

        Another interpreter gets this package and that of the worker, and nothing else of ours: in an
        installed swapbench, PYTHONPATH would bring our numpy along.
        """
        if not self.is_elsewhere:
            return [self.python, "-m", self.module]
        lent = {"swapbench", *(module.partition(".")[0] for module in (self.module, *self.lent))}
        return [self.python, "-E", str(LENDER), *sorted(map(_lent, lent)), "-m", self.module]

    @property
    def switches_text(self) -> str:
        """As the worker takes them."""
        return ",".join(f"{name}={state}" for name, state in self.switches.items())

    def about(self) -> list[str]:
        """The command line of a worker that is only asked about its runtime."""
        return [*self.start, "--mode", "about"]

    def command(
        self, artifact: str, *, mode: Mode, threads: int, options: Mapping[str, str | int | float]
    ) -> list[str]:
        """The worker's command line; `options` are further flags, written {"warmup_runs": 5}."""
        argv = self.start
        switches = {"switches": self.switches_text} if self.switches else {}
        given = {"mode": mode, "artifact": artifact, "threads": threads, **switches, **options}
        for key, value in given.items():
            argv += [f"--{key.replace('_', '-')}", str(value)]
        return argv

    def parse_loaded(self, line: str) -> Loaded:
        """See `parse_loaded` of this module."""
        return parse_loaded(line)

    def parse_slice(self, line: str) -> Slice:
        """See `parse_slice` of this module."""
        return parse_slice(line)

    def parse_outputs(self, stdout: str) -> Outputs:
        """See `parse_outputs` of this module."""
        return parse_outputs(stdout)

    def parse_profile(self, stdout: str) -> Profile:
        """See `parse_profile` of this module."""
        return parse_profile(stdout)


def _lent(package: str) -> str:
    """A top-level package of ours and its file, as `lend.py` takes them."""
    spec = importlib.util.find_spec(package)
    return f"{package}={(spec and spec.origin) or ''}"


def packages_elsewhere(runtime: Runtime | None) -> Mapping[str, str]:
    """Name -> version of the packages of a runtime's own interpreter; empty where it shares ours."""
    return runtime.installed if isinstance(runtime, PythonWorker) else {}


if TYPE_CHECKING:
    _keeps_the_port: type[Runtime] = PythonWorker
