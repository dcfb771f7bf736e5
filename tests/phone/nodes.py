"""The files below /sys and /proc/cpuinfo as text, from the state; and how they are put in place whole."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from .state import SKIN_THRESHOLDS_C

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dialects import Cluster, Dialect, Sensor
    from .gauge import Reading
    from .state import State

CPU = "/sys/devices/system/cpu"
BATTERY = "/sys/class/power_supply/battery"


def clusters(dialect: Dialect, cpus: Sequence[int]) -> list[tuple[Cluster, list[int]]]:
    """Spreads the cores that really exist over the dialect's clusters, so that pinning is real.

    With fewer cores than the phone has, one stays big and one mid as long as there are any; eight are as on
    the phone.
    """
    count = min(len(cpus), sum(dialect.cores))
    if count == sum(dialect.cores):
        sizes = list(dialect.cores)
    else:
        big = max(1, count // 4)
        mid = max(1, count // 4) if count > 2 else 0
        sizes = [count - big - mid, mid, big]
    spread, first = [], 0
    for cluster, size in zip(dialect.clusters, sizes, strict=True):
        if size:
            spread.append((cluster, list(cpus[first : first + size])))
        first += size
    return spread


def cpuinfo(dialect: Dialect, cpus: Sequence[int]) -> str:
    """/proc/cpuinfo of an arm64 phone with these cores."""
    features = (
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
    )
    blocks = [
        f"processor\t: {core}\nBogoMIPS\t: 49.15\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {cluster.part}\nCPU revision\t: 0\n\n"
        for cluster, cores in clusters(dialect, cpus)
        for core in cores
    ]
    return "".join(blocks)


def stat(cpus: Sequence[int], seconds: float, cpu_s: float, started_s: int) -> str:
    """/proc/stat: how busy the phone's processes kept its cores, spread evenly, in hundredths of a second.

    Always of the same length: it is written over in place, since a file mounted on another cannot be swapped.
    """
    busy = round(cpu_s * 100 / len(cpus))
    idle = max(0, round(seconds * 100) - busy)

    def line(name: str, cores: int) -> str:
        return f"{name} {busy * cores:12d} 0 0 {idle * cores:12d} 0 0 0 0 0 0\n"

    each = "".join(line(f"cpu{core}", 1) for core in cpus)
    return f"{line('cpu ', len(cpus))}{each}btime {started_s:12d}\n"


def temperature_c(sensor: Sensor, state: State) -> float:
    """What the sensor shows."""
    return {"cpu": state.cpu_c, "battery": state.battery_c, "skin": state.skin}[sensor.of]


def sysfs(state: State, dialect: Dialect, reading: Reading, cpus: Sequence[int]) -> dict[str, str]:
    """Every file below /sys, path to text."""
    files: dict[str, str] = {}
    spread = clusters(dialect, cpus)
    cores = [core for _, members in spread for core in members]
    for name in ("possible", "present", "online"):
        files[f"{CPU}/{name}"] = _ranges(cores)
    for index, (cluster, members) in enumerate(spread):
        limit = int(cluster.max_khz * state.frequency_share)
        policy = f"{CPU}/cpufreq/policy{members[0]}"
        frequency = {
            "affected_cpus": " ".join(map(str, members)),
            "related_cpus": " ".join(map(str, members)),
            "cpuinfo_min_freq": cluster.min_khz,
            "cpuinfo_max_freq": cluster.max_khz,
            "scaling_min_freq": cluster.min_khz,
            "scaling_max_freq": limit,
            "scaling_cur_freq": limit,
            "scaling_governor": state.governor or dialect.governor,
            "scaling_available_governors": f"{dialect.governor} performance powersave",
        }
        files |= {f"{policy}/{name}": str(value) for name, value in frequency.items()}
        for core in members:
            files |= {f"{CPU}/cpu{core}/cpufreq/{name}": str(value) for name, value in frequency.items()}
            files[f"{CPU}/cpu{core}/cpu_capacity"] = str(cluster.capacity)
            files[f"{CPU}/cpu{core}/online"] = "1"
            files[f"{CPU}/cpu{core}/topology/physical_package_id"] = "0"
            files[f"{CPU}/cpu{core}/topology/cluster_id"] = str(index)
    for index, sensor in enumerate(dialect.sensors):
        zone = f"/sys/class/thermal/thermal_zone{index}"
        files[f"{zone}/type"] = sensor.zone
        files[f"{zone}/temp"] = str(round(temperature_c(sensor, state) * 1000))
        if sensor.of == "skin":
            for trip, limit_c in enumerate(SKIN_THRESHOLDS_C[1:]):
                files[f"{zone}/trip_point_{trip}_temp"] = str(round(limit_c * 1000))
    for index, (_, members) in enumerate(spread):
        device = f"/sys/class/thermal/cooling_device{index}"
        files[f"{device}/type"] = f"cpufreq-cpu{members[0]}"
        files[f"{device}/cur_state"] = str(state.thermal_status)
        files[f"{device}/max_state"] = "6"
    return {path: f"{text}\n" for path, text in (files | _power_supply(state, dialect, reading)).items()}


def _power_supply(state: State, dialect: Dialect, reading: Reading) -> dict[str, str]:
    sign = 1 if dialect.discharge_sign < 0 else -1
    files = {
        f"{BATTERY}/capacity": str(reading.level_percent),
        f"{BATTERY}/voltage_now": str(reading.voltage_uv),
        f"{BATTERY}/temp": str(round(state.battery_c * 10)),
        f"{BATTERY}/status": "Charging" if state.charges else "Discharging",
        f"{BATTERY}/health": "Good",
        f"{BATTERY}/present": "1",
        f"{BATTERY}/technology": "Li-ion",
        f"{BATTERY}/type": "Battery",
        "/sys/class/power_supply/usb/type": "USB",
        "/sys/class/power_supply/usb/online": str(int(state.charges)),
        dialect.current_node: str(sign * round(reading.current_ua / dialect.current_ua)),
    }
    if dialect.charge_counter_node:
        files[dialect.charge_counter_node] = str(reading.charge_uah)
    return files


def _ranges(numbers: Sequence[int]) -> str:
    """A list of cores as the kernel writes it: `0-3,6`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


class Tree:
    """Keeps the files as they should be; each is swapped whole, so a reader never sees half a value."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._written: dict[str, tuple[str, int]] = {}

    def put(
        self, files: dict[str, str], *, missing: Sequence[str] = (), unreadable: Sequence[str] = ()
    ) -> None:
        """Writes what changed; `missing` and `unreadable` are shell patterns of paths."""
        wanted = {
            path: (text, 0o000 if _matches(path, unreadable) else 0o444)
            for path, text in files.items()
            if not _matches(path, missing)
        }
        for path in self._written.keys() - wanted.keys():
            Path(path).unlink(missing_ok=True)
        for path, (text, mode) in wanted.items():
            if self._written.get(path) == (text, mode):
                continue
            if path not in self._written:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._scratch.write_text(text)
            self._scratch.chmod(mode)
            os.replace(self._scratch, path)
        self._written = wanted


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
