"""What differs between vendors: properties, clusters, the battery's units and signs, sensors, rails.

The properties say that the phone is emulated, so that no record of it can be taken for one of the real model.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """Cores of one kind; `part` as in /proc/cpuinfo, `capacity` as in cpu_capacity."""

    name: str
    part: str
    min_khz: int
    max_khz: int
    capacity: int


@dataclass(frozen=True)
class Sensor:
    """A temperature in the thermal HAL (`name`, `kind`) and as a thermal zone; `of` is what it follows."""

    name: str
    kind: int
    zone: str
    of: str


@dataclass(frozen=True)
class Rail:
    """A power rail: its constant power, and its share of what busy cores add."""

    name: str
    subsystem: str
    idle_mw: int
    core_share: float


@dataclass(frozen=True)
class Dialect:
    """A vendor's phone: `current_ua` is the unit of the current, `discharge_sign` its sign in discharge.

    Its charge counter counts in steps of `charge_quantum_uah`.
    """

    name: str
    properties: dict[str, str]
    clusters: tuple[Cluster, Cluster, Cluster]
    cores: tuple[int, int, int]
    sensors: tuple[Sensor, ...]
    current_node: str
    current_ua: int
    discharge_sign: int
    charge_counter_node: str | None
    governor: str
    rails: tuple[Rail, ...] = ()
    charge_quantum_uah: int = 1000


def _properties(
    manufacturer: str, brand: str, device: str, model: str, soc: tuple[str, str], android: tuple[str, str]
) -> dict[str, str]:
    release, sdk = android
    return {
        "ro.product.manufacturer": manufacturer,
        "ro.product.brand": brand,
        "ro.product.model": f"{model} (emulated)",
        "ro.product.device": device,
        "ro.product.name": device,
        "ro.soc.manufacturer": soc[0],
        "ro.soc.model": soc[1],
        "ro.hardware": device,
        "ro.board.platform": soc[1].lower(),
        "ro.build.version.release": release,
        "ro.build.version.sdk": sdk,
        "ro.build.id": "EMULATED",
        "ro.build.type": "user",
        "ro.build.tags": "release-keys",
        "ro.build.fingerprint": f"{brand}/{device}/{device}:{release}/EMULATED/1:user/release-keys",
        "ro.boot.qemu": "1",
        "ro.kernel.qemu": "1",
        "ro.debuggable": "0",
        "ro.secure": "1",
        "ro.boot.hardware.cpu.pagesize": "4096",
        "sys.boot_completed": "1",
    }


_BATTERY = "/sys/class/power_supply/battery"

PIXEL = Dialect(
    name="pixel",
    properties=_properties("Google", "google", "panther", "Pixel 7", ("Google", "GS201"), ("14", "34")),
    clusters=(
        Cluster("little", "0xd05", 300000, 1803000, 160),
        Cluster("mid", "0xd41", 400000, 2348000, 498),
        Cluster("big", "0xd44", 500000, 2850000, 1024),
    ),
    cores=(4, 2, 2),
    sensors=(
        Sensor("BIG", 0, "BIG", "cpu"),
        Sensor("MID", 0, "MID", "cpu"),
        Sensor("LITTLE", 0, "LITTLE", "cpu"),
        Sensor("battery", 2, "battery", "battery"),
        Sensor("VIRTUAL-SKIN", 3, "VIRTUAL-SKIN", "skin"),
    ),
    current_node=f"{_BATTERY}/current_now",
    current_ua=1,
    discharge_sign=-1,
    charge_counter_node=f"{_BATTERY}/charge_counter",
    governor="sched_pixel",
    rails=(
        Rail("S2M_VDD_CPUCL2", "CPU(BIG)", 40, 0.55),
        Rail("S3M_VDD_CPUCL1", "CPU(MID)", 30, 0.20),
        Rail("S4M_VDD_CPUCL0", "CPU(LITTLE)", 60, 0.10),
        Rail("S1M_VDD_MIF", "DDR", 120, 0.15),
        Rail("S2S_VDD_G3D", "GPU", 20, 0.0),
        Rail("S10M_VDD_TPU", "TPU", 10, 0.0),
        Rail("VSYS_PWR_DISPLAY", "Display", 400, 0.0),
        Rail("VSYS_PWR_RADIO", "WLAN & BT", 120, 0.0),
    ),
)

SAMSUNG = Dialect(
    name="samsung",
    properties=_properties("samsung", "samsung", "dm1q", "SM-S911B", ("QTI", "SM8550"), ("14", "34")),
    clusters=(
        Cluster("little", "0xd46", 307200, 2016000, 280),
        Cluster("mid", "0xd4d", 499200, 2803200, 855),
        Cluster("big", "0xd4e", 595200, 3360000, 1024),
    ),
    cores=(3, 4, 1),
    sensors=(
        Sensor("AP", 0, "cpu-1-0", "cpu"),
        Sensor("BAT", 2, "battery", "battery"),
        Sensor("SKIN", 3, "skin", "skin"),
        Sensor("SUBBAT", 50, "sub-battery", "battery"),
    ),
    current_node=f"{_BATTERY}/current_now",
    current_ua=1000,  # milliamperes, against the specification
    discharge_sign=-1,
    charge_counter_node=None,
    governor="walt",
    charge_quantum_uah=11_115,  # of a Galaxy S23
)

XIAOMI = Dialect(
    name="xiaomi",
    properties=_properties("Xiaomi", "Xiaomi", "fuxi", "2211133G", ("QTI", "SM8550"), ("13", "33")),
    clusters=(
        Cluster("little", "0xd46", 307200, 2016000, 280),
        Cluster("mid", "0xd4d", 499200, 2803200, 855),
        Cluster("big", "0xd4e", 595200, 3187200, 1024),
    ),
    cores=(3, 4, 1),
    sensors=(
        Sensor("cpu-1-0-usr", 0, "cpu-1-0-usr", "cpu"),
        Sensor("battery", 2, "battery", "battery"),
        Sensor("skin", 3, "skin-msm-therm", "skin"),
    ),
    current_node="/sys/class/power_supply/bms/current_now",
    current_ua=1,
    discharge_sign=1,  # positive while discharging, against the specification
    charge_counter_node="/sys/class/power_supply/bms/charge_counter",
    governor="schedutil",
)

DIALECTS = {dialect.name: dialect for dialect in (PIXEL, SAMSUNG, XIAOMI)}
