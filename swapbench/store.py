"""One record, one file: written whole, never rewritten, readable for ever.

A run is a folder `reports/<run>/` with `run.json` (what was asked for and whether it was finished) and
`records/<record id>.json`. Reading needs no device, runtime or PyTorch. Schema versions: see records.SCHEMA_VERSION.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from swapbench.errors import BadRecord, EnvironmentFailed
from swapbench.records import SCHEMA_VERSION, Record


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, then a rename.

    Raises EnvironmentFailed with what to do where the disk is full or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise disk_failure(error, path) from error


def disk_failure(error: OSError, path: Path) -> EnvironmentFailed:
    """An operating system error about a file as one line with what to do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EnvironmentFailed(
            f"the disk is full: {path} could not be written",
            remedy="Free some space and run the same command again; what was finished is kept",
        )
    return EnvironmentFailed(
        f"{path} could not be written ({error.strerror or error})",
        remedy="Check that the folder exists and that you may write to it",
    )


def dumps(value: Any, indent: int = 0) -> str:
    """JSON with one key a line and every list of plain values on one line, so that samples do not drown a diff."""
    pad = " " * (indent + 1)
    if isinstance(value, dict) and value:
        lines = [f"{pad}{json.dumps(str(key))}: {dumps(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        lines = [f"{pad}{dumps(item, indent + 1)}" for item in value]
        return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def record_text(record: Record) -> str:
    """The text of a record's file."""
    return dumps(record.model_dump(mode="json")) + "\n"


def save(record: Record, run_folder: Path) -> Path:
    """Write one record; refuses to write over another one."""
    path = run_folder / "records" / f"{record.id}.json"
    if path.exists():
        raise EnvironmentFailed(f"{path} exists already and records are never rewritten")
    write_atomically(path, record_text(record))
    return path


def load(path: Path) -> Record:
    """Read one record. Raises BadRecord for a damaged file or a schema version that this version does not know."""
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadRecord(f"there is no record {path}") from None
    except (OSError, ValueError) as error:
        raise BadRecord(
            f"{path} is not a readable record ({error})", remedy="Measure again, or restore the file"
        ) from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise BadRecord(f"{path} is not a swapbench record: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise BadRecord(
            f"{path} has schema version {version}, this swapbench reads up to {SCHEMA_VERSION}",
            remedy="Upgrade with: pip install --upgrade swapbench",
        )
    try:
        return Record.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRecord(f"{path} is damaged at {where}: {first['msg']}") from error


def load_run(run_folder: Path) -> tuple[Record, ...]:
    """All records of a run, by id (ids sort by model and runtime)."""
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
