"""What a system of many presentations takes in CPU seconds: the sweep of a margin, and the test numbers.

    python benchmarks/systems.py [--presentations 100000] [--frames 1]

The scores are drawn: both files see one truth with noise of their own, the small one more of it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from swapbench.pad.rates import EER_AT_DEV
from swapbench.pad.scores import FoldFrames, Scored
from swapbench.records import Absent, Frames, Member, System
from swapbench.systems import search
from swapbench.systems.computed import How, Known, computed
from swapbench.systems.costs import Prices
from swapbench.systems.frozen import Development
from swapbench.systems.scores import joined


def frames_of(split, presentations, frames, noise, seed):
    """Scores of one file: a fifth of the presentations is bona fide, ten of each person."""
    truth = np.random.default_rng(seed)
    real = np.arange(presentations) % 5 == 0
    evidence = np.where(real, 1.5, -1.5) + truth.standard_normal(presentations)
    own = np.random.default_rng([seed, round(100 * noise)]).standard_normal((presentations, frames))
    score = 1 / (1 + np.exp(-(evidence[:, None] + noise * own)))
    names = np.array([f"{split}/{number}" for number in range(presentations)], dtype=object)
    people = np.array([f"{split} {number // 10}" for number in range(presentations)], dtype=object)
    species = np.where(real, "", np.where(np.arange(presentations) % 2 == 0, "print", "replay"))
    table = Scored(
        *(np.repeat(column, frames) for column in (names, people, real, species.astype(object))),
        score.ravel(),
    )
    return table, np.tile(np.arange(frames), presentations)


def fold_of(presentations, frames, noise):
    """Both splits of one file."""
    (dev, dev_frame), (test, test_frame) = (
        frames_of(split, presentations, frames, noise, seed) for split, seed in (("dev", 1), ("test", 2))
    )
    return FoldFrames("", dev, test, dev_frame, test_frame)


def main():
    """Print how long each step takes."""
    parser = argparse.ArgumentParser(description="How long a system of many presentations takes.")
    parser.add_argument("--presentations", type=int, default=100_000, help="of each split")
    parser.add_argument("--frames", type=int, default=1)
    options = parser.parse_args()
    folds = [[fold_of(options.presentations, options.frames, noise)] for noise in (1.5, 0.5)]
    began_s = time.process_time()
    members = joined(("small", "large"), folds)
    joined_s = time.process_time()
    system = System(
        name="bench",
        rule="cascade",
        margin=0.0,
        members=(Member(file="small.onnx"), Member(file="large.onnx")),
        frames=Frames(count=options.frames),
    )
    development = Development(members, EER_AT_DEV)
    each = np.array([1e6, 2e7])
    candidates = search.tried(development, tuple(search.margins(development, system)), each)
    chosen = search.chosen(candidates, search.Aim())
    swept_s = time.process_time()
    prices = Prices(each, np.repeat(each[:, None], 1000, axis=1))
    known = Known(
        ("small", "large"), (("run", "small"), ("run", "large")), members, prices, Absent(absent="none")
    )
    result = computed(chosen.system, known, How(EER_AT_DEV, fps=15.0))
    judged_s = time.process_time()
    print(f"{options.presentations} presentations of {options.frames} frame(s) in each split")
    print(f"joining both files' scores   {joined_s - began_s:6.1f} s")
    print(f"sweeping {len(candidates)} margins          {swept_s - joined_s:6.1f} s")
    print(f"test numbers with intervals  {judged_s - swept_s:6.1f} s")
    print(
        f"chosen: {chosen.asked[1]:.0%} asked on development; on test ACER {result.rates.acer:.2%} at"
        f" {result.decision.time_ns.all.mean / each.sum():.0%} of the time of asking always"
    )


if __name__ == "__main__":
    main()
