"""The memory pass: the peak memory of one fresh worker that does nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.bench.workers import ANSWER_TIMEOUT_S, LOAD_TIMEOUT_S, is_answer
from swapbench.errors import WorkerFailed
from swapbench.records import PeakMemory

if TYPE_CHECKING:
    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Device, Finished
    from swapbench.records import Plan

RUNS = 10
KIND = "peak resident set of a fresh process (VmHWM), mapped file pages included"


def measure_memory(file: FileUnderTest, device: Device, plan: Plan) -> PeakMemory:
    """Peak memory of a worker that loads the file and runs it a few times.

    Raises:
        WorkerFailed: the worker failed, or ended before its runs were done.
        DeviceFailed: the device is gone.
    """
    argv = file.command("time", plan, runs=RUNS)
    finished = device.run(argv, LOAD_TIMEOUT_S + ANSWER_TIMEOUT_S)
    answers = [line for line in finished.stdout.splitlines() if is_answer(line)]
    loaded = file.runtime.parse_loaded(answers[0]) if answers else None
    if loaded is None or len(answers) < 2:
        raise _early_end(file, finished)
    return PeakMemory(
        before_load_bytes=loaded.before_load_bytes,
        peak_bytes=file.runtime.parse_slice(answers[1]).peak_rss_bytes,
        kind=KIND,
    )


def _early_end(file: FileUnderTest, finished: Finished) -> WorkerFailed:
    last_lines = [line.strip() for line in finished.stderr.splitlines()[-3:] if line.strip()]
    reason = f": {' | '.join(last_lines)}" if last_lines else ""
    return WorkerFailed(f"the worker of {file.name} ended with exit status {finished.exit_code}{reason}")
