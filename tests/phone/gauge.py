"""A battery gauge and power rails driven by the CPU time that the phone's processes really use.

The model is the truth: 800 mW always, and 1500 mJ for every second of CPU time. Energy since start is
therefore

    energy_uj = 800 mW x seconds + 1500 mW x CPU seconds

whatever the machine's load. The nodes of the battery show it in steps of 250 ms, as a fuel gauge does.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dialects import Rail

IDLE_MW = 800
CORE_MW = 1500
CHARGER_MW = 4500
STEP_S = 0.25
CAPACITY_UAH = 4_000_000
OPEN_CIRCUIT_UV = 4_050_000
SAG_UV_PER_MW = 20
# Rails count since boot: half a day of use, so that the HAL's rounding to float32 shows as on a phone.
RAIL_START_UWS = 20_000_000_000


def phone_cpu_s() -> float:
    """CPU seconds of all processes of this process namespace but the daemon, living and dead.

    Children that were waited for are in their parent's sums. The daemon's sum is read first and parents
    (lower numbers) before children: a process that ends in between is missed until the next reading, never
    counted twice.
    """
    dead = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):  # noqa: PTH208 - names, not paths
        if pid == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        ticks += sum(int(word) for word in fields[11:15])  # utime stime cutime cstime
    return dead.ru_utime + dead.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """What the gauge showed at its last step. Current is positive while the battery charges."""

    voltage_uv: int
    current_ua: int
    charge_uah: int
    level_percent: int
    rail_uws: dict[str, int]


class Gauge:
    """Integrates power; `step` publishes the mean since the step before."""

    def __init__(
        self,
        rails: tuple[Rail, ...],
        level_percent: float,
        *,
        cpu_s: Callable[[], float] = phone_cpu_s,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rails = rails
        self._cpu_s = cpu_s
        self._clock_s = clock_s
        self._start_s, self._start_cpu_s = clock_s(), cpu_s()
        self._now_s, self._now_cpu_s = 0.0, 0.0
        self._shown_s, self._shown_cpu_s = 0.0, 0.0
        self._mean_mw = float(IDLE_MW)
        self._charge_uah = level_percent / 100 * CAPACITY_UAH

    def set_level(self, percent: float) -> None:
        """Puts so much charge into the battery at once."""
        self._charge_uah = percent / 100 * CAPACITY_UAH

    def _advance(self) -> None:
        self._now_s = self._clock_s() - self._start_s
        self._now_cpu_s = max(self._now_cpu_s, self._cpu_s() - self._start_cpu_s)

    def truth(self) -> dict[str, float]:
        """The truth now: seconds, CPU seconds and energy since start; and the same at the last step shown."""
        self._advance()
        return {
            "seconds": self._now_s,
            "cpu_s": self._now_cpu_s,
            "energy_uj": _energy_uj(self._now_s, self._now_cpu_s),
            "shown_seconds": self._shown_s,
            "shown_cpu_s": self._shown_cpu_s,
            "shown_energy_uj": _energy_uj(self._shown_s, self._shown_cpu_s),
        }

    def rail_truth_uj(self) -> dict[str, float]:
        """Energy of every rail since start, now."""
        self._advance()
        return {
            rail.name: 1000 * (rail.idle_mw * self._now_s + CORE_MW * rail.core_share * self._now_cpu_s)
            for rail in self._rails
        }

    def step(self, *, charges: bool) -> None:
        """Ends a step of the gauge: what it shows is the mean since the step before."""
        self._advance()
        seconds = self._now_s - self._shown_s
        if seconds <= 0:
            return
        used_uj = _energy_uj(self._now_s, self._now_cpu_s) - _energy_uj(self._shown_s, self._shown_cpu_s)
        self._mean_mw = used_uj / seconds / 1000
        self._shown_s, self._shown_cpu_s = self._now_s, self._now_cpu_s
        _, current_ua = self._electric(charges=charges)
        self._charge_uah += current_ua * seconds / 3600
        self._charge_uah = min(max(self._charge_uah, 0), CAPACITY_UAH)

    def _electric(self, *, charges: bool) -> tuple[float, float]:
        net_mw = (CHARGER_MW if charges else 0) - self._mean_mw
        voltage_uv = OPEN_CIRCUIT_UV + SAG_UV_PER_MW * net_mw
        return voltage_uv, net_mw * 1e9 / voltage_uv

    def reading(self, *, charges: bool, charge_quantum_uah: int) -> Reading:
        """What the last step shows; rails are read now."""
        voltage_uv, current_ua = self._electric(charges=charges)
        return Reading(
            voltage_uv=round(voltage_uv),
            current_ua=round(current_ua),
            charge_uah=int(self._charge_uah) // charge_quantum_uah * charge_quantum_uah,
            level_percent=round(self._charge_uah / CAPACITY_UAH * 100),
            rail_uws={
                name: RAIL_START_UWS + int(energy_uj) for name, energy_uj in self.rail_truth_uj().items()
            },
        )


def _energy_uj(seconds: float, cpu_s: float) -> float:
    return 1000 * (IDLE_MW * seconds + CORE_MW * cpu_s)
