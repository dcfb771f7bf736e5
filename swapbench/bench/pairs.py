"""Paired times: a baseline, a candidate and the baseline again (the control), side by side in every round.

Disturbance on shared machines is one-sided and comes in bursts that are longer than a slice. Short
alternating slices of living workers let a burst or a drift of the clock hit all three alike; a low quantile
of each worker's runs leaves the bursts out; fresh processes in every round keep the differences between
processes in the spread over rounds. The control is the same file as the baseline: what it shows is noise.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from swapbench import stats
from swapbench.bench.workers import TimedWorker, time_together
from swapbench.errors import DeviceFailed, EnvironmentFailed, WorkerFailed
from swapbench.records import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Device
    from swapbench.records import Machine, RuntimeUsed, WorkerTimes

Statistic = Literal["p05", "p50", "p90", "load"]
_QUANTILES: Final[dict[str, float]] = {"p05": 0.05, "p50": 0.5, "p90": 0.9}

BASELINE, CANDIDATE, CONTROL = "baseline", "candidate", "control"
CLOCK_LIMIT = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq"
THROTTLED = "/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"


PAIRED_PLAN: Final = Plan(slices_per_round=12, slice_ns=10_000_000)
"""Twelve turns hold each order of three twice; 10 ms slices are shorter than a shared machine's bursts."""


@dataclass(frozen=True)
class Round:
    """One fresh process of each, timed in alternating slices."""

    baseline: WorkerTimes
    candidate: WorkerTimes
    control: WorkerTimes


@dataclass(frozen=True)
class PairedTimes:
    """All rounds of one baseline and one candidate so far, and what ran where.

    After a failure or a change no more rounds are measured.

    Attributes:
        machine: before the first round.
        conditions: what must not change between rounds.
        rounds: that were measured.
        used: the runtime that really ran, by role.
        input: what was fed, as in records.Speed.
        failure: why the candidate did not run, although the baseline did.
        invalid: what changed between rounds, "" where nothing did.
    """

    machine: Machine
    conditions: Mapping[str, str]
    rounds: tuple[Round, ...] = ()
    used: Mapping[str, RuntimeUsed] = field(default_factory=dict)
    input: str = ""
    failure: WorkerFailed | None = None
    invalid: str = ""

    @property
    def over(self) -> bool:
        """True where more rounds would add nothing."""
        return self.failure is not None or bool(self.invalid)


def measure_rounds(
    baseline: FileUnderTest,
    candidate: FileUnderTest,
    device: Device,
    plan: Plan,
    rounds: int,
    *,
    before: PairedTimes | None = None,
) -> PairedTimes:
    """Measure `rounds` rounds, or as many more after `before`.

    Each round starts three fresh workers in a drawn order; the slices alternate so that each of the three
    comes equally often in each place and after each other. A candidate that fails while the baseline runs is
    a result (`failure`). Power source, governor, clock limit and throttle events are read after every round,
    and so is what each worker reports that it ran on: a change is `invalid`. Whatever interrupts the
    measurement, all workers have ended when it is left.

    Raises:
        EnvironmentFailed: the baseline failed, or the device is gone.
    """
    if before is None:
        machine = device.describe()
        before = PairedTimes(machine, _conditions(device, machine))
    files = [
        replace(file, name=role)
        for role, file in ((BASELINE, baseline), (CANDIDATE, candidate), (CONTROL, baseline))
    ]
    times = before
    for number in range(len(before.rounds), len(before.rounds) + rounds):
        if times.over:
            break
        order = _Turns(random.Random(f"{plan.seed} {number}"))  # noqa: S311 - an order, no secret
        workers = time_together(files, device, plan, number, order, load_at_once=True)
        times = _with_round(times, workers, _conditions(device, device.describe()))
    return times


def log_ratios(rounds: Sequence[Round], statistic: Statistic = "p05") -> tuple[list[float], list[float]]:
    """Changes and controls of a statistic, one a round.

    A change is log(candidate / both baselines), a control is log(control / baseline). The candidate is
    compared with the geometric mean of baseline and control, two processes of the same file, which has a
    quarter less variance than a comparison with one of them. A change of +0.0953 is 10 % slower.

    Args:
        rounds: paired rounds.
        statistic: p05, p50, p90: that quantile of a worker's runs; load: from the file to a loaded model,
            while the other two load too.
    """
    changes, controls = [], []
    for paired in rounds:
        baseline, control, candidate = (
            math.log(statistic_ns(times, statistic))
            for times in (paired.baseline, paired.control, paired.candidate)
        )
        changes.append(candidate - (baseline + control) / 2)
        controls.append(control - baseline)
    return changes, controls


def statistic_ns(times: WorkerTimes, statistic: Statistic) -> float:
    """One number for a worker, in ns; see `log_ratios`."""
    if statistic == "load":
        value = float(times.load_ns)
    else:
        value = stats.quantile(times.runs_ns, _QUANTILES[statistic])
    return max(value, 1.0)  # a clock that cannot tell a run from nothing


class _Turns:
    """Orders that are reversed at every turn and rotated after every second.

    Six turns of three names are all six orders: each name is equally often in each place and after each other
    one (a Williams square; Williams 1949). Two names are A B, B A, B A, A B.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw, self._start, self._turn = draw, [""], -1

    def __call__(self, names: Sequence[str]) -> list[str]:
        if self._turn < 0:
            self._start = self._draw.sample(list(names), len(names))
        self._turn += 1
        shift = self._turn // 2 % len(self._start)
        order = self._start[shift:] + self._start[:shift]
        if self._turn % 2:
            order.reverse()
        return [name for name in order if name in names]


def _with_round(
    times: PairedTimes,
    workers: Mapping[str, TimedWorker | EnvironmentFailed],
    conditions: Mapping[str, str],
) -> PairedTimes:
    """`times` and one round more, or what ended it."""
    for role in (BASELINE, CONTROL, CANDIDATE):
        worker = workers[role]
        if isinstance(worker, DeviceFailed):
            raise worker
        if isinstance(worker, EnvironmentFailed) and role != CANDIDATE:
            raise WorkerFailed(
                f"the baseline itself failed: {worker.args[0]}", remedy=worker.remedy
            ) from worker
    candidate = workers[CANDIDATE]
    if isinstance(candidate, WorkerFailed):
        return replace(times, failure=candidate)
    if isinstance(candidate, EnvironmentFailed):
        raise candidate
    timed = {role: worker for role, worker in workers.items() if isinstance(worker, TimedWorker)}
    used = times.used or {role: worker.loaded.used for role, worker in timed.items()}
    paired = Round(timed[BASELINE].times, timed[CANDIDATE].times, timed[CONTROL].times)
    return replace(
        times,
        rounds=(*times.rounds, paired),
        used=used,
        input=candidate.loaded.input,
        invalid=_changed(times.conditions, conditions) or _runtime_change(used, timed),
    )


def _runtime_change(used: Mapping[str, RuntimeUsed], workers: Mapping[str, TimedWorker]) -> str:
    """How a worker ran differently than before, or the control than the baseline; "" where none did."""
    for role, worker in workers.items():
        expected = used[BASELINE] if role == CONTROL else used[role]
        if worker.loaded.used != expected:
            before, now = expected.model_dump(), worker.loaded.used.model_dump()
            field_name = next(name for name in before if before[name] != now[name])
            return (
                f"the {role} ran differently in round {worker.times.round + 1} than before: "
                f"{field_name} is {now[field_name]}, was {before[field_name]}"
            )
    return ""


def _conditions(device: Device, machine: Machine) -> dict[str, str]:
    """What must stay as it is while rounds are compared; what cannot be read is left out."""
    conditions = {}
    if machine.on_battery is not None:
        conditions["power source"] = "battery" if machine.on_battery else "mains"
    if machine.governor is not None:
        conditions["clock governor"] = machine.governor
    for name, path in (("clock limit in kHz", CLOCK_LIMIT), ("count of thermal throttling", THROTTLED)):
        try:
            conditions[name] = device.read(path).strip()
        except DeviceFailed:
            continue
    return conditions


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is different, as a sentence without its full stop; "" where nothing is, or it cannot be read."""
    return "; ".join(
        f"the {name} changed from {value} to {now[name]}"
        for name, value in before.items()
        if name in now and now[name] != value
    )
