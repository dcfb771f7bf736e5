"""What the Python workers share: the command line, the timed loops, the answers.

Their protocol is described in `swapbench.runtimes.contract`. Only the standard library and numpy are imported
here: this module is most of a worker's start-up time, and every worker carries its memory.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from swapbench.runtimes.feed import ImageFeed, Normalise, Refused, Shapes, Unusable, made_input, open_samples
from swapbench.runtimes.series import parts_before, scored_in_series

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from typing import TextIO

    from swapbench.runtimes.feed import Array, Input, Output

WAKE_RUNS = 2
"""Untimed runs before a slice, which wake the thread pool."""
MAX_RUNS_A_SLICE = 1_000_000
MAX_WARMUP_RUNS = 10_000
MOST_FPS = 10_000
ROWS_A_LINE = 256
POOL_SLEEP_LIMIT_S = 0.25
PROFILED_NS = 250_000_000
MIN_PROFILED_RUNS = 10
"""A profile has as many runs as fit into its time, and at least this many."""


@dataclass(frozen=True)
class Executed:
    """A node that a runtime executed; the parent turns it into a ports.Node."""

    name: str
    op: str
    output: str
    provider: str
    run_ns: list[int] = field(default_factory=list)
    count: int = 1


@dataclass(frozen=True)
class Profiled:
    """What a runtime's profiler reports; see ports.Profile."""

    nodes: list[Executed]
    placed: list[Executed]
    absent: str = ""


class Engine(Protocol):
    """One model loaded in one runtime."""

    input: Input
    outputs: tuple[Output, ...]
    providers: tuple[str, ...]
    settings: dict[str, str]
    delegated_nodes: int | None
    nodes: int | None

    def timed_call(self, feed: Array) -> Callable[[], Array]:
        """A function that is one whole timed run.

        Args:
            feed: The input buffer; its content may change between calls.

        Returns:
            A function that returns the first output.
        """
        ...

    def scored_call(self, feed: Array, places: Sequence[int]) -> Callable[[], Sequence[Array]]:
        """A function that runs once and returns the outputs at these places, as the runtime stores them."""
        ...

    def profile(self, feed: Array, runs: int) -> Profiled:
        """Load the model again with the runtime's profiler on, and time each node in `runs` runs."""
        ...


class Backend(Protocol):
    """A runtime that is imported but holds no model yet."""

    runtime: str
    package: str
    version: str

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> Engine:
        """Load a model file whose inputs are to have these shapes; Unusable where it cannot be run."""
        ...


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Unusable(f"bad command line: {message}")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line of a worker; Unusable where it is wrong."""
    parser = _Parser(description="Time or score one model file in this process.")
    parser.add_argument("--mode", choices=("time", "serve", "score", "profile", "about"), default="time")
    parser.add_argument("--artifact", help="the model file; every mode but about needs one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--runs", type=int, default=50, help="timed runs in time mode; the upper limit in profile mode"
    )
    parser.add_argument("--warmup-runs", type=int, default=5, help="minimum number of untimed runs")
    parser.add_argument("--warmup-ns", type=int, default=50_000_000, help="minimum time of the untimed runs")
    parser.add_argument("--samples", help=".npy file, uint8 [n, height, width, 3 or 1]")
    parser.add_argument("--normalise", help='JSON {"scale": s, "mean": [...], "std": [...]}')
    parser.add_argument("--index", type=int, default=0, help="the sample to feed to the timed runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random input")
    parser.add_argument(
        "--fps",
        type=float,
        help="camera pacing: every timed run waits for its frame; frames due during a run are lost",
    )
    parser.add_argument(
        "--outputs", default="0", help="which outputs scoring returns: their places in the graph, e.g. 0,2"
    )
    parser.add_argument(
        "--reads", help='of a part of a network, the files before it: [{"artifact": FILE, "place": 1}]'
    )
    parser.add_argument("--shapes", help="of every input in the graph's order, as in 1x3x80x80,1x10")
    parser.add_argument("--dimensions", help="lengths that an ONNX file leaves free, as in N=1,H=80")
    parser.add_argument("--provider", help="the execution provider or delegate that must be used")
    parser.add_argument("--switches", help="options of the runtime to turn on or off, as in winograd=off")
    options = parser.parse_args(list(argv))
    if options.artifact is None and options.mode != "about":
        raise Unusable("bad command line: --artifact is required")
    if options.threads < 1 or options.runs < 1:
        raise Unusable("--threads and --runs must be at least 1")
    if options.fps is not None and not 0 < options.fps <= MOST_FPS:
        raise Unusable(f"--fps must be above 0 and at most {MOST_FPS}, not {options.fps}")
    return options


# ----------------------------------------------------------------------------------------- memory and threads


def resident_bytes() -> int:
    """The resident set of this process now; its high-water mark where there is no /proc."""
    return _status_bytes("VmRSS:") or peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The high-water mark of this process's resident set."""
    peak = _status_bytes("VmHWM:")
    if peak is not None:
        return peak
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _status_bytes(field: str) -> int | None:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def wait_until_pool_sleeps(
    limit_s: float = POOL_SLEEP_LIMIT_S,
    cpu_ns: Callable[[], int] = time.process_time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until this process uses almost no CPU; False where it still spins after `limit_s`.

    Thread pools spin for a while after their last task, waiting for more.
    """
    step_s = 0.002
    for _ in range(max(1, round(limit_s / step_s))):
        before = cpu_ns()
        sleep(step_s)
        if cpu_ns() - before < step_s * 1e9 * 0.2:
            return True
    return False


# -------------------------------------------------------------------------------------------- the timed loops


def timed_runs(
    call: Callable[[], object],
    runs: int,
    limit_ns: int | None = None,
    frame_ns: int | None = None,
    clock: Callable[[], int] = time.perf_counter_ns,
    cpu_ns: Callable[[], int] = time.process_time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[int], int, int]:
    """Time `runs` runs, or fewer (at least one) once `limit_ns` has passed.

    Args:
        call: One run.
        runs: How many at most.
        limit_ns: For all runs together; None for no limit.
        frame_ns: The time between two frames of a camera: every run waits for a frame, and frames due during
            a run are lost. None for runs back to back.
        clock: Wall time in ns.
        cpu_ns: CPU time of this process in ns.
        sleep: Stands in for time.sleep.

    Returns:
        The wall time of each run, the CPU time of all of them (both in ns), and the number of lost frames.
    """
    times = [0] * runs
    done = lost = 0
    cpu_before = cpu_ns()
    due = clock()
    end = due + (limit_ns if limit_ns is not None else 1 << 62)
    while done < runs:
        if frame_ns is not None:
            now = clock()
            passed = max(1, -(-(now - due) // frame_ns))
            due += frame_ns * passed
            lost += passed - 1
            sleep((due - now) / 1e9)
        begin = clock()
        call()
        finish = clock()
        times[done] = finish - begin
        done += 1
        if finish >= end:
            break
    cpu = cpu_ns() - cpu_before
    return times[:done], cpu, lost


def warm_up(
    call: Callable[[], object], runs: int, limit_ns: int, clock: Callable[[], int] = time.perf_counter_ns
) -> list[int]:
    """Run at least `runs` times and for at least `limit_ns`; returns the wall time of each run in ns."""
    times: list[int] = []
    end = clock() + limit_ns
    while len(times) < MAX_WARMUP_RUNS:
        begin = clock()
        if len(times) >= runs and begin >= end:
            break
        call()
        times.append(clock() - begin)
    return times


@contextlib.contextmanager
def _refusing() -> Generator[None, None, None]:
    """What a runtime raises inside is about the file that it was given."""
    try:
        yield
    except (Unusable, MemoryError):
        raise
    except Exception as problem:
        raise Refused(f"{type(problem).__name__}: {problem}") from problem


class _Session:
    """The life of a worker once its runtime is imported."""

    def __init__(
        self, options: argparse.Namespace, backend: Backend, say: Callable[[Mapping[str, object]], None]
    ) -> None:
        self.options, self.say, self._backend = options, say, backend
        self.frame_ns = None if options.fps is None else round(1e9 / options.fps)
        before_load_bytes = resident_bytes()
        if not Path(options.artifact).is_file():
            raise Unusable(f"there is no model file {options.artifact}")
        shapes = Shapes.of(options.shapes, options.dimensions)
        begin = time.perf_counter_ns()
        with _refusing():
            self.engine = backend.load(options.artifact, options.threads, options.provider, shapes)
        load_ns = time.perf_counter_ns() - begin
        self.feed, fed_with = self._feed()
        self.call = self.engine.timed_call(self.feed)
        begin = time.perf_counter_ns()
        with _refusing():
            self.call()
        first_ns = time.perf_counter_ns() - begin
        warm = warm_up(self.call, options.warmup_runs, options.warmup_ns)
        self.typical_ns = max(1, sorted(warm)[len(warm) // 2] if warm else first_ns)
        say(
            {
                "event": "loaded",
                "runtime": backend.runtime,
                "version": backend.version,
                "package": backend.package,
                "providers": list(self.engine.providers),
                "settings": self.engine.settings
                | ({} if options.fps is None else {"fps": f"{options.fps:g}"}),
                "delegated_nodes": self.engine.delegated_nodes,
                "nodes": self.engine.nodes,
                "threads": options.threads,
                "load_ns": load_ns,
                "first_ns": first_ns,
                "warmup_runs": len(warm),
                "before_load_bytes": before_load_bytes,
                "input": fed_with,
            }
        )

    def _feed(self) -> tuple[Array, str]:
        options, spec = self.options, self.engine.input
        if options.samples is None or options.normalise is None or options.reads is not None:
            return made_input(spec, options.seed)
        samples = open_samples(options.samples, spec)
        feed = ImageFeed(spec, Normalise.from_json(options.normalise))
        feed.fill(samples[options.index % len(samples)])
        return feed.buffer, "sample"

    def time(self, runs: int, limit_ns: int | None, wake_runs: int) -> None:
        """One slice: wake up, time, let the thread pool fall asleep, report."""
        for _ in range(wake_runs):
            self.call()
        run_ns, cpu_ns, lost = timed_runs(self.call, runs, limit_ns, self.frame_ns)
        if self.options.threads > 1:
            wait_until_pool_sleeps()
        slice_: dict[str, object] = {"run_ns": run_ns, "cpu_ns": cpu_ns}
        if self.frame_ns is not None:
            slice_["late_frames"] = lost
        decisions = getattr(self.engine, "decisions", None)  # only a system has them
        if decisions is not None:
            slice_["decisions"] = decisions(len(run_ns))
        self.say({"event": "slice", **slice_, "peak_rss_bytes": peak_resident_bytes()})

    def serve(self, requests: Iterable[str]) -> None:
        """One slice per request line, until the input ends."""
        for line in requests:
            if not line.strip():
                continue
            try:
                request = json.loads(line)
                limit_ns = int(request["slice_ns"]) if "slice_ns" in request else None
                fitting = MAX_RUNS_A_SLICE if limit_ns is None else 4 * limit_ns // self.typical_ns + 1000
                runs = int(request["runs"]) if "runs" in request or limit_ns is None else fitting
                wake_runs = int(request.get("wake_runs", WAKE_RUNS))
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                raise Unusable(f"invalid request: {line.strip()[:100]!r} ({problem!r})") from None
            if runs < 1:
                raise Unusable("a slice needs at least one run")
            self.time(min(runs, MAX_RUNS_A_SLICE), limit_ns, wake_runs)

    def score(self) -> None:
        """Score every sample once; only the runs themselves count as invoke time."""
        options, engine = self.options, self.engine
        if options.samples is None or options.normalise is None:
            raise Unusable("scoring needs --samples and --normalise")
        before = parts_before(options.reads, self._backend, options.threads)
        spec = (*before, (engine, 0))[0][0].input
        samples = open_samples(options.samples, spec)
        feed = ImageFeed(spec, Normalise.from_json(options.normalise))
        wanted = _wanted(options.outputs, engine.outputs)
        call, clock = scored_in_series(before, engine, feed.buffer, list(wanted)), time.perf_counter_ns
        rows: list[list[float]] = []
        invoke_ns = reported = 0
        started = clock()
        for index in range(len(samples)):
            feed.fill(samples[index])
            begin = clock()
            stored = call()
            invoke_ns += clock() - begin
            real = [output.real(array) for output, array in zip(wanted.values(), stored, strict=True)]
            rows.append([number for array in real for number in array.ravel().tolist()])
            if len(rows) == ROWS_A_LINE or index + 1 == len(samples):
                self.say({"event": "outputs", "first": reported, "rows": rows})
                reported, rows = index + 1, []
                # mapped again, so that the pages read so far leave this process's memory
                samples = open_samples(options.samples, spec)
        tensors = [
            {"name": output.name, "shape": list(array.shape)}
            for output, array in zip(wanted.values(), real, strict=True)
        ]
        self.say(
            {
                "event": "scored",
                "n": len(samples),
                "invoke_ns": invoke_ns,
                "pass_ns": clock() - started,
                "outputs": tensors,
            }
        )

    def profile(self) -> None:
        """Run without and with the runtime's profiler, and report the time of every node."""
        fitting = max(PROFILED_NS // self.typical_ns, MIN_PROFILED_RUNS)
        runs = min(fitting, self.options.runs)
        run_ns, _, _ = timed_runs(self.call, runs)
        profiled = self.engine.profile(self.feed, runs)
        self.say(
            {
                "event": "profile",
                "run_ns": run_ns,
                "nodes": [asdict(node) for node in profiled.nodes],
                "placed": [
                    {"name": node.name, "op": node.op, "output": node.output, "provider": node.provider}
                    for node in profiled.placed
                ],
                "absent": profiled.absent,
            }
        )


def _wanted(text: str, outputs: Sequence[Output]) -> dict[int, Output]:
    """The outputs at the places that `--outputs` lists; Unusable where the graph has no such place."""
    places = text.split(",")
    if any(not place.isdecimal() or int(place) >= len(outputs) for place in places):
        raise Unusable(f"--outputs must list places from 0 to {len(outputs) - 1}, not {text[:100]!r}")
    return {int(place): outputs[int(place)] for place in places}


def work(
    argv: Sequence[str], open_backend: Callable[[], Backend], requests: Iterable[str], out: TextIO
) -> int:
    """Be a worker.

    Args:
        argv: The command line, without the program.
        open_backend: Imports the runtime.
        requests: Standard input, a request per line.
        out: Where the answers go, among them one error line for any failure.

    Returns:
        The exit status.
    """

    def say(answer: Mapping[str, object]) -> None:
        out.write(json.dumps(answer, separators=(",", ":")) + "\n")
        out.flush()

    try:
        options = arguments(argv)
        backend = open_backend()
        if options.mode == "about":
            from swapbench.runtimes.about import about

            say(about(backend))
            return 0
        if options.switches:
            from swapbench.runtimes.switches import set_switches

            set_switches(backend, options.switches)
        session = _Session(options, backend, say)
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            if options.mode == "time":
                session.time(options.runs, None, WAKE_RUNS)
            elif options.mode == "serve":
                session.serve(requests)
            elif options.mode == "profile":
                session.profile()
            else:
                session.score()
        finally:
            gc.enable()
            gc.unfreeze()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as problem:  # noqa: BLE001 - the parent must get one line whatever a runtime raises
        kind = "" if isinstance(problem, Unusable) else f"{type(problem).__name__}: "
        error = {"event": "error", "message": " ".join(f"{kind}{problem}".split())[:2000]}
        say(error | ({"stage": "model"} if isinstance(problem, Refused) else {}))
        return 1
    return 0


def main(open_backend: Callable[[], Backend]) -> int:
    """Be a worker in this process; returns the exit status.

    What libraries print to standard output, from Python or from C, goes to standard error instead.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    with open(answers, "w", encoding="utf-8") as out:
        return work(sys.argv[1:], open_backend, sys.stdin, out)
