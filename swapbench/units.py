"""The only place where a quantity becomes text: three significant digits by default, an en dash if absent."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Final, Literal

from swapbench.errors import UserError, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_MEASURED = "–"

Kind = Literal["time", "size", "energy", "count", "share"]
"""What an amount is of; it is kept in ns, bytes, uJ, or as a bare number."""

UNITS: Final[Mapping[Kind, Mapping[str, float]]] = {
    "time": {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9},
    "size": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "energy": {"uJ": 1, "µJ": 1, "mJ": 1e3, "J": 1e6},
    "count": {"": 1, "k": 1e3, "M": 1e6, "G": 1e9},
    "share": {"": 1, "%": 0.01},
}


@functools.lru_cache(maxsize=2**14)  # files of one network share most of their numbers
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


def time_span(seconds: float) -> str:
    """Seconds that a person waits, as text: '34 s', '12 min', '5.2 h'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def milliseconds(ns: float, digits: int = 3) -> str:
    """Nanoseconds as a bare number of milliseconds, for a column whose heading names the unit."""
    return significant(ns / 1e6, digits)


def size(count_bytes: float, digits: int = 3) -> str:
    """Bytes as text with decimal prefixes: 1746956 -> '1.75 MB'."""
    return _scaled(count_bytes, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")), digits)


def count(value: float, digits: int = 3) -> str:
    """A count of things: 40720000 -> '40.7 M'; few are told one by one: 6 -> '6'."""
    if abs(value) < 1000 and value == int(value):
        return str(int(value))
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


def megabytes(count_bytes: float, digits: int = 3) -> str:
    """Bytes as a bare number of megabytes, for a column whose heading names the unit."""
    return significant(count_bytes / 1e6, digits)


def millions(value: float, digits: int = 3) -> str:
    """A count as a bare number of millions, for a column whose heading names the unit."""
    return significant(value / 1e6, digits)


def millijoules(uj: float, digits: int = 3) -> str:
    """Microjoules as a bare number of millijoules, for a column whose heading names the unit."""
    return significant(uj / 1e3, digits)


def some(names: Sequence[str], at_most: int = 4) -> str:
    """At most so many names of a list, and how many more there are."""
    if len(names) <= at_most:
        return ", ".join(names)
    return f"{', '.join(names[:at_most])} and {len(names) - at_most} more"


def amount(value: object, kind: Kind, where: str) -> float:
    """A number or a text such as '30 ms' in the base unit of its kind.

    Args:
        value: a quantity with a unit must name it, and so must a share of 1 or more: 2 looks like 2 %.
        kind: of the quantity.
        where: names the setting in a message.

    Raises:
        UserError: it is not an amount, or its unit is missing or unknown.
    """
    units = UNITS[kind]
    named = [unit for unit in units if unit and unit.isascii()]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UserError(f"{where} = {value!r} is not an amount", remedy=f'For example: "5 {named[0]}"')
    match = re.fullmatch(r"\s*(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*([^\d\s]*)\s*", str(value))
    if match is None:
        raise UserError(
            f"{where} = {value!r} is not an amount of 0 or more", remedy=f'For example: "5 {named[0]}"'
        )
    number, unit = match.groups()
    if unit not in units:
        if not unit:
            raise UserError(f"{where} = {value!r} has no unit", remedy=f"One of: {', '.join(named)}")
        raise UserError(f"{where}: there is no unit {unit!r}", remedy=suggestion(unit, named))
    if kind == "share" and not unit and float(number) >= 1:
        raise UserError(
            f"{where} = {value!r} is {float(number):.0%}",
            remedy=f'Write "{number} %", or "{100 * float(number):g} %" if that is meant',
        )
    return float(number) * units[unit]
