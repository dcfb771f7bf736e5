from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from swapbench.bench.workers import read_answer
from swapbench.devices.local import Local
from swapbench.errors import DeviceFailed, WorkerFailed
from swapbench.records import Plan

ECHO = "import sys\nfor line in sys.stdin: print('<' + line.strip() + '>', flush=True)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    """True for a process that runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        time.sleep(0.01)
    return False


# ------------------------------------------------------------------------------------------ programs


def test_a_program_runs_to_its_end_with_both_its_outputs_and_its_status() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = Local().run(python(code), timeout_s=20)
    assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 3)


def test_a_program_reads_nothing_from_our_input() -> None:
    assert Local().run(python("import sys; print(repr(sys.stdin.read()))"), timeout_s=20).stdout == "''\n"


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    with pytest.raises(WorkerFailed, match=r"did not finish within 2 s"):
        Local().run(python(code), timeout_s=2)
    pids = [int(word) for word in note.read_text().split()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(WorkerFailed, match="cannot start no-such-program: No such file"):
        Local().run(["no-such-program"], timeout_s=1)
    with pytest.raises(WorkerFailed, match="cannot start no-such-program"):
        Local().start(["no-such-program"])


def test_the_environment_can_be_added_to() -> None:
    device = Local(environment={"SWAPBENCH_TEST": "yes"})
    code = "import os; print(os.environ['SWAPBENCH_TEST'], 'PATH' in os.environ)"
    assert device.run(python(code), timeout_s=20).stdout == "yes True\n"


# ------------------------------------------------------------------------------------------ conversations


def test_a_conversation_answers_line_by_line_and_ends_when_it_is_closed() -> None:
    conversation = Local().start(python(ECHO))
    for line in ("one", "two"):
        conversation.write_line(line)
        assert conversation.read_line(20) == f"<{line}>"
    pid = conversation._process.pid
    conversation.close()
    conversation.close()
    assert conversation._process.returncode == 0
    assert gone(pid)


def test_lines_that_come_together_or_in_pieces_are_the_same_lines() -> None:
    code = (
        "import os, time\n"
        "os.write(1, b'a\\nb\\nc'); time.sleep(.05)\n"
        "os.write(1, b'c'); time.sleep(.05)\n"
        "os.write(1, b'\\n\\nd\\n')"
    )
    conversation = Local().start(python(code))
    assert [conversation.read_line(20) for _ in range(5)] == ["a", "b", "cc", "", "d"]
    conversation.close()


def test_a_long_line_arrives_whole() -> None:
    conversation = Local().start(python("print('x' * 3_000_000)"))
    assert len(conversation.read_line(20)) == 3_000_000
    conversation.close()


def test_a_silent_program_is_told_after_the_timeout_and_can_still_be_closed() -> None:
    conversation = Local().start(python("import time; time.sleep(60)"))
    with pytest.raises(WorkerFailed, match=r"printed nothing for 0.1 s"):
        conversation.read_line(0.1)
    pid = conversation._process.pid
    conversation.close(timeout_s=0.1)
    assert gone(pid)


def test_a_program_that_dies_is_told_with_its_last_words() -> None:
    code = "import sys; print('one', 'two', '', 'three', 'four', sep='\\n', file=sys.stderr); sys.exit(9)"
    conversation = Local().start(python(code))
    with pytest.raises(WorkerFailed, match=r"ended with 9: two \| three \| four"):
        conversation.read_line(20)
    conversation.close()


def test_a_program_that_is_killed_is_told_with_the_signal() -> None:
    conversation = Local().start(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    with pytest.raises(WorkerFailed, match=r"was killed by signal 9"):
        conversation.read_line(20)
    conversation.close()


def test_writing_to_a_program_that_is_gone_is_an_error_and_not_a_signal() -> None:
    conversation = Local().start(python("pass"))
    conversation._process.wait()
    with pytest.raises(WorkerFailed, match="ended with 0"):
        conversation.write_line("hello")
    conversation.close()
    with pytest.raises(WorkerFailed, match="has been closed"):
        conversation.write_line("hello")
    with pytest.raises(WorkerFailed, match="has been closed"):
        conversation.read_line(1)


def test_a_program_that_ignores_the_end_of_its_input_and_sigterm_is_killed() -> None:
    code = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    conversation = Local().start(python(code))
    assert conversation.read_line(20) == "ready"
    conversation.close(timeout_s=0)
    assert conversation._process.returncode == -signal.SIGKILL


def test_a_conversation_that_is_forgotten_ends_its_program() -> None:
    conversation = Local().start(python("import time; time.sleep(60)"))
    pid = conversation._process.pid
    assert alive(pid)
    del conversation
    assert gone(pid)


def test_an_interrupted_parent_leaves_no_child_behind(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    parent = (
        "import sys\n"
        "from pathlib import Path\n"
        "from swapbench.devices.local import Local\n"
        "talk = Local().start([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"Path({str(note)!r}).write_text(str(talk._process.pid))\n"
        "print('started', flush=True)\n"
        "talk.read_line(60)"
    )
    conversation = Local().start(python(parent))
    assert conversation.read_line(20) == "started"
    child = int(note.read_text())
    assert alive(child)
    os.kill(conversation._process.pid, signal.SIGINT)
    assert gone(child)
    conversation.close()


def test_waiting_for_an_answer_sleeps() -> None:
    conversation = Local().start(python("import time; time.sleep(.5); print('done')"))
    before = time.process_time()
    assert conversation.read_line(20) == "done"
    assert time.process_time() - before < 0.25
    conversation.close()


# ------------------------------------------------------------------------------------------ files


def test_a_file_is_used_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    assert Local().push(path) == str(path.resolve())
    with pytest.raises(DeviceFailed, match=r"there is no file .*other"):
        Local().push(tmp_path / "other")


def test_a_file_is_copied_back_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "remote").write_bytes(b"1234")
    Local().pull(str(tmp_path / "remote"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"1234"
    with pytest.raises(DeviceFailed, match="cannot copy"):
        Local().pull(str(tmp_path / "missing"), tmp_path / "copy2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "remote"]


def test_a_file_that_cannot_be_read_is_an_error_with_the_reason(tmp_path: Path) -> None:
    device = Local(root=tmp_path)
    with pytest.raises(DeviceFailed, match=r"cannot read /sys/energy_uj: No such file"):
        device.read("/sys/energy_uj")
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/energy_uj").write_text("12\n")
    assert device.read("/sys/energy_uj") == "12\n"


# ------------------------------------------------------------------------------------------ the fingerprint


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


LAPTOP = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\n\n"
    "processor\t: 1\nmodel name\t: Example CPU 2\n",
    "proc/meminfo": "MemTotal:       16000 kB\nMemFree:  1 kB\n",
    "proc/loadavg": "0.25 0.50 0.75 1/234 5678\n",
    "sys/class/dmi/id/product_name": "Laptop 9\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "sys/class/thermal/thermal_zone0/temp": "27800\n",
    "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone1/temp": "51500\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "0\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
}


def test_the_fingerprint_is_read_from_the_kernel(tmp_path: Path) -> None:
    device = Local(
        root=tree(tmp_path, LAPTOP), version_of=lambda package: "1.2" if package == "onnxruntime" else None
    )
    machine = device.describe()
    assert (machine.name, machine.device, machine.soc) == ("local", "Laptop 9", "Example CPU @ 2 GHz")
    assert (machine.memory_bytes, machine.governor) == (16_384_000, "powersave")
    assert (machine.load_1min, machine.temperature_c, machine.on_battery) == (0.25, 51.5, True)
    assert machine.packages.keys() == {"python", "onnxruntime"}
    assert not machine.emulated


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"AC/online": "1"}, False),
        ({"BAT0/status": "Full"}, False),
        ({"BAT0/type": "Battery", "BAT0/scope": "Device"}, None),
    ],
    ids=["plugged in", "full", "a mouse"],
)
def test_only_a_battery_that_drives_the_computer_counts(
    tmp_path: Path, changes: dict[str, str], expected: bool | None
) -> None:
    tree(tmp_path, LAPTOP | {f"sys/class/power_supply/{name}": text for name, text in changes.items()})
    assert Local(root=tmp_path).describe().on_battery is expected


def test_what_the_kernel_does_not_tell_is_absent_and_not_guessed(tmp_path: Path) -> None:
    machine = Local(root=tmp_path, version_of=lambda package: None).describe()
    assert (machine.governor, machine.load_1min, machine.temperature_c, machine.on_battery) == (None,) * 4
    assert machine.memory_bytes > 0
    assert machine.logical_cores >= 1


def test_within_quiet_the_load_is_that_of_before(tmp_path: Path) -> None:
    device = Local(root=tree(tmp_path, LAPTOP), sleep=lambda duration_s: None)
    with device.quiet(Plan()):
        (tmp_path / "proc/loadavg").write_text("3.00 2.00 1.00 1/1 1\n")
        assert device.describe().load_1min == 0.25
    assert device.describe().load_1min == 3.0


def test_other_work_is_the_cores_that_were_busy_in_the_second_before(tmp_path: Path) -> None:
    """Of 200 ticks of two cores, 50 were idle and 10 waited for the disk: 140 of 200 busy are 1.4 cores."""
    stat = "cpu  {} 0 0 {} {} 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\ncpu1 1 0 0 1 0 0 0 0 0 0\nintr 5\n"
    root = tree(tmp_path, LAPTOP | {"proc/stat": stat.format(1000, 500, 7)})

    def sleep(duration_s: float) -> None:
        (root / "proc/stat").write_text(stat.format(1140, 550, 17))

    device = Local(root=root, sleep=sleep)
    with device.quiet(Plan()):
        assert device.describe().busy_cores == pytest.approx(1.4)
    assert device.describe().busy_cores is None


def test_this_very_computer_can_be_described() -> None:
    machine = Local().describe()
    assert machine.logical_cores >= 1
    assert "numpy" in machine.packages


# -------------------------------------------------------------------------- programs that never stop printing


def test_a_line_without_an_end_ends_at_the_deadline() -> None:
    conversation = Local().start([sys.executable, "-uc", "while True: print('x' * 1000, end='')"])
    try:
        with pytest.raises(WorkerFailed, match=r"ended no line in 0\.5 s"):
            conversation.read_line(0.5)
    finally:
        conversation.close(0.0)


def test_chatter_without_an_answer_ends_at_the_deadline() -> None:
    conversation = Local().start([sys.executable, "-uc", "while True: print('warning: x')"])
    try:
        with pytest.raises(WorkerFailed, match=r"no answer in 0\.5 s, and printed: warning: x"):
            read_answer(conversation, 0.5)
    finally:
        conversation.close(0.0)


def test_chatter_that_ends_before_the_deadline_is_told_and_not_a_wait_of_milliseconds() -> None:
    once = "import time; print('warning: x', flush=True); time.sleep(60)"
    conversation = Local().start([sys.executable, "-uc", once])
    try:
        with pytest.raises(WorkerFailed, match=r"no answer in 2 s, and printed: warning: x"):
            read_answer(conversation, 2)
    finally:
        conversation.close(0.0)


def test_a_program_that_never_stops_printing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapbench.devices.child_output.MOST_BYTES", 10_000_000)
    endless = [sys.executable, "-uc", "while True: print('x' * 100_000)"]
    with pytest.raises(WorkerFailed, match="printed more than"):
        Local().run(endless, 60)
    silent = [sys.executable, "-c", "import os, time; os.close(1); os.close(2); time.sleep(60)"]
    with pytest.raises(WorkerFailed, match=r"did not finish within 0\.5 s"):
        Local().run(silent, 0.5)
