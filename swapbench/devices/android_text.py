"""What Android's programs and files print, as values: pure functions of text, vendor dialects included.

Formats as printed by AOSP (BatteryService, ThermalManagerService, PowerManagerService, getprop of toybox) and by the
kernel's cpufreq and topology files. What a phone does not tell is None or left out; a state that somebody set by hand
is refused with DeviceFailed, because everything measured under it would be wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from swapbench.errors import DeviceFailed, UserError
from swapbench.records import CpuCluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Cores = Literal["big", "mid", "little", "all"]
CORES: Final[tuple[Cores, ...]] = ("big", "mid", "little", "all")

BATTERY_SENSOR: Final = 2
SKIN_SENSOR: Final = 3
NOT_DEGREES: Final = frozenset({6, 7, 8})
"""Sensor types of the thermal HAL (android.hardware.thermal, TemperatureType) that are volts, amperes or percent."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PLAIN = re.compile(r"[-+]?[0-9]{1,12}(\.[0-9]+)?")
_PROPERTY = re.compile(r"^\[([^\]\n]+)\]: \[(.*?)\]$", re.MULTILINE | re.DOTALL)
_TEMPERATURE = re.compile(
    rf"Temperature\{{mValue=({_NUMBER}|NaN), mType=(-?\d+), mName=(.+?), mStatus=(\d+)\}}"
)
_CPU_FILE = re.compile(r"^/sys/devices/system/cpu/cpu(\d+)/(?:\w+/)?(\w+):(.*)$")
_LISTED = re.compile(
    r"^(\S+)\s+(device|offline|unauthorized|authorizing|connecting|no permissions|recovery|sideload|rescue|bootloader"
    r"|host|unknown)\b"
)
_WHOLE_DEGREES_BELOW = 100


def listed_phones(text: str) -> tuple[tuple[str, str], ...]:
    """Serial and state of every line of `adb devices`, in its order; the adb server's own messages are skipped."""
    found = (_LISTED.match(line) for line in text.splitlines())
    return tuple((one[1], one[2]) for one in found if one)


def properties(text: str) -> dict[str, str]:
    """What `getprop` prints, one `[name]: [value]` a property; a value may have several lines."""
    return dict(_PROPERTY.findall(text.replace("\r\n", "\n")))


# ------------------------------------------------------------------------------------------ battery


@dataclass(frozen=True)
class Battery:
    """What `dumpsys battery` tells, in one set of units. charge_counter_uah is as printed; some phones print junk."""

    level_percent: int | None = None
    charging: bool | None = None
    plugged: tuple[str, ...] | None = None
    voltage_mv: int | None = None
    temperature_c: float | None = None
    charge_counter_uah: int | None = None


def battery(text: str) -> Battery:
    """Read `dumpsys battery`. Raises DeviceFailed for a state that was set by hand.

    Dialects: keys in any case, lines that only some vendors print, an event log after the state (read up to the first
    line that opens another section; of a repeated key the first counts), volts for millivolts, and whole degrees for
    tenths: a value below 100 is taken as degrees, for a phone is rarely below 10 degrees C.
    """
    if "UPDATES STOPPED" in text:
        raise DeviceFailed(
            "the battery state of this phone is faked (dumpsys battery set or unplug)",
            remedy="Make it real again with: adb shell dumpsys battery reset",
        )
    told = _battery_fields(text)
    level, scale = _whole(told.get("level")), _whole(told.get("scale"))
    status = _whole(told.get("status"))
    supplies = {
        key.removesuffix(" powered"): value for key, value in told.items() if key.endswith(" powered")
    }
    voltage, degrees = _number(told.get("voltage")), _number(told.get("temperature"))
    return Battery(
        level_percent=round(100 * level / (scale or 100)) if level is not None else None,
        charging=status in {2, 5} if status in {2, 3, 4, 5} else None,
        plugged=tuple(name for name, value in supplies.items() if value == "true") if supplies else None,
        voltage_mv=None if not voltage else round(voltage * 1000 if voltage < 100 else voltage),
        temperature_c=None
        if degrees is None
        else (degrees if abs(degrees) < _WHOLE_DEGREES_BELOW else degrees / 10),
        charge_counter_uah=_whole(told.get("charge counter")),
    )


def _battery_fields(text: str) -> dict[str, str]:
    """The state's own lines, keys in lower case. The first section may follow a heading; the next one ends it."""
    told: dict[str, str] = {}
    for line in text.splitlines():
        if told and (not line.strip() or line.lstrip().startswith("[") or not line[0].isspace()):
            break
        key, colon, value = line.partition(":")
        if colon and line[:1].isspace():
            told.setdefault(key.strip().lower(), value.strip())
    return told


# ------------------------------------------------------------------------------------------ heat


@dataclass(frozen=True)
class Heat:
    """What `dumpsys thermalservice` tells: the throttling status and the temperatures by sensor, in degrees C."""

    status: int | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    skin_c: float | None = None
    battery_c: float | None = None


def heat(text: str) -> Heat:
    """Read `dumpsys thermalservice`. Raises DeviceFailed for a status that was set by hand.

    Only the temperatures under "Current temperatures from HAL" count: the cached ones can be old. Sensors that are no
    thermometers, and readings that are no numbers, are left out.
    """
    if re.search(r"^\s*IsStatusOverride:\s*true", text, re.MULTILINE):
        raise DeviceFailed(
            "the thermal status of this phone is faked (cmd thermalservice override-status)",
            remedy="Make it real again with: adb shell cmd thermalservice reset",
        )
    status = re.search(r"^\s*Thermal Status:\s*(\d+)", text, re.MULTILINE)
    by_name: dict[str, float] = {}
    by_kind: dict[int, list[float]] = {}
    for value, kind, name, _ in _TEMPERATURE.findall(_section(text, "Current temperatures from HAL:")):
        if value != "NaN" and int(kind) not in NOT_DEGREES:
            by_name[name] = float(value)
            by_kind.setdefault(int(kind), []).append(float(value))
    return Heat(
        status=int(status[1]) if status else None,
        temperatures_c=by_name,
        skin_c=max(by_kind.get(SKIN_SENSOR, ()), default=None),
        battery_c=max(by_kind.get(BATTERY_SENSOR, ()), default=None),
    )


def _section(text: str, heading: str) -> str:
    """The indented lines under a heading."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() == heading:
            break
    inside = []
    for line in lines:
        if not line[:1].isspace():
            break
        inside.append(line)
    return "\n".join(inside)


# ------------------------------------------------------------------------------------------ screen and saver


def screen_on(text: str) -> bool | None:
    """Whether the screen is on, from `dumpsys power`: mWakefulness, or the display's state in older versions."""
    wakefulness = re.search(r"^\s*mWakefulness=(\w+)", text, re.MULTILINE)
    if wakefulness:
        return wakefulness[1] == "Awake"
    display = re.search(r"^\s*Display Power: state=(\w+)", text, re.MULTILINE)
    return display[1] == "ON" if display else None


def battery_saver(text: str) -> bool | None:
    """From `settings get global low_power`: "1" on, "0" or "null" (never touched) off, anything else unknown."""
    return {"1": True, "0": False, "null": False}.get(text.strip())


# ------------------------------------------------------------------------------------------ processor


def cpu_list(text: str) -> tuple[int, ...]:
    """A kernel list of processors, as in /sys/devices/system/cpu/online: "0-3,7" is 0, 1, 2, 3, 7."""
    found: list[int] = []
    for part in text.strip().split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if span:
            found += range(int(span[1]), int(span[2] or span[1]) + 1)
    return tuple(found)


def clusters(text: str) -> tuple[CpuCluster, ...]:
    """Cores grouped by kind, slowest first, from lines `FILE:VALUE` of /sys/devices/system/cpu/cpuN.

    Files: cpu_capacity, cpufreq/{cpuinfo_max_freq,scaling_max_freq,scaling_governor}. Cores are of one kind where their
    capacity and their highest frequency are equal; what stands in the group for all is what its first core says.
    """
    told: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        one = _CPU_FILE.match(line.strip())
        if one:
            told.setdefault(int(one[1]), {})[one[2]] = one[3].strip()
    kinds: dict[tuple[int | None, int | None], list[int]] = {}
    for core, files in sorted(told.items()):
        kind = (_whole(files.get("cpu_capacity")), _whole(files.get("cpuinfo_max_freq")))
        kinds.setdefault(kind, []).append(core)
    return tuple(
        CpuCluster(
            cores=tuple(cores),
            capacity=capacity,
            max_khz=max_khz,
            allowed_khz=_whole(told[cores[0]].get("scaling_max_freq")),
            governor=told[cores[0]].get("scaling_governor") or None,
        )
        for (capacity, max_khz), cores in sorted(
            kinds.items(), key=lambda one: (one[0][0] or 0, one[0][1] or 0, one[1])
        )
    )


def cores_of(found: Sequence[CpuCluster], which: Cores) -> tuple[int, ...]:
    """The cores of a name: `little` are the slowest kind, `big` the fastest, `mid` all between.

    Raises UserError where the phone has no such cores, with those that it has.
    """
    everything = tuple(sorted(core for cluster in found for core in cluster.cores))
    if which == "all":
        return everything
    named = named_kinds(found)
    if which not in named:
        has = ", ".join(f"{name} {_joined(cores)}" for name, cores in named.items())
        raise UserError(
            f"this phone has no {which} cores",
            remedy=f"It has {has + ', ' if has else ''}all {_joined(everything) or '(not told)'}.",
        )
    return named[which]


def named_kinds(found: Sequence[CpuCluster]) -> dict[Cores, tuple[int, ...]]:
    """The cores of every kind that a phone has, slowest first; empty where all are alike, which are `all` then."""
    if len(found) < 2:
        return {}
    named: dict[Cores, tuple[int, ...]] = {"little": found[0].cores}
    if len(found) > 2:
        named["mid"] = tuple(sorted(core for cluster in found[1:-1] for core in cluster.cores))
    return {**named, "big": found[-1].cores}


def core_mask(found: Sequence[CpuCluster], which: Cores, online: Sequence[int]) -> str:
    """The affinity mask of a cluster in hexadecimal, as taskset and the runner take it: cores 6 and 7 are "c0".

    Only cores that are online count. Raises UserError where the phone has no such cores, DeviceFailed where all are off.
    """
    wanted = [core for core in cores_of(found, which) if core in online]
    if not wanted:
        raise DeviceFailed(
            f"all {which} cores of this phone are switched off",
            remedy="Battery saver or heat can do that: end the one, wait for the other, and run again.",
        )
    return format(sum(1 << core for core in wanted), "x")


def memory_bytes(text: str, key: str = "MemTotal") -> int | None:
    """One line of /proc/meminfo in bytes."""
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def busy_cores(before: str, after: str) -> float | None:
    """Cores that were busy between two readings of /proc/stat (proc(5)); None where they cannot be told."""
    early, late = _ticks(before), _ticks(after)
    if early is None or late is None or sum(late) <= sum(early):
        return None
    passed = [b - a for a, b in zip(early, late, strict=True)]
    return (1 - (passed[3] + passed[4]) / sum(passed)) * len(re.findall(r"^cpu\d", after, re.MULTILINE))


def _ticks(text: str) -> list[int] | None:
    """user, nice, system, idle, iowait, irq, softirq, steal of all cores together since boot."""
    words = text.split("\n", 1)[0].split()
    return [int(word) for word in words[1:9]] if len(words) >= 9 and words[0] == "cpu" else None


def _joined(cores: Iterable[int]) -> str:
    return ",".join(str(core) for core in cores)


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and _PLAIN.fullmatch(text) else None


def _whole(text: str | None) -> int | None:
    value = _number(text)
    return None if value is None else round(value)
