"""`swapbench run --detached` on the emulated phone, whose cable is pulled and plugged in meanwhile."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
from tiny_files import heavy

from swapbench import cli, stats, store
from swapbench.bench import unplugged
from swapbench.cli import terminal
from swapbench.commands import place
from swapbench.commands import run as main_job
from swapbench.commands.provision import kit
from swapbench.devices import android
from swapbench.meters.battery import BatteryCurrent
from swapbench.records import Absent, Plan, Speed
from swapbench.report import writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phone.lifecycle import Phone

    from swapbench.ports import Samples
    from swapbench.records import Power, Record

pytest_plugins = ["phone.fixture"]

LEFT = "/data/local/tmp/swapbench/.detached"
TOLD = threading.Event()


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the native runner is built once for all tests."""
    pytest.importorskip("ziglang", reason="building the native runner needs the package ziglang")
    return tmp_path_factory.mktemp("kits")


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, runners: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(kit, "cache", lambda folders: runners)
    monkeypatch.setattr(
        main_job, "Plan", partial(Plan, min_rounds=1, max_rounds=1, slices_per_round=4, slice_ns=10_000_000)
    )
    monkeypatch.setattr(android, "BUSY_WINDOW_S", 0)
    monkeypatch.setattr(place, "phone_meters", lambda phone: {})
    monkeypatch.setattr(writer, "write_report", lambda *_: SimpleNamespace(all=(), remarks=()))
    monkeypatch.setattr(unplugged, "SETTLE_S", 1.0)
    monkeypatch.setattr(unplugged, "POLL_S", 0.2)
    monkeypatch.setattr(unplugged, "LOAD_S", 1.0)


@pytest.fixture
def plugged(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> Phone:
    """A phone that charges over the cable that carries adb; TOLD is set when somebody is asked to pull it."""

    def say(text: str) -> None:
        honest(text)
        if text.startswith("Unplug the cable"):
            TOLD.set()

    honest = terminal.say
    TOLD.clear()
    monkeypatch.setattr(terminal, "say", say)
    phone.set(charging=True)
    return phone


def run(*words: str, window_s: float = 2) -> int:
    """The exit status of `swapbench run --detached`."""
    options = ("--device", "emulated-x86", "--budget", "1", "--name", "r", "--no-accuracy")
    return cli.main(["run", *words, *options, "--detached", "--window", str(window_s)])


def measures(commands: list[str]) -> bool:
    """A runner that was left to itself is there."""
    return queued(commands) and any("runner" in one for one in commands)


def queued(commands: list[str]) -> bool:
    return any("./queue.sh" in one for one in commands)


def plug(phone: Phone) -> None:
    phone.set(cable=True, charging=True)


@contextlib.contextmanager
def somebody(
    phone: Phone, *steps: tuple[Callable[[list[str]], bool], Callable[[], object]]
) -> Iterator[None]:
    """Somebody who looks at what runs on the phone and does each step once it is due, all by the end."""
    end, left = threading.Event(), list(steps)

    def act() -> None:
        while left and not end.wait(0.1):
            holds, do = left[0]
            if holds([command for _, command in phone.processes()]):
                do()
                left.pop(0)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    assert not left


def pulls(phone: Phone) -> tuple[Callable[[list[str]], bool], Callable[[], object]]:
    """The step of a person who does as told."""
    return lambda _: TOLD.is_set(), lambda: phone.set(cable=False)


def plugs(
    phone: Phone, holds: Callable[[list[str]], bool]
) -> tuple[Callable[[list[str]], bool], Callable[[], object]]:
    return holds, lambda: plug(phone)


def is_done(commands: list[str]) -> bool:
    return not queued(commands)


def records() -> dict[str, Record]:
    return {one.artifact: one for one in store.load_run(Path("reports/r"))}


def left_running(phone: Phone) -> list[str]:
    return [command for _, command in phone.processes() if "runner" in command or "queue" in command]


class Truths:
    """What the phone really used, asked all the time; both clocks are this machine's."""

    def __init__(self, phone: Phone) -> None:
        self._phone, self._end = phone, threading.Event()
        self._times_ns: list[int] = []
        self._energies_uj: list[float] = []
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._end.wait(0.05):
            before_ns = time.monotonic_ns()
            energy_uj = self._phone.truth()["energy_uj"]
            self._times_ns.append((before_ns + time.monotonic_ns()) // 2)
            self._energies_uj.append(energy_uj)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def used_uj(self, samples: Samples) -> float:
        """Between the two ends of a window."""
        assert self._times_ns[0] < samples.begin_ns < samples.end_ns < self._times_ns[-1]
        begin, end = (
            np.interp(at - self._times_ns[0], np.array(self._times_ns) - self._times_ns[0], self._energies_uj)
            for at in (samples.begin_ns, samples.end_ns)
        )
        return float(end - begin)


@pytest.mark.slow  # three windows of eight seconds
def test_energy_with_the_cable_out_is_within_five_percent_of_the_truth(
    plugged: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    windows: list[Samples] = []
    honest = BatteryCurrent.power

    def remembering(self: Any, before: Samples, busy: Samples, after: Samples, runs: int) -> Power:
        windows.extend((before, busy, after))
        return honest(self, before, busy, after, runs)

    monkeypatch.setattr(BatteryCurrent, "power", remembering)
    with Truths(plugged) as truths, somebody(plugged, pulls(plugged), plugs(plugged, is_done)):
        assert run(heavy("net.onnx"), window_s=8) == 3
    record = records()["net.onnx"]
    (power,) = [one for one in record.power if one.meter == "battery-current"]
    _, busy, _ = windows
    energy = stats.energy_per_run(power)
    used_uj = truths.used_uj(busy)
    assert energy.gross_uj * power.runs == pytest.approx(used_uj, rel=0.05)
    above_idle_uj = used_uj - 800_000 * (busy.end_ns - busy.begin_ns) / 1e9
    assert energy.above_idle_uj * power.runs == pytest.approx(above_idle_uj, rel=0.05)
    assert unplugged.BASIS in power.basis
    assert isinstance(record.speed, Speed)
    said = capsys.readouterr().err
    assert "Unplug the cable of emulated-x86 now, and plug it in again after about 1 minute." in said
    assert left_running(plugged) == []
    assert plugged.shell(f"ls {LEFT}").status != 0
    assert list(Path("reports/r/waiting").iterdir()) == []


@pytest.mark.slow  # several windows
def test_the_cable_is_pulled_once_for_all_files_and_what_was_done_before_it_came_back_is_kept(
    plugged: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [heavy(name) for name in ("a.onnx", "b c.onnx", "d.onnx")]

    def is_at_the_last(commands: list[str]) -> bool:
        return measures(commands) and any("d.onnx" in one for one in commands if "runner" in one)

    with somebody(plugged, pulls(plugged), plugs(plugged, is_at_the_last)):
        assert run(*files) == 4
    by_name = records()
    assert sorted(by_name) == files
    assert [isinstance(by_name[name].power, tuple) for name in files] == [True, True, False]
    assert isinstance(lost := by_name["d.onnx"].power, Absent)
    assert lost.absent == "the cable of emulated-x86 was plugged in again too early"
    assert isinstance(by_name["d.onnx"].speed, Speed)
    said = capsys.readouterr().err
    assert said.count("Unplug the cable") == 1
    assert (
        "failed: energy of d.onnx: the cable of emulated-x86 was plugged in again too early. "
        "Measure again, and" in said
    )
    assert left_running(plugged) == []


@pytest.mark.slow
def test_an_interrupt_loses_nothing_and_the_same_command_collects_what_the_phone_kept(
    plugged: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    heavy("net.onnx")
    plugged.shell("settings put system screen_off_timeout 30000")
    with monkeypatch.context() as patch:
        patch.setattr(unplugged.UnpluggedEnergy, "_wait", interrupted)
        assert run("net.onnx") == 130
    assert not list(Path("reports/r").glob("records/*"))
    timed = store.drafts(Path("reports/r")).popitem()[1].speed
    assert left_running(plugged) != []
    # the screen stays lit, or the phone would sleep
    assert int(plugged.shell("settings get system screen_off_timeout").stdout) == android.SCREEN_TIMEOUT_MS

    # nothing else is measured meanwhile, and its orphans' broom leaves it alone
    assert cli.main(["run", "net.onnx", "--device", "emulated-x86", "--no-accuracy", "--name", "other"]) == 4
    assert "or end it with: swapbench device end emulated-x86" in capsys.readouterr().err
    assert left_running(plugged) != []

    plugged.set(cable=False)
    assert plugged.shell("true").status != 0
    deadline_s = time.monotonic() + 120
    while left_running(plugged):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    plug(plugged)
    plugged.connect()
    assert run("net.onnx") == 3
    record = records()["net.onnx"]
    assert isinstance(record.power, tuple)
    assert record.speed == timed
    said = capsys.readouterr().err
    assert "Going on with what the phone measures, or has measured, by itself." in said
    assert "Unplug the cable" not in said
    assert "timing" not in said
    assert left_running(plugged) == []
    assert plugged.shell("settings get system screen_off_timeout").stdout == "30000\n"


@pytest.mark.slow
def test_a_phone_that_restarts_has_no_energy_and_the_rest_of_the_record_is_kept(
    plugged: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    heavy("net.onnx")
    restarts = (measures, lambda: (plugged.restart(), plug(plugged)))
    with somebody(plugged, pulls(plugged), restarts):
        assert run("net.onnx", window_s=30) == 4
    record = records()["net.onnx"]
    assert isinstance(record.power, Absent)
    assert record.power.absent == "emulated-x86 was restarted during the measurement"
    assert isinstance(record.speed, Speed)
    assert (
        "failed: energy of net.onnx: emulated-x86 was restarted during the measurement"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_measurement_that_somebody_ends_on_the_phone_is_told(
    plugged: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    heavy("net.onnx")
    kills = (measures, lambda: (plugged.kill("queue.sh"), plugged.kill("runner"), plug(plugged)))
    with somebody(plugged, pulls(plugged), kills):
        assert run("net.onnx", window_s=30) == 4
    assert isinstance(records()["net.onnx"].power, Absent)
    assert "was killed before it was done" in capsys.readouterr().err


@pytest.mark.slow
def test_a_phone_that_ends_what_adb_started_when_its_cable_goes_says_what_helps(
    plugged: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plugged.set(adbd_restarts_on_unplug=True)
    heavy("net.onnx")
    comes_back = (lambda commands: not queued(commands), lambda: plug(plugged))
    with somebody(plugged, pulls(plugged), comes_back):
        assert run("net.onnx", window_s=30) == 4
    record = records()["net.onnx"]
    assert isinstance(record.power, Absent)
    assert "before it began, probably as its cable went" in record.power.absent
    assert "Some phones restart adb's daemon then" in record.power.remedy
    assert isinstance(record.speed, Speed)
    assert left_running(plugged) == []
    capsys.readouterr()


@pytest.mark.slow
def test_nobody_pulls_the_cable(
    plugged: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unplugged, "PATIENCE_S", 3.0)
    assert run(heavy("net.onnx")) == 4
    record = records()["net.onnx"]
    assert isinstance(record.power, Absent)
    assert "nobody unplugged the cable of emulated-x86" in record.power.absent
    assert left_running(plugged) == []
    capsys.readouterr()


@pytest.mark.slow
def test_a_phone_whose_files_tell_nothing_of_its_cable_is_measured_without_energy(
    plugged: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    plugged.set(missing=["*/usb/online", "*/battery/status"])
    assert run(heavy("net.onnx")) == 4
    record = records()["net.onnx"]
    assert isinstance(record.power, Absent)
    assert "no readable file of phone" in record.power.absent
    assert "adb tcpip 5555" in record.power.remedy
    assert isinstance(record.speed, Speed)
    assert "failed: energy of net.onnx: no readable file of phone" in capsys.readouterr().err


@pytest.mark.slow
def test_who_gives_up_ends_it_by_a_command(
    plugged: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    plugged.shell("settings put system screen_off_timeout 30000")
    with monkeypatch.context() as patch:
        patch.setattr(unplugged.UnpluggedEnergy, "_wait", interrupted)
        assert run(heavy("net.onnx")) == 130
    capsys.readouterr()
    cli.main(["doctor", "--device", "emulated-x86", "--json"])
    (over,) = [one for one in json.loads(capsys.readouterr().out) if one["name"] == "left over"]
    assert over["detail"] == "the phone is measuring by itself, or waiting to, for run --detached"
    assert cli.main(["device", "end", "emulated-x86"]) == 0
    assert left_running(plugged) == []
    assert plugged.shell(f"ls {LEFT}").status != 0
    assert plugged.shell("settings get system screen_off_timeout").stdout == "30000\n"
    capsys.readouterr()
    assert cli.main(["device", "end", "emulated-x86"]) == 0
    assert "Nothing was left on the phone." in capsys.readouterr().err


def test_what_a_person_can_put_right_is_said_before_anything_is_measured(
    plugged: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    heavy("net.onnx")
    plugged.set(screen_on=False)
    assert run("net.onnx") == 4
    assert "it would fall asleep without its cable. Wake and unlock it" in capsys.readouterr().err
    plugged.set(screen_on=True, charging=False)
    assert run("net.onnx") == 4
    assert "is not plugged in, so there is no cable to pull" in capsys.readouterr().err
    assert cli.main(["run", "net.onnx", "--detached"]) == 2
    assert "--detached is for phones" in capsys.readouterr().err
    assert cli.main(["device", "end", "local"]) == 2
    assert "does nothing by itself" in capsys.readouterr().err
    assert not Path("reports").exists()
