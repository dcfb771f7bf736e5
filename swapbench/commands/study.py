"""What `swapbench train study.toml` does: the trainings of a study that are missing, and the table of all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import doctor
from swapbench.cards import read_card
from swapbench.commands.study_table import trainings
from swapbench.errors import BadCard, UserError
from swapbench.files import only_one, write_atomically
from swapbench.records.values import plain_file_name
from swapbench.study import engine, results
from swapbench.study.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.catalog import Folders
    from swapbench.commands.study_table import Study, Training
    from swapbench.ports import Progress, Say
    from swapbench.study.engine import Now
    from swapbench.study.executor import Executor


@dataclass(frozen=True)
class Planned:
    """A study whose names and options are found to be good.

    Attributes:
        study: the table.
        trainings: all of them.
        folder: of their files and of the table of results.
    """

    study: Study
    trainings: tuple[Training, ...]
    folder: Path


@dataclass(frozen=True)
class StudyResult:
    """What a study came to, and the files that say so."""

    now: Now
    results: tuple[Result, ...]
    files: tuple[Path, ...]


def plan(folders: Folders, study: Study, out: Path | None) -> Planned:
    """The trainings of a study, in a folder or in studies/<name>.

    Raises:
        MissingPackage: PyTorch is not installed.
        UnknownName: A recipe, method, schedule or teacher is not known.
        UserError: The study contradicts itself.
    """
    doctor.require("train", "training")
    folder = Path(os.path.relpath(out or folders.root / "studies" / plain_file_name(study.name)))
    every = trainings(study, folders, folder)
    engine.check([training.job for training in every])
    return Planned(study, every, folder)


def make_data(folders: Folders, planned: Planned, progress: Progress, say: Say) -> None:
    """Open the data once before many processes do: simulated ones are made, and mistakes are found."""
    from swapbench.commands.data import folds

    study = planned.study
    told: set[str] = set()

    def say_once(line: str, /) -> None:
        if line not in told:
            told.add(line)
            say(line)

    for domain in study.domains or ("",):
        folds(folders, study.data_options(domain), ("train", "dev"), progress=progress, say=say_once)


def run(planned: Planned, executor: Executor, listen: Callable[[Now], None]) -> StudyResult:
    """Do the trainings that are not done yet, and write the table of all.

    Args:
        planned: The study.
        executor: Who does them.
        listen: Hears how all trainings stand.

    Raises:
        UserError: Another process is at this study.
        EnvironmentFailed: Its folder cannot be written.
    """
    study, folder = planned.study, planned.folder

    def refusal(owner: str) -> UserError:
        return UserError(
            f"the study {study.name} is being trained by another process{owner}",
            remedy="Wait until it ends, or give it another --out",
        )

    with only_one(folder / ".lock", refusal):
        now = engine.run([training.job for training in planned.trainings], executor, listen)
        found = tuple(_result(training, now, folder) for training in planned.trainings)
        files = {
            "results.csv": results.as_csv(found),
            "results.md": results.as_markdown(found, study.name, _notes(study, found)),
        }
        for name, text in files.items():
            write_atomically(folder / name, text)
    return StudyResult(now, found, tuple(folder / name for name in files))


def _result(training: Training, now: Now, folder: Path) -> Result:
    state = next(each.state for each in now.jobs if each.job.name == training.job.name)
    values: dict[str, float] = {}
    seconds = None
    if state in {"kept", "done"}:
        try:
            trained = read_card(training.job.card).training
        except BadCard:
            trained = None
        if trained is not None:
            values = {name: value for name, value in trained.dev_results.items() if name != "epoch"}
            seconds = trained.seconds
    card = str(training.job.card.relative_to(folder)) if values else ""
    return Result(training.arm, training.domain, training.seed, state, values, seconds, card)


def _notes(study: Study, found: tuple[Result, ...]) -> list[str]:
    """What the table does not say, and how to get it."""
    notes = []
    if study.data is None and study.data_root is None:
        notes.append("Simulated data: not PAD performance.")
    if any(result.card for result in found):
        notes.append(
            "Errors of the files that ship, on data that were never seen: swapbench run with --models CARD "
            "and the --protocol of its domain."
        )
    return notes
