"""NVML with a driver made of paper."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from swapbench.errors import DeviceFailed
from swapbench.meters.nvml import Nvml, find_nvml
from swapbench.records import Absent


class NVMLError(Exception):
    """As pynvml has it."""


class Driver:
    """What pynvml offers of it. energies_mj: by GPU; None where the GPU has no counter."""

    NVMLError = NVMLError

    def __init__(self, *energies_mj: int | None, broken: str | None = None) -> None:
        self.energies_mj = list(energies_mj)
        self.broken = broken
        self.running = False

    def nvmlInit(self) -> None:
        if self.broken:
            raise NVMLError(self.broken)
        self.running = True

    def nvmlShutdown(self) -> None:
        self.running = False

    def nvmlDeviceGetCount(self) -> int:
        assert self.running
        return len(self.energies_mj)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"handle {index}"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        energy_mj = self.energies_mj[int(handle.removeprefix("handle "))]
        if energy_mj is None:
            raise NVMLError("Not Supported")
        return energy_mj


def find(driver: Driver, clock_ns: Any = lambda: 0) -> Nvml | Absent:
    def import_module(name: str) -> Driver:
        assert name == "pynvml"
        return driver

    return find_nvml(import_module, clock_ns)


def found(meter: Nvml | Absent) -> Nvml:
    assert isinstance(meter, Nvml), meter
    return meter


def absent(meter: Nvml | Absent) -> Absent:
    assert isinstance(meter, Absent)
    return meter


def test_millijoules_become_microjoules_with_the_meters_own_time() -> None:
    ticks = itertools.count(7)
    meter = found(find(Driver(1_234_567, 5), lambda: next(ticks)))
    assert [(one.counter, one.value_uj, one.range_uj, one.time_ns) for one in meter.read()] == [
        ("gpu-0", 1_234_567_000, None, 7),
        ("gpu-1", 5_000, None, 8),
    ]
    assert (meter.name, meter.scope) == ("nvml", "2 GPU boards")
    assert (meter.resolution_uj, meter.update_ns) == (1_000, 100_000_000)


def test_a_gpu_without_a_counter_is_left_out_and_the_others_keep_their_numbers() -> None:
    meter = found(find(Driver(None, 5)))
    assert [one.counter for one in meter.read()] == ["gpu-1"]
    assert meter.scope == "GPU board"


def test_gpus_older_than_volta_are_absent_with_the_drivers_reason() -> None:
    driver = Driver(None)
    answer = absent(find(driver))
    assert answer.absent == "no GPU has a readable energy counter (GPU 0: Not Supported)"
    assert "Volta" in answer.remedy
    assert not driver.running


def test_a_driver_without_a_gpu_is_absent() -> None:
    assert absent(find(Driver())).absent == "the NVIDIA driver lists no GPU"


def test_a_missing_driver_is_absent() -> None:
    answer = absent(find(Driver(5, broken="NVML Shared Library Not Found")))
    assert answer.absent == "the NVIDIA driver does not answer (NVML Shared Library Not Found)"
    assert "nvidia-smi" in answer.remedy


def test_a_missing_package_names_the_extra() -> None:
    def import_module(_: str) -> Any:
        raise ModuleNotFoundError("No module named 'pynvml'", name="pynvml")

    answer = absent(find_nvml(import_module))
    assert answer.absent == "the package nvidia-ml-py is not installed"
    assert "swapbench[energy]" in answer.remedy


def test_a_gpu_that_goes_away_is_a_named_error() -> None:
    driver = Driver(5)
    meter = found(find(driver))
    driver.energies_mj[0] = None
    with pytest.raises(DeviceFailed, match="energy counter of GPU 0 can no longer be read"):
        meter.read()


def test_a_driver_that_was_loaded_again_is_an_error_and_no_negative_energy() -> None:
    driver = Driver(5_000)
    meter = found(find(driver))
    before = meter.read()[0]
    driver.energies_mj[0] = 20
    with pytest.raises(DeviceFailed, match="went backwards"):
        meter.read()[0].used_since(before)
