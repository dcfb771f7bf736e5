"""Asking a phone everything that a report of it holds, without what is its owner's."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import swapbench
from swapbench.devices import android_text, private_text
from swapbench.devices.android_probe import SAME_TIMEOUT
from swapbench.devices.phone_report import LARGEST_TEXT, Answer, PhoneReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.devices.android import Android
    from swapbench.ports import Finished
    from swapbench.records import Finding

PROGRAMS: Final = (
    *("uname -r", "uname -m", "id", "getenforce", "getconf PAGE_SIZE", "perfetto --version", "toybox"),
    *("dumpsys battery", "dumpsys thermalservice", "dumpsys -l", "dumpsys gpu --gpumem"),
    "dumpsys android.hardware.power.stats.IPowerStats/default",
    "cmd thermalservice headroom 0",
    *("settings get global low_power", "settings get system screen_off_timeout"),
)
"""Run as they stand."""
WAKEFULNESS: Final = "dumpsys power | grep -E 'mWakefulness=|Display Power: state='"
"""All of `dumpsys power` would name the apps that were used."""
_CPU: Final = "/sys/devices/system/cpu"
_CPUFREQ: Final = (
    *("cpuinfo_min_freq", "cpuinfo_max_freq", "scaling_min_freq", "scaling_max_freq", "scaling_cur_freq"),
    *("scaling_governor", "stats/time_in_state"),
)
_SUPPLY: Final = (
    *("type", "online", "present", "status", "health", "technology", "capacity", "cycle_count", "scope"),
    *("voltage_now", "current_now", "current_avg", "charge_counter", "charge_now", "charge_full", "temp"),
    *("charge_full_design", "energy_now", "power_now", "usb_type"),
)
FILES: Final = (
    *(f"{_CPU}/{name}" for name in ("possible", "present", "online")),
    *(f"{_CPU}/cpu[0-9]*/{name}" for name in ("cpu_capacity", "online", "topology/cluster_id")),
    *(f"{_CPU}/cpu[0-9]*/cpufreq/{name}" for name in _CPUFREQ),
    *(f"/sys/class/power_supply/*/{name}" for name in _SUPPLY),
    *(f"/sys/class/thermal/{kind}" for kind in ("thermal_zone*/type", "thermal_zone*/temp")),
    *(f"/sys/class/thermal/cooling_device*/{name}" for name in ("type", "cur_state", "max_state")),
    *(f"/sys/bus/iio/devices/iio:device*/{name}" for name in ("name", "enabled_rails", "sampling_rate")),
    *("/sys/class/kgsl/kgsl-3d0/gpu_model", "/sys/class/misc/mali0/device/gpuinfo"),
    *("/proc/meminfo", "/proc/stat", "/proc/version", "/proc/cpuinfo", "/proc/loadavg"),
    *("/proc/self/status", "/proc/self/cpuset", "/proc/self/cgroup"),
    *(
        "/dev/cpuset/*/cpus",
        "/dev/cpuset/cpus",
        "/dev/cpuctl/cpu.uclamp.m??",
        "/dev/cpuctl/*/cpu.uclamp.min",
        "/dev/cpuctl/*/cpu.uclamp.max",
    ),
)
"""Patterns; none of them holds a serial number, and /proc/cpuinfo loses its own."""
LONGEST_FILE: Final = 20_000
COLLECT_S: Final = 120.0
_OWNERS: Final[Mapping[str, str]] = {
    "android_id": "settings get secure android_id",
    "device": "settings get global device_name",
    "bluetooth": "settings get secure bluetooth_name",
    "accounts": "dumpsys account",
    "wifi": "cmd wifi status",
    "networks": "cmd wifi list-networks",
    "hostname": "getprop net.hostname",
}
"""Asked only to be taken out of everything else."""
_SERIAL_PROPERTIES: Final = re.compile(r"(?i).*(serial|imei|meid|psn|barcode|wifimac|btmac|\bcid).*")
_MODEL: Final = ("manufacturer", "brand", "model", "device", "name", "marketname")
_CPU_SERIAL: Final = re.compile(r"^(Serial\s*: ).*$", re.MULTILINE)


def collected(phone: Android, findings: Sequence[Finding], tried: Sequence[Answer] = ()) -> PhoneReport:
    """The report of a phone; DeviceFailed where it cannot be reached.

    Args:
        phone: Nothing on it is changed, but for the timeout of its screen, which is set to what it is.
        findings: Of the doctor.
        tried: Answers of what the caller has run on it.
    """
    adb = phone.adb
    features = adb.features()
    asked = adb.ask(
        {"properties": "getprop", "awake": WAKEFULNESS, "same": SAME_TIMEOUT, **_OWNERS}, COLLECT_S
    )
    same = asked["same"]
    properties = android_text.properties(asked["properties"].stdout)
    answers = [
        *(_answer(words, adb.query(words, COLLECT_S)) for words in PROGRAMS),
        _answer("dumpsys power", asked["awake"]),
        _answer("df", adb.query("df -k /data/local/tmp"), begins=True),
        *(_answer(f"settings {verb}", same, begins=True) for verb in ("put", "delete")),
        *tried,
    ]
    files, unreadable = _files(adb.query(_files_script(), COLLECT_S).stdout)
    report = PhoneReport(
        swapbench=swapbench.__version__,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=phone.profile,
        features=tuple(sorted(features)),
        findings=tuple(findings),
        properties=private_text.kept_properties(properties),
        answers=tuple(answers),
        files=files,
        unreadable=unreadable,
    )
    return without(report, _secrets(adb.serial, properties, asked))


def _answer(words: str, done: Finished, *, begins: bool = False) -> Answer:
    text, errors = (one[:LARGEST_TEXT] for one in (done.stdout, done.stderr))
    return Answer(words=words, status=done.exit_code, text=text, errors=errors, begins=begins)


def _secrets(serial: str, properties: Mapping[str, str], asked: Mapping[str, Finished]) -> dict[str, str]:
    told = {name: asked[name].stdout if asked[name].exit_code == 0 else "" for name in _OWNERS}
    serials = [value for name, value in properties.items() if _SERIAL_PROPERTIES.fullmatch(name)]
    listed = [
        line.rsplit(None, 1)[0].split(None, 1)[-1]
        for line in told["networks"].splitlines()[1:]
        if line.strip()
    ]
    model = " ".join(properties.get(f"ro.product.{name}", "") for name in _MODEL)
    return private_text.secrets(
        {
            "serial": [serial, serial.partition("._adb")[0], *serials, told["android_id"]],
            "name of the phone": [told["device"], told["bluetooth"], told["hostname"]],
            "account": private_text.accounts(told["accounts"]),
            "network": [*private_text.networks(told["wifi"]), *listed],
        },
        model,
    )


def without(report: PhoneReport, secret: Mapping[str, str]) -> PhoneReport:
    """The report without secrets: text -> what it is."""
    removed: Counter[str] = Counter()

    def clean(text: str) -> str:
        cleaned, counts = private_text.cleaned(text, secret)
        removed.update(counts)
        return cleaned

    files = {path: clean(_CPU_SERIAL.sub(r"\1<serial>", text)) for path, text in report.files.items()}
    properties = {name: clean(value) for name, value in report.properties.items()}
    answers = tuple(
        answer.replace(text=clean(answer.text), errors=clean(answer.errors)) for answer in report.answers
    )
    findings = tuple(
        type(one)(one.name, one.state, clean(one.detail), clean(one.remedy)) for one in report.findings
    )
    return report.replace(
        files=files, properties=properties, answers=answers, findings=findings, removed=dict(removed)
    )


def _files_script() -> str:
    """Prints every file that there is: its path, whether it could be read, and its text."""
    return (
        f"for f in {' '.join(FILES)}; do\n"
        '[ -f "$f" ] || continue\n'
        f'if t=$(head -c {LONGEST_FILE} "$f" 2>/dev/null); then echo "=== read $f"; printf "%s\\n" "$t"\n'
        'else echo "=== refused $f"; fi\ndone'
    )


def _files(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Path -> text of the files that could be read, and the paths of those that could not."""
    files, refused = {}, []
    for part in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        heading, _, content = part.partition("\n")
        how, _, path = heading.partition(" ")
        if how == "read":
            files[path] = content
        else:
            refused.append(path)
    return files, tuple(refused)
