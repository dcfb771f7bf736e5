"""What git knows of a folder: the commit at hand, commits by name, and those between two.

Where git is missing or the folder is in no repository, nothing is known, which is no error.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

ABBREVIATED: Final = 10
"""Digits of a commit's name that people read."""
_NAME: Final = re.compile(r"[0-9a-f]{7,64}")
_PATIENCE_S: Final = 20.0


@dataclass(frozen=True)
class Commit:
    """One commit.

    Attributes:
        name: its whole digest.
        time: when it was committed.
        subject: the first line of its message.
    """

    name: str
    time: datetime
    subject: str = ""


def git(folder: Path, *arguments: str) -> str | None:
    """The standard output of a git command that only reads, run in a folder; None where it fails.

    No hook and no helper that the repository names is started.
    """
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def is_commit_name(text: str) -> bool:
    """Whether a text is the name of a commit, whole or shortened to 7 digits or more."""
    return _NAME.fullmatch(text) is not None


def commit(folder: Path, name: str = "HEAD") -> Commit | None:
    """The commit of that name; None where the folder's repository does not have it."""
    if name != "HEAD" and not is_commit_name(name):
        return None
    found = _log(folder, "--max-count=1", name)
    return found[0] if found else None


def is_changed(folder: Path) -> bool:
    """Whether a file that git follows differs from the commit at hand, or git cannot tell."""
    changes = git(folder, "status", "--porcelain", "--untracked-files=no")
    return changes is None or bool(changes.strip())


def commits_between(folder: Path, before: str, after: str, at_most: int) -> tuple[Commit, ...] | None:
    """The commits that `after` has and `before` has not, `after` itself first.

    Args:
        folder: in the repository.
        before: name of a commit.
        after: name of a commit.
        at_most: so many, the newest.

    Returns:
        None where the repository does not have both.
    """
    if not (is_commit_name(before) and is_commit_name(after)):
        return None
    return _log(folder, f"--max-count={at_most}", f"{before}..{after}")


def _log(folder: Path, *which: str) -> tuple[Commit, ...] | None:
    text = git(folder, "log", "--format=%H%x00%cI%x00%s%x00", *which, "--")
    if text is None:
        return None
    parts = text.split("\0")
    return tuple(
        Commit(name.strip(), datetime.fromisoformat(time), subject)
        for name, time, subject in zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    )
