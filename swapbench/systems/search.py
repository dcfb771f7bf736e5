"""Choosing a system on development: every candidate with its errors and its cost there, and the cheapest.

Nothing of a test split is seen here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from swapbench.errors import UserError
from swapbench.systems.rules import over_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from swapbench.records import Frames, System
    from swapbench.systems.frozen import Development, DevErrors

    Floats = NDArray[np.float64]

MARGINS: Final = 40
"""Margins that a cascade is tried with, besides none and infinite: steps of the share that is asked."""
WALD_RATES: Final = (0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 0.0001)
"""Allowed errors, of both kinds alike, that a sequential test is tried with."""


@dataclass(frozen=True)
class Aim:
    """What a system must keep to on development; among those that do, the cheapest is taken.

    Attributes:
        rate: whose `limit` must be kept; None: the ACER must be within `slack` of the lowest of all
            candidates. Of those that keep a limit on "cost" the one of the lowest ACER is taken.
        limit: between 0 and 1; of a cost in the unit of the prices
        slack: of the ACER, between 0 and 1
    """

    rate: Literal["acer", "apcer", "bpcer", "cost"] | None = None
    limit: float = 0.0
    slack: float = 0.005


@dataclass(frozen=True)
class Candidate:
    """A system that was tried.

    Attributes:
        system: frozen
        errors: on development
        cost: of a decision there, the mean over presentations, in the unit of the prices
        asked: inferences of each member in a decision, means
        frames: in a decision, the mean
    """

    system: System
    errors: DevErrors
    cost: float
    asked: tuple[float, ...]
    frames: float


def tried(development: Development, systems: Sequence[System], prices: Floats) -> tuple[Candidate, ...]:
    """Every system frozen, with its errors and its cost on development.

    Args:
        development: what the members say there
        systems: to try
        prices: of one inference of each member
    """
    candidates = []
    for system in systems:
        trial = development.tried(system)
        asked = np.concatenate([one.asked for one in trial.said], axis=1).mean(axis=1)
        frames = float(np.concatenate([one.frames for one in trial.said]).mean())
        cost = float(prices @ asked)
        candidates.append(Candidate(trial.system, trial.errors, cost, tuple(asked.tolist()), frames))
    return tuple(candidates)


def chosen(candidates: Sequence[Candidate], aim: Aim) -> Candidate:
    """The cheapest candidate that keeps to the aim; of equally cheap ones that of the lowest ACER.

    Raises:
        UserError: none does
    """
    if aim.rate == "cost":
        within = [candidate for candidate in candidates if candidate.cost <= aim.limit]
        if not within:
            least = min(candidate.cost for candidate in candidates)
            raise UserError(
                "nothing that was tried costs so little on development: the cheapest takes"
                f" {least / aim.limit:.2f} times the limit",
                remedy="Allow more, or take a cheaper first file.",
            )
        return min(within, key=lambda candidate: (candidate.errors.acer, candidate.cost))
    if aim.rate is None:
        limit = min(candidate.errors.acer for candidate in candidates) + aim.slack
        fitting = [candidate for candidate in candidates if candidate.errors.acer <= limit + 1e-12]
    else:
        rates = [getattr(candidate.errors, aim.rate) for candidate in candidates]
        fitting = [
            candidate for candidate, rate in zip(candidates, rates, strict=True) if rate <= aim.limit + 1e-12
        ]
        if not fitting:
            raise UserError(
                f"nothing that was tried keeps {aim.rate} <= {100 * aim.limit:g} % on development: the lowest"
                f" is {100 * min(rates):.1f} %",
                remedy="Ask for less, or for a better file.",
            )
    return min(fitting, key=lambda candidate: (candidate.cost, candidate.errors.acer))


def margins(development: Development, system: System) -> Iterator[System]:
    """A cascade with every margin that is worth a try: from never to always asking the later members.

    Margins lie where equal shares of the development presentations are nearer to a threshold, of any member
    but the last.
    """
    base = development.freeze(system.replace(margin=0.0))
    distances = np.sort(
        np.concatenate(
            [
                np.abs(
                    over_frames(fold.dev.first(system.frames.count).scores[place], system.frames.rule)
                    - frozen.members[place]
                )
                for fold, frozen in zip(development.folds, base.frozen, strict=True)
                for place in range(len(system.members) - 1)
            ]
        )
    )
    distances = distances[~np.isnan(distances)]
    places = np.linspace(0, distances.size - 1, MARGINS + 1).round().astype(int)[1:]
    steps = [0.0, *np.unique(distances[places]).tolist(), math.inf]
    for margin in dict.fromkeys(steps):
        yield system.replace(margin=margin)


def weights(system: System, steps: int) -> Iterator[System]:
    """A fusion with all weights in steps of 1 / `steps` that add up to 1."""
    count = len(system.members)
    for parts in product(range(steps + 1), repeat=count):
        if sum(parts) == steps:
            members = tuple(
                member.replace(weight=part / steps)
                for member, part in zip(system.members, parts, strict=True)
            )
            yield system.replace(members=members)


def frame_counts(system: System, counts: Sequence[int]) -> Iterator[System]:
    """A system with several numbers of frames; a sequential test with several bounds for each."""
    for count in counts:
        frames: Frames = system.frames.replace(count=count)
        if frames.rule != "sequential":
            yield system.replace(frames=frames)
            continue
        for rate in WALD_RATES:
            yield system.replace(frames=frames.replace(apcer=rate, bpcer=rate))
