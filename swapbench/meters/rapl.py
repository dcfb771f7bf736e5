"""RAPL, the processor's own energy counters, read from the kernel's powercap tree.

The tree is `/sys/class/powercap/intel-rapl:N[/intel-rapl:N:M]/{name,energy_uj,max_energy_range_uj}`; AMD's
counters appear under the same names. What is where, and what may be added:

    package-N           a processor package; the packages of several sockets are disjoint
    core, uncore        inside their package: `package-N/core`, read, never added to it
    dram                beside its package, not inside it: `dram-N`, added
    psys                the whole platform, packages included: a meter of its own (`find_psys`)
    intel-rapl-mmio     the same package counters by another interface: used only where the first is missing

This module knows the tree and what a reading means; it reads through a function that is passed in.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.errors import DeviceFailed
from swapbench.ports import CounterValue
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = "/sys/class/powercap"
UPDATE_NS = 1_000_000
"""The counters are updated about every millisecond (Intel's Software Developer's Manual, RAPL)."""

USUAL_STEP_UJ = 62
"""The usual energy unit, 1/2^14 J = 61.04 uJ, rounded up; used where there is no range to tell the unit."""

_COUNTER_STATES = 2**32

READABLE = (
    "Let everybody read the counters until the next boot: sudo chmod -R a+r /sys/class/powercap/intel-rapl* "
    "(only root may since CVE-2020-8694, because power readings can leak secrets). "
    "Permanently, for one group: sudo groupadd -f energy && sudo usermod -aG energy $USER, write the line "
    'SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*", RUN+="/bin/chgrp energy /sys%p/energy_uj", '
    'RUN+="/bin/chmod g+r /sys%p/energy_uj" '
    "to /etc/udev/rules.d/70-energy.rules, then sudo udevadm control --reload-rules && "
    "sudo udevadm trigger --subsystem-match=powercap, and log in again."
)


@dataclass(frozen=True)
class Zone:
    """One counter of the tree.

    Attributes:
        counter: Its name in records.
        folder: In the tree.
        range_uj: Where it restarts at 0; None where that is unknown.
    """

    counter: str
    folder: str
    range_uj: int | None


class Rapl:
    """Energy counters of a powercap tree; implements ports.Meter.

    Args:
        zones: The counters.
        read_text: Reads a file of the tree.
        clock_ns: Stamps the readings.
        name: Of the meter.
        scope: What its counters cover together.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        read_text: Callable[[str], str],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        *,
        name: str = "rapl",
        scope: str = "processor packages",
    ) -> None:
        self.name = name
        self.scope = scope
        self.zones = tuple(zones)
        self.resolution_uj = max(step_uj(zone.range_uj) for zone in self.zones)
        self.update_ns = UPDATE_NS
        self._read_text = read_text
        self._clock_ns = clock_ns

    def read(self) -> tuple[CounterValue, ...]:
        """Every counter now, each with the time just after it was read; DeviceFailed where one fails."""
        return tuple(
            CounterValue(zone.counter, self._energy_uj(zone), zone.range_uj, self._clock_ns())
            for zone in self.zones
        )

    def _energy_uj(self, zone: Zone) -> int:
        try:
            return int(self._read_text(f"{zone.folder}/energy_uj"))
        except PermissionError as error:
            raise DeviceFailed(
                f"energy counter {zone.counter} may no longer be read", remedy=READABLE
            ) from error
        except (OSError, ValueError) as error:
            raise DeviceFailed(f"energy counter {zone.counter} cannot be read ({error})") from error


def step_uj(range_uj: int | None) -> int:
    """The step of a counter, rounded up: RAPL counts in 32 bits, so its range tells the energy unit."""
    return USUAL_STEP_UJ if range_uj is None else max(1, -(-range_uj // _COUNTER_STATES))


def find_rapl(
    root: str = ROOT,
    read_text: Callable[[str], str] | None = None,
    list_dir: Callable[[str], Sequence[str]] = os.listdir,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Rapl | Absent:
    """The processor packages and their memory, or why their energy cannot be measured and what would help."""
    read = read_text or read_file
    zones = _zones(root, read, list_dir)
    if isinstance(zones, Absent):
        return zones
    packages = [zone for zone in zones if re.fullmatch(r"package[^/]*", zone.counter)]
    if not packages:
        return Absent(
            absent=f"{root} has RAPL zones, but none for a processor package",
            remedy="Measure energy on another computer.",
        )
    if reason := _unreadable(packages, read):
        return reason
    beside = [zone for zone in zones if zone not in packages and zone.counter.split("/")[0] != "psys"]
    beside = [zone for zone in beside if _unreadable([zone], read) is None]
    memory = [zone for zone in beside if zone.counter.startswith("dram-")]
    if len(memory) < len(packages):  # the memory of one socket out of two is not a meaningful total
        beside = [zone for zone in beside if zone not in memory]
        memory = []
    scope = "processor packages and memory" if memory else "processor packages"
    return Rapl([*packages, *beside], read, clock_ns, scope=scope)


def find_psys(
    root: str = ROOT,
    read_text: Callable[[str], str] | None = None,
    list_dir: Callable[[str], Sequence[str]] = os.listdir,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Rapl | Absent:
    """The whole platform of a laptop, packages included, or why it has no such counter.

    Never add it to `find_rapl`.
    """
    read = read_text or read_file
    zones = _zones(root, read, list_dir)
    if isinstance(zones, Absent):
        return zones
    chosen = [zone for zone in zones if zone.counter == "psys"]
    if not chosen:
        return Absent(
            absent="this processor has no platform counter (psys)",
            remedy="Some laptops since Skylake have one; use the meter rapl.",
        )
    return _unreadable(chosen, read) or Rapl(chosen, read, clock_ns, name="rapl-psys", scope="whole platform")


def read_file(path: str) -> str:
    """The text of a small file of this computer."""
    return Path(path).read_text(encoding="ascii")


def _zones(
    root: str, read_text: Callable[[str], str], list_dir: Callable[[str], Sequence[str]]
) -> tuple[Zone, ...] | Absent:
    try:
        entries = sorted(list_dir(root))
    except OSError:
        entries = []
    for control in ("intel-rapl", "intel-rapl-mmio"):
        tops = [entry for entry in entries if re.fullmatch(rf"{control}:\d+", entry)]
        if not tops:
            continue
        zones: list[Zone] = []
        for top in tops:
            folder = f"{root}/{top}"
            try:
                name = read_text(f"{folder}/name").strip()
                inside = sorted(list_dir(folder))
            except PermissionError:
                return Absent(absent=f"{folder} may not be read by this user", remedy=READABLE)
            except OSError as error:
                return Absent(
                    absent=f"{folder} is listed but cannot be opened ({error.strerror or error}): "
                    "a container hides it",
                    remedy="Run outside the container, "
                    "or start it with: docker run --security-opt systempaths=unconfined",
                )
            if not (name == "psys" or name.startswith("package")):
                continue
            zones.append(Zone(name, folder, _range_uj(folder, read_text)))
            parts = [entry for entry in inside if re.fullmatch(rf"{top}:\d+", entry)]
            zones.extend(_sub_zone(name, f"{folder}/{part}", read_text) for part in parts)
        return tuple(zones)
    return _no_tree(root, read_text)


def _sub_zone(package: str, folder: str, read_text: Callable[[str], str]) -> Zone:
    try:
        part = read_text(f"{folder}/name").strip()
    except OSError:
        part = folder.rsplit("/", 1)[-1]
    beside = part == "dram" and package.startswith("package")
    counter = package.replace("package", "dram", 1) if beside else f"{package}/{part}"
    return Zone(counter, folder, _range_uj(folder, read_text))


def _range_uj(folder: str, read_text: Callable[[str], str]) -> int | None:
    try:
        range_uj = int(read_text(f"{folder}/max_energy_range_uj"))
    except (OSError, ValueError):
        return None
    return range_uj if range_uj > 0 else None


def _unreadable(zones: Sequence[Zone], read_text: Callable[[str], str]) -> Absent | None:
    """Why these counters cannot be used, or None. Counters that all read 0 cannot."""
    values: list[int] = []
    for zone in zones:
        try:
            values.append(int(read_text(f"{zone.folder}/energy_uj")))
        except PermissionError:
            return Absent(absent=f"only root may read {zone.folder}/energy_uj", remedy=READABLE)
        except (OSError, ValueError) as error:
            return Absent(
                absent=f"{zone.folder}/energy_uj cannot be read ({error})",
                remedy="Measure energy on another computer, or report this message.",
            )
    if any(values):
        return None
    return Absent(
        absent="the RAPL counters are all 0, as in a virtual machine that does not pass them through",
        remedy="Measure energy on the computer itself.",
    )


def _no_tree(root: str, read_text: Callable[[str], str]) -> Absent:
    try:
        cpuinfo = read_text("/proc/cpuinfo")
    except (OSError, ValueError):
        cpuinfo = ""
    if re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE):
        return Absent(
            absent=f"{root} has no RAPL zones: this is a virtual machine, which has no energy counters",
            remedy="Measure energy on the computer itself, not in a virtual machine or a hosted CI runner.",
        )
    if not re.search(r"^vendor_id\s*:\s*(GenuineIntel|AuthenticAMD|HygonGenuine)", cpuinfo, re.MULTILINE):
        return Absent(
            absent=f"{root} has no RAPL zones: only Intel and AMD x86 processors under Linux have them",
            remedy="Measure energy on such a computer, or on a phone.",
        )
    return Absent(
        absent=f"{root} has no RAPL zones: the kernel module is not loaded, or a container hides them",
        remedy="Load it with: sudo modprobe intel_rapl_msr (AMD too); with a container, do so on the host.",
    )
