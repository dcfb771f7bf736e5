"""What a file ran on: the machine and its state, the runtime, and what was found out about a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from swapbench.records.values import Frozen

THERMAL_STATUSES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""What Android's thermal status numbers mean, from 0."""


class CpuCluster(Frozen):
    """Cores of one kind.

    Attributes:
        cores: their numbers.
        capacity: relative to the fastest core of the phone, which has 1024.
        max_khz: the highest frequency of the hardware.
        allowed_khz: the highest frequency allowed now, below max_khz where something caps it.
        governor: of their frequency.
        centiseconds_at_khz: how long they have been at each frequency since boot, asleep or not; empty where
            the phone does not tell.
    """

    cores: tuple[int, ...]
    capacity: int | None = None
    max_khz: int | None = None
    allowed_khz: int | None = None
    governor: str | None = None
    centiseconds_at_khz: dict[int, int] = Field(default_factory=dict)

    def mean_khz_since(self, earlier: CpuCluster) -> float | None:
        """The mean frequency since an earlier moment of the same boot; None where it is not known."""
        spent = {
            khz: until - earlier.centiseconds_at_khz.get(khz, 0)
            for khz, until in self.centiseconds_at_khz.items()
        }
        if not earlier.centiseconds_at_khz or sum(spent.values()) <= 0 or min(spent.values()) < 0:
            return None
        return sum(khz * time for khz, time in spent.items()) / sum(spent.values())


class PhoneState(Frozen):
    """What can make a phone faster or slower, at one moment. None: the phone does not say.

    Attributes:
        thermal_status: see THERMAL_STATUSES.
        temperatures_c: by sensor.
        surface_c: what the start gate looks at, the hottest skin sensor or else the battery.
        battery_percent: its charge.
        charging: whether it is being charged.
        plugged: what supplies it, e.g. ("usb",).
        battery_saver: whether it is on.
        screen_on: whether the screen is lit.
        screen_kept_on: whether the phone let us keep it lit; None where we did not try.
        thermal_headroom: how far its skin was towards severe throttling, which begins at 1.
        cpuset: the group in which the kernel schedules what adb's shell starts, e.g. "/" or "/foreground".
        cpu_group: its group in the kernel's cpu controller, which may bound its share and its clock.
        clamp_min_percent: what the kernel takes its load for at least when it chooses a clock (uclamp).
        clamp_max_percent: at most.
        clusters: its processor cores.
    """

    thermal_status: int | None = None
    temperatures_c: dict[str, float] = Field(default_factory=dict)
    surface_c: float | None = None
    battery_percent: int | None = None
    charging: bool | None = None
    plugged: tuple[str, ...] | None = None
    battery_saver: bool | None = None
    screen_on: bool | None = None
    screen_kept_on: bool | None = None
    thermal_headroom: float | None = None
    cpuset: str | None = None
    cpu_group: str | None = None
    clamp_min_percent: float | None = None
    clamp_max_percent: float | None = None
    clusters: tuple[CpuCluster, ...] = ()


class StartGate(Frozen):
    """Waiting for a phone to cool down before measuring.

    Attributes:
        limit_c: the temperature to wait for.
        surface_c: where the waiting ended, None where the phone does not say.
        waited_s: how long.
        passed: whether the limit was reached.
    """

    limit_c: float
    surface_c: float | None
    waited_s: float
    passed: bool


class Machine(Frozen):
    """The fingerprint that says what may be compared with what.

    Attributes:
        name: of the device in the catalogue, e.g. "local".
        device: product: maker and model.
        system: operating system and its version.
        abi: instruction set.
        soc: processor or system on a chip.
        int8_saturates: whether its products of uint8 and int8 saturate; None where it is not known.
        logical_cores: that programs may use there.
        memory_bytes: in all.
        governor: of the processor's frequency.
        packages: name -> version of what may change speed.
        emulated: whether it is an emulator.
        load_1min: load average when measuring began.
        busy_cores: cores that other work kept busy in the second before measuring began.
        temperature_c: of the processor, or of a phone's surface.
        on_battery: whether it ran on battery.
        build: the exact build of the system: Android's fingerprint.
        state: of a phone, when this was written.
        state_before: of a phone, when its measurement began, after the start gate.
        start_gate: how a phone was let cool down.
    """

    name: str
    device: str
    system: str
    abi: str
    soc: str
    logical_cores: int
    memory_bytes: int
    governor: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    int8_saturates: bool | None = None
    emulated: bool = False
    load_1min: float | None = None
    busy_cores: float | None = None
    temperature_c: float | None = None
    on_battery: bool | None = None
    build: str | None = None
    state: PhoneState | None = None
    state_before: PhoneState | None = None
    start_gate: StartGate | None = None


OUTCOMES: Final = frozenset({"delegated"})
"""Settings that describe the outcome of a run and not a choice: how much of the graph a delegate took."""


class RuntimeUsed(Frozen):
    """What really ran, as the worker itself reported it.

    Attributes:
        runtime: its name in the catalogue.
        version: of the package.
        package: the distribution that provides it.
        providers: execution providers or delegates, in order.
        threads: of one inference.
        settings: what else changes speed, e.g. spinning: off.
        delegated_nodes: graph nodes that the delegate took; None: unknown.
        nodes: graph nodes in all; None: unknown.
    """

    runtime: str
    version: str
    package: str
    providers: tuple[str, ...]
    threads: int
    settings: dict[str, str] = Field(default_factory=dict)
    delegated_nodes: int | None = None
    nodes: int | None = None

    @property
    def configuration(self) -> dict[str, str]:
        """The settings that were chosen: flavour of the libraries, cores, delegate; without OUTCOMES."""
        return {name: value for name, value in self.settings.items() if name not in OUTCOMES}

    @property
    def core_numbers(self) -> tuple[int, ...]:
        """The cores that it was held to; () where the system chose."""
        try:
            bits = int(self.settings.get("affinity", ""), 16)
        except ValueError:
            return ()
        return tuple(place for place in range(bits.bit_length()) if bits >> place & 1)


@dataclass(frozen=True)
class Finding:
    """The result of one check of what a device has or allows.

    Attributes:
        name: what was checked.
        state: "limited" works, but less well than it could.
        detail: what the device has or lacks.
        remedy: what would help; "" where nothing is needed or known.
    """

    name: str
    state: Literal["ok", "limited", "missing"]
    detail: str
    remedy: str = ""
