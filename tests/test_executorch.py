"""ExecuTorch: what its worker needs and says without it; with it, export and worker of one small network."""

from __future__ import annotations

import json
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import skip_without
from tiny_pte import Table, flatbuffer, small_pte

from swapbench.errors import UserError
from swapbench.modelfile import read_graph
from swapbench.runtimes import contract
from swapbench.runtimes import executorch as worker
from swapbench.runtimes.executorch_profile import executed
from swapbench.runtimes.feed import Unusable
from swapbench.runtimes.worker import work

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = '{"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}'


def said(*argv: str) -> tuple[int, list[dict[str, Any]]]:
    out = StringIO()
    status = work(["--warmup-ns", "0", *argv], worker.open_backend, StringIO('{"runs": 2}\n'), out)
    return status, [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_adapter_names_its_worker_and_its_format() -> None:
    runtime = worker.ExecuTorch()
    argv = runtime.command("m.pte", mode="time", threads=1, options={})
    assert argv[1:3] == ["-m", "swapbench.runtimes.executorch"]
    assert (runtime.name, runtime.formats) == ("executorch", ("executorch",))
    assert "swapbench runtimes add executorch" in runtime.advice


@pytest.mark.parametrize("missing", ["executorch", "torch"])
def test_without_the_packages_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1")
    monkeypatch.setitem(sys.modules, "torch", None if missing == "torch" else sys)
    monkeypatch.setitem(sys.modules, "executorch", None)
    (tmp_path / "m.pte").write_bytes(small_pte())
    status, answers = said("--artifact", str(tmp_path / "m.pte"))
    assert status == 1
    wanted = f"{missing} is not installed; install it with: pip install executorch torch"
    assert answers[-1]["message"] == wanted


def trace(*runs: list[tuple[str, str, int]]) -> bytes:
    """What ExecuTorch writes of runs, whose events are (name, name inside a delegate, time in ns)."""

    def event(name: str, inside: str, took_ns: int) -> Table:
        return Table({0: Table({0: name, 4: inside, 6: ("Q", 1000), 7: ("Q", 1000 + took_ns)})})

    blocks = [Table({0: "Execute", 3: [event(*one) for one in run]}) for run in runs]
    return bytes(4) + flatbuffer(Table({1: [Table({0: "Default"}), *blocks]}), b"ED00")


def test_a_trace_gives_each_operator_its_time_in_every_run_after_the_warm_up() -> None:
    runs = [
        [
            ("", "Convolution (NHWC, F32) IGEMM #1", 7000 + run),
            ("", "PReLU (ND) #1", 1000),
            ("DELEGATE_CALL", "", 9000),
            ("native_call_mean.out", "", 500),
            ("Method::execute", "", 10_000),
        ]
        for run in range(4)
    ]
    found = executed(trace(*runs), 3)
    assert [(one.op, one.provider, one.run_ns) for one in found] == [
        ("Convolution (NHWC, F32)", "xnnpack", [7001, 7002, 7003]),
        ("PReLU (ND)", "xnnpack", [1000] * 3),
        ("mean.out", "builtin", [500] * 3),
    ]
    with pytest.raises(Unusable, match="changed from run to run"):
        executed(trace(runs[0], runs[1][1:]), 2)
    with pytest.raises(Unusable, match="lacks runs"):
        executed(trace(runs[0]), 2)
    with pytest.raises(Unusable, match="unknown format"):
        executed(trace(*runs)[:40], 2)


# ---------------------------------------------------------------------------------- with it, and with PyTorch


@pytest.fixture(scope="module")
def network() -> Any:
    torch = pytest.importorskip("torch")
    skip_without("executorch")
    nn = torch.nn

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.PReLU(4)
            self.middle, self.head = nn.Conv2d(4, 64, 1), nn.Linear(64, 2)

        def forward(self, images: Any) -> Any:
            x = nn.functional.relu(self.middle(self.act(self.norm(self.conv(images)))))
            return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))

    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def base(network: Any) -> bytes:
    from swapbench.workshop.export import to_executorch

    return to_executorch.export_base(network, 8, 6)


@pytest.fixture(scope="module")
def file(base: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from swapbench.workshop.export import to_executorch

    path = tmp_path_factory.mktemp("pte") / "small.pte"
    path.write_bytes(to_executorch.described(to_executorch.fp32(base), '{"network": "small"}'))
    return path


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), np.uint8)


def exact(network: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).astype(np.float32))).numpy()


@pytest.mark.slow
def test_a_file_has_the_counts_and_the_description_and_only_a_base_holds_what_int8_is_made_from(
    base: bytes, file: Path
) -> None:
    graph = read_graph(file)
    assert [(one.name, one.shape) for one in graph.inputs] == [("input", (1, 3, 8, 6))]
    assert graph.params == 4 * 27 + 4 + 4 + 64 * 4 + 64 + 128 + 2
    assert graph.macs == 48 * (4 * 27 + 64 * 4) + 128
    assert (graph.metadata, graph.uncounted_ops) == ({"network": "small"}, ())
    assert b"swapbench.exported" in base
    assert b"swapbench.exported" not in file.read_bytes()


@pytest.mark.slow
def test_the_worker_times_and_scores_what_pytorch_computes(network: Any, file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", IMAGES)
    scoring = ("--mode", "score", "--samples", str(tmp_path / "s.npy"), "--normalise", PLAIN)
    status, answers = said("--artifact", str(file), *scoring)
    assert status == 0, answers
    loaded = contract.parse_loaded(json.dumps(answers[0]))
    assert (loaded.used.runtime, loaded.used.providers, loaded.used.threads) == ("executorch", ("cpu",), 1)
    rows = contract.parse_outputs("\n".join(map(json.dumps, answers))).rows
    np.testing.assert_allclose(rows, exact(network), rtol=1e-4, atol=1e-4)
    status, answers = said("--artifact", str(file), "--mode", "serve", "--threads", "2")
    assert (status, len(answers[1]["run_ns"])) == (0, 2)
    assert answers[0]["threads"] == 2
    assert read_graph(file).worker_options == {}


@pytest.mark.slow
def test_the_profile_says_what_xnnpack_ran(file: Path) -> None:
    status, answers = said("--artifact", str(file), "--mode", "profile", "--runs", "12")
    assert status == 0, answers
    profile = contract.parse_profile("\n".join(map(json.dumps, answers)))
    assert profile.absent == ""
    assert {node.provider for node in profile.nodes} == {"xnnpack"}
    assert any(node.op.startswith("PReLU") for node in profile.nodes)
    assert [node.op for node in profile.placed] == [node.op for node in profile.nodes]


@pytest.mark.slow
def test_what_a_run_returned_is_not_changed_by_the_next(file: Path) -> None:
    from swapbench.runtimes.feed import Shapes

    engine = worker.open_backend().load(str(file), 1, None, Shapes())
    feed = np.zeros(engine.input.shape, np.float32)
    call = engine.timed_call(feed)
    first = call()
    kept = first.copy()
    feed[:] = 3
    assert not np.array_equal(call(), kept)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.slow
def test_a_provider_cannot_be_chosen_and_a_program_that_it_cannot_run_is_refused(
    file: Path, tmp_path: Path
) -> None:
    status, answers = said("--artifact", str(file), "--provider", "xnnpack")
    assert (status, "leave --provider out" in answers[-1]["message"]) == (1, True)
    from tiny_pte import call, program, tensor

    odd = program([tensor(1, 4), tensor(1, 4)], [call(0, 0, 1, 1)], operators=("mine::nothing",))
    (tmp_path / "odd.pte").write_bytes(odd)
    status, answers = said("--artifact", str(tmp_path / "odd.pte"))
    assert (status, answers[-1]["stage"]) == (1, "model"), answers


@pytest.mark.slow
def test_int8_is_smaller_and_near_and_keeps_its_small_head_in_float(
    network: Any, base: bytes, tmp_path: Path
) -> None:
    from swapbench.runtimes.feed import Shapes
    from swapbench.workshop.export import to_executorch

    images = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2).astype(np.float32))
    (tmp_path / "a.pte").write_bytes(to_executorch.Quantiser(base, "int8", images).file())
    graph = read_graph(tmp_path / "a.pte")
    assert (graph.precision, graph.inputs[0].dtype) == ("int8", "float32")
    assert graph.weights["int8"] == 4 * 27 + 64 * 4
    engine = worker.open_backend().load(str(tmp_path / "a.pte"), 1, None, Shapes())
    found = np.concatenate([engine.timed_call(image[None])() for image in images])
    assert np.abs(found - exact(network)).max() < 0.1 * np.ptp(exact(network))


@pytest.mark.slow
def test_precisions_that_are_not_made_are_refused(base: bytes) -> None:
    from swapbench.workshop.export import to_executorch

    with pytest.raises(UserError, match="fp32 and int8 only"):
        to_executorch.fp16(base)
    with pytest.raises(UserError, match="not in int16x8"):
        to_executorch.Quantiser(base, "int16x8", None)
