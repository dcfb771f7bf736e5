"""The worker that runs a whole system in one process: its files together, on the same frames.

Run as `python -m swapbench.systems.worker --mode serve --artifact JOB.json`. It speaks the contract of
`swapbench.runtimes.contract`; its model file is a job: the steps of the system, its files, where their crops
lie and which rows of them are a presentation. One timed run is one decision about another presentation, whose
crops lie in input buffers before the clock starts, as those of a file do. A slice says in `decisions` what
each run was: the number of the presentation, whether it was accepted, and how often each member was asked.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from swapbench.runtimes.feed import ImageFeed, Normalise, Shapes, Unusable, fill_with_map, open_samples
from swapbench.runtimes.switches import set_switches
from swapbench.runtimes.worker import arguments, main
from swapbench.systems.stepwise import NotStepwise, Steps, score_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.runtimes.feed import Array, Input, Output
    from swapbench.runtimes.worker import Backend, Engine, Profiled

BUFFERS_BYTES: Final = 64 * 2**20
"""Memory for the inputs of the presentations that a process decides about."""
FEWEST: Final = 8


class _System:
    """All runtimes of a system, imported when its job is known.

    Args:
        turn: number of this process: each decides about other presentations.
    """

    runtime = package = "system"
    version = ""

    def __init__(self, turn: int) -> None:
        self._turn = turn

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> Engine:
        del provider, shapes  # each member has its own
        try:
            with open(artifact, encoding="utf-8") as file:
                job = json.load(file)
            return _Engine(job, threads, self._turn)
        except (OSError, ValueError, KeyError, TypeError, NotStepwise) as problem:
            raise Unusable(f"cannot use the job {artifact}: {problem!r}") from None


class _Member:
    """One loaded file."""

    def __init__(self, job: Mapping[str, Any], threads: int) -> None:
        backend: Backend = importlib.import_module(job["module"]).open_backend()
        if job.get("switches"):
            set_switches(backend, job["switches"])
        shapes = Shapes.of(job.get("shapes"), job.get("dimensions"))
        self.engine = backend.load(job["artifact"], threads, job.get("provider"), shapes)
        self.reads: int | None = job.get("reads")  # the place of an output of the member before it
        if self.reads is None:
            self._samples = open_samples(job["samples"], self.engine.input)
            self._normalise = Normalise.from_json(job["normalise"])
        self._place = int(job.get("outputs", "0"))
        self._score = score_of(job["meaning"])

    @property
    def input_bytes(self) -> int:
        """Of one frame."""
        spec = self.engine.input
        return math.prod(spec.shape) * spec.dtype.itemsize

    def feed(self, row: int) -> Array:
        """An input that holds the crop of a frame, or room for what the member before this one returns."""
        if self.reads is not None:
            return np.zeros(self.engine.input.shape, self.engine.input.dtype)
        feed = ImageFeed(self.engine.input, self._normalise)
        feed.fill(self._samples[row])
        return feed.buffer

    def ask(self, feed: Array, after: _Member | None, next_feed: Array | None) -> Callable[[], float]:
        """A function that runs the file on a frame and returns its score.

        Args:
            feed: Its input.
            after: The member after it.
            next_feed: Input of that one, into which an output goes that it reads.
        """
        engine, outputs = self.engine, self.engine.outputs
        if after is None or after.reads is None or next_feed is None:
            run = engine.scored_call(feed, [self._place])
            return partial(_asked, run, outputs[self._place].real, self._score)
        run = engine.scored_call(feed, [self._place, after.reads])
        hand_over = partial(_handed, next_feed, outputs[after.reads], after.engine.input)
        return partial(_asked_and_handed, run, outputs[self._place].real, self._score, hand_over)


def _asked(
    run: Callable[[], Sequence[Array]],
    real: Callable[[Array], Array],
    score: Callable[[Sequence[float]], float],
) -> float:
    return score(real(run()[0]).ravel().tolist())


def _asked_and_handed(
    run: Callable[[], Sequence[Array]],
    real: Callable[[Array], Array],
    score: Callable[[Sequence[float]], float],
    hand_over: Callable[[Array], None],
) -> float:
    numbers, passed_on = run()
    hand_over(passed_on)
    return score(real(numbers).ravel().tolist())


def _handed(feed: Array, given: Output, spec: Input, array: Array) -> None:
    fill_with_map(feed, given.real(array), spec)


class _Engine:
    """A system that is loaded."""

    delegated_nodes: int | None = None
    nodes: int | None = None
    outputs: tuple[Output, ...] = ()

    def __init__(self, job: Mapping[str, Any], threads: int, turn: int) -> None:
        self._members = [_Member(member, threads) for member in job["members"]]
        self._steps = Steps.of(job["steps"])
        engines = [member.engine for member in self._members]
        self.input: Input = engines[0].input
        self.providers = tuple(dict.fromkeys(name for engine in engines for name in engine.providers))
        self.settings = {
            name: text
            for name, text in engines[0].settings.items()
            if all(engine.settings.get(name) == text for engine in engines)
        }
        self._log: list[tuple[int, ...]] = []
        self._presentations: list[list[int]] = job["presentations"]
        most = max(map(len, self._presentations))
        bytes_each = most * sum(member.input_bytes for member in self._members)
        count = min(max(BUFFERS_BYTES // bytes_each, FEWEST), len(self._presentations))
        self._held = [(turn * count + place) % len(self._presentations) for place in range(count)]

    def timed_call(self, feed: Array) -> Callable[[], Array]:
        """A decision about the next presentation; `feed` is the first member's and stays as it is."""
        del feed
        asks = [self._asks(self._presentations[place]) for place in self._held]
        answers, held, log, decide = (
            (np.array(False), np.array(True)),
            self._held,
            self._log,
            self._steps.decide,
        )
        turn = 0

        def call() -> Array:
            nonlocal turn
            place, turn = turn, (turn + 1) % len(held)
            accepted, asked = decide(asks[place])
            log.append((held[place], int(accepted), *asked))
            return answers[accepted]

        return call

    def _asks(self, rows: Sequence[int]) -> list[list[Callable[[], float]]]:
        """Of each member and frame of a presentation, what runs it; inputs lie ready in buffers."""
        feeds = [[member.feed(row) for row in rows] for member in self._members]
        asks = []
        for place, member in enumerate(self._members):
            is_last = place + 1 == len(self._members)
            after = None if is_last else self._members[place + 1]
            rooms: Sequence[Array | None] = [None] * len(rows) if is_last else feeds[place + 1]
            asks.append(
                [member.ask(feed, after, room) for feed, room in zip(feeds[place], rooms, strict=True)]
            )
        return asks

    def decisions(self, runs: int) -> list[tuple[int, ...]]:
        """What the last runs were: number of the presentation, accepted or not, inferences of each member."""
        last = self._log[-runs:]
        self._log.clear()
        return last

    def scored_call(self, *_: object) -> Callable[[], Sequence[Array]]:
        """Systems are not scored: their members are."""
        raise Unusable("a system is timed; its members are scored")

    def profile(self, *_: object) -> Profiled:
        """Systems are not profiled: their members are."""
        raise Unusable("a system is timed; its members are profiled")


if __name__ == "__main__":
    sys.exit(main(lambda: _System(arguments(sys.argv[1:]).index)))
