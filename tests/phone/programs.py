"""getprop, dumpsys, settings and the other small programs of Android: what they print, from the state.

Formats follow the public sources of Android; values are made. What a phone of the dialect does not have is
refused in the words of the real program.
"""

from __future__ import annotations

import base64
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .nodes import temperature_c
from .perfetto import power_packet
from .recorded import TRACE
from .state import SKIN_THRESHOLDS_C

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .dialects import Dialect
    from .gauge import Reading
    from .recorded import Recorded
    from .state import State

POWER_STATS = "android.hardware.power.stats.IPowerStats/default"
SCREEN_OFF_KEYS = {"KEYCODE_SLEEP", "223"}
SCREEN_ON_KEYS = {"KEYCODE_WAKEUP", "224"}
POWER_KEYS = {"KEYCODE_POWER", "26"}
ACCOUNT, NETWORK = "Anna Account", "Anna at home"
"""What no report of a phone may hold."""
NAMES = ("getprop", "setprop", "dumpsys", "settings", "cmd", "svc", "input", "am", "pm", "traced_probes")


@dataclass(frozen=True)
class Answer:
    """What a program prints and the status that it ends with."""

    text: str = ""
    status: int = 0
    stderr: bool = False


@dataclass(frozen=True)
class View:
    """What the programs look at. `abi` is the phone's ABI; what was `recorded` of a real phone goes first."""

    state: State
    dialect: Dialect
    reading: Reading
    abi: str
    recorded: Recorded | None = None


def answer(name: str, words: Sequence[str], view: View) -> Answer:
    """Runs a program: may turn switches of the state, as the real one changes the phone."""
    programs: dict[str, Callable[[list[str], View], Answer]] = {
        "getprop": _getprop,
        "setprop": _setprop,
        "dumpsys": _dumpsys,
        "settings": _settings,
        "cmd": _cmd,
        "svc": _svc,
        "input": _input,
        "am": _am,
        "pm": _pm,
        "traced_probes": _traced_probes,
    }
    if view.recorded is not None and name not in {"getprop", "traced_probes"}:
        said = view.recorded.answer(" ".join([name, *words]))
        if said is not None:
            return Answer(said.text or said.errors, said.status, stderr=not said.text)
    return programs[name](list(words), view)


def _refusal(text: str, status: int = 255) -> Answer:
    return Answer(f"{text}\n", status, stderr=True)


def properties(view: View) -> dict[str, str]:
    """All properties of the phone."""
    real = {} if view.recorded is None else {**view.recorded.properties, "ro.boot.qemu": "1"}
    return {
        **(real or view.dialect.properties),
        "ro.product.cpu.abi": view.abi,
        "ro.product.cpu.abilist": view.abi,
        "ro.serialno": f"EMULATED{view.dialect.name.upper()}",
        **view.state.properties,
    }


def _getprop(words: list[str], view: View) -> Answer:
    known = properties(view)
    if not words:
        return Answer("".join(f"[{name}]: [{value}]\n" for name, value in sorted(known.items())))
    default = words[1] if len(words) > 1 else ""
    return Answer(known.get(words[0], default) + "\n")


def _setprop(words: list[str], view: View) -> Answer:
    if len(words) != 2:
        return _refusal("usage: setprop NAME VALUE", 1)
    name, value = words
    if name.startswith("ro."):
        return _refusal(f"setprop: failed to set property '{name}' to '{value}'", 1)
    view.state.properties[name] = value
    return Answer()


def _settings(words: list[str], view: View) -> Answer:
    """`get|put|delete|list NAMESPACE [NAME [VALUE]]`; the battery saver and staying awake are settings."""
    state = view.state
    if state.settings_denied and words[:1] in (["put"], ["delete"]):
        return _refusal(
            f"\nException occurred while executing '{words[0]}':\njava.lang.SecurityException: "
            "Permission denial: writing to settings requires:android.permission.WRITE_SECURE_SETTINGS"
        )
    match words:
        case ["list", namespace]:
            kept = {
                name.partition("/")[2]: value
                for name, value in (_kept_settings(state)).items()
                if name.startswith(f"{namespace}/")
            }
            return Answer("".join(f"{name}={value}\n" for name, value in sorted(kept.items())))
        case ["get", namespace, name]:
            return Answer(_kept_settings(state).get(f"{namespace}/{name}", "null") + "\n")
        case ["put", "global", "low_power", value]:
            state.battery_saver = value == "1"
        case ["put", "global", "stay_on_while_plugged_in", value]:
            state.stay_on = value != "0"
        case ["put", namespace, name, value]:
            state.settings[f"{namespace}/{name}"] = value
        case ["delete", namespace, name]:
            gone = state.settings.pop(f"{namespace}/{name}", None)
            return Answer(f"Deleted {int(gone is not None)} rows\n")
        case _:
            return _refusal("usage: settings get|put|delete|list NAMESPACE [NAME [VALUE]]")
    return Answer()


def _kept_settings(state: State) -> dict[str, str]:
    return {
        "global/airplane_mode_on": "0",
        "system/screen_brightness": "102",
        "system/screen_off_timeout": "30000",
        **state.settings,
        "global/low_power": str(int(state.battery_saver)),
        "global/stay_on_while_plugged_in": "15" if state.stay_on else "0",
    }


def _cmd(words: list[str], view: View) -> Answer:
    state = view.state
    match words:
        case ["thermalservice", "override-status", status] if status in {"0", "1", "2", "3", "4", "5", "6"}:
            state.thermal_override = int(status)
        case ["thermalservice", "reset"]:
            state.thermal_override = None
        case ["power", "set-mode", mode]:
            state.battery_saver = mode == "1"
        case ["battery", *rest]:
            return _change_battery(rest, state)
        case ["wifi", "status"]:
            return Answer(
                f'Wifi is enabled\nWifi is connected to "{NETWORK}"\nWifiInfo: SSID: "{NETWORK}", \n'
            )
        case ["thermalservice" | "power", *_]:
            return _refusal(f"Unknown command: {' '.join(words[1:])}")
        case [service, *_]:
            return _refusal(f"cmd: Can't find service: {service}", 20)
        case _:
            return _refusal("cmd: No service specified; use -l to list all running services.", 20)
    return Answer()


def _svc(words: list[str], view: View) -> Answer:
    match words:
        case ["power", "stayon", value] if value in {"true", "false", "usb", "ac", "wireless", "dock"}:
            view.state.stay_on = value != "false"
            if view.state.stay_on and view.state.charges:
                view.state.screen_on = True
            return Answer()
        case _:
            return _refusal("usage: svc power stayon [true|false|usb|ac|wireless|dock]", 1)


def _input(words: list[str], view: View) -> Answer:
    if len(words) != 2 or words[0] != "keyevent":
        return _refusal("usage: input keyevent KEYCODE", 1)
    if view.state.settings_denied:
        return _refusal(
            "java.lang.SecurityException: Injecting input events requires the caller (or the source of the "
            "instrumentation, if any) to have the INJECT_EVENTS permission."
        )
    key, state = words[1], view.state
    if key in POWER_KEYS:
        state.screen_on = not state.screen_on
    elif key in SCREEN_OFF_KEYS | SCREEN_ON_KEYS:
        state.screen_on = key in SCREEN_ON_KEYS
    return Answer()


def _am(words: list[str], view: View) -> Answer:
    match words:
        case ["force-stop" | "kill", _] | ["kill-all"]:
            return Answer()
        case ["get-current-user"]:
            return Answer("0\n")
        case _:
            return _refusal(f"Unknown command: {' '.join(words)}")


def _pm(words: list[str], view: View) -> Answer:
    match words:
        case ["list", "packages", *_]:
            return Answer("package:android\npackage:com.android.shell\n")
        case ["path", "android"]:
            return Answer("package:/system/framework/framework-res.apk\n")
        case _:
            return Answer(status=1)


def _dumpsys(words: list[str], view: View) -> Answer:
    services: dict[str, Callable[[list[str], View], Answer]] = {
        "account": _dump_account,
        "battery": _dump_battery,
        "gpu": _dump_gpu,
        "meminfo": _dump_meminfo,
        "power": _dump_power,
        "thermalservice": _dump_thermal,
    }
    if view.dialect.rails:
        services |= {POWER_STATS: _dump_rails, "powerstats": _dump_powerstats}
    services = {name: dump for name, dump in services.items() if name not in view.state.missing_services}
    if words == ["-l"]:
        listed = "".join(f"  {name}\n" for name in sorted(services))
        return Answer(f"Currently running services:\n{listed}")
    name, *rest = words or [""]
    if name not in services:
        return _refusal(f"Can't find service: {name}", 0)
    if name == POWER_STATS and view.state.power_stats_refused:
        return _refusal(f"Error with service '{name}' while dumping: FAILED_TRANSACTION", 0)
    return services[name](rest, view)


def _change_battery(words: list[str], state: State) -> Answer:
    match words:
        case ["set", field, value]:
            state.battery_faked[field] = value
        case ["unplug"]:
            state.battery_faked |= {"ac": "0", "usb": "0", "wireless": "0"}
        case ["suspend_input"]:
            # A phone that does not support it says nothing either.
            state.input_suspended = state.suspend_input_works
        case ["reset"]:
            state.battery_faked = {}
            state.input_suspended = False
        case _:
            return _refusal(f"Unknown command: {' '.join(words)}")
    return Answer()


def _dump_battery(words: list[str], view: View) -> Answer:
    state, reading = view.state, view.reading
    if words and words[0] not in {"-a", "--proto"}:
        return _change_battery(words, state)
    faked = state.battery_faked
    samsung, xiaomi = (view.dialect.name == name for name in ("samsung", "xiaomi"))

    def powered(kind: str, *, really: bool) -> str:
        return str(faked[kind] != "0" if kind in faked else really).lower()

    def sent(what: str) -> list[str]:
        """A line of newer Samsung and Xiaomi systems, between those of Android."""
        told = f" Time when the latest updated value of the {what} was sent via battery changed broadcast: 0"
        return [told] if samsung or xiaomi else []

    voltage_mv = faked.get("voltage", str(round(reading.voltage_uv / 1000)))
    charge = reading.charge_uah // 1000 if xiaomi else reading.charge_uah  # HyperOS 3 tells mAh here
    level = faked.get("level", str(reading.level_percent))
    lines = ["Current Battery Service state:"]
    if faked:
        lines.append("  (UPDATES STOPPED -- use 'reset' to restart)")
    lines += [
        f"  AC powered: {powered('ac', really=False)}",
        f"  USB powered: {powered('usb', really=state.charges)}",
        f"  Wireless powered: {powered('wireless', really=False)}",
        "  Dock powered: false",
        f"  Max charging current: {900000 if state.charges else 0}",
        *sent("Max charging current"),
        f"  Max charging voltage: {5000000 if state.charges else 0}",
        f"  Charge counter: {faked.get('counter', charge)}",
        f"  status: {faked.get('status', 2 if state.charges else 3)}",
        "  health: 2",
        "  present: true",
        f"  level: {level}",
        "  scale: 100",
        f"  voltage: {voltage_mv}",
        *sent("voltage"),
        f"  temperature: {faked.get('temp', round(state.battery_c * 10))}",
        "  technology: Li-ion",
    ]
    if samsung:
        lines += [
            f"  current now: {round(reading.current_ua / 1000)}",
            f"  charge counter: {reading.charge_uah}",
            "  mSavedBatteryAsoc: 97",
            "  mSavedBatteryMaxTemp: 391",
            "",
            "[EventLogBuffer]",
            "  level:70, voltage:4011, temperature:288",
        ]
    if xiaomi:
        lines += ["MiuiBatteryService first usage time:", "  mSetBatteryUsageTimeCount=56"]
    return Answer("\n".join(lines) + "\n")


def _dump_account(words: list[str], view: View) -> Answer:
    return Answer(
        f"User UserInfo{{0:Owner:13}}:\n  Accounts: 1\n    Account {{name={ACCOUNT}, type=com.google}}\n"
    )


def _dump_power(words: list[str], view: View) -> Answer:
    state = view.state
    return Answer(
        "POWER MANAGER (dumpsys power)\n\nPower Manager State:\n"
        f"  mWakefulness={'Awake' if state.screen_on else 'Asleep'}\n"
        f"  mIsPowered={str(state.charges).lower()}\n"
        f"  mPlugType={2 if state.charges else 0}\n"
        f"  mBatteryLevel={view.reading.level_percent}\n"
        f"  mStayOn={str(state.stay_on and state.charges).lower()}\n"
        f"  mHoldingDisplaySuspendBlocker={str(state.screen_on).lower()}\n"
        f"\nDisplay Power: state={'ON' if state.screen_on else 'OFF'}\n"
    )


def _dump_thermal(words: list[str], view: View) -> Answer:
    state, sensors = view.state, view.dialect.sensors
    overridden = state.thermal_override is not None
    status = state.thermal_override if overridden else state.thermal_status

    def temperatures(offset_c: float) -> str:
        return "".join(
            f"\tTemperature{{mValue={temperature_c(sensor, state) + offset_c:.1f}, mType={sensor.kind}, "
            f"mName={sensor.name}, mStatus={state.thermal_status if sensor.of == 'skin' else 0}}}\n"
            for sensor in sensors
        )

    listeners = "\tcallbacks: 1\n\tkilled: false\n\tbroadcasts count: -1\n"
    text = (
        f"IsStatusOverride: {str(overridden).lower()}\n"
        f"ThermalEventListeners:\n{listeners}ThermalStatusListeners:\n{listeners}"
        # The cache is stale on real phones too, by tens of degrees.
        f"Thermal Status: {status}\nCached temperatures:\n{temperatures(12.5)}"
        "HAL Ready: true\nHAL connection:\n\tThermalHAL 2.0 connected: yes\n"
        f"Current temperatures from HAL:\n{temperatures(0)}"
        "Current cooling devices from HAL:\n"
        f"\tCoolingDevice{{mValue={state.thermal_status}, mType=2, mName=cpufreq-cluster1}}\n"
    )
    if view.dialect.name == "pixel":
        limits = ", ".join(["NaN", *(f"{limit:.1f}" for limit in SKIN_THRESHOLDS_C[1:])])
        text += (
            "Temperature static thresholds from HAL:\n"
            f"\tTemperatureThreshold{{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[{limits}]}}\n"
        )
    return Answer(text)


def _dump_rails(words: list[str], view: View) -> Answer:
    """The dump of the power stats HAL, three sections; a delta (against the last caller's) is not offered.

    Energies are rounded to 32-bit floats, as the HAL does.
    """

    def section(title: str, body: str) -> str:
        return (
            f"\n============= PowerStats HAL 2.0 {title} ==============\n"
            f"{body}========== End of PowerStats HAL 2.0 {title} ==========\n"
        )

    rails = {name: _float32(uws) for name, uws in view.reading.rail_uws.items()}
    meter = f"  {'Channel':>32}   {'Cumulative Energy':>18}\n" + "".join(
        f"  {f'[{rail.name}]:{rail.subsystem}':>32}   {rails[rail.name] / 1000:14.2f} mWs\n"
        for rail in view.dialect.rails
    )
    cpu_mws = sum(rails[rail.name] for rail in view.dialect.rails if rail.subsystem.startswith("CPU")) / 1000
    consumers = f"{'CPU':<12} : {cpu_mws:14.2f} mWs\n  {2000:10d} - {cpu_mws / 2:14.2f} mWs\n"
    return Answer(
        section("state residencies", "")
        + section("energy consumers", consumers)
        + section("energy meter", meter)
    )


def _float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _traced_probes(words: list[str], view: View) -> Answer:
    """A poll of the data source android.power, in base64: `first` or `next`, and the configuration.

    The shell script that stands for the client `perfetto` asks it, since only the daemon knows the phone.
    """
    poll, config = words[0], " ".join(words[1:])
    if not view.state.traced:
        return _refusal("Could not connect to the traced socket /dev/socket/traced_consumer", 1)
    wanted = ("buffers {", 'name: "android.power"', "collect_power_rails: true", "duration_ms:")
    if not all(text in config for text in wanted) or config.count("{") != config.count("}"):
        return _refusal("The trace configuration is invalid", 1)
    said = None if view.recorded is None else view.recorded.answer(f"{TRACE} x")
    if said is not None:
        first = said.text if poll == "first" else ""
        return Answer(first + "\n") if said.status == 0 else _refusal(said.errors, said.status)
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    rails = view.dialect.rails
    packet = power_packet(rails, view.reading.rail_uws, boot_ns, named=poll == "first") if rails else b""
    return Answer(base64.b64encode(packet).decode() + "\n")


def _dump_powerstats(words: list[str], view: View) -> Answer:
    channels = "".join(
        f"  ChannelId: {index}, ChannelName: {rail.name}, ChannelSubsystem: {rail.subsystem}\n"
        for index, rail in enumerate(view.dialect.rails)
    )
    return Answer(
        "PowerStatsService dumpsys: available PowerEntities\n\n"
        f"PowerStatsService dumpsys: available Channels\n{channels}"
    )


def _dump_meminfo(words: list[str], view: View) -> Answer:
    """Totals of one process, from what the kernel says of it."""
    pid = words[-1] if words else ""
    try:
        status = Path(f"/proc/{int(pid)}/status").read_text()
    except (ValueError, OSError):
        return Answer(f"No process found for: {pid}\n")
    sizes = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
    resident_kb = sizes.get("VmRSS", "0")
    return Answer(
        f"Applications Memory Usage (in Kilobytes):\n\n** MEMINFO in pid {pid} [{sizes['Name']}] **\n"
        "                   Pss  Private\n                 Total    Dirty\n"
        f"  Native Heap {resident_kb:>8} {resident_kb:>8}\n\n App Summary\n            Graphics:        0\n"
        f"           TOTAL PSS: {resident_kb:>8}            TOTAL RSS: {resident_kb:>8}"
        "       TOTAL SWAP PSS:        0\n"
    )


def _dump_gpu(words: list[str], view: View) -> Answer:
    if words == ["--gpumem"]:
        return Answer("Memory snapshot for GPU 0:\nGlobal total: 402653184\n")
    return Answer("GPU: emulated, none\n")
