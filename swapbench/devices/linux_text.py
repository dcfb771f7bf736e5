"""What files of Linux's /proc say, as values: pure functions of text, for computers and phones alike."""

from __future__ import annotations

import re
from typing import Final

BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
"""A different value after every boot (random(4))."""


def memory_bytes(text: str, key: str = "MemTotal") -> int | None:
    """One line of /proc/meminfo in bytes."""
    line = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    return int(line[1]) * 1024 if line else None


def int8_saturates(cpuinfo: str) -> bool | None:
    """Whether products of uint8 and int8 saturate, from /proc/cpuinfo; None where it does not say.

    x86 processors with AVX2 and without VNNI add such products in pairs within 16 bits (vpmaddubsw), so that
    two large ones lose their excess (onnxruntime, "Quantize ONNX models", on reduce_range).
    """
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    if flags is None:
        return None
    words = flags[1].split()
    return "avx2" in words and not any(word.endswith("_vnni") for word in words)


def busy_cores(before: str, after: str) -> float | None:
    """The mean number of busy cores between two readings of /proc/stat (proc(5)); None if unknown."""
    early, late = _ticks(before), _ticks(after)
    if early is None or late is None or sum(late) <= sum(early):
        return None
    passed = [b - a for a, b in zip(early, late, strict=True)]
    idle = passed[3] + passed[4]
    return (1 - idle / sum(passed)) * len(re.findall(r"^cpu\d", after, re.MULTILINE))


def _ticks(text: str) -> list[int] | None:
    """user, nice, system, idle, iowait, irq, softirq, steal of all cores together since boot."""
    words = text.split("\n", 1)[0].split()
    return [int(word) for word in words[1:9]] if len(words) >= 9 and words[0] == "cpu" else None
