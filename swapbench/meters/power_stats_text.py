"""What the power stats HAL of a phone prints about its power rails, as values: pure functions of text.

The command is `dumpsys android.hardware.power.stats.IPowerStats/default`. The format is that of AOSP
(hardware/interfaces/power/stats and the Pixel implementation); older versions print the bare channel name,
or a second number, the difference since a caller last asked for differences. Only the first number, the
energy since boot, is read.
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
    """One rail.

    Attributes:
        name: Of the channel.
        subsystem: What it feeds; "" where that is unknown.
        energy_uj: Since boot.
    """

    name: str
    subsystem: str
    energy_uj: int

    @property
    def text(self) -> str:
        """What messages call the rail."""
        return f"{self.name} ({self.subsystem})" if self.subsystem else self.name

    @property
    def step_uj(self) -> int:
        """The resolution of the printed number: a 32-bit float of mWs with two decimals.

        A float32 of 2^n and more counts in steps of 2^(n - 23): 8192 uJ for a rail that has used 100 kJ.
        """
        exponent = abs(self.energy_uj).bit_length() - 1
        return max(_PRINTED_STEP_UJ, 1 << max(0, exponent - _FLOAT32_MANTISSA_BITS))


def rail_energies(text: str) -> tuple[RailEnergy, ...]:
    """Every rail of the section "energy meter", in its order; nothing where there is no such section.

    Raises:
        DeviceFailed: The section does not end (the output was cut off), or has a rail twice.
    """
    rails: dict[str, RailEnergy] = {}
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    if not any(_BEGIN.match(line) for line in lines):
        return ()
    for line in lines:
        if _END.match(line):
            return tuple(rails.values())
        match = _RAIL.match(line)
        if match is None:
            continue
        name = match["rail"] or match["name"]
        if name in rails:
            raise DeviceFailed(f"the power stats of this phone list the rail {name} twice")
        subsystem = (match["subsystem"] or "").strip()
        rails[name] = RailEnergy(name, subsystem, round(float(match["mws"]) * _UWS_PER_MWS))
    raise DeviceFailed(
        "the power stats of this phone were cut off", remedy="Check the cable and measure again."
    )
