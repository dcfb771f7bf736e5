"""benchmark_model: every form of what it prints, what a delegate took, and rounds of its processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from swapbench.bench.speed import Timed, ToolUnderTest, measure_tool_speed
from swapbench.errors import UserError, WorkerFailed
from swapbench.ports import Finished
from swapbench.records import Plan, ToolSummary
from swapbench.runtimes.benchmark_model import BenchmarkModel, Coverage, coverage, report
from swapbench.testing import Fake, FakeClock

if TYPE_CHECKING:
    from collections.abc import Sequence

TODAY = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [50]
INFO: Num threads: [2]
INFO: Graph: [toyfas.tflite]
INFO: Signature to run: []
INFO: #threads used for CPU inference: [2]
INFO: Loaded model toyfas.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 1.73412
INFO: Initialized session in 4.217ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=161 first=3302 curr=3049 min=2987 max=9120 avg=3101.44 std=611 p5=2999 median=3051 p95=3390

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=324 first=3055 curr=3031 min=2980 max=8744 avg=3077.2 std=402 p5=2995 median=3040 p95=3217

INFO: Inference timings in us: Init: 4217, First inference: 3302, Warmup (avg): 3101.44, Inference (avg): 3077.2
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE.
INFO: Memory footprint delta from the start of the tool (MB): init=6.25 overall=9.51172
INFO: Overall peak memory footprint (MB) via periodic monitoring: 41.6406
INFO: Memory status at the end of exeution:
INFO: - VmRSS              : 17 MB
"""  # noqa: E501 - as the tool prints it
VENDOR = """\
INFO: Num threads: [1]
INFO: Initialized session in 120.455ms.
INFO: count=1 curr=884210
INFO: count=50 first=861020 curr=859933 min=858001 max=990412 avg=862377 std=20114
"""
LOGCAT = """\
03-14 09:26:53.118 I/tflite  ( 7412): #threads used for CPU inference: [4]
03-14 09:26:53.118 I/tflite  ( 7412): Replacing 204 out of 219 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 5 partitions for subgraph 0.
03-14 09:26:54.001 I/tflite  ( 7412): Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
03-14 09:26:55.902 I/tflite  ( 7412): count=1 curr=1870233 p5=1870233 median=1870233 p95=1870233
03-14 09:26:55.903 I/tflite  ( 7412): Running benchmark for at least 10 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
03-14 09:27:14.376  7412  7412 I tflite  : count=10 first=1.84e+06 curr=1.85e+06 min=1.8e+06 max=1.9e+06 avg=1.84417e+06 std=20000 p5=1.81e+06 median=1.84001e+06 p95=1.89e+06
03-14 09:27:14.377 I/tflite  ( 7412): Inference timings in us: Init: 120455, First inference: 1870233, Warmup (avg): 1.87023e+06, Inference (avg): 1.84417e+06
03-14 09:27:14.377  7412  7412 I tflite  : Memory footprint delta from the start of the tool (MB): init=88.25 overall=104
"""  # noqa: E501 - as logcat shows it
LEGACY = "Average inference timings in us: Warmup: 70112, Init: 20871, Inference: 68044.5\n"
PROFILE = """\
type 7 str MeanAxis1
INFO: Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
[node type] [start] [first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]
Convolution (NHWC, F32) IGEMM,0.21,0.2044,9.1%,9.1%,0,1,Delegate/Convolution (NHWC, F32) IGEMM:0
Timings (microseconds): count=50 first=2047 curr=1999 min=1900 max=2100 avg=2000 std=9
Memory (bytes): count=0
31 nodes observed
"""


def test_the_form_of_today_is_read_block_by_block() -> None:
    said = report(TODAY)
    assert said.summary == ToolSummary(
        runs=324,
        mean_ns=3_077_200,
        sd_ns=402_000,
        min_ns=2_980_000,
        p05_ns=2_995_000,
        median_ns=3_040_000,
        p95_ns=3_217_000,
        max_ns=8_744_000,
    )
    # the first inference is the first run of the warm-up
    assert (said.init_ns, said.first_ns, said.warmup_runs, said.threads) == (4_217_000, 3_302_000, 161, 2)


def test_a_form_without_percentiles_has_a_mean_only() -> None:
    said = report(VENDOR)
    assert said.summary == ToolSummary(
        runs=50,
        mean_ns=862_377_000,
        sd_ns=20_114_000,
        min_ns=858_001_000,
        max_ns=990_412_000,
    )
    assert (said.init_ns, said.first_ns, said.warmup_runs, said.threads) == (120_455_000, 884_210_000, 1, 1)


def test_logcat_in_both_layouts_and_exponents_are_read() -> None:
    said = report(LOGCAT)
    assert (said.summary.median_ns, said.summary.mean_ns) == (1_840_010_000, 1_844_170_000)
    assert (said.summary.runs, said.warmup_runs, said.first_ns, said.threads) == (10, 1, 1_870_233_000, 4)


@pytest.mark.parametrize("text", [LEGACY, LEGACY.replace("Inference:", "no stats:"), f"INFO: {LEGACY}"])
def test_the_oldest_form_tells_averages_only(text: str) -> None:
    said = report(text)
    assert said.summary == ToolSummary(mean_ns=68_044_500)
    assert (said.init_ns, said.first_ns, said.warmup_runs) == (20_871_000, None, None)


def test_a_profile_of_operators_and_foreign_lines_do_not_disturb() -> None:
    assert report(TODAY + PROFILE) == report(PROFILE + TODAY) == report(TODAY)


def test_runs_that_all_took_the_same_time_are_told_by_one_number() -> None:
    text = TODAY.replace(
        "count=324 first=3055 curr=3031 min=2980 max=8744 avg=3077.2 std=402 p5=2995 median=3040 p95=3217",
        "count=4 curr=12(all same)",
    )
    summary = report(text).summary
    assert (summary.runs, summary.min_ns, summary.median_ns, summary.max_ns) == (4, 12_000, 12_000, 12_000)


def test_without_a_warm_up_the_first_inference_is_the_first_timed_run() -> None:
    kept = [line for line in TODAY.splitlines() if "count=161" not in line]
    place = next(i for i, line in enumerate(kept) if "at least 1 iterations" in line)
    said = report("\n".join([*kept[: place + 1], "INFO: count=0", *kept[place + 1 :]]))
    assert (said.warmup_runs, said.first_ns) == (0, 3_055_000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "printed no times"),
        (TODAY.replace("count=324 ", "count=0 "), "did not time any run"),
        ("ERROR: Failed to load model x.tflite\nERROR: Benchmarking failed.\n", "Failed to load model"),
        (TODAY[: TODAY.index("INFO: count=324")], "printed no times"),
    ],
)
def test_what_timed_nothing_is_an_error_with_the_last_words(text: str, says: str) -> None:
    with pytest.raises(WorkerFailed, match=says):
        report(text)


# ---------------------------------------------------------------------------------------------- delegates

NNAPI_ALL = (
    "VERBOSE: Replacing 17 out of 17 node(s) with delegate (TfLiteNnapiDelegate) node, "
    "yielding 1 partitions for the whole graph.\n"
)
GPU_PART = (
    "INFO: Replacing 60 out of 64 node(s) with delegate (TfLiteGpuDelegateV2) node, "
    "yielding 3 partitions for subgraph 0.\n"
    "INFO: Replacing 2 out of 5 node(s) with delegate (TfLiteXNNPackDelegate) node, "
    "yielding 3 partitions for subgraph 0.\n"
)
APPLIED = "INFO: Explicitly applied {} delegate, and the model graph will be {} executed by the delegate{}.\n"
GPU_WHOLE = APPLIED.format("GPU", "completely", "")
NNAPI_KERNELS = APPLIED.format("NNAPI", "partially", " w/ 4 delegate kernels")
GPU_NONE = (
    "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
)


@pytest.mark.parametrize(
    ("text", "delegate", "expected"),
    [
        (NNAPI_ALL, "nnapi", Coverage("all", 17, 17)),
        (NNAPI_ALL, "gpu", Coverage()),
        (GPU_PART, "gpu", Coverage("part", 60, 64)),
        (GPU_PART, "xnnpack", Coverage("part", 2, 5)),
        (LOGCAT, "xnnpack", Coverage("part", 204, 219)),
        (GPU_WHOLE, "gpu", Coverage("all")),
        (NNAPI_KERNELS, "nnapi", Coverage("part")),
        (GPU_NONE, "gpu", Coverage("none")),
        (GPU_WHOLE, "cpu", Coverage()),
        (TODAY, "xnnpack", Coverage()),
    ],
)
def test_what_a_delegate_took_is_read(text: str, delegate: Any, expected: Coverage) -> None:
    assert coverage(text, delegate) == expected


COMPILED = """\
INFO: Num threads: [1]
INFO: [litert/tools/benchmark_litert_model.cc:102] Loading model from: /data/local/tmp/swapbench/net.tflite
INFO: [cpu_registry.cc:42] CPU accelerator registered.
VERBOSE: Replacing {} out of 476 node(s) with delegate ({}) node, yielding 1 partitions for subgraph 0{}.
INFO: Initialized session in 10.2ms.
INFO: Running benchmark for at least 1 iterations and at least 0.05 seconds but terminate if exceeding 150 seconds.
INFO: count=40 first=3294 curr=1259 min=1134 max=3294 avg=1258.19 std=333 p5=1140 median=1250 p95=1400
INFO: Running benchmark for at least 10 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=750 first=1284 curr=1185 min=1178 max=1364 avg=1216.76 std=32 p5=1180 median=1210 p95=1300
INFO: [benchmark_litert_model.h:100] Inference (avg):      1.22 ms (750 runs)
"""  # noqa: E501 - as the tool prints it
ON_CPU = COMPILED.format(470, "TfLiteXNNPackDelegate", "")
ON_GPU = COMPILED.format(476, "LITERT_CL", "")
NO_GPU = (
    "INFO: [litert/runtime/accelerators/auto_registration.cc:59] GPU accelerator could not be dynamically "
    "loaded and registered: ERROR: [litert/runtime/accelerators/auto_registration.cc:92]\n"
)
UNKNOWN_FLAGS = "WARN: Unconsumed cmdline flags: --use_nnapi=true --disable_nnapi_cpu=true\n"


@pytest.mark.parametrize(
    ("text", "delegate", "expected"),
    [
        (ON_GPU, "gpu", Coverage("all", 476, 476)),
        (COMPILED.format(476, "LITERT_WEBGPU", " (main)"), "gpu", Coverage("all", 476, 476)),
        (COMPILED.format(2, "DispatchDelegate", " (serving_default)"), "npu", Coverage("part", 2, 476)),
        (ON_CPU, "gpu", Coverage()),
        (ON_GPU, "npu", Coverage()),
        (COMPILED.format(470, "TfLiteXNNPackDelegate", " (main)"), "xnnpack", Coverage("part", 470, 476)),
    ],
)
def test_what_an_accelerator_of_compiled_model_took_is_read(
    text: str, delegate: Any, expected: Coverage
) -> None:
    assert coverage(text, delegate) == expected


@pytest.mark.parametrize("delegate", ["gpu", "npu", "nnapi"])
@pytest.mark.parametrize("require_full", [False, True])
def test_times_of_nobody_knows_what_are_not_taken_for_those_of_an_accelerator(
    delegate: Any, require_full: bool
) -> None:
    api: Any = "delegates" if delegate == "nnapi" else "CompiledModel"
    tool = BenchmarkModel("b", delegate, require_full=require_full, api=api)
    with pytest.raises(WorkerFailed, match=f"does not say what the {delegate} delegate took"):
        tool.parse_run(Finished(ON_CPU, "", 0))


@pytest.mark.parametrize(
    ("delegate", "text", "says"),
    [
        ("gpu", NO_GPU + ON_CPU, "could not be dynamically loaded and registered"),
        ("gpu", "WARN: GPU delegate could not be loaded: libOpenCL.so\n" + TODAY, "libOpenCL.so"),
        ("nnapi", UNKNOWN_FLAGS + ON_CPU, "does not know --use_nnapi=true --disable_nnapi_cpu=true"),
        ("xnnpack", "WARN: Unconsumed cmdline flags: --use_xnnpack=true\n" + ON_CPU, "--use_xnnpack=true"),
        ("gpu", "03-14 09:26:53.118 I/tflite  ( 7412): " + UNKNOWN_FLAGS + GPU_WHOLE + TODAY, "nnapi"),
    ],
)
def test_a_tool_that_cannot_do_what_it_was_told_is_a_failure(delegate: Any, text: str, says: str) -> None:
    with pytest.raises(WorkerFailed, match=f"not the {delegate} delegate that .* timed: .*{says}"):
        BenchmarkModel("b", delegate).parse_run(Finished(text, "", 0))


def test_an_accelerator_that_is_not_there_does_not_matter_to_the_processor() -> None:
    run = BenchmarkModel("b", "xnnpack", api="CompiledModel").parse_run(Finished(NO_GPU + ON_CPU, "", 0))
    assert (run.used.providers, run.used.delegated_nodes) == (("xnnpack", "builtin"), 470)
    assert run.used.settings["api"] == "CompiledModel"


def test_a_whole_graph_on_the_gpu_of_compiled_model() -> None:
    tool = BenchmarkModel("b", "gpu", require_full=True, api="CompiledModel")
    run = tool.parse_run(Finished(ON_GPU, "", 0))
    assert (run.used.providers, run.used.nodes) == (("gpu",), 476)
    assert (run.summary.median_ns, run.load_ns, run.first_ns) == (1_210_000, 10_200_000, 3_294_000)
    # that API computes as its own options say, not as the delegate's
    assert "gpu_precision_loss_allowed" not in run.used.settings


@pytest.mark.parametrize(
    ("delegate", "require_full", "flags"),
    [
        ("xnnpack", False, ["--use_cpu=true"]),
        ("xnnpack", True, ["--use_cpu=true"]),
        ("gpu", False, ["--use_gpu=true"]),
        ("gpu", True, ["--use_gpu=true", "--use_cpu=false", "--require_full_delegation=true"]),
        ("npu", True, ["--use_npu=true", "--use_cpu=false", "--require_full_delegation=true"]),
    ],
)
def test_the_program_of_compiled_model_is_told_what_it_understands(
    delegate: Any, require_full: bool, flags: Sequence[str]
) -> None:
    tool = BenchmarkModel("./bm", delegate, require_full=require_full, api="CompiledModel")
    argv = tool.command("a.tflite", threads=2, options={})
    assert argv[-len(flags) :] == flags
    assert [word for word in argv if word.startswith(("--use_", "--require"))] == flags


@pytest.mark.parametrize(
    ("api", "delegate", "has"),
    [
        ("CompiledModel", "nnapi", "xnnpack, gpu, npu"),
        ("CompiledModel", "cpu", "xnnpack, gpu, npu"),
        ("delegates", "npu", "cpu, xnnpack, gpu, nnapi"),
    ],
)
def test_a_delegate_that_a_program_does_not_have_is_refused_before_it_runs(
    api: Any, delegate: Any, has: str
) -> None:
    with pytest.raises(UserError, match=f"has no delegate {delegate}. Choose {has}"):
        BenchmarkModel("b", delegate, api=api)


@pytest.mark.parametrize("escape", ["\x1b[A", "\x1b[0;32m", "\x1b]0;title\x07", "\x1bM", "\x1b[2K\x1b[1G"])
def test_control_sequences_of_a_terminal_do_not_disturb(escape: str) -> None:
    marked = "".join(f"{escape}{line}\x1b[0m\n" for line in TODAY.splitlines())
    assert report(marked) == report(TODAY)
    assert coverage(f"{escape}{GPU_WHOLE}", "gpu") == Coverage("all")


def test_the_nodes_of_several_subgraphs_are_added_up() -> None:
    second = GPU_PART.replace("subgraph 0", "subgraph 1").replace("60 out of 64", "6 out of 6")
    assert coverage(GPU_PART + second, "gpu") == Coverage("part", 66, 70)


def test_a_partial_delegation_is_visible_in_what_ran() -> None:
    run = BenchmarkModel("./bm", "gpu").parse_run(Finished(GPU_PART + TODAY, "", 0))
    assert (run.used.delegated_nodes, run.used.nodes) == (60, 64)
    assert run.used.providers == ("gpu", "builtin")
    assert run.used.settings["delegated"] == "60 of 64 nodes"
    assert run.used.settings["gpu_precision_loss_allowed"] == "true"
    assert (run.used.threads, run.input) == (2, "random")


def test_a_partial_delegation_without_counts_is_visible_too() -> None:
    run = BenchmarkModel("./bm", "nnapi").parse_run(Finished(NNAPI_KERNELS + TODAY, "", 0))
    assert (run.used.providers, run.used.settings["delegated"]) == (
        ("nnapi", "builtin"),
        "a part of the graph",
    )


def test_a_whole_delegation_and_the_processor_alone_have_one_provider() -> None:
    assert BenchmarkModel("./bm", "gpu").parse_run(Finished(GPU_WHOLE + TODAY, "", 0)).used.providers == (
        "gpu",
    )
    used = BenchmarkModel("./bm", "cpu").parse_run(Finished(TODAY, "", 0)).used
    assert (used.providers, "delegated" in used.settings) == (("builtin",), False)


@pytest.mark.parametrize(
    ("tool", "finished", "says"),
    [
        (BenchmarkModel("b", "gpu"), Finished(GPU_NONE + TODAY, "", 0), "took no node of the graph"),
        (BenchmarkModel("b", "gpu", require_full=True), Finished(GPU_PART + TODAY, "", 0), "60 of 64 nodes"),
        (
            BenchmarkModel("b", "gpu", require_full=True),
            Finished(GPU_PART, "ERROR: Disallowed CPU fallback detected.\nERROR: Benchmarking failed.\n", 1),
            "took 60 of 64 nodes, but the whole graph is required",
        ),
        (
            BenchmarkModel("b"),
            Finished("", "ERROR: Could not open 'x'.\nERROR: Benchmarking failed.\n", 1),
            "ended with 1: Could not open 'x'",
        ),
        (BenchmarkModel("b"), Finished("", "", 1), "no output"),
        (BenchmarkModel("b"), Finished(LEGACY, "", 0), "does not report its load time"),
        (BenchmarkModel("b"), Finished(TODAY, "", 127), "ended with 127"),
    ],
)
def test_a_process_that_did_not_do_what_was_asked_is_an_error(
    tool: BenchmarkModel, finished: Finished, says: str
) -> None:
    with pytest.raises(WorkerFailed, match=says):
        tool.parse_run(finished)


def test_a_whole_graph_satisfies_the_one_who_requires_it() -> None:
    run = BenchmarkModel("b", "nnapi", require_full=True).parse_run(Finished(NNAPI_ALL + TODAY, "", 0))
    assert (run.used.delegated_nodes, run.used.nodes) == (17, 17)


@pytest.mark.parametrize(
    ("delegate", "flags"),
    [
        ("cpu", ["--use_xnnpack=false"]),
        ("xnnpack", ["--use_xnnpack=true"]),
        ("gpu", ["--use_gpu=true"]),
        ("nnapi", ["--use_nnapi=true", "--disable_nnapi_cpu=true"]),
    ],
)
def test_every_delegate_has_its_flags(delegate: Any, flags: Sequence[str]) -> None:
    argv = BenchmarkModel("./bm", delegate).command("a b.tflite", threads=2, options={})
    assert argv[:3] == ["./bm", "--graph=a b.tflite", "--num_threads=2"]
    assert [word for word in argv if word.startswith("--use_") or "disable" in word] == flags


def test_the_command_takes_times_in_seconds_and_what_starts_it() -> None:
    tool = BenchmarkModel(
        "./bm", prefix=("taskset", "f0"), require_full=True, settings={"nnapi_allow_fp16": "true"}
    )
    argv = tool.command(
        "m", threads=1, options={"warmup_runs": 5, "warmup_ns": 50_000_000, "timed_ns": 160_000_000}
    )
    assert argv[:3] == ["taskset", "f0", "./bm"]
    for flag in ("--warmup_runs=5", "--warmup_min_secs=0.05", "--min_secs=0.16", "--num_runs=10"):
        assert flag in argv
    assert argv[-1] == "--require_full_delegation=true"
    assert "--nnapi_allow_fp16=true" in argv


# ---------------------------------------------------------------------------------------------- rounds


@dataclass
class ToolDevice(Fake):
    """A device on which every process of a tool prints the next of its texts; the last is said again."""

    texts: dict[str, list[str]] = field(default_factory=dict)

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        del timeout_s
        self.asked.append(tuple(argv))
        self.clock.work(10**9)
        graph = next(word.removeprefix("--graph=") for word in argv if word.startswith("--graph="))
        said = self.texts[graph]
        text = said.pop(0) if len(said) > 1 else said[0]
        return Finished(text, "", 0 if text else 1)


def timed(median_us: int, text: str = TODAY) -> str:
    return text.replace("median=3040", f"median={median_us}")


def device(**texts: list[str]) -> ToolDevice:
    return ToolDevice({}, FakeClock(), texts=texts)


def measured(device: ToolDevice, **plan: Any) -> dict[str, Any]:
    files = [ToolUnderTest(name, name, BenchmarkModel("./bm")) for name in device.texts]
    return measure_tool_speed(files, device, Plan(**plan), clock=device.clock.seconds)


def test_the_median_of_every_process_is_one_sample() -> None:
    found = measured(device(a=[timed(us) for us in (3000, 3010, 2990, 3000, 3000, 3000)]))["a"]
    assert isinstance(found, Timed)
    assert [one.slices_ns for one in found.speed.workers] == [
        ((3_000_000,),),
        ((3_010_000,),),
        ((2_990_000,),),
        *[((3_000_000,),)] * 3,
    ]
    assert (found.speed.sample, found.speed.stopped, found.speed.input) == (
        "process median",
        "target",
        "random",
    )
    worker = found.speed.workers[0]
    assert (worker.load_ns, worker.first_ns, worker.warmup_runs) == (4_217_000, 3_302_000, 161)
    assert worker.cpu_ns is None  # the tool does not tell, and 0 would be a claim
    assert worker.summary is not None
    assert (worker.summary.runs, worker.summary.p95_ns) == (324, 3_217_000)


def test_where_only_a_mean_is_told_the_sample_says_so() -> None:
    found = measured(device(a=[VENDOR]))["a"]
    assert (found.speed.sample, found.speed.workers[0].slices_ns) == ("process mean", ((862_377_000,),))


def test_processes_that_disagree_are_repeated_until_the_rounds_are_done() -> None:
    found = measured(device(a=[timed(us) for us in (3000, 4000) * 4]), max_rounds=8)["a"]
    assert (len(found.speed.workers), found.speed.stopped) == (8, "rounds")


def test_every_round_runs_each_file_once_in_an_order_of_its_own() -> None:
    phone = device(a=[TODAY], b=[TODAY], c=[TODAY])
    measured(phone)
    graphs = [argv[1].removeprefix("--graph=") for argv in phone.asked]
    rounds = [graphs[at : at + 3] for at in range(0, len(graphs), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_a_file_that_fails_is_an_error_and_the_others_go_on() -> None:
    found = measured(device(good=[TODAY], bad=[TODAY, ""]))
    assert isinstance(found["bad"], WorkerFailed)
    assert len(found["good"].speed.workers) == 6


def test_another_coverage_in_a_later_round_is_an_error() -> None:
    less = LOGCAT.replace("204 out of 219", "10 out of 219")
    found = measured(device(a=[LOGCAT, less]))["a"]
    assert isinstance(found, WorkerFailed)
    assert "ran differently in round 2" in str(found)


def test_two_files_of_one_name_are_refused() -> None:
    phone = device(a=[TODAY])
    twice = [ToolUnderTest("a", "a", BenchmarkModel("./bm"))] * 2
    with pytest.raises(ValueError, match="have the same name"):
        measure_tool_speed(twice, phone, Plan())
