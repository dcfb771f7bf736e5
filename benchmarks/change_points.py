"""How often is a change found where there is none, and how soon one that is there? Simulated, on one core.

    python benchmarks/change_points.py [--series 2000] [--steps 40]

The level that the history uses is 0.001 a series. The first table is of series without any change, in several
kinds of noise; the last two kinds break what the test assumes, that the order of the noise means nothing. The
second is of a step after 40 nights, by its size in standard deviations of normal noise: in how many of the
series it is marked once so many nights have followed, at the right place give or take one.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from swapbench.stats import LEVEL, change_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]


def days_alike(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Each night is half the night before: an autoregressive series of the first order."""
    values = random.normal(size=count)
    for place in range(1, count):
        values[place] += 0.5 * values[place - 1]
    return values


NOISE: dict[str, Noise] = {
    "normal": lambda random, count: random.normal(size=count),
    "heavy tails (t, 2 degrees)": lambda random, count: random.standard_t(2, size=count),
    "skewed (lognormal)": lambda random, count: random.lognormal(size=count),
    "two modes, 5 sd apart": lambda random, count: (
        5.0 * random.integers(2, size=count) + random.normal(size=count)
    ),
    "BREAKS IT: nights alike (AR 0.5)": days_alike,
    "BREAKS IT: drift of 2 sd in all": lambda random, count: (
        random.normal(size=count) + np.linspace(0, 2, count)
    ),
}
NIGHTS = (20, 60)
STEPS = (1.0, 2.0, 3.0, 5.0)
AFTER = (3, 5, 10, 20)
BEFORE = 40


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    series, few = options.series, options.steps
    print(f"Series without a change that show one, of {series}, at the level {LEVEL:g}\n")
    print("| noise | " + " | ".join(f"{count} nights" for count in NIGHTS) + " |")
    print("| --- |" + " --- |" * len(NIGHTS))
    for name, noise in NOISE.items():
        random = np.random.default_rng(1)
        alarms = [sum(bool(change_points(noise(random, count))) for _ in range(series)) for count in NIGHTS]
        print(
            f"| {name} | " + " | ".join(f"{100 * count / series:.2f} %" for count in alarms) + " |",
            flush=True,
        )
    print(f"\nSteps after {BEFORE} nights that are marked where they are, of {few}\n")
    print("| step, sd | " + " | ".join(f"{count} nights after it" for count in AFTER) + " |")
    print("| --- |" + " --- |" * len(AFTER))
    for step in STEPS:
        random = np.random.default_rng(2)
        shares = [sum(is_marked(random, step, after) for _ in range(few)) / few for after in AFTER]
        print(f"| {step:g} | " + " | ".join(f"{100 * share:.0f} %" for share in shares) + " |", flush=True)


def is_marked(random: np.random.Generator, step: float, after: int) -> bool:
    values = random.normal(size=BEFORE + after)
    values[BEFORE:] += step
    return any(abs(change.start - BEFORE) <= 1 for change in change_points(values))


if __name__ == "__main__":
    main()
