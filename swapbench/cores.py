"""How many processor cores a program started here may use: its affinity and the limits of its control groups.

`os.cpu_count` counts what the computer has. `taskset`, batch systems and containers give a process fewer:
either certain cores (sched_setaffinity(2), cpusets) or a share of the time of all (the quota of the CPU
controller; see cgroups(7), and cpu.max in the kernel's documentation of control group v2).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that this process can keep busy: those it may run on, and no more than its quota pays for.

    Args:
        root: Where /proc and /sys are.

    Returns:
        At least 1; of a quota of 2.5 cores, 2.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """Every limit on this process's share of the processor, in cores."""
    for folder in _groups(root):
        limit = _text(folder / "cpu.max") or " ".join(
            _text(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        )
        words = limit.split()
        if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):  # else "max" or -1
            quota_us, period_us = map(int, words)
            yield quota_us / period_us


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the control groups of this process and of their parents, whose limits hold too.

    Version 2 is mounted at the top, or as "unified" beside version 1, which mounts each controller. A
    container may be told its group's path on the host but see only its own files: these are at the top.
    """
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in group.split("/") if part not in {"", ".."}]
        for mount in {controllers, "cpu"} if controllers else ("", "unified"):
            yield from (mounted.joinpath(mount, *parts[:depth]) for depth in range(len(parts) + 1))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
