"""From run folders to rows, without summing up a record twice: ten thousand of them are a table in seconds.

The row of a record is a pure function of its file and of the code that sums it up, so it is kept under the
digests of both (in `build/rows/`, which can be made again): neither a changed record nor a changed rule can
meet an old number. Whatever is missing or damaged there is computed again.

Rows are kept by field, as each distinct value and, for every row, its place among them: thousands of rows
share a machine, a runtime and their doubts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from operator import attrgetter
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import NonNegativeInt, create_model
from pydantic_core import to_json

from swapbench import store
from swapbench.cores import usable_cores
from swapbench.errors import BadRecord, EnvironmentFailed
from swapbench.files import content_of, write_atomically
from swapbench.kept import with_digest, without_digest
from swapbench.processes import results
from swapbench.report.rows.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MANY = 1000
_PROCESSES_AT_MOST = 8
_FIELDS: dict[str, Any] = get_type_hints(Row)
_PACKAGE = Path(__file__).parents[2]
_COLUMNS: dict[str, Any] = {name: (GenericAlias(list, kind), ...) for name, kind in _FIELDS.items()}
_Distinct: Any = create_model("_Distinct", **_COLUMNS)
"""The distinct values of each field of some rows."""
_Places = dict[str, list[NonNegativeInt]]
"""By field: where the value of each row is among the distinct ones."""
_Kept: Any = create_model(
    "_Kept", code=(str, ...), digests=(list[str], ...), distinct=(_Distinct, ...), places=(_Places, ...)
)
"""Rows in a file, with the digest of the code that made them and that of the record of each."""


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
    paths = sorted(entry.path for entry in os.scandir(folder) if entry.name.endswith(".json"))
    digests = {path: _file_digest(path) for path in paths}
    rows = _rows_of({digest: path for path, digest in digests.items()}, _cache(run_folder, kept_in), None)
    return tuple(rows[digest] for digest in digests.values())


def rows_by_digest(
    folder: Path, kept_in: Path | None, bad: Callable[[str, BadRecord], None]
) -> dict[str, Row]:
    """The rows of all records in a folder by the sha256 of their files; a record that is none costs itself.

    Args:
        folder: of the files.
        kept_in: as in rows_of_run.
        bad: hears of a file that holds no record: its digest, and why.
    """
    digests: dict[str, str] = {}
    for entry in os.scandir(folder):
        if entry.name.endswith(".json"):
            with contextlib.suppress(OSError):  # a pipe, a folder: nothing that was kept as a record
                digests[_file_digest(entry.path)] = entry.path
    return _rows_of(digests, _cache(folder, kept_in), bad)


def _cache(folder: Path, kept_in: Path | None) -> Path | None:
    return None if kept_in is None else kept_in / f"{_digest(str(folder.resolve()).encode())[:16]}.json"


def _rows_of(
    paths: Mapping[str, str], cache: Path | None, bad: Callable[[str, BadRecord], None] | None
) -> dict[str, Row]:
    """Rows by the digests of records, from the cache or summed up; without `bad`, a bad record is raised."""
    code = _code_digest()
    old = {} if cache is None else _read(cache, code)
    rows = {digest: old[digest] for digest in paths if digest in old}
    missing = {digest: path for digest, path in paths.items() if digest not in old}
    try:
        rows |= _summed_up(missing)
    except BadRecord:
        if bad is None:
            raise
        for digest, path in missing.items():
            try:
                rows[digest] = _row_of(path)
            except BadRecord as error:
                bad(digest, error)
    if cache is not None and rows.keys() != old.keys():
        _write(cache, _text(rows, code))
    return rows


def _summed_up(paths: Mapping[str, str]) -> dict[str, Row]:
    """Rows by the digests of records: of many in several processes, which cost half a second to start."""
    processes = min(usable_cores(), _PROCESSES_AT_MOST)
    if len(paths) < _MANY or processes == 1:
        return {digest: _row_of(path) for digest, path in paths.items()}
    records, size = list(paths.items()), max(1, _MANY // 8)
    chunks = [dict(records[start : start + size]) for start in range(0, len(records), size)]
    texts = results(_text_of, chunks, processes)
    return {digest: row for text in texts for digest, row in _rows(text).items()}


def _text_of(paths: Mapping[str, str]) -> bytes:
    """Rows on their way from one process to another, which takes a fraction of pickling them."""
    return _text({digest: _row_of(path) for digest, path in paths.items()})


def _row_of(path: str) -> Row:
    from swapbench.report.rows import summary  # needs NumPy, which rows that are kept do not

    return summary.summary(store.load(Path(path)))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file_digest(path: str) -> str:
    return _digest(content_of(Path(path)))


def _code_digest() -> str:
    """Of everything that a row depends on besides its record."""
    files = [Path(__file__).with_name(name) for name in ("row.py", "summary.py", "comparable.py")]
    files += [path for name in ("records", "stats") for path in sorted((_PACKAGE / name).glob("*.py"))]
    return _digest(b"".join(path.read_bytes() for path in files))


def _text(rows: Mapping[str, Row], code: str = "") -> bytes:
    """JSON of rows by digest, with NaN and Infinity where there are such numbers."""
    columns = {name: list(map(attrgetter(name), rows.values())) for name in _FIELDS}
    objects = {name: {id(value): value for value in values} for name, values in columns.items()}
    plain = _Distinct.model_construct(
        **{name: list(values.values()) for name, values in objects.items()}
    ).model_dump()
    distinct, places = {}, {}
    for name, values in columns.items():
        texts = [to_json(value, inf_nan_mode="constants") for value in plain[name]]
        values_of = dict(zip(texts, plain[name], strict=True))
        place_of_text = {text: place for place, text in enumerate(values_of)}
        place_of = {key: place_of_text[text] for key, text in zip(objects[name], texts, strict=True)}
        distinct[name] = list(values_of.values())
        places[name] = [place_of[id(value)] for value in values]
    kept = {"code": code, "digests": list(rows), "distinct": distinct, "places": places}
    return to_json(kept, inf_nan_mode="constants")


def _rows(text: bytes, code: str = "") -> dict[str, Row]:
    """Rows by digest as `_text` wrote them; none that other code made.

    Raises:
        ValueError: the text is damaged.
        LookupError: as ValueError.
    """
    kept = _Kept.model_validate_json(text)
    if kept.code != code:
        return {}
    columns = [map(getattr(kept.distinct, name).__getitem__, kept.places[name]) for name in _FIELDS]
    return {digest: Row(*values) for digest, *values in zip(kept.digests, *columns, strict=True)}


def _write(cache: Path, text: bytes) -> None:
    try:
        write_atomically(cache, with_digest(text))
    except EnvironmentFailed:  # keeping is a courtesy: a full or read-only disk is no reason to show no table
        return


def _read(cache: Path, code: str) -> dict[str, Row]:
    text = without_digest(cache)
    try:
        return {} if text is None else _rows(text, code)
    except (ValueError, LookupError):  # of an older version
        return {}
