"""tflite-runtime, LiteRT's frozen predecessor, which many apps still ship: measured beside LiteRT.

Run as `python -m swapbench.runtimes.tflite_runtime --mode time --artifact FILE`. The worker is LiteRT's, with
the other package.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.runtimes.contract import PythonWorker
from swapbench.runtimes.litert import PACKAGES, LiteRTBackend
from swapbench.runtimes.worker import main

if TYPE_CHECKING:
    from swapbench.records import Format
    from swapbench.runtimes.worker import Backend

NAME = "tflite-runtime"


@dataclass
class TFLiteRuntime(PythonWorker):
    """tflite-runtime on a machine that runs Python; implements ports.Runtime."""

    name: str = NAME
    formats: tuple[Format, ...] = ("tflite",)
    module: str = "swapbench.runtimes.tflite_runtime"
    distributions: tuple[str, ...] = (NAME,)
    advice: str = (
        "It needs NumPy 1, so give it an environment of its own: python3.11 -m venv tfl && "
        f"tfl/bin/pip install {NAME} 'numpy<2' && swapbench runtimes add {NAME} --python tfl/bin/python"
    )


def open_backend() -> Backend:
    """Import tflite-runtime."""
    return LiteRTBackend(NAME, {"tflite_runtime": PACKAGES["tflite_runtime"]})


if __name__ == "__main__":
    sys.exit(main(open_backend))
