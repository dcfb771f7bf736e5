"""What the power stats HAL of a phone prints about its power rails, as values: pure functions of text.

Asked by `dumpsys android.hardware.power.stats.IPowerStats/default`. The format is that of the printing code in AOSP
(hardware/interfaces/power/stats and the Pixel implementation); older ones give the bare channel name, or a second number,
the difference since anybody last asked for differences. Only the first number, the energy since boot, is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from swapbench.errors import DeviceFailed

_UWS_PER_MWS = 1_000
_PRINTED_STEP_UJ = 10
"""Two decimals of mWs."""
_FLOAT32_MANTISSA_BITS = 23

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BEGIN = re.compile(r"^=+ PowerStats HAL \S+ (?:energy meter|rail energy data) =+$")
_END = re.compile(r"^=+ End of PowerStats HAL ")
_RAIL = re.compile(
    rf"^\s*(?:\[(?P<rail>[^\]]+)\]:(?P<subsystem>\S.*?)|(?P<name>\S+))"
    rf"\s+(?P<mws>{_NUMBER}) mWs(?: \(\s*{_NUMBER}\))?$"
)


@dataclass(frozen=True)
class RailEnergy:
    """One rail: what it feeds ("" where that is not told), and its energy since boot."""

    name: str
    subsystem: str
    energy_uj: int

    @property
    def text(self) -> str:
        """How a rail is called in messages."""
        return f"{self.name} ({self.subsystem})" if self.subsystem else self.name

    @property
    def step_uj(self) -> int:
        """By how much the number that is printed can be off: the HAL prints a 32-bit float with two decimals of mWs.

        A float32 of 2^n and more counts in steps of 2^(n - 23): 8192 uJ for a rail that has used 100 kJ.
        """
        return max(
            _PRINTED_STEP_UJ, 1 << max(0, abs(self.energy_uj).bit_length() - 1 - _FLOAT32_MANTISSA_BITS)
        )


def rail_energies(text: str) -> tuple[RailEnergy, ...]:
    """Every rail of the section "energy meter", in its order; nothing where there is no such section.

    Raises DeviceFailed where the section does not end (the answer was cut off), or tells a rail twice.
    """
    found: dict[str, RailEnergy] = {}
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    if not any(_BEGIN.match(line) for line in lines):
        return ()
    for line in lines:
        if _END.match(line):
            return tuple(found.values())
        one = _RAIL.match(line)
        if one is None:
            continue
        name = one["rail"] or one["name"]
        if name in found:
            raise DeviceFailed(f"the power stats of this phone tell the rail {name} twice")
        found[name] = RailEnergy(
            name, (one["subsystem"] or "").strip(), round(float(one["mws"]) * _UWS_PER_MWS)
        )
    raise DeviceFailed(
        "the power stats of this phone were cut off", remedy="Check the cable and measure again."
    )
