"""A GPU in software for LiteRT's accelerator: SwiftShader, which Chromium brings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from swapbench.runtimes.native.adapter import installed_library

SWIFTSHADER = Path("/usr/lib/chromium/libvk_swiftshader.so")
ACCELERATOR = "libLiteRtWebGpuAccelerator.so"
VULKAN = "libvulkan.so.1"
"""What the accelerator asks for a GPU; SwiftShader does under that name."""


def software_gpu(folder: Path) -> Path:
    """A folder with libLiteRt.so, its accelerator and the GPU; skips the test where one is not installed."""
    library = installed_library("litert")
    files = {library.name: library, ACCELERATOR: library.with_name(ACCELERATOR), VULKAN: SWIFTSHADER}
    for name, path in files.items():
        if not path.is_file():
            pytest.skip(f"no GPU in software: there is no {path}")
        shutil.copyfile(path, folder / name)  # the accelerator looks for a GPU beside itself, not its link
    return folder
