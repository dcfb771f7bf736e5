"""What the documents tell a person to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from swapbench import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.yml"), ROOT / "Makefile"]
)
TYPED = re.compile(r"(?<!import)(?:^|[\s`(/])swapbench((?: +[^\s`#|;)]+)+)", re.MULTILINE)
APP = typer.main.get_command(cli.app)
SHOWN = {name for name, command in APP.commands.items() if not command.hidden}
"""Commands that people type."""


def commands(path: Path) -> list[list[str]]:
    """The words after every `swapbench` that is typed: in code blocks, back quotes and jobs."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    if path.suffix == ".md":
        blocks = re.findall(r"^    .*$", text, re.MULTILINE)
        text = "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])
    return [match[1].split() for match in TYPED.finditer(text)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_option_in_the_documents_exists(path: Path) -> None:
    for words in commands(path):
        command, rest = APP, list(words)
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            name = rest.pop(0)
            if name in {"...", "|"}:
                break
            assert name in command.commands, f"{path.name}: swapbench {' '.join(words)}"
            command = command.commands[name]
        if "show" in getattr(command, "commands", ()):  # the word may be left out
            command = command.commands["show"]
        known = {
            option for parameter in command.params for option in parameter.opts + parameter.secondary_opts
        }
        asked = {word.partition("=")[0] for word in rest if word.startswith("-")}
        unknown = asked - known - {"--help", "-h", "--version"}
        assert not unknown, f"{path.name}: swapbench {' '.join(words)}"


def test_the_readme_names_every_command() -> None:
    named = {words[0] for path in DOCUMENTS for words in commands(path) if words}
    assert len(commands(ROOT / "README.md")) > 15
    assert SHOWN - named <= {"version"}


def test_every_command_has_a_page() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "commands").glob("*.md")}
    assert pages - {"index"} == SHOWN - {"version"}
    listed = (ROOT / "docs" / "commands" / "index.md").read_text(encoding="utf-8")
    assert all(f"({name}.md)" in listed for name in pages - {"index"})
