"""Intervals of areas under the ROC curve."""

from __future__ import annotations

import numpy as np
import pytest

from swapbench.bench.separation import auc_interval, noise, separation


def test_the_interval_holds_the_area_and_is_none_too_wide_at_the_ends() -> None:
    low, high = auc_interval(1.0, 100, 100)
    assert high == 1.0
    assert 0.96 < low < 0.99
    assert auc_interval(0.0, 100, 100) == pytest.approx((1 - high, 1 - low))


def test_the_edges_are_the_areas_whose_own_standard_error_just_reaches_the_one_seen() -> None:
    """At an area t of m against m the variance is t(1-t)(1 + (m-1)((1-t)/(2-t) + t/(1+t))) / m^2."""
    low, high = auc_interval(0.8, 50, 50)
    for edge in (low, high):
        spread = 1 + 49 * ((1 - edge) / (2 - edge) + edge / (1 + edge))
        assert abs(0.8 - edge) == pytest.approx(1.959964 * (edge * (1 - edge) * spread) ** 0.5 / 50, rel=1e-5)
    assert low < 0.8 < high


def test_the_interval_covers_the_true_area_about_as_often_as_it_says() -> None:
    """Normal scores one deviation apart have an area of Phi(1 / sqrt 2) = .7602."""
    dice = np.random.default_rng(5)
    labels = np.arange(60) < 30
    covered = 0
    for _ in range(400):
        low, high = auc_interval(separation(dice.normal(labels * 1.0), labels), 30, 30)
        covered += low <= 0.7602 <= high
    assert 365 <= covered <= 395  # 380 are due, with a deviation of 4.4


def test_noise_is_that_of_mann_and_whitney() -> None:
    assert noise(np.arange(40) < 20) == pytest.approx(2.576 * (41 / (12 * 400)) ** 0.5)
