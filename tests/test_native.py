from __future__ import annotations

import json
from typing import Any

import pytest

from swapbench.errors import MissingPackage, WorkerFailed
from swapbench.runtimes.native import adapter as native
from swapbench.runtimes.native.adapter import Clocks, NativeLiteRT, NativeOnnxRuntime, Window

CLOCKS = {"monotonic_ns": 1_000, "boottime_ns": 5_000, "realtime_ns": 9_000}
LOADED: dict[str, Any] = {
    "event": "loaded",
    "runtime": "onnxruntime",
    "version": "1.29.0",
    "package": "libonnxruntime.so",
    "providers": ["CPUExecutionProvider"],
    "settings": {"runner": "native", "api": "c-api-12"},
    "delegated_nodes": None,
    "nodes": None,
    "threads": 1,
    "load_ns": 7,
    "first_ns": 8,
    "warmup_runs": 5,
    "before_load_bytes": 4096,
    "input": "random",
    "clocks": CLOCKS,
}
WATCHED: dict[str, Any] = {
    "event": "watched",
    "what": "idle",
    "begin_ns": 11,
    "end_ns": 29,
    "rows": [[10, -310000, None], [30, -290000, 4.02]],
    "clocks": CLOCKS,
}


def line(answer: dict[str, Any], **changes: Any) -> str:
    return json.dumps(answer | changes)


# ------------------------------------------------------------------------------------------ the command line


def test_the_command_names_runner_library_and_flags_and_starts_with_the_prefix() -> None:
    runtime = NativeOnnxRuntime(
        runner="/d/runner", library="/d/libonnxruntime.so", prefix=("/d/ld.so", "--library-path", "/d")
    )
    argv = runtime.command("/d/my model.onnx", mode="serve", threads=2, options={"warmup_runs": 5, "seed": 0})
    assert argv == [
        *("/d/ld.so", "--library-path", "/d", "/d/runner", "--runtime", "onnxruntime"),
        *("--library", "/d/libonnxruntime.so", "--artifact", "/d/my model.onnx", "--mode", "serve"),
        *("--threads", "2", "--warmup-runs", "5", "--seed", "0"),
    ]


def test_cores_and_pacing_of_the_runtime_are_in_every_command_but_scoring_is_not_paced() -> None:
    runtime = NativeLiteRT(runner="r", library="l", affinity="f0", fps=15)
    timed = runtime.command("m.tflite", mode="time", threads=1, options={})
    assert timed[timed.index("--affinity") + 1] == "f0"
    assert timed[timed.index("--fps") + 1] == "15"
    scored = runtime.command("m.tflite", mode="score", threads=1, options={})
    assert "--affinity" in scored
    assert "--fps" not in scored


def test_an_accelerator_is_a_runtime_of_its_own_that_the_runner_knows_by_its_plain_name() -> None:
    runtime = NativeLiteRT(runner="r", library="l", flavour="aar", version="2.3.0").accelerated("gpu")
    argv = runtime.command("m.tflite", mode="score", threads=1, options={})
    assert argv[argv.index("--runtime") + 1] == "litert"
    assert argv[argv.index("--provider") + 1] == "gpu"
    loaded = line(LOADED, runtime="litert", version="unknown", providers=["gpu"])
    used = runtime.parse_loaded(loaded).used
    assert (runtime.name, used.runtime, used.providers, used.version) == (
        "litert-gpu",
        "litert-gpu",
        ("gpu",),
        "2.3.0",
    )


def test_the_adapters_have_the_names_and_formats_of_the_runtimes_that_they_run() -> None:
    assert (NativeOnnxRuntime().name, NativeOnnxRuntime().formats) == ("onnxruntime", ("onnx",))
    assert (NativeLiteRT().name, NativeLiteRT().formats) == ("litert", ("tflite",))


# ------------------------------------------------------------------------------------------ what really ran


def test_the_flavour_and_the_package_stand_in_what_really_ran() -> None:
    official = NativeOnnxRuntime(flavour="aar", version="1.29.0").parse_loaded(line(LOADED)).used
    bundled = NativeOnnxRuntime(flavour="bundle", package="onnxruntime").parse_loaded(line(LOADED)).used
    assert (official.package, official.settings["flavour"]) == ("onnxruntime-android", "aar")
    assert (bundled.package, bundled.settings["flavour"]) == ("onnxruntime", "bundle")
    assert official.settings["api"] == "c-api-12"
    assert official != bundled


def test_a_library_that_does_not_tell_its_version_has_the_one_that_was_pushed() -> None:
    silent = line(LOADED, runtime="litert", version="unknown")
    assert NativeLiteRT(version="2.3.0").parse_loaded(silent).used.version == "2.3.0"
    assert NativeLiteRT().parse_loaded(silent).used.version == "unknown"


def test_another_onnxruntime_than_was_pushed_is_an_error() -> None:
    with pytest.raises(WorkerFailed, match=r"runs onnxruntime 1\.29\.0 instead of 1\.31\.1"):
        NativeOnnxRuntime(version="1.31.1").parse_loaded(line(LOADED))


def test_the_runners_error_line_is_the_message() -> None:
    said = json.dumps({"event": "error", "stage": "library", "message": "cannot load the library x"})
    for parse in (NativeLiteRT().parse_loaded, NativeLiteRT().parse_slice, NativeLiteRT().parse_outputs):
        with pytest.raises(WorkerFailed, match="cannot load the library x"):
            parse(said)
    with pytest.raises(WorkerFailed, match="cannot load the library x"):
        native.parse_watched(said)


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_line_that_was_cut_short_is_no_answer(kept: int) -> None:
    for cut, parse in (
        (line(LOADED)[:kept], NativeOnnxRuntime().parse_loaded),
        (line(WATCHED)[:kept], native.parse_watched),
        (line(WATCHED)[:kept], native.parse_clocks),
    ):
        with pytest.raises(WorkerFailed, match="is not an answer"):
            parse(cut)


# ---------------------------------------------------------------------------------------- beyond the contract


def test_watched_files_are_read_with_what_was_not_readable_as_none() -> None:
    watched = native.parse_watched(line(WATCHED))
    assert (watched.what, watched.begin_ns, watched.end_ns) == ("idle", 11, 29)
    assert watched.times_ns == (10, 30)
    assert watched.values == ((-310000, None), (-290000, 4.02))
    assert watched.clocks == Clocks(1_000, 5_000, 9_000)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": []},
        {"rows": [[10, 1], [30]]},
        {"rows": [[10, "1"], [30, "2"]]},
        {"rows": [[10, True]]},
        {"rows": 3},
        {"clocks": {}},
        {"begin_ns": None},
    ],
    ids=["no rows", "ragged", "text", "truth", "no list", "no clocks", "no time"],
)
def test_an_incomplete_watched_line_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(WorkerFailed, match="'watched' line is incomplete"):
        native.parse_watched(line(WATCHED, **changes))


def test_a_moment_of_the_monotonic_clock_is_mapped_to_the_time_since_boot() -> None:
    clocks = native.parse_clocks(line(LOADED))
    assert clocks.boottime_of(1_000) == 5_000
    assert clocks.boottime_of(1_250) == 5_250


def test_a_slice_tells_when_it_ran_and_which_frames_it_lost() -> None:
    said = {"event": "slice", "run_ns": [5], "cpu_ns": 5, "peak_rss_bytes": 1, "begin_ns": 2, "end_ns": 9}
    assert native.parse_window(json.dumps(said)) == Window(2, 9, None)
    assert native.parse_window(json.dumps(said | {"late_frames": 3})) == Window(2, 9, 3)
    assert NativeLiteRT().parse_slice(json.dumps(said)).run_ns == (5,)
    with pytest.raises(WorkerFailed, match="'slice' line is incomplete"):
        native.parse_window(json.dumps({"event": "slice", "begin_ns": 2}))


def test_a_runtime_that_is_not_installed_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="needs the package ai-edge-litert"):
        native.installed_library("litert")
