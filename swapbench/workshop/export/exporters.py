"""The exporter of each format: modules of one face, which are loaded when they are needed.

Each has `export_base(module, height_px, width_px)`, the fp32 content that the precisions are made from;
`fp32` and `fp16`, from a base to a file; `described`, a file with our metadata; and, where files with integer
weights can be made, `Quantiser`. All take and give the content of a model as bytes: see `modelfile.parts`.
"""

from __future__ import annotations

import importlib
from typing import Any


def exporter(file_format: str) -> Any:
    """The module that makes files of a format."""
    return importlib.import_module(f"swapbench.workshop.export.to_{file_format}")
