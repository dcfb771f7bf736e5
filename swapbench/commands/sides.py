"""What a comparison is made with: the model files that files, folders, runs and baselines stand for."""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import catalog, store
from swapbench.commands.baseline_folder import INDEX, load_baseline
from swapbench.commands.error_evidence import kept_scores
from swapbench.commands.named_files import models_below
from swapbench.errors import BadModelFile, BadRecord, UserError
from swapbench.modelfile import KINDS
from swapbench.modelfile.parts import model_sha256
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from swapbench.catalog import Folders
    from swapbench.records import Record


class FilesGone(BadRecord):
    """Records whose model files are no longer there, so that they cannot be measured again."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: model files, and records that were measured from some of them.

    Attributes:
        files: Model files.
        records: Of some of them.
        scores: Run and id of a record -> where the scores that it rests on were kept.
    """

    files: tuple[Path, ...]
    records: tuple[Record, ...] = ()
    scores: Mapping[tuple[str, str], Path] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether a record says how often a file errs."""
        return any(not isinstance(record.accuracy, Absent) for record in self.records)

    def named(self, name: str) -> Path:
        """The file of that name; raises UserError where several with different content have it."""
        paths = [path for path in self.files if path.name == name]
        if len(paths) == 1:
            return paths[0]
        digests = {model_sha256(path): path for path in paths}
        if len(digests) > 1:
            raise UserError(
                f"{len(digests)} different files are named {name}: {', '.join(map(str, digests.values()))}",
                remedy="Name the one that you mean",
            )
        return next(iter(digests.values()))


def side(folders: Folders, sources: Sequence[str], role: str) -> Side:
    """The model files that `sources` mean; each is a file, a glob pattern, or a folder.

    A folder is a baseline, a run (its files are looked for in build/, by digest), or holds model files at any
    depth. Several sources in one text are separated by commas. Messages name the `role` of the side.

    Raises:
        UserError: A source does not exist, or holds no model file.
        FilesGone: The files of a run are no longer there.
    """
    files: list[Path] = []
    records: list[Record] = []
    scores: dict[tuple[str, str], Path] = {}
    for source in _separated(sources):
        for path in _expanded(source, role):
            if path.is_file():
                files.append(path)
            elif (path / INDEX).is_file():
                files += [path / model.name for model in load_baseline(path).files]
                records += store.load_run(path / "run") if (path / "run" / "records").is_dir() else ()
            elif (path / "records").is_dir():
                run = [record for record in store.load_run(path) if record.decision is None]  # of files
                files += [_artifact(folders, record, path) for record in run]
                records += run
                scores |= kept_scores(path, run)
            else:
                files += _models_below(path, role)
    if not files:
        raise UserError(f"no {role} was given", remedy=f"Give files or a folder with --{role}")
    return Side(tuple(dict.fromkeys(files)), tuple(records), scores)


def _separated(sources: Sequence[str]) -> Iterator[str]:
    for source in sources:
        yield from (source,) if Path(source).exists() else catalog.split_commas((source,))


def _expanded(source: str, role: str) -> list[Path]:
    path = Path(source)
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(source))  # noqa: PTH207 - the pattern may be absolute
    if not matches:
        raise UserError(
            f"there is no {role} {source}",
            remedy="Make one with: swapbench baseline save" if role == "baseline" else "Check the path",
        )
    return matches


def _models_below(folder: Path, role: str) -> list[Path]:
    paths = models_below(folder)
    if not paths:
        raise UserError(
            f"the {role} {folder} holds no {KINDS} file",
            remedy=f"A folder with {INDEX}, with records/ or with model files is a {role}",
        )
    return paths


def _artifact(folders: Folders, record: Record, run: Path) -> Path:
    """The very file that a record was measured from."""
    for path in sorted(folders.build.rglob(glob.escape(record.artifact))):
        if _is(path, record.artifact_sha256):
            return path
    raise FilesGone(
        f"the file behind {run.name}/records/{record.id}.json is no longer in {folders.build}",
        remedy="Give the model files themselves, or measure again with: swapbench run",
    )


def _is(path: Path, sha256: str) -> bool:
    """Whether a file, with those beside it that hold its weights, has this digest."""
    try:
        return model_sha256(path) == sha256
    except BadModelFile:  # it lacks one of them
        return False
