"""A folder to begin in: a card, a policy, and what to type next. Nothing that exists is touched."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from swapbench.errors import EnvironmentFailed
from swapbench.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "README.md": "README.md",
    "models/my_net.toml": "my_net.toml",
    "gate.toml": "gate.toml",
    ".gitignore": "gitignore",
}
"""Path in the folder -> name of the text beside this module."""
FOLDERS = ("models", "devices", "reports")


def make_starter(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write the starter files into `folder`, which is made if it does not exist.

    Returns:
        The files that were written, and those that existed and were kept.

    Raises:
        EnvironmentFailed: The folder cannot be written.
    """
    texts = resources.files(__name__)
    written, kept = [], []
    try:
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailed(f"cannot make {error.filename}: {error.strerror}") from error
    for name, source in FILES.items():
        path = folder / name
        if path.exists():
            kept.append(path)
        else:
            write_atomically(path, (texts / source).read_text(encoding="utf-8"))
            written.append(path)
    return written, kept
