"""What a comparison is made with: model files from files, folders and runs; and baselines, which keep the files themselves.

A baseline is a folder with the model files, `baseline.json` (digests, sizes and counts of each, machine and plan) and,
where it was made of a run, that run's records in `run/records/`. Numbers from another day or machine cannot be
compared with new ones; files can be measured again, so the files are what a baseline keeps.
"""

from __future__ import annotations

import glob
import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import ValidationError

from swapbench import catalog, store
from swapbench.errors import BadRecord, UserError
from swapbench.files import disk_failure, file_sha256, write_atomically
from swapbench.records import Format, Frozen, Machine, Plan, Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swapbench.catalog import Folders
    from swapbench.records import Record

BASELINE_VERSION: Final = 1
INDEX = "baseline.json"
MODEL_SUFFIXES = (".onnx", ".tflite")
SAVE_AGAIN = "Make it again with: swapbench baseline save"


class FilesGone(BadRecord):
    """Records whose model files are no longer there, so that they cannot be measured again."""


class KeptFile(Frozen):
    """A file of a baseline, with what its graph counts."""

    name: str
    sha256: str
    file_bytes: int
    params: int
    macs: int
    ops: dict[str, int]
    format: Format
    precision: Precision


class Baseline(Frozen):
    """The content of `baseline.json`. machine: where it was saved; plan: how it was measured, None where it was not."""

    baseline_version: Literal[1] = BASELINE_VERSION
    time: datetime
    machine: Machine
    plan: Plan | None
    run: str | None
    files: tuple[KeptFile, ...]


@dataclass(frozen=True)
class Side:
    """One side of a comparison: model files, and records that were made of some of them."""

    files: tuple[Path, ...]
    records: tuple[Record, ...] = ()

    def named(self, name: str) -> Path:
        """The file of that name. UserError where several with different content have it."""
        digests = {file_sha256(path): path for path in self.files if path.name == name}
        if len(digests) > 1:
            raise UserError(
                f"{len(digests)} different files are named {name}: {', '.join(map(str, digests.values()))}",
                remedy="Name the one that you mean",
            )
        return next(iter(digests.values()))


# ---------------------------------------------------------------------------------------------- sides


def side(folders: Folders, sources: Sequence[str], role: str) -> Side:
    """The model files that `sources` mean; each is a file, a glob pattern, or a folder.

    A folder is a baseline, a run (its files are looked for in build/, by digest), or holds model files at any depth.
    Several sources in one text are parted by commas. Raises UserError, naming the role, where something is not
    there, and FilesGone where the files of a run are not.
    """
    files: list[Path] = []
    records: list[Record] = []
    for source in _parted(sources):
        for path in _expanded(source, role):
            if path.is_file():
                files.append(path)
            elif (path / INDEX).is_file():
                found, of_run = _of_baseline(path)
                files += found
                records += of_run
            elif (path / "records").is_dir():
                of_run = store.load_run(path)
                files += [_artifact(folders, record, path) for record in of_run]
                records += of_run
            else:
                files += _models_below(path, role)
    if not files:
        raise UserError(f"no {role} was given", remedy=f"Give files or a folder with --{role}")
    return Side(tuple(dict.fromkeys(files)), tuple(records))


def _parted(sources: Sequence[str]) -> Iterator[str]:
    for source in sources:
        yield from (source,) if Path(source).exists() else catalog.split_commas((source,))


def _expanded(source: str, role: str) -> list[Path]:
    path = Path(source)
    if path.exists():
        return [path]
    found = sorted(Path(one) for one in glob.glob(source))  # noqa: PTH207 - the pattern may be absolute
    if not found:
        raise UserError(
            f"there is no {role} {source}",
            remedy="Make one with: swapbench baseline save" if role == "baseline" else "Check the path",
        )
    return found


def _models_below(folder: Path, role: str) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix in MODEL_SUFFIXES and path.is_file())
    if not found:
        raise UserError(
            f"the {role} {folder} holds no .onnx or .tflite file",
            remedy=f"A folder with {INDEX}, with records/ or with model files is a {role}",
        )
    return found


def _artifact(folders: Folders, record: Record, run: Path) -> Path:
    """The very file that a record was made of."""
    for path in sorted(folders.build.rglob(glob.escape(record.artifact))):
        if file_sha256(path) == record.artifact_sha256:
            return path
    raise FilesGone(
        f"the file behind {run.name}/records/{record.id}.json is no longer in {folders.build}",
        remedy="Give the model files themselves, or measure again with: swapbench run",
    )


# ---------------------------------------------------------------------------------------------- baselines


def save(folders: Folders, sources: Sequence[str], out: Path | None = None, device: str = "local") -> Path:
    """Keep model files as the baseline in `out` (reports/baseline), replacing the one before; of the newest run if no sources.

    The folder is whole or as it was before. Raises BadModelFile for a file that no gate could measure, UserError for two
    different files of one name, EnvironmentFailed where the disk is full.
    """
    from swapbench.modelfile import read_graph, single_static_input

    if not sources:
        newest = store.newest_run(folders.reports)
        if newest is None:
            raise UserError(
                "there is no run in reports/ yet", remedy="Give files, or make a run: swapbench run"
            )
        sources = [str(newest)]
    kept = side(folders, sources, "file")
    paths = [kept.named(name) for name in sorted({path.name for path in kept.files})]
    graphs = []
    for path in paths:
        graph = read_graph(path)
        single_static_input(graph, path.name)
        graphs.append(graph)
    plans = {record.plan for record in kept.records} if kept.records else set()
    index = Baseline(
        time=datetime.now(UTC),
        machine=kept.records[0].machine if kept.records else catalog.device(folders, device).describe(),
        plan=next(iter(plans)) if len(plans) == 1 else None,
        run=kept.records[0].run if kept.records else None,
        files=tuple(
            KeptFile(
                name=path.name,
                sha256=file_sha256(path),
                file_bytes=graph.file_bytes,
                params=graph.params,
                macs=graph.macs,
                ops=dict(graph.ops),
                format=graph.format,
                precision=graph.precision,
            )
            for path, graph in zip(paths, graphs, strict=True)
        ),
    )
    target = out or folders.reports / "baseline"
    if target.exists() and not (target / INDEX).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists and is no baseline", remedy="Choose another folder with --out")
    _write(target, index, paths, kept.records)
    return target


def _write(target: Path, index: Baseline, paths: Sequence[Path], records: Sequence[Record]) -> None:
    """The whole folder beside its place, then two renames."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as made:
            new = Path(made) / "new"
            new.mkdir()
            for path, kept in zip(paths, index.files, strict=True):
                shutil.copyfile(path, new / path.name)
                if file_sha256(new / path.name) != kept.sha256:
                    raise UserError(f"{path} changed while it was copied", remedy="Save again")
            for record in records:
                store.save(record, new / "run")
            write_atomically(new / INDEX, store.dumps(index.model_dump(mode="json")) + "\n")
            old = Path(made) / "old"
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


def load_baseline(folder: Path) -> Baseline:
    """The index of a baseline, after every file was checked against its digest.

    Raises BadRecord where there is none, where it is damaged or half, or of a version that is not known here.
    """
    path = folder / INDEX
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadRecord(f"there is no baseline in {folder}", remedy=SAVE_AGAIN) from None
    except (OSError, ValueError) as error:
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
        found = Baseline.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRecord(f"{path} is damaged at {where}: {first['msg']}", remedy=SAVE_AGAIN) from error
    _check(folder, found)
    return found


def _check(folder: Path, found: Baseline) -> None:
    known = {kept.name for kept in found.files}
    foreign = sorted(
        path.name for path in folder.iterdir() if path.suffix in MODEL_SUFFIXES and path.name not in known
    )
    if foreign:
        raise BadRecord(f"the baseline {folder} does not know its file {foreign[0]}", remedy=SAVE_AGAIN)
    for kept in found.files:
        path = folder / kept.name
        if not path.is_file():
            raise BadRecord(f"the baseline {folder} lacks its file {kept.name}", remedy=SAVE_AGAIN)
        if file_sha256(path) != kept.sha256:
            raise BadRecord(
                f"{path} is not the file that was saved: its sha256 is another", remedy=SAVE_AGAIN
            )


def _of_baseline(folder: Path) -> tuple[list[Path], tuple[Record, ...]]:
    index = load_baseline(folder)
    records = store.load_run(folder / "run") if (folder / "run" / "records").is_dir() else ()
    return [folder / kept.name for kept in index.files], records
