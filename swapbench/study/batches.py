"""The structures of a search, judged in batches by whoever does the trainings of a study.

A batch is a job of one core, and there are as many batches as cores. One that was lost with its process is
done again; what a search found does not depend on how often, or in how many batches.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swapbench import interrupts
from swapbench.files import private_folder
from swapbench.study.engine import failure
from swapbench.study.jobs import Job
from swapbench.workshop.prune.judging import read_answer, write_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from swapbench.study.executor import Executor, Running
    from swapbench.workshop.prune.search import Judged, Judges
    from swapbench.workshop.prune.widths import Genes

_POLL_S: Final = 0.2
_TRIES: Final = 3
"""A batch that is lost so often fails: it may need more memory than there is."""


@dataclass(frozen=True)
class _Batch:
    """A part of a generation, and the job that judges it."""

    job: Job
    answer: Path
    structures: int


@dataclass
class Batches:
    """See workshop.prune.search.Elsewhere.

    Attributes:
        executor: Who judges.
        sleep: For tests.
    """

    executor: Executor
    sleep: Callable[[float], None] = time.sleep
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def at_once(self) -> int:
        """How many structures are judged at the same time."""
        return self.executor.cores

    @contextlib.contextmanager
    def judges(self, folder: Path, save: Callable[[Path], None]) -> Iterator[Judges]:
        """See Elsewhere.judges; the fitness is written when the first structure is to be judged.

        Raises:
            EnvironmentFailed: The folder cannot be written, or a batch was lost several times.
            SwapbenchError: Of the class that the exit status of a batch stands for.
        """
        folder = Path(os.path.relpath(folder))  # a host has it below a working folder of its own
        shutil.rmtree(folder, ignore_errors=True)
        fitness = folder / "fitness.safetensors"

        def judged(structures: Sequence[Genes]) -> Generator[tuple[Judged, float]]:
            if not fitness.is_file():
                save(private_folder(folder) / fitness.name)
            return self._judged(fitness, structures)

        try:
            yield judged
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _judged(self, fitness: Path, structures: Sequence[Genes]) -> Generator[tuple[Judged, float]]:
        size = -(-len(structures) // self.at_once)
        batches = [
            self._batch(fitness, structures[first : first + size])
            for first in range(0, len(structures), size)
        ]
        running: dict[Path, tuple[Running, int]] = {}
        try:
            for batch in batches:
                running[batch.answer] = (self.executor.start(batch.job), 1)
            for batch in batches:
                while batch.answer in running:
                    self.sleep(_POLL_S)
                    self._look(batches, running)
                yield from read_answer(batch.answer, batch.structures)
        finally:
            for one, _ in running.values():
                one.end()

    def _batch(self, fitness: Path, structures: Sequence[Genes]) -> _Batch:
        folder, stem = fitness.parent, f"batch-{next(self._numbers)}"
        batch, answer = folder / f"{stem}.json", folder / f"{stem}.answer.json"
        write_batch(batch, structures)
        job = Job(
            name=f"{len(structures)} structures of a search ({stem})",
            group="judging",
            key=f"{stem}, try 1",
            words=("judge", fitness.as_posix(), batch.as_posix(), answer.as_posix()),
            folder=folder,
            stem=stem,
        )
        return _Batch(job, answer, len(structures))

    def _look(self, batches: Sequence[_Batch], running: dict[Path, tuple[Running, int]]) -> None:
        """See which batches have ended, and begin anew those that were lost."""
        for batch in batches:
            if batch.answer not in running:
                continue
            one, tries = running[batch.answer]
            ended = one.ended()
            if ended is None:
                continue
            del running[batch.answer]
            if ended.status == 0:
                continue
            lost = ended.status < 0 or ended.status == interrupts.STATUS
            if not lost or tries == _TRIES:
                raise failure(batch.job, ended)
            again = replace(batch.job, key=f"{batch.job.stem}, try {tries + 1}")
            running[batch.answer] = (self.executor.start(again), tries + 1)
