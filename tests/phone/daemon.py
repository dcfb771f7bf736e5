"""The phone's first process: adbd, the fuel gauge, Android's programs and the switches, in one loop.

Started in fresh namespaces by `lifecycle`, without site-packages. Prints one line of JSON when the phone can
be reached, or says why there is none; ends when its standard input closes, and every process of the phone
ends with it.

The control socket takes one JSON object a line and answers each with one:

    {"do": "set", "switches": {...}}      turn switches of `State`
    {"do": "reset"}                       healthy again, nothing running, nothing on the disk
    {"do": "restart"}                     the system starts again: nothing running, the disk as it was
    {"do": "state"}                       all switches
    {"do": "truth"}                       energy and CPU time since start, now and at the gauge's last step
    {"do": "processes"}                   what runs on the phone
    {"do": "kill", "match": "text", "signal": 9}
    {"do": "plan", "command": "text", "after_s": 0.5, "then": {...}}
        a request to be done so long after a service whose name holds the text is next opened (null: now)
"""

# ruff: noqa: T201 - what starts us reads our standard output
from __future__ import annotations

import argparse
import asyncio
import contextlib
import encodings.idna  # noqa: F401 - looked up by asyncio when it is too late: after the change of root
import json
import os
import shutil
import signal
import socket
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .adbd import Connection
from .dialects import DIALECTS, Dialect
from .gauge import STEP_S, Gauge
from .nodes import Tree, cpuinfo, stat, sysfs
from .programs import View, answer, properties
from .recorded import CORES, Recorded, read_recorded
from .root import ASK, BOOT_ID, Refused, enter, find_toybox, forbid_programs_on_data, limit_data
from .state import State

ENVIRONMENT = {
    "PATH": "/product/bin:/apex/com.android.runtime/bin:/system/bin:/vendor/bin",
    "HOME": "/",
    "SHELL": "/system/bin/sh",
    "USER": "shell",
    "LOGNAME": "shell",
    "TMPDIR": "/data/local/tmp",
    "ANDROID_ROOT": "/system",
    "ANDROID_DATA": "/data",
    "TERM": "dumb",
    "HOSTNAME": "emulated",
}
QEMU_CPU = "cortex-a76"


class Daemon:
    """The phone behind every connection."""

    def __init__(
        self,
        dialect: Dialect,
        abi: str,
        environment: dict[str, str],
        port: int,
        recorded: Recorded | None = None,
    ) -> None:
        self.state = State()
        self._recorded = recorded
        self.environment = environment
        self.port = port
        self._dialect, self._abi = dialect, abi
        self._cpus = sorted(os.sched_getaffinity(0))
        self._gauge = Gauge(dialect.rails, self.state.level_percent)
        self._tree = Tree(Path("/sys/.new"))
        self._applied = State()
        self._applying = asyncio.Lock()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._plans: list[dict[str, Any]] = []
        self._resets = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._asked = bytearray()
        self._started_s = int(time.time())
        self._stat = os.open("/proc/stat", os.O_WRONLY)
        self._boot_id = os.open(BOOT_ID, os.O_WRONLY)

    # What a connection asks of the phone

    def banner(self) -> str:
        """The properties that the phone introduces itself with."""
        known = properties(self._view())
        names = ("ro.product.name", "ro.product.model", "ro.product.device")
        return "".join(f"{name}={known[name]};" for name in names)

    def opened(self, service: str) -> None:
        """Starts the plans that waited for this service."""
        for plan in [plan for plan in self._plans if plan["command"] in service]:
            self._plans.remove(plan)
            self._later(self._carry_out(plan))

    def pull_cable(self) -> None:
        """The link is cut, now."""
        self.state.change({"cable": False})
        self._cut_all()
        self._later(self._apply())

    def status_of(self, pid: int) -> asyncio.Future[int]:
        """How a child will have ended, as waitpid says it."""
        return self._ended.setdefault(pid, asyncio.get_running_loop().create_future())

    # The loop

    async def run(self, control: asyncio.Server) -> None:
        """Serves until standard input closes."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        asked = os.open(ASK, os.O_RDWR | os.O_NONBLOCK)
        loop.add_reader(asked, self._take_question, asked)
        self._refresh()
        await self._listen()
        await control.start_serving()
        print(json.dumps({"port": self.port}), flush=True)
        self._later(self._step_for_ever())
        closed = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(0, 4096) else closed.set())
        await closed.wait()
        # Not by way of a tidy end: as the first process, our end is that of all others.
        os._exit(0)

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reap(self) -> None:
        """Waits for children, and for orphans of the phone, which the first process inherits."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                waiting = self._ended.pop(pid, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(status)

    async def _step_for_ever(self) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            self._gauge.step(charges=self.state.charges)
            self._refresh()

    # State and what follows from it

    def _view(self) -> View:
        reading = self._gauge.reading(
            charges=self.state.charges,
            charge_quantum_uah=self.state.charge_quantum_uah or self._dialect.charge_quantum_uah,
        )
        return View(self.state, self._dialect, reading, self._abi, self._recorded)

    def _refresh(self) -> None:
        files = sysfs(self.state, self._dialect, self._view().reading, self._cpus)
        if self._recorded is not None:
            cores = {path: text for path, text in files.items() if path.startswith(CORES)}
            files = {**cores, **self._recorded.files}
        self._tree.put(files, missing=self.state.missing, unreadable=self.state.unreadable)
        truth = self._gauge.truth()
        text = stat(self._cpus, truth["seconds"], truth["cpu_s"], self._started_s)
        os.pwrite(self._stat, text.encode(), 0)

    async def _apply(self) -> None:
        """Makes the phone what the switches say."""
        async with self._applying:
            wanted, before = self.state, self._applied
            self._applied = State(**asdict(wanted))
            if wanted.level_percent != before.level_percent:
                self._gauge.set_level(wanted.level_percent)
            if wanted.charges != before.charges:
                # A step of its own, so that no step mixes charging with discharging.
                self._gauge.step(charges=before.charges)
            if wanted.disk_free_bytes != before.disk_free_bytes:
                limit_data(wanted.disk_free_bytes)
            if wanted.noexec != before.noexec:
                forbid_programs_on_data(forbidden=wanted.noexec)
            if wanted.adbd_restarts_on_unplug and before.cable > wanted.cable:
                await _end_everything()  # before a program can see that the cable is out
            self._refresh()
            if before.answering > wanted.answering or before.authorised > wanted.authorised:
                self._cut_all()
            if wanted.authorised and not before.authorised:
                for connection in self._connections:
                    await connection.greet()
            if wanted.cable and self._server is None:
                await self._listen()
            elif not wanted.cable and self._server is not None:
                self._server.close()
                self._server = None
                self._cut_all()

    async def _listen(self) -> None:
        listening = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = listening.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=1 << 22)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    def _cut_all(self) -> None:
        for connection in self._connections:
            connection.cut()

    # Android's programs

    def _take_question(self, asked: int) -> None:
        self._asked += os.read(asked, 65536)
        while b"\n" in self._asked:
            line, _, self._asked = self._asked.partition(b"\n")
            pid, name, *words = line.decode("utf-8", "surrogateescape").split("\x1f")
            self._later(self._answer_program(int(pid), name, [] if words == [""] else words))

    async def _answer_program(self, pid: int, name: str, words: list[str]) -> None:
        told = answer(name, words, self._view())
        await self._apply()
        text = f"{told.status} {2 if told.stderr else 1}\n{told.text}".encode("utf-8", "surrogateescape")
        reply = ASK.parent / f"reply.{pid}"
        # The asker opens its end after it asked, on a busy machine much later; one that was killed in
        # between never does.
        while _lives(pid):
            try:
                pipe = os.open(reply, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                await asyncio.sleep(0.001)
                continue
            with contextlib.suppress(BrokenPipeError):
                os.write(pipe, text)
            os.close(pipe)
            return

    # Control

    async def serve_control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers requests of one controller, a JSON object a line."""
        while line := await reader.readline():
            try:
                reply = await self._do(json.loads(line))
            except (ValueError, KeyError, TypeError, OSError, Refused) as error:
                reply = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(reply).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        writer.close()

    async def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "set":
                self.state.change(request["switches"])
                await self._apply()
            case "reset":
                await self._reset()
            case "restart":
                self._cut_all()
                await _end_everything()
                os.pwrite(self._boot_id, f"{uuid.uuid4()}\n".encode(), 0)
            case "state":
                return asdict(self.state)
            case "truth":
                return {**self._gauge.truth(), "rails_uj": self._gauge.rail_truth_uj()}
            case "processes":
                return {"processes": [{"pid": pid, "command": command} for pid, command in processes()]}
            case "kill":
                hit = [pid for pid, command in processes() if request["match"] in command]
                for pid in hit:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, request["signal"])
                return {"killed": hit}
            case "plan":
                request["for"] = self._resets
                if request["command"] is None:
                    self._later(self._carry_out(request))
                else:
                    self._plans.append(request)
            case other:
                raise ValueError(f"there is no request named {other!r}")
        return {}

    async def _carry_out(self, plan: dict[str, Any]) -> None:
        await asyncio.sleep(plan["after_s"])
        done = await self._do(plan["then"])
        # What is to be killed may not have come that far yet; a phone that was reset meanwhile is none of
        # this plan's.
        while plan["then"]["do"] == "kill" and not done["killed"] and plan["for"] == self._resets:
            await asyncio.sleep(0.005)
            done = await self._do(plan["then"])

    async def _reset(self) -> None:
        self._plans.clear()
        self._resets += 1
        await _end_everything()
        for folder in (Path("/data/local/tmp"), Path("/data/misc/perfetto-traces"), Path("/sdcard")):
            for entry in folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        self.state.reset()
        self._gauge.set_level(self.state.level_percent)
        await self._apply()


async def _end_everything() -> None:
    """No program of the phone runs on."""
    while running := processes():
        for pid, _ in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.002)


def _lives(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


def processes() -> list[tuple[int, str]]:
    """Process ids and command lines of what runs on the phone, the daemon apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if any(words):  # one that has ended and waits to be waited for has none
                found.append((int(entry.name), b" ".join(words).decode("utf-8", "replace").strip()))
    return found


async def _run(options: argparse.Namespace) -> None:
    dialect = DIALECTS[options.dialect]
    environment = dict(ENVIRONMENT)
    if options.qemu:
        environment["QEMU_CPU"] = QEMU_CPU
    servant: list[Daemon] = []

    async def control_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await servant[0].serve_control(reader, writer)

    recorded = read_recorded(options.report) if options.report else None
    # A path of the machine: it must be bound before the change of root.
    control = await asyncio.start_unix_server(control_client, options.control, start_serving=False)
    enter(
        options.root,
        options.shell,
        options.busybox,
        cpuinfo=cpuinfo(dialect, sorted(os.sched_getaffinity(0))) if options.abi == "arm64-v8a" else None,
        qemu=options.qemu,
        toybox=find_toybox(options.toybox) if options.toybox else None,
    )
    daemon = Daemon(dialect, options.abi, environment, options.port, recorded)
    servant.append(daemon)
    await daemon.run(control)


def main() -> None:
    """Makes the phone around this process."""
    parser = argparse.ArgumentParser(
        description="The first process of an emulated phone; started by lifecycle.py."
    )
    parser.add_argument("--dialect", choices=sorted(DIALECTS), required=True)
    parser.add_argument("--abi", choices=("x86_64", "arm64-v8a"), required=True)
    parser.add_argument("--port", type=int, default=0)
    for name in ("--root", "--control", "--shell", "--busybox"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--qemu", type=Path)
    parser.add_argument("--toybox", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    try:
        asyncio.run(_run(options))
    except Refused as error:
        print(json.dumps({"unavailable": str(error)}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
