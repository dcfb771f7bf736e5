"""The commands that make models: train, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.groups import Group
from swapbench.cli.options import ChannelMultiple, Formats, Json, OnFleet, Precisions, TrainingData
from swapbench.cli.panels import OUTPUT, PRUNING, RARE
from swapbench.cli.study import refuse, run_study, study_in
from swapbench.commands.options import DataOptions, VariantOptions

METHOD = "Method"
EFFORT = "How long"


def train(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Recipe of the network (name or file; see models/recipes), or a study: a .toml file with "
            "arms, each trained with several seeds (docs/studies.md).",
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            rich_help_panel=METHOD,
            help="Method applied on top of the network's recipe (name or file): distill, early_exit, "
            "uniform, magnitude, metapruning or metammd; see models/recipes/methods.",
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METHOD,
            help="Trained model (name or card) to learn from, instead of those that the method names. "
            "Repeatable.",
        ),
    ] = None,
    macs: Annotated[
        str | None,
        typer.Option(
            metavar="N", rich_help_panel=PRUNING, help="Pruning budget in multiply-accumulates, as in 40M."
        ),
    ] = None,
    latency_ms: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="MS",
            rich_help_panel=PRUNING,
            help="Pruning budget in milliseconds; needs --latency-table.",
        ),
    ] = None,
    latency_table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=PRUNING,
            help="Measured layer times, from swapbench latency-table.",
        ),
    ] = None,
    channel_multiple: ChannelMultiple = None,
    *,
    data: TrainingData,
    fleet: OnFleet,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=EFFORT,
            help="How much training to spend (name or file): small suits a small machine; see "
            "models/recipes/schedules. By default as the recipe says.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=EFFORT, help="CPU threads. By default all."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=EFFORT,
            help="Cores for the trainings of a study, which run side by side (by default all), or processes "
            "that judge the structures of a search (by default threads).",
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            rich_help_panel=EFFORT,
            help="GPUs for the trainings of a study, as 0,1: each has one to itself.",
        ),
    ] = None,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing",
            rich_help_panel=EFFORT,
            help="Do nothing if the card of this recipe, trained on these data with this seed, exists.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=OUTPUT,
            help="Folder for the card and the checkpoint. By default models/, of a study studies/NAME/.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=RARE, help="Random seed. By default the recipe's."),
    ] = None,
) -> int:
    """Train a network from its recipe, with distillation or pruning if asked; or all networks of a study.

    Writes a checkpoint and a model card that says how it was made. What is interrupted goes on with the same
    command.
    """
    from swapbench.commands import train as commands
    from swapbench.commands.executors import executor

    study = study_in(name)
    if study is not None:
        given = {
            "--recipe": recipe,
            "--teacher": teacher,
            "--macs": macs,
            "--latency-ms": latency_ms,
            "--latency-table": latency_table,
            "--channel-multiple": channel_multiple,
            "--threads": threads,
            "--seed": seed,
            "an option of the data": data != DataOptions() or None,
        }
        refuse(given, f"{name} is a study, which says this itself", "Write it into the file")
        return run_study(study.with_schedule(schedule), jobs, gpus, out, fleet)
    refuse({"--gpus": gpus}, f"{name} is no study", "Leave it out")

    request = commands.TrainRequest(
        name,
        data,
        recipe=recipe,
        macs=macs,
        channel_multiple=channel_multiple,
        schedule=schedule,
        seed=seed,
        latency_table=latency_table,
        latency_ms=latency_ms,
        teacher=tuple(teacher or ()),
    )
    with terminal.progress() as progress:
        path = commands.train(
            terminal.folders(),
            request,
            out,
            threads=threads,
            missing=missing,
            judges=executor(terminal.folders(), jobs, None, fleet, terminal.say)
            if jobs or fleet.where
            else None,
            progress=progress,
            say=terminal.say,
        )
    terminal.show(path)
    return 0


def judge(
    fitness: Annotated[Path, typer.Argument(metavar="FITNESS", help="File of the fitness.")],
    batch: Annotated[Path, typer.Argument(metavar="BATCH", help="Structures to judge.")],
    answer: Annotated[Path, typer.Argument(metavar="ANSWER", help="File to write.")],
) -> int:
    """Judge a batch of structures of a search; train starts this on each core, here or on a fleet."""
    from swapbench.commands import train as commands

    with terminal.progress() as progress:
        commands.judge(fitness, batch, answer, progress)
    return 0


def _wanted(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAMES", help="Model names or card files. By default all bundled ones."),
    ] = None,
    format_: Formats = None,
    precision: Precisions = None,
) -> VariantOptions:
    return VariantOptions.of(names or (), format_ or (), precision or ())


def export(
    wanted: Annotated[VariantOptions, Group("Options", _wanted)],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Dataset for calibration and the parity check. By default the simulated set.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also copy the files into this folder.")
    ] = None,
    json_out: Json = False,
) -> int:
    """Export PyTorch networks to the files that ship, and check that they agree."""
    from swapbench.commands import export as commands

    with terminal.progress() as progress:
        exported = commands.export(terminal.folders(), wanted, data, out, progress=progress, say=terminal.say)
    columns = ("file", "size", "largest diff", "logit error", "rank corr.", "flips", "path")
    terminal.print_result(exported.rows(), columns, "Nothing was exported.", json_out=json_out)
    curves = exported.curves()
    if curves and not json_out:
        terminal.say("Layers left in float, tried on the calibration samples (times are rough):")
        terminal.print_rows(curves, tuple(curves[0]), "")
    for name, doubts in exported.doubts.items():
        for doubt in doubts:
            terminal.say(f"doubt: {doubt.code} ({name}): {doubt.message}. {doubt.remedy}")
    status = terminal.report_failures(exported.failures)
    return status or (3 if exported.doubts else 0)
