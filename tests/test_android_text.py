from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.devices import android_text, linux_text
from swapbench.devices.android_text import Battery
from swapbench.errors import DeviceFailed, UserError
from swapbench.records import CpuCluster

# The formats are those that AOSP prints; every value is made up.
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Dock powered: false
  Max charging current: 900000
  Max charging voltage: 5000000
  Charge counter: 2914000
  status: 2
  health: 2
  present: true
  level: 71
  scale: 100
  voltage: 4021
  temperature: 312
  technology: Li-ion
"""
SAMSUNG_BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: false
  Wireless powered: false
  Max charging current: 0
  charge counter: 1873000
  current now: 298
  status: 3
  health: 2
  present: true
  level: 70
  scale: 100
  voltage: 4011
  temperature: 287
  mSavedBatteryAsoc: 98
  [EventLogBuffer]
  level:55, voltage:3777
  level: 12
  temperature: 999
"""
HEAT = """IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
	killed: false
	broadcasts count: -1
ThermalStatusListeners:
	callbacks: 1
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=58.1, mType=0, mName=BIG0, mStatus=0}
	Temperature{mValue=65.0, mType=3, mName=SKIN1, mStatus=1}
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=31.7, mType=2, mName=BATT, mStatus=0}
	Temperature{mValue=39.2, mType=3, mName=SKIN1, mStatus=1}
	Temperature{mValue=38.0, mType=3, mName=SKIN 2, mStatus=0}
	Temperature{mValue=NaN, mType=3, mName=SKIN3, mStatus=0}
	Temperature{mValue=-0.5, mType=18, mName=AMBIENT, mStatus=0}
	Temperature{mValue=87.0, mType=8, mName=SOC_PERCENT, mStatus=0}
	Temperature{mValue=30.1, mType=50, mName=SUBBAT, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=2, mType=2, mName=cpufreq-cluster1}
Temperature static thresholds from HAL:
	TemperatureThreshold{mType=3, mName=SKIN1, mHotThrottlingThresholds=[NaN, 38.0, NaN, 48.0, 66.0, 75.0, 88.0]}
	{.type = SKIN, .name = SKIN1}
Temperature headroom thresholds:
[NaN, 0.82, NaN, 1.0, NaN, NaN, NaN]
"""  # noqa: E501 - as Android prints it


def cpu_tree(*cores: tuple[int, int, int, str]) -> str:
    """Lines FILE:VALUE for capacity, highest and allowed frequency, and governor of each core."""
    lines = []
    for number, (capacity, max_khz, allowed_khz, governor) in enumerate(cores):
        place = f"/sys/devices/system/cpu/cpu{number}"
        lines += [
            f"{place}/cpu_capacity:{capacity}",
            f"{place}/cpufreq/cpuinfo_max_freq:{max_khz}",
            f"{place}/cpufreq/scaling_max_freq:{allowed_khz}",
            f"{place}/cpufreq/scaling_governor:{governor}",
        ]
    return "\n".join(lines) + "\n"


LITTLE = (160, 1803000, 1803000, "sched_pixel")
MID = (498, 2348000, 2348000, "sched_pixel")
BIG = (1024, 2850000, 2401000, "sched_pixel")
PIXEL = cpu_tree(*[LITTLE] * 4, *[MID] * 2, *[BIG] * 2)


# ------------------------------------------------------------------------------------------ adb and getprop


def test_phones_are_listed_with_their_states() -> None:
    text = (
        "* daemon started successfully\nList of devices attached\n"
        "R58M12ABCDE            device usb:1-4 product:panther model:Pixel_7 device:panther transport_id:1\n"
        "127.0.0.1:5599\toffline\n"
        "8A0X\tunauthorized\n"
        "????????????\tno permissions (user in plugdev group; are your udev rules wrong?); see [http://x]\n"
    )
    assert android_text.listed_phones(text) == (
        ("R58M12ABCDE", "device"),
        ("127.0.0.1:5599", "offline"),
        ("8A0X", "unauthorized"),
        ("????????????", "no permissions"),
    )


def test_the_serials_of_wireless_debugging_may_hold_spaces() -> None:
    text = (
        "List of devices attached\n"
        "adb-0A1B2C3D4E-AbCdEf (2)._adb-tls-connect._tcp\tdevice\n"
        "adb-0A1B2C3D4E-AbCdEf (3)._adb-tls-connect._tcp\toffline\n\n"
    )
    assert android_text.listed_phones(text) == (
        ("adb-0A1B2C3D4E-AbCdEf (2)._adb-tls-connect._tcp", "device"),
        ("adb-0A1B2C3D4E-AbCdEf (3)._adb-tls-connect._tcp", "offline"),
    )


def test_a_serial_may_hold_the_word_for_a_state_up_to_its_tab() -> None:
    assert android_text.listed_phones("unknown device one\tunauthorized\n") == (
        ("unknown device one", "unauthorized"),
    )


def test_properties_may_hold_brackets_and_several_lines() -> None:
    text = "[ro.a]: [x [y]]\r\n[ro.b]: []\r\n[ro.c]: [one\r\ntwo]\r\n[ro.d]: [Pixel 7]\r\n"
    assert android_text.properties(text) == {
        "ro.a": "x [y]",
        "ro.b": "",
        "ro.c": "one\ntwo",
        "ro.d": "Pixel 7",
    }


# ------------------------------------------------------------------------------------------ battery


def test_the_battery_of_aosp_is_read() -> None:
    assert android_text.battery(BATTERY) == Battery(
        level_percent=71,
        charging=True,
        plugged=("usb",),
        voltage_mv=4021,
        temperature_c=31.2,
        charge_counter_uah=2914000,
    )


def test_the_event_log_of_a_samsung_is_not_the_battery() -> None:
    assert android_text.battery(SAMSUNG_BATTERY) == Battery(
        level_percent=70,
        charging=False,
        plugged=(),
        voltage_mv=4011,
        temperature_c=28.7,
        charge_counter_uah=1873000,
    )


@pytest.mark.parametrize(
    ("old", "new", "field", "value"),
    [
        ("voltage: 4021", "voltage: 4", "voltage_mv", 4000),
        ("voltage: 4021", "voltage: 4.02", "voltage_mv", 4020),
        ("voltage: 4021", "voltage: 0", "voltage_mv", None),
        ("temperature: 312", "temperature: 31", "temperature_c", 31.0),
        ("temperature: 312", "temperature: 100", "temperature_c", 10.0),
        ("temperature: 312", "temperature: unknown", "temperature_c", None),
        ("  temperature: 312\n", "", "temperature_c", None),
        ("scale: 100", "scale: 200", "level_percent", 36),
        ("status: 2", "status: 5", "charging", True),
        ("status: 2", "status: 4", "charging", False),
        ("status: 2", "status: 1", "charging", None),
        ("AC powered: false", "AC powered: true", "plugged", ("ac", "usb")),
    ],
)
def test_vendors_differ_in_units_and_lines(old: str, new: str, field: str, value: object) -> None:
    assert getattr(android_text.battery(BATTERY.replace(old, new)), field) == value


def test_a_faked_battery_is_refused() -> None:
    faked = BATTERY.replace("state:\n", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)\n", 1)
    with pytest.raises(DeviceFailed, match=r"faked .* adb shell dumpsys battery reset"):
        android_text.battery(faked)


VALUES = st.one_of(st.text(), st.floats().map(str), st.sampled_from(["1e999", "-1", "true", "٣"]))


@given(st.dictionaries(st.sampled_from(["level", "scale", "status", "voltage", "temperature"]), VALUES))
def test_a_damaged_battery_state_is_no_crash(told: dict[str, str]) -> None:
    text = "Current Battery Service state:\n" + "".join(f"  {key}: {value}\n" for key, value in told.items())
    battery = android_text.battery(text)
    assert battery.charging is None or told["status"].strip()[:1].isdigit()
    assert battery.level_percent is None or "level" in told


def test_a_phone_without_the_service_tells_nothing() -> None:
    assert android_text.battery("Can't find service: battery\n") == Battery()
    assert android_text.heat("Can't find service: thermalservice\n").status is None


# ------------------------------------------------------------------------------------------ heat


def test_only_current_temperatures_that_are_degrees_count() -> None:
    heat = android_text.heat(HEAT)
    assert heat.status == 1
    assert heat.temperatures_c == {
        "BATT": 31.7,
        "SKIN1": 39.2,
        "SKIN 2": 38.0,
        "AMBIENT": -0.5,
        "SUBBAT": 30.1,
    }
    assert (heat.skin_c, heat.battery_c) == (39.2, 31.7)


def test_old_temperatures_are_not_taken_for_current_ones() -> None:
    heat = android_text.heat(HEAT.replace("Current temperatures from HAL:", "Something else:"))
    assert (heat.status, heat.temperatures_c, heat.skin_c) == (1, {}, None)


def test_a_faked_thermal_status_is_refused() -> None:
    with pytest.raises(DeviceFailed, match=r"thermal status .* faked .* cmd thermalservice reset"):
        android_text.heat(HEAT.replace("IsStatusOverride: false", "IsStatusOverride: true"))


def test_sensors_that_are_not_ready_or_not_fitted_have_no_temperature() -> None:
    readings = {
        "unknown": "-5700.0",
        "not a number": "NaN",
        "not fitted": "0.0",
        "minus zero": "-0.0",
        "too hot": "150.1",
        "too cold": "-40.1",
        "hottest": "150.0",
        "coldest": "-40.0",
        "millidegrees": "31700.0",
        "just above zero": "0.1",
    }
    lines = "".join(
        f"\tTemperature{{mValue={value}, mType=3, mName={name}, mStatus=0}}\n"
        for name, value in readings.items()
    )
    heat = android_text.heat(f"Thermal Status: 0\nCurrent temperatures from HAL:\n{lines}")
    assert heat.temperatures_c == {"hottest": 150.0, "coldest": -40.0, "just above zero": 0.1}
    assert heat.skin_c == 150.0


@pytest.mark.parametrize("printed", ["0", "-5700", "2000"])
def test_a_battery_without_a_thermometer_has_no_temperature(printed: str) -> None:
    text = BATTERY.replace("temperature: 312", f"temperature: {printed}")
    assert android_text.battery(text).temperature_c is None


# ------------------------------------------------------------------------------------------ screen and saver


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("  mWakefulness=Awake\n  mWakefulnessChanging=false\n", True),
        ("  mWakefulness=Asleep\nDisplay Power: state=ON\n", False),
        ("  mWakefulness=Dozing\n", False),
        ("Display Power: state=ON\n", True),
        ("Display Power: state=OFF\n", False),
        ("Can't find service: power\n", None),
    ],
)
def test_the_screen_is_on_where_the_phone_is_awake(text: str, on: bool | None) -> None:
    assert android_text.screen_on(text) is on


@pytest.mark.parametrize(
    ("text", "on"), [("1\n", True), ("0\n", False), ("null\n", False), ("", None), ("?", None)]
)
def test_battery_saver_was_never_touched_or_is_on_or_off(text: str, on: bool | None) -> None:
    assert android_text.battery_saver(text) is on


# ------------------------------------------------------------------------------------------ processor


def test_the_mean_clock_is_that_of_the_time_in_between() -> None:
    def cluster(*lines: str) -> CpuCluster:
        place = "/sys/devices/system/cpu/cpu0/cpufreq"
        times = "".join(f"{place}/stats/time_in_state:{line}\n" for line in lines)
        (one,) = android_text.clusters(f"{place}/cpuinfo_max_freq:2000000\n{times}")
        return one

    before, after = cluster("1000000 500", "2000000 7"), cluster("1000000 600", "2000000 307")
    assert before.centiseconds_at_khz == {1_000_000: 500, 2_000_000: 7}
    assert after.mean_khz_since(before) == (1_000_000 * 100 + 2_000_000 * 300) / 400
    assert before.mean_khz_since(after) is None  # it started again in between
    assert after.mean_khz_since(after) is None
    assert after.mean_khz_since(cluster()) is None
    assert cluster("junk", "5 x").centiseconds_at_khz == {}


def test_headroom_is_the_way_of_the_skin_to_severe_throttling() -> None:
    heat = android_text.heat(HEAT)
    assert heat.headroom == pytest.approx(1 - (48.0 - 39.2) / 30, abs=1e-3)
    assert android_text.heat(HEAT.replace("39.2", "17.0")).headroom == 0.0
    assert android_text.heat(HEAT.replace("48.0, 66.0", "NaN, 66.0")).headroom is None
    assert (
        android_text.heat(HEAT.replace("mType=3, mName=SKIN1, mHot", "mType=0, mName=SKIN1, mHot")).headroom
        is None
    )


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("4:memory:/\n3:cpu:/foreground\n2:cpuset:/x\n", "/foreground"),
        ("3:cpu,cpuacct:/\n", "/"),
        ("0::/uid_2000/pid_7\n", None),
        ("cat: /proc/self/cgroup: No such file or directory\n", None),
    ],
)
def test_the_cpu_group_of_a_shell_is_read(text: str, group: str | None) -> None:
    assert android_text.cpu_group(text) == group


def test_the_clamps_are_those_of_the_shell_s_own_group() -> None:
    text = (
        "/dev/cpuctl/cpu.uclamp.min:0.00\n/dev/cpuctl/cpu.uclamp.max:max\n"
        "/dev/cpuctl/background/cpu.uclamp.min:0.00\n/dev/cpuctl/background/cpu.uclamp.max:39.06\n"
    )
    assert android_text.clamps(text, "/background") == (0.0, 39.06)
    assert android_text.clamps(text, "/") == android_text.clamps(text, None) == (0.0, 100.0)
    assert android_text.clamps(text, "/top-app") == (None, None)


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("/\n", "/"),
        ("/top-app\n", "/top-app"),
        ("", None),
        ("cat: /proc/self/cpuset: No such file or directory\n", None),
    ],
)
def test_the_group_of_a_shell_is_read(text: str, group: str | None) -> None:
    assert android_text.cpuset(text) == group


@pytest.mark.parametrize(
    ("text", "cores"), [("0-3,7\n", (0, 1, 2, 3, 7)), ("5", (5,)), ("", ()), ("nonsense", ())]
)
def test_a_kernel_list_of_processors_is_read(text: str, cores: tuple[int, ...]) -> None:
    assert android_text.cpu_list(text) == cores


def test_cores_of_one_kind_are_one_cluster_slowest_first() -> None:
    assert android_text.clusters(PIXEL) == (
        CpuCluster(
            cores=(0, 1, 2, 3), capacity=160, max_khz=1803000, allowed_khz=1803000, governor="sched_pixel"
        ),
        CpuCluster(cores=(4, 5), capacity=498, max_khz=2348000, allowed_khz=2348000, governor="sched_pixel"),
        CpuCluster(cores=(6, 7), capacity=1024, max_khz=2850000, allowed_khz=2401000, governor="sched_pixel"),
    )


def test_clusters_are_told_apart_by_frequency_where_capacity_is_hidden() -> None:
    text = "\n".join(line for line in PIXEL.splitlines() if "cpu_capacity" not in line)
    assert [one.cores for one in android_text.clusters(text)] == [(0, 1, 2, 3), (4, 5), (6, 7)]
    assert android_text.clusters("grep: /sys/devices/system/cpu: Permission denied\n") == ()


def test_the_fastest_cores_may_have_the_lowest_numbers() -> None:
    found = android_text.clusters(cpu_tree(BIG, LITTLE, LITTLE, BIG))
    assert android_text.cores_of(found, "big") == (0, 3)
    assert android_text.cores_of(found, "little") == (1, 2)


@pytest.mark.parametrize(("which", "mask"), [("little", "f"), ("mid", "30"), ("big", "c0"), ("all", "ff")])
def test_a_cluster_is_a_hexadecimal_mask(which: android_text.Cores, mask: str) -> None:
    assert android_text.core_mask(android_text.clusters(PIXEL), which, range(8)) == mask


def test_four_kinds_of_cores_have_two_in_the_middle() -> None:
    other_mid = (520, 2348000, 2348000, "walt")
    found = android_text.clusters(cpu_tree(*[LITTLE] * 3, *[MID] * 2, *[other_mid] * 2, BIG))
    assert android_text.cores_of(found, "mid") == (3, 4, 5, 6)


def test_cores_that_are_off_are_not_in_the_mask() -> None:
    found = android_text.clusters(PIXEL)
    assert android_text.core_mask(found, "big", range(7)) == "40"
    with pytest.raises(DeviceFailed, match="all big cores of this phone are switched off"):
        android_text.core_mask(found, "big", range(6))


def test_cores_that_a_phone_has_not_are_refused_with_those_that_it_has() -> None:
    two = android_text.clusters(cpu_tree(LITTLE, LITTLE, BIG))
    with pytest.raises(UserError, match=r"no mid cores. It has little 0,1, big 2, all 0,1,2."):
        android_text.core_mask(two, "mid", range(3))
    one = android_text.clusters(cpu_tree(BIG, BIG))
    with pytest.raises(UserError, match=r"no big cores. It has all 0,1."):
        android_text.core_mask(one, "big", range(2))
    assert android_text.core_mask(one, "all", range(2)) == "3"


def test_the_kinds_of_cores_that_a_phone_has_are_named_slowest_first() -> None:
    assert android_text.named_kinds(android_text.clusters(PIXEL)) == {
        "little": (0, 1, 2, 3),
        "mid": (4, 5),
        "big": (6, 7),
    }
    assert list(android_text.named_kinds(android_text.clusters(cpu_tree(LITTLE, BIG)))) == ["little", "big"]
    assert android_text.named_kinds(android_text.clusters(cpu_tree(BIG, BIG))) == {}
    assert android_text.named_kinds(()) == {}


@given(st.sets(st.integers(0, 31), min_size=1))
def test_a_mask_has_a_bit_for_each_core(cores: set[int]) -> None:
    found = (CpuCluster(cores=tuple(sorted(cores))),)
    mask = int(android_text.core_mask(found, "all", sorted(cores)), 16)
    assert {bit for bit in range(32) if mask >> bit & 1} == cores


# ------------------------------------------------------------------------------------------ memory and load


def test_memory_is_told_in_bytes() -> None:
    text = "MemTotal:        7782400 kB\nMemFree:          100000 kB\nMemAvailable:    2000000 kB\n"
    assert linux_text.memory_bytes(text) == 7782400 * 1024
    assert linux_text.memory_bytes(text, "MemAvailable") == 2000000 * 1024
    assert linux_text.memory_bytes("") is None


def test_busy_cores_are_counted_between_two_readings() -> None:
    before = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 0\ncpu1 0\ncpu2 0\ncpu3 0\n"
    # 400 ticks passed on four cores, 300 of them idle or waiting for a disk: one core was busy
    after = "cpu  180 0 70 1090 60 0 0 0 0 0\ncpu0 0\ncpu1 0\ncpu2 0\ncpu3 0\n"
    assert linux_text.busy_cores(before, after) == 1.0
    assert linux_text.busy_cores(before, before) is None
    assert linux_text.busy_cores("", after) is None


@pytest.mark.parametrize(
    ("flags", "saturates"),
    [
        ("flags : fpu sse4_1 avx avx2 avx512f", True),
        ("flags\t\t: avx2 avx512_vnni", False),
        ("flags : avx2 avx_vnni", False),
        ("flags : sse2", False),
        ("Features : fp asimd asimddp", None),  # an ARM processor
        ("", None),
    ],
)
def test_products_of_int8_saturate_with_avx2_and_without_vnni(flags: str, saturates: bool | None) -> None:
    assert linux_text.int8_saturates(f"model name : x\n{flags}\nbugs : none\n") is saturates
