"""What a phone allows, tried on the phone itself: every thing that a run needs, with a remedy for each that fails.

Nothing here is taken from a list of models: vendors rename files, forbid folders and fake services. Energy is asked of the
meters, which know what they need.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from swapbench.devices import adb_text, android_text
from swapbench.devices.android import STATE
from swapbench.errors import DeviceFailed, UserError
from swapbench.records import THERMAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from swapbench.devices.android import Android
    from swapbench.ports import Finished

OLDEST_API: Final = 24
"""Android 7: the oldest that ONNX Runtime's Android library supports (minSdk 24), and the first with shell_v2."""
ABIS: Final = ("arm64-v8a", "x86_64")
LITTLE_DISK_BYTES: Final = 500_000_000
LITTLE_MEMORY_BYTES: Final = 500_000_000
BUSY_TEMPERATURE_C: Final = 40.0


@dataclass(frozen=True)
class Found:
    """One answer: ok, limited (works, but less than it could) or missing, with what would help."""

    name: str
    state: Literal["ok", "limited", "missing"]
    detail: str
    remedy: str = ""


def probe(device: Android) -> tuple[Found, ...]:
    """All findings about one attached phone, in the order in which a person should read them.

    A phone that cannot be reached is one finding. Nothing is ended or changed, but for a file of ours that is tried and
    taken away.
    """
    try:
        features = device.adb.features()
        told = device.adb.ask(_questions(device.adb.folder))
    except DeviceFailed as failure:
        return (Found("adb", "missing", str(failure.args[0]), failure.remedy),)
    properties = android_text.properties(told["properties"].stdout)
    answers = (
        _adb(device, features),
        _android(properties),
        _profile(device, told),
        _folder(told),
        _programs(told),
        _disk(told),
        _digest(told),
        _memory(told),
        _peak_memory(told),
        _cores(told),
        _frequencies(told),
        *_state(told),
        _other_work(told),
    )
    return (*answers, _orphans(device))


def _questions(folder: str) -> Mapping[str, str]:
    ours, tried = shlex.quote(folder), shlex.quote(f"{folder}/.run/tried")
    return {
        **STATE,
        "properties": "getprop",
        "folder": f"mkdir -p {ours}/.run && echo '#!'\"$(command -v sh)\" > {tried} && echo 'echo ran' >> {tried}",
        "programs": f"chmod 755 {tried} && {tried}",
        "digest": f"sha256sum < {tried}; rm -f {tried}",
        "disk": f"df -k {ours}",
        "memory": "cat /proc/meminfo",
        "status": "cat /proc/self/status",
        "online": "cat /sys/devices/system/cpu/online",
        "stat": "cat /proc/stat",
    }


def _adb(device: Android, features: frozenset[str]) -> Found:
    serial = device.adb.serial
    if "shell_v2" in features:
        return Found("adb", "ok", f"phone {serial} answers")
    return Found(
        "adb",
        "missing",
        f"phone {serial} answers, but tells no exit statuses (no shell_v2)",
        "Use a phone with Android 7 or newer, and a newer adb program.",
    )


def _android(properties: Mapping[str, str]) -> Found:
    release, api = (
        properties.get("ro.build.version.release", "?"),
        properties.get("ro.build.version.sdk", ""),
    )
    abi = properties.get("ro.product.cpu.abi", "?")
    detail = f"Android {release} (API {api or '?'}), {abi}"
    if abi not in ABIS:
        return Found("android", "missing", detail, f"Use a phone with a 64-bit system ({' or '.join(ABIS)}).")
    if not api.isdigit() or int(api) < OLDEST_API:
        return Found("android", "missing", detail, "Use a phone with Android 7 (API 24) or newer.")
    return Found("android", "ok", detail)


def _profile(device: Android, told: Mapping[str, Finished]) -> Found:
    profile = device.profile
    clusters = android_text.clusters(told["cpu"].stdout)
    differ = []
    for which, count in profile.cores.items():
        try:
            real = len(android_text.cores_of(clusters, which))
        except UserError:
            real = 0
        if real != count:
            differ.append(f"{real} {which} cores instead of {count}")
    if differ:
        return Found(
            "profile",
            "limited",
            f"the phone does not have what {profile.name} says: {', '.join(differ)}",
            "Cores may be switched off by heat or battery saver; else use --device generic-arm64",
        )
    return Found("profile", "ok", profile.summary or profile.name)


def _folder(told: Mapping[str, Finished]) -> Found:
    return _tried(
        "folder", told["folder"], "files can be made in our folder", "Restart the phone, or free some space."
    )


def _programs(told: Mapping[str, Finished]) -> Found:
    done = told["programs"]
    if done.exit_code == 0 and done.stdout.strip() == "ran":
        return Found("programs", "ok", "programs can run from our folder")
    return Found(
        "programs",
        "missing",
        f"no program can run from our folder: {adb_text.tail(done.stdout) or 'it said nothing'}",
        "This phone forbids execution below /data/local/tmp (noexec, or a rule of its vendor): use another phone.",
    )


def _digest(told: Mapping[str, Finished]) -> Found:
    done = told["digest"]
    if re.match(r"[0-9a-f]{64}\b", done.stdout):
        return Found("sha256sum", "ok", "what is pushed can be checked on the phone")
    return Found(
        "sha256sum",
        "missing",
        f"what is pushed cannot be checked: {adb_text.tail(done.stdout)}",
        "Use a phone with Android 7 or newer.",
    )


def _disk(told: Mapping[str, Finished]) -> Found:
    # Filesystem 1K-blocks Used Available Use% Mounted; a long name stands on a line of its own
    figures = re.findall(r"\s\d+\s+\d+\s+(\d+)\s+\d+%", told["disk"].stdout)
    if not figures:
        return Found("disk", "limited", "the free space on the phone is not told")
    free_bytes = int(figures[-1]) * 1024
    detail = f"{free_bytes / 1e9:.2f} GB free for us"
    if free_bytes < LITTLE_DISK_BYTES:
        return Found("disk", "limited", detail, "Free some space on the phone: models and libraries need it.")
    return Found("disk", "ok", detail)


def _memory(told: Mapping[str, Finished]) -> Found:
    free = android_text.memory_bytes(told["memory"].stdout, "MemAvailable")
    whole = android_text.memory_bytes(told["memory"].stdout)
    if free is None or whole is None:
        return Found("memory", "limited", "the memory of the phone is not told")
    detail = f"{free / 1e9:.2f} of {whole / 1e9:.2f} GB available"
    if free < LITTLE_MEMORY_BYTES:
        return Found(
            "memory", "limited", detail, "Close the apps on the phone, or it may kill what is measured."
        )
    return Found("memory", "ok", detail)


def _peak_memory(told: Mapping[str, Finished]) -> Found:
    if re.search(r"^VmHWM:\s+\d+ kB", told["status"].stdout, re.MULTILINE):
        return Found("/proc", "ok", "peak memory of a program can be read")
    return Found(
        "/proc",
        "limited",
        "/proc/self/status tells no peak memory (VmHWM)",
        "Expect peak memory as absent on this phone.",
    )


def _cores(told: Mapping[str, Finished]) -> Found:
    clusters = android_text.clusters(told["cpu"].stdout)
    if not clusters:
        return Found(
            "cores",
            "limited",
            "the kinds of cores are not told",
            "Measure without --cores: nothing can be pinned to a cluster on this phone.",
        )
    named = []
    for which in ("big", "mid", "little"):
        try:
            named.append(f"{which} {','.join(str(core) for core in android_text.cores_of(clusters, which))}")
        except UserError:
            continue
    allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)", told["status"].stdout, re.MULTILINE)
    online = set(android_text.cpu_list(told["online"].stdout))
    usable = set(android_text.cpu_list(allowed[1])) if allowed else online
    detail = ", ".join(named) or f"{len(clusters[0].cores)} of one kind"
    shut = sorted({core for cluster in clusters for core in cluster.cores} - (online & usable))
    if shut:
        return Found(
            "cores",
            "limited",
            f"{detail}; not usable now: {', '.join(str(core) for core in shut)}",
            "Turn battery saver off and let the phone cool down; some phones keep cores from adb for good.",
        )
    return Found("cores", "ok", detail)


def _frequencies(told: Mapping[str, Finished]) -> Found:
    clusters = android_text.clusters(told["cpu"].stdout)
    governors = ", ".join(sorted({one.governor for one in clusters if one.governor}))
    if not governors:
        return Found(
            "frequencies",
            "limited",
            "governor and frequency caps are not told",
            "Nothing to set; throttling shows in temperatures and wide intervals only.",
        )
    capped = [
        f"core {one.cores[0]} at most {one.allowed_khz / 1000:.0f} of {one.max_khz / 1000:.0f} MHz"
        for one in clusters
        if one.allowed_khz and one.max_khz and one.allowed_khz < one.max_khz
    ]
    if capped:
        return Found(
            "frequencies",
            "limited",
            f"{governors}; held back: {', '.join(capped)}",
            "Turn battery saver off and let the phone cool down.",
        )
    return Found("frequencies", "ok", f"{governors}; no caps")


def _state(told: Mapping[str, Finished]) -> Iterator[Found]:
    yield _refusable("heat", told["heat"], _heat)
    yield _refusable("battery", told["battery"], _battery)
    saver = android_text.battery_saver(told["saver"].stdout if told["saver"].exit_code == 0 else "")
    yield {
        True: Found(
            "battery saver",
            "limited",
            "on: the phone is slower than it could be",
            "Turn it off: adb shell settings put global low_power 0",
        ),
        False: Found("battery saver", "ok", "off"),
        None: Found("battery saver", "limited", "whether it is on is not told"),
    }[saver]
    screen = android_text.screen_on(told["power"].stdout)
    yield {
        True: Found("screen", "ok", "on; it is kept on while measuring"),
        False: Found(
            "screen",
            "limited",
            "off: some phones slow down or sleep then",
            "Wake it: adb shell input keyevent KEYCODE_WAKEUP",
        ),
        None: Found("screen", "limited", "whether it is on is not told"),
    }[screen]


def _refusable(name: str, done: Finished, read: Callable[[str], Found]) -> Found:
    try:
        return read(done.stdout)
    except DeviceFailed as failure:
        return Found(name, "missing", str(failure.args[0]), failure.remedy)


def _heat(text: str) -> Found:
    heat = android_text.heat(text)
    if heat.status is None:
        return Found(
            "heat",
            "limited",
            "the thermal status is not told (it needs Android 10)",
            "Throttling shows in battery temperature and wide intervals only.",
        )
    surface_c = heat.skin_c if heat.skin_c is not None else heat.battery_c
    where = "" if surface_c is None else f", surface {surface_c:.1f} degrees C"
    detail = f"thermal status {THERMAL_STATUSES[min(heat.status, 6)]}{where}"
    if heat.status > 0 or (surface_c is not None and surface_c > BUSY_TEMPERATURE_C):
        return Found("heat", "limited", detail, "Let the phone cool down before measuring.")
    return Found("heat", "ok", detail)


def _battery(text: str) -> Found:
    battery = android_text.battery(text)
    if battery.level_percent is None:
        return Found("battery", "limited", "the state of the battery is not told")
    supplied = " and ".join(battery.plugged or ()) or "nothing"
    charging = {True: "charging", False: "not charging", None: "charging unknown"}[battery.charging]
    detail = f"{battery.level_percent} %, {charging}, supplied by {supplied}"
    if battery.level_percent < 20:
        return Found("battery", "limited", detail, "Charge it: phones hold back when the battery is low.")
    return Found("battery", "ok", detail)


def _other_work(told: Mapping[str, Finished]) -> Found:
    return _tried(
        "other work", told["stat"], "how busy the phone is can be told", "It stays unknown on this phone."
    )


def _tried(name: str, done: Finished, detail: str, remedy: str) -> Found:
    if done.exit_code == 0:
        return Found(name, "ok", detail)
    state: Literal["limited", "missing"] = "missing" if name == "folder" else "limited"
    return Found(name, state, f"refused: {adb_text.tail(done.stdout)}", remedy)


def _orphans(device: Android) -> Found:
    try:
        left = device.adb.orphans()
        alone = device.detached()
    except DeviceFailed as failure:
        return Found("left over", "limited", str(failure.args[0]), failure.remedy)
    if left:
        return Found(
            "left over",
            "limited",
            f"{len(left)} of our programs run on the phone",
            "Where no other swapbench is measuring, the next run ends them.",
        )
    if alone is not None:
        does = "measures by itself, or waits to" if alone.alive else "keeps what it measured by itself"
        return Found(
            "left over",
            "limited",
            f"the phone {does}, for run --detached",
            f"Collect it with the command that began it, or end it: swapbench device end {device.name}",
        )
    return Found("left over", "ok", "nothing of ours runs on the phone")
