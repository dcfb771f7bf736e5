"""What a child process prints until it ends: within a time, and within memory."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from typing import Final

MOST_BYTES: Final = 1 << 28
"""A program of ours prints a thousandth of it; one that never stops must not fill memory before its time."""


class PrintsWithoutEnd(Exception):
    """A child printed more than MOST_BYTES."""


def output_of(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[bytes, bytes]:
    """Standard output and error of a child whose both are pipes, once it has ended.

    Raises:
        TimeoutError: it did not end in time.
        PrintsWithoutEnd: it printed too much.
    """
    deadline, room = time.monotonic() + timeout_s, MOST_BYTES
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    printed: dict[int, list[bytes]] = {pipe.fileno(): [] for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for descriptor in printed:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready or time.monotonic() > deadline:
                raise TimeoutError
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fd)
                printed[key.fd].append(chunk)
                room -= len(chunk)
            if room < 0:
                raise PrintsWithoutEnd
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    stdout, stderr = (b"".join(chunks) for chunks in printed.values())
    return stdout, stderr
