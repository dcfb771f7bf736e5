"""One record, one file: written whole, never rewritten, readable for ever.

A run is a folder `reports/<run>/` with `run.json` (what was asked for and whether it was finished) and
`records/<record id>.json`, with the score of every frame in `scores/<record id>.csv.gz`. Reading needs no
device, runtime or PyTorch. Schema versions: see records.SCHEMA_VERSION.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from swapbench.errors import BadRecord, EnvironmentFailed
from swapbench.files import content_of, write_atomically
from swapbench.records import SCHEMA_VERSION, Record

if TYPE_CHECKING:
    from pathlib import Path


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def dumps(value: Any, indent: int = 0) -> str:
    """JSON with a line for each key and each list of plain values, so that samples do not drown a diff."""
    pad = " " * (indent + 1)
    if isinstance(value, dict) and value:
        lines = [f"{pad}{json.dumps(str(key))}: {dumps(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        lines = [f"{pad}{dumps(item, indent + 1)}" for item in value]
        return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"
    return _encode(value)


def record_text(record: Record) -> str:
    """The text of a record's file."""
    return dumps(record.model_dump(mode="json")) + "\n"


def save(record: Record, run_folder: Path) -> Path:
    """Write one record.

    Raises:
        EnvironmentFailed: there is one of this id already, or the folder cannot be written.
    """
    path = run_folder / "records" / f"{record.id}.json"
    if path.exists():
        raise EnvironmentFailed(
            f"{path} already exists, and records are never overwritten", remedy="Give the run another name"
        )
    write_atomically(path, record_text(record))
    return path


def scores_path(run_folder: Path, record_id: str) -> Path:
    """Where the score of every frame behind a record's accuracy is kept."""
    return run_folder / "scores" / f"{record_id}.csv.gz"


def system_path(run_folder: Path, name: str) -> Path:
    """Where a run keeps a system that was made of its records."""
    return run_folder / "systems" / f"{name}.toml"


def drafts_folder(run_folder: Path) -> Path:
    """Where incomplete records wait, for example for the energy that a phone measures by itself."""
    return run_folder / "waiting"


def save_draft(record: Record, run_folder: Path) -> None:
    """Keep an incomplete record until the rest has come."""
    write_atomically(drafts_folder(run_folder) / f"{record.id}.json", record_text(record))


def drafts(run_folder: Path) -> dict[str, Record]:
    """Incomplete records by id, without those that are damaged or complete by now."""
    waiting = {}
    for path in sorted(drafts_folder(run_folder).glob("*.json")):
        if not (run_folder / "records" / path.name).exists():
            with contextlib.suppress(BadRecord):
                waiting[path.stem] = load(path)
    return waiting


def drop_drafts(run_folder: Path) -> None:
    """Delete all incomplete records: another run takes the name."""
    for path in drafts_folder(run_folder).glob("*"):
        path.unlink()


def drop_draft(record_id: str, run_folder: Path) -> None:
    """Delete an incomplete record that is complete now."""
    (drafts_folder(run_folder) / f"{record_id}.json").unlink(missing_ok=True)


def load(path: Path) -> Record:
    """Read one record.

    Raises:
        BadRecord: the file is missing or damaged, or has a schema version that this swapbench does not know.
    """
    try:
        text = content_of(path)
        with contextlib.suppress(ValidationError):  # what is wrong with it is found out below
            record = Record.model_validate_json(text)
            if "schema_version" in record.model_fields_set:
                return record
        raw = json.loads(text)
    except FileNotFoundError:
        raise BadRecord(f"there is no record {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadRecord(
            f"{path} is not a readable record ({error})", remedy="Measure again, or restore the file"
        ) from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise BadRecord(f"{path} is not a swapbench record: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise BadRecord(
            f"{path} has schema version {version}; this swapbench reads up to {SCHEMA_VERSION}",
            remedy="Upgrade with: pip install --upgrade swapbench",
        )
    try:
        return Record.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise BadRecord(f"{path} is damaged at {where}: {reason}") from error


def load_run(run_folder: Path) -> tuple[Record, ...]:
    """All records of a run, by id (ids sort by model and runtime).

    Raises:
        BadRecord: there are none, or one cannot be read.
    """
    folder = run_folder / "records"
    if not folder.is_dir():
        raise BadRecord(f"{run_folder} holds no records", remedy="Make some with: swapbench run")
    return tuple(load(path) for path in sorted(folder.glob("*.json")))


def newest_run(reports: Path) -> Path | None:
    """The run folder below `reports` whose records are newest, or None."""
    runs = [folder.parent for folder in reports.glob("*/records") if any(folder.glob("*.json"))]
    return max(
        runs,
        key=lambda run: max(p.stat().st_mtime_ns for p in (run / "records").glob("*.json")),
        default=None,
    )
