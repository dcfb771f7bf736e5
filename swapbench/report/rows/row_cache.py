"""From run folders to rows, without summing up a record twice: ten thousand of them are a table in seconds.

The row of a record is a pure function of its file and of the code that sums it up, so it is kept under the digests of both
(in `build/rows/`, which can be made again): neither a changed record nor a changed rule can meet an old number. Whatever is
missing or damaged there is computed again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import operator
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench import records, stats, store
from swapbench.errors import BadRecord, EnvironmentFailed
from swapbench.files import write_atomically
from swapbench.records import Doubt
from swapbench.report.rows import comparable as places
from swapbench.report.rows import summary
from swapbench.report.rows.summary import Energy, Fold, Missing, Row, SpeciesErrors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAMES = tuple(field.name for field in fields(Row))
_VALUES = operator.attrgetter(*_NAMES)
_PARTS: dict[str, type] = {
    "apcer_by_species": SpeciesErrors,
    "folds": Fold,
    "energy": Energy,
    "missing": Missing,
    "doubts": Doubt,
}
_MANY = 1000
_PROCESSES_AT_MOST = 8
_LISTS = ("providers", "apcer_worst_species", "basis")


def rows_of_run(run_folder: Path, kept_in: Path | None = None) -> tuple[Row, ...]:
    """The row of every record of a run, in the order of store.load_run; what `references.compared_rows` goes on with.

    kept_in: the folder that keeps rows between calls; None keeps nothing. Raises what store.load_run raises.
    """
    folder = run_folder / "records"
    if not folder.is_dir():
        raise BadRecord(f"{run_folder} holds no records", remedy="Make some with: swapbench run")
    place = None if kept_in is None else kept_in / f"{_digest(str(run_folder.resolve()).encode())[:16]}.json"
    code = _code_digest()
    kept = {} if place is None else _kept(place, code)
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    digests = {name: _digest((folder / name).read_bytes()) for name in names}
    rows = {digest: kept[digest] for digest in digests.values() if digest in kept}
    new = {digest: folder / name for name, digest in digests.items() if digest not in kept}
    rows.update(zip(new, _summed_up(list(new.values())), strict=True))
    if place is not None and rows.keys() != kept.keys():
        _keep(place, code, rows)
    return tuple(rows[digest] for digest in digests.values())


def _summed_up(paths: Sequence[Path]) -> list[Row]:
    """The rows of some records: of many in several processes, which cost half a second to start."""
    processes = min(os.cpu_count() or 1, _PROCESSES_AT_MOST)
    if len(paths) < _MANY or processes == 1:
        return list(map(_row_of, paths))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_row_of, paths, chunksize=_MANY // 8))


def _row_of(path: Path) -> Row:
    return summary.summary(store.load(path))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _code_digest() -> str:
    """Of everything that a row depends on besides its record."""
    files = [Path(module.__file__) for module in (summary, places) if module.__file__]
    files += [path for package in (records, stats) for path in sorted(Path(package.__path__[0]).glob("*.py"))]
    return _digest(b"".join(path.read_bytes() for path in files))


def _keep(place: Path, code: str, rows: dict[str, Row]) -> None:
    text = json.dumps(
        {"code": code, "names": _NAMES, "rows": {digest: _plain(row) for digest, row in rows.items()}}
    )
    try:
        write_atomically(place, text)
    except EnvironmentFailed:  # keeping is a courtesy: a full or read-only disk is no reason to show no table
        return


def _kept(place: Path, code: str) -> dict[str, Row]:
    try:
        whole = json.loads(place.read_bytes())
        if whole["code"] != code or tuple(whole["names"]) != _NAMES:
            return {}
        return {digest: _row(values) for digest, values in whole["rows"].items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return {}


def _plain(row: Row) -> list[Any]:
    """The values of a row in the order of its fields; a row of one record alone has no ratios yet."""
    values = []
    for name, value in zip(_NAMES, _VALUES(row), strict=True):
        match name:
            case "time":
                values.append(value.isoformat())
            case "doubts":
                values.append([doubt.model_dump() for doubt in value])
            case name if name in _PARTS:
                values.append([vars(one) for one in value])
            case _:
                values.append(value)
    return values


def _row(values: list[Any]) -> Row:
    for place, back in _BACK:
        values[place] = back(values[place])
    return Row(*values)


def _tuple_of(kind: type) -> Callable[[list[dict[str, Any]]], tuple[Any, ...]]:
    return lambda items: tuple(kind(**item) for item in items)


_BACKS: dict[str, Callable[[Any], Any]] = {
    "time": datetime.fromisoformat,
    **dict.fromkeys(_LISTS, tuple),
    **{name: _tuple_of(kind) for name, kind in _PARTS.items()},
}
_BACK = tuple((_NAMES.index(name), back) for name, back in _BACKS.items())
