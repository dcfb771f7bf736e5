"""Services that run something: commands with their pipes, and ports on the phone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
from asyncio.streams import FlowControlMixin
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adbd import Phone, Stream

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
FRAME = struct.Struct("<BI")
CHUNK_BYTES = 65536
SHELL = "/system/bin/sh"


class Command:
    """A command of the phone: its status once it has ended, as waitpid says it, and its pipes."""

    def __init__(self, pid: int, status: asyncio.Future[int], stdin: asyncio.StreamWriter) -> None:
        self._pid = pid
        self.status = status
        self.stdin = stdin
        self.outputs: list[asyncio.StreamReader] = []
        self._transports: list[asyncio.BaseTransport] = [stdin.transport]

    @classmethod
    async def start(cls, phone: Phone, command: str, *, apart: bool) -> Command:
        """Starts it in a session of its own; with `apart`, stderr has a pipe of its own."""
        stdin, to_stdin = os.pipe2(os.O_CLOEXEC)
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2 if apart else 1)]
        pid = os.posix_spawn(  # noqa: ASYNC221 - it starts the command and waits for nothing
            SHELL,
            ["sh", *(["-c", command] if command else [])],
            phone.environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, pipes[0][1], 1),
                (os.POSIX_SPAWN_DUP2, pipes[-1][1], 2),
            ],
            setsid=True,
            # Python ignores these two; a program of the phone must not inherit that.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
        # At once: a command may end, and be waited for, before anything else here has its turn.
        status = phone.status_of(pid)
        for end in (stdin, *(pipe[1] for pipe in pipes)):
            os.close(end)
        loop = asyncio.get_running_loop()
        into, flow = await loop.connect_write_pipe(FlowControlMixin, os.fdopen(to_stdin, "wb", 0))
        started = cls(pid, status, asyncio.StreamWriter(into, flow, None, loop))
        for end, _ in pipes:
            reader, transport = await _reader(end)
            started.outputs.append(reader)
            started._transports.append(transport)
        return started

    def hang_up(self) -> None:
        """What adbd does to the shell of a command whose client is gone; what that started is not told."""
        if not self.status.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGHUP)

    def let_go(self) -> None:
        """Closes our ends of its pipes. The command may live on."""
        for transport in self._transports:
            transport.close()


async def _reader(end: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(end, "rb", 0)
    )
    return reader, transport


async def serve_shell(stream: Stream, command: str, *, framed: bool) -> None:
    """Runs a command; with `framed` (shell_v2) its stdout, stderr and status travel apart.

    As on a phone, a client that goes away takes the pipes with it, and with shell_v2 the command's shell gets
    SIGHUP (AOSP, adb/daemon/shell_service.cpp). mksh, which is Android's shell too, passes it on to what runs
    in its foreground; what it started in the background lives on.
    """
    phone = stream.phone
    await asyncio.sleep(phone.state.shell_delay_s)
    started = await Command.start(phone, command, apart=framed)
    kinds = (STDOUT, STDERR) if framed else (None,)
    pumps = [
        asyncio.ensure_future(_pump(stream, output, kind))
        for output, kind in zip(started.outputs, kinds, strict=True)
    ]
    feeder = asyncio.ensure_future(_feed(stream, started.stdin, framed=framed))
    gone = asyncio.ensure_future(stream.gone.wait())
    finished: asyncio.Future[list[BaseException | None]] = asyncio.gather(*pumps, return_exceptions=True)
    try:
        either: list[asyncio.Future[Any]] = [gone, finished]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, feeder, *pumps):
            task.cancel()
        await asyncio.gather(gone, feeder, *pumps, return_exceptions=True)
        if framed and stream.gone.is_set():
            started.hang_up()
        started.let_go()
    if framed and not stream.gone.is_set():
        status = os.waitstatus_to_exitcode(await started.status)
        await stream.write(FRAME.pack(EXIT, 1) + bytes([status if status >= 0 else 128 - status]))


async def _pump(stream: Stream, output: asyncio.StreamReader, kind: int | None) -> None:
    """Carries what a command prints to the client, until the last holder of the pipe closes it."""
    state = stream.phone.state
    while data := await output.read(CHUNK_BYTES):
        limit = state.cut_shell_after_bytes if kind != STDERR else None
        if limit is not None:
            data = data[:limit]
            state.cut_shell_after_bytes = limit - len(data)
        await stream.write(data if kind is None else FRAME.pack(kind, len(data)) + data)
        if limit == len(data):
            state.cut_shell_after_bytes = None
            await stream.close()


async def _feed(stream: Stream, stdin: asyncio.StreamWriter, *, framed: bool) -> None:
    """Carries the client's input to a command; a command that reads none of it is no error."""
    kind = STDIN
    with contextlib.suppress(ConnectionError):
        while True:
            if framed:
                kind, length = FRAME.unpack(await stream.read(FRAME.size))
                data = await stream.read(length)
            elif not (data := await stream.read_some()):
                return
            if kind == CLOSE_STDIN:
                stdin.close()
            elif kind == STDIN:
                stdin.write(data)
                await stdin.drain()


async def serve_port(stream: Stream, port: str) -> None:
    """Joins the stream to a port of the phone, as `adb forward` asks."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    except (OSError, ValueError):
        return
    await stream.accept()

    async def up() -> None:
        while data := await stream.read_some():
            writer.write(data)
            await writer.drain()
        writer.close()

    feeder = asyncio.ensure_future(up())
    try:
        while data := await reader.read(CHUNK_BYTES):
            await stream.write(data)
    finally:
        feeder.cancel()
        writer.close()
