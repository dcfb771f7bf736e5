"""What a phone allows, tried on the phone itself: everything that a run needs, with remedies.

Nothing here is taken from a list of models: vendors rename files, forbid folders and fake services. Energy
is left to the meters, which know what they need.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final, Literal

from swapbench.devices import adb_text, android_text, linux_text
from swapbench.devices.android import STATE
from swapbench.errors import DeviceFailed, UserError
from swapbench.records import THERMAL_STATUSES, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from swapbench.devices.android import Android
    from swapbench.ports import Finished

OLDEST_API: Final = 24
"""Android 7: the oldest that ONNX Runtime's Android library supports, and the first with shell_v2."""
ABIS: Final = ("arm64-v8a", "x86_64")
LITTLE_DISK_BYTES: Final = 500_000_000
LITTLE_MEMORY_BYTES: Final = 500_000_000
BUSY_TEMPERATURE_C: Final = 40.0
SAME_TIMEOUT: Final = """
old=$(settings get system screen_off_timeout) || exit 1
case $old in
null) settings delete system screen_off_timeout ;;
*) settings put system screen_off_timeout "$old" ;;
esac
"""
"""Writes the setting that it has: some vendors forbid adb to change any."""


def probe(device: Android) -> tuple[Finding, ...]:
    """Check one attached phone; the results are in the order in which a person should read them.

    A phone that cannot be reached is one result. Nothing is ended or changed, except that a file of ours is
    written, run and removed.
    """
    try:
        features = device.adb.features()
        outputs = device.adb.ask(_commands(device.adb.folder))
    except DeviceFailed as failure:
        return (Finding("adb", "missing", str(failure.args[0]), failure.remedy),)
    properties = android_text.properties(outputs["properties"].stdout)
    return (
        _adb(device, features),
        _android(properties),
        _profile(device, outputs),
        _folder(outputs),
        _programs(outputs),
        _disk(outputs),
        _digest(outputs),
        _memory(outputs),
        _peak_memory(outputs),
        _cores(outputs),
        _frequencies(outputs),
        *_state(outputs),
        _other_work(outputs),
        _orphans(device),
    )


def _commands(folder: str) -> Mapping[str, str]:
    ours, script = shlex.quote(folder), shlex.quote(f"{folder}/.run/tried")
    return {
        **STATE,
        "properties": "getprop",
        "folder": f"mkdir -p {ours}/.run"
        f" && echo '#!'\"$(command -v sh)\" > {script} && echo 'echo ran' >> {script}",
        "programs": f"chmod 755 {script} && {script}",
        "digest": f"sha256sum < {script}; rm -f {script}",
        "disk": f"df -k {ours}",
        "memory": "cat /proc/meminfo",
        "status": "cat /proc/self/status",
        "online": "cat /sys/devices/system/cpu/online",
        "stat": "cat /proc/stat",
        "settings": SAME_TIMEOUT,
    }


def _adb(device: Android, features: frozenset[str]) -> Finding:
    serial = device.adb.serial
    if "shell_v2" in features:
        return Finding("adb", "ok", f"phone {serial} answers")
    return Finding(
        "adb",
        "missing",
        f"phone {serial} answers, but does not report exit statuses (no shell_v2)",
        "Use a phone with Android 7 or newer, and a newer adb program.",
    )


def _android(properties: Mapping[str, str]) -> Finding:
    release, api = (
        properties.get("ro.build.version.release", "?"),
        properties.get("ro.build.version.sdk", ""),
    )
    abi = properties.get("ro.product.cpu.abi", "?")
    detail = f"Android {release} (API {api or '?'}), {abi}"
    if abi not in ABIS:
        return Finding(
            "android", "missing", detail, f"Use a phone with a 64-bit system ({' or '.join(ABIS)})."
        )
    if not api.isdigit() or int(api) < OLDEST_API:
        return Finding("android", "missing", detail, "Use a phone with Android 7 (API 24) or newer.")
    return Finding("android", "ok", detail)


def _profile(device: Android, outputs: Mapping[str, Finished]) -> Finding:
    profile = device.profile
    clusters = android_text.clusters(outputs["cpu"].stdout)
    differ = []
    for which, count in profile.cores.items():
        try:
            real = len(android_text.cores_of(clusters, which))
        except UserError:
            real = 0
        if real != count:
            differ.append(f"{real} {which} cores instead of {count}")
    if differ:
        return Finding(
            "profile",
            "limited",
            f"the phone differs from {profile.name}: {', '.join(differ)}",
            "Cores may be switched off by heat or battery saver; otherwise correct [cores] in a profile of "
            "your own, or use --device generic-arm64 for a phone of that ABI.",
        )
    return Finding("profile", "ok", profile.summary or profile.name)


def _folder(outputs: Mapping[str, Finished]) -> Finding:
    return _tried(
        "folder", outputs["folder"], "our folder is writable", "Restart the phone, or free some space."
    )


def _programs(outputs: Mapping[str, Finished]) -> Finding:
    done = outputs["programs"]
    if done.exit_code == 0 and done.stdout.strip() == "ran":
        return Finding("programs", "ok", "programs can run from our folder")
    return Finding(
        "programs",
        "missing",
        f"no program can run from our folder: {adb_text.tail(done.stdout) or 'it printed nothing'}",
        "This phone forbids execution below /data/local/tmp (noexec, or a vendor's rule): use another phone.",
    )


def _digest(outputs: Mapping[str, Finished]) -> Finding:
    done = outputs["digest"]
    if re.match(r"[0-9a-f]{64}\b", done.stdout):
        return Finding("sha256sum", "ok", "pushed files can be verified on the phone")
    return Finding(
        "sha256sum",
        "missing",
        f"pushed files cannot be verified: {adb_text.tail(done.stdout)}",
        "Use a phone with Android 7 or newer.",
    )


def _disk(outputs: Mapping[str, Finished]) -> Finding:
    # Filesystem 1K-blocks Used Available Use% Mounted; a long name stands on a line of its own
    figures = re.findall(r"\s\d+\s+\d+\s+(\d+)\s+\d+%", outputs["disk"].stdout)
    if not figures:
        return Finding("disk", "limited", "the free space on the phone is unknown")
    free_bytes = int(figures[-1]) * 1024
    detail = f"{free_bytes / 1e9:.2f} GB free"
    if free_bytes < LITTLE_DISK_BYTES:
        return Finding(
            "disk", "limited", detail, "Free some space on the phone: models and libraries need it."
        )
    return Finding("disk", "ok", detail)


def _memory(outputs: Mapping[str, Finished]) -> Finding:
    free = linux_text.memory_bytes(outputs["memory"].stdout, "MemAvailable")
    total = linux_text.memory_bytes(outputs["memory"].stdout)
    if free is None or total is None:
        return Finding("memory", "limited", "the memory of the phone is unknown")
    detail = f"{free / 1e9:.2f} of {total / 1e9:.2f} GB available"
    if free < LITTLE_MEMORY_BYTES:
        return Finding(
            "memory", "limited", detail, "Close the apps on the phone, or it may kill the measurement."
        )
    return Finding("memory", "ok", detail)


def _peak_memory(outputs: Mapping[str, Finished]) -> Finding:
    if re.search(r"^VmHWM:\s+\d+ kB", outputs["status"].stdout, re.MULTILINE):
        return Finding("/proc", "ok", "the peak memory of a program can be read")
    return Finding(
        "/proc",
        "limited",
        "/proc/self/status has no peak memory (VmHWM)",
        "Peak memory will be absent on this phone.",
    )


def _cores(outputs: Mapping[str, Finished]) -> Finding:
    clusters = android_text.clusters(outputs["cpu"].stdout)
    if not clusters:
        return Finding(
            "cores",
            "limited",
            "the kinds of cores are unknown",
            "Measure without --cores: nothing can be pinned to a cluster on this phone.",
        )
    named = []
    for which in ("big", "mid", "little"):
        try:
            named.append(f"{which} {','.join(str(core) for core in android_text.cores_of(clusters, which))}")
        except UserError:
            continue
    allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)", outputs["status"].stdout, re.MULTILINE)
    online = set(android_text.cpu_list(outputs["online"].stdout))
    usable = set(android_text.cpu_list(allowed[1])) if allowed else online
    detail = ", ".join(named) or f"{len(clusters[0].cores)} of one kind"
    shut = sorted({core for cluster in clusters for core in cluster.cores} - (online & usable))
    if shut:
        return Finding(
            "cores",
            "limited",
            f"{detail}; not usable now: {', '.join(str(core) for core in shut)}",
            "Turn battery saver off and let the phone cool down; some phones never let adb use some cores.",
        )
    return Finding("cores", "ok", detail)


def _frequencies(outputs: Mapping[str, Finished]) -> Finding:
    clusters = android_text.clusters(outputs["cpu"].stdout)
    governors = ", ".join(sorted({cluster.governor for cluster in clusters if cluster.governor}))
    if not governors:
        return Finding(
            "frequencies",
            "limited",
            "governor and frequency caps are unknown",
            "Nothing to set; throttling will show only in temperatures and wide intervals.",
        )
    capped = [
        f"core {core.cores[0]} at most {core.allowed_khz / 1000:.0f} of {core.max_khz / 1000:.0f} MHz"
        for core in clusters
        if core.allowed_khz and core.max_khz and core.allowed_khz < core.max_khz
    ]
    if capped:
        return Finding(
            "frequencies",
            "limited",
            f"{governors}; capped: {', '.join(capped)}",
            "Turn battery saver off and let the phone cool down.",
        )
    return Finding("frequencies", "ok", f"{governors}; no caps")


def _state(outputs: Mapping[str, Finished]) -> Iterator[Finding]:
    yield _refusable("heat", outputs["heat"], _heat)
    yield _refusable("battery", outputs["battery"], _battery)
    saver = android_text.battery_saver(outputs["saver"].stdout if outputs["saver"].exit_code == 0 else "")
    yield {
        True: Finding(
            "battery saver",
            "limited",
            "on: the phone is slower than it could be",
            "Turn it off, by hand or with: adb shell settings put global low_power 0",
        ),
        False: Finding("battery saver", "ok", "off"),
        None: Finding("battery saver", "limited", "the phone does not say whether it is on"),
    }[saver]
    screen = android_text.screen_on(outputs["power"].stdout)
    lit = Finding("screen", "ok", "on; it is kept on while measuring")
    if outputs["settings"].exit_code != 0:
        lit = Finding(
            "screen",
            "limited",
            f"on, but adb may not keep it on: {adb_text.tail(outputs['settings'].stdout)}",
            "Set the phone's screen timeout to the longest by hand, or allow "
            "'USB debugging (Security settings)' in its developer options.",
        )
    yield {
        True: lit,
        False: Finding(
            "screen",
            "limited",
            "off: some phones slow down or sleep then",
            "Wake it, by hand or with: adb shell input keyevent KEYCODE_WAKEUP",
        ),
        None: Finding("screen", "limited", "the phone does not say whether it is on"),
    }[screen]


def _refusable(name: str, done: Finished, read: Callable[[str], Finding]) -> Finding:
    try:
        return read(done.stdout)
    except DeviceFailed as failure:
        return Finding(name, "missing", str(failure.args[0]), failure.remedy)


def _heat(text: str) -> Finding:
    heat = android_text.heat(text)
    if heat.status is None:
        return Finding(
            "heat",
            "limited",
            "the thermal status is unknown (it needs Android 10)",
            "Throttling will show only in the battery's temperature and wide intervals.",
        )
    surface_c = heat.skin_c if heat.skin_c is not None else heat.battery_c
    where = "" if surface_c is None else f", surface {surface_c:.1f} degrees C"
    detail = f"thermal status {THERMAL_STATUSES[min(heat.status, 6)]}{where}"
    if heat.status > 0 or (surface_c is not None and surface_c > BUSY_TEMPERATURE_C):
        return Finding("heat", "limited", detail, "Let the phone cool down before measuring.")
    return Finding("heat", "ok", detail)


def _battery(text: str) -> Finding:
    battery = android_text.battery(text)
    if battery.level_percent is None:
        return Finding("battery", "limited", "the state of the battery is unknown")
    supplied = " and ".join(battery.plugged or ()) or "nothing"
    charging = {True: "charging", False: "not charging", None: "charging unknown"}[battery.charging]
    detail = f"{battery.level_percent} %, {charging}, powered by {supplied}"
    if battery.level_percent < 20:
        return Finding("battery", "limited", detail, "Charge it: phones hold back when the battery is low.")
    return Finding("battery", "ok", detail)


def _other_work(outputs: Mapping[str, Finished]) -> Finding:
    return _tried(
        "other work", outputs["stat"], "the load of the phone can be read", "It stays unknown on this phone."
    )


def _tried(name: str, done: Finished, detail: str, remedy: str) -> Finding:
    if done.exit_code == 0:
        return Finding(name, "ok", detail)
    state: Literal["limited", "missing"] = "missing" if name == "folder" else "limited"
    return Finding(name, state, f"refused: {adb_text.tail(done.stdout)}", remedy)


def _orphans(device: Android) -> Finding:
    try:
        orphans = device.adb.orphans()
        jobs = device.detached()
    except DeviceFailed as failure:
        return Finding("left over", "limited", str(failure.args[0]), failure.remedy)
    if orphans:
        return Finding(
            "left over",
            "limited",
            f"programs of ours that are still running on the phone: {len(orphans)}",
            "The next run ends them; make sure that no other swapbench is measuring now.",
        )
    if jobs is not None:
        does = "is measuring by itself, or waiting to" if jobs.alive else "keeps what it measured by itself"
        return Finding(
            "left over",
            "limited",
            f"the phone {does}, for run --detached",
            f"Collect it with the command that started it, or end it: swapbench device end {device.name}",
        )
    return Finding("left over", "ok", "nothing of ours is running on the phone")
