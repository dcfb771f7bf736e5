"""What --help shows at 80 columns; and the command of a training, which comes back as its request."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import typer
import typer.main

from swapbench import cli
from swapbench.cli.groups import Group, ungrouped
from swapbench.commands import train
from swapbench.commands.options import DataOptions
from swapbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

APP: Any = typer.main.get_command(cli.app)


def commands(group: Any = APP, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that it is typed with, the application itself first."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands())


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_two_options_of_a_command_have_one_name(path: tuple[str, ...]) -> None:
    names = [
        name for parameter in COMMANDS[path].params for name in (*parameter.opts, *parameter.secondary_opts)
    ]
    fields = [parameter.name for parameter in COMMANDS[path].params]
    assert len(names) == len(set(names))
    assert len(fields) == len(set(fields))


def help_of(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main([*words, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "swapbench")
def test_every_name_stands_whole_in_lines_of_80_columns(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(words, capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for repeated in ("]...", "FILES...", "WHAT ...", "[ARGS]..."):
        text = text.replace(repeated, "")
    assert "..." not in text
    shown = {word.rstrip(",") for line in text.splitlines() for word in line[:30].split()}
    command = COMMANDS[words]
    options = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
    assert {name for name in options if name.startswith("-")} <= shown
    listed = {name for name, inner in getattr(command, "commands", {}).items() if not inner.hidden}
    assert listed <= shown


def test_every_command_has_a_panel_and_every_option_of_run_too() -> None:
    assert all(command.rich_help_panel for command in APP.commands.values() if not command.hidden)
    run = COMMANDS["run",]
    assert all(option.rich_help_panel for option in run.params if option.param_type_name == "option")


def test_a_command_that_nobody_types_is_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert [name for name, command in APP.commands.items() if command.hidden] == ["judge"]
    assert "judge " not in help_of((), capsys)


def test_commands_and_options_stand_in_their_panels(capsys: pytest.CaptureFixture[str]) -> None:
    titles = [line for line in help_of((), capsys).splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == [
        "Measure:",
        "Compare:",
        "Data and scores:",
        "Make models:",
        "Getting started:",
        "Options:",
    ]
    titles = [
        line for line in help_of(("run",), capsys).splitlines() if line.endswith(":") and line[0] != " "
    ]
    assert titles == [
        *("Arguments:", "What to run:", "Where:", "How long:", "Accuracy:", "Energy:", "Output:"),
        "Rarely needed:",
    ]


def test_every_option_has_a_help_text_and_every_command_a_summary() -> None:
    for words, command in COMMANDS.items():
        assert command.help, words
        assert all(getattr(parameter, "help", None) for parameter in command.params), words


# ---------------------------------------------------------------------------------- the command of a training

WHOLE = train.TrainRequest(
    network="mobilefacenet",
    data=DataOptions(
        data=Path("some data"),
        protocol="1",
        frames=4,
        faces="frame",
        images=Path("pictures"),
        boxes=Path("b.csv"),
        detector="yunet=y.onnx",
    ),
    recipe="metapruning",
    macs="40M",
    channel_multiple=8,
    schedule="small",
    seed=7,
    latency_table=Path("t.json"),
    latency_ms=2.5,
    teacher=("resnet18_map", "other.toml"),
)
"""Every field differs from its default, but for those that exclude each other."""


def typed(command: str, monkeypatch: pytest.MonkeyPatch) -> train.TrainRequest:
    """The request that the command line makes of a training's command."""
    requests = []

    def trained(_: object, request: train.TrainRequest, *__: object, **___: object) -> None:
        requests.append(request)
        raise UserError("enough")

    monkeypatch.setattr(train, "train", trained)
    program, *words = shlex.split(command)
    assert program == "swapbench"
    assert cli.main(words) == 2
    (request,) = requests
    return request


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(train.TrainRequest)])
def test_every_field_of_a_training_is_in_its_command(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = train.TrainRequest("minifasnet_v2")
    assert getattr(WHOLE, field) != getattr(default, field), "the request above must set it"
    alone = dataclasses.replace(default, **{field: getattr(WHOLE, field)})
    assert alone.command() != default.command()
    assert typed(alone.command(), monkeypatch) == alone


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(DataOptions)])
def test_every_field_of_the_data_is_in_the_command_of_a_training(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (
        dataclasses.replace(WHOLE.data, data=None, data_root=Path("sets"))
        if field == "data_root"
        else WHOLE.data
    )
    assert getattr(whole, field) != getattr(DataOptions(), field), "the request above must set it"
    data = dataclasses.replace(DataOptions(), **{field: getattr(whole, field)})
    alone = train.TrainRequest("minifasnet_v2", data)
    assert typed(alone.command(), monkeypatch) == alone


def test_a_whole_training_comes_back_from_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WHOLE.command() == (
        "swapbench train mobilefacenet --data 'some data' --protocol 1 --frames 4 --faces frame "
        "--images pictures --boxes b.csv --detector yunet=y.onnx "
        "--recipe metapruning --macs 40M --channel-multiple 8 --schedule small --seed 7 "
        "--latency-table t.json --latency-ms 2.5 --teacher resnet18_map --teacher other.toml"
    )
    assert typed(WHOLE.command(), monkeypatch) == WHOLE


def folder_of_images(images: Annotated[str | None, typer.Option()] = None) -> str | None:
    """A group with one option."""
    return images


def two_kinds_of_images(
    folder: Annotated[str | None, Group("Data", folder_of_images)] = None,
    images: Annotated[int, typer.Option()] = 200,
) -> None:
    """A command with an option of its own that is called like one of its group."""


def test_two_options_of_one_name_are_refused_before_one_takes_the_value_of_the_other() -> None:
    with pytest.raises(TypeError, match="two_kinds_of_images has two options called images"):
        ungrouped(two_kinds_of_images)


@pytest.mark.parametrize("words", [(), ("device",), ("data",), ("baseline",)])
def test_without_a_command_the_help_is_shown_as_a_mistake(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = help_of(words, capsys)
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (shown, "")
