"""Quantiles of the beta and Student's t distributions, which numpy does not have."""

from __future__ import annotations

import functools
import math

_TINY = 1e-300


def beta_probability(x: float, a: float, b: float) -> float:
    """P(X <= x) for X of the beta distribution, the regularised incomplete beta function.

    The continued fraction of DLMF 8.17.22 by Lentz's method, on the side where it converges fast.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_probability(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)) with the d of DLMF 8.17.23."""
    value = c = 1.0
    d = 0.0
    for step in range(1, 10_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d or _TINY)
        c = 1 + term / c or _TINY
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x with `beta_probability(x, a, b)` = probability, by guarded Newton steps."""
    log_scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    low, high, x = 0.0, 1.0, a / (a + b)
    for _ in range(200):
        excess = beta_probability(x, a, b) - probability
        low, high = (x, high) if excess < 0 else (low, x)
        slope = math.exp(log_scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x))
        newton = x - excess / slope if slope > 0 else -1.0
        following = newton if low < newton < high else (low + high) / 2
        if abs(following - x) <= 1e-15 * x:
            break
        x = following
    return x


@functools.lru_cache(maxsize=4096)
def t_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t for a probability of at least 1/2: 2.262 for 0.975 and 9 degrees."""
    x = beta_quantile(2 * (1 - probability), freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x) if x > 0 else math.inf
