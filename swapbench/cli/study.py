"""How a study looks on a terminal: all its trainings in one view while they run, then its table."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from swapbench import units
from swapbench.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from swapbench.commands.fleet_options import FleetOptions
    from swapbench.commands.study_table import Study
    from swapbench.study.engine import JobNow, Now

_NAME, _BAR = 36, 14
"""Letters of a name and of a bar, at most."""
_EVERY_S: Final = 60.0
"""How often plain lines say how far all are, besides what begins and ends."""


def study_in(name: str) -> Study | None:
    """The study that a name stands for; None where it is that of a recipe."""
    if not name.endswith(".toml") or not Path(name).is_file():
        return None
    from swapbench.commands import study_table

    return study_table.study_in(Path(name))


def refuse(given: Mapping[str, object], why: str, remedy: str) -> None:
    """Raise UserError where one of some options was given that have no place here."""
    from swapbench.errors import UserError

    wrong = next((option for option, value in given.items() if value is not None and value != []), None)
    if wrong is not None:
        raise UserError(f"{why}, so {wrong} has no place", remedy=remedy)


def run_study(study: Study, jobs: int | None, gpus: str | None, out: Path | None, fleet: FleetOptions) -> int:
    """Run it here or on a fleet and show its table; the exit status is that of its worst training."""
    from swapbench.commands import study as commands
    from swapbench.commands.executors import executor

    planned = commands.plan(terminal.folders(), study, out)
    if fleet.where is None:
        with terminal.progress() as progress:
            commands.make_data(terminal.folders(), planned, progress, terminal.say)
    live = sys.stderr.isatty() and not os.environ.get("CI")
    place = executor(terminal.folders(), jobs, gpus, fleet, terminal.say)
    with place as where, LiveView() if live else PlainView() as view:
        done = commands.run(planned, where, view)
    terminal.show(done.files[-1].read_text(encoding="utf-8"), end="")
    terminal.say(f"Table: {', '.join(os.path.relpath(path) for path in done.files)}")
    return terminal.report_failures(done.now.failures)


def summary(now: Now) -> str:
    """All of a study in a line: '3 of 12 trainings done, 2 running, 1 failed, about 34 min left'."""
    done, failed = len(now.of("kept", "done")), len(now.of("failed"))
    parts = [f"{done} of {len(now.jobs)} trainings done"]
    kept = len(now.of("kept"))
    parts += [f"{kept} of them earlier"] if kept else []
    parts += [f"{len(now.of('running'))} running"] if now.of("running") else []
    parts += [f"{failed} failed"] if failed else []
    if now.left_s:
        parts.append(f"about {units.time_span(now.left_s)} left")
    return ", ".join(parts)


def how_far(job: JobNow) -> str:
    """What a running job does: 'training minifasnet_v2 42 %'."""
    far = job.how_far
    return f"{far.stage} {100 * far.share:.0f} %" if far.total else far.stage or "starting"


class PlainView:
    """A line when a training begins or ends, and once a minute how far all are."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._said_s = time.monotonic()

    def __call__(self, now: Now) -> None:
        """Hear how all trainings stand."""
        ended = not self._states  # what an earlier call finished is said first
        for job in now.jobs:
            before = self._states.get(job.job.name, "waiting")
            self._states[job.job.name] = job.state
            if job.state == before or job.state in {"waiting", "kept"}:
                continue
            if job.state == "running":
                terminal.say(f"begins: {job.job.name}")
                continue
            ended = True
            said = "FAILED" if job.state == "failed" else "done"
            reason = f": {job.error}" if job.error else f" in {units.time_span(job.seconds)}"
            terminal.say(f"{said}: {job.job.name}{reason}")
        if ended or time.monotonic() - self._said_s >= _EVERY_S:
            self._said_s = time.monotonic()
            running = "; ".join(f"{job.job.name}: {how_far(job)}" for job in now.of("running"))
            terminal.say(summary(now) + (f" ({running})" if running else ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class LiveView:
    """What runs, on lines that are drawn anew, with a line of all below; what failed stays above."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=2, transient=True)
        self._failed: set[str] = set()

    def __call__(self, now: Now) -> None:
        """Hear how all trainings stand."""
        for job in now.of("failed"):
            if job.job.name not in self._failed:
                self._failed.add(job.job.name)
                self._live.console.print(
                    f"FAILED: {terminal.plain(job.job.name)}: {terminal.plain(str(job.error))}"
                )
        self._live.update(_drawn(now))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _drawn(now: Now) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    running = now.of("running")
    widest = max((len(job.job.name) for job in running), default=1)
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    for width in (min(widest, _NAME), _BAR, 5, 6):
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=width, max_width=width)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)  # what there is no room for
    for job in running:
        far = job.how_far
        table.add_row(
            terminal.plain(job.job.name),
            ProgressBar(total=1.0, completed=far.share, width=_BAR),
            f"{100 * far.share:.0f} %" if far.total else "",
            units.time_span(job.seconds),
            terminal.plain(far.stage or "starting"),
        )
    return Group(table, Text(summary(now)))
