"""The only place where a quantity becomes text. Three significant digits unless told; absent is an en dash."""

from __future__ import annotations

import math

NOT_MEASURED = "–"


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, never in exponent form and never losing its magnitude."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    if rounded != 0:  # rounding 9.996 to 3 digits gives 10.00: one decimal too many
        decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(decimals, 0)}f}"


def _scaled(value: float, steps: tuple[tuple[float, str], ...], digits: int) -> str:
    for size, unit in steps:
        if abs(value) >= size * (1 - 0.5 * 10**-digits):
            return f"{significant(value / size, digits)} {unit}"
    size, unit = steps[-1]
    return f"{significant(value / size, digits)} {unit}"


def duration(ns: float, digits: int = 3) -> str:
    """Nanoseconds as text: 1234567 -> '1.23 ms'."""
    return _scaled(ns, ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")), digits)


def milliseconds(ns: float, digits: int = 3) -> str:
    """Nanoseconds as a bare number of milliseconds, for a column whose heading names the unit."""
    return significant(ns / 1e6, digits)


def size(count_bytes: float, digits: int = 3) -> str:
    """Bytes as text with decimal prefixes: 1746956 -> '1.75 MB'."""
    return _scaled(count_bytes, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")), digits)


def count(value: float, digits: int = 3) -> str:
    """A count of things: 40720000 -> '40.7 M'."""
    return _scaled(value, ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")), digits).rstrip()


def energy(uj: float, digits: int = 3) -> str:
    """Microjoules as text: 10000 -> '10.0 mJ'."""
    return _scaled(uj, ((1e6, "J"), (1e3, "mJ"), (1, "µJ")), digits)


def percent(fraction: float, decimals: int = 1) -> str:
    """A fraction as a percentage: 0.0525 -> '5.2 %'."""
    return f"{100 * fraction:.{decimals}f} %"


def ratio(value: float, digits: int = 3) -> str:
    """A dimensionless ratio: 7.12 -> '7.12×'."""
    return f"{significant(value, digits)}×"
