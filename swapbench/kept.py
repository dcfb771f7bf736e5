"""Caches: what can be made again is believed only where it is, to the byte, what we wrote.

An entry is a JSON object with the sha256 of its own content, and of the files that it speaks for. One that
does not fit, because a disk, a person or another version changed it, counts as none, with one line of notice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from swapbench.files import file_sha256, write_atomically
from swapbench.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OWN: Final = "entry_sha256"
"""The key of an entry's digest of all its other keys."""
_FILES: Final = "files_sha256"
_HEAD: Final = b'{"entry_sha256":"'
_log = logging.getLogger(__name__)


def keep(path: Path, content: Mapping[str, Any], files: Iterable[Path] = ()) -> None:
    """Write an entry, whole or not at all.

    Args:
        path: of the entry, beside the files.
        content: JSON values by name.
        files: complete files that the entry speaks for, in the same folder.

    Raises:
        EnvironmentFailed: it cannot be written.
    """
    entry = {**content, _FILES: {file.name: file_sha256(file) for file in files}}
    write_atomically(path, json.dumps({**entry, _OWN: _digest(entry)}) + "\n")


def kept(path: Path) -> dict[str, Any] | None:
    """The content of an entry; None where there is none that fits itself and its files."""
    try:
        content = _checked(json.loads(path.read_bytes()), path)
    except FileNotFoundError:
        return None  # it was never finished, or was deleted with its files
    except (OSError, ValueError, RecursionError):
        content = None
    if content is None:
        _notice(path)
    return content


def _checked(entry: Any, path: Path) -> dict[str, Any] | None:
    if not isinstance(entry, dict) or entry.pop(_OWN, None) != _digest(entry):
        return None
    files = {name: file_sha256(path.with_name(name)) for name in entry[_FILES]}
    return entry if entry.pop(_FILES) == files else None


def with_digest(text: bytes) -> bytes:
    """The text of a JSON object with its digest first, for entries too large to be taken apart here."""
    return _HEAD + hashlib.sha256(text).hexdigest().encode() + b'",' + text[1:]


def without_digest(path: Path) -> bytes | None:
    """The text that an entry was made of by `with_digest`; None where there is none that fits."""
    try:
        entry = path.read_bytes()
    except OSError:
        return None
    text = b"{" + entry[len(with_digest(b"{")) :]
    if with_digest(text) == entry:
        return text
    _notice(path)
    return None


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


_noticed: set[Path] = set()
"""Folders: a whole cache of another version is one line."""


def _notice(path: Path) -> None:
    """Say once for each folder of a process that something there is made again."""
    if path.parent in _noticed:
        return
    _noticed.add(path.parent)
    path = Path(os.path.relpath(path))
    _log.warning("%s", visible(f"note: {path} is not as it was kept, so it is made again"))
