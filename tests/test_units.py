"""Quantities as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench import units


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1234567, "1.23 ms"),
        (999_600, "1.00 ms"),
        (40_000_000, "40.0 ms"),
        (2_500_000_000, "2.50 s"),
    ],
)
def test_a_duration_is_shown_in_the_unit_a_person_would_choose(ns: int, text: str) -> None:
    assert units.duration(ns) == text


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (units.size, 1_746_956, "1.75 MB"),
        (units.size, 999, "999 B"),
        (units.count, 40_720_000, "40.7 M"),
        (units.count, 434_560, "435 k"),
        (units.count, 6, "6"),
        (units.count, 0.5, "0.500"),
        (units.energy, 10_000, "10.0 mJ"),
        (units.percent, 0.0525, "5.2 %"),
        (units.ratio, 7.1234, "7.12×"),
        (units.milliseconds, 1_234_567, "1.23"),
    ],
)
def test_each_quantity_has_one_form(function: object, value: float, text: str) -> None:
    assert function(value) == text  # type: ignore[operator]


def test_rounding_up_to_the_next_power_of_ten_keeps_three_digits() -> None:
    assert units.significant(9.996) == "10.0"
    assert units.significant(0.09996) == "0.100"
    assert units.significant(99_960) == "100000"


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_shown_digits_never_lose_the_magnitude(value: float) -> None:
    assert float(units.significant(value)) == pytest.approx(value, rel=0.0051)
    assert "e" not in units.significant(value)


@given(st.floats(min_value=1, max_value=1e13))
def test_a_duration_reads_back_as_what_it_was(ns: float) -> None:
    number, unit = units.duration(ns).split(" ")
    assert float(number) * {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[unit] == pytest.approx(ns, rel=0.0051)


def test_what_is_not_a_number_is_not_dressed_up_as_one() -> None:
    assert units.significant(math.nan) == "nan"
    assert units.significant(math.inf) == "inf"
