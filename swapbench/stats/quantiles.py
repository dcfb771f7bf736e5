"""Order statistics.

One definition of a quantile throughout: the inverse of the empirical distribution function (Hyndman and Fan's
type 1), the smallest sample such that at least the fraction `q` of the samples does not exceed it. It is
always a value that was really measured; the median of an even number of samples is the lower of the middle
two.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

MEDIAN = 0.5


def quantile(samples: ArrayLike, q: float) -> float:
    """The smallest sample that at least the fraction `q` of `samples` does not exceed; q = 0 is the minimum.

    Raises:
        ValueError: there are no samples, or q lies outside 0..1.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64), axis=None)
    return float(ordered[rank(ordered.size, q)])


def median(samples: ArrayLike) -> float:
    """`quantile` at 0.5."""
    return quantile(samples, MEDIAN)


def rank(count: int, q: float) -> int:
    """Place of the `q` quantile among `count` ascending samples, from 0."""
    if count == 0:
        raise ValueError("a quantile needs at least one sample")
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile must lie in 0..1, not at {q}")
    return max(0, math.ceil(q * count - 1e-9) - 1)  # .07 * 100 is 7.000000000000001
