"""The RAPL counters through the package pyRAPL, where it is installed and knows the processor.

pyRAPL (0.2.3) reads the same kernel tree as `swapbench.meters.rapl`; it is here for those who must name it. Its
`Measurement` subtracts two readings without regard to the restart of a counter at 0, so only its sensor is used:
raw values before and after, with the ranges that pyRAPL does not read taken from the kernel's tree.
Its values are microjoules, whatever its docstrings say. pyRAPL needs zones named `package-N`, one a socket.
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
_MISSING = -1  # what pyRAPL answers for a device or a socket that it does not read
_MOST_ZONES = 64


class PyRapl:
    """pyRAPL's sensor as a meter: the packages and, where it finds them, their memory.

    sensor: a `pyRAPL.Sensor`, whose energy() is (package of socket 0, memory of socket 0, package of socket 1, ...) in uJ.
    ranges_uj: where each counter starts again at 0, by counter name; without it a restart is an error, not an energy.
    """

    name = "pyrapl"
    resolution_uj = 62
    """The usual energy unit, 1/2^14 J = 61.04 uJ, rounded up: pyRAPL does not tell the processor's own."""
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
        """Every counter now. Raises DeviceFailed where pyRAPL cannot read any more."""
        try:
            energies_uj = [int(value) for value in self._sensor.energy()]
        except (OSError, ValueError) as error:
            raise DeviceFailed(f"pyRAPL cannot read its counters any more ({error})") from error
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
    """A sensor of pyRAPL ready to read, or why it is not and what would help."""
    try:
        with warnings.catch_warnings(), _QuietRootLogger():
            warnings.simplefilter(
                "ignore"
            )  # pyRAPL leaves files open and has invalid escapes in its patterns
            package = import_module("pyRAPL")
    except ModuleNotFoundError as error:
        missing = error.name or "pyRAPL"
        return Absent(
            absent=f"the package {missing} is not installed",
            remedy="Install it with: pip install 'swapbench[energy]'",
        )
    except ImportError as error:
        return Absent(
            absent=f"pyRAPL cannot be imported ({error})", remedy="The meter rapl needs no package."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            meter = PyRapl(package.Sensor(), _ranges_uj(read_text or _read_file), clock_ns)
            if any(value.counter.startswith("package-") for value in meter.read()):
                return meter
    except PermissionError as error:
        return Absent(
            absent=f"pyRAPL may not read {error.filename or 'the counters'}: only root may",
            remedy=f"Let everybody read them until the next boot: sudo chmod -R a+r {ROOT}*",
        )
    except (OSError, ValueError, IndexError, DeviceFailed, package.PyRAPLException) as error:
        return Absent(
            absent=f"pyRAPL does not know this computer's counters ({type(error).__name__}{f': {error}' if str(error) else ''})",
            remedy="It needs Linux on an Intel or AMD processor, not a virtual machine; the meter rapl says more.",
        )
    return Absent(absent="pyRAPL reads no processor package", remedy="Use the meter rapl.")


def _ranges_uj(read_text: Callable[[str], str]) -> dict[str, int]:
    """Counter name -> the value after which it starts again at 0, from the kernel's tree."""
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
    """pyRAPL logs advice on packages for its outputs, unused here, through the root logger while it is imported.

    `logging.warning` also configures the root logger of the whole program; a handler of ours keeps it from doing so.
    """

    def __enter__(self) -> None:
        self._handler = logging.NullHandler()
        self._disabled = logging.root.manager.disable
        logging.root.addHandler(self._handler)
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._disabled)
        logging.root.removeHandler(self._handler)
