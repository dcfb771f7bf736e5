"""The native runner with a whole system: it decides as the Python worker does, about the same crops."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from red_faces import red_less_blue, red_parts

from swapbench.bench import series
from swapbench.bench.decision_jobs import Job, content, runtime_of
from swapbench.bench.model_under_test import ModelUnderTest
from swapbench.bench.workers import FileUnderTest
from swapbench.data.preprocess import Prepared
from swapbench.devices.local import Local
from swapbench.errors import UserError
from swapbench.modelfile import read_graph
from swapbench.records import (
    Absent,
    Evidence,
    Frames,
    FrozenFold,
    Member,
    ModelCard,
    OutputMeaning,
    Plan,
    Preprocessing,
    System,
    Variant,
)
from swapbench.records.cards import Reads
from swapbench.runtimes.contract import PythonWorker, parse_slice
from swapbench.runtimes.native.adapter import NativeOnnxRuntime, installed_library
from swapbench.runtimes.native.build import build, this_computer
from swapbench.runtimes.worker import work
from swapbench.systems.worker import _System

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = json.dumps({"scale": 1.0, "mean": [128.0] * 3, "std": [1.0] * 3})
IMAGE = Preprocessing(width_px=8, height_px=8, crop_scale=1.0, scale=1.0, mean=(128.0,) * 3)
PYTHON = PythonWorker("onnxruntime", ("onnx",), "swapbench.runtimes.ort")
LOGITS = OutputMeaning(kind="logits", bona_fide_index=1)
FILES = {
    "small": (red_less_blue(saturated_by=30.0), LOGITS),
    "other": (red_less_blue(saturated_by=200.0), LOGITS),
    "single": (red_less_blue(saturated_by=60.0), OutputMeaning(kind="sigmoid", higher_is="attack")),
    **{f"part_{number}": (part, LOGITS) for number, part in enumerate(red_parts(), 1)},
}


@dataclass(frozen=True)
class Bench:
    """Files with crops, and the runner of this computer."""

    folder: Path
    native: NativeOnnxRuntime

    def job(self, system: System, runtime: Any) -> Job:
        files, models = [], []
        for member in system.members:
            name = member.file.removesuffix(".onnx")
            path, reads = self.folder / member.file, Reads(card="part_1") if member.reads else None
            card = ModelCard(name=name, preprocessing=IMAGE, output=FILES[name][1], reads=reads)
            variant, graph = Variant(net=name, precision="fp32", format="onnx"), read_graph(path)
            parity = Absent(absent="made by hand")
            models.append(ModelUnderTest(variant, path, name, graph, runtime, card, parity))
            told = {} if reads else {"samples": str(self.folder / "crops.npy"), "normalise": PLAIN}
            files.append(FileUnderTest(name, str(path), runtime, told))
        rows = [[3 * number, 3 * number + 1, 3 * number + 2] for number in range(20)]
        return Job(system, files, models, rows, self.folder / "system.job")

    def python(self, system: System) -> list[tuple[int, ...]]:
        job = self.job(system, PYTHON)
        job.path.write_text(content(job), encoding="utf-8")
        out = StringIO()
        argv = ["--mode", "serve", "--artifact", str(job.path), "--warmup-runs", "0", "--warmup-ns", "0"]
        argv += ["--samples", str(self.folder / "crops.npy"), "--normalise", PLAIN]
        request = json.dumps({"runs": 20, "wake_runs": 0})
        assert work(argv, lambda: _System(0), [request], out) == 0, out.getvalue()
        decisions = parse_slice(out.getvalue().splitlines()[1]).decisions
        assert decisions is not None
        return sorted(decisions)

    def native_answers(self, job: Job, text: str, request: str = "") -> list[str]:
        """What the runner says of a job's text."""
        job.path.write_text(text, encoding="utf-8")
        options = {"warmup_runs": 0, "warmup_ns": 0}
        argv = runtime_of(job).command(str(job.path), mode="serve", threads=1, options=options)
        done = subprocess.run(argv, input=request, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("building the runner needs the package ziglang")
    folder = tmp_path_factory.mktemp("native")
    for name, (file, _) in FILES.items():
        (folder / f"{name}.onnx").write_bytes(file)
    dice = np.random.default_rng(1)
    tint = dice.normal(0, 25, (60, 1, 1, 1)) * np.array([1, 0, -1])
    images = np.clip(dice.normal(128, 20, (60, 8, 8, 3)) + tint, 0, 255).astype(np.uint8)
    np.save(folder / "crops.npy", images)
    library = str(installed_library("onnxruntime"))
    runner = str(build(this_computer(), folder))
    return Bench(folder, NativeOnnxRuntime(runner=runner, library=library, flavour="host", package="wheel"))


def system(rule: str, *files: str, frozen: FrozenFold | None = None, **more: Any) -> System:
    members = tuple(
        Member(file=f"{file}.onnx", reads="features" if file == "part_2" else "") for file in files
    )
    frozen = frozen or FrozenFold(threshold=0.5)
    return System(**({"name": "x", "rule": rule, "members": members, "frozen": (frozen,)} | more))


CASCADE = FrozenFold(threshold=0.0, members=(0.5, 0.52, 0.5))
TWO = CASCADE.replace(members=(0.5, 0.52))


@pytest.mark.parametrize(
    "wanted",
    [
        system("cascade", "small", "other", frozen=TWO, margin=0.2),
        system("cascade", "small", "other", frozen=TWO, margin=math.inf, frames=Frames(count=3)),
        system("cascade", "small", "part_1", "part_2", frozen=CASCADE, margin=0.3, frames=Frames(count=2)),
        system("mean", "small", "other"),
        system("logits", "small", "other", frozen=FrozenFold(threshold=0.1)),
        system("product", "small", "other", frames=Frames(count=3, rule="median")),
        system("maximum", "small", "single"),
        system(
            "mean",
            "small",
            "other",
            frozen=FrozenFold(threshold=0.6, members=(0.55,)),
            frames=Frames(count=3, rule="vote"),
        ),
        system(
            "mean",
            "other",
            frozen=FrozenFold(threshold=0.3, evidence=Evidence(slope=12.0, offset=-6.0)),
            frames=Frames(count=3, rule="sequential"),
        ),
    ],
    ids=lambda one: f"{one.rule}-{len(one.members)}-{one.frames.rule}-{one.frames.count}",
)
def test_the_runner_decides_as_the_python_worker(wanted: System, bench: Bench) -> None:
    job = bench.job(wanted, bench.native)
    loaded, slice_line = bench.native_answers(job, content(job), '{"runs": 20, "wake_runs": 0}\n')
    assert json.loads(loaded)["runtime"] == "system"
    decisions = parse_slice(slice_line).decisions
    assert decisions is not None
    assert sorted(decisions) == bench.python(wanted)
    assert {accepted for _, accepted, *_ in decisions} == {0, 1}  # else it would show little


def test_parts_in_series_score_as_the_whole(bench: Bench) -> None:
    crops = bench.folder / "crops.npy"
    wanted = system("cascade", "part_1", "part_2", frozen=TWO, margin=math.inf)
    (first, second), native = bench.job(wanted, bench.native).models, bench.native
    (part,) = (one for one in series.linked([first, second]) if one.before)
    device = Local()
    file = FileUnderTest("part_2", str(second.path), native, {})
    found = series.file_to_score(part, file, device, {IMAGE: Prepared(crops, {})})
    rows = []
    whole = FileUnderTest(
        "other", str(bench.folder / "other.onnx"), native, {"samples": str(crops), "normalise": PLAIN}
    )
    for one in (found, whole):
        argv = one.command("score", Plan(warmup_runs=0, warmup_ns=0))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        rows.append(np.array(one.runtime.parse_outputs(done.stdout).rows))
    assert np.allclose(*rows, atol=1e-5)


def test_a_process_is_told_which_turn_it_has(bench: Bench) -> None:
    job = bench.job(system("cascade", "small", "other", frozen=TWO, margin=0.2), bench.native)
    argv = runtime_of(job).command("job", mode="serve", threads=1, options={"index": 3})
    assert argv[argv.index("--system") + 1] == "job"
    assert argv[argv.index("--index") + 1] == "3"
    assert "--runtime" not in argv


@pytest.mark.parametrize(
    ("was", "instead", "message"),
    [
        ("reads 1", "reads 0", "reads has another shape than its input"),
        ("kind logits", "kind expression", "an output of kind 'expression' cannot be timed in a system"),
        ("threshold 0.0", "threshold x", "the job has 'x' where a number is needed"),
        ("rule cascade", "rul cascade", "the job has an unknown word 'rul'"),
        ("presentation 0", "presentation 99", "the job names crop 99"),
        ("small.onnx", "gone.onnx", "gone.onnx"),
    ],
)
def test_a_job_that_cannot_be_used_is_one_error(was: str, instead: str, message: str, bench: Bench) -> None:
    wanted = system("cascade", "small", "part_1", "part_2", frozen=CASCADE, margin=math.inf)
    job = bench.job(wanted, bench.native)
    assert was in content(job)
    (line,) = bench.native_answers(job, content(job).replace(was, instead))
    assert json.loads(line)["event"] == "error"
    assert message in json.loads(line)["message"]


def test_files_that_are_started_differently_share_no_process(bench: Bench) -> None:
    job = bench.job(system("mean", "small", "other"), bench.native)
    other = replace(job.files[1], runtime=replace(bench.native, affinity="f0"))
    with pytest.raises(UserError, match="are started differently there"):
        runtime_of(replace(job, files=[job.files[0], other]))
