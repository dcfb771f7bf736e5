"""A run's folder: its records, and `run.json`, which says what was asked for and whether it is finished."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from swapbench import repository, store
from swapbench.errors import UserError
from swapbench.files import content_of, only_one, write_atomically
from swapbench.history import MeasuredAt, said_by_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.bench.setup import Setup

LOCK: Final = ".lock"
"""Beside run.json, for as long as a process writes to the run; see `only_writer`."""


def description(models: Sequence[ModelUnderTest], setup: Setup) -> dict[str, Any]:
    """What makes two runs the same: the files by content and shapes, the plan, the device and the data."""
    shapes = {model.record_id: model.graph.set_shapes for model in models if model.graph.set_shapes}
    return {
        "artifacts": sorted(f"{model.record_id} {model.sha256}" for model in models),
        "plan": setup.plan.model_dump(mode="json"),
        "device": setup.device.name,
        "data": setup.evaluation.digest if setup.evaluation else None,
        **({"setup": dict(setup.settings)} if setup.settings else {}),
        **({"shapes": shapes} if shapes else {}),
    }


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a run's folder, which is created if missing; see `only_one`.

    Raises:
        UserError: another living process has it.
        EnvironmentFailed: the folder cannot be written.
    """

    def refusal(owner: str) -> UserError:
        return UserError(
            f"the run {folder.name} is being written by another process{owner}",
            remedy="Wait until it ends, or give this run another --name",
        )

    with only_one(folder / LOCK, refusal):
        yield


def is_being_written(folder: Path) -> bool:
    """Whether a living process writes to a run's folder."""
    if not (folder / LOCK).is_file():
        return False
    try:
        with only_writer(folder):
            return False
    except UserError:
        return True


def write_about(folder: Path, about: dict[str, Any], *, finished: bool) -> None:
    """Write `run.json`.

    Args:
        folder: the run's folder.
        about: the run's description and when it began.
        finished: whether every model has its record.
    """
    write_atomically(folder / "run.json", store.dumps({**about, "finished": finished}) + "\n")


def measured_at(folder: Path) -> dict[str, Any]:
    """The commit of the working folder's repository, for `run.json`, where there is one.

    Nothing where records of an interrupted run were made at another one.
    """
    here = Path.cwd()
    head = repository.commit(here)
    if head is None:
        return {}
    at = MeasuredAt(commit=head.name, time=head.time, changed=repository.is_changed(here))
    before = read_about(folder)
    if before is not None and record_ids(folder) and said_by_run(before) != at:
        return {}
    return {"measured_at": at.model_dump(mode="json")}


def read_about(folder: Path) -> dict[str, Any] | None:
    """The content of `run.json`, or None where there is none that can be read."""
    try:
        about = json.loads(content_of(folder / "run.json"))
    except (OSError, ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) and {"description", "finished"} <= about.keys() else None


def write_reported(folder: Path) -> None:
    """Note that the report is complete and was shown: until then, the same command goes on with the run."""
    about = read_about(folder)
    if about is not None:
        write_atomically(folder / "run.json", store.dumps({**about, "reported": True}) + "\n")


def unfinished(folder: Path, wanted: dict[str, Any]) -> bool:
    """True where `folder` holds a run of the description `wanted` that lacks a record or its report."""
    about = read_about(folder)
    if about is None or about["description"] != wanted:
        return False
    return not (about["finished"] and about.get("reported", True))


def record_ids(folder: Path) -> set[str]:
    """The ids of the records that a run has so far."""
    return {path.stem for path in (folder / "records").glob("*.json")}
