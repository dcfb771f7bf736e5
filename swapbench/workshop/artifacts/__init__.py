"""From a model card to files in a precision and a format, cached by what they depend on.

`build` exports what the cache does not hold. It is the only way from the catalogue to the exporters.
"""

from swapbench.workshop.artifacts.dev_crops import DevCrops
from swapbench.workshop.artifacts.exporting import build, start_child
from swapbench.workshop.artifacts.files import (
    EXPORTER_VERSION,
    PACKAGES,
    Built,
    Failed,
    curve_csv,
    curve_name,
    missing,
)

__all__ = [
    "EXPORTER_VERSION",
    "PACKAGES",
    "Built",
    "DevCrops",
    "Failed",
    "build",
    "curve_csv",
    "curve_name",
    "missing",
    "start_child",
]
