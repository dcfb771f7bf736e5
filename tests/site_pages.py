"""Gathers the pages of the documentation site, for Sphinx (`make docs`).

python tests/site_pages.py build/site-source

The site is docs/ with the README as its first page, with the example run and what compression buys, and with
what is made from the code: below each command's page the options that the command has, the fields of records
and policies, and the JSON schema of a record.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main
from card_fields import meanings

from swapbench import cli
from swapbench.gate.policy import Budget, Ceiling
from swapbench.records import Accuracy, Decision, Frozen, Power, Record, RuntimeUsed, Speed, Weight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
SHOWN = ("README.md", "CHANGELOG.md", "docs/**/*.md", "docs/**/*.yml", "reports/example/table.md")
SHOWN += ("reports/compression/*.md", "reports/**/*.png")
FIELDS: Mapping[str, tuple[type[Frozen], ...]] = {
    "reference/records.md": (Record, RuntimeUsed, Speed, Weight, Accuracy, Power, Decision),
    "reference/policies.md": (Budget, Ceiling),
}
SCHEMAS: Mapping[str, type[Frozen]] = {"reference/record.schema.json": Record}
LINK = re.compile(r"(?<=\]\()([^)#\s]+)")
CONTENTS: Mapping[str, Mapping[str, str]] = {
    "Begin": {
        "Five minutes": "tour",
        "Shipping to phones": "tutorials/phones",
        "Writing a paper": "tutorials/paper",
        "Keeping CI green": "tutorials/ci",
        "In a notebook": "notebook",
    },
    "How to": {"Commands": "commands/index"},
    "Understand": {
        "How numbers are made": "methodology",
        "The gate": "gate",
        "The history": "history",
        "Decision systems": "systems",
        "Smaller networks": "compression",
        "Studies": "studies",
        "Fleets": "fleet",
        "Simulated data": "simulation",
        "What is promised": "security",
        "Words": "glossary",
        "An example run": "reports/example/table",
        "What compression buys": "reports/compression/README",
        "Its tables": "reports/compression/tables",
        "The studies so far": "reports/compression/decided",
    },
    "Look up": {
        "Cards": "cards",
        "Public networks": "zoo",
        "Records": "reference/records",
        "Policies": "reference/policies",
        "Python": "reference/python",
    },
    "Take part": {"The map": "architecture", "Contributing": "contributing", "Changes": "CHANGELOG"},
}


def gather(folder: Path) -> None:
    """Write the pages of the site, their pictures and the schemas into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    places = {path: _place(path) for pattern in SHOWN for path in sorted(ROOT.glob(pattern))}
    for path, place in places.items():
        page = folder / place
        page.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, page)
            continue
        text = path.read_text(encoding="utf-8")
        text = LINK.sub(lambda link, path=path: _link(link[1], path, places), text)
        page.write_text("\n\n".join([text, *_made(place)]), encoding="utf-8")
    for name, model in SCHEMAS.items():
        schema = folder / name
        schema.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(json.dumps(model.model_json_schema(mode="serialization"), indent=1))


def _place(path: Path) -> str:
    """Where a file of the repository lies in the site."""
    inside = path.relative_to(ROOT).as_posix()
    return "index.md" if inside == "README.md" else inside.removeprefix("docs/")


def _link(target: str, path: Path, places: Mapping[Path, str]) -> str:
    """What a page links to, from where the page lies in the site."""
    place = places.get(Path(os.path.normpath(path.parent / target)))
    return target if place is None else os.path.relpath(place, Path(places[path]).parent)


def _made(place: str) -> Iterator[str]:
    """What is made from the code, below the text of a page."""
    if place == "index.md":
        yield from (_contents(title, pages) for title, pages in CONTENTS.items())
    if place == "commands/index.md":
        names = sorted(path.stem for path in (ROOT / "docs/commands").glob("*.md"))
        yield _contents("Commands", {name: name for name in names if name != "index"})
    elif place.startswith("commands/"):
        yield from _options(Path(place).stem)
    yield from map(_fields, FIELDS.get(place, ()))


def _contents(caption: str, pages: Mapping[str, str]) -> str:
    lines = [f"{title} <{page}>" for title, page in pages.items()]
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *lines, "```"])


def _fields(model: type[Frozen]) -> str:
    rows = [f"| `{name}` | {_cell(meaning)} |" for name, meaning in meanings(model).items()]
    return "\n".join([f"## {model.__name__}", "", "| field | meaning |", "|---|---|", *rows])


def _options(name: str) -> Iterator[str]:
    """The options of a command, or of each command of a family, in tables by their panels."""
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    family = getattr(command, "commands", None)
    parts = {f"{name} {member}": one for member, one in family.items()} if family else {name: command}
    for title, one in parts.items():
        yield f"## All of `swapbench {title}`"
        yield inspect.cleandoc(one.help or "")
        panels: dict[str, list[Any]] = {}
        for parameter in one.params:
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(parameter)
        for panel, parameters in panels.items():
            rows = map(_row, parameters)
            yield "\n".join([f"**{panel}**", "", "| option | what it does |", "|---|---|", *rows])


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    is_told = parameter.show_default and default not in (None, False, (), []) and not callable(default)
    return f"| {names} | {_cell(parameter.help or '')}{f' By default `{default}`.' if is_told else ''} |"


def _cell(text: str) -> str:
    return text.replace("|", "&#124;").replace("*", r"\*")


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
