"""The phone's side of the adb transport protocol: connections, streams, shell, exec and forwarded ports.

A message is six little-endian words (command, two arguments, length, checksum, command inverted) and a
payload. Many streams share a connection; each may have one WRTE under way until the other side says OKAY.
Source: the protocol description in AOSP's packages/modules/adb (protocol.txt, SHELL.TXT, SYNC.TXT).
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Protocol

from .shell import serve_port, serve_shell
from .sync import serve_files

if TYPE_CHECKING:
    from .state import State

CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
HEADER = struct.Struct("<6I")
VERSION_WITHOUT_CHECKSUM = 0x01000001
MAX_PAYLOAD_BYTES = 1 << 20
AUTH_TOKEN = 1
FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir,fixed_push_symlink_timestamp"


class Phone(Protocol):
    """What a connection asks of the phone behind it."""

    state: State
    environment: dict[str, str]

    def banner(self) -> str:
        """The properties that the phone introduces itself with."""

    def opened(self, service: str) -> None:
        """Somebody opened a service."""

    def pull_cable(self) -> None:
        """The link is cut, now."""

    def status_of(self, pid: int) -> asyncio.Future[int]:
        """How a child of the daemon will have ended, as waitpid says it."""


class Stream:
    """One stream of a connection, from the phone's side; `gone` once either side has closed it."""

    def __init__(self, connection: Connection, local_id: int, remote_id: int) -> None:
        self.local_id, self.remote_id = local_id, remote_id
        self.gone = asyncio.Event()
        self._connection = connection
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._buffer = bytearray()

    @property
    def phone(self) -> Phone:
        """The phone at this end."""
        return self._connection.phone

    async def accept(self) -> None:
        """Tells the other side that the service is there."""
        await self._connection.send(OKAY, self.local_id, self.remote_id)

    def acknowledged(self) -> None:
        """The other side took what was written."""
        self._may_write.set()

    def arrived(self, payload: bytes) -> None:
        """The other side wrote."""
        self._arrived.put_nowait(payload)

    def ended(self) -> None:
        """The other side closed, or is gone."""
        self.gone.set()
        self._may_write.set()
        self._arrived.put_nowait(b"")

    async def write(self, data: bytes) -> None:
        """Writes all of it; raises ConnectionResetError once the other side has closed."""
        rest = memoryview(data)
        while rest:
            await self._may_write.wait()
            if self.gone.is_set():
                raise ConnectionResetError
            self._may_write.clear()
            part, rest = rest[: self._connection.max_payload], rest[self._connection.max_payload :]
            await self._connection.send(WRTE, self.local_id, self.remote_id, bytes(part))

    async def read_some(self) -> bytes:
        """One payload as it came, or nothing at the end; saying OKAY only now is the flow control."""
        data = await self._arrived.get()
        if data:
            await self._connection.send(OKAY, self.local_id, self.remote_id)
        return data

    async def read(self, count: int) -> bytes:
        """Exactly so many bytes; raises ConnectionResetError where fewer come."""
        while len(self._buffer) < count:
            data = await self.read_some()
            if not data:
                raise ConnectionResetError
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def cut_connection(self) -> None:
        """Breaks the whole connection without a word."""
        self._connection.cut()

    async def close(self) -> None:
        """Closes this side; the other is told unless it closed first."""
        if not self.gone.is_set():
            self.ended()
            await self._connection.send(CLSE, self.local_id, self.remote_id)


class Connection:
    """One adb server that is connected to the phone."""

    def __init__(self, phone: Phone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.phone = phone
        self.max_payload = 4096
        self._reader, self._writer = reader, writer
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_id = 1
        self._sums = True
        self._greeted = False
        self._online = False

    async def serve(self) -> None:
        """Answers until the connection ends."""
        # Small messages go at once, or every command waits 40 ms for the other side's acknowledgement.
        self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                head = await self._reader.readexactly(HEADER.size)
                command, first, second, length, _, inverted = HEADER.unpack(head)
                if inverted != command ^ 0xFFFFFFFF:
                    return
                payload = await self._reader.readexactly(length)
                if self.phone.state.answering:
                    await self._message(command, first, second, payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            for stream in self._streams.values():
                stream.ended()
            self._writer.close()

    def cut(self) -> None:
        """Breaks the connection without a word."""
        self._writer.transport.abort()

    async def send(self, command: int, first: int, second: int, payload: bytes = b"") -> None:
        """Sends one message; older peers and the greeting need the checksum."""
        checksum = sum(payload) & 0xFFFFFFFF if self._sums or command in {CNXN, AUTH} else 0
        self._writer.write(
            HEADER.pack(command, first, second, len(payload), checksum, command ^ 0xFFFFFFFF) + payload
        )
        await self._writer.drain()

    async def greet(self) -> None:
        """Introduces the phone, once the computer is allowed and has introduced itself."""
        if self._greeted and not self._online:
            self._online = True
            text = f"device::{self.phone.banner()}features={FEATURES}"
            await self.send(CNXN, VERSION_WITHOUT_CHECKSUM, MAX_PAYLOAD_BYTES, text.encode())

    async def _message(self, command: int, first: int, second: int, payload: bytes) -> None:
        if command == CNXN:
            self.max_payload = min(second, MAX_PAYLOAD_BYTES)
            self._sums = first < VERSION_WITHOUT_CHECKSUM
            self._greeted = True
            if self.phone.state.authorised:
                await self.greet()
            else:
                await self.send(AUTH, AUTH_TOKEN, 0, os.urandom(20))
        elif command == AUTH and first == 2:
            # A signature by a key that the phone does not know: the next message brings the key, and the
            # person is asked. Nothing more is said until the switch is turned.
            await self.send(AUTH, AUTH_TOKEN, 0, os.urandom(20))
        elif not self._online:
            return
        elif command == OPEN:
            stream = Stream(self, self._next_id, first)
            self._next_id += 1
            self._streams[stream.local_id] = stream
            name = payload.split(b"\0")[0].decode("utf-8", "surrogateescape")
            task = asyncio.ensure_future(self._serve_stream(stream, name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif second in self._streams:
            stream = self._streams[second]
            if command == OKAY:
                stream.acknowledged()
            elif command == WRTE:
                stream.arrived(payload)
            elif command == CLSE:
                if not stream.gone.is_set():
                    await self.send(CLSE, stream.local_id, stream.remote_id)
                stream.ended()

    async def _serve_stream(self, stream: Stream, service: str) -> None:
        """Runs one service, by name as adb gives it: `shell,v2,raw:ls`, `exec:cat x`, `sync:`, `tcp:8000`."""
        kind, _, argument = service.partition(":")
        name, *options = kind.split(",")
        try:
            if name not in {"shell", "exec", "sync", "tcp"}:
                stream.ended()
                await self.send(CLSE, 0, stream.remote_id)
                return
            self.phone.opened(service)
            if name == "tcp":
                await serve_port(stream, argument)
            elif name == "sync":
                await stream.accept()
                await serve_files(stream)
            else:
                await stream.accept()
                await serve_shell(stream, argument, framed="v2" in options)
        except ConnectionError:
            pass
        finally:
            self._streams.pop(stream.local_id, None)
            try:
                await stream.close()
            except ConnectionError:
                pass
