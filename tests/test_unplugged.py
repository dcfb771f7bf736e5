"""The energy pass that a device makes by itself with its cable unplugged, on a fake device."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from swapbench import store
from swapbench.bench import experiment
from swapbench.bench.unplugged import BASIS, Unplugged, UnpluggedEnergy, job_of, windows_of
from swapbench.bench.workers import FileUnderTest
from swapbench.errors import DeviceFailed, Unreachable, WorkerFailed
from swapbench.modelfile import Graph, Tensor
from swapbench.ports import Detached, DetachedJob, Samples
from swapbench.records import Absent, CounterRead, Plan, Power, Variant
from swapbench.runtimes.native.adapter import NativeOnnxRuntime
from swapbench.testing import Fake, FakeModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.records import Record

SECOND = 10**9
PLAN = Plan(min_rounds=1, max_rounds=1, slices_per_round=1, time_budget_s=1, power_window_s=10)
CABLE = "/sys/class/power_supply/usb/online"
RUNTIME = NativeOnnxRuntime(runner="runner", library="lib.so")
WAITS = Detached("", alive=True, unplugged=False, begun=False, ended=None, restarted=False, finished=())
"""What a phone keeps while it waits; the token is filled in."""


# ------------------------------------------------------------------------------------------ what a job says


def answers(
    *, runs: int = 5, cable: float | None = 0, asleep_ns: int = 0, power: tuple[int, int, int] = (1, 3, 1)
) -> str:
    """What a job of ten-second windows says: current 1 idle and 3 busy, and the cable's file."""
    lines: list[dict[str, Any]] = [
        {
            "event": "loaded",
            "runtime": "onnxruntime",
            "version": "1",
            "package": "lib.so",
            "providers": ["CPU"],
            "settings": {},
            "delegated_nodes": None,
            "nodes": None,
            "threads": 1,
            "load_ns": 1,
            "first_ns": 1,
            "warmup_runs": 0,
            "before_load_bytes": 1,
            "input": "random",
        }
    ]
    now_ns = 100 * SECOND
    for number, (kind, current) in enumerate(
        (kind, current) for current in power for kind in ("rest", "window")
    ):
        begin_ns, end_ns = now_ns, now_ns + (SECOND // 2 if kind == "rest" else 10 * SECOND)
        busy = number == 3
        if busy:
            lines.append({"event": "slice", "run_ns": [2 * SECOND] * runs, "cpu_ns": 1, "peak_rss_bytes": 1})
        rows = [[at, current, cable] for at in (begin_ns - 1, end_ns + 1)]
        clocks = {
            "monotonic_ns": end_ns,
            "boottime_ns": end_ns + 77 + (asleep_ns if number >= 3 else 0),
            "realtime_ns": 0,
        }
        lines.append(
            {
                "event": "watched",
                "what": "slice" if busy else "idle",
                "begin_ns": begin_ns,
                "end_ns": end_ns,
                "rows": rows,
                "clocks": clocks,
            }
        )
        now_ns = end_ns
    return "".join(f"{json.dumps(one)}\n" for one in lines)


def test_a_job_rests_before_each_window_and_watches_the_cable_beside_the_battery() -> None:
    job = job_of(FileUnderTest("net", "/net.onnx", RUNTIME), ("/current", CABLE), 100, PLAN)
    assert job.name == "net"
    assert job.argv[job.argv.index("--watch") + 1] == f"/current,{CABLE}"
    assert job.argv[job.argv.index("--mode") + 1] == "serve"
    rest, window = {"idle_ns": SECOND // 2}, {"idle_ns": 10 * SECOND}
    busy = {"slice_ns": 10 * SECOND, "wake_runs": 0}
    asked = [json.loads(line) for line in job.requests.splitlines()]
    assert asked == [rest, window, rest, busy, rest, window]
    assert "--fps" not in job.argv
    paced = job_of(
        FileUnderTest("net", "/net.onnx", RUNTIME), (CABLE,), 100, PLAN.model_copy(update={"fps": 15.0})
    )
    assert paced.argv[paced.argv.index("--fps") + 1] == "15.0"


def test_the_windows_of_a_job_are_those_after_the_rests() -> None:
    (before, busy, after), runs = windows_of(f"a library says hello\n{answers()}", RUNTIME)
    assert runs == 5
    assert [window.values[0] for window in (before, busy, after)] == [(1, 0), (3, 0), (1, 0)]
    assert [window.end_ns - window.begin_ns for window in (before, busy, after)] == [10 * SECOND] * 3


def test_answers_that_break_off_or_are_an_error_are_told() -> None:
    whole = answers().splitlines(keepends=True)
    for kept in range(len(whole)):
        with pytest.raises(WorkerFailed, match=f"gave {kept} of 8 answers"):
            windows_of("".join(whole[:kept]), RUNTIME)
    refusal = '{"event":"error","stage":"model","message":"there is no model file x"}\n'
    for text in (refusal, whole[0] + refusal):
        with pytest.raises(WorkerFailed, match="there is no model file x"):
            windows_of(text, RUNTIME)


def test_a_phone_that_slept_is_refused() -> None:
    windows_of(answers(asleep_ns=10_000_000), RUNTIME)  # clocks are read one after the other
    with pytest.raises(DeviceFailed, match=r"slept for 2\.5 s during the measurement"):
        windows_of(answers(asleep_ns=2_500_000_000), RUNTIME)


# ------------------------------------------------------------------------------------------ a run


@dataclass
class Gauge:
    """A meter of one file: its number is watts."""

    name: str = "gauge"
    files: tuple[str, ...] = ("/current",)
    period_ms: int = 100
    full: bool = False

    def check(self) -> None:
        if self.full:
            raise DeviceFailed("the battery is at 99 %", remedy="Use it a while.")

    def power(self, idle_before: Samples, busy: Samples, idle_after: Samples, runs: int) -> Power:
        reads = [
            (CounterRead(counter="g", used_uj=int(one.values[0][0] or 0) * 10**7, window_ns=10 * SECOND),)
            for one in (idle_before, busy, idle_after)
        ]
        return Power(
            meter=self.name,
            scope="all",
            resolution_uj=1,
            update_ns=0,
            idle_before=reads[0],
            busy=reads[1],
            idle_after=reads[2],
            runs=runs,
            basis=("watts",),
        )


@dataclass
class Alone(Fake):
    """A device that is left to itself: `course` is what it shows, look by look; the last goes on for ever."""

    course: list[Any] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    kept: list[DetachedJob] = field(default_factory=list)
    token: str = ""
    tells: bool = True
    ended: int = 0

    def cable_files(self) -> tuple[str, ...]:
        if not self.tells:
            raise DeviceFailed("no file tells", remedy="Use adb over Wi-Fi.")
        return (CABLE,)

    def detach(self, token: str, jobs: list[DetachedJob], *, patience_s: float, settle_s: float) -> None:
        assert (patience_s, settle_s) == (900, 20)
        self.token, self.kept = token, list(jobs)

    def detached(self) -> Detached | None:
        if not self.token:
            return None
        now = self.course.pop(0) if len(self.course) > 1 else self.course[0]
        if isinstance(now, BaseException):
            raise now
        return now and replace(now, token=now.token or self.token)

    def detached_answers(self, name: str) -> str:
        return self.said.get(name, answers())

    def end_detached(self) -> bool:
        self.ended += 1
        self.token = ""
        return True


GAUGES = (Gauge(),)
AWAY = Unreachable("phone X is not attached", remedy="Check the cable.")


def measured(*names: str) -> Detached:
    return replace(WAITS, alive=False, begun=True, ended="done", finished=names)


def under_test(folder: Path, name: str) -> experiment.ModelUnderTest:
    path = folder / f"{name}.onnx"
    path.write_bytes(name.encode())
    graph = Graph(
        format="onnx",
        inputs=(Tensor("x", (1, 3, 2, 2), "float32"),),
        outputs=(Tensor("p", (1, 2), "float32"),),
        file_bytes=1,
        params=1,
        macs=1,
        ops={},
        uncounted_ops=(),
        precision="fp32",
        layout="nchw",
    )
    return experiment.ModelUnderTest(
        Variant(net=name, precision="fp32", format="onnx"),
        path,
        "0" * 64,
        graph,
        RUNTIME,
        None,
        Absent(absent="x"),
    )


@dataclass
class Sitting:
    """Runs of the same command in one folder."""

    folder: Path
    device: Alone
    names: tuple[str, ...]
    meters: tuple[Gauge, ...] | Absent
    told: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.models_under_test = [under_test(self.folder, name) for name in self.names]
        self.ids = [one.record_id for one in self.models_under_test]

    def run(self) -> experiment.Outcome:
        def progress(stage: str, done: float, total: float) -> None:
            assert 0 <= done <= total, (stage, done, total)
            self.stages.append(stage)

        unplugged = Unplugged(self.meters, self.told.append)
        setup = experiment.Setup(self.device, Absent(absent="on a cable"), PLAN, unplugged=unplugged)
        return experiment.run(
            self.models_under_test,
            setup,
            self.folder / "run",
            progress=progress,
            sleep=self.device.clock.sleep,
        )

    def energies_uj(self) -> list[float | str]:
        return [
            one.power.absent if isinstance(one.power, Absent) else one.power[-1].busy[0].used_uj
            for one in self.records()
        ]

    def records(self) -> tuple[Record, ...]:
        return store.load_run(self.folder / "run")

    @property
    def finished(self) -> bool:
        return bool((experiment.read_about(self.folder / "run") or {})["finished"])


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sitting]:
    def made(*names: str, course: list[Any], meters: Any = GAUGES, **device: Any) -> Sitting:
        phone = Alone({f"{name}.onnx": FakeModel() for name in names}, course=course, **device)
        # time is the device's, and nothing else moves it
        on_its_clock = partial(UnpluggedEnergy, clock=phone.clock.seconds)
        monkeypatch.setattr("swapbench.bench.experiment.bench.UnpluggedEnergy", on_its_clock)
        return Sitting(tmp_path, phone, names, meters)

    return made


def test_all_files_are_left_at_once_and_get_their_energy_when_the_phone_is_back(
    make: Callable[..., Sitting],
) -> None:
    one = make("a", "b", course=[])
    one.device.course = [WAITS, AWAY, AWAY, measured(*one.ids)]
    outcome = one.run()
    assert outcome.failures == ()
    assert one.energies_uj() == [3e7, 3e7]
    for record in outcome.records:
        assert record.power[0].basis == ("watts", BASIS)
        assert record.power[0].runs == 5
        assert record.speed.workers
    assert [job.name for job in one.device.kept] == one.ids
    # 20 s of rest and, for each file, 5 s of loading and three windows of 10.5 s: 93 s,
    # and half a minute in hand
    assert [line for line in one.told if line.startswith("Unplug the cable of fake now")] == one.told
    assert "after about 3 minutes" in one.told[0]
    assert one.device.ended == 1
    assert one.finished
    assert not list(store.drafts_folder(one.folder / "run").iterdir())


def test_a_phone_that_is_reached_without_its_cable_is_not_asked_while_it_measures(
    make: Callable[..., Sitting],
) -> None:
    one = make("a", course=[])
    out = replace(WAITS, begun=True, unplugged=True)
    one.device.course = [WAITS, WAITS, out, AssertionError("asked again"), measured(*one.ids)]
    with pytest.raises(AssertionError, match="asked again"):
        one.run()
    # all the 56.5 s that one file takes
    assert one.device.clock.seconds() > 56.5
    assert one.stages.count("the phone measures without its cable") >= 28


def test_a_line_that_breaks_while_answers_are_fetched_throws_nothing_away(
    make: Callable[..., Sitting],
) -> None:
    one = make("a", "b", course=[])
    one.device.course = [measured(*one.ids)]
    honest = one.device.detached_answers

    def broken(name: str) -> str:
        if name == one.ids[1]:
            raise DeviceFailed("the connection to phone X broke")
        return honest(name)

    one.device.detached_answers = broken  # type: ignore[method-assign]
    with pytest.raises(DeviceFailed, match="broke"):
        one.run()
    assert one.device.ended == 0
    assert [record.artifact for record in one.records()] == ["a.onnx"]
    one.device.detached_answers = honest  # type: ignore[method-assign]
    assert one.run().failures == ()
    assert one.energies_uj() == [3e7, 3e7]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (replace(WAITS, alive=False, ended="waited"), "nobody unplugged the cable of fake within 15 minutes"),
        (
            replace(WAITS, alive=False, begun=True, ended="plugged"),
            "the cable of fake was plugged in again too early",
        ),
        # the script has not seen it yet, or cannot: three looks are enough
        (replace(WAITS, begun=True), "the cable of fake was plugged in again too early"),
        (
            replace(WAITS, alive=False, begun=True, restarted=True),
            "fake was restarted during the measurement",
        ),
        (
            replace(WAITS, alive=False),
            "fake ended what it was to measure by itself before it began, probably as its cable went",
        ),
        (
            replace(WAITS, alive=False, begun=True),
            "the measurement that fake made by itself was killed before it was done",
        ),
    ],
)
def test_a_file_without_answers_has_no_energy_with_the_reason_and_the_others_keep_theirs(
    make: Callable[..., Sitting], last: Detached, reason: str
) -> None:
    one = make("a", "b", "c", course=[])
    one.device.course = [WAITS, replace(last, finished=(one.ids[0],))]
    outcome = one.run()
    assert one.energies_uj() == [3e7, reason, reason]
    ((names, failure),) = outcome.failures
    assert names == "energy of b.onnx, c.onnx"
    assert failure.exit_status == 4
    assert failure.remedy
    assert one.device.ended == 1
    assert one.finished


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answers(cable=1), "the cable was plugged in during the measurement"),
        (answers(asleep_ns=SECOND), "the phone slept for 1.0 s"),
        ("", "gave 0 of 8 answers"),
    ],
)
def test_answers_that_cannot_be_used_are_no_energy(
    make: Callable[..., Sitting], said: str, reason: str
) -> None:
    one = make("a", "b", course=[])
    one.device.course, one.device.said = [measured(*one.ids)], {one.ids[1]: said}
    outcome = one.run()
    assert one.energies_uj()[0] == 3e7
    assert reason in str(one.energies_uj()[1])
    assert [names for names, _ in outcome.failures] == ["energy of b.onnx"]


def test_a_file_of_the_cable_that_could_not_be_read_once_is_no_cable(make: Callable[..., Sitting]) -> None:
    one = make("a", course=[])
    one.device.course, one.device.said = [measured(*one.ids)], {one.ids[0]: answers(cable=None)}
    assert one.run().failures == ()


def test_an_interrupt_loses_nothing_and_the_same_command_collects(make: Callable[..., Sitting]) -> None:
    one = make("a", "b", course=[])
    one.device.course = [WAITS, AWAY, KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        one.run()
    assert not (one.folder / "run/records").exists()
    assert not one.finished
    asked = len(one.device.asked)
    one.told.clear()
    one.device.course = [AWAY, measured(*one.ids)]
    with pytest.raises(Unreachable):  # it is not back yet: said at once, and nothing is lost either
        one.run()
    assert one.run().failures == ()
    assert one.energies_uj() == [3e7, 3e7]
    assert len(one.device.asked) == asked  # nothing was measured again
    assert one.told == ["Going on with what the phone measures, or has measured, by itself."]


def test_a_phone_that_stays_away_ends_the_command_and_keeps_everything(make: Callable[..., Sitting]) -> None:
    one = make("a", course=[WAITS, AWAY])
    with pytest.raises(DeviceFailed, match=r"fake has not come back for 7\d minutes") as failure:
        one.run()
    assert "it keeps what it measured" in failure.value.remedy
    assert "fake should be done: plug it in again." in one.told
    one.device.course = [measured(*one.ids)]
    assert one.run().failures == ()


def test_a_phone_that_no_longer_trusts_this_computer_is_told_once(make: Callable[..., Sitting]) -> None:
    one = make("a", course=[])
    refusal = DeviceFailed("phone X does not trust this computer", remedy="Unlock it.")
    one.device.course = [WAITS, *[refusal] * 5, measured(*one.ids)]
    assert one.run().failures == ()
    assert one.told.count("phone X does not trust this computer. Unlock it.") == 1


def test_what_was_ended_by_hand_is_measured_anew_without_the_other_passes(
    make: Callable[..., Sitting],
) -> None:
    one = make("a", course=[KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        one.run()
    one.device.token, asked = "", len(one.device.asked)
    one.device.course = [measured(*one.ids)]
    assert one.run().failures == ()
    assert len(one.device.asked) == asked
    assert len([line for line in one.told if line.startswith("Unplug")]) == 2


def test_what_the_phone_keeps_for_another_run_is_not_thrown_away(make: Callable[..., Sitting]) -> None:
    one = make("a", course=[replace(measured("other"), token="theirs")])
    one.device.token = "theirs"
    with pytest.raises(
        DeviceFailed, match="still holds results that it measured by itself for another run"
    ) as failure:
        one.run()
    assert "swapbench device end fake" in failure.value.remedy
    assert one.device.ended == 0


@pytest.mark.parametrize(
    ("device", "meters", "reason"),
    [
        ({"tells": False}, GAUGES, "no file tells"),
        ({}, (Gauge(full=True),), "the battery is at 99 %"),
        ({}, Absent(absent="no gauge", remedy="Another phone."), "no gauge"),
    ],
)
def test_what_cannot_be_left_on_the_phone_leaves_the_rest_of_the_records(
    make: Callable[..., Sitting], device: dict[str, Any], meters: Any, reason: str
) -> None:
    one = make("a", "b", course=[None], meters=meters, **device)
    outcome = one.run()
    assert one.energies_uj() == [reason, reason]
    ((names, failure),) = outcome.failures
    assert names == "energy of a.onnx, b.onnx"
    assert failure.exit_status == 4
    assert one.told == []
    assert one.finished


def test_a_damaged_draft_is_measured_again(make: Callable[..., Sitting]) -> None:
    one = make("a", "b", course=[KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        one.run()
    (store.drafts_folder(one.folder / "run") / f"{one.ids[1]}.json").write_text("{")
    one.device.course = [measured(*one.ids)]
    asked = len(one.device.asked)
    assert one.run().failures == ()
    assert one.energies_uj() == [3e7, 3e7]
    assert all("b.onnx" in " ".join(argv) for argv in one.device.asked[asked:])


def test_a_device_that_cannot_work_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeviceFailed, match="fake cannot measure by itself"):
        experiment.run(
            [under_test(tmp_path, "a")],
            experiment.Setup(
                Fake({"a.onnx": FakeModel()}),
                Absent(absent="x"),
                PLAN,
                unplugged=Unplugged(GAUGES, print),
            ),
            tmp_path / "run",
            progress=lambda *_: None,
        )
