"""A run on several kinds of cores: what a person types, and how the files of each kind are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapbench.bench.experiment import ModelUnderTest
from swapbench.commands.options import DeviceOptions
from swapbench.commands.place import Cluster
from swapbench.errors import UnknownName, UserError
from swapbench.modelfile import Graph, Tensor
from swapbench.ports import Finished
from swapbench.records import Absent, Variant
from swapbench.runtimes.benchmark_model import BenchmarkModel
from swapbench.runtimes.native.adapter import NativeLiteRT

TIMED = """INFO: #threads used for CPU inference: [1]
INFO: Initialized session in 4.2ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds \
but terminate if exceeding 150 seconds.
INFO: count=161 first=3302 curr=3049 min=2987 max=9120 avg=3101.44 std=611 p5=2999 median=3051 p95=3390
INFO: Running benchmark for at least 50 iterations and at least 1 seconds \
but terminate if exceeding 150 seconds.
INFO: count=324 first=3055 curr=3031 min=2980 max=8744 avg=3077.2 std=402 p5=2995 median=3040 p95=3217
"""


def under_test(tool: BenchmarkModel | None = None) -> ModelUnderTest:
    graph = Graph(
        format="tflite",
        inputs=(Tensor("x", (1, 2, 2, 3), "float32"),),
        outputs=(Tensor("p", (1, 2), "float32"),),
        file_bytes=1,
        params=1,
        macs=1,
        ops={},
        uncounted_ops=(),
        precision="fp32",
        layout="nhwc",
    )
    variant = Variant(net="net", precision="fp32", format="tflite")
    runtime = NativeLiteRT(runner="runner", library="lib.so")
    return ModelUnderTest(
        variant, Path("net.tflite"), "0" * 64, graph, runtime, None, Absent(absent="x"), tool=tool
    )


def test_kinds_of_cores_are_typed_with_commas_or_swept() -> None:
    assert DeviceOptions.of("pixel7").cores == ()
    assert DeviceOptions.of("pixel7", cores="big").cores == ("big",)
    assert DeviceOptions.of("pixel7", cores="big, little,big").cores == ("big", "little")
    sweep = DeviceOptions.of("pixel7", cores="sweep")
    assert (sweep.cores, sweep.sweep) == ((), True)


@pytest.mark.parametrize("typed", ["", " ", ",", "sweep,big"])
def test_what_is_no_choice_of_cores_is_refused(typed: str) -> None:
    with pytest.raises(UserError, match="is not a valid choice of cores"):
        DeviceOptions.of("pixel7", cores=typed)


def test_an_unknown_kind_of_cores_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean little"):
        DeviceOptions.of("pixel7", cores="big,litle")


def test_a_file_on_some_cores_is_bound_to_them_and_has_a_record_of_its_own() -> None:
    free = under_test()
    big, little = (Cluster(kind, mask).pinned(free) for kind, mask in (("big", "c0"), ("little", "f")))  # type: ignore[arg-type]
    assert [one.record_id for one in (free, big, little)] == [
        "net.tflite-litert-00000000",
        "net.tflite-litert-big-00000000",
        "net.tflite-litert-little-00000000",
    ]
    argv = big.runtime.command("net.tflite", mode="time", threads=1, options={})
    assert argv[argv.index("--affinity") + 1] == "c0"
    assert "--affinity" not in free.runtime.command("net.tflite", mode="time", threads=1, options={})
    assert big.runtime.parse_loaded(
        '{"event":"loaded","runtime":"litert","version":"2","package":"lib.so","providers":["XNNPACK"],'
        '"settings":{"affinity":"c0"},"delegated_nodes":1,"nodes":1,"threads":1,"load_ns":1,"first_ns":1,'
        '"warmup_runs":0,"before_load_bytes":1,"input":"random"}'
    ).used.settings == {"affinity": "c0", "flavour": "aar", "cores": "big"}


def test_a_tool_is_bound_too_and_says_so_in_the_same_words() -> None:
    pinned = Cluster("big", "c0").pinned(
        under_test(BenchmarkModel("./bm", "cpu", name="benchmark_model-cpu"))
    )
    assert pinned.record_id == "net.tflite-benchmark_model-cpu-big-00000000"
    assert isinstance(pinned.tool, BenchmarkModel)
    assert pinned.tool.command("net.tflite", threads=1, options={})[:3] == ["taskset", "c0", "./bm"]
    settings = pinned.tool.parse_run(Finished(TIMED, "", 0)).used.settings
    assert (settings["cores"], settings["affinity"]) == ("big", "c0")
