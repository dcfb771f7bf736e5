"""What both Python workers share: the command line, the feed, the timed loops, the answers.

The contract that they keep stands in `swapbench.runtimes.contract`. Only the standard library and numpy are imported here:
this module is most of a worker's start-up, and its memory is in every worker's.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TextIO

    from numpy.typing import NDArray

    Array = NDArray[Any]

WAKE_RUNS = 2
MAX_RUNS_A_SLICE = 1_000_000
MAX_WARMUP_RUNS = 10_000
MOST_FPS = 10_000
ROWS_A_LINE = 256
POOL_SLEEP_LIMIT_S = 0.25
PROFILED_NS = 250_000_000
MIN_PROFILED_RUNS = 10
"""A profile has so many runs as fit its time, and these at least."""


@dataclass(frozen=True)
class Input:
    """The one input of a graph, as the runtime itself describes it.

    quantisation: (scale, zero_point) of an integer input, else None; real value = (stored - zero_point) * scale.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantisation: tuple[float, int] | None = None

    @property
    def channels_last(self) -> bool | None:
        """Layout of an image input (rank 4, 3 channels), or None where the input is no image."""
        if len(self.shape) != 4:
            return None
        if self.shape[3] == 3:
            return True
        return False if self.shape[1] == 3 else None

    @property
    def height_width(self) -> tuple[int, int]:
        """Size of an image input in pixels."""
        return (self.shape[1], self.shape[2]) if self.channels_last else (self.shape[2], self.shape[3])


@dataclass(frozen=True)
class Executed:
    """A node that a runtime executed; see ports.Node, which the parent makes of it."""

    name: str
    op: str
    output: str
    provider: str
    run_ns: list[int] = field(default_factory=list)
    count: int = 1


@dataclass(frozen=True)
class Profiled:
    """What a runtime's profiler tells; see ports.Profile."""

    nodes: list[Executed]
    placed: list[Executed]
    absent: str = ""


class Engine(Protocol):
    """One model loaded in one runtime."""

    input: Input
    providers: tuple[str, ...]
    settings: dict[str, str]
    delegated_nodes: int | None
    nodes: int | None

    def timed_call(self, feed: Array) -> Callable[[], Array]:
        """The whole of one timed run over `feed`, which may change between calls; answers the first output."""
        ...

    def real(self, output: Array) -> Array:
        """The first output as real numbers (dequantised where the graph's output is quantised)."""
        ...

    def profile(self, feed: Array, runs: int) -> Profiled:
        """The same model once more with the runtime's profiler on: each node's time in `runs` runs after a warm-up."""
        ...


class Backend(Protocol):
    """A runtime that is imported but holds no model yet."""

    runtime: str
    package: str
    version: str

    def load(self, artifact: str, threads: int, provider: str | None) -> Engine:
        """Make the model in the file `artifact` ready to run. Unusable where it cannot be."""
        ...


class Unusable(Exception):
    """Something about the request or the model that makes the run impossible; becomes the error line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Unusable(f"bad command line: {message}")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line of a worker. Unusable where it is wrong."""
    parser = _Parser(description="Time or score one model file in this process.")
    parser.add_argument("--mode", choices=("time", "serve", "score", "profile"), default="time")
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--runs", type=int, default=50, help="timed runs in time mode; at most so many in profile mode"
    )
    parser.add_argument("--warmup-runs", type=int, default=5, help="at least so many untimed runs")
    parser.add_argument("--warmup-ns", type=int, default=50_000_000, help="and at least for so long")
    parser.add_argument("--samples", help=".npy file, uint8 [n, height, width, 3]")
    parser.add_argument("--normalise", help='JSON {"scale": s, "mean": [3], "std": [3]}')
    parser.add_argument("--index", type=int, default=0, help="the sample that feeds the timed runs")
    parser.add_argument("--seed", type=int, default=0, help="of the random input")
    parser.add_argument(
        "--fps", type=float, help="every timed run waits for its frame; those that come meanwhile are lost"
    )
    parser.add_argument("--provider", help="execution provider or delegate to insist on")
    options = parser.parse_args(list(argv))
    if options.threads < 1 or options.runs < 1:
        raise Unusable("--threads and --runs must be at least 1")
    if options.fps is not None and not 0 < options.fps <= MOST_FPS:
        raise Unusable(f"--fps needs a number above 0, not {options.fps}")
    return options


# ---------------------------------------------------------------------------------------------- input


def random_input(spec: Input, seed: int) -> Array:
    """Seeded data for a graph input: floats uniform in [0, 1), integers over their full range."""
    rng = np.random.default_rng(seed)
    if spec.dtype.kind == "f":
        return rng.random(spec.shape, np.float32).astype(spec.dtype)
    if spec.dtype.kind in "iu":
        limits = np.iinfo(spec.dtype)
        return rng.integers(limits.min, limits.max, spec.shape, spec.dtype, endpoint=True)
    if spec.dtype.kind == "b":
        return rng.integers(0, 2, spec.shape).astype(spec.dtype)
    raise Unusable(f"the input {spec.name!r} has type {spec.dtype}; only numbers can be fed")


@dataclass(frozen=True)
class Normalise:
    """Per channel `(pixel * scale - mean) / std` of a pixel in 0..255."""

    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_json(cls, text: str) -> Normalise:
        """Read `{"scale": s, "mean": [a, b, c], "std": [a, b, c]}`."""
        try:
            given = json.loads(text)
            mean, std = (tuple(float(v) for v in given[key]) for key in ("mean", "std"))
            scale = float(given["scale"])
        except (ValueError, KeyError, TypeError) as problem:
            raise Unusable(f"--normalise is not JSON with scale, mean and std: {problem!r}") from None
        if len(mean) != 3 or len(std) != 3 or 0 in std:
            raise Unusable("--normalise needs three means and three stds, none of them 0")
        return cls(scale, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))

    def table(self, spec: Input) -> Array:
        """What each of the 256 pixel values becomes in each channel: [3, 256] in the graph's own type.

        Computed in double precision and rounded once, so that every worker feeds the same bits.
        """
        pixels = np.arange(256, dtype=np.float64)
        real = np.stack([(pixels * self.scale - m) / s for m, s in zip(self.mean, self.std, strict=True)])
        if spec.quantisation is None:
            if spec.dtype.kind != "f":
                raise Unusable(f"the input {spec.name!r} is {spec.dtype} without a quantisation scale")
            return real.astype(spec.dtype)
        scale, zero_point = spec.quantisation
        limits = np.iinfo(spec.dtype)
        stored: Array = np.clip(np.rint(real / scale) + zero_point, limits.min, limits.max).astype(spec.dtype)
        return stored


class ImageFeed:
    """One preallocated input buffer that uint8 images are normalised into, by table."""

    def __init__(self, spec: Input, normalise: Normalise) -> None:
        if spec.channels_last is None or spec.shape[0] != 1:
            raise Unusable(
                f"the input {spec.name!r} of shape {list(spec.shape)} is not one image with 3 channels"
            )
        self.buffer: Array = np.zeros(spec.shape, spec.dtype)
        self._table = normalise.table(spec)
        self._flat_table = self._table.ravel()
        self._entry: Array | None = None
        if spec.channels_last:
            channels = np.arange(3, dtype=np.intp) * 256
            self._offset = np.ascontiguousarray(np.broadcast_to(channels, spec.shape[1:]))
            self._entry = np.zeros(spec.shape[1:], np.intp)

    def fill(self, image: Array) -> None:
        """Normalise `image`, uint8 [height, width, 3], into `buffer`."""
        # mode "clip": with "raise" numpy would take into a temporary copy first
        if self._entry is not None:
            np.add(image, self._offset, out=self._entry)
            np.take(self._flat_table, self._entry, out=self.buffer[0], mode="clip")
            return
        for channel in range(3):
            np.take(self._table[channel], image[:, :, channel], out=self.buffer[0, channel], mode="clip")


def open_samples(path: str, spec: Input) -> Array:
    """Map the samples file; Unusable where it does not hold images of the graph's size."""
    try:
        samples: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise Unusable(f"the samples file cannot be read: {problem}") from None
    if samples.dtype != np.uint8 or samples.ndim != 4 or samples.shape[3] != 3 or len(samples) == 0:
        raise Unusable(f"samples are {samples.dtype} {list(samples.shape)}, not uint8 [n, height, width, 3]")
    if spec.channels_last is None:
        raise Unusable(f"the input {spec.name!r} of shape {list(spec.shape)} takes no image with 3 channels")
    if samples.shape[1:3] != spec.height_width:
        wanted = "x".join(map(str, reversed(spec.height_width)))
        raise Unusable(f"samples are {samples.shape[2]}x{samples.shape[1]} px, the graph takes {wanted}")
    return samples


# ---------------------------------------------------------------------------------------------- memory and threads


def resident_bytes() -> int:
    """Resident set of this process now; its high-water mark where /proc is missing."""
    return _status_bytes("VmRSS:") or peak_resident_bytes()


def peak_resident_bytes() -> int:
    """High-water mark of this process's resident set."""
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
    """Wait until this process uses (almost) no CPU; False where it still spins after `limit_s`.

    Thread pools spin for a while after their last work, in hope of more.
    """
    step_s = 0.002
    for _ in range(max(1, round(limit_s / step_s))):
        before = cpu_ns()
        sleep(step_s)
        if cpu_ns() - before < step_s * 1e9 * 0.2:
            return True
    return False


# ---------------------------------------------------------------------------------------------- the timed loops


def timed_runs(
    call: Callable[[], object],
    runs: int,
    limit_ns: int | None = None,
    frame_ns: int | None = None,
    clock: Callable[[], int] = time.perf_counter_ns,
    cpu_ns: Callable[[], int] = time.process_time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[int], int, int]:
    """Wall time of each run, the CPU time of all, and the frames lost: `runs` runs, or fewer (at least one) once `limit_ns` is over.

    frame_ns: a camera gives a frame so often; every run waits for one, and those that come while it computes are lost.
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
    """At least `runs` untimed runs and at least `limit_ns` of them; answers their times, to size slices with."""
    times: list[int] = []
    end = clock() + limit_ns
    while len(times) < MAX_WARMUP_RUNS:
        begin = clock()
        if len(times) >= runs and begin >= end:
            break
        call()
        times.append(clock() - begin)
    return times


class _Session:
    """One worker's life after its runtime is imported."""

    def __init__(
        self, options: argparse.Namespace, backend: Backend, say: Callable[[Mapping[str, object]], None]
    ) -> None:
        self.options, self.say = options, say
        self.frame_ns = None if options.fps is None else round(1e9 / options.fps)
        before_load_bytes = resident_bytes()
        if not Path(options.artifact).is_file():
            raise Unusable(f"there is no model file {options.artifact}")
        begin = time.perf_counter_ns()
        self.engine = backend.load(options.artifact, options.threads, options.provider)
        load_ns = time.perf_counter_ns() - begin
        self.feed, fed_with = self._feed()
        self.call = self.engine.timed_call(self.feed)
        begin = time.perf_counter_ns()
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
        if options.samples is None or options.normalise is None:
            return random_input(spec, options.seed), "random"
        samples = open_samples(options.samples, spec)
        feed = ImageFeed(spec, Normalise.from_json(options.normalise))
        feed.fill(samples[options.index % len(samples)])
        return feed.buffer, "sample"

    def time(self, runs: int, limit_ns: int | None, wake_runs: int) -> None:
        """One slice: wake, time, let the pool fall asleep, say."""
        for _ in range(wake_runs):
            self.call()
        run_ns, cpu_ns, lost = timed_runs(self.call, runs, limit_ns, self.frame_ns)
        if self.options.threads > 1:
            wait_until_pool_sleeps()
        slice_: dict[str, object] = {"run_ns": run_ns, "cpu_ns": cpu_ns}
        if self.frame_ns is not None:
            slice_["late_frames"] = lost
        self.say({"event": "slice", **slice_, "peak_rss_bytes": peak_resident_bytes()})

    def serve(self, requests: Iterable[str]) -> None:
        """One slice a request line, until the input ends."""
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
                raise Unusable(f"no request: {line.strip()[:100]!r} ({problem!r})") from None
            if runs < 1:
                raise Unusable("a slice needs at least one run")
            self.time(min(runs, MAX_RUNS_A_SLICE), limit_ns, wake_runs)

    def score(self) -> None:
        """Every sample once; nothing but the runs themselves counts as invoke time."""
        options, engine = self.options, self.engine
        if options.samples is None or options.normalise is None:
            raise Unusable("scoring needs --samples and --normalise")
        samples = open_samples(options.samples, engine.input)
        feed = ImageFeed(engine.input, Normalise.from_json(options.normalise))
        call, clock = engine.timed_call(feed.buffer), time.perf_counter_ns
        rows: list[list[float]] = []
        invoke_ns = said = 0
        started = clock()
        for index in range(len(samples)):
            feed.fill(samples[index])
            begin = clock()
            output = call()
            invoke_ns += clock() - begin
            rows.append(engine.real(output).ravel().tolist())
            if len(rows) == ROWS_A_LINE or index + 1 == len(samples):
                self.say({"event": "outputs", "first": said, "rows": rows})
                said, rows = index + 1, []
                # mapped anew, so that the pages read so far are no longer in this process's memory
                samples = open_samples(options.samples, engine.input)
        self.say({"event": "scored", "n": len(samples), "invoke_ns": invoke_ns, "pass_ns": clock() - started})

    def profile(self) -> None:
        """Runs without and with the runtime's profiler; nodes without their own times are said without them."""
        fitting = max(PROFILED_NS // self.typical_ns, MIN_PROFILED_RUNS)
        runs = min(fitting, self.options.runs)
        run_ns, _, _ = timed_runs(self.call, runs)
        found = self.engine.profile(self.feed, runs)
        self.say(
            {
                "event": "profile",
                "run_ns": run_ns,
                "nodes": [asdict(one) for one in found.nodes],
                "placed": [
                    {"name": one.name, "op": one.op, "output": one.output, "provider": one.provider}
                    for one in found.placed
                ],
                "absent": found.absent,
            }
        )


def work(
    argv: Sequence[str], open_backend: Callable[[], Backend], requests: Iterable[str], out: TextIO
) -> int:
    """Be a worker: everything is said on `out`, every failure as one error line. Answers the exit status."""

    def say(answer: Mapping[str, object]) -> None:
        out.write(json.dumps(answer, separators=(",", ":")) + "\n")
        out.flush()

    try:
        options = arguments(argv)
        session = _Session(options, open_backend(), say)
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
    except Exception as problem:  # noqa: BLE001 - the parent must get one line whatever a runtime throws
        kind = "" if isinstance(problem, Unusable) else f"{type(problem).__name__}: "
        say({"event": "error", "message": " ".join(f"{kind}{problem}".split())[:2000]})
        return 1
    return 0


def main(open_backend: Callable[[], Backend]) -> int:
    """Be a worker in this process.

    Libraries that print to the standard output, from Python or from C, print to the standard error instead.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    with open(answers, "w", encoding="utf-8") as out:
        return work(sys.argv[1:], open_backend, sys.stdin, out)
