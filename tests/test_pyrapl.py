"""The adapter for pyRAPL, with a fake package, and once with the real one, which must stay quiet."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from swapbench.errors import DeviceFailed
from swapbench.meters.pyrapl import PyRapl, find_pyrapl
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = "/sys/class/powercap/intel-rapl"
TWO_SOCKETS = {
    f"{ROOT}/intel-rapl:0/name": "package-0\n",
    f"{ROOT}/intel-rapl:0/max_energy_range_uj": "1000\n",
    f"{ROOT}/intel-rapl:0/intel-rapl:0:0/name": "core\n",
    f"{ROOT}/intel-rapl:0/intel-rapl:0:0/max_energy_range_uj": "9\n",
    f"{ROOT}/intel-rapl:0/intel-rapl:0:1/name": "dram\n",
    f"{ROOT}/intel-rapl:0/intel-rapl:0:1/max_energy_range_uj": "700\n",
    f"{ROOT}/intel-rapl:1/name": "package-1\n",
    f"{ROOT}/intel-rapl:1/max_energy_range_uj": "1000\n",
}


class PyRAPLException(Exception):
    """As the package has it."""


class CantRecord(PyRAPLException):
    """As the package raises it where it does not know the processor."""


def package(sensor: Callable[[], Any]) -> Callable[[str], Any]:
    """An import function that knows one package, whose Sensor is `sensor`."""

    def import_module(name: str) -> Any:
        assert name == "pyRAPL"
        return SimpleNamespace(Sensor=sensor, PyRAPLException=PyRAPLException)

    return import_module


def sensor(*energies_uj: Sequence[float]) -> Callable[[], Any]:
    """A sensor whose readings come one after the other; the last stays."""
    left = list(energies_uj)

    def energy() -> Sequence[float]:
        return left.pop(0) if len(left) > 1 else left[0]

    return lambda: SimpleNamespace(energy=energy)


def raising(error: BaseException) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


def no_file(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


def tree(path: str) -> str:
    return TWO_SOCKETS[path] if path in TWO_SOCKETS else no_file(path)


def find(make: Callable[[], Any], read_text: Callable[[str], str] = tree) -> PyRapl | Absent:
    return find_pyrapl(package(make), read_text, lambda: 42)


def found(meter: PyRapl | Absent) -> PyRapl:
    assert isinstance(meter, PyRapl), meter
    return meter


def absent(meter: PyRapl | Absent) -> Absent:
    assert isinstance(meter, Absent)
    return meter


def test_values_are_microjoules_by_socket_and_device() -> None:
    meter = found(find(sensor([100.0, 10.0, 200.0, -1.0])))
    read = meter.read()
    assert [(one.counter, one.value_uj, one.range_uj) for one in read] == [
        ("package-0", 100, 1000),
        ("dram-0", 10, 700),
        ("package-1", 200, 1000),
    ]
    assert {one.time_ns for one in read} == {42}
    assert all(isinstance(one.value_uj, int) for one in read)
    assert (meter.name, meter.scope) == ("pyrapl", "processor packages and memory")
    assert (meter.resolution_uj, meter.update_ns) == (62, 1_000_000)


def test_a_restart_that_pyrapl_would_call_a_negative_energy_is_unwrapped() -> None:
    meter = found(find(sensor([950.0, -1.0], [950.0, -1.0], [950.0, -1.0], [30.0, -1.0])))
    before, after = meter.read()[0], meter.read()[0]
    assert (before.value_uj, after.value_uj) == (950, 30)
    assert after.used_since(before) == 80


def test_a_restart_without_a_known_range_is_an_error_and_no_energy() -> None:
    meter = found(find(sensor([950.0, -1.0], [950.0, -1.0], [950.0, -1.0], [30.0, -1.0]), no_file))
    before, after = meter.read()[0], meter.read()[0]
    with pytest.raises(DeviceFailed, match="range is not known"):
        after.used_since(before)


def test_memory_that_pyrapl_does_not_read_is_not_in_the_scope() -> None:
    meter = found(find(sensor([100.0, -1.0])))
    assert meter.scope == "processor packages"
    assert [one.counter for one in meter.read()] == ["package-0"]


def test_a_processor_that_pyrapl_does_not_know_is_absent() -> None:
    answer = absent(find(raising(CantRecord())))
    assert "pyRAPL does not support this computer's counters (CantRecord)" in answer.absent
    assert "virtual machine" in answer.remedy


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "gone"), ValueError("invalid literal"), IndexError("1")]
)
def test_what_pyrapl_stumbles_over_is_absent_and_no_crash(error: Exception) -> None:
    assert type(error).__name__ in absent(find(raising(error))).absent


def test_counters_for_root_only_name_the_command() -> None:
    path = f"{ROOT}/intel-rapl:0/energy_uj"
    answer = absent(find(raising(PermissionError(13, "Permission denied", path))))
    assert answer.absent == f"only root may read {path}, which pyRAPL needs"
    assert "sudo chmod -R a+r /sys/class/powercap/intel-rapl*" in answer.remedy


def test_a_sensor_without_a_package_is_absent() -> None:
    assert "no processor package" in absent(find(sensor([-1.0, 10.0]))).absent


def test_a_sensor_that_fails_later_is_a_named_error() -> None:
    readings = iter([[100.0, -1.0], [100.0, -1.0]])

    def energy() -> Sequence[float]:
        try:
            return next(readings)
        except StopIteration:
            raise OSError(5, "Input/output error") from None

    meter = found(find(lambda: SimpleNamespace(energy=energy)))
    with pytest.raises(DeviceFailed, match="pyRAPL can no longer read its counters"):
        meter.read()


@pytest.mark.parametrize(
    ("missing", "reason"), [("pyRAPL", "package pyRAPL is not"), ("pandas", "package pandas is not")]
)
def test_a_package_that_is_not_installed_names_the_extra(missing: str, reason: str) -> None:
    def import_module(_: str) -> Any:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    answer = absent(find_pyrapl(import_module))
    assert reason in answer.absent
    assert answer.remedy == "Install it with: pip install 'swapbench[energy]'"


def test_a_package_that_does_not_import_is_absent() -> None:
    def import_module(_: str) -> Any:
        raise ImportError("cannot import name 'X'")

    assert "cannot be imported (cannot import name 'X')" in absent(find_pyrapl(import_module)).absent


def test_the_noise_of_the_import_stays_inside(caplog: pytest.LogCaptureFixture) -> None:
    handlers, disabled = list(logging.root.handlers), logging.root.manager.disable

    def import_module(_: str) -> Any:
        logging.warning("imports error: you need to install pymongo")  # noqa: LOG015 - what pyRAPL does
        warnings.warn("invalid escape sequence", DeprecationWarning, stacklevel=1)
        return SimpleNamespace(Sensor=sensor([1.0, -1.0]), PyRAPLException=PyRAPLException)

    assert isinstance(find_pyrapl(import_module, tree), PyRapl)
    assert caplog.records == []
    assert logging.root.handlers == handlers
    assert logging.root.manager.disable == disabled


@pytest.mark.slow  # the package imports pandas
@pytest.mark.skipif(importlib.util.find_spec("pyRAPL") is None, reason="pyRAPL is not installed")
def test_the_real_package_answers_without_noise(capfd: pytest.CaptureFixture[str]) -> None:
    answer = find_pyrapl()
    assert isinstance(answer, PyRapl | Absent)
    if isinstance(answer, PyRapl):
        assert answer.read()[0].value_uj > 0
    else:
        assert answer.absent
        assert answer.remedy
    assert capfd.readouterr() == ("", "")
