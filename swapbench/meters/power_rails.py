"""The power rails of a phone, as counted by its power stats HAL: no root, no sampling, plugged in or not.

Tensor phones (Pixel 6 and newer) measure the current of many supply rails in their power management chips.
Rails are not disjoint: the external ones (VSYS_*) include the loss of the converters and may feed internal
ones. So only rails that a device profile names are added up, or the one that is the whole battery's; all
others are recorded beside them.

This module knows what a dump means; it asks the phone through a function that is passed in.
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
"""Prints energies since boot. Its argument `delta` is not used: all callers share the same differences."""
WHOLE_BATTERY: Final = ("VSYS_PWR_VBATT",)
"""Rails that feed the whole phone."""
REFRESH_NS: Final = 160_000_000
"""The ODPM drivers of Pixel kernels read a chip at most every 50 ms, and after 20 conversions at 125 Hz."""

_NO_RAILS = (
    "Pixel 6 and newer have power rails, if their system lets adb read them; others have a battery gauge."
)


class PowerRails:
    """One counter per rail; implements ports.GradedMeter.

    The rails of the sum keep their names; all others are named `beside/RAIL`, or `VSYS_PWR_VBATT/RAIL`
    inside the whole battery. `resolution_uj` and `update_ns` cover the readings so far: steps grow with the
    energy since boot, and the time of a reading is uncertain by the duration of the call.

    Args:
        dump: The text of the HAL's dump.
        summed: The rails that add up to the scope.
        clock_ns: Stamps the readings.
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
        names = ", ".join(rails[name].text for name in self._summed)
        self.scope = (
            f"whole phone ({names})" if self._others != "beside" else f"{len(self._summed)} power rails"
        )
        self.basis: tuple[str, ...] = (f"sum of {names}",)

    def read(self) -> tuple[CounterValue, ...]:
        """Every rail now; DeviceFailed where the phone does not answer or lacks a rail of the sum."""
        rails, time_ns = self._rails()
        return tuple(
            CounterValue(
                name if name in self._summed else f"{self._others}/{name}", rail.energy_uj, None, time_ns
            )
            for name, rail in rails.items()
        )

    def _rails(self) -> tuple[dict[str, RailEnergy], int]:
        before_ns = self._clock_ns()
        rails = {rail.name: rail for rail in rail_energies(self._dump())}
        after_ns = self._clock_ns()
        missing = [name for name in self._summed if name not in rails]
        if missing:
            raise DeviceFailed(
                f"this phone does not report its power rails {', '.join(missing)}",
                remedy=_choose_rails(rails.values()),
            )
        step_uj = max(rails[name].step_uj for name in self._summed)
        self.resolution_uj = max(self.resolution_uj, step_uj)
        self.update_ns = max(self.update_ns, REFRESH_NS + after_ns - before_ns)
        return rails, (before_ns + after_ns) // 2


def find_power_rails(
    ask: Callable[[str], Finished],
    summed: Sequence[str] = (),
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> PowerRails | Absent:
    """The rails to add up on this phone, or why there are none and what would help.

    Args:
        ask: Runs a shell command on the phone; DeviceFailed where it cannot be reached.
        summed: The rails that the phone's profile names; without them, only the whole battery's rail is used.
        clock_ns: Stamps the readings.
    """

    def dump() -> str:
        done = ask(DUMP)
        if done.exit_code != 0:
            raise DeviceFailed(f"this phone refuses its power stats ({_last_line(done)})", remedy=_NO_RAILS)
        return done.stdout

    try:
        done = ask(DUMP)
        rails = rail_energies(done.stdout) if done.exit_code == 0 else ()
        if not rails:
            refused = not done.stdout.strip() or done.exit_code != 0
            reason = _last_line(done) if refused else "its power stats list none"
            return Absent(absent=f"this phone reports no power rails ({reason})", remedy=_NO_RAILS)
        names = {rail.name for rail in rails}
        chosen = tuple(summed) or tuple(name for name in WHOLE_BATTERY if name in names)
        if not chosen:
            return Absent(
                absent="it is unknown which power rails of this phone may be added up",
                remedy=_choose_rails(rails),
            )
        whole = [name for name in chosen if name in WHOLE_BATTERY]
        if whole and len(chosen) > 1:
            return Absent(
                absent=f"{whole[0]} is the rail of the whole battery and includes the other rails of the sum",
                remedy=f'Name it alone in the profile: [rails] summed = ["{whole[0]}"]',
            )
        if not any(rail.energy_uj for rail in rails if rail.name in chosen):
            return Absent(
                absent=f"the power rails of this phone all read 0 ({', '.join(chosen)})",
                remedy="Its power stats service is a stand-in, as on an emulator: use a real phone.",
            )
        return PowerRails(dump, chosen, clock_ns)
    except DeviceFailed as failure:
        return Absent(absent=str(failure.args[0]), remedy=failure.remedy)


def _choose_rails(rails: Iterable[RailEnergy]) -> str:
    """A remedy that lists every rail, so that those to add up can be chosen."""
    names = ", ".join(f"{rail.text} {units.energy(rail.energy_uj)}" for rail in rails)
    return (
        "Name rails that do not feed each other in a profile of your own, "
        f'as [rails] summed = ["...", "..."]. The phone has, with the energy since boot: {names or "none"}.'
    )


def _last_line(done: Finished) -> str:
    """The last line that a program printed."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"no output, exit status {done.exit_code}"


if TYPE_CHECKING:
    _keeps_the_port: type[GradedMeter] = PowerRails
