"""Studies: the table, the engine on jobs of known length, and real processes that only pretend to train."""

from __future__ import annotations

import csv
import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_cards import CARD

from swapbench import cli
from swapbench.cards import write_card
from swapbench.catalog import Folders
from swapbench.commands import study, study_table
from swapbench.errors import EnvironmentFailed, NotValid, UnknownName, UserError
from swapbench.files import only_one
from swapbench.study import engine
from swapbench.study.engine import Clock, JobNow, Now, remaining_s
from swapbench.study.executor import Ended, HowFar, LocalProcesses, progress_line, read_progress
from swapbench.study.jobs import Job, keep_finished, seconds_of_finished
from swapbench.study.results import Paired, Result, Spread, as_csv, as_markdown, paired, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")


def job(name: str, *after: str, cores: int = 1, key: str = "1") -> Job:
    return Job(name, name[0], key, ("train", name), Path("out", name), "net", cores=cores, after=after)


# ---- An executor on paper: jobs take as many seconds as they are told ----


@dataclass
class Paper:
    """Runs jobs on a clock of its own."""

    cores: int
    seconds: dict[str, float] = field(default_factory=dict)
    failing: dict[str, Ended] = field(default_factory=dict)
    now_s: float = 0.0
    started: list[tuple[float, str]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    stop_at_s: float | None = None

    def start(self, job: Job) -> _OnPaper:
        self.started.append((self.now_s, job.name))
        return _OnPaper(self, job, self.now_s + self.seconds.get(job.name, 10.0))

    def sleep(self, seconds: float) -> None:
        self.now_s = round(self.now_s + seconds, 6)
        if self.stop_at_s is not None and self.now_s >= self.stop_at_s:
            raise KeyboardInterrupt

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, self.sleep)


@dataclass
class _OnPaper:
    place: Paper
    job: Job
    until_s: float

    def how_far(self) -> HowFar:
        return HowFar("training", 1.0, 4.0)

    def ended(self) -> Ended | None:
        if self.place.now_s < self.until_s:
            return None
        if self.job.name in self.place.failing:
            return self.place.failing[self.job.name]
        trained(self.job)
        return Ended(0)

    def end(self) -> None:
        self.place.ended.append(self.job.name)


def trained(job: Job) -> None:
    """Leave what a training leaves."""
    job.folder.mkdir(parents=True, exist_ok=True)
    job.checkpoint.write_text(f"weights of {job.name}")
    write_card(CARD, job.card)


def states(now: Now) -> dict[str, str]:
    return {each.job.name: each.state for each in now.jobs}


def run(place: Paper, jobs: Sequence[Job]) -> Now:
    return engine.run(jobs, place, clock=place.clock)


def test_two_cores_take_half_the_time_of_one() -> None:
    jobs = [job(name) for name in "abcdefgh"]
    one, two = Paper(1), Paper(2)
    run(one, jobs)
    run(two, [replace(each, key="2") for each in jobs])
    assert (one.now_s, two.now_s) == pytest.approx((80, 40), abs=4)


def test_no_more_cores_are_used_than_there_are_and_a_large_job_waits_for_its_own() -> None:
    place = Paper(3)
    run(place, [job("a", cores=2), job("b", cores=2), job("c"), job("d", cores=9)])
    began = {name: began_s for began_s, name in place.started}
    assert began["a"] == began["c"] == 0
    assert began["b"] == pytest.approx(10, abs=0.5)
    assert began["d"] == pytest.approx(20, abs=1)  # takes all three


def test_a_job_begins_after_those_that_it_needs() -> None:
    place = Paper(4)
    run(place, [job("b", "a"), job("a"), job("c", "a", "b")])
    assert [name for _, name in place.started] == ["a", "b", "c"]


def test_a_failed_job_costs_itself_and_what_needs_it() -> None:
    place = Paper(2, failing={"a": Ended(2, "no such recipe")})
    now = run(place, [job("a"), job("b", "a"), job("c", "b"), job("d")])
    assert states(now) == {"a": "failed", "b": "failed", "c": "failed", "d": "done"}
    errors = dict(now.failures)
    assert isinstance(errors["a"], UserError)
    assert "no such recipe" in str(errors["a"])
    assert "not begun, because a failed" in str(errors["b"])


@pytest.mark.parametrize(
    ("ended", "kind", "said"),
    [
        (Ended(3, "not finite"), NotValid, "not finite"),
        (Ended(4, ""), EnvironmentFailed, "ended with status 4"),
        (Ended(-9), EnvironmentFailed, "signal 9. Where the memory did not suffice, fewer --jobs help"),
    ],
)
def test_a_failure_is_of_the_class_of_its_status(ended: Ended, kind: type, said: str) -> None:
    error = engine.failure(job("a"), ended)
    assert type(error) is kind
    assert said in str(error)


def test_a_job_that_ends_well_and_leaves_nothing_failed() -> None:
    class Idle(_OnPaper):
        def ended(self) -> Ended | None:
            return Ended(0)

    place = Paper(1)
    place.start = lambda job: Idle(place, job, 0.0)  # type: ignore[method-assign]
    now = run(place, [job("a")])
    assert "left no" in str(dict(now.failures)["a"])


def test_a_job_whose_files_cannot_be_prepared_costs_itself() -> None:
    def spoilt() -> None:
        raise KeyError("channels")

    now = run(Paper(1), [replace(job("a"), prepare=spoilt), job("b")])
    assert states(now) == {"a": "failed", "b": "done"}
    assert "KeyError: 'channels'" in str(dict(now.failures)["a"])


def test_finished_jobs_are_kept_and_a_changed_one_is_done_again() -> None:
    place = Paper(1)
    run(place, [job("a"), job("b")])
    assert states(run(place, [job("a"), job("b")])) == {"a": "kept", "b": "kept"}
    again = run(place, [job("a", key="2"), job("b")])
    assert states(again) == {"a": "done", "b": "kept"}
    job("b").checkpoint.write_text("other weights")
    assert states(run(place, [job("b")])) == {"b": "done"}


def test_ctrl_c_ends_what_runs_and_keeps_what_is_finished() -> None:
    place = Paper(1, stop_at_s=15.0)
    with pytest.raises(KeyboardInterrupt):
        run(place, [job("a"), job("b"), job("c")])
    assert place.ended == ["b"]
    place.stop_at_s = None
    assert states(run(place, [job("a"), job("b"), job("c")])) == {"a": "kept", "b": "done", "c": "done"}


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([job("a", "b"), job("b", "a")], "can never begin: it waits for b"),
        ([job("a", "nobody")], "waits for nobody"),
        ([job("a"), job("a")], "two trainings are called a"),
    ],
)
def test_jobs_that_can_never_begin_are_refused(jobs: list[Job], said: str) -> None:
    with pytest.raises(UserError, match=said):
        engine.check(jobs)


def test_the_remaining_time_is_that_of_the_group_and_of_what_runs() -> None:
    done = JobNow(job("a1"), "done", 100.0)
    waiting = JobNow(job("a2"))
    assert remaining_s([waiting], 1) is None
    assert remaining_s([done, waiting], 1) == 100
    assert remaining_s([done, waiting, JobNow(job("b"))], 2) == 100  # of b nothing is known but a
    halfway = JobNow(job("b"), "running", 30.0, HowFar("training net", 1.0, 4.0))
    assert remaining_s([done, waiting, halfway], 1) == 100 + 90
    assert remaining_s([done, waiting, halfway], 2) == 100  # the longest
    assert remaining_s([done], 2) == 0


def test_who_listens_hears_every_change_and_not_twice_the_same() -> None:
    heard: list[Now] = []
    place = Paper(1)
    engine.run([job("a"), job("b")], place, heard.append, place.clock)
    assert all(one != other for one, other in itertools.pairwise(heard))
    assert states(heard[0]) == {"a": "running", "b": "waiting"}
    assert states(heard[-1]) == {"a": "done", "b": "done"}


# ---- Real processes ----

PRETENDER = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {source!r}]
import os
from swapbench import interrupts
from swapbench.study.executor import progress_line
interrupts.end_with_parent()
words = sys.argv[1:]
folder = Path(words[words.index("--out") + 1])
for step in range(int(os.environ.get("STEPS", "3"))):
    print(progress_line("training net", step + 1, 3), file=sys.stderr, flush=True)
    print("an epoch", file=sys.stderr, flush=True)
    time.sleep(float(os.environ.get("STEP_S", "0.02")))
if "--recipe" in words:
    print("error: it does not want to", file=sys.stderr)
    sys.exit(3)
from test_study import CARD, write_card
folder.mkdir(parents=True, exist_ok=True)
(folder / "net.safetensors").write_text("weights")
write_card(CARD, folder / "net.toml")
"""


@pytest.fixture
def pretender(tmp_path: Path) -> LocalProcesses:
    path = tmp_path / "pretender.py"
    path.write_text(PRETENDER.format(tests=str(Path(__file__).parent), source=str(SOURCE)))
    return LocalProcesses(2, command=(sys.executable, str(path)))


def told(name: str, *words: str) -> Job:
    folder = Path("out", name)
    return Job(name, name, "1", ("train", *words, "--out", str(folder)), folder, "net")


def test_local_processes_train_tell_and_log(pretender: LocalProcesses) -> None:
    heard: list[Now] = []
    now = engine.run([told("a"), told("b", "--recipe", "bad")], pretender, heard.append)
    assert states(now) == {"a": "done", "b": "failed"}
    assert isinstance(dict(now.failures)["b"], NotValid)
    assert "it does not want to" in str(dict(now.failures)["b"])
    assert told("a").log.read_text() == "an epoch\n" * 3
    shares = [each.how_far for one in heard for each in one.of("running") if each.how_far.total]
    assert HowFar("training net", 3.0, 3.0) in shares


def test_each_training_has_a_gpu_to_itself() -> None:
    place = LocalProcesses(
        4,
        command=(sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"),
        gpus=("3", "5"),
    )
    assert place.cores == 2
    first, second = place.start(told("a")), place.start(told("b"))
    for running in (first, second):
        while running.ended() is None:
            time.sleep(0.02)
    place.start(told("c")).end()
    assert {told("a").log.read_text(), told("b").log.read_text()} == {"3\n", "5\n"}


def test_killed_like_a_lamp_nothing_goes_on_and_the_same_study_does(pretender: LocalProcesses) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(SOURCE)!r}]\n"
        "from test_study import told, engine, LocalProcesses\n"
        f"place = LocalProcesses(2, command={tuple(pretender.command)!r})\n"
        "engine.run([told(name) for name in 'abcd'], place)\n"
    )
    environment = {**os.environ, "STEP_S": "60", "STEPS": "1"}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    until = time.monotonic() + 60
    while not all(told(name).log.exists() and told(name).log.stat().st_size for name in "ab"):
        assert time.monotonic() < until
        time.sleep(0.05)
    keep = told("c")
    trained(keep)
    keep_finished(keep, 1.0)
    parent.kill()
    parent.wait()
    while _children_of_pretender(pretender):
        assert time.monotonic() < until
        time.sleep(0.05)
    now = engine.run([told(name) for name in "abcd"], pretender)
    assert states(now) == {"a": "done", "b": "done", "c": "kept", "d": "done"}


def _children_of_pretender(place: LocalProcesses) -> list[str]:
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:
            continue
        if place.command[-1].encode() in words:
            found.append(line.parent.name)
    return found


def test_a_process_that_does_not_hear_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapbench.study.executor._PATIENCE_S", 0.2)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    place = LocalProcesses(1, command=(sys.executable, "-c", deaf))
    running = place.start(told("a"))
    while not told("a").log.stat().st_size:
        time.sleep(0.02)
    running.end()
    assert running.ended() == Ended(-signal.SIGKILL)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b'{"swapbench_progress": ', b'{"swapbench_progress": [1]}', b'{"swapbench_progress": {}}'],
)
def test_lines_that_are_no_progress_are_text(line: bytes) -> None:
    assert read_progress(line) is None
    assert read_progress(progress_line("x", 1, 2).encode()) == HowFar("x", 1.0, 2.0)


# ---- The table ----

TABLE = """
seeds = [1, 2]
domains = ["A", "B", "C"]
schedule = "smallest"

[arms.alone]
network = "minifasnet_v2"

[arms.distilled]
network = "minifasnet_v2"
recipe = "distill"
teacher = ["resnet18_map"]
"""


def planned(text: str, name: str = "s.toml") -> study.Planned:
    Path(name).write_text(text)
    found = study_table.study_in(Path(name))
    assert found is not None
    folder = Path("studies", found.name)
    return study.Planned(found, study_table.trainings(found, Folders(Path.cwd()), folder), folder)


def test_a_table_is_arms_times_seeds_times_domains() -> None:
    every = planned(TABLE).trainings
    assert [one.job.name for one in every] == [
        f"{arm}.{domain}.seed{seed}" for seed in (1, 2) for arm in ("alone", "distilled") for domain in "ABC"
    ]
    words = " ".join(every[4].job.words)
    assert "train minifasnet_v2 --protocol A+C:B --recipe distill --schedule smallest --seed 1" in words
    assert (
        "--teacher resnet18_map --threads 1 --missing --out studies/s/trainings/distilled.B.seed1-" in words
    )
    assert every[4].job.stem == "minifasnet_v2.distill"
    assert len({one.job.key for one in every}) == len(every)


def test_the_key_is_of_what_is_trained_and_of_nothing_else() -> None:
    keys = [one.job.key for one in planned(TABLE).trainings]
    assert [one.job.key for one in planned(TABLE, "other.toml").trainings] == keys
    assert [one.job.key for one in planned(TABLE.replace("[1, 2]", "[2, 1]")).trainings][:6] == keys[6:]
    assert not set(keys) & {one.job.key for one in planned(TABLE.replace("smallest", "small")).trainings}


def test_a_changed_recipe_file_is_another_training_and_a_comment_in_it_is_none() -> None:
    text = (SOURCE / "models" / "recipes" / "minifasnet_v2.toml").read_text()
    keys = []
    for changed in (text, f"{text}# only a comment\n", text.replace("weight_decay = ", "weight_decay = 1")):
        Path("mine.toml").write_text(changed)
        keys += [one.job.key for one in planned('[arms.a]\nnetwork = "mine.toml"\n').trainings]
    assert keys[0] == keys[1] != keys[2]


def test_an_arm_begins_beside_the_network_of_another_and_a_search_is_done_once() -> None:
    table = """
seeds = [1, 2]
[arms.unpruned]
network = "mobilefacenet"
seeds = [1]
[arms.cut]
network = "mobilefacenet"
recipe = "magnitude"
macs = "40M"
beside = "unpruned"
[arms.searched]
network = "mobilefacenet"
recipe = "metapruning"
macs = "40M"
search_once = true
after = "cut"
"""
    jobs = {one.job.name: one.job for one in planned(table).trainings}
    assert jobs["cut.seed1"].after == jobs["cut.seed2"].after == ("unpruned.seed1",)
    assert jobs["searched.seed1"].after == ("cut.seed1",)
    assert jobs["searched.seed2"].after == ("cut.seed2", "searched.seed1")
    again = jobs["searched.seed2"]
    assert again.words[1] == str(again.folder / "recipe.toml")
    assert "--recipe" not in again.words
    assert again.stem == jobs["searched.seed1"].stem == "mobilefacenet.metapruning-40M"
    trained(jobs["unpruned.seed1"])
    assert jobs["cut.seed2"].prepare is not None
    jobs["cut.seed2"].prepare()
    assert (jobs["cut.seed2"].folder / "mobilefacenet.safetensors").is_file()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[arms]", "arms"),
        ('[arms."../x"]\nnetwork = "minifasnet_v2"', "arms"),
        ("[arms.a]\nnetwork = 3", "arms.a.network"),
        ('[arms.a]\nnetwork = "minifasnet_v2"\nlr = 1', "lr"),
        ('seeds = []\n[arms.a]\nnetwork = "minifasnet_v2"', "seeds"),
        ('seeds = [1, 1]\n[arms.a]\nnetwork = "minifasnet_v2"', "seeds names one twice"),
        ('domains = ["A"]\n[arms.a]\nnetwork = "minifasnet_v2"', "domains has one name"),
        ('domains = ["A", "B/"]\n[arms.a]\nnetwork = "minifasnet_v2"', "domains"),
        ('protocol = "1"\ndomains = ["A", "B"]\n[arms.a]\nnetwork = "x"', "cannot be combined"),
        ('[arms.a]\nnetwork = "minifasnet_v2"\nbeside = "b"', "arm a refers to b"),
        ('[arms.a]\nnetwork = "minifasnet_v2"\nafter = "a"', "arm a refers to a"),
        ('[arms.a]\nnetwork = "x"\nafter = "b"\n[arms.b]\nnetwork = "x"\nafter = "a"', "in a circle"),
        ('[arms.a]\nnetwork = "minifasnet_v2"\nmacs = "40M"', "arm a: .*does not prune"),
        (f'seeds = {list(range(10_001))}\n[arms.a]\nnetwork = "x"', "10001 trainings"),
    ],
)
def test_a_mistake_in_the_table_is_one_sentence_that_names_it(table: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(table)


def test_names_that_nobody_knows_are_told_before_anything_is_trained() -> None:
    with pytest.raises((UserError, UnknownName), match="minifasnet_v2"):
        planned('[arms.a]\nnetwork = "minifasnet_v3x"')
    assert not Path("studies").exists()


def test_a_recipe_is_no_study() -> None:
    assert study_table.study_in(SOURCE / "models" / "recipes" / "minifasnet_v2.toml") is None


@pytest.mark.parametrize("option", [("--recipe", "distill"), ("--seed", "1"), ("--data", "x")])
def test_what_the_table_says_is_not_said_again(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.toml").write_text(TABLE)
    assert cli.main(["train", "s.toml", *option]) == 2
    assert "is a study, which says this itself" in capsys.readouterr().err
    assert cli.main(["train", "minifasnet_v2", "--jobs", "2"]) == 2
    assert "is neither a study nor a search" in capsys.readouterr().err


def test_two_processes_do_not_share_a_study(pretender: LocalProcesses) -> None:
    one = planned(TABLE)
    with (
        only_one(one.folder / ".lock"),
        pytest.raises(UserError, match="the study s is being trained by another process"),
    ):
        study.run(one, pretender, lambda _: None)


# ---- Results, by hand ----


def result(arm: str, domain: str, seed: int, eer: float) -> Result:
    return Result(arm, domain, seed, "done", {"eer": eer}, 60.0, f"{arm}.toml")


RESULTS = (
    result("a", "A", 1, 0.10),
    result("a", "A", 2, 0.12),
    result("a", "B", 1, 0.20),
    result("a", "B", 2, 0.20),
    result("b", "A", 1, 0.11),
    result("b", "A", 2, 0.11),
    result("b", "B", 1, 0.22),
    Result("b", "B", 2, "failed", {}),
)


def test_means_are_of_domains_and_deviations_over_the_seeds_within_one() -> None:
    # means 0.11 and 0.20; variances 0.0002 and 0
    assert spread(RESULTS[:4], "eer") == Spread(4, pytest.approx(0.155), pytest.approx(0.01))
    assert spread(RESULTS[:1], "eer") == Spread(1, 0.10, None)
    assert spread(RESULTS[7:], "eer") is None


def test_differences_are_of_the_same_domain_and_seed() -> None:
    # 0.01, -0.01 and 0.02: mean 1/150, sd sqrt(7/3) / 100; t(0.975, 2) = 4.302653
    sd = (7 / 3) ** 0.5 / 100
    half = 4.302653 * sd / 3**0.5
    mean = 0.02 / 3
    found = paired(RESULTS, "b", "a", "eer")
    assert found == Paired(
        3,
        pytest.approx(mean),
        pytest.approx(sd),
        pytest.approx(mean - half, rel=1e-5),
        pytest.approx(mean + half, rel=1e-5),
    )
    assert paired(RESULTS[:5], "b", "a", "eer") == Paired(1, pytest.approx(0.01), None, None, None)
    assert paired(RESULTS, "c", "a", "eer") is None


def test_the_table_is_read_by_people_and_by_programs() -> None:
    text = as_markdown(RESULTS, "a | b")
    assert "| a | 4 of 4 | 15.50 ± 1.00 | 4 min |" in text
    assert "| b | 3 of 4 | 16.50 ± 0.00 | 3 min |" in text
    assert "| b | +0.67 [-3.13, 4.46] (3) |" in text
    assert "| b | B | 2 | failed | – | – |" in text
    assert text.startswith("# a \\| b\n")
    rows = list(csv.DictReader(as_csv(RESULTS).splitlines()))
    assert [row["dev_eer"] for row in rows][:2] == ["0.1", "0.12"]
    assert rows[-1]["dev_eer"] == rows[-1]["seconds"] == ""


def test_a_finished_job_says_how_long_it_took() -> None:
    trained(job("a"))
    keep_finished(job("a"), 12.34)
    assert seconds_of_finished(job("a")) == 12.3
    assert seconds_of_finished(job("a", key="2")) is None


@pytest.mark.slow
def test_a_study_of_two_tiny_trainings_is_done_once(capsys: pytest.CaptureFixture[str]) -> None:
    from small_commands import labelled

    labelled(Path())
    Path("one.toml").write_text("epochs = 0.01\n")
    Path("s.toml").write_text(
        'seeds = [1, 2]\nschedule = "one.toml"\ndata = "faces.csv"\nfaces = "frame"\n'
        '[arms.a]\nnetwork = "minifasnet_v2"\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "swapbench", "train", "s.toml", "--jobs", "2"]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "| a | 2 of 2 |" in first.stdout
    cards = sorted(Path("studies/s/trainings").glob("*/minifasnet_v2.toml"))
    assert len(cards) == 2
    before = [path.read_bytes() for path in cards]
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "2 of them earlier" in again.stderr
    assert [path.read_bytes() for path in cards] == before
