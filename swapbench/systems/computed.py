"""The decision of a frozen system, computed from what was recorded of its members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.metrics import evaluate_folds
from swapbench.pad.rates import EER_AT_DEV
from swapbench.records import Absent, Decision, Frames, MemberCost
from swapbench.systems.costs import Prices, decision_cost, latency_ns, mean_interval
from swapbench.systems.evidence import alike
from swapbench.systems.frozen import Development, fold_scores
from swapbench.systems.gain import gain
from swapbench.systems.rules import decided
from swapbench.systems.scores import FoldMembers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.pad.metrics import ErrorRates, FoldScores
    from swapbench.pad.rates import ThresholdRule
    from swapbench.pad.scores import Scored
    from swapbench.records import DecisionCost, Gain, System

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

NO_CAMERA = Absent(absent="no frame rate of a camera was given", remedy="Give one, e.g. --fps 15")


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the members of a system.

    Attributes:
        names: of their files
        records: (run, id) of each
        folds: what they said of every frame
        time: of one inference, ns
        energy: above idle of one inference, uJ; absent where one of them has none
    """

    names: tuple[str, ...]
    records: tuple[tuple[str, str], ...]
    folds: tuple[FoldMembers, ...]
    time: Prices
    energy: Prices | Absent


@dataclass(frozen=True)
class How:
    """How test numbers are made.

    Attributes:
        rule: of thresholds, which the system was frozen by
        fps: frames a second of a camera; None: no time to a decision
        confidence: of all intervals
        seed: of all draws
    """

    rule: ThresholdRule
    fps: float | None = None
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Computed:
    """A system as its members' records say it would do.

    Attributes:
        decision: what it costs and gains
        rates: its errors
        folds: its score of every presentation
    """

    decision: Decision
    rates: ErrorRates
    folds: Sequence[FoldScores]


def computed(system: System, known: Known, how: How) -> Computed:
    """What a frozen system would do.

    Raises:
        BadDataset: a test split lacks a class
    """
    folds = fold_scores(system, known.folds)
    rates = evaluate_folds(folds, rule=how.rule, confidence=how.confidence, seed=how.seed)
    found = decided_on_test(system, known.folds)
    of, asked, frames = found.of, found.asked, found.frames
    decision = Decision(
        system=system,
        basis="computed",
        members=tuple(
            MemberCost(
                record=record,
                run=run,
                time_ns=float(known.time.each[place]),
                energy_uj=None if isinstance(known.energy, Absent) else float(known.energy.each[place]),
                asked=float(asked[place].mean()),
            )
            for place, (run, record) in enumerate(known.records)
        ),
        time_ns=_cost(of, asked, known.time, how),
        energy_uj=known.energy if isinstance(known.energy, Absent) else _cost(of, asked, known.energy, how),
        frames=decision_cost(of, frames.astype(np.float64)),
        fps=how.fps,
        latency_ns=_latency(system, of, asked, frames, known.time, how),
        alike=_alike(known.folds, system.frames.count),
        gain=_gain(system, folds, known, how),
    )
    return Computed(decision, rates, folds)


def _cost(of: Scored, asked: Ints, prices: Prices, how: How) -> DecisionCost:
    interval = mean_interval(of, asked, prices, confidence=how.confidence, seed=how.seed)
    return decision_cost(of, prices.cost(asked), interval)


@dataclass(frozen=True, eq=False)
class OnTest:
    """What a frozen system decides about the test presentations of all folds that have a frame.

    Attributes:
        of: the presentations
        asked: inferences of each member, [members, presentations]
        frames: that were looked at, [presentations]
        accepted: [presentations]
    """

    of: Scored
    asked: Ints
    frames: Ints
    accepted: NDArray[np.bool_]


def decided_on_test(system: System, folds: Sequence[FoldMembers]) -> OnTest:
    """What a frozen system decides about test presentations."""
    said = [
        decided(system, fold.test.scores, frozen) for fold, frozen in zip(folds, system.frozen, strict=True)
    ]
    asked = np.concatenate([one.asked for one in said], axis=1)
    frames = np.concatenate([one.frames for one in said])
    of = folds[0].test.of if len(folds) == 1 else _stacked([fold.test.of for fold in folds])
    accepted = np.concatenate(
        [one.score >= frozen.threshold for one, frozen in zip(said, system.frozen, strict=True)]
    )
    there = frames > 0
    return OnTest(of.rows(there), asked[:, there], frames[there], accepted[there])


def _stacked(tables: Sequence[Scored]) -> Scored:
    names = ("presentation", "subject", "is_bona_fide", "species", "score")
    return type(tables[0])(*(np.concatenate([getattr(table, name) for table in tables]) for name in names))


def _latency(
    system: System, of: Scored, asked: Ints, frames: Ints, time: Prices, how: How
) -> DecisionCost | Absent:
    if how.fps is None:
        return NO_CAMERA
    if system.rule == "cascade":  # the others see the frames once the first has seen all of them
        each, after = float(time.each[0]), time.each[1:] @ asked[1:]
    else:
        used = [member.weight > 0 for member in system.members]
        each, after = float(time.each[used].sum()), np.zeros(frames.size)
    return decision_cost(of, latency_ns(frames, each, after, how.fps))


def _alike(folds: Sequence[FoldMembers], frames: int) -> float | None:
    """Of the first member's scores, the mean over folds."""
    tests = [fold.test.first(frames) for fold in folds]
    found = [alike(test.scores[0], test.of.species) for test in tests]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else None


def _gain(system: System, folds: Sequence[FoldScores], known: Known, how: How) -> Gain | None:
    """Against the member that is best on development; of several frames of one file, against one frame."""
    sides = []
    one = system.frames.replace(rule="mean") if len(known.names) > 1 else Frames()
    if len(known.names) == 1 and system.frames.count == 1:
        return None
    for place, name in enumerate(known.names):
        members = tuple(
            FoldMembers(fold.name, fold.dev.members([place]), fold.test.members([place]))
            for fold in known.folds
        )
        development = Development(members, EER_AT_DEV if how.rule.rate == "given" else how.rule)
        file = system.members[place].replace(weight=1.0, reads="")
        alone = system.replace(rule="mean", margin=None, members=(file,), frames=one)
        trial = development.tried(alone)
        words = name if len(known.names) > 1 else f"{name}, one frame"
        sides.append((trial.errors.acer, words, (trial.system, fold_scores(trial.system, members))))
    _, words, side = min(sides, key=lambda entry: entry[0])
    return gain((words, side), (system, folds), confidence=how.confidence, seed=how.seed)
