from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.errors import WorkerFailed
from swapbench.ports import OutputTensor
from swapbench.runtimes import contract, worker
from swapbench.runtimes.feed import ImageFeed, Input, Normalise, Output, Shapes, Unusable, made_input
from swapbench.runtimes.worker import Executed, Profiled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NCHW = Input("x", (1, 3, 2, 4), np.dtype(np.float32))
NHWC = Input("x", (1, 2, 4, 3), np.dtype(np.float32))
HALF = '{"scale": 0.5, "mean": [1, 2, 3], "std": [1, 2, 4]}'


class SumEngine:
    """A "model" that answers the sum of its input, in steps of 2, and its negative; it counts its calls."""

    outputs = (Output("sum", (2.0, 0)), Output("negative"))

    providers = ("addition",)
    settings: ClassVar = {"spinning": "off"}
    delegated_nodes = 3
    nodes = 4

    def __init__(self, spec: Input = NCHW) -> None:
        self.input, self.calls = spec, 0

    def timed_call(self, feed: np.ndarray) -> Callable[[], np.ndarray]:
        def call() -> np.ndarray:
            self.calls += 1
            return np.array([[feed.sum(dtype=np.float64)]])

        return call

    def scored_call(self, feed: np.ndarray, places: Sequence[int]) -> Callable[[], list[np.ndarray]]:
        call = self.timed_call(feed)

        def both() -> list[np.ndarray]:
            total = call()
            return [[total, -total.ravel()][place] for place in places]

        return both

    def profile(self, feed: np.ndarray, runs: int) -> Profiled:
        return Profiled(
            [Executed("n", "Sum", "f 1", "addition", [5] * runs, 2)],
            [Executed("n", "Sum", "f 1", "addition")],
        )


class SumBackend:
    runtime, package, version = "sum", "sums", "7"

    def __init__(self, engine: SumEngine | None = None, problem: Exception | None = None) -> None:
        self.engine, self.problem = engine or SumEngine(), problem

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> SumEngine:
        if self.problem is not None:
            raise self.problem
        return self.engine


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.bin"
    path.write_bytes(b"anything")
    return str(path)


def said(
    argv: list[str], backend: SumBackend | None = None, requests: str = ""
) -> tuple[int, list[dict[str, Any]]]:
    out = io.StringIO()
    chosen = backend or SumBackend()
    quick = ["--warmup-ns", "0", "--warmup-runs", "2"]
    status = worker.work([*quick, *argv], lambda: chosen, io.StringIO(requests), out)
    return status, [json.loads(line) for line in out.getvalue().splitlines()]


# ------------------------------------------------------------------------------------------ modes


def test_time_mode_says_how_it_loaded_and_one_slice(model: str) -> None:
    backend = SumBackend()
    status, (loaded, timed) = said(["--artifact", model, "--runs", "7"], backend)
    assert status == 0
    assert loaded["event"] == "loaded"
    assert (loaded["runtime"], loaded["package"], loaded["version"]) == ("sum", "sums", "7")
    assert (loaded["providers"], loaded["settings"]) == (["addition"], {"spinning": "off"})
    assert (loaded["delegated_nodes"], loaded["nodes"], loaded["threads"]) == (3, 4, 1)
    assert (loaded["warmup_runs"], loaded["input"]) == (2, "random")
    assert loaded["load_ns"] > 0
    assert loaded["first_ns"] > 0
    assert loaded["before_load_bytes"] > 1_000_000
    assert len(timed["run_ns"]) == 7
    assert timed["peak_rss_bytes"] >= loaded["before_load_bytes"]
    assert backend.engine.calls == 1 + 2 + 2 + 7  # first, warm-up, wake, timed


def test_serve_mode_answers_each_request_and_ends_with_its_input(model: str) -> None:
    requests = '{"runs": 3}\n\n{"runs": 2, "wake_runs": 0}\n{"slice_ns": 1}\n{"runs": 5, "slice_ns": 1}\n'
    backend = SumBackend()
    status, (_, *slices) = said(["--mode", "serve", "--artifact", model], backend, requests)
    assert status == 0
    assert [len(one["run_ns"]) for one in slices] == [3, 2, 1, 1]
    assert backend.engine.calls == 3 + (2 + 3) + 2 + (2 + 1) + (2 + 1)


@pytest.mark.parametrize("request_line", ["hello", "[]", '{"run": 3}', '{"runs": 0}', '{"runs": "many"}'])
def test_a_request_that_is_none_ends_the_worker_with_an_error_line(model: str, request_line: str) -> None:
    status, answers = said(["--mode", "serve", "--artifact", model], requests=request_line)
    assert status == 1
    assert [one["event"] for one in answers] == ["loaded", "error"]


def test_score_mode_gives_the_real_outputs_of_every_sample_in_order(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ROWS_A_LINE", 2)
    samples = np.arange(5 * 24, dtype=np.uint8).reshape(5, 2, 4, 3)
    np.save(tmp_path / "samples.npy", samples)
    plain = '{"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}'
    status, answers = said(
        [
            "--mode",
            "score",
            "--artifact",
            model,
            "--samples",
            str(tmp_path / "samples.npy"),
            "--normalise",
            plain,
        ]
    )
    assert status == 0
    assert answers[0]["input"] == "sample"
    assert [(one["event"], one.get("first")) for one in answers[1:]] == [
        ("outputs", 0),
        ("outputs", 2),
        ("outputs", 4),
        ("scored", None),
    ]
    outputs = contract.parse_outputs("\n".join(json.dumps(one) for one in answers))
    assert outputs.rows == tuple((2.0 * int(image.sum()),) for image in samples)
    assert 0 < outputs.invoke_ns <= outputs.pass_ns
    assert outputs.tensors == (OutputTensor("sum", (1, 1)),)


def test_score_mode_gives_the_outputs_that_are_asked_for_one_after_the_other(
    model: str, tmp_path: Path
) -> None:
    samples = np.arange(2 * 24, dtype=np.uint8).reshape(2, 2, 4, 3)
    np.save(tmp_path / "samples.npy", samples)
    argv = ["--mode", "score", "--artifact", model, "--samples", str(tmp_path / "samples.npy")]
    argv += ["--normalise", '{"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}']
    _, answers = said([*argv, "--outputs", "1,0"])
    outputs = contract.parse_outputs("\n".join(json.dumps(one) for one in answers))
    sums = [int(image.sum()) for image in samples]
    assert outputs.rows == tuple((-1.0 * total, 2.0 * total) for total in sums)
    assert outputs.tensors == (OutputTensor("negative", (1,)), OutputTensor("sum", (1, 1)))
    for places in ("2", "-1", "", "0,x"):
        status, answers = said([*argv, f"--outputs={places}"])
        assert status == 1
        assert "--outputs must list places from 0 to 1" in answers[-1]["message"]


def test_profile_mode_says_whole_runs_without_and_the_nodes_with_the_profiler(model: str) -> None:
    backend = SumBackend()
    status, (loaded, profiled) = said(["--mode", "profile", "--artifact", model, "--runs", "4"], backend)
    assert (status, loaded["event"], profiled["event"]) == (0, "loaded", "profile")
    assert len(profiled["run_ns"]) == 4
    assert profiled["nodes"] == [
        {"name": "n", "op": "Sum", "output": "f 1", "provider": "addition", "count": 2, "run_ns": [5] * 4}
    ]
    assert profiled["placed"] == [{"name": "n", "op": "Sum", "output": "f 1", "provider": "addition"}]
    assert backend.engine.calls == 1 + 2 + 4  # first, warm-up, timed; the profiler runs a model of its own


def test_a_profile_of_a_slow_model_has_fewer_runs_than_asked_for_but_some(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PROFILED_NS", 0)
    _, (_, profiled) = said(["--mode", "profile", "--artifact", model, "--runs", "99"])
    assert len(profiled["run_ns"]) == worker.MIN_PROFILED_RUNS


def test_the_index_chooses_the_sample_that_is_timed_and_wraps_round(model: str, tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", np.stack([np.full((2, 4, 3), v, np.uint8) for v in (10, 20, 30)]))

    class Remembering(SumEngine):
        fed: np.ndarray

        def timed_call(self, feed: np.ndarray) -> Callable[[], np.ndarray]:
            self.fed = feed
            return super().timed_call(feed)

    engine = Remembering()
    plain = '{"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}'
    argv = [
        "--artifact",
        model,
        "--samples",
        str(tmp_path / "samples.npy"),
        "--normalise",
        plain,
        "--index",
        "4",
    ]
    assert said(argv, SumBackend(engine))[0] == 0
    assert (engine.fed == 20).all()


def test_samples_without_a_normalisation_are_not_guessed_at(model: str, tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", np.zeros((1, 2, 4, 3), np.uint8))
    argv = ["--artifact", model, "--samples", str(tmp_path / "samples.npy")]
    assert said(argv)[1][0]["input"] == "random"
    status, answers = said([*argv, "--mode", "score"])
    assert status == 1
    assert "--normalise" in answers[-1]["message"]


# ------------------------------------------------------------------------------------------ errors


def test_any_failure_is_one_line_and_status_1(model: str) -> None:
    status, answers = said(["--artifact", model], SumBackend(problem=RuntimeError("two\nlines  of it")))
    assert (status, answers) == (
        1,
        [{"event": "error", "message": "RuntimeError: two lines of it", "stage": "model"}],
    )


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ([], "--artifact"),
        (["--artifact", "x", "--mode", "guess"], "bad command line"),
        (["--artifact", "x", "--threads", "0"], "at least 1"),
        (["--artifact", "no/such/file"], "there is no model file no/such/file"),
    ],
)
def test_a_wrong_command_line_is_an_error_line(argv: list[str], part: str) -> None:
    status, answers = said(argv)
    assert status == 1
    assert part in answers[0]["message"]


@pytest.mark.parametrize(
    ("samples", "part"),
    [
        (np.zeros((1, 4, 2, 3), np.uint8), "samples are 2x4 px, but the graph takes 4x2"),
        (np.zeros((1, 2, 4, 3), np.float32), "not uint8"),
        (np.zeros((2, 4, 3), np.uint8), "not uint8"),
        (np.zeros((0, 2, 4, 3), np.uint8), "not uint8"),
        (np.array([None]), "cannot read the samples file"),
    ],
)
def test_samples_of_the_wrong_kind_are_refused(
    model: str, tmp_path: Path, samples: np.ndarray, part: str
) -> None:
    np.save(tmp_path / "samples.npy", samples, allow_pickle=True)
    argv = ["--artifact", model, "--samples", str(tmp_path / "samples.npy"), "--normalise", HALF]
    status, answers = said(argv)
    assert status == 1
    assert part in answers[0]["message"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"scale": 1}', '{"scale": 1, "mean": [0, 0], "std": [1, 1]}', HALF.replace("4", "0")]
)
def test_a_normalisation_that_is_incomplete_is_refused(text: str) -> None:
    with pytest.raises(Unusable, match="--normalise"):
        Normalise.from_json(text)


# ------------------------------------------------------------------------------------------ the feed


def by_formula(image: np.ndarray) -> np.ndarray:
    return (image * 0.5 - np.array([1, 2, 3])) / np.array([1, 2, 4])


@pytest.mark.parametrize("spec", [NCHW, NHWC], ids=["nchw", "nhwc"])
def test_an_image_is_normalised_as_the_formula_says_in_either_layout(spec: Input) -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 4, 3), np.uint8)
    feed = ImageFeed(spec, Normalise.from_json(HALF))
    feed.fill(image)
    expected = by_formula(image)
    assert feed.buffer.shape == spec.shape
    np.testing.assert_allclose(
        feed.buffer[0], expected if spec.channels_last else expected.transpose(2, 0, 1), rtol=1e-7
    )


def test_half_precision_inputs_are_rounded_once() -> None:
    feed = ImageFeed(Input("x", (1, 3, 2, 4), np.dtype(np.float16)), Normalise.from_json(HALF))
    image = np.full((2, 4, 3), 255, np.uint8)
    feed.fill(image)
    assert feed.buffer.dtype == np.float16
    assert feed.buffer[0, 0, 0, 0] == np.float16(126.5)


@pytest.mark.parametrize(("dtype", "zero_point", "low"), [(np.int8, -128, -128), (np.uint8, 0, 0)])
def test_quantised_inputs_get_the_nearest_stored_value_within_range(
    dtype: type, zero_point: int, low: int
) -> None:
    spec = Input("x", (1, 2, 4, 3), np.dtype(dtype), quantisation=(0.5, zero_point))
    feed = ImageFeed(spec, Normalise.from_json('{"scale": 1, "mean": [10, 0, 0], "std": [1, 1, 2]}'))
    image = np.zeros((2, 4, 3), np.uint8)
    image[0, 0] = (5, 100, 101)
    feed.fill(image)
    # (5 - 10) / .5 = -10 is below the range; 100 / .5 = 200; 101 / 2 / .5 = 101
    assert feed.buffer[0, 0, 0].tolist() == [low, low + 200, low + 101]


@pytest.mark.parametrize(("dtype", "mean"), [("uint8", 0), ("int8", 128), ("int16", -1000), ("int64", 1)])
def test_an_integer_input_without_a_scale_takes_pixels_as_they_are_or_shifted(dtype: str, mean: int) -> None:
    plain = Normalise(1.0, (mean, mean, mean), (1.0, 1.0, 1.0))
    feed = ImageFeed(Input("x", (1, 1, 2, 3), np.dtype(dtype)), plain)
    feed.fill(np.array([[[0, 1, 255], [2, 128, 7]]], np.uint8))
    assert feed.buffer[0, 0].tolist() == [[-mean, 1 - mean, 255 - mean], [2 - mean, 128 - mean, 7 - mean]]


@pytest.mark.parametrize(
    ("dtype", "scale", "mean"), [("uint8", 1 / 255, 0), ("uint8", 1, 0.5), ("int8", 1, 0), ("uint8", 1, 1)]
)
def test_an_integer_input_without_a_scale_takes_nothing_that_is_not_whole_or_out_of_range(
    dtype: str, scale: float, mean: float
) -> None:
    with pytest.raises(Unusable, match="without a quantisation scale, so it takes whole numbers from"):
        ImageFeed(Input("x", (1, 2, 4, 3), np.dtype(dtype)), Normalise(scale, (mean,) * 3, (1.0, 1.0, 1.0)))


@pytest.mark.parametrize("shape", [(1, 10), (1, 1, 2, 4), (2, 3, 2, 4)])
def test_only_one_image_with_three_channels_can_be_fed(shape: tuple[int, ...]) -> None:
    with pytest.raises(Unusable, match="is not a single 3-channel image"):
        ImageFeed(Input("x", shape, np.dtype(np.float32)), Normalise.from_json(HALF))


@given(st.integers(0, 2**32), st.sampled_from(["float32", "float16", "int8", "uint8", "int16", "bool"]))
@settings(deadline=None)
def test_random_inputs_are_the_same_for_the_same_seed_and_in_range(seed: int, dtype: str) -> None:
    spec = Input("x", (1, 3, 4, 5), np.dtype(dtype))
    data, what = made_input(spec, seed)
    assert (data.shape, data.dtype, what) == (spec.shape, spec.dtype, "random")
    assert (data == made_input(spec, seed)[0]).all()
    if spec.dtype.kind == "f":
        assert 0 <= data.min() <= data.max() <= 1


def test_integer_random_inputs_use_their_full_range() -> None:
    data, _ = made_input(Input("x", (100_000,), np.dtype(np.int8)), 0)
    assert (data.min(), data.max()) == (-128, 127)


@pytest.mark.parametrize(("dtype", "alone"), [("int32", True), ("int64", True), ("float32", False)])
def test_possible_indices_and_the_first_of_several_inputs_are_zeros(dtype: str, *, alone: bool) -> None:
    data, what = made_input(Input("x", (2, 3), np.dtype(dtype), alone=alone), 0)
    assert (data.tolist(), data.dtype, what) == ([[0, 0, 0], [0, 0, 0]], np.dtype(dtype), "zeros")


def test_the_shapes_of_a_worker_s_options_are_read() -> None:
    shapes = Shapes.of("1x3x80x80,7,", "batch=1,h=w=80")
    assert shapes.inputs == ((1, 3, 80, 80), (7,), ())
    assert shapes.dimensions == {"batch": 1, "h=w": 80}
    assert Shapes.of(None, None) == Shapes()
    assert shapes.of_input(0, "x", ["N", 3, "H", "W"]) == (1, 3, 80, 80)
    assert Shapes().of_input(0, "x", [1, 10]) == (1, 10)
    with pytest.raises(Unusable, match=r"'x' has dynamic shape \['N', 3\], and --shapes does not set it"):
        Shapes().of_input(0, "x", ["N", 3])


@pytest.mark.parametrize(("inputs", "dimensions"), [("1xx", "N=x"), ("1xa", None), (None, "N")])
def test_shapes_that_are_no_lengths_are_an_error(inputs: str | None, dimensions: str | None) -> None:
    with pytest.raises(Unusable, match="is not a list of lengths"):
        Shapes.of(inputs, dimensions)


# ------------------------------------------------------------------------------------------ the timed loops


def ticking(*times: int) -> Callable[[], int]:
    """A clock that shows `times` one after the other."""
    shown = iter(times)
    return lambda: next(shown)


def test_each_run_is_timed_by_itself() -> None:
    clock = ticking(0, 10, 13, 20, 27)
    times, cpu, lost = worker.timed_runs(lambda: None, 2, clock=clock, cpu_ns=ticking(100, 108))
    assert (times, cpu, lost) == ([3, 7], 8, 0)


def test_a_slice_by_time_ends_after_the_run_that_reaches_it() -> None:
    clock = ticking(0, 0, 40, 40, 80, 80, 120)
    times, *_ = worker.timed_runs(lambda: None, 99, 100, clock=clock, cpu_ns=ticking(0, 0))
    assert times == [40, 40, 40]


def test_a_paced_run_waits_for_its_frame_and_frames_that_come_meanwhile_are_lost() -> None:
    slept: list[float] = []
    # frames come at 100, 200, ...; the second run takes from 200 to 350, so that the frame of 300 is lost
    clock = ticking(0, 0, 100, 130, 130, 200, 350, 350, 400, 401)
    times, _, lost = worker.timed_runs(
        lambda: None, 3, frame_ns=100, clock=clock, cpu_ns=ticking(0, 0), sleep=slept.append
    )
    assert (times, lost) == ([30, 150, 1], 1)
    assert [round(seconds * 1e9) for seconds in slept] == [100, 70, 50]


@pytest.mark.parametrize("fps", ["0", "-1", "nan", "x", "20000"])
def test_a_frame_rate_that_is_none_is_refused(fps: str) -> None:
    with pytest.raises(Unusable, match="fps"):
        worker.arguments(["--artifact", "a", "--fps", fps])


def test_a_slice_by_time_has_at_least_one_run() -> None:
    times, *_ = worker.timed_runs(lambda: None, 99, 1, clock=ticking(0, 0, 500), cpu_ns=ticking(0, 0))
    assert times == [500]


def test_the_warm_up_goes_on_until_both_runs_and_time_are_reached() -> None:
    assert worker.warm_up(lambda: None, 2, 0, clock=ticking(0, 0, 5, 5, 10, 10)) == [5, 5]
    assert worker.warm_up(lambda: None, 1, 12, clock=ticking(0, 0, 5, 5, 10, 10, 15, 15)) == [5, 5, 5]


def test_the_worker_waits_until_its_pool_sleeps() -> None:
    slept: list[float] = []
    # the process uses 2 ms, 2 ms, then no CPU in its 2 ms naps
    cpu = ticking(0, 2_000_000, 2_000_000, 4_000_000, 4_000_000, 4_000_000)
    assert worker.wait_until_pool_sleeps(cpu_ns=cpu, sleep=slept.append)
    assert slept == [0.002] * 3


def test_a_pool_that_never_sleeps_is_waited_for_only_so_long() -> None:
    now = iter(range(0, 10**12, 2_000_000))
    slept: list[float] = []
    assert not worker.wait_until_pool_sleeps(0.02, cpu_ns=lambda: next(now), sleep=slept.append)
    assert len(slept) == 10


def test_memory_is_read_from_the_kernel() -> None:
    assert worker.peak_resident_bytes() >= worker.resident_bytes() * 0.9
    assert worker.resident_bytes() > 5_000_000


@pytest.mark.parametrize("module", ["worker", "ort", "litert", "ncnn"])
def test_a_worker_starts_without_the_heavy_packages_of_the_parent(module: str) -> None:
    code = (
        f"import sys, swapbench.runtimes.{module}\n"
        "heavy = {'pydantic', 'pandas', 'rich', 'typer', 'onnxruntime', 'ai_edge_litert', 'onnx', 'PIL',"
        " 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


CHATTY = """
import os, sys
import numpy as np
from swapbench.runtimes import feed, worker

class Chatty:
    runtime, package, version = "chatty", "chatty", "1"
    providers, settings, delegated_nodes, nodes = ("cpu",), {}, None, None
    input = feed.Input("x", (1,), np.dtype(np.float32))
    def load(self, artifact, threads, provider, shapes):
        os.write(1, b"from C\\n")
        print("from Python", flush=True)
        return self
    def timed_call(self, feed):
        return lambda: feed

sys.exit(worker.main(Chatty))
"""


def test_what_libraries_print_goes_to_the_standard_error(model: str) -> None:
    argv = [sys.executable, "-c", CHATTY, "--artifact", model, "--runs", "1", "--warmup-ns", "0"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["loaded", "slice"]
    assert "from C" in done.stderr
    assert "from Python" in done.stderr


# ------------------------------------------------------------------------------------------ the parent's side

LOADED = {
    "event": "loaded",
    "runtime": "r",
    "version": "1",
    "package": "p",
    "providers": ["CPU"],
    "threads": 2,
    "load_ns": 5,
    "first_ns": 6,
    "warmup_runs": 7,
    "before_load_bytes": 8,
    "input": "sample",
}


def test_a_loaded_line_becomes_what_really_ran() -> None:
    loaded = contract.parse_loaded(json.dumps(LOADED | {"delegated_nodes": 3, "nodes": 4, "new_field": 1}))
    assert (loaded.used.providers, loaded.used.delegated_nodes, loaded.used.nodes) == (("CPU",), 3, 4)
    assert (loaded.load_ns, loaded.first_ns, loaded.warmup_runs) == (5, 6, 7)
    assert contract.parse_loaded(json.dumps(LOADED)).used.settings == {}


@pytest.mark.parametrize("key", ["runtime", "providers", "load_ns", "input"])
def test_a_loaded_line_that_lacks_something_is_refused(key: str) -> None:
    with pytest.raises(WorkerFailed, match="'loaded' line is incomplete"):
        contract.parse_loaded(json.dumps({k: v for k, v in LOADED.items() if k != key}))


def test_an_error_line_is_raised_with_its_message() -> None:
    line = '{"event": "error", "message": "the graph has 2 inputs"}'
    for parse in (contract.parse_loaded, contract.parse_slice, contract.parse_outputs):
        with pytest.raises(WorkerFailed, match="the graph has 2 inputs"):
            parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
        "",
        "{",
        "[1]",
        '{"event": "loaded"}',
        '{"event": "slice", "run_ns": [], "cpu_ns": 1, "peak_rss_bytes": 1}',
        '{"event": "slice", "run_ns": ["x"], "cpu_ns": 1, "peak_rss_bytes": 1}',
    ],
)
def test_anything_else_than_a_slice_is_refused(line: str) -> None:
    with pytest.raises(WorkerFailed):
        contract.parse_slice(line)


NODE = {"name": "n", "op": "Conv", "output": "f 1", "provider": "cpu", "run_ns": [1, 2], "count": 1}
PROFILE = {
    "event": "profile",
    "run_ns": [3],
    "nodes": [NODE],
    "placed": [NODE | {"run_ns": []}],
    "absent": "",
}


def test_a_profile_is_read_past_what_libraries_print() -> None:
    found = contract.parse_profile(outputs_text("INFO: hello", LOADED, "W0000 warning", PROFILE))
    assert (found.used.providers, found.run_ns, found.absent) == (("CPU",), (3,), "")
    assert (found.nodes[0].run_ns, found.placed[0].run_ns) == ((1, 2), ())


@pytest.mark.parametrize(
    ("answers", "part"),
    [
        ((), "ended before it was done"),
        ((LOADED,), "ended before it was done"),
        ((PROFILE,), "'profile' instead of 'loaded'"),
        ((LOADED, {"event": "error", "message": "out of memory"}), "out of memory"),
        ((LOADED, PROFILE | {"nodes": [{"name": "n"}]}), "incomplete"),
        ((LOADED, PROFILE | {"nodes": []}), "contradicts itself"),
        ((LOADED, PROFILE | {"absent": "no profiler"}), "contradicts itself"),
        ((LOADED, PROFILE | {"nodes": [NODE | {"run_ns": []}]}), "contradicts itself"),
        ((LOADED, PROFILE | {"nodes": [NODE, NODE | {"run_ns": [1]}]}), "contradicts itself"),
        ((LOADED, PROFILE | {"run_ns": []}), "contradicts itself"),
    ],
)
def test_a_profile_that_is_none_is_refused(answers: tuple[dict[str, Any], ...], part: str) -> None:
    with pytest.raises(WorkerFailed, match=part):
        contract.parse_profile(outputs_text(*answers))


@given(st.text())
@settings(deadline=None)
def test_no_text_is_taken_for_an_answer_by_accident(line: str) -> None:
    assert contract.answer(line) is None


def outputs_text(*answers: dict[str, Any] | str) -> str:
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in answers)


def test_outputs_are_read_past_what_libraries_print() -> None:
    text = outputs_text(
        "INFO: hello",
        LOADED,
        {"event": "outputs", "first": 0, "rows": [[1], [2]]},
        "W0000 warning",
        {"event": "outputs", "first": 2, "rows": [[3]]},
        {"event": "scored", "n": 3, "invoke_ns": 10, "pass_ns": 11},
    )
    outputs = contract.parse_outputs(text)
    assert (outputs.rows, outputs.invoke_ns, outputs.pass_ns) == (((1.0,), (2.0,), (3.0,)), 10, 11)


@pytest.mark.parametrize(
    "answers",
    [
        (LOADED,),
        ({"event": "outputs", "first": 1, "rows": [[1]]},),
        (
            {"event": "outputs", "first": 0, "rows": [[1]]},
            {"event": "scored", "n": 2, "invoke_ns": 1, "pass_ns": 1},
        ),
        ({"event": "outputs", "first": 0, "rows": [["x"]]},),
        ({"event": "scored", "n": 0},),
        ({"event": "scored", "n": 0, "invoke_ns": 1, "pass_ns": 1, "outputs": [{"name": "y"}]},),
    ],
    ids=["nothing", "gap", "too few", "no number", "incomplete", "no shape"],
)
def test_outputs_with_a_hole_are_refused(answers: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(WorkerFailed):
        contract.parse_outputs(outputs_text(*answers))


def test_options_become_flags() -> None:
    runtime = contract.PythonWorker("n", ("onnx",), "some.module")
    assert runtime.command(
        "f.onnx", mode="serve", threads=2, options={"warmup_runs": 5, "samples": "s.npy"}
    ) == [
        *(sys.executable, "-m", "some.module", "--mode", "serve", "--artifact", "f.onnx", "--threads", "2"),
        *("--warmup-runs", "5", "--samples", "s.npy"),
    ]
