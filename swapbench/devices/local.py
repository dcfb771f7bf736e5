"""This computer as a device: programs run as child processes, files are read where they lie.

For POSIX systems. A child's standard error goes to an unnamed file, so that it never blocks and its last
lines can be reported when it fails. Every child leads a process group of its own and is ended with it, also
when the parent is interrupted; only processes started here are ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import platform
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING

from swapbench.cores import usable_cores
from swapbench.devices import linux_text
from swapbench.devices.child_output import MOST_BYTES, PrintsWithoutEnd, output_of
from swapbench.errors import DeviceFailed, WorkerFailed
from swapbench.ports import Finished, unseen
from swapbench.records import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from swapbench.ports import Conversation, Device, Progress
    from swapbench.records import Plan

PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "ai-edge-litert",
    "tflite-runtime",
    "ncnn",
    "executorch",
    "torch",
    "numpy",
)
CPU_ZONES = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "cpu", "acpitz")
STDERR_LINES = 3
BUSY_WINDOW_S = 1.0
GRACE_S = 1.0


class Local:
    """The computer that swapbench runs on; implements ports.Device.

    Args:
        name: In records.
        root: Where /proc and /sys are.
        version_of: The version of a Python package, None where it is not installed.
        environment: Variables that programs get in addition to our own.
        sleep: Stands in for time.sleep.
    """

    def __init__(
        self,
        name: str = "local",
        *,
        root: Path = Path("/"),
        version_of: Callable[[str], str | None] | None = None,
        environment: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._root = root
        self._version_of = version_of or installed_version
        self._environment = environment
        self._sleep = sleep
        self._load_before: float | None = None
        self._busy_before: float | None = None

    def describe(self) -> Machine:
        """The fingerprint. Inside `quiet`, the load is that from before our own workers started."""
        versions = {package: self._version_of(package) for package in PACKAGES}
        load = self._load_before if self._load_before is not None else self._load_1min()
        return Machine(
            name=self.name,
            device=self._text("sys/class/dmi/id/product_name")
            or self._text("proc/device-tree/model").rstrip("\0")
            or platform.machine(),
            system=f"{platform.system()} {platform.release()}",
            abi=platform.machine(),
            soc=self._soc(),
            int8_saturates=linux_text.int8_saturates(self._text("proc/cpuinfo")),
            logical_cores=usable_cores(self._root),
            memory_bytes=self._memory_bytes(),
            governor=self._text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
            packages={
                "python": platform.python_version(),
                **{package: version for package, version in versions.items() if version is not None},
            },
            load_1min=load,
            busy_cores=self._busy_before,
            temperature_c=self._temperature_c(),
            on_battery=self._on_battery(),
        )

    def push(self, path: Path, *beside: Path) -> str:
        """The file's absolute path; nothing is copied."""
        for file in (path, *beside):
            if not file.is_file():
                raise DeviceFailed(f"there is no file {file}")
        return str(path.absolute())  # links are not followed: what lies beside a link is meant

    def pull(self, remote: str, path: Path) -> None:
        """Copy `remote` to `path`, whole or not at all."""
        part = path.with_name(f".{path.name}.part")
        try:
            shutil.copyfile(remote, part)
            part.replace(path)
        except OSError as problem:
            part.unlink(missing_ok=True)
            raise DeviceFailed(f"cannot copy {remote}: {problem.strerror or problem}") from None

    def read(self, path: str) -> str:
        """The text of a file, e.g. an energy counter."""
        try:
            return (self._root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        except OSError as problem:
            raise DeviceFailed(f"cannot read {path}: {problem.strerror or problem}") from problem

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program to its end.

        Raises:
            WorkerFailed: It does not start, takes longer than `timeout_s`, or never stops printing.
        """
        process = _start(argv, self._environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            stdout, stderr = output_of(process, timeout_s)
        except TimeoutError:
            raise WorkerFailed(f"{_program(argv)} did not finish within {timeout_s:g} s") from None
        except PrintsWithoutEnd:
            raise WorkerFailed(f"{_program(argv)} printed more than {MOST_BYTES / 1e6:.0f} MB") from None
        finally:
            _end(process, 0.0)
        return Finished(
            stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), process.returncode
        )

    def start(self, argv: Sequence[str]) -> LocalConversation:
        """Start a program to talk to; WorkerFailed where it does not start."""
        return LocalConversation(argv, self._environment)

    @contextlib.contextmanager
    def quiet(self, plan: Plan, progress: Progress = unseen) -> Iterator[None]:
        """Record the load of other work before we add to it; nothing is changed, as others may be working."""
        del plan, progress
        outer = self._load_before, self._busy_before
        self._load_before = self._load_1min()
        self._busy_before = self._busy_cores()
        try:
            yield
        finally:
            self._load_before, self._busy_before = outer

    def _text(self, path: str) -> str:
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def _soc(self) -> str:
        fields: dict[str, str] = {}
        for line in self._text("proc/cpuinfo").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
        return fields.get("model name") or fields.get("Hardware") or platform.processor() or "unknown"

    def _memory_bytes(self) -> int:
        total = linux_text.memory_bytes(self._text("proc/meminfo"))
        if total is not None:
            return total
        import psutil

        return int(psutil.virtual_memory().total)

    def _busy_cores(self) -> float | None:
        """Cores busy over one second. The load average would still hold our own work of a minute ago."""
        before = self._text("proc/stat")
        self._sleep(BUSY_WINDOW_S)
        return linux_text.busy_cores(before, self._text("proc/stat"))

    def _load_1min(self) -> float | None:
        words = self._text("proc/loadavg").split()
        if words:
            return float(words[0])
        return os.getloadavg()[0] if hasattr(os, "getloadavg") and self._root == Path("/") else None

    def _temperature_c(self) -> float | None:
        temperatures_c: dict[str, float] = {}
        for zone in sorted((self._root / "sys/class/thermal").glob("thermal_zone*")):
            kind, reading = (
                self._text(str(zone.relative_to(self._root) / name)) for name in ("type", "temp")
            )
            if reading.lstrip("-").isdigit():
                temperatures_c.setdefault(kind, int(reading) / 1000)
        return next((temperatures_c[kind] for kind in CPU_ZONES if kind in temperatures_c), None)

    def _on_battery(self) -> bool | None:
        supplies = {}
        for supply in sorted((self._root / "sys/class/power_supply").glob("*")):
            path = supply.relative_to(self._root)
            kind, online, status = (self._text(str(path / name)) for name in ("type", "online", "status"))
            scope = self._text(str(path / "scope"))
            if scope != "Device":  # a mouse's battery says nothing about this computer
                supplies[supply.name] = (kind, online, status)
        if any(kind != "Battery" and online == "1" for kind, online, _ in supplies.values()):
            return False
        statuses = [status for kind, _, status in supplies.values() if kind == "Battery"]
        return "Discharging" in statuses if statuses else None


class LocalConversation:
    """A living child process: one line in, one line out; implements ports.Conversation."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._program = _program(argv)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - _release() closes it
        try:
            self._process = _start(argv, environment, stdin=subprocess.PIPE, stderr=self._stderr)
        except BaseException:
            self._stderr.close()
            raise
        assert self._process.stdout is not None
        self._descriptor = self._process.stdout.fileno()
        os.set_blocking(self._descriptor, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._descriptor, selectors.EVENT_READ)
        self._lines: list[bytes] = []
        self._partial: list[bytes] = []
        # also runs when the conversation is garbage-collected and when the parent exits
        self._release = weakref.finalize(self, _release, self._process, self._selector, self._stderr)

    def read_line(self, timeout_s: float) -> str:
        """The next line of standard output; sleeps until it is there.

        Raises:
            WorkerFailed: The program ended, died or was too slow.
        """
        deadline = time.monotonic() + timeout_s
        while not self._lines:
            if self._process.stdout is None or self._process.stdout.closed:
                raise WorkerFailed(f"{self._program} has been closed")
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise WorkerFailed(f"{self._program} printed nothing for {timeout_s:g} s")
            chunk = os.read(self._descriptor, 1 << 20)
            if not chunk:
                raise WorkerFailed(self._obituary())
            *whole, rest = chunk.split(b"\n")
            if whole:
                self._lines = [b"".join([*self._partial, whole[0]]), *whole[1:]]
                self._partial = []
            if rest:
                self._partial.append(rest)
            too_long = sum(map(len, self._partial)) > MOST_BYTES
            if not whole and (too_long or time.monotonic() > deadline):
                raise WorkerFailed(f"{self._program} ended no line in {timeout_s:g} s")
        return self._lines.pop(0).decode("utf-8", "replace").rstrip("\r")

    def write_line(self, line: str) -> None:
        """Send one line to standard input; WorkerFailed where the program no longer reads it."""
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            raise WorkerFailed(f"{self._program} has been closed")
        try:
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(self._obituary()) from None

    def close(self, timeout_s: float = 10.0) -> None:
        """End the program: close its input, wait, then signal its group. Safe to call twice."""
        if not self._release.alive:
            return
        try:
            _end(self._process, timeout_s)
        finally:  # an interrupt while waiting still ends the child
            self._release()

    def _obituary(self) -> str:
        try:
            code: int | None = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            code = None
        how = (
            "closed its output"
            if code is None
            else f"was killed by signal {-code}"
            if code < 0
            else f"ended with {code}"
        )
        reason = "" if self._stderr.closed else _last_lines(self._stderr)
        return f"{self._program} {how}{': ' + reason if reason else ''}"


def _start(
    argv: Sequence[str], environment: Mapping[str, str] | None, *, stdin: int, stderr: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            env=None if environment is None else {**os.environ, **environment},
        )
    except OSError as problem:
        raise WorkerFailed(f"cannot start {argv[0]}: {problem.strerror or problem}") from None


def _end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """End a child and its process group, gently first; leaves no zombie and no open pipe."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    if process.poll() is None and patience_s > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    for number, grace_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _release(process: subprocess.Popen[bytes], selector: selectors.BaseSelector, stderr: IO[bytes]) -> None:
    _end(process, 0.0)
    selector.close()
    stderr.close()


def _last_lines(stderr: IO[bytes]) -> str:
    """The last few lines of a child's standard error, as one line."""
    end = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, end - 4000))
    lines = [line.strip() for line in stderr.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return " | ".join(lines[-STDERR_LINES:])


def _program(argv: Sequence[str]) -> str:
    """What messages call a program: its file name, or the module where it is Python."""
    return argv[argv.index("-m") + 1] if "-m" in argv[:-1] else Path(argv[0]).name


def installed_version(package: str) -> str | None:
    """The version of a Python package, None where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if TYPE_CHECKING:
    _keeps_the_port: type[Device] = Local
    _keeps_the_other: type[Conversation] = LocalConversation
