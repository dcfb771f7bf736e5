"""What the numbers of a battery's fuel gauge mean on one phone: units, and the sign of the current.

Linux documents uA, uV and uAh, and a current that is negative while discharging; vendors print other units
and signs. So the voltage and the charge are judged by their size, the current by a known load, busy against
idle. Pure functions of numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from swapbench import stats
from swapbench.errors import DeviceFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BUSY_UA: Final = (50_000, 10_000_000)
"""The current that a busy phone can draw, 0.2 to 40 W. So 50 to 10 000 can only be mA."""
CAPACITY_UAH: Final = (500_000, 20_000_000)
"""What a phone's battery can hold."""
_UA_PER_MA: Final = 1_000


@dataclass(frozen=True)
class CurrentMeaning:
    """What a number in the current's file means.

    Attributes:
        unit_ua: Microamperes of one unit.
        sign: +1 where the number is positive while the battery discharges, else -1.
    """

    unit_ua: int
    sign: int

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"current in {'uA' if self.unit_ua == 1 else 'mA'}, {'positive' if self.sign > 0 else 'negative'}"
        )


def current_meaning(idle_before: float, busy: float, idle_after: float) -> CurrentMeaning:
    """The unit and sign of a battery current, from its mean in three windows of a phone that is not charging.

    Load draws more current, so the numbers must move away from 0 under load and keep their sign: 310 idle
    and 660 busy are mA, positive while discharging.

    Raises:
        DeviceFailed: The numbers are ambiguous.
    """
    sign = 1 if busy > 0 else -1
    idle = [sign * idle_before, sign * idle_after]
    numbers = f"{idle_before:.0f} idle, {busy:.0f} busy, {idle_after:.0f} idle"
    if min(idle) < 0 or sign * busy <= max(idle):
        raise DeviceFailed(
            f"the battery current does not follow the load ({numbers}), so its sign is ambiguous",
            remedy="Make sure that the phone is not charging and nothing else runs on it, "
            "and use a longer power window.",
        )
    least, most = BUSY_UA
    if least <= abs(busy) <= most:
        return CurrentMeaning(1, sign)
    if least <= abs(busy) * _UA_PER_MA <= most:
        return CurrentMeaning(_UA_PER_MA, sign)
    raise DeviceFailed(
        f"the unit of the battery current is unknown ({numbers}): a busy phone draws 50 mA to 10 A",
        remedy="This phone's gauge cannot be used.",
    )


def volt_unit_uv(numbers: Sequence[float]) -> int:
    """Microvolts of one unit in a voltage's file: 4021000 is in uV, 4021 in mV, 4.021 in V.

    Raises:
        DeviceFailed: In no unit is it the voltage of a battery, 2.5 to 10 V.
    """
    typical = stats.median(numbers)
    for unit_uv in (1, 1_000, 1_000_000):
        if 2.5e6 <= typical * unit_uv <= 10e6:
            return unit_uv
    raise DeviceFailed(
        f"the battery's voltage reads {typical:g}, which is not plausible in uV, mV or V",
        remedy="This phone's gauge cannot be used.",
    )


def charge_step(readings: Iterable[float]) -> float | None:
    """The step of a charge counter, learnt from readings in their order: the least change between two.

    A gauge counts in steps of its own, whatever the unit of its file: a Galaxy S23 in 11 115 uAh. A change
    that was seen late may be several steps.

    Returns:
        None where the readings are all alike.
    """
    return min((abs(b - a) for a, b in pairwise(readings) if a != b), default=None)


def charge_unit_uah(number: float, percent: int) -> int | None:
    """Microampere hours of one unit of a charge counter, from how full the battery is.

    2914000 at 71 % means 4100 mAh when full; 2914 is the same in mAh. Some phones always print 0, 220 or
    1000: 0 and 220 are refused here, and 1000 makes no steps.

    Returns:
        None where the number is not a plausible charge.
    """
    least, most = CAPACITY_UAH
    for unit_uah in (1, 1_000):
        if least <= number * unit_uah * 100 / max(percent, 1) <= most:
            return unit_uah
    return None
