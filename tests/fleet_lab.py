"""A fleet on this machine for tests: a scheduler and hosts as processes of their own, on loopback addresses.

What is started here is ended here, by its process id.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[1]
PATIENCE_S = 300.0


def wait_until(true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Waits until something is true; fails after a while that no machine should need."""
    until_s = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < until_s, f"waited {patience_s:g} s in vain for: {what}"
        time.sleep(0.1)


@dataclass
class Process:
    """A `swapbench` command that was started, and what it said."""

    child: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Kills it, as a lost battery would."""
        self.child.kill()
        self.child.wait()

    def ended(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit status once it has ended."""
        return self.child.wait(patience_s)

    def end(self) -> int:
        """Ends it as Ctrl-C does; its exit status."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
        return self.child.wait()


@dataclass
class Lab:
    """Folders of a scheduler, of hosts and of people below one folder."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[Process] = field(default_factory=list)

    @property
    def join_file(self) -> Path:
        return self.folder / "scheduler" / "fleet.join"

    def start(self, place: str, *words: str) -> Process:
        """Starts `swapbench` with these words in the folder of this name."""
        folder = self.folder / place
        folder.mkdir(exist_ok=True)
        log = folder / f"log{len(self.started)}.txt"
        environment = {**os.environ, "CI": "true", "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY)}
        environment |= {"SWAPBENCH_LEASES": str(self.folder / "leases")} | self.environment
        with log.open("wb") as out:
            child = subprocess.Popen(
                [sys.executable, "-m", "swapbench", *words],
                cwd=folder,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        process = Process(child, log)
        self.started.append(process)
        return process

    def scheduler(self, *words: str, port: int = 0) -> Process:
        """A scheduler that listens; on a port of its own, or the one of an earlier scheduler."""
        process = self.start("scheduler", "fleet", "start", "--listen", f"127.0.0.1:{port}", *words)
        wait_until(lambda: "Scheduler at" in process.said or process.child.poll() is not None, "a scheduler")
        assert process.child.poll() is None, process.said
        return process

    def host(self, name: str, *words: str) -> Process:
        """A host that has joined."""
        process = self.start(name, "fleet", "join", str(self.join_file), "--name", name, *words)
        wait_until(lambda: "Joined" in process.said or process.child.poll() is not None, f"host {name}")
        assert process.child.poll() is None, process.said
        return process

    def run(self, *words: str) -> Process:
        """A run that a person begins."""
        return self.start("person", "run", "--fleet", str(self.join_file), *words)


@contextlib.contextmanager
def lab(folder: Path, **environment: str) -> Iterator[Lab]:
    """A lab whose processes end with the block."""
    made = Lab(folder, environment)
    try:
        yield made
    finally:
        for process in reversed(made.started):
            process.end()
