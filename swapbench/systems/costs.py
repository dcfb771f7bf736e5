"""What decisions cost: from how often each member was asked, and what one inference of it costs.

An inference costs what the record of its file says: the median latency, the energy above idle. A decision
costs the sum over the inferences that it took, one after another. Nothing else is in it: no camera, no
finding of faces, no crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench import stats
from swapbench.pad.scores import coded
from swapbench.records import CostSummary, DecisionCost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.pad.scores import Scored
    from swapbench.records import Interval

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Prices:
    """What one inference of each member costs.

    Attributes:
        each: in one unit, [members]
        drawn: what it might have been, [members, draws]; `each` in every draw where nothing is known
    """

    each: Floats
    drawn: Floats

    def cost(self, asked: Ints) -> Floats:
        """Of every presentation: [members, presentations] -> [presentations]."""
        total: Floats = self.each @ asked
        return total


def decision_cost(of: Scored, values: Floats, interval: Interval | None = None) -> DecisionCost:
    """A cost of all presentations and by class.

    Args:
        of: the presentations
        values: the cost of each
        interval: of the mean of all
    """
    code, names = of.coded_species
    by_class = {name: summary(values[code == number]) for number, name in enumerate(names)}
    return DecisionCost(all=summary(values), interval=interval, bona_fide=by_class.pop(""), species=by_class)


def summary(values: Floats) -> CostSummary:
    """Mean, p90 and worst of the costs of some presentations, of which there is at least one."""
    return CostSummary(
        presentations=values.size,
        mean=float(np.mean(values)),
        p90=stats.quantile(values, 0.90),
        worst=float(np.max(values)),
    )


def mean_interval(
    of: Scored, asked: Ints, prices: Prices, *, confidence: float, seed: int
) -> Interval | None:
    """The interval of the mean cost: people drawn again, and the price of an inference with them.

    Args:
        of: the presentations
        asked: inferences of each member, [members, presentations]
        prices: with their draws
        confidence: of the interval
        seed: of the draws

    Returns:
        None for fewer than two people.
    """
    person, people = coded(of.subject)
    if len(people) < 2:
        return None
    size = np.bincount(person, minlength=len(people)).astype(np.float64)
    of_person = np.stack([np.bincount(person, one, minlength=len(people)) for one in asked])
    draws = prices.drawn.shape[1]
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), draws).astype(np.float64)
    mean_asked = (times @ of_person.T) / (times @ size)[:, None]
    values = np.sum(mean_asked * prices.drawn.T, axis=1)
    method = f"bootstrap over {len(people)} people and over processes, {draws} draws, seed {seed}"
    interval = stats.bootstrap_interval(values, confidence, method)
    if interval is None:
        return None
    mean = float(np.mean(prices.cost(asked)))
    return interval.replace(low=min(interval.low, mean), high=max(interval.high, mean))


def drawn_medians(processes: Sequence[Sequence[float]], draws: int, seed: int) -> Floats:
    """What the medians of several files might have been: a bootstrap over processes, [files, draws].

    Args:
        processes: what each process of each file shows; files with equally many take the same ones, because
            those of a run share their rounds
        draws: how many
        seed: of the draws
    """
    drawn = []
    for shown in processes:
        rng = np.random.default_rng([seed, len(shown)])
        drawn.append(np.median(np.array(shown)[rng.integers(0, len(shown), (draws, len(shown)))], axis=1))
    return np.array(drawn)


def latency_ns(frames: Ints, each_ns: float, after_ns: Floats, fps: float) -> Floats:
    """From a presentation's first frame to its decision, where frames come at a camera's rate.

    A frame is computed when it is there and the one before it is done: n frames take (n - 1) / fps and the
    computing of the last, or n times the computing where that takes longer than a frame. Four frames at 15
    frames a second take 200 ms and one inference.

    Args:
        frames: that were looked at, [presentations]
        each_ns: computing of one frame as it comes
        after_ns: what is computed when all frames are there, [presentations]
        fps: frames a second
    """
    latency: Floats = each_ns + np.maximum(frames - 1, 0) * max(1e9 / fps, each_ns) + after_ns
    return latency
