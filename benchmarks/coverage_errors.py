"""How often the intervals of error rates that a report prints hold the truth; run by benchmarks/coverage.py.

Worlds are people whose presentations resemble each other: a score is the mean of its class, what is the
person's own, and noise. The truth follows from the normal distribution; the threshold is fixed at 0, as one
that was frozen on other people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np

from swapbench.pad import metrics
from swapbench.pad.scores import Scored
from swapbench.records import Absent

RATES = ("acer", "hter", "auc", "eer", "apcer", "bpcer", "bpcer10")
_PHI = NormalDist().cdf


@dataclass(frozen=True)
class Crowd:
    """A test split that can be drawn again.

    Attributes:
        name: what is printed.
        people: how many.
        each: bona fide presentations of a person, and attacks of each species on a person.
        bona_fide: the mean score of bona fide presentations, in deviations of the noise.
        attacks: minus the mean score of each species.
        own: the deviation of what is the person's own.
    """

    name: str
    people: int
    each: tuple[int, int]
    bona_fide: float
    attacks: tuple[float, ...]
    own: float = 0.7

    def drawn(self, rng: np.random.Generator) -> Scored:
        """The scores of a split of new people."""
        own = self.own * rng.standard_normal(self.people)
        columns: list[tuple[str, str, str, float]] = []
        for species, mean in (("", self.bona_fide), *((f"s{n}", -a) for n, a in enumerate(self.attacks))):
            known = own if not species else 0.3 * own + 0.95 * self.own * rng.standard_normal(self.people)
            for copy in range(self.each[bool(species)]):
                scores = mean + known + rng.standard_normal(self.people)
                columns += [
                    (f"{species or 'real'}/{person}/{copy}", f"p{person}", species, score)
                    for person, score in enumerate(scores.tolist())
                ]
        names, people, species, scores = zip(*columns, strict=True)
        return Scored.of(names, people, [not one for one in species], species, scores)

    def truths(self) -> dict[str, float]:
        """The rates of all people that there could be."""
        spread = math.sqrt(1 + self.own**2)
        attack_spread = math.sqrt(1 + self.own**2 * (0.3**2 + 0.95**2))
        bpcer = _PHI(-self.bona_fide / spread)
        apcers = [_PHI(-mean / attack_spread) for mean in self.attacks]
        both = math.sqrt(spread**2 + attack_spread**2)
        return {
            "acer": (max(apcers) + bpcer) / 2,
            "hter": (fmean(apcers) + bpcer) / 2,
            "auc": fmean(_PHI((self.bona_fide + mean) / both) for mean in self.attacks),
            "eer": self._eer(spread, attack_spread),
            "apcer": max(apcers),
            "bpcer": bpcer,
            "bpcer10": self._bpcer10(spread, attack_spread),
        }

    def _bpcer10(self, spread: float, attack_spread: float) -> float:
        """The BPCER at the threshold at which a tenth of the attacks of the worst species is accepted."""
        threshold = max(attack_spread * NormalDist().inv_cdf(0.9) - mean for mean in self.attacks)
        return _PHI((threshold - self.bona_fide) / spread)

    def _eer(self, spread: float, attack_spread: float) -> float:
        """Where the rejected bona fide and the accepted attacks are equally many, by bisection."""
        low, high = -10.0, 10.0
        for _ in range(80):
            middle = (low + high) / 2
            rejected = _PHI((middle - self.bona_fide) / spread)
            accepted = fmean(1 - _PHI((middle + mean) / attack_spread) for mean in self.attacks)
            low, high = (middle, high) if rejected < accepted else (low, middle)
        return _PHI((low - self.bona_fide) / spread)


CROWDS = (
    Crowd("20 people, few errors", 20, (2, 2), 2.3, (2.3, 2.3)),
    Crowd("20 people, many errors", 20, (2, 2), 1.2, (1.0, 1.0)),
    Crowd("35 people, 4 equal species", 35, (2, 2), 1.5, (1.5,) * 4),
    Crowd("35 people, 1 of 4 species worst", 35, (2, 2), 1.5, (0.7, 1.8, 1.8, 2.2)),
    Crowd("100 people once each", 100, (1, 1), 1.5, (1.5, 1.5), own=0.0),
    Crowd("100 people who resemble themselves", 100, (5, 3), 1.8, (1.3, 1.6), own=1.2),
    Crowd("100 people, errors rare", 100, (2, 2), 3.2, (3.0, 3.2), own=0.8),
)


def coverage(crowd: Crowd, trials: int, rng: np.random.Generator) -> tuple[dict[str, float], float, float]:
    """The share of trials in which each interval holds the truth; the bias of ACER, true and as stated."""
    truths, held, bias, stated = crowd.truths(), dict.fromkeys(RATES, 0), 0.0, 0.0
    worst = max(range(len(crowd.attacks)), key=lambda number: -crowd.attacks[number])
    for _ in range(trials):
        found = metrics.describe_without_dev(crowd.drawn(rng), 0.0, draws=300, seed=int(rng.integers(2**31)))
        assert found.at_threshold is not None
        bpcer10 = found.bpcer_at_apcer["bpcer10"]
        intervals = {
            "acer": found.acer_interval,
            "hter": found.hter_interval,
            "auc": found.auc_interval,
            "eer": found.eer_interval,
            "apcer": found.at_threshold.apcer_by_species[f"s{worst}"].interval,
            "bpcer": found.at_threshold.bpcer.interval,
            "bpcer10": None if isinstance(bpcer10, Absent) else bpcer10.interval,
        }
        for name, interval in intervals.items():
            # without overlap an AUC and an EER have no interval, which claims nothing
            held[name] += interval is None or interval.low <= truths[name] <= interval.high
        bias += found.at_threshold.acer - truths["acer"]
        stated += found.acer_bias or 0.0
    return {name: number / trials for name, number in held.items()}, bias / trials, stated / trials


def table(trials: int, seed: int) -> str:
    """The lines of a Markdown table."""
    lines = [
        "| people | ACER | HTER | AUC | EER | APCER | BPCER | BPCER10 | bias of ACER | as stated |",
        "|---" * 10 + "|",
    ]
    for number, crowd in enumerate(CROWDS):
        shares, bias, stated = coverage(crowd, trials, np.random.default_rng([seed, number]))
        cells = [f"{100 * share:.1f}" for share in shares.values()]
        cells += [f"{100 * bias:+.2f}", f"{100 * stated:+.2f}"]
        lines.append(f"| {crowd.name} | {' | '.join(cells)} |")
    return "\n".join(lines)
