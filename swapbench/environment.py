"""Variables that keep other people's libraries from reporting home and from writing where nobody looks.

`swapbench/__init__.py` sets QUIET, so every process of ours has it before it imports a runtime: parent,
workers, exporters, benchmarks. Needs only the standard library, because timed workers import it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # see interrupts: nothing slow is imported before a command can be interrupted
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Final

QUIET: Final[Mapping[str, str]] = {
    # onnxruntime 1.31 looks up a telemetry host while it times, and keeps a database in the home folder
    "ORT_DISABLE_TELEMETRY": "1",
}
"""What every process gets, whatever its own environment says."""

CONVERTERS: Final[Mapping[str, str]] = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TQDM_DISABLE": "1",
    "JAX_PLATFORMS": "cpu",
    # packages that the converter for TFLite brings along
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""What processes get that convert networks; a notebook that imports swapbench keeps its own settings."""

CACHES: Final[Mapping[str, str]] = {
    "MPLCONFIGDIR": "matplotlib",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TRITON_CACHE_DIR": "triton",
    "HF_HOME": "huggingface",
}
"""Variable that says where a library caches -> the folder's name below our own cache."""


CHILD: Final = "SWAPBENCH_CHILD"
"""Set in the environment of a `swapbench` command that another one started and listens to.

It ends when its standard input does, and tells its progress in lines for a program.
"""
LOST_HOSTS: Final = "SWAPBENCH_LOST_HOSTS"
"""Tells such a command, a line each, which hosts of a fleet began its work before and were lost."""


def be_quiet() -> None:
    """Set QUIET in this process, which its children inherit."""
    os.environ.update(QUIET)


def keep_caches_in(folder: Path) -> None:
    """Have libraries cache below `folder`, not in the home folder, unless the person has said where.

    Nothing is created here; a library makes its folder when it first needs it. Where it cannot, it does
    without, and matplotlib's three lines about that are not for a person who asked for a table.
    """
    import logging

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for variable, name in CACHES.items():
        os.environ.setdefault(variable, str(folder / name))
