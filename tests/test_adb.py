from __future__ import annotations

import gc
import os
import stat
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shell_adb import SERIAL, ShellAdb

from swapbench.devices import adb_text, process_notes
from swapbench.devices.adb import Adb
from swapbench.devices.adb_client import find_adb, list_phones
from swapbench.errors import DeviceFailed, WorkerFailed

OFFLINE = "echo 'error: device offline' >&2; exit 1"


@pytest.fixture
def fake(tmp_path: Path) -> ShellAdb:
    home = tmp_path / "adb home"
    home.mkdir()
    return ShellAdb(home)


@pytest.fixture
def adb(fake: ShellAdb) -> Adb:
    return Adb(SERIAL, fake.program, folder=fake.folder)


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Adb:
    fake = ShellAdb(tmp_path_factory.mktemp("adb"))
    return Adb(SERIAL, fake.program, folder=fake.folder)


def alive(pid: int) -> bool:
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


def pid_in(path: Path) -> int:
    for _ in range(500):
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError(f"nothing in {path}")


# ------------------------------------------------------------------------------------------ the program


def test_the_variable_adb_names_the_program(fake: ShellAdb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB", fake.program)
    assert find_adb() == fake.program


def test_a_variable_that_names_no_program_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB", "/no/such/adb")
    with pytest.raises(
        DeviceFailed, match=r"ADB is set to /no/such/adb, which is not a program. Correct or unset"
    ):
        find_adb()


def test_adb_is_looked_for_on_the_path_and_then_in_adbutils(
    fake: ShellAdb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADB", raising=False)
    monkeypatch.setenv("PATH", str(fake.home))
    assert find_adb() == fake.program
    monkeypatch.setenv("PATH", "/nowhere")
    package = types.ModuleType("adbutils")
    package.adb_path = lambda: "/wheel/adb"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "adbutils", package)
    assert find_adb() == "/wheel/adb"


def test_no_adb_anywhere_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADB", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "adbutils", None)
    with pytest.raises(DeviceFailed, match=r"adb is not installed.*apt install adb") as failed:
        find_adb()
    assert failed.value.exit_status == 4


def test_attached_phones_are_listed_with_their_states(fake: ShellAdb) -> None:
    (fake.home / "devices").write_text(
        "* daemon not running; starting now at tcp:5037\n"
        "List of devices attached\nA1\tdevice\nB2\tunauthorized\n\n"
    )
    assert list_phones(fake.program) == (("A1", "device"), ("B2", "unauthorized"))


def test_an_adb_server_that_does_not_start_is_said(fake: ShellAdb) -> None:
    fake.fault("devices", "echo 'adb: failed to start daemon' >&2; exit 1")
    with pytest.raises(
        DeviceFailed, match=r"adb server on this computer does not start. Run: adb kill-server"
    ):
        list_phones(fake.program)


def test_every_call_names_the_serial(adb: Adb, fake: ShellAdb, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    adb.features()
    adb.pull(adb.push(file, "f"), tmp_path / "g")
    adb.run(["true"], 10)
    adb.start(["cat"]).close()
    adb.end_orphans()
    assert len(fake.calls) > 8
    assert all(call[:2] == ["-s", SERIAL] for call in fake.calls)


# ------------------------------------------------------------------------------------------ questions


def test_a_question_gives_both_outputs_apart_and_the_exit_status(adb: Adb) -> None:
    done = adb.query("echo out; echo err >&2; exit 42")
    assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 42)
    assert adb.query("printf unfinished").stdout == "unfinished"


def test_several_questions_take_one_call(adb: Adb, fake: ShellAdb) -> None:
    told = adb.ask({"one": "echo 1; echo e >&2", "two": "exit 3", "three": "printf x"})
    assert [(done.stdout, done.exit_code) for done in told.values()] == [("1\ne\n", 0), ("", 3), ("x", 0)]
    assert fake.verbs == ["shell"]


def test_an_answer_that_breaks_off_is_asked_for_again(adb: Adb, fake: ShellAdb) -> None:
    fake.fault("shell", "exit 0")
    assert adb.query("echo whole").stdout == "whole\n"
    assert fake.verbs == ["shell", "reconnect", "wait-for-device", "shell"]


def test_half_an_answer_is_never_a_whole_one(adb: Adb, fake: ShellAdb) -> None:
    for _ in range(2):
        fake.fault("shell", "echo half; exit 0")
    with pytest.raises(DeviceFailed, match="half"):
        adb.query("echo half; echo whole")


def test_a_phone_that_is_offline_is_connected_again_once(adb: Adb, fake: ShellAdb) -> None:
    fake.fault("shell", OFFLINE)
    assert adb.query("echo back").stdout == "back\n"
    assert fake.verbs == ["shell", "reconnect", "wait-for-device", "shell"]
    for _ in range(2):
        fake.fault("shell", OFFLINE)
    with pytest.raises(DeviceFailed, match=rf"{SERIAL} is attached but does not answer \(offline\). Unplug"):
        adb.query("echo back")
    assert fake.verbs[4:] == ["shell", "reconnect", "wait-for-device", "shell"]


def test_a_phone_over_tcp_is_disconnected_and_connected(fake: ShellAdb) -> None:
    serial = "192.168.1.7:5555"
    fake.fault("shell", f"echo \"error: device '{serial}' not found\" >&2; exit 1")
    assert Adb(serial, fake.program, folder=fake.folder).query("echo back").stdout == "back\n"
    assert fake.calls[1:3] == [["disconnect", serial], ["connect", serial]]


def test_a_phone_over_tcp_that_is_gone_is_not_waited_for(fake: ShellAdb) -> None:
    serial = "192.168.1.7:5555"
    for _ in range(2):
        fake.fault("shell", f"echo \"error: device '{serial}' not found\" >&2; exit 1")
    fake.fault("connect", "echo 'failed to connect: Connection refused'; exit 0")
    with pytest.raises(DeviceFailed, match=f"phone {serial} is not attached"):
        Adb(serial, fake.program, folder=fake.folder).query("echo back")
    assert fake.verbs == ["shell", "disconnect", "connect", "shell"]


def test_a_phone_that_never_answers_is_given_up(adb: Adb, fake: ShellAdb) -> None:
    fake.fault("shell", "exec sleep 30")
    with pytest.raises(
        DeviceFailed, match=r"did not respond within 0.2 s while running a shell command. Check the cable"
    ):
        adb.query("true", timeout_s=0.2)


def test_a_file_is_read_by_its_exact_name(adb: Adb, tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s "odd"; $(touch x) \n ü'
    odd.write_text("found\n")
    assert adb.read(str(odd)) == "found\n"
    with pytest.raises(DeviceFailed, match=rf"cannot read /no/such on phone {SERIAL}: .*No such file"):
        adb.read("/no/such")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "does not trust"),
        ("error: device still authorizing", "does not trust"),
        ("error: device offline", "does not answer"),
        ("error: no devices/emulators found", "is not attached"),
        ("error: device 'X' not found", "is not attached"),
        ("error: more than one device/emulator", "several phones .* --serial"),
        ("error: insufficient permissions for device", "may not access .* plugdev"),
        ("adb: error: failed to copy: remote No space left on device", "storage .* is full. Free some space"),
        ("mkdir: '/data/x': Read-only file system", "read-only"),
        (
            "adb: error: failed to copy 'a' to 'b': couldn't read from device",
            "broke while x. Check the cable",
        ),
        ("error: closed", "broke while x"),
        ("", "broke while x"),
        ("error: cannot connect to daemon", "adb server on this computer"),
        ("error: device recovery", "has not started Android"),
        ("something new", "x failed on phone S: something new"),
    ],
)
def test_what_adb_says_becomes_one_line_with_a_remedy(said: str, message: str) -> None:
    failure = adb_text.explained("S", said, "x")
    assert failure.exit_status == 4
    assert "\n" not in str(failure)
    with pytest.raises(DeviceFailed, match=message):
        raise failure
    assert failure.remedy or said == "something new"


# ------------------------------------------------------------------------------------------ quoting

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NAMES = st.one_of(
    WORDS,
    st.sampled_from(["-rf", "--help", "$(reboot)", "`id`", "a\nb", "'", '"', "\\", "*", "~", "ümläut 面.so"]),
).filter(lambda name: name not in {"", ".", ".."} and "/" not in name)
QUICK = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(words=st.lists(st.one_of(WORDS, NAMES), max_size=4))
def test_a_program_gets_exactly_the_words_that_were_given(long_lived: Adb, words: list[str]) -> None:
    done = long_lived.run(["sh", "-c", r'for w; do printf "%s\0" "$w"; done', "name", *words], 20)
    assert done.stdout.split("\0")[:-1] == words


@QUICK
@given(name=NAMES)
def test_a_file_keeps_its_name_there_and_back(long_lived: Adb, name: str) -> None:
    place = Path(long_lived.folder).parent.parent / "files"
    place.mkdir(exist_ok=True)
    file, back = place / name, place / "back"
    file.write_bytes(name.encode())
    remote = long_lived.push(file, name)
    assert remote == f"{long_lived.folder}/{name}"
    assert Path(remote).read_bytes() == name.encode()
    long_lived.pull(remote, back)
    assert back.read_bytes() == name.encode()
    file.unlink()
    Path(remote).unlink()


# ------------------------------------------------------------------------------------------ files


def test_a_file_that_is_there_already_is_not_pushed_again(adb: Adb, fake: ShellAdb, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    remote = adb.push(file, file.name)
    assert fake.verbs.count("push") == 1
    assert Path(remote).stat().st_mode & stat.S_IXUSR
    adb.push(file, file.name)
    assert fake.verbs.count("push") == 1
    file.write_bytes(b"WEIGHTS")  # another file of the same size
    assert adb.push(file, file.name) == remote
    assert fake.verbs.count("push") == 2
    assert Path(remote).read_bytes() == b"WEIGHTS"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            'head -c 2 "$4" > "$5"; echo "adb: error: failed to copy: couldn\'t read from device"; exit 1',
            "broke while pushing model.onnx. Check the cable",
        ),
        ('head -c 2 "$4" > "$5"; exit 0', "model.onnx arrived damaged"),
        (
            "echo 'adb: error: failed to copy: remote No space left on device'; exit 1",
            "storage of phone .* is full",
        ),
    ],
)
def test_half_a_file_is_never_used(
    adb: Adb, fake: ShellAdb, tmp_path: Path, fault: str, message: str
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"old weights")
    remote = Path(adb.push(file, file.name))
    file.write_bytes(b"new weights")
    fake.fault("push", fault)
    with pytest.raises(DeviceFailed, match=message):
        adb.push(file, file.name)
    assert remote.read_bytes() == b"old weights"
    assert not list((remote.parent / ".run").glob("*.part"))
    adb.push(file, file.name)
    assert remote.read_bytes() == b"new weights"


def test_a_push_to_a_phone_that_went_offline_is_tried_once_more(
    adb: Adb, fake: ShellAdb, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    fake.fault("push", OFFLINE)
    assert Path(adb.push(file, file.name)).read_bytes() == b"weights"
    assert fake.verbs.count("push") == 2


def test_a_full_phone_is_said_before_anything_is_copied(adb: Adb, fake: ShellAdb, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    fake.tool("mkdir", "#!/bin/sh\necho \"mkdir: '$2': No space left on device\" >&2\nexit 1\n")
    with pytest.raises(DeviceFailed, match=r"is full. Free some space on the phone"):
        adb.push(file, file.name)
    with pytest.raises(DeviceFailed, match=r"is full"):
        adb.run(["true"], 10)
    assert "push" not in fake.verbs


def test_a_file_that_cannot_be_read_here_is_named(adb: Adb, tmp_path: Path) -> None:
    with pytest.raises(DeviceFailed, match=r"cannot read .*nothing.onnx: No such file"):
        adb.push(tmp_path / "nothing.onnx", "nothing.onnx")


def test_a_folder_in_the_way_is_said(adb: Adb, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    (Path(adb.folder) / "model.onnx").mkdir(parents=True)
    with pytest.raises(DeviceFailed, match=r"model.onnx is a folder"):
        adb.push(file, file.name)


def test_a_fetched_file_is_whole_or_not_there(adb: Adb, fake: ShellAdb, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.write_bytes(b"outputs")
    adb.pull(str(there), here)
    assert here.read_bytes() == b"outputs"
    here.unlink()
    fake.fault("pull", 'head -c 3 "$4" > "$5"; exit 0')
    with pytest.raises(DeviceFailed, match="arrived damaged"):
        adb.pull(str(there), here)
    with pytest.raises(DeviceFailed, match=rf"cannot read {tmp_path}/no-such on phone"):
        adb.pull(str(tmp_path / "no-such"), here)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adb home", "there"]


# ------------------------------------------------------------------------------------------ programs


def test_a_program_runs_in_our_folder_with_both_outputs_and_its_status(adb: Adb) -> None:
    done = adb.run(["sh", "-c", 'echo "$PWD $TMPDIR"; echo err >&2; exit 3'], 20)
    assert done.stdout == f"{adb.folder} {adb.folder}\n"
    assert (done.stderr, done.exit_code) == ("err\n", 3)


def test_only_our_own_programs_look_for_libraries_in_our_folder(
    adb: Adb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    script = tmp_path / "runner"
    script.write_text('#!/bin/sh\necho "[$LD_LIBRARY_PATH]"\n')
    assert adb.run([adb.push(script, "runner")], 20).stdout == f"[{adb.folder}]\n"
    assert adb.run(["sh", "-c", 'echo "[$LD_LIBRARY_PATH]"'], 20).stdout == "[]\n"


def test_a_program_reads_nothing_from_our_input(adb: Adb) -> None:
    assert adb.run(["wc", "-c"], 20).stdout.strip() == "0"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["/no/such/runner"], "runner was not found, or its dynamic loader .* Prepare the phone again"),
        (["sh", "-c", "kill -ILL $$"], "SIGILL: it uses an instruction that this processor does not have"),
        (["sh", "-c", "kill -SEGV $$"], r"crashed \(SIGSEGV\)"),
        (["sh", "-c", "kill -KILL $$"], "SIGKILL.*out of memory.* Close the apps"),
        (["sh", "-c", r"printf 'ok \377\n'"], r"not text: ...'ok \\\\xff'"),
    ],
)
def test_how_a_program_ended_is_said_with_a_remedy(adb: Adb, argv: list[str], message: str) -> None:
    with pytest.raises(WorkerFailed, match=message) as failed:
        adb.run(argv, 20)
    assert failed.value.remedy
    assert failed.value.exit_status == 4


def test_a_folder_where_nothing_may_run_is_explained(adb: Adb, tmp_path: Path) -> None:
    (tmp_path / "runner").write_text("not executable")
    with pytest.raises(WorkerFailed, match=r"runner cannot be executed .*noexec.* swapbench doctor"):
        adb.run([str(tmp_path / "runner")], 20)


def test_what_a_program_said_last_is_told(adb: Adb) -> None:
    with pytest.raises(WorkerFailed, match=r"crashed.*: .*cannot load libnpu.so"):
        adb.run(["sh", "-c", "echo cannot load libnpu.so >&2; kill -SEGV $$"], 20)


def test_a_program_that_takes_too_long_is_ended_on_the_phone_too(adb: Adb, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(
        WorkerFailed, match=r"sh did not finish within 0.5 s on phone .*. The phone may be hot"
    ):
        adb.run(["sh", "-c", f"echo $$ > {note}; exec sleep 60 >/dev/null 2>&1"], 0.5)
    assert gone(pid_in(note))


def test_a_program_that_a_slow_phone_starts_too_late_does_not_run(
    adb: Adb, fake: ShellAdb, tmp_path: Path
) -> None:
    traces = [tmp_path / "late", tmp_path / "started"]
    fake.fault("shell", f'(sleep 1; sh -c "$4"; touch {traces[1]}) >/dev/null 2>&1 & exec sleep 9')
    with pytest.raises(WorkerFailed, match="did not finish"):
        adb.run(["touch", str(traces[0])], 0.2)
    for _ in range(1000):
        if traces[1].exists():
            break
        time.sleep(0.01)
    assert [trace.exists() for trace in traces] == [False, True]


def test_output_that_is_cut_off_is_no_result(adb: Adb, fake: ShellAdb) -> None:
    fake.fault("shell", 'sh -c "$4" | head -c 40; exit 0')
    with pytest.raises(WorkerFailed, match=r"the output of sh is cut off after 23 characters: ...'56.*67'"):
        adb.run(["sh", "-c", "echo 567890123456789012345678901234567890"], 20)


def test_a_program_is_started_again_only_where_it_has_not_begun(
    adb: Adb, fake: ShellAdb, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    fake.fault("shell", OFFLINE)
    adb.run(["sh", "-c", f"echo run >> {runs}"], 20)
    assert runs.read_text() == "run\n"
    fake.fault("shell", 'sh -c "$4" >/dev/null; echo "error: closed" >&2; exit 1')
    with pytest.raises(DeviceFailed, match="broke while running sh"):
        adb.run(["sh", "-c", f"echo run >> {runs}"], 20)
    assert runs.read_text() == "run\nrun\n"


# ------------------------------------------------------------------------------------------ conversations


def test_lines_go_there_and_back(adb: Adb) -> None:
    conversation = adb.start(["sh", "-c", 'while read -r line; do echo "<$line>"; done'])
    for line in ("one", "two wörds"):
        conversation.write_line(line)
        assert conversation.read_line(20) == f"<{line}>"
    conversation.close()
    conversation.close()
    assert adb.orphans() == ()


def test_the_end_of_a_program_is_told_and_stays_told(adb: Adb) -> None:
    conversation = adb.start(["sh", "-c", "echo last; echo why >&2; exit 7"])
    assert conversation.read_line(20) == "last"
    for _ in range(2):
        with pytest.raises(WorkerFailed, match="sh ended with 7: why"):
            conversation.read_line(20)
    conversation.close()


def test_a_line_that_nobody_reads_any_more_tells_how_the_program_ended(adb: Adb) -> None:
    conversation = adb.start(["sh", "-c", "echo unread; echo why >&2; exit 7"])
    conversation._process.wait(20)  # adb's client, which may take a line before it notices
    with pytest.raises(WorkerFailed, match="sh ended with 7: why"):
        conversation.write_line("more")
    conversation.close()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -KILL $$", r"SIGKILL.*out of memory"),
        ("kill -ILL $$", "SIGILL"),
        ('printf \'{"event": "sl\'', r"cut off after 13 characters: ...'{\"event\": \"sl'"),
        (r"printf 'a\377b\n'", "is not text"),
    ],
)
def test_a_program_that_fails_while_talking_is_told(adb: Adb, script: str, message: str) -> None:
    conversation = adb.start(["sh", "-c", script])
    with pytest.raises(WorkerFailed, match=message):
        conversation.read_line(20)
    conversation.close()


def test_a_program_that_is_not_there_is_told(adb: Adb) -> None:
    conversation = adb.start(["/no/such/runner"])
    with pytest.raises(WorkerFailed, match="runner was not found"):
        conversation.read_line(20)
    conversation.close()


def test_a_silent_program_is_ended_on_the_phone_when_it_is_closed(adb: Adb, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    # its outputs are elsewhere, so that losing them does not end it
    conversation = adb.start(["sh", "-c", f"echo $$ > {note}; exec setsid sleep 60 >/dev/null 2>&1"])
    pid = pid_in(note)
    with pytest.raises(WorkerFailed, match=r"sh printed nothing for 0.1 s"):
        conversation.read_line(0.1)
    assert alive(pid)
    conversation.close(0.1)
    assert gone(pid)


def test_a_forgotten_conversation_ends_its_program(adb: Adb, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    conversation = adb.start(["sh", "-c", f"echo $$ > {note}; exec sleep 60 >/dev/null 2>&1"])
    pid = pid_in(note)
    assert adb.orphans() == (pid,)
    del conversation
    gc.collect()
    assert gone(pid)


def test_a_pulled_cable_while_talking_is_told(adb: Adb, fake: ShellAdb) -> None:
    fake.fault("shell", 'sh -c "$4" | head -n 2; exit 0')  # the greeting and one line
    conversation = adb.start(["sh", "-c", "echo one; echo two"])
    assert conversation.read_line(20) == "one"
    with pytest.raises(
        DeviceFailed, match=rf"connection to phone {SERIAL} broke while running sh. Check the cable"
    ):
        conversation.read_line(20)
    conversation.close()


def test_a_conversation_with_a_phone_that_is_offline_is_started_again_once(adb: Adb, fake: ShellAdb) -> None:
    fake.fault("shell", OFFLINE)
    conversation = adb.start(["echo", "hello"])
    assert conversation.read_line(20) == "hello"
    conversation.close()
    for _ in range(2):
        fake.fault("shell", OFFLINE)
    with pytest.raises(DeviceFailed, match="offline"):
        adb.start(["echo", "hello"])


# ------------------------------------------------------------------------------------- what earlier runs left


def test_a_program_whose_connection_broke_is_ended_if_the_phone_is_still_there(
    adb: Adb, fake: ShellAdb, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    # adb's client ends with 0 as it does when the cable is pulled; what it started lives on
    fake.fault("shell", f'(exec sh -c "$4") >/dev/null 2>&1 & while [ ! -s {note} ]; do :; done; exit 0')
    with pytest.raises(DeviceFailed, match="broke"):
        adb.run(["sh", "-c", f"echo $$ > {note}; exec sleep 60"], 20)
    assert gone(pid_in(note))


def test_a_conversation_that_is_refused_says_why(adb: Adb, fake: ShellAdb) -> None:
    fake.fault("shell", "printf 'error: device unauthorized.\\none\\ntwo\\nthree\\n' >&2; exit 1")
    with pytest.raises(DeviceFailed, match=r"does not trust this computer \(unauthorized\). Unlock"):
        adb.start(["echo", "hello"])


def test_what_an_earlier_run_left_behind_is_found_and_ended(adb: Adb, fake: ShellAdb) -> None:
    process = subprocess.Popen(
        [fake.program, "-s", SERIAL, "shell", adb._job(["sleep", "60"]).script], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()  # its greeting
    (left,) = adb.orphans()
    assert left != process.pid
    assert adb.end_orphans() == (left,)
    assert process.wait(20) == 0
    process.stdout.close()
    assert not alive(left)
    assert adb.orphans() == ()
    assert [path.name for path in Path(adb.folder, ".run").iterdir()] == []


def test_a_process_that_only_has_the_number_of_a_note_is_left_alone(adb: Adb) -> None:
    notes = Path(adb.folder, ".run")
    notes.mkdir(parents=True)
    bystander = subprocess.Popen(["sleep", "60"])
    began = Path(f"/proc/{bystander.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    (notes / "a.pid").write_text(f"{bystander.pid} {int(began) - 1}\n")
    (notes / "b.pid").write_text(f"{bystander.pid}\n")
    (notes / "c.pid").write_text(f"-1 {began}\n")
    (notes / "d.pid").write_text("")
    (notes / "e.pid").write_text(f"{os.getpid()} 0\n")
    assert adb.end_orphans() == ()
    assert alive(bystander.pid)
    (notes / "a.pid").write_text(f"{bystander.pid} {began}\n")
    assert adb.end_orphans() == (bystander.pid,)
    assert bystander.wait(20) == -9


def test_a_phone_that_never_saw_us_has_nothing_left_over(adb: Adb) -> None:
    assert adb.orphans() == ()
    assert adb.end_orphans() == ()


def test_a_program_that_a_loader_starts_is_called_by_its_own_name() -> None:
    folder = "/data/local/tmp/swapbench"
    bundle = [
        f"{folder}/ld-linux-aarch64.so.1",
        "--library-path",
        folder,
        f"{folder}/runner-aarch64-linux-1f",
        "-x",
    ]
    assert adb_text.program_name(bundle) == "runner-aarch64-linux-1f"
    assert adb_text.program_name(["/system/bin/ls", f"{folder}/runner-1"]) == "ls"
    assert adb_text.program_name([f"{folder}/ld-linux-aarch64.so.1", "--help"]) == "ld-linux-aarch64.so.1"


def test_a_runtime_on_the_phone_reports_nothing_home() -> None:
    assert process_notes.QUIETLY == "export ORT_DISABLE_TELEMETRY=1"
    assert process_notes.QUIETLY in process_notes.PROGRAM
