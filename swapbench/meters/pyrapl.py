"""The RAPL counters through the package pyRAPL, where it is installed and supports the processor.

pyRAPL (0.2.3) reads the same kernel tree as `swapbench.meters.rapl`; it is here for those who must report
it. Its `Measurement` subtracts two readings although a counter may have restarted at 0, so only its sensor
is used: raw values before and after, with the ranges that pyRAPL does not read taken from the kernel's tree.
Its values are microjoules, whatever its docstrings say. pyRAPL needs zones named `package-N`, one per
socket.
"""

from __future__ import annotations

import importlib
import logging
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench.errors import DeviceFailed
from swapbench.ports import CounterValue
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = "/sys/class/powercap/intel-rapl"
_MISSING = -1  # what pyRAPL returns for a device or a socket that it does not read
_MOST_ZONES = 64


class PyRapl:
    """The sensor of pyRAPL as a meter: packages and, if available, their memory; implements ports.Meter.

    Args:
        sensor: A `pyRAPL.Sensor`, whose energy() is (package of socket 0, memory of socket 0, package of
            socket 1, ...) in uJ.
        ranges_uj: Where each counter restarts at 0, by its name; without a range, a restart is an error.
        clock_ns: Stamps the readings.
    """

    name = "pyrapl"
    resolution_uj = 62
    """The usual energy unit, 1/2^14 J = 61.04 uJ, rounded up: pyRAPL does not report the processor's."""
    update_ns = 1_000_000

    def __init__(
        self,
        sensor: Any,
        ranges_uj: Mapping[str, int],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._sensor = sensor
        self._ranges_uj = dict(ranges_uj)
        self._clock_ns = clock_ns
        with_memory = any(value.counter.startswith("dram-") for value in self.read())
        self.scope = "processor packages and memory" if with_memory else "processor packages"

    def read(self) -> tuple[CounterValue, ...]:
        """Every counter now; DeviceFailed where pyRAPL can no longer read them."""
        try:
            energies_uj = [int(value) for value in self._sensor.energy()]
        except (OSError, ValueError) as error:
            raise DeviceFailed(f"pyRAPL can no longer read its counters ({error})") from error
        now_ns = self._clock_ns()
        values: list[CounterValue] = []
        for index, energy_uj in enumerate(energies_uj):
            socket, memory = divmod(index, 2)
            counter = f"dram-{socket}" if memory else f"package-{socket}"
            if energy_uj != _MISSING:
                values.append(CounterValue(counter, energy_uj, self._ranges_uj.get(counter), now_ns))
        return tuple(values)


def find_pyrapl(
    import_module: Callable[[str], Any] = importlib.import_module,
    read_text: Callable[[str], str] | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> PyRapl | Absent:
    """The sensor of pyRAPL, or why it cannot be used and what would help."""
    try:
        with warnings.catch_warnings(), _QuietRootLogger():
            # pyRAPL leaves files open and has invalid escapes in its patterns
            warnings.simplefilter("ignore")
            package = import_module("pyRAPL")
    except ModuleNotFoundError as error:
        missing = error.name or "pyRAPL"
        return Absent(
            absent=f"the package {missing} is not installed",
            remedy="Install it with: pip install 'swapbench[energy]'",
        )
    except ImportError as error:
        return Absent(
            absent=f"pyRAPL cannot be imported ({error})",
            remedy="Use the meter rapl, which needs no package.",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            meter = PyRapl(package.Sensor(), _ranges_uj(read_text or _read_file), clock_ns)
            if any(value.counter.startswith("package-") for value in meter.read()):
                return meter
    except PermissionError as error:
        return Absent(
            absent=f"only root may read {error.filename or 'the counters'}, which pyRAPL needs",
            remedy=f"Let everybody read them until the next boot: sudo chmod -R a+r {ROOT}*",
        )
    except (OSError, ValueError, IndexError, DeviceFailed, package.PyRAPLException) as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        return Absent(
            absent=f"pyRAPL does not support this computer's counters ({reason})",
            remedy="It needs Linux on an Intel or AMD processor, not a virtual machine. "
            "The meter rapl gives the reason.",
        )
    return Absent(absent="pyRAPL reads no processor package", remedy="Use the meter rapl.")


def _ranges_uj(read_text: Callable[[str], str]) -> dict[str, int]:
    """Counter name -> the value after which it restarts at 0, from the kernel's tree."""
    ranges: dict[str, int] = {}
    for top in range(_MOST_ZONES):
        folder = f"{ROOT}/intel-rapl:{top}"
        try:
            name = read_text(f"{folder}/name").strip()
        except OSError:
            break
        _add_range(ranges, name, folder, read_text)
        for inside in range(_MOST_ZONES):
            part = f"{folder}/intel-rapl:{top}:{inside}"
            try:
                if read_text(f"{part}/name").strip() == "dram":
                    _add_range(ranges, name.replace("package", "dram", 1), part, read_text)
            except OSError:
                break
    return ranges


def _add_range(ranges: dict[str, int], counter: str, folder: str, read_text: Callable[[str], str]) -> None:
    try:
        ranges[counter] = int(read_text(f"{folder}/max_energy_range_uj"))
    except (OSError, ValueError):
        return


def _read_file(path: str) -> str:
    return Path(path).read_text(encoding="ascii")


class _QuietRootLogger:
    """Silences the root logger while pyRAPL is imported.

    It logs advice about packages for its outputs, unused here. `logging.warning` also configures the root
    logger of the whole program; our own handler prevents that.
    """

    def __enter__(self) -> None:
        self._handler = logging.NullHandler()
        self._disabled = logging.root.manager.disable
        logging.root.addHandler(self._handler)
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._disabled)
        logging.root.removeHandler(self._handler)
