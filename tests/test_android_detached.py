"""Jobs that a phone runs by itself, on a "phone" that is this computer's own shell: how they end."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from shell_adb import SERIAL, ShellAdb

from swapbench.devices.adb import Adb
from swapbench.devices.android_detached import SUPPLIES, DetachedQueue, QueueScript, cable_signs
from swapbench.errors import DeviceFailed, WorkerFailed
from swapbench.ports import Detached, DetachedJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# ------------------------------------------------------------------------------------------ which files tell


def told(**files: str) -> str:
    return "".join(f"{SUPPLIES}/{path.replace('__', '/')}:{value}\n" for path, value in files.items())


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        (told(usb__type="USB", usb__online="1", battery__status="Charging"), [("usb/online", "0")]),
        # 2 is a programmable supply; what is offline already tells nothing
        (
            told(usb__type="USB", usb__online="2", wireless__type="Wireless", wireless__online="0"),
            [("usb/online", "0")],
        ),
        (told(pc_port__online="1", usb__online="1"), [("pc_port/online", "0"), ("usb/online", "0")]),
        # a battery's own `online` is a vendor's, whatever the supply is called
        (
            told(
                battery__online="4",
                battery__type="Battery",
                main__type="BMS",
                main__online="1",
                battery__status="Full",
            ),
            [("battery/status", "Discharging")],
        ),
        (told(bms__status="Not charging"), [("bms/status", "Discharging")]),
        (told(battery__status="Discharging"), []),
        (told(usb__online="0", battery__status="Unknown"), []),
        ("cat: Permission denied\n", []),
        ("", []),
    ],
)
def test_the_cable_shows_in_what_supplies_from_outside_or_in_the_status_of_the_battery(
    text: str, signs: list[tuple[str, str]]
) -> None:
    assert cable_signs(text) == tuple((f"{SUPPLIES}/{name}", value) for name, value in signs)


def test_without_a_sign_there_is_no_script() -> None:
    with pytest.raises(ValueError, match="would measure at once"):
        QueueScript((), (), patience_s=1, settle_s=0, cleanup=":").text("/a", "/b")


# ------------------------------------------------------------------------------------------ the queue


class Bench:
    """A phone with a cable file, and a queue on it."""

    def __init__(self, home: Path) -> None:
        fake = ShellAdb(home)
        self.cable = home / "it's the cable"
        self.queue = DetachedQueue(Adb(SERIAL, fake.program, folder=fake.folder))
        self.plug(1)

    def plug(self, value: int) -> None:
        self.cable.write_text(f"{value}\n")

    def start(self, *jobs: DetachedJob, patience_s: float = 60, cleanup: str = ":") -> None:
        signs = ((str(self.cable), "0"),)
        self.queue.start("t0", QueueScript(jobs, signs, patience_s, settle_s=0, cleanup=cleanup))

    def look(self) -> Detached:
        seen = self.queue.look()
        assert seen is not None
        return seen

    def until(self, holds: Callable[[Detached], object]) -> Detached:
        for _ in range(400):
            if holds(seen := self.look()):
                return seen
            time.sleep(0.05)
        raise AssertionError(self.look())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    home = tmp_path / "adb home"
    home.mkdir()
    made = Bench(home)
    yield made
    made.queue.end()


def job(name: str, script: str, *words: str, requests: str = "") -> DetachedJob:
    return DetachedJob(name, ("sh", "-c", script, "sh", *words), requests)


def test_nothing_is_there_at_first(bench: Bench) -> None:
    assert bench.queue.look() is None
    assert bench.queue.end() is False


def test_jobs_are_done_in_their_order_once_the_cable_is_out(bench: Bench, tmp_path: Path) -> None:
    awkward = 'it\'s "so" $HOME `date` *'
    bench.start(
        job("a.1-x", 'echo "$1"; cat', awkward, requests="first\nsecond\n"),
        job("b", f'sleep 0.1; ls "{tmp_path}/adb home/the phone/ours/.detached"; echo "$LD_LIBRARY_PATH"'),
        cleanup=f"touch '{tmp_path}/goodbye'",
    )
    waiting = bench.look()
    assert waiting == Detached("t0", True, False, False, None, False, ())
    bench.plug(0)
    done = bench.until(lambda seen: seen.ended and not seen.alive)
    assert done == Detached("t0", False, True, True, "done", False, ("a.1-x", "b"))
    assert bench.queue.answers("a.1-x") == f"{awkward}\nfirst\nsecond\n"
    listed = bench.queue.answers("b").splitlines()
    assert "a.1-x.out" in listed
    assert "b.part" in listed
    assert listed[-1].endswith("/the phone/ours")
    assert (tmp_path / "goodbye").exists()
    assert bench.queue.end() is True
    assert bench.queue.look() is None


def test_a_cable_that_comes_back_during_a_job_spoils_it_and_ends_the_rest(bench: Bench) -> None:
    plug = f"""echo x; printf '1\\n' > "{bench.cable}" """
    bench.start(job("good", "echo fine"), job("spoiled", plug), job("never", "echo never"))
    bench.plug(0)
    seen = bench.until(lambda seen: seen.ended and not seen.alive)
    assert (seen.ended, seen.finished, seen.unplugged) == ("plugged", ("good",), False)


def test_nobody_pulls_the_cable(bench: Bench) -> None:
    bench.start(job("a", "echo never"), patience_s=1)
    seen = bench.until(lambda seen: not seen.alive)
    assert (seen.ended, seen.begun, seen.finished) == ("waited", False, ())


def test_ending_it_ends_what_it_started_too(bench: Bench, tmp_path: Path) -> None:
    bench.start(job("a", f'echo $$ > "{tmp_path}/pid"; exec sleep 60'))
    bench.plug(0)
    bench.until(lambda seen: seen.begun)
    for _ in range(200):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            break
        time.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    assert bench.queue.end() is True
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("it runs on")
    assert bench.queue.look() is None


def test_a_new_queue_takes_the_place_of_the_old_one(bench: Bench) -> None:
    bench.start(job("old", "echo old"))
    bench.start(job("new", "echo new"))
    bench.plug(0)
    assert bench.until(lambda seen: seen.ended).finished == ("new",)


def test_a_restart_shows(bench: Bench) -> None:
    bench.start(job("a", "echo never"))
    bench.queue._adb.query(f"echo another > '{bench.queue.folder}/boot'")
    assert bench.look().restarted


def test_a_job_that_was_killed_is_told_by_its_signal_and_the_next_is_done(bench: Bench) -> None:
    bench.start(job("a", "echo half; kill -9 $$"), job("b", "echo whole"))
    bench.plug(0)
    assert bench.until(lambda seen: seen.ended).finished == ("a", "b")
    with pytest.raises(WorkerFailed, match="was killed \\(SIGKILL\\), most likely because the phone ran out"):
        bench.queue.answers("a")
    assert bench.queue.answers("b") == "whole\n"


def test_answers_that_are_no_text_are_refused(bench: Bench) -> None:
    bench.start(job("a", r"printf '\377\376'"))
    bench.plug(0)
    bench.until(lambda seen: seen.ended)
    with pytest.raises(WorkerFailed, match="is not text"):
        bench.queue.answers("a")


def test_a_phone_without_setsid_does_it_all_the_same(bench: Bench, tmp_path: Path) -> None:
    started = bench.queue._adb.query

    def without(command: str, *rest: object) -> object:
        return started(command.replace("command -v setsid", "command -v no-such-program"), *rest)  # type: ignore[arg-type]

    bench.queue._adb.query = without  # type: ignore[assignment, method-assign]
    bench.start(job("a", "echo done"))
    bench.plug(0)
    assert bench.until(lambda seen: seen.ended).finished == ("a",)


def test_a_queue_that_does_not_start_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapbench.devices.android_detached._STARTED_S", 0)
    monkeypatch.setattr("swapbench.devices.android_detached._QUEUE", "sleep 5 # {folder}")
    with pytest.raises(
        DeviceFailed, match=r"starting the detached measurement failed .* the script does not start"
    ):
        bench.start(job("a", "echo never"))
