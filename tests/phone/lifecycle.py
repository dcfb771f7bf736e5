"""Starts emulated phones and a private adb server, and ends both.

Nothing is found by name: what was started is ended by its process id, also when we are killed (the phone
ends when its standard input closes, the adb server gets a signal when its parent dies).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fetch import FetchFailed, native_arch, programs, toybox

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACES = ("unshare", "--user", "--keep-caps", "--mount", "--pid", "--fork", "--kill-child")
SHELL_USER = ("--map-user=2000", "--map-group=2000")
# The kernel lets only user 0 of a namespace register an interpreter, and an ordinary user can map one user
# only.
QEMU_USER = ("--map-user=0", "--map-group=0")
ABIS = {"amd64": "x86_64", "arm64": "arm64-v8a"}
START_TIMEOUT_S = 30
ADB_TIMEOUT_S = 60


class Unavailable(Exception):
    """There can be no emulated phone here; the message says why and what would help."""


class AdbServer:
    """A private adb server: own port, own key, own log."""

    def __init__(self, home: Path) -> None:
        program = shutil.which(os.environ.get("ADB") or "adb")
        if program is None:
            raise Unavailable("adb is not on this machine; install it with: apt-get install adb")
        self.program = program
        self.port = _free_port()
        self.environment = {
            **os.environ,
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "HOME": str(home),
            "TMPDIR": str(home),
            # No look for emulators on this machine, nor for phones in its network.
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "0",
            "ADB_MDNS": "0",
        }
        for name in ("ANDROID_SERIAL", "ANDROID_ADB_SERVER_ADDRESS", "ADB_SERVER_SOCKET"):
            self.environment.pop(name, None)
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (home / "adb.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*dies_with_us, self.program, "-P", str(self.port), "nodaemon", "server"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise RuntimeError(f"adb server did not start: {(home / 'adb.log').read_text()[-500:]}")
            time.sleep(0.01)

    def __call__(
        self, *words: str, serial: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs `adb WORDS` against this server and returns what it said, whatever its status."""
        which = ["-s", serial] if serial else []
        options.setdefault("timeout", ADB_TIMEOUT_S)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        argv = [self.program, *which, *words]
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            argv, env=self.environment, capture_output=True, check=False, **options
        )
        return done

    def end(self) -> None:
        """Ends the server."""
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Command:
    """What a command on the phone printed, and the status that adb passed on."""

    status: int
    stdout: str
    stderr: str


class Phone:
    """A running emulated phone: what adb is told to reach it, and its switches."""

    def __init__(self, adb: AdbServer, port: int, control: socket.socket) -> None:
        self.serial = f"127.0.0.1:{port}"
        self.adb_server = adb
        self._control = control
        self._replies = control.makefile("rb")
        self._asking = threading.Lock()

    # The computer's side

    def adb(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Runs `adb -s SERIAL WORDS`."""
        return self.adb_server(*words, serial=self.serial, **options)

    def shell(self, command: str, **options: Any) -> Command:
        """Runs a command on the phone."""
        done = self.adb("shell", command, **options)
        return Command(done.returncode, done.stdout.decode(), done.stderr.decode())

    def connect(self) -> str:
        """Connects adb with the phone afresh; returns what adb said.

        A third of a second after a link was cut adb connects again by itself. Told to disconnect in that
        moment, it answers before it has let go, or connects all the same; to connect meanwhile would find
        the phone "already connected", and then gone.
        """
        self.adb_server("disconnect", self.serial)
        deadline = time.monotonic() + ADB_TIMEOUT_S
        while self.seen() and time.monotonic() < deadline:
            time.sleep(0.02)
            self.adb_server("disconnect", self.serial)
        return self.adb_server("connect", self.serial).stdout.decode().strip()

    def seen(self) -> str:
        """The phone's state in `adb devices`, empty where it is not listed."""
        for line in self.adb_server("devices").stdout.decode().splitlines():
            serial, _, state = line.partition("\t")
            if serial == self.serial:
                return state
        return ""

    # The phone's side

    def set(self, **switches: Any) -> None:
        """Turns switches of the phone's `State`; raises ValueError where one is wrong."""
        self._ask({"do": "set", "switches": switches})

    def state(self) -> dict[str, Any]:
        """All switches as they stand."""
        return self._ask({"do": "state"})

    def truth(self) -> dict[str, Any]:
        """Energy and CPU time since start: now, at the last step of the gauge (`shown_...`), and by rail."""
        return self._ask({"do": "truth"})

    def processes(self) -> list[tuple[int, str]]:
        """Process ids, as the phone numbers them, and command lines of what runs there."""
        return [(found["pid"], found["command"]) for found in self._ask({"do": "processes"})["processes"]]

    def kill(self, match: str, signal: int = 9) -> list[int]:
        """Sends a signal to every process with the text in its command line; returns their ids."""
        return list(self._ask({"do": "kill", "match": match, "signal": signal})["killed"])

    def when(self, command: str | None = None, *, after_s: float = 0.0, **switches: Any) -> None:
        """Turns switches so long after a command with the text in it is next started (None: from now)."""
        then = {"do": "set", "switches": switches}
        self._ask({"do": "plan", "command": command, "after_s": after_s, "then": then})

    def kill_when(self, command: str, match: str, *, after_s: float = 0.0, signal: int = 9) -> None:
        """Sends the signal so long after a command with the text is next started, or once `match` runs."""
        then = {"do": "kill", "match": match, "signal": signal}
        self._ask({"do": "plan", "command": command, "after_s": after_s, "then": then})

    def restart(self) -> None:
        """The system starts again: whatever ran is gone, the disk is as it was, and the connection breaks."""
        self._ask({"do": "restart"})

    def reset(self) -> None:
        """Makes the phone healthy, empty and connected."""
        self._ask({"do": "reset"})
        # For a moment adb still lists a link that was cut: only an answer shows that it holds.
        if self.seen() != "device" or self.shell("echo here").stdout != "here\n":
            said = self.connect()
            if self.seen() != "device":
                raise RuntimeError(f"the phone cannot be reached: {said}")

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._asking:
            self._control.sendall(json.dumps(request).encode() + b"\n")
            reply: dict[str, Any] = json.loads(self._replies.readline() or '{"error": "the phone has ended"}')
        if "error" in reply:
            raise ValueError(reply["error"])
        return reply

    def close(self) -> None:
        """Lets go of the control socket."""
        self._replies.close()
        self._control.close()


@contextlib.contextmanager
def adb_server() -> Iterator[AdbServer]:
    """A private adb server; raises Unavailable where there is no adb."""
    with tempfile.TemporaryDirectory(prefix="adb") as home:
        server = AdbServer(Path(home))
        try:
            yield server
        finally:
            server.end()


@contextlib.contextmanager
def emulated_phone(
    adb: AdbServer,
    *,
    dialect: str = "pixel",
    arch: str | None = None,
    port: int = 0,
    applets: str = "busybox",
    report: Path | None = None,
) -> Iterator[Phone]:
    """A phone, connected with the server; `arch` is amd64 or arm64 (None: this machine's), port 0 a free one.

    Its `applets` are busybox's, or Android's own, toybox's, on this machine's architecture. With a `report`
    of a real phone it answers what that one answered.

    Raises Unavailable, with the reason, where the machine cannot have such a phone.
    """
    argv = daemon_argv(dialect, arch or native_arch(), port)
    if applets == "toybox":
        try:
            argv += ["--toybox", str(toybox())]
        except FetchFailed as error:
            raise Unavailable(str(error)) from None
    argv += ["--report", str(report.resolve())] if report is not None else []
    with tempfile.TemporaryDirectory(prefix="phone") as name:
        folder = Path(name)
        (folder / "root").mkdir()
        log = folder / "log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*argv, "--root", str(folder / "root"), "--control", str(folder / "control")],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        phone = None
        try:
            phone = _reach(process, folder, adb, log)
            phone.reset()
            yield phone
        finally:
            if phone is not None:
                adb("disconnect", phone.serial)
                phone.close()
            _end(process)
        # The phone's own faults must not hide behind tests that happen to pass.
        if said := log.read_text():
            raise RuntimeError(f"the emulated phone complained:\n{said}")


def daemon_argv(dialect: str, arch: str, port: int) -> list[str]:
    """The command line of a phone's first process; raises Unavailable where it cannot work."""
    if arch not in ABIS:
        raise Unavailable(f"there is no emulated phone of architecture {arch}; known: {', '.join(ABIS)}")
    _check_namespaces()
    user = SHELL_USER
    qemu: list[str] = []
    if arch != native_arch():
        found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
        if arch != "arm64" or found is None:
            raise Unavailable(
                f"no emulator for {arch} programs on this machine; "
                "for arm64: apt-get install qemu-user-static"
            )
        qemu = ["--qemu", found]
        user = QEMU_USER
    try:
        paths = programs(arch)
    except FetchFailed as error:
        raise Unavailable(str(error)) from None
    return [
        *NAMESPACES,
        *user,
        *(sys.executable, "-S", "-m", "phone.daemon", "--dialect", dialect, "--abi", ABIS[arch]),
        *("--port", str(port), "--shell", str(paths["shell"]), "--busybox", str(paths["busybox"])),
        *qemu,
    ]


def _check_namespaces() -> None:
    if shutil.which("unshare") is None:
        raise Unavailable("emulated phones need unshare, of the package util-linux")
    tried = subprocess.run([*NAMESPACES, *SHELL_USER, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise Unavailable(
            f"the kernel refuses user namespaces ({tried.stderr.strip()}). "
            "In a container, allow unshare and mount "
            "(docker: --security-opt seccomp=unconfined --security-opt systempaths=unconfined); "
            "on Ubuntu, set kernel.apparmor_restrict_unprivileged_userns to 0"
        )


def _reach(process: subprocess.Popen[bytes], folder: Path, adb: AdbServer, log: Path) -> Phone:
    assert process.stdout is not None
    said = json.loads(process.stdout.readline() or "{}")
    if "unavailable" in said:
        raise Unavailable(said["unavailable"])
    if "port" not in said:
        raise RuntimeError(f"the emulated phone did not start:\n{log.read_text()}")
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(START_TIMEOUT_S)
    control.connect(str(folder / "control"))
    return Phone(adb, said["port"], control)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
