"""From run folders to rows, without summing up a record twice: ten thousand of them are a table in seconds.

The row of a record is a pure function of its file and of the code that sums it up, so it is kept under the
digests of both (in `build/rows/`, which can be made again): neither a changed record nor a changed rule can
meet an old number. Whatever is missing or damaged there is computed again.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from swapbench import records, stats, store
from swapbench.errors import BadRecord, EnvironmentFailed
from swapbench.files import write_atomically
from swapbench.report.rows import comparable, summary
from swapbench.report.rows.summary import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANY = 1000
_PROCESSES_AT_MOST = 8


@dataclass(frozen=True)
class _Kept:
    """The rows of a run by the digests of their records; code: the digest of what made them."""

    code: str
    rows: dict[str, Row]


_KEPT = TypeAdapter(_Kept)
_ROWS = TypeAdapter(list[Row])


def rows_of_run(run_folder: Path, kept_in: Path | None = None) -> tuple[Row, ...]:
    """The row of every record of a run, in the order of store.load_run.

    Args:
        run_folder: as in store.load_run.
        kept_in: the folder that keeps rows between calls; None keeps nothing.

    Raises:
        BadRecord: there is no record, or one is damaged.
    """
    folder = run_folder / "records"
    if not folder.is_dir():
        raise BadRecord(f"{run_folder} holds no records", remedy="Make some with: swapbench run")
    path = None if kept_in is None else kept_in / f"{_digest(str(run_folder.resolve()).encode())[:16]}.json"
    code = _code_digest()
    old = {} if path is None else _read(path, code)
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    digests = {name: _digest((folder / name).read_bytes()) for name in names}
    rows = {digest: old[digest] for digest in digests.values() if digest in old}
    new = {digest: folder / name for name, digest in digests.items() if digest not in old}
    rows.update(zip(new, _summed_up(list(new.values())), strict=True))
    if path is not None and rows.keys() != old.keys():
        _write(path, _Kept(code, rows))
    return tuple(rows[digest] for digest in digests.values())


def _summed_up(paths: Sequence[Path]) -> list[Row]:
    """The rows of some records: of many in several processes, which cost half a second to start."""
    processes = min(os.cpu_count() or 1, _PROCESSES_AT_MOST)
    if len(paths) < _MANY or processes == 1:
        return list(map(_row_of, paths))
    chunks = [paths[start : start + _MANY // 8] for start in range(0, len(paths), _MANY // 8)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return [row for text in pool.map(_text_of_rows, chunks) for row in _ROWS.validate_json(text)]


def _text_of_rows(paths: Sequence[Path]) -> bytes:
    """Rows on their way from one process to another, which takes a fraction of pickling them."""
    return _text(_ROWS, list(map(_row_of, paths)))


def _row_of(path: Path) -> Row:
    return summary.summary(store.load(path))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _code_digest() -> str:
    """Of everything that a row depends on besides its record."""
    files = [Path(module.__file__) for module in (summary, comparable) if module.__file__]
    files += [path for package in (records, stats) for path in sorted(Path(package.__path__[0]).glob("*.py"))]
    return _digest(b"".join(path.read_bytes() for path in files))


def _text(adapter: TypeAdapter[Any], value: object) -> bytes:
    """JSON with NaN and Infinity where there are such numbers."""
    return to_json(adapter.dump_python(value), inf_nan_mode="constants")


def _write(path: Path, kept: _Kept) -> None:
    try:
        write_atomically(path, _text(_KEPT, kept))
    except EnvironmentFailed:  # keeping is a courtesy: a full or read-only disk is no reason to show no table
        return


def _read(path: Path, code: str) -> dict[str, Row]:
    try:
        kept = _KEPT.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
    return kept.rows if kept.code == code else {}
