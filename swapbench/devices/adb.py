"""One phone over adb: files, shell commands and programs. Always by serial, always with a timeout.

The output of a shell on the phone counts only when a mark of our own stands at its end: adb's client exits
with status 0 when the connection breaks (seen with version 29), and half an answer would pass for a whole
one.

Programs run below one folder of ours and leave a note of their process there, because ending adb's client
does not end what it started (see `process_notes`).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import weakref
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from swapbench.devices import adb_client, adb_text, process_notes
from swapbench.devices.adb_client import CONNECT_S, Printed, find_adb
from swapbench.devices.local import GRACE_S, LocalConversation
from swapbench.errors import DeviceFailed, Unreachable, WorkerFailed
from swapbench.files import file_sha256
from swapbench.ports import Finished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.ports import Conversation

FOLDER: Final = "/data/local/tmp/swapbench"
"""Everything of ours on a phone lies here: below /data/local/tmp alone may adb's user execute files."""

QUERY_S: Final = 30.0
START_S: Final = 30.0
RECONNECT_S: Final = 5.0
TRANSFER_S: Final = 60.0
SLOWEST_BYTES_PER_S: Final = 1_000_000
COMPLAINT_BYTES: Final = 4000
_DAMAGED: Final = 65

_OVER_TCP = re.compile(r".+:\d+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class _Job:
    """One program to run on the phone.

    Attributes:
        program: Its name in messages.
        note: The file of its process note.
        mark: What is printed before its output and, with the exit status, after it.
        script: The shell script that runs it.
    """

    program: str
    note: str
    mark: str
    script: str


class Adb:
    """One phone. Every method raises DeviceFailed, with a remedy, where the phone cannot be reached.

    A phone that is offline, or that was reached over TCP and is gone, is reconnected once per call.
    """

    def __init__(self, serial: str, program: str | None = None, *, folder: str = FOLDER) -> None:
        self.serial = serial
        self.folder = folder
        self._notes = f"{folder}/.run"
        self._program = program or find_adb()

    # -------------------------------------------------------------------------------------- shell commands

    def query(
        self, command: str, timeout_s: float = QUERY_S, doing: str = "running a shell command"
    ) -> Finished:
        """Run a shell command on the phone; its output is complete.

        Args:
            command: Quoted by the caller. It may be run twice, where the connection breaks in between.
            timeout_s: For each attempt.
            doing: What messages call it.
        """
        mark = secrets.token_hex(8)
        script = f"(\n{command}\n) </dev/null\necho {mark} $?"
        printed = self._shell(script, timeout_s, mark, doing, repeatable=True)
        text, _, code = printed.stdout.decode("utf-8", "replace").rpartition(f"{mark} ")
        return Finished(text, printed.stderr.decode("utf-8", "replace"), _exit_code(code))

    def ask(self, commands: Mapping[str, str], timeout_s: float = QUERY_S) -> dict[str, Finished]:
        """Run several shell commands in one call; standard output and error of each come together, by name.

        An `adb shell` takes 20 to 50 ms whatever it does.
        """
        mark = secrets.token_hex(8)
        script = "\n".join(
            f"(\n{command}\n) 2>&1 </dev/null\necho {mark} $?" for command in commands.values()
        )
        text = self.query(script, timeout_s).stdout
        *outputs, _ = re.split(rf"{mark} (\d+)\n", text)
        return {
            name: Finished(output, "", int(code))
            for name, output, code in zip(commands, outputs[::2], outputs[1::2], strict=True)
        }

    def read(self, path: str) -> str:
        """The text of a file on the phone; DeviceFailed where it cannot be read."""
        done = self.query(f"cat -- {shlex.quote(path)}")
        if done.exit_code != 0:
            raise DeviceFailed(f"cannot read {path} on phone {self.serial}: {adb_text.tail(done.stderr)}")
        return done.stdout

    # -------------------------------------------------------------------------------------- files

    def push(self, path: Path, name: str) -> str:
        """Copy a file to `name` in our folder, executable, unless it is there already; returns its path.

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
        ready = self.query(
            f"wc -c < {shlex.quote(remote)} && sha256sum < {shlex.quote(remote)}", TRANSFER_S, doing
        )
        size, _, digest = ready.stdout.strip().partition("\n")
        if ready.exit_code != 0 or not _SHA256.match(digest):
            raise DeviceFailed(f"cannot read {remote} on phone {self.serial}: {adb_text.tail(ready.stderr)}")
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
        """Copy, and try again once where the connection broke: a copy can be repeated."""
        timeout_s = TRANSFER_S + size_bytes / SLOWEST_BYTES_PER_S
        for last in (False, True):
            printed = self._adb(args, timeout_s, doing)
            if printed.exit_code == 0:
                return
            failure = adb_text.explained(self.serial, printed.text, doing)
            if last or not isinstance(failure, Unreachable):
                raise failure
            self._reconnect()

    # -------------------------------------------------------------------------------------- programs

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in our folder to its end.

        Raises:
            WorkerFailed: It does not start, is killed by a signal or takes longer than `timeout_s` (it is
                then killed on the phone too), or its output is cut off or not text.
        """
        job = self._job(argv)
        try:
            printed = self._shell(job.script, timeout_s, job.mark, f"running {job.program}", repeatable=False)
        except TimeoutError:
            _end_quietly(self, job.note)
            raise WorkerFailed(
                f"{job.program} did not finish within {timeout_s:g} s on phone {self.serial} and was killed",
                remedy="The phone may be hot, asleep or busy: "
                "wake it, close its apps and run the same command again.",
            ) from None
        except Unreachable:
            raise
        except BaseException:
            _end_quietly(self, job.note)
            raise
        stderr = printed.stderr.decode("utf-8", "replace")
        _, opening, output = printed.stdout.partition(f"{job.mark}\n".encode())
        if not opening:
            raise adb_text.explained(self.serial, stderr, f"starting {job.program}")
        stdout, closing, code = output.rpartition(f"{job.mark} ".encode())
        if not closing:
            _end_quietly(self, job.note)
            raise adb_text.cut_off(job.program, output.decode("utf-8", "backslashreplace"))
        exit_code = _exit_code(code.decode())
        if not adb_text.is_own_exit(exit_code):
            raise adb_text.ended(job.program, exit_code, stderr)
        try:
            return Finished(stdout.decode("utf-8"), stderr, exit_code)
        except UnicodeDecodeError:
            raise adb_text.not_text(job.program, stdout) from None

    def start(self, argv: Sequence[str]) -> PhoneConversation:
        """Start a program in our folder to talk to; WorkerFailed where it does not start."""
        for last in (False, True):
            job = self._job(argv)
            conversation = PhoneConversation(
                self, job, [self._program, "-s", self.serial, "shell", job.script]
            )
            try:
                conversation.wait_for_start()
            except BaseException as failure:
                conversation.close(0.0)
                if last or not isinstance(failure, Unreachable):
                    raise
            else:
                return conversation
            self._reconnect()
        raise AssertionError("unreachable")

    def _job(self, argv: Sequence[str]) -> _Job:
        """The shell script of a program: `argv` is quoted; our own programs find libraries beside them."""
        mark = secrets.token_hex(8)
        note = f"{self._notes}/{mark}.pid"
        libraries = self.folder if argv[0].startswith(f"{self.folder}/") else ""
        words = shlex.join(["sh", "-c", process_notes.PROGRAM, "swapbench", note, mark, libraries, *argv])
        folder, notes = shlex.quote(self.folder), shlex.quote(self._notes)
        script = (
            f"mkdir -p {notes} && cd {folder} && export TMPDIR={folder} && unset LD_PRELOAD && {words}\n"
            f"echo {mark} $?"
        )
        return _Job(adb_text.program_name(argv), note, mark, script)

    def end(self, note: str) -> None:
        """Kill the program of a note if it still runs; one that has not begun yet will not begin."""
        notes, stop = shlex.quote(self._notes), shlex.quote(f"{note}.stop")
        kill = self._for_noted('kill -9 "$pid"', PurePosixPath(note).name)
        self.query(f"mkdir -p {notes} && : > {stop}\n{kill}")

    def orphans(self) -> tuple[int, ...]:
        """Process numbers of programs that earlier runs left behind. No program of ours may be running."""
        return tuple(int(line) for line in self.query(self._for_noted('echo "$pid"')).stdout.split())

    def end_orphans(self) -> tuple[int, ...]:
        """Kill what earlier runs left behind and remove their notes; returns the process numbers."""
        kill = self._for_noted('kill -9 "$pid" && echo "$pid"')
        notes = shlex.quote(self._notes)
        done = self.query(f"{kill}\nrm -f {notes}/*.pid {notes}/*.stop {notes}/*.part")
        return tuple(int(line) for line in done.stdout.split())

    def _for_noted(self, action: str, pattern: str = "*.pid") -> str:
        return process_notes.for_noted(self._notes, action, pattern)

    # -------------------------------------------------------------------------------------- the connection

    def features(self) -> frozenset[str]:
        """What the phone's adb daemon can do, e.g. shell_v2: exit statuses, and standard error apart."""
        doing = "asking adb for its features"
        printed = self._adb(["features"], CONNECT_S, doing)
        if printed.exit_code != 0:
            raise adb_text.explained(self.serial, printed.text, doing)
        return frozenset(printed.stdout.decode("utf-8", "replace").split())

    def _call(self, args: Sequence[str], timeout_s: float) -> Printed:
        return adb_client.call(self._program, ["-s", self.serial, *args], timeout_s)

    def _adb(self, args: Sequence[str], timeout_s: float, doing: str) -> Printed:
        try:
            return self._call(args, timeout_s)
        except TimeoutError:
            raise DeviceFailed(
                f"phone {self.serial} did not respond within {timeout_s:g} s while {doing}",
                remedy="Check the cable, or restart the phone; then run the same command again.",
            ) from None

    def _shell(self, script: str, timeout_s: float, mark: str, doing: str, *, repeatable: bool) -> Printed:
        """The output of a script whose last line holds `mark`.

        Args:
            script: The whole script.
            timeout_s: For each attempt.
            mark: Proves that the output is complete.
            doing: What messages call it.
            repeatable: It may be run again where the connection broke in the middle of it.

        Raises:
            TimeoutError: The script, which is not repeatable, did not end in time.
            DeviceFailed: The phone could not be reached or refused, or a repeatable script did not end in
                time.
        """
        for last in (False, True):
            if repeatable:
                printed = self._adb(["shell", script], timeout_s, doing)
            else:
                printed = self._call(["shell", script], timeout_s)
            if mark.encode() in printed.stdout:
                return printed
            failure = adb_text.explained(self.serial, printed.text, doing)
            broke = repeatable and not printed.text.strip()
            if last or not (broke or isinstance(failure, Unreachable)):
                raise failure
            self._reconnect()
        raise AssertionError("unreachable")

    def _reconnect(self) -> None:
        """Bring an offline phone back. A failure is not reported here: the call that follows reports it."""
        with contextlib.suppress(TimeoutError):
            if _OVER_TCP.fullmatch(self.serial):
                adb_client.call(self._program, ["disconnect", self.serial], CONNECT_S)
                printed = adb_client.call(self._program, ["connect", self.serial], CONNECT_S)
                if "connected to" not in printed.text:
                    return
            else:
                self._call(["reconnect"], CONNECT_S)
            self._call(["wait-for-device"], RECONNECT_S)


class PhoneConversation(LocalConversation):
    """A living program on the phone; implements ports.Conversation. Closing it ends the program there too."""

    def __init__(self, adb: Adb, job: _Job, client: Sequence[str]) -> None:
        super().__init__(client)
        self._program = job.program
        self._adb, self._job = adb, job
        self._failure: WorkerFailed | DeviceFailed | None = None
        # also runs when the conversation is garbage-collected and when this process exits
        self._end_there = weakref.finalize(self, _end_quietly, adb, job.note)

    def wait_for_start(self) -> None:
        """Wait until the program takes over from the shell; DeviceFailed where the phone is not reached."""
        line = self._next(START_S)
        if line != self._job.mark:
            raise adb_text.explained(
                self._adb.serial, self._complaints() or line, f"starting {self._program}"
            )

    def read_line(self, timeout_s: float) -> str:
        """The next line of standard output.

        Raises:
            WorkerFailed: The program ended, died, was too slow or printed something that is not text.
        """
        line = self._next(timeout_s)
        text, closing, code = line.partition(f"{self._job.mark} ")
        if closing:
            self._process.wait(GRACE_S)  # standard error is complete then
            exit_code = _exit_code(code)
            if text and exit_code == 0:
                self._failure = adb_text.cut_off(self._program, text)
            else:
                self._failure = adb_text.ended(self._program, exit_code, self._complaints())
            raise self._failure
        if "\ufffd" in line:
            raise adb_text.not_text(self._program, line.encode())
        return line

    def write_line(self, line: str) -> None:
        """Send one line to standard input; WorkerFailed, saying how it ended, where the program is gone."""
        try:
            super().write_line(line)
        except WorkerFailed:
            while self._release.alive:
                self.read_line(GRACE_S)
            raise

    def close(self, timeout_s: float = 10.0) -> None:
        """End the program: close its input, wait, then kill it on the phone. Safe to call twice."""
        try:
            super().close(timeout_s)
        finally:
            if self._process.returncode is not None and self._process.returncode >= 0:
                self._end_there.detach()  # adb's client exited by itself: nothing is left on the phone
            self._end_there()

    def _complaints(self) -> str:
        """The end of standard error, of the program or of adb's client."""
        if self._stderr.closed:
            return ""
        descriptor = self._stderr.fileno()
        start = max(0, os.fstat(descriptor).st_size - COMPLAINT_BYTES)
        # pread does not move the position at which adb's client writes
        return os.pread(descriptor, COMPLAINT_BYTES, start).decode("utf-8", "replace")

    def _next(self, timeout_s: float) -> str:
        if self._failure is not None:
            raise self._failure
        try:
            return super().read_line(timeout_s)
        except WorkerFailed:
            if self._process.poll() is None or not self._release.alive:
                raise
            self._failure = adb_text.explained(
                self._adb.serial, self._complaints(), f"running {self._program}"
            )
            raise self._failure from None


def _end_quietly(adb: Adb, note: str) -> None:
    with contextlib.suppress(DeviceFailed):
        adb.end(note)


def _damaged(name: str, serial: str) -> DeviceFailed:
    return DeviceFailed(
        f"{name} arrived damaged (phone {serial})",
        remedy="Use another cable or port and run the same command again.",
    )


def _exit_code(text: str) -> int:
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 255


if TYPE_CHECKING:
    _keeps_the_port: type[Conversation] = PhoneConversation
