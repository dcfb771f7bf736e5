"""Who does the trainings: a place with so many cores that starts a job and can be asked how far it is.

Local processes are one such place. Another, such as a fleet of hosts, is another `Executor`; the engine does
not know which it has.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from swapbench.environment import CHILD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import IO

    from swapbench.study.jobs import Job

_PATIENCE_S: Final = 10.0
"""How long a training that is told to end may take before it is killed."""


@dataclass(frozen=True)
class HowFar:
    """Progress of a running job, as it last said; `total` is 0 where it said nothing yet."""

    stage: str = ""
    done: float = 0.0
    total: float = 0.0

    @property
    def share(self) -> float:
        """Of its stage, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


@dataclass(frozen=True)
class Ended:
    """A job that ended.

    Attributes:
        status: exit status; 0 is success, and minus a signal's number where that ended it.
        error: the last error that it told, "" for none.
    """

    status: int
    error: str = ""


class Running(Protocol):
    """A job that was started."""

    def how_far(self) -> HowFar:
        """What it last said of its progress."""

    def ended(self) -> Ended | None:
        """How it ended; None while it runs."""

    def end(self) -> None:
        """End it now, and wait until it is gone."""


class Executor(Protocol):
    """A place where jobs run.

    Attributes:
        cores: that it has for jobs; those of a job are never more.
    """

    cores: int

    def start(self, job: Job) -> Running:
        """Start a job. The engine asks for no more cores at once than there are.

        Raises:
            EnvironmentFailed: it cannot be started.
        """


@dataclass
class LocalProcesses:
    """Processes on this computer, each with as many threads as its job has cores.

    Attributes:
        cores: for all of them together.
        command: what `swapbench` is.
        gpus: numbers of GPUs, as CUDA names them; with any, every job has one for itself.
    """

    cores: int
    command: Sequence[str] = (sys.executable, "-m", "swapbench")
    gpus: Sequence[str] = ()
    _free_gpus: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._free_gpus = list(self.gpus)
        if self.gpus:
            self.cores = min(self.cores, len(self.gpus))

    def start(self, job: Job) -> Running:
        """See Executor.start."""
        gpus = self._free_gpus[:1]
        own = {"OMP_NUM_THREADS": str(job.cores), CHILD: "1"}
        if gpus:
            own["CUDA_VISIBLE_DEVICES"] = gpus[0]
        job.folder.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            started = _Process(
                [*self.command, *job.words],
                {**os.environ, **own},
                log,
                lambda: self._free_gpus.extend(gpus),
            )
        del self._free_gpus[:1]
        return started


class _Process:
    """One child process, which ends when its standard input does: it outlives us in no case."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        log: IO[bytes],
        when_gone: Callable[[], None],
    ) -> None:
        self._child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=log.fileno(),
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for us, who then end the children one by one
        )
        self._log = os.fdopen(os.dup(log.fileno()), "wb")
        self._when_gone: Callable[[], None] | None = when_gone
        self._how_far = HowFar()
        self._error = ""
        assert self._child.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self._child.stderr,), daemon=True)
        self._reader.start()

    def _read(self, lines: Iterable[bytes]) -> None:
        with self._log:
            for line in lines:
                far = read_progress(line)
                if far is not None:
                    self._how_far = far
                    continue
                self._log.write(line)
                self._log.flush()
                if line.startswith(b"error: "):
                    self._error = line.removeprefix(b"error: ").decode(errors="replace").strip()

    def how_far(self) -> HowFar:
        return self._how_far

    def ended(self) -> Ended | None:
        status = self._child.poll()
        if status is None:
            return None
        self._gone()
        return Ended(status, self._error)

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._gone()

    def _gone(self) -> None:
        if self._when_gone is None:
            return
        self._when_gone()
        self._when_gone = None
        self._reader.join(_PATIENCE_S)
        for pipe in (self._child.stdin, self._child.stderr):
            if pipe is not None:
                pipe.close()


def progress_line(stage: str, done: float, total: float) -> str:
    """Progress as a child of ours tells it on standard error, a line each time."""
    return json.dumps({"swapbench_progress": [stage, done, total]})


def read_progress(line: bytes) -> HowFar | None:
    """The progress in a line that `progress_line` made; None for any other line."""
    if not line.startswith(b'{"swapbench_progress": '):
        return None
    try:
        stage, done, total = json.loads(line)["swapbench_progress"]
        return HowFar(str(stage), float(done), float(total))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
