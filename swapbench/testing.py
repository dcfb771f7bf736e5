"""Fakes for tests: a device, its workers, a meter and a clock that exist only in arithmetic.

They are public, for tests of your own runtimes, meters, gates and scripts: no hardware, no model file, no
waiting, and results that can be worked out on paper. `Fake` implements ports.Device with workers of
programmed latencies, which speak the worker contract (swapbench.runtimes.contract); `FakeMeter` implements
ports.Meter. Time stands on a `FakeClock`, which only workers and sleepers move: pass `device.clock.sleep`
and `device.clock.seconds` wherever a function takes a sleep or a clock.

A model that runs for 10 ms on a device of 1 W idle and 2 W busy takes 20 mJ per run, 10 mJ of it above idle:

    >>> from swapbench.runtimes.contract import parse_loaded, parse_slice
    >>> device = Fake({"net.onnx": FakeModel(run_ns=10_000_000)})
    >>> meter = FakeMeter(device.clock, idle_w=1.0, busy_w=2.0)
    >>> worker = device.start(["worker", "--mode", "serve", "--artifact", "net.onnx"])
    >>> parse_loaded(worker.read_line(1.0)).used.runtime
    'fake'
    >>> (before,) = meter.read()
    >>> worker.write_line('{"runs": 100}')
    >>> parse_slice(worker.read_line(1.0)).run_ns[:2]
    (10000000, 10000000)
    >>> (after,) = meter.read()
    >>> after.used_since(before)  # uJ of 100 runs
    2000000
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from swapbench.errors import DeviceFailed, WorkerFailed
from swapbench.ports import CounterValue, Finished, unseen
from swapbench.records import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.ports import Conversation, Device, Meter, Node, Progress
    from swapbench.records import Plan


__all__ = ["Fake", "FakeClock", "FakeConversation", "FakeMeter", "FakeModel"]


@dataclass
class FakeClock:
    """Time that passes only when a worker works or a caller sleeps.

    Attributes:
        now_ns: Since the start.
        busy_ns: The part of it during which the processor was busy.
    """

    now_ns: int = 0
    busy_ns: int = 0

    def work(self, duration_ns: int) -> None:
        """Let time pass with the processor busy."""
        self.now_ns += duration_ns
        self.busy_ns += duration_ns

    def sleep(self, duration_s: float) -> None:
        """Let time pass with the processor idle; stands in for time.sleep."""
        self.now_ns += round(duration_s * 1e9)

    def seconds(self) -> float:
        """The time since the start; stands in for time.monotonic."""
        return self.now_ns / 1e9


@dataclass(frozen=True)
class FakeModel:
    """What the workers of one artifact do. Processes and runs are counted from 0.

    Attributes:
        run_ns: Wall time of a timed run: a number, or a function of (process, run).
        load_ns: Wall time of loading.
        first_ns: Wall time of the first run.
        before_load_bytes: Resident set before loading.
        peak_rss_bytes: Peak of the resident set.
        rows: What scoring returns, a row per sample.
        fed_with: "sample" or "random".
        runtime: The name that workers report.
        providers: The providers that workers report.
        delegated_nodes: As workers report them; None means unknown.
        nodes: As workers report them; None means unknown.
        executed: The nodes of a profile, with their times.
        placed: The nodes of a profile, with their providers.
        dies_in: Processes that end at their first request.
        slow_in: Processes that never answer a request.
        error_in: Processes that print an error line instead of loading.
        chatter: Lines that a library prints before each answer.
    """

    run_ns: int | Callable[[int, int], int] = 1_000_000
    load_ns: int = 5_000_000
    first_ns: int = 2_000_000
    before_load_bytes: int = 40_000_000
    peak_rss_bytes: int = 50_000_000
    rows: tuple[tuple[float, ...], ...] = ()
    fed_with: str = "sample"
    runtime: str = "fake"
    providers: tuple[str, ...] = ("arithmetic",)
    delegated_nodes: int | None = None
    nodes: int | None = None
    executed: tuple[Node, ...] = ()
    placed: tuple[Node, ...] = ()
    dies_in: frozenset[int] = frozenset()
    slow_in: frozenset[int] = frozenset()
    error_in: frozenset[int] = frozenset()
    chatter: tuple[str, ...] = ()

    def time_of(self, process: int, run: int) -> int:
        """The wall time of one run in ns."""
        return self.run_ns if isinstance(self.run_ns, int) else self.run_ns(process, run)


@dataclass
class Fake:
    """A device with programmed models; implements ports.Device.

    Attributes:
        models: By the file name of the artifact.
        clock: Moved by the workers.
        name: In records.
        files: Path -> text, for `read` and `pull`.
        load_1min: The load average that it reports.
        on_battery: Whether it reports that it runs on its battery.
        asked: Every command that was started.
        order: The artifact of every slice, in order.
        open_workers: How many workers have not been closed.
    """

    models: Mapping[str, FakeModel]
    clock: FakeClock = field(default_factory=FakeClock)
    name: str = "fake"
    files: Mapping[str, str] = field(default_factory=dict)
    load_1min: float | None = 0.0
    on_battery: bool | None = False
    asked: list[tuple[str, ...]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    open_workers: int = 0
    _started: dict[str, int] = field(default_factory=dict)

    def describe(self) -> Machine:
        """A machine that reports itself as emulated."""
        return Machine(
            name=self.name,
            device="fake",
            system="none",
            abi="none",
            soc="arithmetic",
            logical_cores=2,
            memory_bytes=1_000_000_000,
            emulated=True,
            load_1min=self.load_1min,
            on_battery=self.on_battery,
        )

    def push(self, path: Path, *beside: Path) -> str:
        """The file's name, by which artifacts are known."""
        del beside
        return path.name

    def pull(self, remote: str, path: Path) -> None:
        """Write the text of a programmed file to `path`."""
        path.write_text(self.read(remote), encoding="utf-8")

    def read(self, path: str) -> str:
        """The text of a programmed file; DeviceFailed for any other."""
        if path not in self.files:
            raise DeviceFailed(f"cannot read {path}: No such file or directory")
        return self.files[path]

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """The whole life of a worker that is not serving: everything it prints."""
        conversation = self.start(argv)
        lines: list[str] = []
        with contextlib.suppress(WorkerFailed):
            while True:
                lines.append(conversation.read_line(timeout_s))
        failed = any('"event": "error"' in line for line in lines)
        conversation.close()
        return Finished("\n".join(lines) + "\n", "", int(failed))

    def start(self, argv: Sequence[str]) -> FakeConversation:
        """Start a programmed worker; WorkerFailed for an artifact that is not programmed."""
        self.asked.append(tuple(argv))
        artifact = _flag(argv, "--artifact", "")
        if artifact not in self.models:
            raise WorkerFailed(f"there is no model file {artifact}")
        process = self._started.get(artifact, 0)
        self._started[artifact] = process + 1
        return FakeConversation(self, artifact, process, argv)

    @contextlib.contextmanager
    def quiet(self, plan: Plan, progress: Progress = unseen) -> Iterator[None]:
        """Nothing to do."""
        del plan, progress
        yield


class FakeConversation:
    """A programmed worker; implements ports.Conversation. Answers are computed on request."""

    def __init__(self, device: Fake, artifact: str, process: int, argv: Sequence[str]) -> None:
        self._device, self._artifact, self._process = device, artifact, process
        self._model, self._runs = device.models[artifact], 0
        self._pending: deque[str] = deque()
        self._open = True
        device.open_workers += 1
        mode = _flag(argv, "--mode", "time")
        threads = int(_flag(argv, "--threads", "1"))
        self._serving = mode == "serve"
        fps = _flag(argv, "--fps", "")
        self._frame_ns = 1e9 / float(fps) if fps else None
        if process in self._model.error_in:
            self._say({"event": "error", "message": "programmed failure"})
            self._serving = False
            return
        device.clock.work(self._model.load_ns + self._model.first_ns)
        self._say(self._loaded(threads))
        if mode == "time":
            self._slice({"runs": int(_flag(argv, "--runs", "50"))})
        elif mode == "score":
            self._score()
        elif mode == "profile":
            self._profile()

    def read_line(self, timeout_s: float) -> str:
        """The next programmed line; a slow worker lets the whole timeout pass."""
        if self._pending:
            return self._pending.popleft()
        if self._process in self._model.slow_in and self._open:
            self._device.clock.sleep(timeout_s)
            raise WorkerFailed(f"fake worker printed nothing for {timeout_s:g} s")
        raise WorkerFailed("fake worker ended with 1" if self._serving else "fake worker ended with 0")

    def write_line(self, line: str) -> None:
        """Answer a request, unless programmed to fail."""
        if not self._open or not self._serving:
            raise WorkerFailed("fake worker ended with 0")
        if self._process in self._model.dies_in or self._process in self._model.slow_in:
            return
        self._pending.extend(self._model.chatter)
        self._slice(json.loads(line))

    def close(self, timeout_s: float = 10.0) -> None:
        """End the worker. Safe to call twice."""
        del timeout_s
        if self._open:
            self._open = False
            self._device.open_workers -= 1

    def _say(self, event: dict[str, Any]) -> None:
        self._pending.append(json.dumps(event))

    def _loaded(self, threads: int) -> dict[str, Any]:
        model = self._model
        return {
            "event": "loaded",
            "runtime": model.runtime,
            "version": "1",
            "package": "fake",
            "providers": model.providers,
            "delegated_nodes": model.delegated_nodes,
            "nodes": model.nodes,
            "threads": threads,
            "load_ns": model.load_ns,
            "first_ns": model.first_ns,
            "warmup_runs": 0,
            "before_load_bytes": model.before_load_bytes,
            "input": model.fed_with,
        }

    def _slice(self, request: dict[str, Any]) -> None:
        limit_ns, runs = request.get("slice_ns"), request.get("runs")
        times: list[int] = []
        while not times or (
            (runs is None or len(times) < runs) and (limit_ns is None or sum(times) < limit_ns)
        ):
            times.append(self._model.time_of(self._process, self._runs))
            self._runs += 1
        self._device.clock.work(sum(times))
        self._device.order.append(self._artifact)
        late = (
            {} if self._frame_ns is None else {"late_frames": sum(int(ns // self._frame_ns) for ns in times)}
        )
        self._say(
            {
                "event": "slice",
                "run_ns": times,
                "cpu_ns": sum(times),
                "peak_rss_bytes": self._model.peak_rss_bytes,
                **late,
            }
        )

    def _score(self) -> None:
        rows = self._model.rows
        invoke_ns = sum(self._model.time_of(self._process, run) for run in range(len(rows)))
        self._device.clock.work(invoke_ns)
        self._say({"event": "outputs", "first": 0, "rows": rows})
        self._say({"event": "scored", "n": len(rows), "invoke_ns": invoke_ns, "pass_ns": invoke_ns})

    def _profile(self) -> None:
        model = self._model
        run_ns = [model.time_of(self._process, run) for run in range(10)]
        self._device.clock.work(2 * sum(run_ns))
        self._device.order.append(self._artifact)
        self._say(
            {
                "event": "profile",
                "run_ns": run_ns,
                "nodes": [asdict(node) for node in model.executed],
                "placed": [asdict(node) for node in model.placed],
                "absent": "" if model.executed else "programmed without operators",
            }
        )


@dataclass
class FakeMeter:
    """An energy counter on a FakeClock; implements ports.Meter.

    Attributes:
        clock: The device's.
        idle_w: Power while no worker runs.
        busy_w: Power while a worker runs.
        name: In records.
        scope: In records.
        resolution_uj: As reported.
        update_ns: As reported.
        start_uj: Where the counter starts.
        range_uj: Where it restarts at 0; None for never.
        drift_w: How much the idle power grows per second.
    """

    clock: FakeClock
    idle_w: float = 1.0
    busy_w: float = 2.0
    name: str = "fake"
    scope: str = "the whole of nothing"
    resolution_uj: int = 1
    update_ns: int = 0
    start_uj: int = 0
    range_uj: int | None = None
    drift_w: float = 0.0

    def read(self) -> tuple[CounterValue, ...]:
        """The counter now."""
        clock = self.clock
        used_uj = (clock.now_ns * self.idle_w + clock.busy_ns * (self.busy_w - self.idle_w)) / 1e3
        used_uj += self.drift_w * (clock.now_ns / 1e9) ** 2 / 2 * 1e6
        value_uj = self.start_uj + round(used_uj)
        if self.range_uj is not None:
            value_uj %= self.range_uj
        return (CounterValue("total", value_uj, self.range_uj, clock.now_ns),)


def _flag(argv: Sequence[str], name: str, default: str) -> str:
    return argv[list(argv).index(name) + 1] if name in argv else default


if TYPE_CHECKING:
    _keep_their_ports: tuple[type[Device], type[Conversation], type[Meter]] = (
        Fake,
        FakeConversation,
        FakeMeter,
    )
