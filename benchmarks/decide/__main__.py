"""See the head of the package."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

import benchmarks.decide as package
from benchmarks.decide import evidence, progress, studies, verdicts
from benchmarks.decide.worlds import ROOT
from swapbench.errors import SwapbenchError
from swapbench.study import engine
from swapbench.study.executor import LocalProcesses

if TYPE_CHECKING:
    from benchmarks.decide.progress import Standing
    from swapbench.commands.study_table import Training
    from swapbench.study.engine import Now


class _TimeIsUp(Exception):
    """No more trainings in this call."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decide",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=("list", "go", "table"))
    parser.add_argument("studies", nargs="*", default=[], metavar="STUDY", help="all if none")
    parser.add_argument("--minutes", type=float, help="stop then; what is running is cut, and goes on later")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, a core each")
    options = parser.parse_args()
    names = options.studies or list(studies.NAMES)
    if unknown := sorted(set(names) - set(studies.NAMES)):
        parser.error(f"there is no study {unknown[0]!r}; known: {', '.join(studies.NAMES)}")
    os.chdir(ROOT)
    try:
        if options.step == "list":
            print("\n".join(_told(name) for name in studies.NAMES))
            return 0
        if options.step == "table":
            print(verdicts.write())
            return 0
        until_s = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        return max(_go(name, options.jobs, until_s) for name in names)
    except _TimeIsUp:
        print("the time is up; the same command goes on", file=sys.stderr)
        return 0
    except SwapbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_status


def _told(name: str) -> str:
    stands = progress.standing(name)
    if isinstance(stands, str):
        return f"{name:20} {stands}"
    return f"{name:20} {len(stands.results)} of {len(stands.trainings)} trainings"


def _go(name: str, jobs: int, until_s: float | None) -> int:
    """Train and test what a study lacks; the exit status."""
    stands = progress.standing(name)
    if isinstance(stands, str):
        print(f"{name} {stands}", file=sys.stderr)
        return 3
    missing = {training.job.name: training for training in stands.missing}
    if not missing:
        return 0
    stands.planned.data.make()
    wanted = _with_what_they_need(stands, set(missing))

    def listen(now: Now) -> None:
        for each in now.of("done", "kept"):
            training = missing.pop(each.job.name, None)
            if training is not None:
                evidence.keep(stands.planned, training)
                print(f"{name}: {each.job.name} is kept, {len(missing)} left", flush=True)
        if until_s is not None and time.monotonic() > until_s:
            raise _TimeIsUp

    now = engine.run([one.job for one in wanted], LocalProcesses(jobs), listen)
    for job, error in now.failures:
        print(f"{name}: {job}: {error}", file=sys.stderr)
    return 4 if now.failures else 0


def _with_what_they_need(stands: Standing, names: set[str]) -> list[Training]:
    """Trainings with the ones whose networks they begin with or learn from, in order."""
    by_name = {training.job.name: training for training in stands.trainings}
    wanted = set(names)
    for training in reversed(stands.trainings):
        if training.job.name in wanted:
            wanted |= set(training.job.after)
    return [training for name, training in by_name.items() if name in wanted]


if __name__ == "__main__":
    sys.exit(main())
