"""One phone over the adb program: files, questions and programs. Always by serial, every call with a timeout.

What a shell on the phone answers counts only when a mark of our own stands at its end: adb's client ends with status 0
when the connection breaks (seen with version 29), and half an answer would pass for a whole one.

Programs run below one folder of ours and leave a note of their process there (number and start time), because ending
adb's client does not end what it started. Only processes that such a note describes exactly are ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import subprocess
import weakref
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from swapbench.devices import adb_text, android_text
from swapbench.devices.local import GRACE_S, LocalConversation
from swapbench.errors import DeviceFailed, Unreachable, WorkerFailed
from swapbench.files import file_sha256
from swapbench.ports import Finished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.ports import Conversation

FOLDER: Final = "/data/local/tmp/swapbench"
"""Where everything of ours lies on a phone: the one place where adb's user may execute files."""

QUERY_S: Final = 30.0
START_S: Final = 30.0
CONNECT_S: Final = 15.0
RECONNECT_S: Final = 5.0
TRANSFER_S: Final = 60.0
SLOWEST_BYTES_PER_S: Final = 1_000_000
COMPLAINT_BYTES: Final = 4000
_DAMAGED: Final = 65

_OVER_TCP = re.compile(r".+:\d+")
_SHA256 = re.compile(r"[0-9a-f]{64}")

NOTE: Final = """
note() { echo "$1 ${22}"; }
read -r line < /proc/$$/stat
note $line"""
"""Prints a note of the shell that runs it: fields 1 and 22 of /proc/PID/stat, the process number and its start time (proc(5)).

The shell's own name has no spaces, so the fields can be counted by words.
"""

_PROGRAM = f"""{NOTE} > "$1"
[ -e "$1.stop" ] && exit 143
echo "$2"
[ -n "$3" ] && export LD_LIBRARY_PATH="$3"
shift 3
exec "$@"
"""
"""Run by `sh -c` as NAME NOTE MARK LIBRARIES PROGRAM [ARGUMENT...]: note the process, greet, become the program."""

_NOTED = """
cd {notes} 2>/dev/null || exit 0
for note in {pattern}; do
  [ -f "$note" ] || continue
  pid= began= line=
  read -r pid began < "$note"
  case $pid in ''|*[!0-9]*) continue ;; esac
  {{ read -r line < "/proc/$pid/stat"; }} 2>/dev/null
  set -- ${{line##*) }}
  if [ -n "$began" ] && [ "${{20}}" = "$began" ] && [ "$1" != Z ]; then {action}; fi
done
"""
"""Do something with every process that a note still describes: a process number alone may belong to another by now."""


def noted(folder: str, action: str, pattern: str) -> str:
    """A script that does `action` to every process ("$pid") that a note in a folder of the phone still describes."""
    return f"({_NOTED.format(notes=shlex.quote(folder), pattern=pattern, action=action)})"


def find_adb() -> str:
    """The adb program: named by ADB, on the PATH, or the one inside the package adbutils. DeviceFailed where there is none."""
    named = os.environ.get("ADB")
    if named:
        found = shutil.which(named)
        if found is None:
            raise DeviceFailed(
                f"ADB names {named}, which is no program", remedy="Correct or unset the variable ADB."
            )
        return found
    on_path = shutil.which("adb")
    if on_path is not None:
        return on_path
    try:
        import adbutils  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise DeviceFailed(
            "there is no adb program on this computer",
            remedy="Install it with: sudo apt install adb (or Android's platform-tools); or name it in the variable ADB.",
        ) from None
    return str(adbutils.adb_path())


def listed(program: str) -> tuple[tuple[str, str], ...]:
    """Serial and state of every attached phone. DeviceFailed where adb does not work."""
    said = _call([program, "devices"], CONNECT_S)
    if said.exit_code != 0:
        raise adb_text.explained("(any)", said.words, "adb devices")
    return android_text.listed_phones(said.stdout.decode("utf-8", "replace"))


@dataclass(frozen=True)
class _Said:
    """What adb's client printed."""

    stdout: bytes
    stderr: bytes
    exit_code: int

    @property
    def words(self) -> str:
        """Both outputs: adb complains on the one or the other, by command and version."""
        return (self.stderr + b"\n" + self.stdout).decode("utf-8", "replace")


@dataclass(frozen=True)
class _Job:
    """One program to run on the phone."""

    program: str
    note: str
    mark: str
    script: str


class Adb:
    """One phone. Every method raises DeviceFailed, with what to do, where the phone cannot be reached.

    A phone that is offline, or that was reached over TCP and is gone, is connected again once for every call.
    """

    def __init__(self, serial: str, program: str | None = None, *, folder: str = FOLDER) -> None:
        self.serial = serial
        self.folder = folder
        self._notes = f"{folder}/.run"
        self._program = program or find_adb()

    # -------------------------------------------------------------------------------------- questions

    def query(self, command: str, timeout_s: float = QUERY_S, doing: str = "a question") -> Finished:
        """What a shell command on the phone printed, whole. The caller quotes; the command may be asked twice."""
        mark = secrets.token_hex(8)
        script = f"(\n{command}\n) </dev/null\necho {mark} $?"
        said = self._shell(script, timeout_s, mark, doing, twice=True)
        text, _, code = said.stdout.decode("utf-8", "replace").rpartition(f"{mark} ")
        return Finished(text, said.stderr.decode("utf-8", "replace"), _exit_code(code))

    def ask(self, commands: Mapping[str, str], timeout_s: float = QUERY_S) -> dict[str, Finished]:
        """What several shell commands printed, by name, in one call; both outputs of each together.

        An `adb shell` takes 20 to 50 ms whatever it does, so questions are asked together.
        """
        mark = secrets.token_hex(8)
        script = "\n".join(
            f"(\n{command}\n) 2>&1 </dev/null\necho {mark} $?" for command in commands.values()
        )
        text = self.query(script, timeout_s).stdout
        *answers, _ = re.split(rf"{mark} (\d+)\n", text)
        return {
            name: Finished(answers[2 * place], "", int(answers[2 * place + 1]))
            for place, name in enumerate(commands)
        }

    def read(self, path: str) -> str:
        """The text of a file on the phone. DeviceFailed where it cannot be read."""
        done = self.query(f"cat -- {shlex.quote(path)}")
        if done.exit_code != 0:
            raise DeviceFailed(f"cannot read {path} on phone {self.serial}: {adb_text.tail(done.stderr)}")
        return done.stdout

    # -------------------------------------------------------------------------------------- files

    def push(self, path: Path, name: str) -> str:
        """Bring a file to `name` in our folder, executable; returns its path there. Skipped where it is there already.

        The file gets its name only when its SHA-256 is right, so that half a file is never used.
        """
        try:
            digest = file_sha256(path)
            size_bytes = path.stat().st_size
        except OSError as problem:
            raise DeviceFailed(f"cannot read {path}: {problem.strerror or problem}") from None
        remote = f"{self.folder}/{name}"
        target = shlex.quote(remote)
        part = f"{self._notes}/{secrets.token_hex(8)}.part"
        quoted_part, doing = shlex.quote(part), f"pushing {path.name}"
        ready = self.query(
            f"mkdir -p {shlex.quote(self._notes)} {shlex.quote(str(PurePosixPath(remote).parent))} || exit\n"
            f"[ ! -d {target} ] || {{ echo {target} is a folder >&2; exit 1; }}\n"
            f"[ ! -f {target} ] || sha256sum < {target}",
            TRANSFER_S,
            doing,
        )
        if ready.exit_code != 0:
            raise adb_text.explained(self.serial, ready.stderr, doing)
        if ready.stdout[:64] == digest:
            return remote
        try:
            self._transfer(["push", str(path.resolve()), part], size_bytes, doing)
            placed = self.query(
                f"case $(sha256sum < {quoted_part}) in\n"
                f"{digest}*) chmod 755 {quoted_part} && mv -f {quoted_part} {target} ;;\n"
                f"*) exit {_DAMAGED} ;;\nesac",
                TRANSFER_S,
                doing,
            )
        finally:
            with contextlib.suppress(DeviceFailed):
                self.query(f"rm -f {quoted_part}")
        if placed.exit_code == _DAMAGED:
            raise _damaged(path.name, self.serial)
        if placed.exit_code != 0:
            raise adb_text.explained(self.serial, placed.stderr, doing)
        return remote

    def pull(self, remote: str, path: Path) -> None:
        """Fetch a file, whole or not at all."""
        doing = f"fetching {remote}"
        there = self.query(
            f"wc -c < {shlex.quote(remote)} && sha256sum < {shlex.quote(remote)}", TRANSFER_S, doing
        )
        size, _, digest = there.stdout.strip().partition("\n")
        if there.exit_code != 0 or not _SHA256.match(digest):
            raise DeviceFailed(f"cannot read {remote} on phone {self.serial}: {adb_text.tail(there.stderr)}")
        part = path.absolute().with_name(f".{path.name}.part")
        try:
            self._transfer(["pull", remote, str(part)], int(size), doing)
            if file_sha256(part) != digest[:64]:
                raise _damaged(remote, self.serial)
            part.replace(path)
        except OSError as problem:
            raise DeviceFailed(f"cannot write {path}: {problem.strerror or problem}") from None
        finally:
            part.unlink(missing_ok=True)

    def _transfer(self, args: list[str], size_bytes: int, doing: str) -> None:
        """Copy; once more where the connection broke, because a copy can be made twice."""
        timeout_s = TRANSFER_S + size_bytes / SLOWEST_BYTES_PER_S
        for last in (False, True):
            said = self._adb(args, timeout_s, doing)
            if said.exit_code == 0:
                return
            failure = adb_text.explained(self.serial, said.words, doing)
            if last or not isinstance(failure, Unreachable):
                raise failure
            self._connect_again()

    # -------------------------------------------------------------------------------------- programs

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in our folder to its end.

        WorkerFailed where it does not start, is ended by a signal, takes longer than `timeout_s` (and is then ended
        on the phone too), or where what it said is cut off or no text.
        """
        job = self._job(argv)
        try:
            said = self._shell(job.script, timeout_s, job.mark, job.program, twice=False)
        except TimeoutError:
            _end_quietly(self, job.note)
            raise WorkerFailed(
                f"{job.program} did not end within {timeout_s:g} s on phone {self.serial}, and was ended",
                remedy="The phone may be hot, asleep or busy: wake it, close its apps and run the same command again.",
            ) from None
        except Unreachable:
            raise
        except BaseException:
            _end_quietly(self, job.note)
            raise
        stderr = said.stderr.decode("utf-8", "replace")
        _, greeting, spoken = said.stdout.partition(f"{job.mark}\n".encode())
        if not greeting:
            raise adb_text.explained(self.serial, stderr, f"starting {job.program}")
        stdout, farewell, code = spoken.rpartition(f"{job.mark} ".encode())
        if not farewell:
            _end_quietly(self, job.note)
            raise adb_text.cut_off(job.program, spoken.decode("utf-8", "backslashreplace"))
        exit_code = _exit_code(code.decode())
        if not adb_text.unknown_exit(exit_code):
            raise adb_text.ended(job.program, exit_code, stderr)
        try:
            return Finished(stdout.decode("utf-8"), stderr, exit_code)
        except UnicodeDecodeError:
            raise adb_text.not_text(job.program, stdout) from None

    def start(self, argv: Sequence[str]) -> PhoneConversation:
        """Start a program in our folder to talk with. WorkerFailed where it does not start."""
        for last in (False, True):
            job = self._job(argv)
            conversation = PhoneConversation(
                self, job, [self._program, "-s", self.serial, "shell", job.script]
            )
            try:
                conversation.greeted()
            except BaseException as failure:
                conversation.close(0.0)
                if last or not isinstance(failure, Unreachable):
                    raise
            else:
                return conversation
            self._connect_again()
        raise AssertionError("unreachable")

    def _job(self, argv: Sequence[str]) -> _Job:
        """The shell script of a program: everything of the caller's is quoted, libraries are looked for beside our own."""
        mark = secrets.token_hex(8)
        note = f"{self._notes}/{mark}.pid"
        libraries = self.folder if argv[0].startswith(f"{self.folder}/") else ""
        words = shlex.join(["sh", "-c", _PROGRAM, "swapbench", note, mark, libraries, *argv])
        folder, notes = shlex.quote(self.folder), shlex.quote(self._notes)
        script = (
            f"mkdir -p {notes} && cd {folder} && export TMPDIR={folder} && unset LD_PRELOAD && {words}\n"
            f"echo {mark} $?"
        )
        return _Job(adb_text.program_name(argv), note, mark, script)

    def end(self, note: str) -> None:
        """End the program of a note, if it still runs; one that has not begun yet will not begin."""
        notes, stop = shlex.quote(self._notes), shlex.quote(f"{note}.stop")
        ended = self._noted('kill -9 "$pid"', PurePosixPath(note).name)
        self.query(f"mkdir -p {notes} && : > {stop}\n{ended}")

    def orphans(self) -> tuple[int, ...]:
        """Process numbers of programs that earlier runs left behind. None of ours must be running."""
        return tuple(int(line) for line in self.query(self._noted('echo "$pid"')).stdout.split())

    def end_orphans(self) -> tuple[int, ...]:
        """End what earlier runs left behind, and clear away their notes; returns the process numbers."""
        ended = self._noted('kill -9 "$pid" && echo "$pid"')
        notes = shlex.quote(self._notes)
        done = self.query(f"{ended}\nrm -f {notes}/*.pid {notes}/*.stop {notes}/*.part")
        return tuple(int(line) for line in done.stdout.split())

    def _noted(self, action: str, pattern: str = "*.pid") -> str:
        return noted(self._notes, action, pattern)

    # -------------------------------------------------------------------------------------- the connection

    def features(self) -> frozenset[str]:
        """What the phone's adb daemon can do, e.g. shell_v2: exit statuses, and both outputs apart."""
        said = self._adb(["features"], CONNECT_S, "adb features")
        if said.exit_code != 0:
            raise adb_text.explained(self.serial, said.words, "adb features")
        return frozenset(said.stdout.decode("utf-8", "replace").split())

    def _adb(self, args: Sequence[str], timeout_s: float, doing: str) -> _Said:
        try:
            return _call([self._program, "-s", self.serial, *args], timeout_s)
        except TimeoutError:
            raise DeviceFailed(
                f"phone {self.serial} did not end within {timeout_s:g} s: {doing}",
                remedy="Check the cable, or restart the phone; then run the same command again.",
            ) from None

    def _shell(self, script: str, timeout_s: float, mark: str, doing: str, *, twice: bool) -> _Said:
        """What a script printed that ends with a line that holds `mark`.

        twice: it may also be run again where the connection broke in its middle. TimeoutError (not twice) or DeviceFailed.
        """
        for last in (False, True):
            if twice:
                said = self._adb(["shell", script], timeout_s, doing)
            else:
                said = _call([self._program, "-s", self.serial, "shell", script], timeout_s)
            if mark.encode() in said.stdout:
                return said
            failure = adb_text.explained(self.serial, said.words, doing)
            broke = twice and not said.words.strip()
            if last or not (broke or isinstance(failure, Unreachable)):
                raise failure
            self._connect_again()
        raise AssertionError("unreachable")

    def _connect_again(self) -> None:
        """Bring a phone back that is offline. Says nothing where it fails: the call that follows does."""
        with contextlib.suppress(TimeoutError):
            if _OVER_TCP.fullmatch(self.serial):
                _call([self._program, "disconnect", self.serial], CONNECT_S)
                said = _call([self._program, "connect", self.serial], CONNECT_S)
                if "connected to" not in said.words:
                    return
            else:
                _call([self._program, "-s", self.serial, "reconnect"], CONNECT_S)
            _call([self._program, "-s", self.serial, "wait-for-device"], RECONNECT_S)


class PhoneConversation(LocalConversation):
    """A living program on the phone; implements ports.Conversation. Ended on the phone too when it is closed."""

    def __init__(self, adb: Adb, job: _Job, client: Sequence[str]) -> None:
        super().__init__(client)
        self._program = job.program
        self._adb, self._job = adb, job
        self._failure: WorkerFailed | DeviceFailed | None = None
        # also runs when the conversation is forgotten and when this process exits
        self._end_there = weakref.finalize(self, _end_quietly, adb, job.note)

    def greeted(self) -> None:
        """Wait until the program takes over. DeviceFailed where the phone is not reached."""
        line = self._next(START_S)
        if line != self._job.mark:
            raise adb_text.explained(
                self._adb.serial, self._complaints() or line, f"starting {self._program}"
            )

    def read_line(self, timeout_s: float) -> str:
        """Next line of standard output; WorkerFailed when the program ends, dies, is too slow or says what is no text."""
        line = self._next(timeout_s)
        text, farewell, code = line.partition(f"{self._job.mark} ")
        if farewell:
            self._process.wait(GRACE_S)  # its last words are then there
            died = adb_text.ended(self._program, _exit_code(code), self._complaints())
            self._failure = adb_text.cut_off(self._program, text) if text and _exit_code(code) == 0 else died
            raise self._failure
        if "\ufffd" in line:
            raise adb_text.not_text(self._program, line.encode())
        return line

    def write_line(self, line: str) -> None:
        """Send one line to standard input; WorkerFailed, with how the program ended, where nobody reads any more."""
        try:
            super().write_line(line)
        except WorkerFailed:
            while self._release.alive:
                self.read_line(GRACE_S)
            raise

    def close(self, timeout_s: float = 10.0) -> None:
        """End the program: close its input, wait, then end it on the phone. Safe to call twice."""
        try:
            super().close(timeout_s)
        finally:
            if self._process.returncode is not None and self._process.returncode >= 0:
                self._end_there.detach()  # adb's client ended by itself: there is nobody to end
            self._end_there()

    def _complaints(self) -> str:
        """What came on standard error: of the program, or of adb's client."""
        if self._stderr.closed:
            return ""
        number = self._stderr.fileno()
        # without moving the place where adb's client writes
        return os.pread(number, COMPLAINT_BYTES, max(0, os.fstat(number).st_size - COMPLAINT_BYTES)).decode(
            "utf-8", "replace"
        )

    def _next(self, timeout_s: float) -> str:
        if self._failure is not None:
            raise self._failure
        try:
            return super().read_line(timeout_s)
        except WorkerFailed:
            if self._process.poll() is None or not self._release.alive:
                raise
            self._failure = adb_text.explained(self._adb.serial, self._complaints(), self._program)
            raise self._failure from None


def _end_quietly(adb: Adb, note: str) -> None:
    with contextlib.suppress(DeviceFailed):
        adb.end(note)


def _call(argv: Sequence[str], timeout_s: float) -> _Said:
    """Run adb's client. TimeoutError where it does not end in time."""
    try:
        done = subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    except OSError as problem:
        raise DeviceFailed(f"cannot start {argv[0]}: {problem.strerror or problem}") from None
    return _Said(done.stdout, done.stderr, done.returncode)


def _damaged(name: str, serial: str) -> DeviceFailed:
    return DeviceFailed(
        f"{name} arrived damaged (phone {serial})",
        remedy="Use another cable or port and run the same command again.",
    )


def _exit_code(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 255


if TYPE_CHECKING:
    _keeps_the_port: type[Conversation] = PhoneConversation
