"""The energy counters of NVIDIA GPUs (Volta or later), through NVML, the driver's own library.

`nvmlDeviceGetTotalEnergyConsumption` counts millijoules of the whole board since the driver was loaded; it
starts again only with the driver. The library comes from the package `nvidia-ml-py` (module pynvml), or from
a test.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from typing import TYPE_CHECKING, Any

from swapbench.errors import DeviceFailed
from swapbench.ports import CounterValue
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UJ_PER_MJ = 1_000


class Nvml:
    """One counter per GPU, `gpu-N` with N as in nvidia-smi; implements ports.Meter.

    Args:
        nvml: The initialised module pynvml.
        boards: Index of a GPU -> its handle.
        clock_ns: Stamps the readings.
    """

    name = "nvml"
    resolution_uj = _UJ_PER_MJ
    update_ns = 100_000_000
    """The counter is refreshed every 10 to 100 ms, depending on the board; the slowest is assumed."""

    def __init__(
        self, nvml: Any, boards: Mapping[int, Any], clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._nvml = nvml
        self._boards = dict(boards)
        self._clock_ns = clock_ns
        self.scope = "GPU board" if len(self._boards) == 1 else f"{len(self._boards)} GPU boards"

    def read(self) -> tuple[CounterValue, ...]:
        """Every GPU's counter now, each with the time just after it was read. Raises DeviceFailed."""
        values: list[CounterValue] = []
        for index, handle in self._boards.items():
            try:
                energy_mj = int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
            except self._nvml.NVMLError as error:
                raise DeviceFailed(
                    f"the energy counter of GPU {index} can no longer be read ({error})"
                ) from error
            values.append(CounterValue(f"gpu-{index}", energy_mj * _UJ_PER_MJ, None, self._clock_ns()))
        return tuple(values)


def find_nvml(
    import_module: Callable[[str], Any] = importlib.import_module,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Nvml | Absent:
    """The GPUs that count energy, or why there are none and what would help."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return Absent(
            absent="the package nvidia-ml-py is not installed",
            remedy="On a computer with an NVIDIA GPU, install it with: pip install 'swapbench[energy]'",
        )
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Absent(
            absent=f"the NVIDIA driver does not answer ({error})",
            remedy="It needs an NVIDIA GPU with its driver; nvidia-smi must work.",
        )
    boards: dict[int, Any] = {}
    refused: list[str] = []
    try:
        for index in range(int(nvml.nvmlDeviceGetCount())):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            except nvml.NVMLError as error:
                refused.append(f"GPU {index}: {error}")
            else:
                boards[index] = handle
    except nvml.NVMLError as error:
        refused.append(str(error))
    if boards:
        return Nvml(nvml, boards, clock_ns)
    with contextlib.suppress(nvml.NVMLError):
        nvml.nvmlShutdown()
    if not refused:
        return Absent(
            absent="the NVIDIA driver lists no GPU",
            remedy="It needs an NVIDIA GPU of the Volta generation or later.",
        )
    return Absent(
        absent=f"no GPU has a readable energy counter ({'; '.join(refused)})",
        remedy="GPUs have it since the Volta generation, but virtual machines may hide it.",
    )
