"""The worker contract: what every program of ours that is timed takes, does and says, and how a parent reads it.

A worker is one fresh process with one model. It never sees a meter, a device or another model. Its standard output
is JSON, one object a line:

    {"event": "loaded", "runtime", "version", "package", "providers", "settings", "delegated_nodes", "nodes",
     "threads", "load_ns", "first_ns", "warmup_runs", "before_load_bytes", "input"}
    {"event": "slice", "run_ns": [...], "cpu_ns", "peak_rss_bytes", "late_frames"}
    {"event": "outputs", "first": i, "rows": [[...], ...]}
    {"event": "scored", "n", "invoke_ns", "pass_ns"}
    {"event": "profile", "run_ns": [...], "nodes": [{"name", "op", "output", "provider", "count", "run_ns": [...]}],
     "placed": [{"name", "op", "output", "provider"}], "absent"}
    {"event": "error", "message"}                                          and exit status 1

Modes. *time*: loaded, then one slice of `--runs`. *serve*: loaded, then one slice for every request line on standard
input, `{"runs": N}` (exactly N runs) or `{"slice_ns": T}` (until T has passed, at least one run; with both, whichever
ends first), each with an optional `"wake_runs"` (untimed, 2 unless told); the end of the input ends the worker.
*score*: loaded, then every sample once, outputs in chunks, scored. *profile*: loaded, then at most `--runs` runs without and as many
with the runtime's own profiler, each node's time in every run; `absent` says why there are no such times.

Options: `--mode`, `--artifact FILE`, `--threads N`, `--runs N`; `--warmup-runs N` and `--warmup-ns T` (at least so many untimed runs and
for so long); what is fed: `--samples FILE` with `--normalise JSON` and, for timing, `--index I`, else random numbers of `--seed S`;
`--provider NAME` (an execution provider or delegate to insist on); `--fps N` (camera pacing: every timed run waits for its frame, and
frames that come while one is computed are lost, `late_frames` of the slice; scoring is never paced). The native runner takes more:
`--runtime`, `--library FILE`, `--affinity HEXMASK`, `--watch FILE[,FILE]` with `--period-ms T`; see `runner/runner.c`.

What one timed run is, for every runtime alike: *handing over the input array, computing, and taking the first output
as an array of one's own*. That is what an application pays; decoding, cropping and normalising an image are not in it.
`cpu_ns` is the process's CPU time over the timed runs of a slice, all threads. `peak_rss_bytes` is the high-water mark
of the resident set (VmHWM). `before_load_bytes` is the resident set once the runtime is imported.

With several threads a worker answers only when its thread pool is asleep, so that a waiting worker
does not spin against the one that is being timed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench.errors import WorkerFailed
from swapbench.ports import Loaded, Node, Outputs, Profile, Slice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.ports import Mode, Runtime
    from swapbench.records import Format


def answer(line: str) -> dict[str, Any] | None:
    """The JSON object that a worker said, or None where the line is something else (a library's chatter)."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("event"), str) else None


def _expected(line: str, event: str) -> dict[str, Any]:
    said = answer(line)
    if said is None:
        raise WorkerFailed(f"the worker said {line.strip()[:200]!r}, which is no answer")
    if said["event"] == "error":
        raise WorkerFailed(str(said.get("message", "the worker failed without a message")))
    if said["event"] != event:
        raise WorkerFailed(f"the worker said {said['event']!r} where {event!r} was due")
    return said


def parse_loaded(line: str) -> Loaded:
    """Read a "loaded" line. WorkerFailed on an error line or anything else."""
    from swapbench.records import RuntimeUsed  # pydantic: the parent has it, the worker must not pay for it

    said = _expected(line, "loaded")
    try:
        return Loaded(
            used=RuntimeUsed(
                runtime=said["runtime"],
                version=said["version"],
                package=said["package"],
                providers=tuple(said["providers"]),
                threads=said["threads"],
                settings=said.get("settings") or {},
                delegated_nodes=said.get("delegated_nodes"),
                nodes=said.get("nodes"),
            ),
            load_ns=int(said["load_ns"]),
            first_ns=int(said["first_ns"]),
            warmup_runs=int(said["warmup_runs"]),
            before_load_bytes=int(said["before_load_bytes"]),
            input=str(said["input"]),
        )
    except (KeyError, ValueError, TypeError) as problem:
        raise WorkerFailed(f"the worker's 'loaded' line is incomplete: {problem!r}") from None


def parse_slice(line: str) -> Slice:
    """Read a "slice" line. WorkerFailed on an error line or anything else."""
    said = _expected(line, "slice")
    try:
        first, *more = said["run_ns"]
        run_ns = (int(first), *(int(ns) for ns in more))
        late = said.get("late_frames")
        return Slice(
            run_ns=run_ns,
            cpu_ns=int(said["cpu_ns"]),
            peak_rss_bytes=int(said["peak_rss_bytes"]),
            late_frames=None if late is None else int(late),
        )
    except (KeyError, ValueError, TypeError) as problem:
        raise WorkerFailed(f"the worker's 'slice' line is incomplete: {problem!r}") from None


def parse_outputs(stdout: str) -> Outputs:
    """Read all that a scoring worker said. WorkerFailed on an error line, a gap or a missing end."""
    rows: list[tuple[float, ...]] = []
    for line in stdout.splitlines():
        said = answer(line)
        if said is None or said["event"] == "loaded":
            continue
        try:
            if said["event"] == "outputs":
                if said["first"] != len(rows):
                    raise WorkerFailed(f"rows {len(rows)} to {said['first']} of the outputs are missing")
                rows.extend(tuple(float(v) for v in row) for row in said["rows"])
                continue
            said = _expected(line, "scored")
            if said["n"] != len(rows):
                raise WorkerFailed(f"the worker scored {said['n']} samples but gave {len(rows)} rows")
            return Outputs(rows=tuple(rows), invoke_ns=int(said["invoke_ns"]), pass_ns=int(said["pass_ns"]))
        except (KeyError, ValueError, TypeError) as problem:
            raise WorkerFailed(f"a line of the scoring worker is incomplete: {problem!r}") from None
    raise WorkerFailed("the scoring worker ended before all samples were scored")


def parse_profile(stdout: str) -> Profile:
    """Read all that a profiling worker said. WorkerFailed on an error line, unequal numbers of runs or a missing end."""
    loaded: Loaded | None = None
    for line in stdout.splitlines():
        said = answer(line)
        if said is None:
            continue
        if loaded is None:
            loaded = parse_loaded(line)
            continue
        said = _expected(line, "profile")
        try:
            nodes = tuple(_node(one) for one in said["nodes"])
            absent = str(said["absent"])
            runs = {len(node.run_ns) for node in nodes}
            if len(runs) > 1 or 0 in runs or bool(nodes) == bool(absent) or not said["run_ns"]:
                raise WorkerFailed("the worker's 'profile' line contradicts itself")
            return Profile(
                used=loaded.used,
                run_ns=tuple(int(ns) for ns in said["run_ns"]),
                nodes=nodes,
                placed=tuple(_node(one) for one in said["placed"]),
                absent=absent,
            )
        except (KeyError, ValueError, TypeError) as problem:
            raise WorkerFailed(f"the worker's 'profile' line is incomplete: {problem!r}") from None
    raise WorkerFailed("the profiling worker ended before it was done")


def _node(said: Mapping[str, Any]) -> Node:
    return Node(
        name=str(said["name"]),
        op=str(said["op"]),
        output=str(said["output"]),
        provider=str(said["provider"]),
        run_ns=tuple(int(ns) for ns in said.get("run_ns", ())),
        count=int(said.get("count", 1)),
    )


@dataclass
class PythonWorker:
    """The parent's side of a worker that is a Python module: its command and what its output means.

    Implements ports.Runtime. python: the interpreter that runs the worker.
    """

    name: str
    formats: tuple[Format, ...]
    module: str
    python: str = sys.executable

    def command(
        self, artifact: str, *, mode: Mode, threads: int, options: Mapping[str, str | int | float]
    ) -> list[str]:
        """The worker's command line; `options` are its flags without dashes: {"warmup_runs": 5}."""
        argv = [self.python, "-m", self.module]
        for key, value in {"mode": mode, "artifact": artifact, "threads": threads, **options}.items():
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


if TYPE_CHECKING:
    _keeps_the_port: type[Runtime] = PythonWorker
