from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from shell_adb import SERIAL, ShellAdb
from test_android_text import BATTERY, HEAT, PIXEL

from swapbench.devices.adb import Adb
from swapbench.devices.android import Android, find_android
from swapbench.devices.android_probe import probe
from swapbench.devices.android_profile import Phone, Profile, SteadyRules, attached, phone_for, read_profile
from swapbench.errors import DeviceFailed, UserError
from swapbench.records import Finding, Machine, Plan

PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 7",
    "ro.product.device": "panther",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.soc.manufacturer": "Google",
    "ro.soc.model": "GS201",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.build.fingerprint": "google/panther/panther:14/UP1A.231005.007/1:user/release-keys",
}
COOL = (
    HEAT.replace("Thermal Status: 1", "Thermal Status: 0")
    .replace("39.2", "31.5")
    .replace("38.0, mType", "31.0, mType")
)
PROFILE = Profile(
    name="pixel7",
    kind="android",
    match={"ro.product.device": ("panther",)},
    cores={"big": 2, "mid": 2, "little": 4},
    steady=SteadyRules(start_below_c=35.0, cool_down_s=60.0),
)

_DUMPSYS = """#!/bin/sh
echo "dumpsys $*" >> {home}/asked
/bin/cat {home}/state/$1 2>/dev/null || echo "Can't find service: $1"
"""
# settings get|put|delete NAMESPACE KEY [VALUE]
_SETTINGS = """#!/bin/sh
echo "settings $*" >> {home}/asked
file={home}/state/$2.$3
case $1 in
get) /bin/cat $file 2>/dev/null || echo null ;;
put) echo "$4" > $file ;;
delete) rm -f $file; echo Deleted 1 rows ;;
esac
"""
_CAT = """#!/bin/sh
[ "$1" = -- ] && shift
[ -f "{home}/state$1" ] && set -- "{home}/state$1"
exec /bin/cat "$@"
"""
_GREP = """#!/bin/sh
case $* in *cpu_capacity*) exec /bin/cat {home}/state/cpu ;; esac
exec /bin/grep "$@"
"""


class Pixel:
    """A phone on this computer's shell, with Android's programs on top."""

    def __init__(self, home: Path) -> None:
        self.adb = ShellAdb(home)
        self.state = home / "state"
        self.now_s = 0.0
        self.at_sleep: list[Any] = []
        for name, script in {"dumpsys": _DUMPSYS, "settings": _SETTINGS, "cat": _CAT, "grep": _GREP}.items():
            self.adb.tool(name, script.replace("{home}", str(home)))
        self.adb.tool("getprop", f"#!/bin/sh\n/bin/cat {self.state}/properties\n")
        self.adb.tool("sleep", "#!/bin/sh\nexit 0\n")
        self.write("properties", "".join(f"[{key}]: [{value}]\n" for key, value in PROPERTIES.items()))
        self.write("battery", BATTERY)
        self.write("thermalservice", COOL)
        self.write("power", "POWER MANAGER\n  mWakefulness=Awake\n")
        self.write("cpu", PIXEL.replace("2401000", "2850000"))
        self.write("sys/devices/system/cpu/present", "0-7\n")
        self.write("sys/devices/system/cpu/online", "0-7\n")
        self.write("proc/meminfo", "MemTotal: 7782400 kB\nMemAvailable: 4000000 kB\n")
        self.write("proc/self/status", "VmHWM:\t  1000 kB\nCpus_allowed_list:\t0-7\n")
        self.write("proc/self/cpuset", "/system-background\n")
        self.write("proc/self/cgroup", "2:cpu:/background\n")
        self.write("proc/stat", "cpu  1 0 1 10 0 0 0 0 0 0\ncpu0 1\n")

    def write(self, name: str, text: str) -> None:
        path = self.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def setting(self, name: str) -> str | None:
        path = self.state / name
        return path.read_text().strip() if path.exists() else None

    @property
    def asked(self) -> list[str]:
        path = self.adb.home / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        if self.at_sleep:
            self.at_sleep.pop(0)()

    def device(self, profile: Profile = PROFILE) -> Android:
        adb = Adb(SERIAL, self.adb.program, folder=self.adb.folder)
        return Android(adb, profile, sleep=self.sleep, clock=lambda: self.now_s)


@pytest.fixture
def pixel(tmp_path: Path) -> Pixel:
    home = tmp_path / "pixel"
    home.mkdir()
    return Pixel(home)


# ------------------------------------------------------------------------------------------ what it is


def test_a_phone_tells_what_may_be_compared(pixel: Pixel) -> None:
    machine = pixel.device().describe()
    assert (machine.name, machine.device, machine.soc) == ("pixel7", "Google Pixel 7", "Google GS201")
    assert machine.system.startswith("Android 14 (API 34), Linux ")
    assert (machine.abi, machine.logical_cores, machine.memory_bytes) == ("arm64-v8a", 8, 7782400 * 1024)
    assert machine.build == PROPERTIES["ro.build.fingerprint"]
    assert (machine.governor, machine.emulated) == ("sched_pixel", False)
    assert (machine.temperature_c, machine.on_battery) == (31.5, False)
    state = machine.state
    assert state is not None
    assert (state.thermal_status, state.surface_c, state.temperatures_c["BATT"]) == (0, 31.5, 31.7)
    assert (state.battery_percent, state.charging, state.plugged) == (71, True, ("usb",))
    assert (state.battery_saver, state.screen_on, state.cpuset) == (False, True, "/system-background")
    assert state.cpu_group == "/background"
    assert [(one.cores, one.allowed_khz) for one in state.clusters] == [
        ((0, 1, 2, 3), 1803000),
        ((4, 5), 2348000),
        ((6, 7), 2850000),
    ]
    assert Machine.model_validate_json(machine.model_dump_json()) == machine


def test_a_description_takes_one_call(pixel: Pixel) -> None:
    pixel.device().describe()
    assert pixel.adb.verbs == ["shell"]


def test_an_emulated_phone_says_so(pixel: Pixel) -> None:
    pixel.write("properties", "[ro.boot.qemu]: [1]\n")
    machine = pixel.device().describe()
    assert machine.emulated
    assert (machine.device, machine.soc) == ("unknown phone", "unknown")


def test_the_profile_names_the_soc_that_an_old_phone_does_not_tell(pixel: Pixel) -> None:
    pixel.write("properties", "[ro.board.platform]: [gs201]\n")
    assert pixel.device(PROFILE.model_copy(update={"soc": "Google Tensor GS201"})).describe().soc == (
        "Google Tensor GS201"
    )
    assert pixel.device().describe().soc == "gs201"


def test_what_a_phone_does_not_tell_is_absent(pixel: Pixel) -> None:
    for name in ("battery", "thermalservice", "power"):
        (pixel.state / name).unlink()
    pixel.write("cpu", "")
    pixel.write("proc/self/cpuset", "")
    pixel.write("proc/self/cgroup", "")
    pixel.adb.tool("settings", "#!/bin/sh\necho 'settings: inaccessible or not found' >&2\nexit 127\n")
    machine = pixel.device().describe()
    assert (machine.temperature_c, machine.on_battery, machine.governor) == (None, None, None)
    assert machine.state is not None
    assert machine.state.model_dump(exclude_defaults=True) == {}


def test_a_faked_state_is_refused(pixel: Pixel) -> None:
    pixel.write("battery", BATTERY.replace("state:", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)"))
    with pytest.raises(DeviceFailed, match="battery state of this phone is faked"):
        pixel.device().describe()
    with pytest.raises(DeviceFailed, match="battery state"), pixel.device().quiet(Plan()):
        raise AssertionError("measured")
    pixel.write("battery", BATTERY)
    pixel.write("thermalservice", COOL.replace("IsStatusOverride: false", "IsStatusOverride: true"))
    with pytest.raises(DeviceFailed, match="thermal status of this phone is faked"):
        pixel.device().state()


def test_a_cluster_becomes_a_mask_of_the_cores_that_are_on(pixel: Pixel) -> None:
    device = pixel.device()
    assert [device.core_mask(which) for which in ("little", "mid", "big", "all")] == ["f", "30", "c0", "ff"]
    assert device.kinds_of_cores() == ("little", "mid", "big")
    pixel.write("sys/devices/system/cpu/online", "0-6\n")
    assert device.core_mask("big") == "40"


# ----------------------------------------------------------------------------------------- files and programs


def test_two_files_of_one_name_do_not_replace_each_other(pixel: Pixel, tmp_path: Path) -> None:
    device = pixel.device()
    places = []
    for name in ("a", "b", "a", "b"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").write_text(name)
        places.append(device.push(folder / "model.onnx"))
    assert places[0] == places[2] == f"{pixel.adb.folder}/model.onnx"
    assert places[1] == places[3] != places[0]
    assert [Path(place).read_text() for place in places] == ["a", "b", "a", "b"]


def test_files_that_belong_together_lie_in_one_folder_under_their_own_names(
    pixel: Pixel, tmp_path: Path
) -> None:
    device = pixel.device()
    places = []
    for name in ("a", "b", "a"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").write_text(name)
        (folder / "weights.data").write_text(f"weights of {name}")
        places.append(Path(device.push(folder / "model.onnx", folder / "weights.data")))
    assert places[0] == places[2] != places[1]
    assert [place.read_text() for place in places] == ["a", "b", "a"]
    assert [place.with_name("weights.data").read_text() for place in places[:2]] == [
        "weights of a",
        "weights of b",
    ]


def test_a_program_runs_and_a_file_is_read(pixel: Pixel, tmp_path: Path) -> None:
    device = pixel.device()
    runner = tmp_path / "my runner"
    runner.write_text('#!/bin/sh\necho "ran $1"\n')
    there = device.push(runner)
    assert device.run([there, "it"], 20).stdout == "ran it\n"
    conversation = device.start([there, "again"])
    assert conversation.read_line(20) == "ran again"
    conversation.close()
    assert device.read("/sys/devices/system/cpu/present") == "0-7\n"
    device.pull(there, tmp_path / "back")
    assert (tmp_path / "back").read_text() == runner.read_text()


# ------------------------------------------------------------------------------------------ holding still


def test_a_cool_phone_begins_at_once_and_its_state_is_kept(pixel: Pixel) -> None:
    device = pixel.device()
    with device.quiet(Plan()):
        pixel.write("thermalservice", COOL.replace("Thermal Status: 0", "Thermal Status: 2"))
        machine = device.describe()
    assert machine.start_gate is not None
    assert machine.start_gate.model_dump() == {
        "limit_c": 37.0,
        "surface_c": 31.5,
        "waited_s": 0.0,
        "passed": True,
    }
    assert machine.state_before is not None
    assert machine.state is not None
    assert (machine.state_before.thermal_status, machine.state.thermal_status) == (0, 2)
    after = device.describe()
    assert (after.state_before, after.start_gate, after.busy_cores) == (None, None, None)


def test_a_hot_phone_is_waited_for(pixel: Pixel) -> None:
    pixel.write("thermalservice", HEAT)  # 39.2 degrees, status 1
    pixel.at_sleep = [lambda: None, lambda: pixel.write("thermalservice", COOL)]
    device = pixel.device()
    with device.quiet(Plan()):
        gate = device.describe().start_gate
    assert gate is not None
    assert (gate.passed, gate.waited_s, gate.surface_c) == (True, 10.0, 31.5)


def test_waiting_is_told_with_the_limit_of_the_profile(pixel: Pixel) -> None:
    pixel.write("thermalservice", HEAT)
    pixel.at_sleep = [lambda: None, lambda: pixel.write("thermalservice", COOL)]
    heard: list[tuple[str, float, float]] = []
    with pixel.device().quiet(Plan(), lambda *told: heard.append(told)):
        pass
    stage = (
        "waiting for the phone to cool down (surface 39.2 °C, thermal status light, "
        "starting at 37.0 °C, up to 1 min)"
    )
    assert heard == [(stage, 0.0, 60.0), (stage, 5.0, 60.0), (stage, 60.0, 60.0)]


def test_a_cool_phone_is_not_told_about(pixel: Pixel) -> None:
    heard: list[tuple[str, float, float]] = []
    with pixel.device().quiet(Plan(), lambda *told: heard.append(told)):
        pass
    assert heard == []


@pytest.mark.parametrize(
    ("battery", "gate"),
    [
        (BATTERY, (37.0, 0.0, True)),
        (BATTERY.replace("USB powered: true", "USB powered: false"), (35.0, 60.0, False)),
    ],
)
def test_a_phone_on_a_cable_may_begin_warmer_than_one_on_its_battery(
    pixel: Pixel, battery: str, gate: tuple[float, float, bool]
) -> None:
    pixel.write("battery", battery)
    pixel.write("thermalservice", COOL.replace("31.5", "36.0"))
    device = pixel.device()
    with device.quiet(Plan()):
        begun = device.describe().start_gate
    assert begun is not None
    assert (begun.limit_c, begun.waited_s, begun.passed) == gate


def test_a_cool_surface_is_not_enough_while_the_phone_throttles(pixel: Pixel) -> None:
    pixel.write("thermalservice", COOL.replace("Thermal Status: 0", "Thermal Status: 1"))
    device = pixel.device()
    with device.quiet(Plan()):
        gate = device.describe().start_gate
    assert gate is not None
    assert (gate.passed, gate.waited_s, gate.surface_c) == (False, 60.0, 31.5)


def test_a_phone_that_stays_hot_is_measured_but_not_passed(pixel: Pixel) -> None:
    pixel.write(
        "thermalservice", HEAT.replace("Thermal Status: 1", "Thermal Status: 0")
    )  # the status may be dead
    device = pixel.device()
    with device.quiet(Plan()):
        gate = device.describe().start_gate
    assert gate is not None
    assert (gate.passed, gate.waited_s, gate.surface_c) == (False, 60.0, 39.2)


def test_a_phone_without_a_thermometer_is_not_waited_for(pixel: Pixel) -> None:
    (pixel.state / "thermalservice").unlink()
    (pixel.state / "battery").unlink()
    device = pixel.device()
    with device.quiet(Plan()):
        gate = device.describe().start_gate
    assert gate is not None
    assert (gate.passed, gate.waited_s, gate.surface_c) == (False, 0.0, None)


def test_without_a_skin_sensor_the_battery_counts(pixel: Pixel) -> None:
    pixel.write("thermalservice", "Thermal Status: 0\n")
    assert pixel.device().state().surface_c == 31.2


def test_a_lit_screen_stays_lit_and_its_timeout_is_put_back(pixel: Pixel) -> None:
    pixel.write("system.screen_off_timeout", "30000\n")
    during = []
    with pytest.raises(KeyboardInterrupt), pixel.device().quiet(Plan()):  # noqa: PT012 - what raises is the subject
        during.append(pixel.setting("system.screen_off_timeout"))
        raise KeyboardInterrupt
    assert during == ["86400000"]
    assert pixel.setting("system.screen_off_timeout") == "30000"


def test_a_timeout_that_was_never_set_is_unset_again(pixel: Pixel) -> None:
    with pixel.device().quiet(Plan()):
        assert pixel.setting("system.screen_off_timeout") == "86400000"
    assert pixel.setting("system.screen_off_timeout") is None


def test_a_phone_that_lets_adb_change_no_setting_is_measured_and_says_so(pixel: Pixel) -> None:
    pixel.adb.tool(
        "settings",
        "#!/bin/sh\n"
        "[ $1 = get ] && echo 30000 && exit\n"
        "echo 'java.lang.SecurityException: Permission denial: writing to settings requires:'\n"
        "echo 'android.permission.WRITE_SECURE_SETTINGS'\nexit 255\n",
    )
    device = pixel.device()
    for _ in range(2):  # what was not changed need not be put back
        with device.quiet(Plan()):
            before = device.describe().state_before
        assert before is not None
        assert before.screen_kept_on is False
    found = findings(device)["screen"]
    assert found.state == "limited"
    assert "WRITE_SECURE_SETTINGS" in found.detail
    assert "by hand" in found.remedy


def test_a_dark_screen_is_left_alone(pixel: Pixel) -> None:
    pixel.write("power", "  mWakefulness=Asleep\n")
    with pixel.device().quiet(Plan()):
        pass
    assert not [line for line in pixel.asked if line.startswith(("settings put", "settings delete"))]


def test_the_doctor_leaves_settings_as_they_are(pixel: Pixel) -> None:
    assert findings(pixel.device())["screen"].detail == "on; it is kept on while measuring"
    assert pixel.setting("system.screen_off_timeout") is None
    pixel.write("system.screen_off_timeout", "30000\n")
    findings(pixel.device())
    assert pixel.setting("system.screen_off_timeout") == "30000"


def test_what_a_pulled_cable_left_changed_is_put_back_by_the_next_run(pixel: Pixel) -> None:
    pixel.write("system.screen_off_timeout", "30000\n")
    with pixel.device().quiet(Plan()):
        for _ in range(4):
            pixel.adb.fault("shell", "echo \"error: device 'x' not found\" >&2; exit 1")
    assert pixel.setting("system.screen_off_timeout") == "86400000"
    for fault in (pixel.adb.home / "faults").iterdir():
        fault.unlink()
    with pixel.device().quiet(Plan()):
        assert pixel.setting("system.screen_off_timeout") == "86400000"
    assert pixel.setting("system.screen_off_timeout") == "30000"


def test_what_others_keep_busy_is_told_inside_only(pixel: Pixel) -> None:
    # the second reading is 100 ticks later, 75 of them idle, on two cores
    pixel.write("stat2", "cpu  21 0 6 85 0 0 0 0 0 0\ncpu0 1\ncpu1 1\n")
    pixel.adb.tool("sleep", f"#!/bin/sh\ncp {pixel.state}/stat2 {pixel.state}/proc/stat\n")
    device = pixel.device()
    with device.quiet(Plan()):
        assert device.describe().busy_cores == pytest.approx(0.5)


def test_what_an_earlier_run_left_behind_is_ended_first(pixel: Pixel) -> None:
    device = pixel.device()
    orphan = device.start(["tail", "-f", "/dev/null"])
    assert len(device.adb.orphans()) == 1
    with device.quiet(Plan()):
        assert device.adb.orphans() == ()
    orphan.close()


# ------------------------------------------------------------------------------------------ which phone


def phone(serial: str = "A1", state: str = "device", **changed: str) -> Phone:
    told = {**PROPERTIES, **{key.replace("_", "."): value for key, value in changed.items()}}
    return Phone(serial, state, told if state == "device" else {})


GALAXY = phone("G1", ro_product_device="dm1q", ro_product_manufacturer="samsung", ro_product_model="SM-S911B")


def test_the_one_phone_that_fits_is_taken() -> None:
    assert phone_for(PROFILE, [GALAXY, phone("A1")]).serial == "A1"


def test_two_phones_that_fit_are_never_guessed_between() -> None:
    both = [phone("A1"), phone("A2")]
    with pytest.raises(
        DeviceFailed, match=r"2 attached phones fit .* A1 \(Google Pixel 7\), A2 .*--serial A1"
    ):
        phone_for(PROFILE, both)
    assert phone_for(PROFILE, both, serial="A2").serial == "A2"


@pytest.mark.parametrize(
    ("phones", "serial", "message"),
    [
        ([], None, r"no attached phone fits the profile pixel7. No phone is attached. .* make phone"),
        ([GALAXY], None, r"Attached: G1 \(samsung SM-S911B\). Use the profile .* make phone"),
        ([GALAXY, phone("B", "offline")], None, r"Attached: G1 \(samsung SM-S911B\), B \(offline\)"),
        ([phone("B", "unauthorized")], None, r"phone B does not trust this computer .* Unlock the phone"),
        ([phone("B", "offline")], None, r"phone B is attached but does not answer"),
        ([phone("A1")], "A9", r"no phone has the serial A9. Attached: A1 \(Google Pixel 7\)"),
        ([phone("A1"), phone("B", "unauthorized")], "B", r"phone B does not trust"),
        ([phone("B", "no permissions")], "B", r"may not access phone B over USB"),
        ([GALAXY], "G1", r"G1 \(samsung SM-S911B\) is not a pixel7: ro.product.device 'dm1q' is not panther"),
    ],
)
def test_a_phone_that_cannot_be_taken_is_said_with_what_is_attached(
    phones: list[Phone], serial: str | None, message: str
) -> None:
    with pytest.raises(DeviceFailed, match=message) as failed:
        phone_for(PROFILE, phones, serial)
    assert failed.value.exit_status == 4


@pytest.mark.parametrize(
    ("abi", "emulated", "way"),
    [
        ("arm64-v8a", "0", "--device generic-arm64"),
        ("x86_64", "1", "--device emulated-x86"),
        ("x86_64", "0", r"a profile of your own in devices/ that matches A1 .* \(x86_64\)"),
        ("armeabi-v7a", "0", r"a profile of your own .* \(armeabi-v7a\)"),
    ],
)
@pytest.mark.parametrize("serial", [None, "A1"])
def test_the_profile_that_is_named_instead_takes_the_phone(
    abi: str, emulated: str, way: str, serial: str | None
) -> None:
    other = phone("A1", **{"ro.product.device": "x", "ro.product.cpu.abi": abi, "ro.boot.qemu": emulated})
    with pytest.raises(DeviceFailed) as failed:
        phone_for(PROFILE, [other], serial)
    assert re.search(way, failed.value.remedy)


def test_attached_phones_are_asked_for_their_properties(pixel: Pixel) -> None:
    (pixel.adb.home / "devices").write_text(f"List of devices attached\n{SERIAL}\tdevice\nB\tunauthorized\n")
    ready, waiting = attached(pixel.adb.program)
    assert (ready.serial, ready.state, ready.properties["ro.product.device"]) == (SERIAL, "device", "panther")
    assert (waiting.serial, waiting.state, waiting.properties) == ("B", "unauthorized", {})


WIRELESS = "adb-0A1B2C3D4E-AbCdEf (2)._adb-tls-connect._tcp"


@pytest.mark.parametrize(
    ("listed", "serial", "others"),
    [
        ((WIRELESS, SERIAL), SERIAL, (WIRELESS,)),
        (("192.168.1.7:5555", SERIAL, WIRELESS), SERIAL, ("192.168.1.7:5555", WIRELESS)),
        ((WIRELESS, "192.168.1.7:5555"), WIRELESS, ("192.168.1.7:5555",)),
    ],
)
def test_one_phone_over_several_connections_is_one_phone_at_its_cable(
    pixel: Pixel, listed: tuple[str, ...], serial: str, others: tuple[str, ...]
) -> None:
    lines = "".join(f"{one}\tdevice\n" for one in listed)
    (pixel.adb.home / "devices").write_text(f"List of devices attached\n{lines}")
    (phone,) = attached(pixel.adb.program)
    assert (phone.serial, phone.others) == (serial, others)
    assert phone_for(PROFILE, [phone]).serial == serial
    # who names a connection gets that one
    assert [phone_for(PROFILE, [phone], one).serial for one in listed] == list(listed)


def test_a_serial_with_spaces_can_be_typed_as_it_is_told() -> None:
    with pytest.raises(DeviceFailed) as failed:
        phone_for(PROFILE, [phone(WIRELESS), phone("A1")])
    assert failed.value.remedy == f"Choose one, e.g. --serial '{WIRELESS}'"


def test_phones_that_do_not_tell_their_boot_are_not_taken_for_one(pixel: Pixel) -> None:
    (pixel.adb.home / "devices").write_text("List of devices attached\nA\tdevice\nB\tdevice\n")
    pixel.write("proc/sys/kernel/random/boot_id", "\n")
    assert [phone.serial for phone in attached(pixel.adb.program)] == ["A", "B"]


def test_a_serial_with_spaces_is_passed_to_adb_whole(pixel: Pixel) -> None:
    (pixel.adb.home / "devices").write_text(f"List of devices attached\n{WIRELESS}\tdevice\n")
    (phone,) = attached(pixel.adb.program)
    adb = Adb(phone.serial, pixel.adb.program, folder=pixel.adb.folder)
    assert adb.query("echo here").stdout == "here\n"
    assert {call[1] for call in pixel.adb.calls if call[0] == "-s"} == {WIRELESS}


def test_a_phone_that_goes_away_while_it_is_asked_does_not_hide_the_others(pixel: Pixel) -> None:
    (pixel.adb.home / "devices").write_text(f"List of devices attached\nA\tdevice\n{SERIAL}\tdevice\n")
    for _ in range(2):
        pixel.adb.fault("shell", "echo 'error: device offline' >&2; exit 1")
    assert [one.state for one in attached(pixel.adb.program)] == ["does not answer", "device"]


def test_a_profile_leads_to_its_phone(pixel: Pixel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB", pixel.adb.program)
    device = find_android(PROFILE)
    assert (device.name, device.adb.serial) == ("pixel7", SERIAL)
    with pytest.raises(DeviceFailed, match="no attached phone fits the profile galaxy-s23"):
        find_android(read_profile(REPOSITORY / "devices" / "galaxy-s23.toml"))


# ------------------------------------------------------------------------------------------ profiles


def built_in() -> list[Path]:
    found = sorted((REPOSITORY / "devices").glob("*.toml"))
    return [path for path in found if tomllib.loads(path.read_text())["kind"] == "android"]


@pytest.mark.parametrize("path", built_in(), ids=lambda path: path.stem)
def test_a_built_in_profile_is_named_like_its_file(path: Path) -> None:
    profile = read_profile(path)
    assert profile.name == path.stem
    assert profile.summary
    assert not profile.cores or set(profile.cores) == {"big", "mid", "little"}


def test_a_pixel_fits_its_own_profile_and_the_generic_one_only() -> None:
    taken = []
    for path in built_in():
        try:
            taken.append((path.stem, phone_for(read_profile(path), [phone()]).serial))
        except DeviceFailed:
            continue
    assert taken == [("generic-arm64", "A1"), ("pixel7", "A1")]


def rails_by_profile() -> dict[str, tuple[str, ...]]:
    profiles = [read_profile(path) for path in built_in()]
    return {one.name: one.rails.summed for one in profiles if one.rails.summed}


def test_pixels_and_the_emulated_phone_name_the_rails_that_add_up() -> None:
    rails = rails_by_profile()
    assert sorted(rails) == ["emulated-x86", "pixel10", "pixel6", "pixel7", "pixel8", "pixel9"]
    assert rails["pixel7"] == (
        "S2M_VDD_CPUCL2",
        "S3M_VDD_CPUCL1",
        "S4M_VDD_CPUCL0",
        "S2S_VDD_G3D",
        "S1M_VDD_MIF",
    )


@pytest.mark.parametrize("name", ["pixel10", "pixel6", "pixel7", "pixel8", "pixel9"])
def test_no_rail_that_is_added_up_feeds_another_one(name: str) -> None:
    # Converters (S, on the main or the second chip) hang on the battery side by side. Regulators (L...)
    # hang behind converters named after them (..LDO..), and external rails (VSYS, PPVAR) feed converters:
    # of either kind a sum would hold a rail twice.
    for rail in rails_by_profile()[name]:
        assert re.fullmatch(r"S\d+[MS]_VDD\w+", rail), rail
        assert "LDO" not in rail


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", r"mine\.toml is not TOML: Invalid value"),
        ('name = "x"\nkind = "android"', r"mine.toml is invalid: match: Field required"),
        ('name = "x"\nkind = "android"\n[match]', r"invalid: match"),
        ('name = "x"\nkind = "android"\nmatch = {a = ["b"]}\ncolour = 1', r"invalid: unknown key `colour`"),
        (
            'name = "x"\nkind = "android"\nmatch = {a = ["b"]}\n[steady]\nstart_below_c = 90',
            r"invalid: steady.start_below_c",
        ),
        (
            'name = "x"\nkind = "android"\nmatch = {a = ["b"]}\n[rails]\nsummed = ["A", "B", "A"]',
            r"invalid: rails.summed: A would be counted twice",
        ),
        ('name = "x"\nkind = "android"\nmatch = {a = ["b"]}\n[cores]\nhuge = 1', r"invalid: cores.huge"),
    ],
)
def test_a_malformed_profile_is_named_with_its_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_profile(path)


# ------------------------------------------------------------------------------------- the doctor's questions


def findings(device: Android) -> dict[str, Finding]:
    return {found.name: found for found in probe(device)}


def test_nothing_is_wrong_with_a_healthy_phone_and_nothing_is_left_on_it(pixel: Pixel) -> None:
    found = findings(pixel.device())
    assert {name: one.detail for name, one in found.items() if one.state != "ok"} == {}
    assert found["cores"].detail == "big 6,7, mid 4,5, little 0,1,2,3"
    assert found["battery"].detail == "71 %, charging, powered by usb"
    assert list(Path(pixel.adb.folder, ".run").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "name", "state", "detail"),
    [
        (
            ("properties", "[ro.product.cpu.abi]: [armeabi-v7a]\n[ro.build.version.sdk]: [34]\n"),
            "android",
            "missing",
            "armeabi-v7a",
        ),
        (
            ("properties", "[ro.product.cpu.abi]: [arm64-v8a]\n[ro.build.version.sdk]: [23]\n"),
            "android",
            "missing",
            "API 23",
        ),
        (("sys/devices/system/cpu/online", "0-5\n"), "cores", "limited", "not usable now: 6, 7"),
        (
            ("proc/self/status", "VmHWM:\t  1 kB\nCpus_allowed_list:\t0-3\n"),
            "cores",
            "limited",
            "not usable now: 4, 5, 6, 7",
        ),
        (("proc/self/status", "Name: cat\n"), "/proc", "limited", "no peak memory"),
        (("cpu", PIXEL), "frequencies", "limited", "capped: core 6 at most 2401 of 2850 MHz"),
        (("cpu", ""), "cores", "limited", "unknown"),
        (("cpu", ""), "frequencies", "limited", "unknown"),
        (
            ("cpu", PIXEL.replace(":1024", ":498").replace("2850000", "2348000")),
            "profile",
            "limited",
            "0 mid cores instead of 2",
        ),
        (("thermalservice", HEAT), "heat", "limited", "thermal status light, surface 39.2"),
        (("thermalservice", ""), "heat", "limited", "unknown"),
        (("thermalservice", "IsStatusOverride: true\n"), "heat", "missing", "faked"),
        (("battery", "  (UPDATES STOPPED -- use 'reset' to restart)\n"), "battery", "missing", "faked"),
        (("battery", BATTERY.replace("level: 71", "level: 12")), "battery", "limited", "12 %"),
        (("global.low_power", "1\n"), "battery saver", "limited", "on"),
        (("power", "  mWakefulness=Asleep\n"), "screen", "limited", "off"),
        (
            ("proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 100000 kB\n"),
            "memory",
            "limited",
            "0.10 of 4.10 GB",
        ),
    ],
)
def test_every_thing_that_is_wrong_is_a_finding(
    pixel: Pixel, change: tuple[str, str], name: str, state: str, detail: str
) -> None:
    pixel.write(*change)
    found = findings(pixel.device())[name]
    assert found.state == state
    assert detail in found.detail
    assert found.remedy


def test_a_folder_where_nothing_may_run_is_found(pixel: Pixel) -> None:
    pixel.adb.tool("chmod", "#!/bin/sh\nexit 0\n")  # as on a folder that is mounted noexec
    found = findings(pixel.device())["programs"]
    assert found.state == "missing"
    assert "ermission denied" in found.detail


def test_a_full_phone_is_found(pixel: Pixel) -> None:
    pixel.adb.tool("mkdir", "#!/bin/sh\necho 'mkdir: No space left on device' >&2\nexit 1\n")
    pixel.adb.tool(
        "df",
        "#!/bin/sh\n"
        "echo 'Filesystem 1K-blocks Used Available Use% Mounted on'\n"
        "echo '/dev/dm-53 1000 990 10 99% /data'\n",
    )
    found = findings(pixel.device())
    assert (found["folder"].state, found["disk"].state) == ("missing", "limited")
    assert found["disk"].detail == "0.00 GB free"


def test_a_phone_without_exit_statuses_is_found(pixel: Pixel) -> None:
    pixel.adb.fault("features", "echo cmd; exit 0")
    assert findings(pixel.device())["adb"].state == "missing"


def test_a_phone_that_cannot_be_reached_is_one_finding(pixel: Pixel) -> None:
    pixel.adb.fault("features", "echo 'error: device unauthorized.' >&2; exit 1")
    (found,) = probe(pixel.device())
    assert (found.name, found.state) == ("adb", "missing")
    assert "does not trust" in found.detail
    assert "Unlock the phone" in found.remedy


def test_what_runs_already_is_told_and_not_ended(pixel: Pixel) -> None:
    device = pixel.device()
    conversation = device.start(["cat"])
    assert findings(device)["left over"].detail == "programs of ours that are still running on the phone: 1"
    conversation.write_line("still here")
    assert conversation.read_line(20) == "still here"
    conversation.close()
