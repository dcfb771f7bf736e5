"""A device that exists only in arithmetic: workers with programmed latencies on a clock that only they move.

Part of the product, because whoever writes a runtime, a meter or a gate needs it: 10 ms a run at 2 W busy over 1 W idle
is exactly 10 mJ above idle. It speaks the worker contract (see swapbench.runtimes.contract) and never sleeps for real.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from swapbench.errors import DeviceFailed, WorkerFailed
from swapbench.ports import CounterValue, Finished
from swapbench.records import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.ports import Conversation, Device, Meter, Node
    from swapbench.records import Plan


@dataclass
class FakeClock:
    """Time that passes only when somebody works or sleeps; knows which part of it was busy."""

    now_ns: int = 0
    busy_ns: int = 0

    def work(self, duration_ns: int) -> None:
        """Let time pass with the processor busy."""
        self.now_ns += duration_ns
        self.busy_ns += duration_ns

    def sleep(self, duration_s: float) -> None:
        """Let time pass idly; stands in for time.sleep."""
        self.now_ns += round(duration_s * 1e9)

    def seconds(self) -> float:
        """Stands in for time.monotonic."""
        return self.now_ns / 1e9


@dataclass(frozen=True)
class FakeModel:
    """What workers of one artifact do.

    run_ns: wall time of timed run `i` (counted from 0 in each process) in the `k`-th process started for the artifact;
    a number for all alike. dies_in: processes (counted from 0) that end at their first request; chatter: lines
    that a library prints in between; slow_in: processes that never answer; error_in: processes that say an error line; executed, placed: what
    a profile tells of the nodes, in the processes' own order.
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
        """Wall time of one run."""
        return self.run_ns if isinstance(self.run_ns, int) else self.run_ns(process, run)


@dataclass
class Fake:
    """A device with programmed models, by artifact; implements ports.Device. `asked` remembers every command."""

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
        """A machine that says it is emulated."""
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

    def push(self, path: Path) -> str:
        """The file's name: artifacts are known by it."""
        return path.name

    def pull(self, remote: str, path: Path) -> None:
        """Write a programmed file's text to `path`."""
        path.write_text(self.read(remote), encoding="utf-8")

    def read(self, path: str) -> str:
        """The text of a programmed file; DeviceFailed for any other."""
        if path not in self.files:
            raise DeviceFailed(f"cannot read {path}: No such file or directory")
        return self.files[path]

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """A whole worker life in time or score mode."""
        conversation = self.start(argv)
        lines: list[str] = []
        with contextlib.suppress(WorkerFailed):
            while True:
                lines.append(conversation.read_line(timeout_s))
        failed = any('"event": "error"' in line for line in lines)
        conversation.close()
        return Finished("\n".join(lines) + "\n", "", int(failed))

    def start(self, argv: Sequence[str]) -> FakeConversation:
        """Start a programmed worker. WorkerFailed for an artifact that is not programmed."""
        self.asked.append(tuple(argv))
        artifact = _flag(argv, "--artifact", "")
        if artifact not in self.models:
            raise WorkerFailed(f"there is no model file {artifact}")
        process = self._started.get(artifact, 0)
        self._started[artifact] = process + 1
        return FakeConversation(self, artifact, process, argv)

    @contextlib.contextmanager
    def quiet(self, plan: Plan) -> Iterator[None]:
        """Nothing to do."""
        del plan
        yield


class FakeConversation:
    """One programmed worker; implements ports.Conversation. Answers are computed when they are asked for."""

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
        """Next programmed line; a slow worker lets the whole timeout pass."""
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

    def _say(self, said: dict[str, Any]) -> None:
        self._pending.append(json.dumps(said))

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
                "nodes": [asdict(one) for one in model.executed],
                "placed": [asdict(one) for one in model.placed],
                "absent": "" if model.executed else "programmed without operators",
            }
        )


@dataclass
class FakeMeter:
    """A counter on a FakeClock: `idle_w` always, and `busy_w` instead while a worker runs; implements ports.Meter.

    Starts at start_uj and wraps after range_uj; drift_w: how much idle power grows in each second.
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
