"""The file service of adb: stat, list, push and pull, versions 1 and 2 (stat_v2, ls_v2).

Every request is four letters, a length and a path; numbers are little-endian. Source: SYNC.TXT in AOSP's
packages/modules/adb.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adbd import Stream

REQUEST = struct.Struct("<4sI")
STAT_2 = struct.Struct("<4sIQQIIIIQqqq")
CHUNK_BYTES = 65536
LONGEST_PATH_BYTES = 1024


async def serve_files(stream: Stream) -> None:
    """Answers requests until the client quits."""
    while True:
        name, length = REQUEST.unpack(await stream.read(REQUEST.size))
        if name == b"QUIT":
            return
        if length > LONGEST_PATH_BYTES:
            await _fail(stream, "path too long")
            return
        path = (await stream.read(length)).decode("utf-8", "surrogateescape")
        if name == b"STAT":
            await stream.write(struct.pack("<4sIII", name, *_stat_1(path)))
        elif name in {b"STA2", b"LST2"}:
            await stream.write(_stat_2(name, path, follow=name == b"STA2"))
        elif name in {b"LIST", b"LIS2"}:
            await _list(stream, path, newer=name == b"LIS2")
        elif name == b"SEND":
            await _receive(stream, path)
        elif name == b"RECV":
            await _send(stream, path)
        else:
            await _fail(stream, f"unknown request {name!r}")
            return


async def _fail(stream: Stream, reason: str) -> None:
    text = reason.encode("utf-8", "surrogateescape")
    await stream.write(REQUEST.pack(b"FAIL", len(text)) + text)


def _stat_1(path: str | Path) -> tuple[int, int, int]:
    try:
        found = os.lstat(path)
    except OSError:
        return 0, 0, 0
    return found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime) & 0xFFFFFFFF


def _stat_2(name: bytes, path: str | Path, *, follow: bool) -> bytes:
    try:
        found = Path(path).stat(follow_symlinks=follow)
    except OSError as error:
        return STAT_2.pack(name, error.errno or 0, *(0,) * 10)
    return STAT_2.pack(
        name,
        0,
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_size,
        int(found.st_atime),
        int(found.st_mtime),
        int(found.st_ctime),
    )


async def _list(stream: Stream, path: str, *, newer: bool) -> None:
    try:
        entries = sorted(Path(path).iterdir())  # noqa: ASYNC240 - memory, not a disk
    except OSError:
        entries = []
    for entry in entries:
        label = os.fsencode(entry.name)
        if newer:
            head = _stat_2(b"DNT2", entry, follow=False)
        else:
            head = struct.pack("<4sIII", b"DENT", *_stat_1(entry))
        await stream.write(head + struct.pack("<I", len(label)) + label)
    # The end has the shape of an entry with an empty name.
    await stream.write(b"DONE" + bytes(STAT_2.size if newer else 16))


async def _send(stream: Stream, path: str) -> None:
    try:
        with open(path, "rb") as file:  # noqa: ASYNC230 - memory, not a disk
            while data := file.read(CHUNK_BYTES):
                await stream.write(REQUEST.pack(b"DATA", len(data)) + data)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        await _fail(stream, f"open failed: {error.strerror}")
        return
    await stream.write(REQUEST.pack(b"DONE", 0))


class _Arriving:
    """A file that is being pushed. The first error is kept; the client hears of it at the end."""

    def __init__(self, path: Path, mode: int) -> None:
        self.path, self.mode = path, mode
        self.error = ""
        self._link = bytearray()
        self._file = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or path.is_file():
                path.unlink()
            if not stat.S_ISLNK(mode):
                self._file = path.open("wb", buffering=0)
        except OSError as error:
            self.error = f"couldn't create file: {error.strerror}"

    def add(self, data: bytes) -> None:
        if self.error:
            return
        if self._file is None:
            self._link += data
            return
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = f"write failed: {error.strerror}"

    def finish(self, modified_s: int) -> None:
        """Gives the file its mode and time, or takes the half of it away."""
        self.drop()
        try:
            if self.error and self._file is not None:
                self.path.unlink()
            elif self.error:
                return
            elif self._file is None:
                self.path.symlink_to(os.fsdecode(bytes(self._link).rstrip(b"\0")))
            else:
                # As adbd does it: group and others get the rights of the owner.
                self.path.chmod(self.mode & 0o700 | self.mode >> 3 & 0o070 | self.mode >> 6 & 0o007)
                os.utime(self.path, (modified_s, modified_s))
        except OSError as error:
            self.error = self.error or f"couldn't create file: {error.strerror}"

    def drop(self) -> None:
        """Closes the file as it is: half of it stays where a cable is pulled."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()


async def _receive(stream: Stream, wanted: str) -> None:
    """Takes a pushed file: `PATH,MODE`, then DATA blocks, then DONE with its time."""
    path, _, mode = wanted.rpartition(",")
    arriving = _Arriving(Path(path), int(mode))
    state = stream.phone.state
    got = 0
    try:
        while True:
            name, length = REQUEST.unpack(await stream.read(REQUEST.size))
            if name == b"DONE":
                break
            if name != b"DATA" or length > CHUNK_BYTES:
                await _fail(stream, "invalid data message")
                return
            arriving.add(await stream.read(length))
            got += length
            limit = state.pull_cable_after_push_bytes
            if limit is not None and got >= limit:
                state.pull_cable_after_push_bytes = None
                stream.phone.pull_cable()
                raise ConnectionResetError
    finally:
        arriving.drop()
    arriving.finish(length)
    if arriving.error:
        await _fail(stream, arriving.error)
    else:
        await stream.write(REQUEST.pack(b"OKAY", 0))
