"""What Android's programs and files print, as values: pure functions of text, vendor dialects included.

Formats as printed by AOSP (BatteryService, ThermalManagerService, PowerManagerService, getprop of toybox)
and by the kernel's cpufreq and topology files. What a phone does not report is None or left out; a state that
was overridden by hand is refused with DeviceFailed, because everything measured under it would be wrong.
"""

from __future__ import annotations

import math
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
"""Sensor types in volts, amperes or percent (TemperatureType of android.hardware.thermal)."""
COLDEST_C: Final = -40.0
HOTTEST_C: Final = 150.0
"""What a thermometer in a phone can show; sensors that are not ready say -5700, for example."""

SEVERE: Final = 3
"""The place of severe throttling among the thresholds of a sensor."""
HEADROOM_RANGE_C: Final = 30.0

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PLAIN = re.compile(r"[-+]?[0-9]{1,12}(\.[0-9]+)?")
_PROPERTY = re.compile(r"^\[([^\]\n]+)\]: \[(.*?)\]$", re.MULTILINE | re.DOTALL)
_TEMPERATURE = re.compile(
    rf"Temperature\{{mValue=({_NUMBER}|NaN), mType=(-?\d+), mName=(.+?), mStatus=(\d+)\}}"
)
_THRESHOLD = re.compile(
    rf"TemperatureThreshold\{{mType=(-?\d+), mName=(.+?), "
    rf"mHotThrottlingThresholds=\[((?:{_NUMBER}|NaN)(?:, ?(?:{_NUMBER}|NaN)){{0,9}})\]"
)
_CPU_FILE = re.compile(r"^/sys/devices/system/cpu/cpu(\d+)/(?:\w+/)*(\w+):(.*)$")
_STATES = (
    r"(device|offline|unauthorized|authorizing|connecting|no permissions|recovery|sideload|rescue"
    r"|bootloader|host|unknown)\b"
)
_LISTED = re.compile(rf"([^\t]+)\t *{_STATES}")
_LISTED_LONG = re.compile(rf"(\S.*?) +{_STATES}")
_WHOLE_DEGREES_BELOW = 100


def listed_phones(text: str) -> tuple[tuple[str, str], ...]:
    """Serial and state of every phone in `adb devices`, skipping the adb server's own messages.

    A tab ends the serial, which may hold spaces: that of wireless debugging is an mDNS name, and a second one
    of the same name is `adb-XXXX (2)._adb-tls-connect._tcp`. `adb devices -l` pads with spaces instead.
    """
    matches = (_LISTED.match(line) or _LISTED_LONG.match(line) for line in text.splitlines())
    return tuple((match[1], match[2]) for match in matches if match)


def properties(text: str) -> dict[str, str]:
    """Parse `getprop`: one `[name]: [value]` per property, whose value may have several lines."""
    return dict(_PROPERTY.findall(text.replace("\r\n", "\n")))


# ------------------------------------------------------------------------------------------ battery


@dataclass(frozen=True)
class Battery:
    """The state of a battery; None where the phone does not report it.

    Attributes:
        level_percent: How full it is.
        charging: Full on a charger counts as charging.
        plugged: The supplies that are connected, such as "ac" and "usb".
        voltage_mv: In millivolts, whatever the phone prints.
        temperature_c: In degrees C, whatever the phone prints.
        charge_counter_uah: As printed; some phones print junk.
    """

    level_percent: int | None = None
    charging: bool | None = None
    plugged: tuple[str, ...] | None = None
    voltage_mv: int | None = None
    temperature_c: float | None = None
    charge_counter_uah: int | None = None


def battery(text: str) -> Battery:
    """Parse `dumpsys battery`.

    Dialects: keys in any case; lines that only some vendors print; an event log after the state (parsed up
    to the next section; of a repeated key the first counts); volts instead of millivolts; and whole degrees
    instead of tenths: a value below 100 is taken as degrees, for a phone is rarely colder than 10 degrees C.

    Raises:
        DeviceFailed: The state was overridden by hand.
    """
    if "UPDATES STOPPED" in text:
        raise DeviceFailed(
            "the battery state of this phone is faked (dumpsys battery set or unplug)",
            remedy="Restore the real state with: adb shell dumpsys battery reset",
        )
    fields = _battery_fields(text)
    level, scale = _whole(fields.get("level")), _whole(fields.get("scale"))
    status = _whole(fields.get("status"))
    supplies = {
        key.removesuffix(" powered"): value for key, value in fields.items() if key.endswith(" powered")
    }
    voltage, degrees = _number(fields.get("voltage")), _number(fields.get("temperature"))
    if degrees is not None and abs(degrees) >= _WHOLE_DEGREES_BELOW:
        degrees /= 10
    return Battery(
        level_percent=round(100 * level / (scale or 100)) if level is not None else None,
        charging=status in {2, 5} if status in {2, 3, 4, 5} else None,
        plugged=tuple(name for name, value in supplies.items() if value == "true") if supplies else None,
        voltage_mv=None if not voltage else round(voltage * 1000 if voltage < 100 else voltage),
        temperature_c=degrees if degrees is not None and is_temperature(degrees) else None,
        charge_counter_uah=_whole(fields.get("charge counter")),
    )


def _battery_fields(text: str) -> dict[str, str]:
    """The fields of the first section, with keys in lower case."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if fields and (not line.strip() or line.lstrip().startswith("[") or not line[0].isspace()):
            break
        key, colon, value = line.partition(":")
        if colon and line[:1].isspace():
            fields.setdefault(key.strip().lower(), value.strip())
    return fields


# ------------------------------------------------------------------------------------------ heat


@dataclass(frozen=True)
class Heat:
    """The thermal state of a phone.

    Attributes:
        status: Android's throttling status, 0 (none) to 6 (shutdown).
        temperatures_c: By the sensor's name.
        skin_c: The hottest skin sensor.
        battery_c: The hottest battery sensor.
        headroom: How far towards severe throttling the skin is, 1 where it begins; see `_headroom`.
    """

    status: int | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    skin_c: float | None = None
    battery_c: float | None = None
    headroom: float | None = None


def heat(text: str) -> Heat:
    """Parse `dumpsys thermalservice`.

    Only the temperatures under "Current temperatures from HAL" count: the cached ones can be old. Other
    sensors than thermometers are left out, and so are readings that are no temperatures.

    Raises:
        DeviceFailed: The status was overridden by hand.
    """
    if re.search(r"^\s*IsStatusOverride:\s*true", text, re.MULTILINE):
        raise DeviceFailed(
            "the thermal status of this phone is faked (cmd thermalservice override-status)",
            remedy="Restore the real status with: adb shell cmd thermalservice reset",
        )
    status = re.search(r"^\s*Thermal Status:\s*(\d+)", text, re.MULTILINE)
    by_name: dict[str, float] = {}
    by_kind: dict[int, list[float]] = {}
    for value, kind, name, _ in _TEMPERATURE.findall(_section(text, "Current temperatures from HAL:")):
        if int(kind) not in NOT_DEGREES and is_temperature(float(value)):
            by_name[name] = float(value)
            by_kind.setdefault(int(kind), []).append(float(value))
    return Heat(
        status=int(status[1]) if status else None,
        temperatures_c=by_name,
        skin_c=max(by_kind.get(SKIN_SENSOR, ()), default=None),
        battery_c=max(by_kind.get(BATTERY_SENSOR, ()), default=None),
        headroom=_headroom(text, by_name),
    )


def _headroom(text: str, temperatures_c: Mapping[str, float]) -> float | None:
    """The thermal headroom now, out of the thresholds of the skin sensors.

    As PowerManager.getThermalHeadroom tells apps for a forecast of 0 s: 0 at 30 degrees below the threshold
    of severe throttling or colder, 1 at that threshold, the highest of all skin sensors (AOSP,
    ThermalManagerService, TemperatureWatcher). None without such thresholds.
    """
    headrooms = []
    for kind, name, limits in _THRESHOLD.findall(text):
        severe = limits.split(",")[SEVERE : SEVERE + 1]
        limit_c = float(severe[0]) if severe else math.nan
        if int(kind) == SKIN_SENSOR and name in temperatures_c and not math.isnan(limit_c):
            headrooms.append(max(0.0, 1 - (limit_c - temperatures_c[name]) / HEADROOM_RANGE_C))
    return round(max(headrooms), 3) if headrooms else None


def is_temperature(degrees_c: float) -> bool:
    """Whether a reading can be one of a thermometer; exactly 0 is what sensors that are not fitted say."""
    return COLDEST_C <= degrees_c <= HOTTEST_C and degrees_c != 0.0


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
    """Whether the screen is on, from `dumpsys power`: mWakefulness, or in older versions the display."""
    wakefulness = re.search(r"^\s*mWakefulness=(\w+)", text, re.MULTILINE)
    if wakefulness:
        return wakefulness[1] == "Awake"
    display = re.search(r"^\s*Display Power: state=(\w+)", text, re.MULTILINE)
    return display[1] == "ON" if display else None


def battery_saver(text: str) -> bool | None:
    """Parse `settings get global low_power`: "1" is on, "0" and "null" (never set) off, the rest unknown."""
    return {"1": True, "0": False, "null": False}.get(text.strip())


# ------------------------------------------------------------------------------------------ processor


def cpu_list(text: str) -> tuple[int, ...]:
    """A kernel list of processors, as in /sys/devices/system/cpu/online: "0-3,7" is 0, 1, 2, 3, 7."""
    cores: list[int] = []
    for item in text.strip().split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", item.strip())
        if span:
            cores += range(int(span[1]), int(span[2] or span[1]) + 1)
    return tuple(cores)


def cpuset(text: str) -> str | None:
    """The group of a process, from its /proc/PID/cpuset (cpuset(7))."""
    name = text.strip()
    return name if re.fullmatch(r"/[\w./-]{0,99}", name) else None


def cpu_group(text: str) -> str | None:
    """The group of a process in the cpu controller, from its /proc/PID/cgroup; None where it has none."""
    match = re.search(r"^\d+:(?:[\w,]+,)?cpu(?:,[\w,]+)?:(/[\w./-]{0,99})$", text, re.MULTILINE)
    return match[1] if match else None


def clamps(text: str, group: str | None) -> tuple[float | None, float | None]:
    """How low and how high the kernel may think a group's load is, in percent (cpu.uclamp.min and .max).

    Args:
        text: Lines `FILE:VALUE` of /dev/cpuctl; "max" is 100.
        group: As cpu_group has it.
    """
    folder = f"/dev/cpuctl{'' if group in {None, '/'} else group}"
    values = dict(line.strip().split(":", 1) for line in text.splitlines() if ":" in line)
    low, high = (
        100.0 if value == "max" else _number(value)
        for value in (values.get(f"{folder}/cpu.uclamp.{end}") for end in ("min", "max"))
    )
    return low, high


def clusters(text: str) -> tuple[CpuCluster, ...]:
    """Cores grouped by kind, slowest first, from lines `FILE:VALUE` of /sys/devices/system/cpu/cpuN.

    Files: cpu_capacity, cpufreq/{cpuinfo_max_freq,scaling_max_freq,scaling_governor}, and
    cpufreq/stats/time_in_state with a line `KHZ CENTISECONDS` for each frequency. Cores are of one kind
    where their capacity and their highest frequency are equal; what stands in the group for all is what its
    first core says.
    """
    files_of: dict[int, dict[str, str]] = {}  # core -> file -> value
    times_of: dict[int, dict[int, int]] = {}  # core -> frequency -> time
    for line in text.splitlines():
        match = _CPU_FILE.match(line.strip())
        if match and match[2] == "time_in_state":
            khz, _, time = match[3].partition(" ")
            if khz.isdecimal() and time.isdecimal():
                times_of.setdefault(int(match[1]), {})[int(khz)] = int(time)
        elif match:
            files_of.setdefault(int(match[1]), {})[match[2]] = match[3].strip()
    kinds: dict[tuple[int | None, int | None], list[int]] = {}
    for core, files in sorted(files_of.items()):
        kind = (_whole(files.get("cpu_capacity")), _whole(files.get("cpuinfo_max_freq")))
        kinds.setdefault(kind, []).append(core)
    return tuple(
        CpuCluster(
            cores=tuple(cores),
            capacity=capacity,
            max_khz=max_khz,
            allowed_khz=_whole(files_of[cores[0]].get("scaling_max_freq")),
            governor=files_of[cores[0]].get("scaling_governor") or None,
            centiseconds_at_khz=times_of.get(cores[0], {}),
        )
        for (capacity, max_khz), cores in sorted(
            kinds.items(), key=lambda item: (item[0][0] or 0, item[0][1] or 0, item[1])
        )
    )


def cores_of(clusters: Sequence[CpuCluster], which: Cores) -> tuple[int, ...]:
    """The cores of a kind: `little` is the slowest, `big` the fastest, `mid` everything in between.

    Raises:
        UserError: The phone has no such cores. The remedy lists those that it has.
    """
    all_cores = tuple(sorted(core for cluster in clusters for core in cluster.cores))
    if which == "all":
        return all_cores
    kinds = named_kinds(clusters)
    if which not in kinds:
        has = ", ".join(f"{name} {_joined(cores)}" for name, cores in kinds.items())
        raise UserError(
            f"this phone has no {which} cores",
            remedy=f"It has {has + ', ' if has else ''}all {_joined(all_cores) or '(unknown)'}.",
        )
    return kinds[which]


def named_kinds(clusters: Sequence[CpuCluster]) -> dict[Cores, tuple[int, ...]]:
    """The cores of every kind that a phone has, slowest first; empty where all cores are alike."""
    if len(clusters) < 2:
        return {}
    kinds: dict[Cores, tuple[int, ...]] = {"little": clusters[0].cores}
    if len(clusters) > 2:
        kinds["mid"] = tuple(sorted(core for cluster in clusters[1:-1] for core in cluster.cores))
    return {**kinds, "big": clusters[-1].cores}


def core_mask(clusters: Sequence[CpuCluster], which: Cores, online: Sequence[int]) -> str:
    """The affinity mask of a kind of cores that are online, for taskset and the runner.

    Returns:
        Hexadecimal: cores 6 and 7 are "c0".

    Raises:
        UserError: The phone has no such cores.
        DeviceFailed: All of them are switched off.
    """
    cores = [core for core in cores_of(clusters, which) if core in online]
    if not cores:
        raise DeviceFailed(
            f"all {which} cores of this phone are switched off",
            remedy="Turn battery saver off, or let the phone cool down, and run again.",
        )
    return format(sum(1 << core for core in cores), "x")


def _joined(cores: Iterable[int]) -> str:
    return ",".join(str(core) for core in cores)


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and _PLAIN.fullmatch(text) else None


def _whole(text: str | None) -> int | None:
    value = _number(text)
    return None if value is None else round(value)
