"""A history: records of many runs, each with the commit that it was measured at, in a folder that only grows.

    history/records/<sha256>.json            a record's file, byte for byte; its name is its digest
    history/runs/<commit>-<digest>.json      one addition: a commit and the digests of its records

Every file is written once, whole, under a name that its own content decides, and none is ever changed. So two
processes can add at the same time, two branches that added different runs merge in git without a conflict,
and adding a run twice changes nothing. An addition counts from the moment that its file in runs/ is there,
which is written last: a killed one has left at most records that nothing names, and the same command
finishes it. What is damaged, or was put there under a wrong name, counts as missing and is told.

A folder of files and not one SQLite file: git merges it, a disk that is shared needs no locks, a person can
read and grep it, and `swapbench report` reads its records as those of any run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - pydantic needs the real types at run time
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, ValidationError

from swapbench import store
from swapbench.errors import BadRecord, SwapbenchError, UserError
from swapbench.files import content_of, write_atomically
from swapbench.records import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
CommitName = Annotated[str, Field(pattern="^[0-9a-f]{7,64}$")]
_LARGEST_ADDITION_BYTES: Final = 16_000_000
_OF_NAME: Final = 16
"""Digits of its digest in the name of an addition."""


class MeasuredAt(Frozen):
    """The state of the sources that some records were measured at.

    Attributes:
        commit: its name.
        time: when it was committed; None where the repository was not at hand.
        changed: whether files differed from it.
    """

    commit: CommitName
    time: datetime | None = None
    changed: bool = False


class Addition(Frozen):
    """The records of one run that were added together.

    Attributes:
        run: its name.
        at: the commit.
        records: digests of their files, sorted.
    """

    kind: Literal["swapbench.history"] = "swapbench.history"
    version: Literal[1] = 1
    run: str
    at: MeasuredAt
    records: tuple[Digest, ...] = Field(min_length=1)


@dataclass(frozen=True)
class History:
    """What a history's folder holds.

    Attributes:
        folder: where it lies.
        additions: by their file names.
        damaged: what is not as it was written, in words.
    """

    folder: Path
    additions: tuple[Addition, ...]
    damaged: tuple[str, ...] = ()

    @property
    def measured_at(self) -> dict[str, MeasuredAt]:
        """Digest of a record -> its commit; of a record that was added twice, the first of both."""
        found: dict[str, MeasuredAt] = {}
        for addition in self.additions:
            for digest in addition.records:
                found.setdefault(digest, addition.at)
        return found


@dataclass(frozen=True)
class Added:
    """What came of adding a run.

    Attributes:
        new: how many records.
        known: how many were in the history before.
        elsewhere: names of other commits that known ones were added at.
        failures: records that could not be read, each with its error.
    """

    new: int
    known: int
    elsewhere: tuple[str, ...] = ()
    failures: tuple[tuple[str, SwapbenchError], ...] = field(default=())


def add(folder: Path, run: Path, at: MeasuredAt) -> Added:
    """Add the records of a run that are not in the history yet.

    Args:
        folder: of the history, which is made if missing.
        run: the run's folder.
        at: what its records were measured at.

    Raises:
        BadRecord: the run has no records.
        EnvironmentFailed: the history cannot be written.
    """
    paths = sorted((run / "records").glob("*.json"))
    if not paths:
        raise BadRecord(f"{run} holds no records", remedy="Make some with: swapbench run")
    contents: dict[str, bytes] = {}
    failures: list[tuple[str, SwapbenchError]] = []
    for path in paths:
        try:
            store.load(path)
            content = content_of(path)
        except BadRecord as error:
            failures.append((path.name, error))
        else:
            contents[hashlib.sha256(content).hexdigest()] = content
    known = read(folder).measured_at
    new = sorted(contents.keys() - known.keys())
    for digest, content in contents.items():  # one that was lost since is put back
        path = folder / "records" / f"{digest}.json"
        if not _is_whole(path, digest):
            write_atomically(path, content)
    if new:
        addition = Addition(run=run.resolve().name, at=at, records=tuple(new))
        text = store.dumps(addition.model_dump(mode="json")) + "\n"
        write_atomically(folder / "runs" / _file_name(at, text.encode()), text)
    others = {known[digest].commit for digest in contents.keys() & known.keys()} - {at.commit}
    return Added(len(new), len(contents) - len(new), tuple(sorted(others)), tuple(failures))


def _file_name(at: MeasuredAt, content: bytes) -> str:
    return f"{at.commit[:10]}-{hashlib.sha256(content).hexdigest()[:_OF_NAME]}.json"


def _is_whole(path: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(content_of(path)).hexdigest() == digest
    except OSError:
        return False


def read(folder: Path) -> History:
    """The additions of a history, in the order of their files' names; none where there is no folder.

    What is damaged is told in `History.damaged` and costs itself alone.
    """
    additions: list[Addition] = []
    damaged: list[str] = []
    for path in sorted((folder / "runs").glob("*.json")):
        try:
            content = content_of(path, _LARGEST_ADDITION_BYTES)
            addition = Addition.model_validate_json(content)
        except (OSError, ValidationError, RecursionError) as error:
            damaged.append(f"{path} is no addition to a history ({_reason(error)})")
            continue
        if path.name == _file_name(addition.at, content):
            additions.append(addition)
        else:
            damaged.append(f"{path} is not as it was written")
    return History(folder, tuple(additions), tuple(damaged))


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return str(getattr(error, "strerror", None) or error)


def existing(folder: Path) -> History:
    """The history in a folder.

    Raises:
        UserError: there is none.
    """
    if not (folder / "runs").is_dir():
        raise UserError(
            f"there is no history in {folder}", remedy="Begin one with: swapbench history add reports/RUN"
        )
    return read(folder)


def said_by_run(about: Mapping[str, object] | None) -> MeasuredAt | None:
    """What a run's own `run.json` says that it was measured at; None where it does not say."""
    said = None if about is None else about.get("measured_at")
    try:
        return None if said is None else MeasuredAt.model_validate_json(json.dumps(said))
    except (ValidationError, TypeError, ValueError):
        return None
