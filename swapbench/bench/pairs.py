"""Paired times: a baseline, a candidate and the baseline once more (the control), side by side in every round.

Disturbance on shared machines is one-sided and comes in bursts that are longer than a slice. Short alternating slices of
living workers let a burst or a drift of the clock hit all three alike; a low quantile of each worker's runs leaves the bursts
out; fresh processes in every round keep the differences between processes in the spread over rounds.
The control is the same file as the baseline: what it shows is noise.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from swapbench import stats
from swapbench.bench.workers import Worked, time_together
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
"""Twelve turns hold each order of three twice; 10 ms slices are shorter than the bursts of a shared machine."""


@dataclass(frozen=True)
class Round:
    """One fresh process of each, timed in alternating slices."""

    baseline: WorkerTimes
    candidate: WorkerTimes
    control: WorkerTimes


@dataclass(frozen=True)
class PairedTimes:
    """All rounds of one baseline and one candidate so far, and what ran where.

    machine: before the first round; conditions: what must not change between rounds; used: what really ran, by role.
    failure: why the candidate did not run (the baseline did); invalid: what changed in the middle, "" where nothing did.
    After a failure or a change no more rounds are measured.
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
        """True where more rounds would tell nothing."""
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

    Each round starts three fresh workers in a drawn order; the slices go round so that each of the three comes equally often
    in each place and after each other. A candidate that fails while the baseline runs is a finding (`failure`). Power source,
    governor, clock limit and throttle events are looked at after every round, and so is what each worker says that it ran
    on: a change is `invalid`. Raises EnvironmentFailed where the baseline fails or the device goes away. Whatever
    interrupts it, all workers have ended when it is left.
    """
    if before is None:
        machine = device.describe()
        before = PairedTimes(machine, _conditions(device, machine))
    subjects = [
        replace(subject, name=role)
        for role, subject in ((BASELINE, baseline), (CANDIDATE, candidate), (CONTROL, baseline))
    ]
    done = before
    for number in range(len(before.rounds), len(before.rounds) + rounds):
        if done.over:
            break
        order = _Turns(random.Random(f"{plan.seed} {number}"))  # noqa: S311 - an order, no secret
        worked = time_together(subjects, device, plan, number, order, load_at_once=True)
        done = _with_round(done, worked, _conditions(device, device.describe()))
    return done


def log_ratios(rounds: Sequence[Round], statistic: Statistic = "p05") -> tuple[list[float], list[float]]:
    """(changes, controls), one a round: log(candidate / both baselines) and log(control / baseline) of a statistic.

    p05, p50, p90: that quantile of a worker's runs; load: from the file to a loaded model, while the other two load too.
    The candidate is held against the geometric mean of baseline and control, two processes of the same file: a quarter
    less variance than against one of them. A change of +0.0953 is 10 % slower.
    """
    changes, controls = [], []
    for one in rounds:
        base, control, candidate = (
            math.log(statistic_ns(worker, statistic)) for worker in (one.baseline, one.control, one.candidate)
        )
        changes.append(candidate - (base + control) / 2)
        controls.append(control - base)
    return changes, controls


def statistic_ns(times: WorkerTimes, statistic: Statistic) -> float:
    """One number for a worker, in ns; see `log_ratios`."""
    if statistic == "load":
        value = float(times.load_ns)
    else:
        value = stats.quantile(times.runs_ns, _QUANTILES[statistic])
    return max(value, 1.0)  # a clock that cannot tell a run from nothing


class _Turns:
    """Orders that turn round at every turn and rotate after every second.

    Six turns of three names are all six orders: each name is equally often in each place and after each other one
    (a Williams square; Williams 1949). Two names are A B, B A, B A, A B.
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
    done: PairedTimes, worked: Mapping[str, Worked | EnvironmentFailed], conditions: Mapping[str, str]
) -> PairedTimes:
    """`done` and one round more, or what ended it."""
    for role in (BASELINE, CONTROL, CANDIDATE):
        one = worked[role]
        if isinstance(one, DeviceFailed):
            raise one
        if isinstance(one, EnvironmentFailed) and role != CANDIDATE:
            raise WorkerFailed(f"the baseline itself failed: {one.args[0]}", remedy=one.remedy) from one
    candidate = worked[CANDIDATE]
    if isinstance(candidate, WorkerFailed):
        return replace(done, failure=candidate)
    if isinstance(candidate, EnvironmentFailed):
        raise candidate
    found = {role: one for role, one in worked.items() if isinstance(one, Worked)}
    used = done.used or {role: one.loaded.used for role, one in found.items()}
    times = {role: one.times for role, one in found.items()}
    return replace(
        done,
        rounds=(*done.rounds, Round(times[BASELINE], times[CANDIDATE], times[CONTROL])),
        used=used,
        input=found[CANDIDATE].loaded.input,
        invalid=_changed(done.conditions, conditions) or _ran_otherwise(used, found),
    )


def _ran_otherwise(used: Mapping[str, RuntimeUsed], found: Mapping[str, Worked]) -> str:
    """How a worker ran otherwise than before, or the control otherwise than the baseline; "" where none did."""
    for role, one in found.items():
        known = used[BASELINE] if role == CONTROL else used[role]
        if one.loaded.used != known:
            fields = known.model_dump()
            now = one.loaded.used.model_dump()
            which = next(name for name in fields if fields[name] != now[name])
            return (
                f"the {role} ran in another way in round {one.times.round + 1} than before: "
                f"{which} {now[which]}, was {fields[which]}"
            )
    return ""


def _conditions(device: Device, machine: Machine) -> dict[str, str]:
    """What must stay as it is while rounds are compared; what cannot be read is left out."""
    found = {}
    if machine.on_battery is not None:
        found["power source"] = "battery" if machine.on_battery else "mains"
    if machine.governor is not None:
        found["clock governor"] = machine.governor
    for name, path in (("clock limit in kHz", CLOCK_LIMIT), ("count of thermal throttling", THROTTLED)):
        try:
            found[name] = device.read(path).strip()
        except DeviceFailed:
            continue
    return found


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is different, as a sentence without its full stop; "" where nothing is or it cannot be read any more."""
    return "; ".join(
        f"the {name} changed from {value} to {now[name]}"
        for name, value in before.items()
        if name in now and now[name] != value
    )
