"""A baseline on disk: the model files themselves, because numbers of another day cannot be compared.

It is a folder with the model files, `baseline.json` (digests, sizes and counts of each, machine and plan)
and, where it was made of a run, that run's records in `run/records/`.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime  # noqa: TC003 - pydantic reads annotations at run time
from typing import TYPE_CHECKING, Final, Literal

from pydantic import ValidationError

from swapbench import store
from swapbench.errors import BadModelFile, BadRecord, UserError
from swapbench.files import (
    content_of,
    disk_failure,
    file_sha256,
    files_sha256,
    lock_of,
    only_one,
    scratch_folder,
    write_atomically,
)
from swapbench.modelfile import MODEL_SUFFIXES
from swapbench.modelfile.parts import files_of, model_sha256
from swapbench.records import FileName, Format, Frozen, Machine, Plan, Precision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.modelfile import Shapes
    from swapbench.records import Record

BASELINE_VERSION: Final = 1
INDEX = "baseline.json"
SAVE_AGAIN = "Make it again with: swapbench baseline save"


class BaselineFile(Frozen):
    """A file of a baseline, with what its graph counts."""

    name: FileName
    sha256: str
    file_bytes: int
    params: int
    macs: int
    ops: dict[str, int]
    format: Format
    precision: Precision

    @classmethod
    def of(cls, path: Path, shapes: Shapes) -> BaselineFile:
        """The entry of a model file, counted with these shapes of inputs that it leaves free.

        Raises:
            BadModelFile: No gate could measure it.
        """
        from swapbench.modelfile import read_graph
        from swapbench.modelfile.input_shapes import refuse_unmeasurable

        graph = read_graph(path, shapes)
        refuse_unmeasurable(graph, path.name)
        return cls(
            name=path.name,
            sha256=files_sha256(graph.files),
            file_bytes=graph.file_bytes,
            params=graph.params,
            macs=graph.macs,
            ops=dict(graph.ops),
            format=graph.format,
            precision=graph.precision,
        )


class Baseline(Frozen):
    """The content of `baseline.json`.

    Attributes:
        machine: Where it was saved, or measured if it was made of a run.
        plan: How it was measured; None where it was not, or with several plans.
        run: The run that it was made of, if any.
    """

    baseline_version: Literal[1] = BASELINE_VERSION
    time: datetime
    machine: Machine
    plan: Plan | None
    run: str | None
    files: tuple[BaselineFile, ...]


def write_baseline(target: Path, index: Baseline, paths: Sequence[Path], records: Sequence[Record]) -> None:
    """Write the folder beside `target` and put it there by two renames: it is whole, or as it was before.

    Raises:
        UserError: A file changed while it was copied, or another process writes the baseline.
        EnvironmentFailed: The disk is full.
    """

    def refusal(owner: str) -> UserError:
        return UserError(
            f"the baseline {target} is being written by another process{owner}",
            remedy="Wait until it ends, or name another folder with --out",
        )

    try:
        with (
            only_one(lock_of(target.parent, target.name), refusal),
            scratch_folder(target.parent, target.name) as made,
        ):
            new = made / "new"
            new.mkdir()
            for path, file in zip(paths, index.files, strict=True):
                for part in files_of(path):
                    _copy(part, new / part.name)
                if model_sha256(new / path.name) != file.sha256:
                    raise UserError(f"{path} changed while it was copied", remedy="Save again")
            for record in records:
                store.save(record, new / "run")
            write_atomically(new / INDEX, store.dumps(index.model_dump(mode="json")) + "\n")
            old = made / "old"
            if target.exists():
                target.rename(old)
            try:
                new.rename(target)
            except BaseException:
                if old.exists():
                    old.rename(target)
                raise
    except OSError as error:
        raise disk_failure(error, target) from error


def _copy(part: Path, target: Path) -> None:
    if target.exists() and file_sha256(target) != file_sha256(part):
        raise UserError(
            f"two files of the baseline keep their weights in different files named {part.name}",
            remedy="Save each as one file: onnx.save(onnx.load(path), other_path)",
        )
    shutil.copyfile(part, target)


def load_baseline(folder: Path) -> Baseline:
    """The index of a baseline, after every file was checked against its digest.

    Raises:
        BadRecord: There is none, it is damaged or incomplete, or of a version that is not known here.
    """
    path = folder / INDEX
    try:
        raw = json.loads(content_of(path))
    except FileNotFoundError:
        raise BadRecord(f"there is no baseline in {folder}", remedy=SAVE_AGAIN) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadRecord(f"{path} cannot be read ({error})", remedy=SAVE_AGAIN) from error
    version = raw.get("baseline_version") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise BadRecord(f"{path} has no baseline_version", remedy=SAVE_AGAIN)
    if version != BASELINE_VERSION:
        raise BadRecord(
            f"{path} has baseline version {version}, this swapbench reads {BASELINE_VERSION}",
            remedy="Upgrade with: pip install --upgrade swapbench"
            if version > BASELINE_VERSION
            else SAVE_AGAIN,
        )
    try:
        index = Baseline.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise BadRecord(f"{path} is damaged at {where}: {reason}", remedy=SAVE_AGAIN) from error
    _check(folder, index)
    return index


def _check(folder: Path, index: Baseline) -> None:
    names = {file.name for file in index.files}
    foreign = sorted(
        path.name for path in folder.iterdir() if path.suffix in MODEL_SUFFIXES and path.name not in names
    )
    if foreign:
        raise BadRecord(f"the baseline {folder} does not list its file {foreign[0]}", remedy=SAVE_AGAIN)
    for file in index.files:
        path = folder / file.name
        if not path.is_file():
            raise BadRecord(f"the baseline {folder} lacks its file {file.name}", remedy=SAVE_AGAIN)
        try:
            as_saved = model_sha256(path) == file.sha256
        except BadModelFile as error:
            raise BadRecord(
                f"the baseline {folder} is incomplete: {error.args[0]}", remedy=SAVE_AGAIN
            ) from error
        if not as_saved:
            raise BadRecord(f"{path} is not the file that was saved: its sha256 differs", remedy=SAVE_AGAIN)
