"""A training of a study: the command that makes it, and how it is known to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swapbench.kept import keep, kept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        name: what people read; no two of a study share one.
        group: jobs of one group take about the same time.
        key: digest of all that decides what is trained; another key is another training.
        words: of the command, after `swapbench`.
        folder: of its card.
        stem: of the card's file name.
        cores: of the processor that it keeps busy.
        after: names of jobs that must be done before.
        prepare: makes files that must be there before, from those of the jobs before it.
    """

    name: str
    group: str
    key: str
    words: tuple[str, ...]
    folder: Path
    stem: str
    cores: int = 1
    after: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = field(default=None, compare=False)

    @property
    def card(self) -> Path:
        """Where its card will be."""
        return self.folder / f"{self.stem}.toml"

    @property
    def checkpoint(self) -> Path:
        """Where its checkpoint will be."""
        return self.folder / f"{self.stem}.safetensors"

    @property
    def log(self) -> Path:
        """What the training says."""
        return self.folder / f"{self.stem}.log"


def seconds_of_finished(job: Job) -> float | None:
    """How long a job took that was done before; None where its files are not those of one that was."""
    entry = kept(_entry(job))
    if entry is None or entry.get("key") != job.key:
        return None
    seconds = entry.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def keep_finished(job: Job, seconds: float) -> None:
    """Note that a job is done, with the digests of its card and its checkpoint.

    Raises:
        EnvironmentFailed: the note cannot be written.
        FileNotFoundError: the job has left no card or no checkpoint.
    """
    content: dict[str, Any] = {
        "key": job.key,
        "job": job.name,
        "command": ["swapbench", *job.words],
        "seconds": round(seconds, 1),
    }
    keep(_entry(job), content, [job.card, job.checkpoint])


def _entry(job: Job) -> Path:
    return job.folder / f"{job.stem}.finished.json"
