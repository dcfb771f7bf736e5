"""swapbench measures speed, weight, accuracy and power of face anti-spoofing models in the file that ships.

    import swapbench as sb

    sb.load("reports/demo")        # the records of a run: table, DataFrame, Pareto front, figures
    sb.measure(["net.onnx"])       # measure files
    sb.compare("old.tflite", "new.tflite").verdict
    sb.side_by_side(["net.onnx", "net.tflite"])    # one network under several runtimes
    sb.metrics(scores, labels)     # error rates of ISO/IEC 30107-3

Importing this package imports nothing heavy: workers start from it, and `swapbench --help` must answer
at once.
"""

from __future__ import annotations

import importlib

from swapbench import environment

TYPE_CHECKING = False  # see interrupts: nothing slow is imported before a command can be interrupted
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Errors", "Figure", "Run", "__version__", "compare", "load", "measure", "metrics", "side_by_side"]
__version__ = "0.1.0"

environment.be_quiet()


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("swapbench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
