"""Commands take groups of options as values; for typer, each option becomes a parameter of its own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from typer.models import OptionInfo

Signature = dict[str, inspect.Parameter]


@dataclass(frozen=True)
class Group:
    """Marks a parameter of a command, as in `data: Annotated[DataOptions, Group("Accuracy", data_options)]`.

    Attributes:
        panel: The panel of --help in which its options stand, unless an option names another.
        build: Makes the value of the group from its options, which are the parameters of this function.
    """

    panel: str
    build: Callable[..., Any]

    def options(self) -> Signature:
        """The options, by name, each in its panel."""
        options = dict(inspect.signature(self.build, eval_str=True).parameters)
        for name, parameter in options.items():
            kind, option = get_args(parameter.annotation)
            option = copy(option)
            if isinstance(option, OptionInfo):  # arguments have a panel of their own
                option.rich_help_panel = option.rich_help_panel or self.panel
            options[name] = parameter.replace(
                annotation=Annotated[kind, option], kind=inspect.Parameter.KEYWORD_ONLY
            )
        return options


def ungrouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same command with the options of its groups as parameters in place of the groups.

    Raises:
        TypeError: Two options of the command have one name, so that one would take the other's value.
    """
    parameters: Signature = {}
    groups: dict[str, tuple[Group, Signature]] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        marks = getattr(parameter.annotation, "__metadata__", ())
        group = next((mark for mark in marks if isinstance(mark, Group)), None)
        if group is None:
            added = {name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)}
        else:
            added = group.options()
            groups[name] = group, added
        if twice := parameters.keys() & added.keys():
            raise TypeError(f"{command.__name__} has two options called {', '.join(sorted(twice))}")
        parameters |= added

    @functools.wraps(command)
    def with_options(**values: Any) -> Any:
        for name, (group, options) in groups.items():
            values[name] = group.build(**{option: values.pop(option) for option in options})
        return command(**values)

    with_options.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    with_options.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return with_options
