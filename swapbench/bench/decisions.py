"""The pass over decisions: a system in one process, timed in turn with its files alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import stats, units
from swapbench.bench.decision_jobs import NAME, content, runtime_of
from swapbench.bench.energy import measure_power
from swapbench.bench.memory import measure_memory
from swapbench.bench.speed import measure_speed
from swapbench.bench.workers import FileUnderTest
from swapbench.errors import EnvironmentFailed
from swapbench.files import write_atomically
from swapbench.records import Absent
from swapbench.systems.measured import Sitting

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.bench.decision_jobs import Job
    from swapbench.bench.setup import Setup
    from swapbench.bench.speed import RoundDone
    from swapbench.ports import Progress
    from swapbench.records import PeakMemory, Power


@dataclass(frozen=True)
class DecisionPass:
    """What was measured of a system as a whole."""

    sitting: Sitting
    memory: PeakMemory
    power: tuple[Power, ...] | Absent


def measure_decisions(
    job: Job, setup: Setup, progress: Progress, *, sleep: Callable[[float], None] = time.sleep
) -> DecisionPass:
    """Time a system and its files in turn, then its memory and energy alone.

    Raises:
        EnvironmentFailed: a worker failed
        UserError: the files cannot share a process
    """
    runtime = runtime_of(job)
    write_atomically(job.path, content(job))
    try:
        first = job.files[0].options
        told = {name: first[name] for name in ("samples", "normalise")}
        whole = FileUnderTest(NAME, setup.device.push(job.path.resolve()), runtime, told)
        plan, stage = setup.plan, "timing decisions"

        def report(done: RoundDone) -> None:
            progress(stage, min(done.spent_s, plan.time_budget_s), plan.time_budget_s)

        progress(stage, 0, plan.time_budget_s)
        timed = measure_speed([*job.files, whole], setup.device, plan, progress=report)
        progress(stage, plan.time_budget_s, plan.time_budget_s)
        speeds = []
        for one in timed.values():
            if isinstance(one, EnvironmentFailed):
                raise one
            speeds.append(one.speed)
        memory = measure_memory(whole, setup.device, plan)
        power: tuple[Power, ...] | Absent
        power = (
            setup.meters
            if isinstance(setup.meters, Absent)
            else measure_power(whole, setup.meters, setup.device, plan, sleep=sleep)
        )
        return DecisionPass(Sitting(tuple(speeds[:-1]), speeds[-1], _energy_uj(power)), memory, power)
    finally:
        job.path.unlink(missing_ok=True)


def _energy_uj(power: tuple[Power, ...] | Absent) -> float | Absent:
    """Above idle of one decision, by the first meter; absent where there is none, or it could not tell."""
    if isinstance(power, Absent):
        return power
    run = stats.energy_per_run(power[0])
    if not run.resolved:
        return Absent(
            absent=f"{power[0].meter} could not tell the energy of a decision from idle: it is at most "
            f"{units.energy(run.limit_uj)}",
            remedy="Watch it for longer: --window 60",
        )
    return run.above_idle_uj
