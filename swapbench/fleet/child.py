"""A `swapbench` command that a host runs for others, in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swapbench.environment import CHILD
from swapbench.study.executor import HowFar, read_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATIENCE_S: Final = 10.0
"""How long a command that is told to end may take before it is killed."""
_MOST_LINES: Final = 400
_MOST_PRINTED: Final = 16 << 20
_LINE_BYTES: Final = 1 << 20


@dataclass
class Child:
    """One command: what it tells is heard while it runs.

    Attributes:
        far: How far it last said it is.
        error: The last error that it told.
        said: Its last lines.
    """

    far: HowFar = field(default_factory=HowFar)
    error: str = ""
    said: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))
    _process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None

    async def start(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """Start `swapbench` with these words; it ends when this process does."""
        printed = folder / ".printed"
        with printed.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "swapbench", *words),
                cwd=folder,
                env={**os.environ, CHILD: "1", "CI": "true", **environment},
                stdin=asyncio.subprocess.PIPE,
                stdout=out.fileno(),
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=_LINE_BYTES,
            )
        self._reader = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # longer than any line of ours
                continue
            if not line:
                return
            far = read_progress(line)
            if far is not None:
                self.far = far
                continue
            text = line.decode(errors="replace").rstrip("\n")
            self.said.append(text)
            if text.startswith("error: "):
                self.error = text.removeprefix("error: ")

    async def ended(self, within_s: float) -> int | None:
        """The exit status, as soon as it ends; None where it runs on after this time."""
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), within_s)
        return self._process.returncode

    async def end(self) -> int:
        """End it, gently first; returns its exit status."""
        process = self._process
        assert process is not None
        if process.returncode is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), PATIENCE_S)
                if process.returncode is not None:
                    break
        if self._reader is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reader, PATIENCE_S)
        if process.stdin is not None:
            process.stdin.close()
        return -signal.SIGKILL if process.returncode is None else process.returncode


def printed(folder: Path) -> str:
    """What a command that has ended printed."""
    with (folder / ".printed").open("rb") as file:
        return file.read(_MOST_PRINTED).decode(errors="replace")
