"""The text of --help: options and commands in panels, every name whole, as plain text that fits 80 columns.

Typer's own boxes cut long names, and to draw them it imports more than the rest of the command line together.
"""

from __future__ import annotations

import textwrap
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

WHAT: Final = "What to run"
WHERE: Final = "Where"
TIME: Final = "How long"
ACCURACY: Final = "Accuracy"
PRUNING: Final = "Pruning"
ENERGY: Final = "Energy"
OUTPUT: Final = "Output"
RARE: Final = "Rarely needed"
LAST: Final = (ENERGY, OUTPUT, RARE)
"""Panels that come after the others, in this order."""

Panels = dict[str, list[tuple[str, str]]]
"""Title of a panel -> its rows: a name and what it means."""


class Command(TyperCommand):
    """A command whose options stand in panels."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line; typer sets a required argument in braces, which nobody types."""
        return [_bare(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the panels, and --help into the last of them."""
        panels: Panels = {}
        parameters: list[Any] = list(self.get_params(ctx))
        for parameter in parameters[:-1]:
            if parameter.param_type_name == "argument":
                row = (_bare(parameter.get_usage_pieces(ctx)[0]), parameter.help or "")
                panels.setdefault("Arguments", []).append(row)
            else:
                panel = parameter.rich_help_panel or "Options"
                panels.setdefault(panel, []).append(parameter.get_help_record(ctx))
        last = [panel for panel in LAST if panel in panels]
        order = [*(panel for panel in panels if panel not in last), *last]
        if not order or order[-1] == "Arguments":
            order.append("Options")
        panels.setdefault(order[-1], []).append(parameters[-1].get_help_record(ctx))
        _write(formatter, {panel: panels[panel] for panel in order})


class CommandGroup(TyperGroup):
    """A command of commands, which stand in panels."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; without any command, show the help."""
        if not args and not ctx.resilient_parsing:
            print(ctx.get_help())
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the panels of commands, then the options."""
        panels: Panels = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command.hidden:
                continue
            summary = (command.help or "").partition("\n\n")[0]
            panels.setdefault(command.rich_help_panel or "Commands", []).append((name, summary))
        options: list[Any] = list(self.get_params(ctx))
        panels["Options"] = [option.get_help_record(ctx) for option in options]
        _write(formatter, panels)


class ShowGroup(CommandGroup):
    """A command of commands that shows things by itself: `swapbench zoo` is `swapbench zoo show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the word that was left out."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["show", *args])


def _bare(piece: str) -> str:
    """A word of the usage line without the braces that typer sets."""
    return piece.replace("{", "").replace("}", "")


def _write(formatter: Any, panels: Panels) -> None:
    """Write each panel as two columns that are aligned over all panels; names are not broken at hyphens."""
    width = max(len(name) for rows in panels.values() for name, _ in rows)
    for title, rows in panels.items():
        with formatter.section(title):
            for name, text in rows:
                lines = textwrap.wrap(text, max(formatter.width - width - 4, 20), break_on_hyphens=False)
                for number, line in enumerate(lines or [""]):
                    formatter.write(f"  {'' if number else name:{width}}  {line}\n")
