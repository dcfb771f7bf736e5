"""The commands about regressions: gate, compare, baseline save."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from swapbench.cli import fleet as fleet_cli
from swapbench.cli import terminal
from swapbench.cli.groups import Group
from swapbench.cli.options import (
    Card,
    ComparedData,
    DeviceName,
    Doubts,
    Json,
    OnFleet,
    Runtimes,
    Seed,
    ShapeTexts,
    Threads,
)
from swapbench.cli.panels import OUTPUT, RARE, TIME, WHAT, WHERE, Command
from swapbench.commands.options import GATE_BUDGET_S, LAST, PairOptions, input_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.commands.fleet_options import FleetOptions
    from swapbench.commands.gate import GateRequest
    from swapbench.commands.options import JudgedData
    from swapbench.gate.comparison import GateResult

SOURCES: Final = "Files, a folder of model files, a baseline or a run; several separated by spaces or commas."


def _pairs(
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=WHAT,
            help="gate.toml with budgets and ceilings. By default the built-in budgets.",
        ),
    ] = None,
    runtime: Runtimes = None,
    device: DeviceName = "local",
    threads: Threads = 1,
    budget_s: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            rich_help_panel=TIME,
            help="Time for the rounds of one model; confirming a FAIL may take longer.",
        ),
    ] = GATE_BUDGET_S,
    card: Card = None,
    shape: ShapeTexts = None,
    seed: Seed = 0,
) -> PairOptions:
    shapes = input_shapes(shape or ())
    return PairOptions(policy, tuple(runtime or ()), device, threads, budget_s, card, seed, shapes)


Pairs = Annotated[PairOptions, Group(WHERE, _pairs)]


def spread(argv: Sequence[str], names: frozenset[str]) -> list[str]:
    """`--baseline a b c`, as a shell expands `*.onnx`, as `--baseline a --baseline b --baseline c`."""
    words: list[str] = []
    current, open_value = "", False
    for word in argv:
        if word.startswith("-") and word != "-":
            current, open_value = (word, True) if word in names else ("", False)
        elif current:
            if not open_value:
                words.append(current)
            open_value = False
        words.append(word)
    return words


class TakesLists(Command):
    """A command without arguments of its own, whose two sides may be lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line with each side spread out."""
        return super().parse_args(ctx, spread(args, frozenset({"--baseline", "--candidate"})))


def gate(
    candidate: Annotated[
        list[str], typer.Option(metavar="WHAT ...", rich_help_panel=WHAT, help=f"What is judged. {SOURCES}")
    ],
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT ...",
            rich_help_panel=WHAT,
            help="What it is compared with, named the same way. By default reports/baseline.",
        ),
    ] = None,
    *,
    pairs: Pairs,
    fleet: OnFleet,
    data: ComparedData,
    history: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=WHAT,
            help="History (swapbench history) that says where a number is worse than its last ones on this "
            "place: advice, never a verdict.",
        ),
    ] = None,
    last: Annotated[
        int,
        typer.Option(
            "--history-last",
            min=5,
            metavar="N",
            rich_help_panel=RARE,
            help="How many of its newest comparable records count.",
        ),
    ] = LAST,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Also write JUnit XML.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="Also write Markdown.")
    ] = None,
    json_out: Json = False,
) -> int:
    """Fail if a candidate is worse than its baseline by more than the budget allows.

    Both are measured now, in pairs. Exit status: 0 passed, 1 failed, 2 invalid input, 3 undecided or unusable
    measurements, 4 device failure. In GitHub Actions the job summary and annotations are written too.
    """
    from swapbench.commands import gate as commands
    from swapbench.files import write_atomically
    from swapbench.gate import outputs

    baseline = baseline or ["reports/baseline"]
    request = commands.GateRequest(tuple(baseline), tuple(candidate), pairs, data, history=history, last=last)
    if fleet.where is not None:
        return _gate_on_fleet(request, fleet, {"junit": junit, "markdown": markdown}, json_out=json_out)
    with terminal.progress() as progress:
        result = commands.gate(terminal.folders(), request, progress=progress, say=terminal.say)
    _print(result, json_out)  # first, so that a file that cannot be written hides nothing
    if junit is not None:
        write_atomically(junit, outputs.junit(result))
    if markdown is not None:
        write_atomically(markdown, outputs.markdown(result))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        outputs.append_summary(Path(summary), result)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in outputs.github_annotations(result):
            terminal.say(line)
    return result.exit_status


def _gate_on_fleet(
    request: GateRequest, fleet: FleetOptions, written: Mapping[str, Path | None], *, json_out: bool
) -> int:
    """The same on a device of a fleet; the exit status is the gate's."""
    from swapbench.commands import fleet_gate
    from swapbench.commands.fleet_run import Watch

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    files = {name: path for name, path in written.items() if path is not None}
    outputs = fleet_gate.GateOutputs(
        {**files, "summary": Path(summary)} if summary else files,
        json=json_out,
        annotations=os.environ.get("GITHUB_ACTIONS") == "true",
    )
    with fleet_cli.view() as view:
        watch = Watch(view, terminal.say)
        result = fleet_gate.gate(terminal.folders(), request, outputs, fleet, watch)
    terminal.show(result.printed, end="")
    for line in result.said:
        terminal.say(line)
    if result.error and f"error: {result.error}" not in result.said:
        terminal.say(f"error: {result.error}")
    return result.status if result.status >= 0 else 4


def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="A and B: files, folders of model files, baselines or runs. With several --runtime the "
            "files of one network for each of them, or folders of files.",
        ),
    ],
    *,
    pairs: Pairs,
    data: ComparedData,
    doubts: Doubts = False,
    json_out: Json = False,
) -> int:
    """Compare B with A as the gate does, without failing, or runtimes with each other.

    Two runs whose model files are gone are compared by their records. Exit status 3 if the measurements are
    unusable. With several --runtime one network under each is set side by side, without a verdict, against
    the first that is named.
    """
    from swapbench.catalog import split_commas
    from swapbench.commands import gate as commands
    from swapbench.errors import UserError

    if len(set(split_commas(pairs.runtimes))) > 1:
        return _compare_runtimes(sources, pairs, data, doubts=doubts, json_out=json_out)
    if len(sources) != 2:
        raise UserError(
            f"{len(sources)} file{'s' * (len(sources) != 1)} cannot be compared with each other",
            remedy="Name two, A and B; or several runtimes, as in --runtime onnxruntime --runtime litert, "
            "and the files of one network for each",
        )
    baseline, candidate = sources
    request = commands.GateRequest((baseline,), (candidate,), pairs, data)
    with terminal.progress() as progress:
        result = commands.compare(terminal.folders(), request, progress=progress, say=terminal.say)
    _print(result, json_out)
    return 3 if result.verdict == "INVALID" else 0


def _compare_runtimes(
    files: Sequence[str], pairs: PairOptions, data: JudgedData | None, *, doubts: bool, json_out: bool
) -> int:
    """One network under several runtimes; the exit status is that of what failed, 0 for nothing."""
    from swapbench.commands import side_by_side as commands
    from swapbench.errors import UserError
    from swapbench.report.tables import side_by_side

    if pairs.policy is not None:
        raise UserError("a policy judges versions of a file, not runtimes", remedy="Leave --policy out")
    request = commands.SideBySideRequest(tuple(files), pairs, data)
    with terminal.progress() as progress:
        result = commands.compare_runtimes(terminal.folders(), request, progress=progress, say=terminal.say)
    if json_out:
        terminal.show(side_by_side.json_text(result.networks, result.notes), end="")
    elif result.networks:
        terminal.print_table(side_by_side.terminal_table(result.networks, every_doubt=doubts), width=80)
        terminal.print_lists(side_by_side.reasons(result.networks), width=80)
    for note in result.notes:
        terminal.say(note)
    return terminal.report_failures(result.failures)


def save(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILES", help="Model files, folders or a run. By default the newest run."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder to write to. By default reports/baseline.")
    ] = None,
    device: DeviceName = "local",
    shape: ShapeTexts = None,
) -> None:
    """Keep model files, with digests, counts and the machine, for later gates."""
    from swapbench.commands import baseline

    shapes = input_shapes(shape or ())
    terminal.show(baseline.save(terminal.folders(), files or [], out, device, shapes))


def _print(result: GateResult, json_out: bool) -> None:
    from swapbench.gate import outputs

    terminal.show(outputs.json_text(result) if json_out else outputs.terminal(result), end="")
