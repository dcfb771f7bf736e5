"""What decisions cost that were timed, held against what the records of the members say they cost.

A process is one observation, as with files. Decisions that asked the same members equally often are alike: in
each process they have a median, and the median over processes is what such a decision costs. Over the test
presentations, each of which takes the way that its scores say, that gives the same numbers as were computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from swapbench import stats, units
from swapbench.records import Absent, DecisionCost, Doubt
from swapbench.systems.costs import Prices, decision_cost, drawn_medians, mean_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from swapbench.records import CostSummary, Decision, Speed
    from swapbench.systems.computed import OnTest

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

DRAWS = 1000
NO_METER = Absent(absent="no meter watched the system")
ALLOWED = 0.10
"""How far the computed cost may be from the measured one before a doubt says so."""


@dataclass(frozen=True, eq=False)
class Ways:
    """The ways that decisions took: how often each member was asked.

    Attributes:
        taken: one-hot, [ways, presentations]: the way of each test presentation
        prices: what a decision of each way costs, ns
        timed: whether the way was timed; the price of one that was not is computed, [ways]
    """

    taken: Ints
    prices: Prices
    timed: NDArray[np.bool_]


def ways(speed: Speed, asked: Ints, prices: Prices, *, draws: int = DRAWS, seed: int = 0) -> Ways:
    """What each way of deciding costs.

    Args:
        speed: of a system, with its decisions
        asked: inferences of each member about each test presentation, [members, presentations]
        prices: what an inference of each member costs, for ways that were never timed
        draws: of the prices
        seed: of the draws
    """
    kinds, way = np.unique(asked.T, axis=0, return_inverse=True)
    way = way.ravel()
    medians: dict[tuple[int, ...], list[float]] = {}
    for worker in speed.workers:
        times: dict[tuple[int, ...], list[int]] = {}
        for decisions, runs_ns in zip(worker.decisions or (), worker.slices_ns, strict=True):
            for (_, _, *counts), run_ns in zip(decisions, runs_ns, strict=True):
                times.setdefault(tuple(counts), []).append(run_ns)
        for counts_of, of_way in times.items():
            medians.setdefault(counts_of, []).append(stats.median(of_way))
    each, drawn, timed = [], [], []
    for kind in kinds:
        shown = medians.get(tuple(kind.tolist()))
        timed.append(shown is not None)
        if shown is None:
            each.append(float(prices.each @ kind))
            drawn.append(kind @ prices.drawn)
        else:
            each.append(stats.median(shown))
            drawn.append(drawn_medians([shown], draws, seed)[0])
    taken = np.zeros((len(kinds), len(way)), dtype=np.intp)
    taken[way, np.arange(len(way))] = 1
    return Ways(taken, Prices(np.array(each), np.array(drawn)), np.array(timed))


def otherwise(speed: Speed, presentations: Sequence[int], accepted: NDArray[np.bool_], asked: Ints) -> int:
    """How many of the presentations that were timed were decided otherwise than their scores say.

    Args:
        speed: of a system, with its decisions
        presentations: the number of each test presentation in the job
        accepted: whether its scores accept it, [presentations]
        asked: inferences of each member about it, [members, presentations]
    """
    place_of = {number: place for place, number in enumerate(presentations)}
    differing = set()
    for worker in speed.workers:
        for decisions in worker.decisions or ():
            for number, decision, *counts in decisions:
                place = place_of[number]
                if bool(decision) != bool(accepted[place]) or counts != asked[:, place].tolist():
                    differing.add(number)
    return len(differing)


@dataclass(frozen=True)
class Sitting:
    """A system that ran as a whole, beside its files.

    Attributes:
        members: times of each file alone
        system: decisions, timed in turn with them
        energy_uj: above idle of a decision, the mean; absent where no meter could tell
    """

    members: tuple[Speed, ...]
    system: Speed
    energy_uj: float | Absent = NO_METER

    @property
    def prices(self) -> Prices:
        """What an inference of each file cost in this sitting, ns."""
        shown = [stats.process_quantiles_ns(speed.workers, stats.MEDIAN) or [] for speed in self.members]
        return Prices(np.array([stats.median(one) for one in shown]), drawn_medians(shown, DRAWS, 0))


@dataclass(frozen=True)
class Measured:
    """The decision as it was measured.

    Attributes:
        decision: with what its files' own times say beside it
        doubts: where the two differ, or decisions do
        untimed: test presentations of a way that no process took, whose cost is computed
    """

    decision: Decision
    doubts: tuple[Doubt, ...]
    untimed: int


def measured(
    result: Decision, said: OnTest, sitting: Sitting, numbers: Sequence[int], confidence: float
) -> Measured:
    """A decision that was computed from the members of a sitting, as that sitting measured it.

    Args:
        result: computed with the prices of the sitting
        said: what the scores say of the test presentations
        sitting: what was measured
        numbers: of these presentations in the job
        confidence: of the interval
    """
    found = ways(sitting.system, said.asked, sitting.prices)
    interval = mean_interval(said.of, found.taken, found.prices, confidence=confidence, seed=0)
    time = decision_cost(said.of, found.prices.cost(found.taken), interval)
    computed_energy = None if isinstance(result.energy_uj, Absent) else result.energy_uj.all.mean
    decision = result.replace(
        basis="measured",
        time_ns=time,
        energy_uj=_energy(result.energy_uj, time, sitting.energy_uj),
        timed=sitting.system,
        computed_time_ns=result.time_ns.all.mean,
        computed_energy_uj=computed_energy,
    )
    doubts = [*_cost_doubts("speed", "time", result.time_ns.all.mean, time.all.mean, units.duration)]
    if computed_energy is not None and not isinstance(sitting.energy_uj, Absent):
        doubts += _cost_doubts("power", "energy", computed_energy, sitting.energy_uj, units.energy)
    flips = otherwise(sitting.system, numbers, said.accepted, said.asked)
    if flips:
        doubts.append(
            Doubt(
                code="system_decides_otherwise",
                quantity="accuracy",
                message=f"{flips} of {len(numbers)} presentations are decided otherwise than scored",
                remedy="Report it as a bug where it is more than rounding at a threshold",
            )
        )
    return Measured(decision, tuple(doubts), int(found.taken[~found.timed].sum()))


def _energy(
    computed: DecisionCost | Absent, time: DecisionCost, metered_uj: float | Absent
) -> DecisionCost | Absent:
    """What decisions used above idle: as metered, else what the files' own energies make of it.

    A meter sees many decisions together, so it tells their mean. Each way has its share of it by the time
    that it takes, as if every moment of deciding used the same power.
    """
    if isinstance(metered_uj, Absent):
        return metered_uj if isinstance(computed, Absent) else computed
    uj_a_ns = metered_uj / time.all.mean

    def scaled(cost: CostSummary) -> CostSummary:
        return cost.replace(mean=uj_a_ns * cost.mean, p90=uj_a_ns * cost.p90, worst=uj_a_ns * cost.worst)

    return DecisionCost(
        all=scaled(time.all),
        bona_fide=scaled(time.bona_fide),
        species={name: scaled(cost) for name, cost in time.species.items()},
    )


def _cost_doubts(
    quantity: Literal["speed", "power"],
    name: str,
    computed: float,
    found: float,
    text: Callable[[float], str],
) -> Iterator[Doubt]:
    """A doubt where the computed cost is more than `ALLOWED` from the measured one."""
    if abs(computed / found - 1) > ALLOWED:
        yield Doubt(
            code=f"computed_{name}_differs",
            quantity=quantity,
            message=f"the {name} of a decision is {text(found)}, and its files alone make {text(computed)}",
            remedy="Trust the measured one: deciding takes time, files in one process share its caches, and"
            " a busy machine interrupts long runs more often",
        )
