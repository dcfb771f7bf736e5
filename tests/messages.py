"""Prints every message that a user can see, with its place, so that all of them can be read once in one list.

    python tests/messages.py [FOLDER OR FILE ...]

Messages are found in the source: what is raised, given as a reason or a remedy, recorded as a doubt, printed,
or shown as help. An expression inside a message is shown as {...}.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
CALLS = {"Absent", "Doubt", "Missing", "Option", "Argument", "Typer", "echo", "print"}
KEYWORDS = {"remedy", "help", "message", "absent", "reason", "epilog", "short_help"}
LEAST_WORDS = 2


def texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string below a node, whole, with its line."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.lineno, node.value
    elif isinstance(node, ast.JoinedStr):
        parts = (str(one.value) if isinstance(one, ast.Constant) else "{...}" for one in node.values)
        yield node.lineno, "".join(parts)
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def messages(tree: ast.AST) -> set[tuple[int, str]]:
    """The messages of one module: (line, text)."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            found.update(texts(node.exc))
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in CALLS or name.endswith(("Error", "Failed", "Said")):
                found.update(texts(node))
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            found.update(texts(node.value))
    return {(line, text) for line, text in found if len(text.split()) >= LEAST_WORDS}


def main(names: list[str]) -> None:
    """Print the messages of some files or folders, of the whole package where none is named."""
    for place in map(Path, names or [str(ROOT / "swapbench")]):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            for line, text in sorted(messages(ast.parse(path.read_text(encoding="utf-8")))):
                print(  # noqa: T201 - it is what this program is for
                    f"{path}:{line}: {' '.join(text.split())}"
                )


if __name__ == "__main__":
    main(sys.argv[1:])
