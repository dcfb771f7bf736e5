"""The power rails of a phone, as its power stats HAL counts them: no root, no sampling, also while it is on a cable.

Tensor phones (Pixel 6 and newer) measure the current of many supply rails in their power management chips. Rails are not
disjoint: the external ones (VSYS_*) hold the loss of the converters and may feed internal ones. So never everything is
added up, only rails that a device profile names, or one that is the whole battery's; all others are told beside them.

This module knows what a dump means; it asks the phone through a function that is handed in.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from swapbench import units
from swapbench.errors import DeviceFailed
from swapbench.meters.power_stats_text import RailEnergy, rail_energies
from swapbench.ports import CounterValue
from swapbench.records import Absent, PowerGrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.ports import Finished, GradedMeter

DUMP: Final = "dumpsys android.hardware.power.stats.IPowerStats/default"
"""Prints energies since boot. Its argument `delta` is never used: the differences are shared by everybody who asks."""
WHOLE_BATTERY: Final = ("VSYS_PWR_VBATT",)
"""Rails that feed the whole phone."""
REFRESH_NS: Final = 160_000_000
"""The Pixel kernels' ODPM drivers read a chip at most every 50 ms, and not before 20 conversions: 160 ms at 125 Hz."""

_NO_RAILS = "Pixel 6 and newer have power rails, where their system lets adb ask for them; others have a battery gauge."


class PowerRails:
    """One counter a rail; implements ports.GradedMeter.

    dump: the text of the HAL's dump. summed: the rails that add up to the scope; all others are named `beside/RAIL`, or
    `VSYS_PWR_VBATT/RAIL` inside the whole battery. resolution_uj and update_ns are those of the readings so far: the steps grow
    with the energy since boot, and the moment of a reading is known to the time that asking takes.
    """

    name = "power-rails"
    grade: PowerGrade = "rails"

    def __init__(
        self,
        dump: Callable[[], str],
        summed: Sequence[str],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._dump = dump
        self._summed = tuple(summed)
        self._clock_ns = clock_ns
        self._others = self._summed[0] if self._summed[0] in WHOLE_BATTERY else "beside"
        self.resolution_uj = 0
        self.update_ns = 0
        rails, _ = self._rails()
        told = ", ".join(rails[name].text for name in self._summed)
        self.scope = (
            f"whole phone ({told})" if self._others != "beside" else f"{len(self._summed)} power rails"
        )
        self.basis: tuple[str, ...] = (f"sum of {told}",)

    def read(self) -> tuple[CounterValue, ...]:
        """Every rail now. Raises DeviceFailed where the phone does not answer or lacks a rail of the sum."""
        rails, time_ns = self._rails()
        return tuple(
            CounterValue(
                name if name in self._summed else f"{self._others}/{name}", rail.energy_uj, None, time_ns
            )
            for name, rail in rails.items()
        )

    def _rails(self) -> tuple[dict[str, RailEnergy], int]:
        asked_ns = self._clock_ns()
        rails = {rail.name: rail for rail in rail_energies(self._dump())}
        answered_ns = self._clock_ns()
        missing = [name for name in self._summed if name not in rails]
        if missing:
            raise DeviceFailed(
                f"this phone does not tell its power rails {', '.join(missing)}",
                remedy=_name_others(rails.values()),
            )
        step_uj = max(rails[name].step_uj for name in self._summed)
        self.resolution_uj = max(self.resolution_uj, step_uj)
        self.update_ns = max(self.update_ns, REFRESH_NS + answered_ns - asked_ns)
        return rails, (asked_ns + answered_ns) // 2


def find_power_rails(
    ask: Callable[[str], Finished],
    summed: Sequence[str] = (),
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> PowerRails | Absent:
    """The rails to add up on this phone, or why there are none and what would help.

    ask: runs a shell command on the phone (DeviceFailed where it cannot be reached). summed: the rails of its profile; without
    them only a rail of the whole battery is one.
    """

    def dump() -> str:
        done = ask(DUMP)
        if done.exit_code != 0:
            raise DeviceFailed(f"this phone refuses its power stats ({_said(done)})", remedy=_NO_RAILS)
        return done.stdout

    try:
        done = ask(DUMP)
        rails = rail_energies(done.stdout) if done.exit_code == 0 else ()
        if not rails:
            reason = _said(done) if not done.stdout.strip() or done.exit_code else "its power stats list none"
            return Absent(absent=f"this phone tells no power rails ({reason})", remedy=_NO_RAILS)
        there = {rail.name for rail in rails}
        chosen = tuple(summed) or tuple(name for name in WHOLE_BATTERY if name in there)
        if not chosen:
            return Absent(
                absent="it is not known which power rails of this phone may be added up",
                remedy=_name_others(rails),
            )
        whole = [name for name in chosen if name in WHOLE_BATTERY]
        if whole and len(chosen) > 1:
            return Absent(
                absent=f"{whole[0]} is the whole battery's and holds the other rails that are to be added up",
                remedy=f'Name it alone in the profile: [rails] summed = ["{whole[0]}"]',
            )
        if not any(rail.energy_uj for rail in rails if rail.name in chosen):
            return Absent(
                absent=f"the power rails of this phone stand at 0 ({', '.join(chosen)})",
                remedy="Its power stats service is a stand-in, as on an emulator: use a real phone.",
            )
        return PowerRails(dump, chosen, clock_ns)
    except DeviceFailed as failure:
        return Absent(absent=str(failure.args[0]), remedy=failure.remedy)


def _name_others(rails: Iterable[RailEnergy]) -> str:
    """What a person can do: every rail is told, so that those to add up can be chosen."""
    told = ", ".join(f"{rail.text} {units.energy(rail.energy_uj)}" for rail in rails)
    return (
        'Name rails that do not feed each other in a profile of your own, as [rails] summed = ["...", "..."]. '
        f"It has, with the energy since boot: {told or 'none'}."
    )


def _said(done: Finished) -> str:
    """The last line of what a program complained of."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"the answer is empty, status {done.exit_code}"


if TYPE_CHECKING:
    _keeps_the_port: type[GradedMeter] = PowerRails
