"""The power rails of a phone, as counted by its power stats HAL: no root, no sampling.

Tensor phones (Pixel 6 and newer) measure the current of many supply rails in their power management chips.
Rails are not disjoint: the external ones (VSYS_*) include the loss of the converters and may feed internal
ones. So only rails that a device profile names are added up, or the one that is the whole battery's, while
the phone runs on it; all others are recorded beside them. Those inside count with a cable in, too.

This module knows what a dump means; it asks the phone through a function that is passed in.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench import units
from swapbench.errors import DeviceFailed
from swapbench.meters.power_stats_text import RailEnergy, rail_energies
from swapbench.ports import CounterValue
from swapbench.records import Absent, PowerGrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.ports import Finished, GradedMeter
    from swapbench.records import PhoneState

NAME: Final = "power-rails"
DUMP: Final = "dumpsys android.hardware.power.stats.IPowerStats/default"
"""Prints energies since boot. Its argument `delta` is not used: all callers share the same differences."""
_CALL_REFUSED: Final = "FAILED_TRANSACTION"
"""What dumpsys prints where the system's policy forbids the call to a service that exists."""
WHOLE_BATTERY: Final = ("VSYS_PWR_VBATT",)
"""Rails that feed the whole phone from its battery.

With a cable in they count next to nothing (12 mW on a Pixel 10 Pro that used 1.4 W: the project Gymnotus).
"""
REFRESH_NS: Final = 160_000_000
"""The ODPM drivers of Pixel kernels read a chip at most every 50 ms, and after 20 conversions at 125 Hz."""

NO_RAILS: Final = (
    "Pixel 6 and newer have power rails, if their system lets adb read them; others have a battery gauge."
)


@dataclass(frozen=True)
class RailReading:
    """Every rail at one moment.

    Attributes:
        rails: With the energies since boot.
        time_ns: The moment.
        unsure_ns: How uncertain the moment is.
        exact: The energies are whole uWs, not rounded to print them.
    """

    rails: tuple[RailEnergy, ...]
    time_ns: int
    unsure_ns: int = 0
    exact: bool = False


class PowerRails:
    """One counter per rail; implements ports.GradedMeter.

    The rails of the sum keep their names; all others are named `beside/RAIL`, or `VSYS_PWR_VBATT/RAIL`
    inside the whole battery. `resolution_uj` and `update_ns` cover the readings so far: steps of a printed
    dump grow with the energy since boot, and the moment of a reading may be uncertain.

    Args:
        name: Of the way in which the rails are read.
        read_rails: Every rail now.
        summed: The rails that add up to the scope.
    """

    grade: PowerGrade = "rails"

    def __init__(self, name: str, read_rails: Callable[[], RailReading], summed: Sequence[str]) -> None:
        self.name = name
        self._read_rails = read_rails
        self._summed = tuple(summed)
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
        now = self._read_rails()
        rails = {rail.name: rail for rail in now.rails}
        missing = [name for name in self._summed if name not in rails]
        if missing:
            raise DeviceFailed(
                f"this phone does not report its power rails {', '.join(missing)}",
                remedy=_choose_rails(rails.values()),
            )
        step_uj = 1 if now.exact else max(rails[name].step_uj for name in self._summed)
        self.resolution_uj = max(self.resolution_uj, step_uj)
        self.update_ns = max(self.update_ns, REFRESH_NS + now.unsure_ns)
        return rails, now.time_ns


def find_power_rails(
    ask: Callable[[str], Finished],
    state: Callable[[], PhoneState],
    summed: Sequence[str] = (),
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> PowerRails | Absent:
    """The rails to add up on this phone by the dump of its HAL, or why there are none and what would help.

    Args:
        ask: Runs a shell command on the phone; DeviceFailed where it cannot be reached.
        state: The phone's state.
        summed: The rails that the phone's profile names; without them, only the whole battery's rail is used.
        clock_ns: Stamps the readings.
    """

    def read_rails() -> RailReading:
        before_ns = clock_ns()
        done = ask(DUMP)
        after_ns = clock_ns()
        if _CALL_REFUSED in done.stderr:
            raise DeviceFailed(
                f"this phone's system does not let adb dump its power stats ({last_line(done)})",
                remedy="Stock builds refuse it, and let adb read the same rails through Perfetto.",
            )
        rails = rail_energies(done.stdout) if done.exit_code == 0 else ()
        if not rails:
            refused = not done.stdout.strip() or done.exit_code != 0
            reason = last_line(done) if refused else "its power stats list none"
            raise DeviceFailed(f"this phone reports no power rails ({reason})", remedy=NO_RAILS)
        return RailReading(rails, (before_ns + after_ns) // 2, unsure_ns=after_ns - before_ns)

    return found_rails(NAME, read_rails, state, summed)


def found_rails(
    name: str,
    read_rails: Callable[[], RailReading],
    state: Callable[[], PhoneState],
    summed: Sequence[str],
) -> PowerRails | Absent:
    """The meter of the rails to add up, or why there is none and what would help.

    Args:
        name: Of the meter.
        read_rails: Every rail now; DeviceFailed where they cannot be read.
        state: The phone's state.
        summed: The rails that the phone's profile names; without them, only the whole battery's rail is used.
    """
    try:
        rails = read_rails().rails
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
        if names >= set(chosen) and not any(rail.energy_uj for rail in rails if rail.name in chosen):
            return Absent(
                absent=f"the power rails of this phone all read 0 ({', '.join(chosen)})",
                remedy="Its power stats service is a stand-in, as on an emulator: use a real phone.",
            )
        if whole and (supplies := state().plugged):
            return Absent(
                absent=f"the phone is powered by {' and '.join(supplies)}, and {whole[0]} counts what its "
                "battery gives",
                remedy="Pull the cable and use adb over Wi-Fi (adb tcpip 5555, then adb connect "
                "ADDRESS:5555), or name other rails in the profile.",
            )
        return PowerRails(name, read_rails, chosen)
    except DeviceFailed as failure:
        return Absent(absent=str(failure.args[0]), remedy=failure.remedy)


def _choose_rails(rails: Iterable[RailEnergy]) -> str:
    """A remedy that lists every rail, so that those to add up can be chosen."""
    names = ", ".join(f"{rail.text} {units.energy(rail.energy_uj)}" for rail in rails)
    return (
        "Name rails that do not feed each other in a profile of your own, "
        f'as [rails] summed = ["...", "..."]. The phone has, with the energy since boot: {names or "none"}.'
    )


def last_line(done: Finished) -> str:
    """The last line that a program printed."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"no output, exit status {done.exit_code}"


if TYPE_CHECKING:
    _keeps_the_port: type[GradedMeter] = PowerRails
