"""What a fleet adds to a job: from handing it in to its result, less what its command took.

    python -m benchmarks.fleet        # a scheduler and a host on loopback addresses of this machine, with TLS

The command only finds out that its file is not there, so that what is measured is the fleet. The first job is
shown apart.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.fleet.client import Fleet
from swapbench.fleet.door import read_join_file
from swapbench.fleet.parcel import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = 10
POLL_S = 0.05


@contextlib.contextmanager
def started(folder: Path, sign: str, *words: str) -> Iterator[None]:
    """A command that runs until the block ends, once it has said what it says when it is ready."""
    folder.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-m", "swapbench", *words],
        cwd=folder,
        stderr=subprocess.PIPE,
        env={**os.environ, "CI": "true", "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        assert child.stderr is not None
        while sign not in (line := child.stderr.readline().decode()):
            assert line, f"swapbench {words[0]} has ended"
        yield
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="swapbench-") as root:
        scheduler, host = Path(root, "scheduler"), Path(root, "host")
        join = str(scheduler / "fleet.join")
        with (
            started(scheduler, "Ctrl-C", "fleet", "start", "--listen", "127.0.0.1:0"),
            started(host, "Joined", "fleet", "join", join, "--no-processor", "--cores", "1"),
            Fleet(read_join_file(Path(join))) as fleet,
        ):
            added = [_added_s(fleet, number) for number in range(1 + JOBS)]
    print(f"first job: {added[0]:.2f} s; {JOBS} more: median {statistics.median(added[1:]):.2f} s, ", end="")
    print(f"from {min(added[1:]):.2f} to {max(added[1:]):.2f} s")


def _added_s(fleet: Fleet, number: int) -> float:
    # a command that only finds out that its file is not there: what it takes itself is told by its host
    job = Job(f"job {number}", "bench", ("score", "gone.onnx", "--out", "scores.csv"), cores=1)
    began_s = time.monotonic()
    fleet.hand_in(job, {})
    while True:
        (*_, standing) = fleet.standings()
        if standing.over:
            assert standing.result is not None, standing.error
            return time.monotonic() - began_s - standing.result.seconds
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
