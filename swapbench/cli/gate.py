"""The commands about regressions: gate, compare, baseline save."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from swapbench.cli import terminal
from swapbench.cli.options import (
    FRAMES_PER_VIDEO,
    Card,
    DataRoot,
    Device,
    Faces,
    Frames,
    Json,
    Protocol,
    Runtimes,
    Threads,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.commands.data import DataRequest
    from swapbench.commands.gate import GateRequest
    from swapbench.gate.comparison import GateResult

BUDGET_S = 20.0
"""Stands here too because the command, which owns it, is too much to import for --help; a test holds both equal."""

baseline_app = typer.Typer(help="What the next gate compares with.", no_args_is_help=True)

Sources = (
    "files, a folder with model files, a baseline or a run; several in a row, repeated or parted by commas"
)
Policy = Annotated[
    Path | None, typer.Option(help="gate.toml with budgets and ceilings; the default budgets if none.")
]
Budget = Annotated[
    float,
    typer.Option(
        "--budget-s", min=1, help="Seconds for the rounds of one model; confirming a FAIL may add to it."
    ),
]
Scored = Annotated[
    Path | None,
    typer.Option("--data", help="Dataset to score both sides on (see swapbench run); no accuracy if none."),
]
Seed = Annotated[int, typer.Option(help="Seed of the order of slices.")]


def spread(argv: Sequence[str], names: frozenset[str]) -> list[str]:
    """`--baseline a b c` as `--baseline a --baseline b --baseline c`, which is what a shell makes of `--baseline *.onnx`."""
    done: list[str] = []
    current, open_value = "", False
    for word in argv:
        if word.startswith("-") and word != "-":
            current, open_value = (word, True) if word in names else ("", False)
        elif current:
            if not open_value:
                done.append(current)
            open_value = False
        done.append(word)
    return done


class _TakesLists(TyperCommand):
    """A command without arguments of its own, whose two sides may be lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args, frozenset({"--baseline", "--candidate"})))


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(baseline_app, name="baseline")
    app.command(cls=_TakesLists)(gate)
    app.command()(compare)


def gate(
    candidate: Annotated[
        list[str], typer.Option(metavar="WHAT ...", help=f"What is to be judged: {Sources}.")
    ],
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT ...", help=f"What it is compared with: {Sources}; reports/baseline if none."
        ),
    ] = None,
    device: Device = "local",
    policy: Policy = None,
    budget_s: Budget = BUDGET_S,
    data: Scored = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    card: Card = None,
    runtime: Runtimes = None,
    threads: Threads = 1,
    seed: Seed = 0,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write Markdown.")] = None,
    json_out: Json = False,
) -> int:
    """Measure a baseline and a candidate in pairs and fail where the candidate is worse than its budget allows.

    Exit status: 0 passed, 1 failed, 3 it cannot be told or what was measured must not be used, 2 your mistake, 4 the device
    failed. In GitHub Actions the job summary and annotations are written too.
    """
    from swapbench.commands import gate as commands
    from swapbench.files import write_atomically
    from swapbench.gate import outputs

    request = _request(
        baseline or ["reports/baseline"], candidate, _data(data, data_root, protocol, frames, faces), runtime or [],
        threads, seed, device=device, policy=policy, budget_s=budget_s, card=card,
    )  # fmt: skip
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


def compare(
    one: Annotated[
        str, typer.Argument(metavar="A", help="A file, a folder with model files, a baseline or a run.")
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="The same, held against A.")],
    device: Device = "local",
    policy: Policy = None,
    budget_s: Budget = BUDGET_S,
    data: Scored = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    card: Card = None,
    runtime: Runtimes = None,
    threads: Threads = 1,
    seed: Seed = 0,
    json_out: Json = False,
) -> int:
    """The comparison of the gate for a person: it measures both sides and never fails because one is worse.

    Two runs whose model files are gone are compared by their records. Exit status 3 where what was measured must not be used.
    """
    from swapbench.commands import gate as commands

    request = _request(
        [one], [other], _data(data, data_root, protocol, frames, faces), runtime or [],
        threads, seed, device=device, policy=policy, budget_s=budget_s, card=card,
    )  # fmt: skip
    with terminal.progress() as progress:
        result = commands.compare(terminal.folders(), request, progress=progress, say=terminal.say)
    _print(result, json_out)
    return 3 if result.verdict == "INVALID" else 0


@baseline_app.command("save")
def baseline_save(
    files: Annotated[
        list[str] | None, typer.Argument(help="Model files, folders or a run; the newest run if none.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; reports/baseline if not given.")
    ] = None,
    device: Device = "local",
) -> None:
    """Keep model files, with digests, counts and the machine, as what the next gate compares with."""
    from swapbench.commands import baseline

    print(baseline.save(terminal.folders(), files or [], out, device))


def _data(
    data: Path | None, data_root: Path | None, protocol: str | None, frames: int, faces: str | None
) -> DataRequest | None:
    """What to score on: nothing where no data was named."""
    from swapbench.commands.data import DataRequest

    request = DataRequest.of(data, data_root, protocol, frames, faces)
    return request if data is not None or data_root is not None else None


def _request(
    baseline: Sequence[str],
    candidate: Sequence[str],
    data: DataRequest | None,
    runtimes: Sequence[str],
    threads: int,
    seed: int,
    **rest: Any,
) -> GateRequest:
    from swapbench.bench import PAIRED_PLAN
    from swapbench.commands.gate import GateRequest

    plan = PAIRED_PLAN.replace(threads=threads, seed=seed)
    return GateRequest(
        tuple(baseline), tuple(candidate), runtimes=tuple(runtimes), data=data, plan=plan, **rest
    )


def _print(result: GateResult, json_out: bool) -> None:
    from swapbench.gate import outputs

    print(outputs.json_text(result) if json_out else outputs.terminal(result), end="")
