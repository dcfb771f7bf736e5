"""A search whose structures are judged in batches elsewhere: by whom, in which order, and what is lost."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import test_search
from test_search import SMALL, SPACE, distance

from swapbench.errors import EnvironmentFailed, NotValid, UserError
from swapbench.study.batches import Batches
from swapbench.study.executor import Ended, HowFar
from swapbench.workshop.prune.judging import read_answer, read_batch, write_answer, write_batch
from swapbench.workshop.prune.search import Judged, search

if TYPE_CHECKING:
    from swapbench.study.jobs import Job
    from swapbench.workshop.prune.search import Evaluated
    from swapbench.workshop.prune.widths import Genes


@dataclass
class Pretender:
    """Judges by a toy; of three jobs one after the other, the second is the last to end.

    Attributes:
        cores: That it says it has.
        ends: How the jobs end, by their place among all that were started; those not named end well.
        started: All jobs.
        ended: Those that were ended before they had.
    """

    cores: int
    ends: dict[int, Ended] = field(default_factory=dict)
    started: list[Job] = field(default_factory=list)
    ended: list[Job] = field(default_factory=list)

    def start(self, job: Job) -> _Pretended:
        self.started.append(job)
        place = len(self.started) - 1
        return _Pretended(self, job, self.ends.get(place, Ended(0)), asked=place % 3)


@dataclass
class _Pretended:
    place: Pretender
    job: Job
    end_of_it: Ended
    asked: int

    def how_far(self) -> HowFar:
        return HowFar()

    def ended(self) -> Ended | None:
        self.asked -= 1
        if self.asked > 0:
            return None
        judge, fitness, batch, answer = self.job.words
        assert (judge, Path(fitness).read_text()) == ("judge", "toy")
        if self.end_of_it.status == 0:
            write_answer(Path(answer), [(distance(genes), 0.5) for genes in read_batch(Path(batch))])
        return self.end_of_it

    def end(self) -> None:
        self.place.ended.append(self.job)


def run(folder: Path, place: Pretender, state: str = "search.json", **options: Any) -> tuple[Evaluated, ...]:
    batches = Batches(place, sleep=lambda _: None)
    with batches.judges(folder / "judging", lambda path: path.write_text("toy") and None) as judges:
        return search(SPACE, judges, SMALL, seed=3, state=folder / state, **options)


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 50])
def test_batches_end_in_the_same_structures_whatever_their_number(tmp_path: Path, cores: int) -> None:
    place = Pretender(cores)
    assert run(tmp_path, place) == test_search.run(tmp_path / "here")
    assert not (tmp_path / "judging").exists()
    sizes = {1: [8], 2: [4, 4], 3: [3, 3, 2], 8: [1] * 8, 50: [1] * 8}[cores]
    assert [int(job.name.split()[0]) for job in place.started] == sizes * 4
    assert len({job.key for job in place.started}) == len(place.started)


@pytest.mark.parametrize("status", [-9, 130])
def test_a_batch_whose_process_is_lost_is_done_again(tmp_path: Path, status: int) -> None:
    place = Pretender(2, {0: Ended(status), 5: Ended(status), 6: Ended(status)})
    assert run(tmp_path, place) == test_search.run(tmp_path / "here")
    assert len(place.started) == 2 * 4 + 3
    assert place.started[2].words == place.started[0].words
    assert len({job.key for job in place.started}) == len(place.started)


def test_a_batch_that_is_lost_three_times_ends_the_search_and_all_others(tmp_path: Path) -> None:
    place = Pretender(2, {0: Ended(-9), 2: Ended(-9), 3: Ended(-9)})
    with pytest.raises(EnvironmentFailed, match=r"it was ended by signal 9\. .* fewer --jobs help"):
        run(tmp_path, place)
    assert len(place.started) == 4
    assert not (tmp_path / "judging").exists()
    assert run(tmp_path, Pretender(2)) == test_search.run(tmp_path / "here")  # it goes on


@pytest.mark.parametrize(("status", "kind"), [(2, UserError), (3, NotValid), (4, EnvironmentFailed)])
def test_a_batch_that_fails_is_not_tried_again(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    place = Pretender(3, {0: Ended(status, "other last digits")})
    with pytest.raises(kind, match="other last digits"):
        run(tmp_path, place)
    assert place.ended == place.started[1:] != []


def test_a_search_that_was_cut_goes_on_in_other_batches(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 10:
            raise Stopped

    place = Pretender(4)
    with pytest.raises(Stopped):
        run(tmp_path, place, progress=stop)
    assert [job.stem for job in place.ended] == ["batch-5"]  # what had not come back is ended
    assert len(json.loads((tmp_path / "search.json").read_text())["evaluated"]) == 10
    again = Pretender(2)
    assert run(tmp_path, again) == test_search.run(tmp_path / "here")
    assert [int(job.name.split()[0]) for job in again.started] == [3, 3] + [4] * 4
    nothing = Pretender(2)
    run(tmp_path, nothing)
    assert nothing.started == []
    assert not (tmp_path / "judging").exists()


def test_what_was_judged_travels_to_the_last_bit(tmp_path: Path) -> None:
    values = [(Judged(0.1 + 0.2, {"loss": 1 / 3, "auc": math.nan}), 0.25), (Judged(math.inf, {}), 1.0)]
    write_answer(tmp_path / "a", values)
    read = read_answer(tmp_path / "a", 2)
    assert (read[0][0].fitness, read[0][0].parts["loss"], read[0][1]) == (0.1 + 0.2, 1 / 3, 0.25)
    assert math.isnan(read[0][0].parts["auc"])
    assert read[1] == values[1]
    structures: list[Genes] = [(1, 2), (3, 4)]
    write_batch(tmp_path / "b", structures)
    assert read_batch(tmp_path / "b") == structures


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "[{}]", "[]", '[{"fitness": "x", "parts": {}, "seconds": 1}]']
)
def test_what_is_no_answer_is_called_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(NotValid, match="a holds no batch of structures"):
        read_answer(tmp_path / "a", 1)
