"""The pass over the data: the raw outputs of files for every sample. It is not timed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from swapbench.bench.workers import read_answer
from swapbench.errors import EnvironmentFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Conversation, Device, Outputs
    from swapbench.records import Plan

TIMEOUT_S = 3600.0


def measure_scores(
    files: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    *,
    at_once: int = 1,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[tuple[FileUnderTest, Outputs | EnvironmentFailed]]:
    """Raw outputs of each file for every sample, or its error, in the order of the files.

    Closing the iterator, or an interrupt, ends all workers.

    Args:
        files: with the options `samples` and `normalise`.
        device: where they run.
        plan: for its threads.
        at_once: how many workers run side by side, which changes no score.
        timeout_s: for one line of a worker.
    """
    waiting = deque(files)
    living: deque[tuple[FileUnderTest, Conversation | EnvironmentFailed]] = deque()
    try:
        while waiting or living:
            while waiting and len(living) < max(at_once, 1):
                living.append((waiting[0], _start(waiting[0], device, plan)))
                waiting.popleft()
            file, conversation = living[0]
            outputs: Outputs | EnvironmentFailed
            if isinstance(conversation, EnvironmentFailed):
                outputs = conversation
            else:
                outputs = _read_outputs(file, conversation, timeout_s)
                conversation.close()
            living.popleft()
            yield file, outputs
    finally:
        for _, conversation in living:
            if not isinstance(conversation, EnvironmentFailed):
                conversation.close(0.0)


def _start(file: FileUnderTest, device: Device, plan: Plan) -> Conversation | EnvironmentFailed:
    try:
        return device.start(file.command("score", plan))
    except EnvironmentFailed as error:
        return error


def _read_outputs(
    file: FileUnderTest, conversation: Conversation, timeout_s: float
) -> Outputs | EnvironmentFailed:
    """All answers of a scoring worker, up to its last one."""
    lines: list[str] = []
    try:
        while not lines or ('"scored"' not in lines[-1] and '"error"' not in lines[-1]):
            lines.append(read_answer(conversation, timeout_s))
        return file.runtime.parse_outputs("\n".join(lines))
    except EnvironmentFailed as error:
        return error
