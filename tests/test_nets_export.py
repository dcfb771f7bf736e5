"""Every recipe's network as it ships, weights as after training: counts, parity, precisions."""

import functools
import importlib.util
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import skip_without

torch = pytest.importorskip("torch")
skip_without("litert_torch")

import onnxruntime  # noqa: E402 - torch must be there first
from ai_edge_litert.interpreter import Interpreter  # noqa: E402
from test_recipes import COUNTS  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from swapbench.modelfile import Graph, read_graph  # noqa: E402
from swapbench.modelfile.parts import write_model  # noqa: E402
from swapbench.records import SUFFIXES  # noqa: E402
from swapbench.runtimes import ncnn as ncnn_worker  # noqa: E402
from swapbench.runtimes.feed import Shapes  # noqa: E402
from swapbench.workshop.export import to_ncnn, to_onnx, to_tflite  # noqa: E402
from swapbench.workshop.export.equalise import equalised  # noqa: E402
from swapbench.workshop.export.rewrite import shipped  # noqa: E402
from swapbench.workshop.nets import build, exportable  # noqa: E402
from swapbench.workshop.nets.central_difference import CentralDifference  # noqa: E402
from swapbench.workshop.nets.feathernet import PooledBranch  # noqa: E402
from swapbench.workshop.nets.mobilenet_v3 import SMALL_075  # noqa: E402
from swapbench.workshop.recipes.recipe import read_recipe  # noqa: E402

pytestmark = pytest.mark.slow


class Kind(NamedTuple):
    family: str
    architecture: dict[str, Any]
    size_px: int
    published_mmacs: float


RECIPES = {
    path.stem: read_recipe(path)
    for path in sorted((Path(__file__).parents[1] / "models" / "recipes").glob("*.toml"))
}
KINDS = {
    name: Kind(one.family, one.architecture, one.preprocessing.width_px, COUNTS[name][1])
    for name, one in RECIPES.items()
} | {
    "mobilenet_v3_075": Kind("mobilenet_v3", {"rows": SMALL_075}, 128, 14.56),
    "feathernet_a": Kind("feathernet", {"pooled": False}, 224, 77.74),
}
FORMATS: dict[str, Any] = {"onnx": to_onnx, "tflite": to_tflite}
if importlib.util.find_spec("pnnx") and importlib.util.find_spec("ncnn"):
    FORMATS["ncnn"] = to_ncnn
IN_EXECUTORCH = tuple(
    name if name == "minifasnet_v1se" else pytest.param(name, marks=pytest.mark.exhaustive)
    for name in RECIPES
)
"""Lowering takes half a minute, so the others are for `make exhaustive`."""
OUTSIDE_XNNPACK = {
    "cdcn_thin": {"aten::_adaptive_avg_pool2d", "aten::alias_copy"},
    "mobilenet_v3_small": {"dim_order_ops::_to_dim_order_copy"},
}
"""What XNNPACK does not take of a network, so that kernels of ExecuTorch's own compute it."""
WITH_INTEGERS = ("onnx", "tflite")
ALIKE = ("minifasnet_v1", "minifasnet_v1se", "minifasnet_v2", "mobilefacenet")
"""Of the parts of minifasnet_v2se, in other widths; test_main_job exports the bundled minifasnet_v2."""
IN_ALL_FORMATS = tuple(
    pytest.param(name, marks=pytest.mark.exhaustive) if name in ALIKE else name for name in RECIPES
)
"""Converting to TFLite takes up to ten seconds, so the other widths are left out."""
IN_ONNX = tuple(
    pytest.param(name, marks=pytest.mark.exhaustive) if name in ALIKE or name not in RECIPES else name
    for name in KINDS
)
IMAGES = 8
"""That calibrate, and that are judged."""


def pictures(count: int, size_px: int, seed: int) -> Any:
    """Images [n, 3, size, size], each with its own gradient, fine grating and noise; all are similar."""
    dice = torch.Generator().manual_seed(seed)
    slope = torch.linspace(-1, 1, size_px)

    def each() -> Any:
        return 2 * torch.rand(count, 3, 1, 1, generator=dice) - 1

    grating = torch.sin(slope * size_px * torch.rand(count, 1, 1, 1, generator=dice))
    noise = torch.randn(count, 3, size_px, size_px, generator=dice)
    return slope[:, None] * each() + slope * each() + each() + grating * each() + 0.3 * noise


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """A second thread on a busy machine costs more than it brings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def network(name: str) -> Any:
    """In eval mode, with biases, batch norm and a last layer that are not at their first values."""
    kind = KINDS[name]
    torch.manual_seed(0)
    net = build(kind.family, kind.architecture)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.7, 1.3)
            nn.init.normal_(part.bias, std=0.2)
            part.momentum = None  # the statistics of the batches below and of nothing else
        if isinstance(part, nn.Conv2d) and part.bias is not None:
            nn.init.normal_(part.bias, std=0.2)
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, 0.05, 0.45)
    last = [part for part in net.modules() if isinstance(part, nn.Linear)][-1]
    nn.init.normal_(last.weight, std=last.in_features**-0.5)
    if last.bias is not None:
        nn.init.normal_(last.bias, std=0.2)
    with torch.no_grad():
        for seed in (1, 2, 4):
            net.train()(pictures(12, kind.size_px, seed))
    return net.eval()


@functools.cache
def judged(name: str) -> Any:
    return pictures(IMAGES, KINDS[name].size_px, seed=3)


@functools.cache
def exact(name: str) -> np.ndarray:
    with torch.no_grad():
        return network(name)(judged(name)).numpy()


@functools.cache
def alike(name: str) -> Any:
    """What ships of a network, as converters get it."""
    return equalised(shipped(network(name)), [pictures(4, KINDS[name].size_px, seed=1)])


@functools.cache
def base(name: str, file_format: str) -> bytes:
    size_px = KINDS[name].size_px
    return FORMATS[file_format].export_base(alike(name), size_px, size_px)


def file(name: str, file_format: str, precision: str) -> bytes:
    return getattr(FORMATS[file_format], precision)(base(name, file_format))


def quantiser(name: str, file_format: str) -> Any:
    samples = pictures(IMAGES, KINDS[name].size_px, seed=1).numpy()
    if file_format == "tflite":
        samples = np.ascontiguousarray(samples.transpose(0, 2, 3, 1))
    return FORMATS[file_format].Quantiser(base(name, file_format), "int8", samples)


def in_ncnn(content: bytes, images: np.ndarray, provider: str = ncnn_worker.SINGLE) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.param"
        write_model(path, content)
        shapes = Shapes((images[:1].shape,))
        engine = ncnn_worker.open_backend().load(str(path), 1, provider, shapes)
    return np.concatenate([engine.timed_call(np.ascontiguousarray(row[None]))() for row in images])


def run(content: bytes, file_format: str, images: np.ndarray) -> np.ndarray:
    if file_format == "ncnn":
        return in_ncnn(content, images)
    if file_format == "onnx":
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {"input": row[None]})[0] for row in images])
    made, rows = Interpreter(model_content=content, num_threads=1), []
    made.allocate_tensors()
    for row in images:
        made.set_tensor(made.get_input_details()[0]["index"], row.transpose(1, 2, 0)[None])
        made.invoke()
        rows.append(made.get_tensor(made.get_output_details()[0]["index"]).copy())
    return np.concatenate(rows)


def graph(content: bytes, file_format: str, folder: Path) -> Graph:
    path = folder / f"a.{SUFFIXES[file_format]}"
    write_model(path, content)
    return read_graph(path)


def folded_parameters(name: str) -> int:
    """Parameters of what ships once every batch norm after a convolution or a linear layer is its bias."""
    ship = shipped(network(name))
    norms = sum(
        part.num_features
        for before, part in pairwise(ship.modules())
        if isinstance(part, nn.BatchNorm2d)
        or (isinstance(part, nn.BatchNorm1d) and isinstance(before, nn.Linear))
    )
    return sum(one.numel() for one in ship.parameters()) - norms


def macs_by_pytorch(name: str) -> float:
    kind = KINDS[name]
    with torch.device("meta"):  # shapes without arithmetic
        net = exportable(build(kind.family, kind.architecture))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(torch.zeros(1, 3, kind.size_px, kind.size_px))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", KINDS)
def test_a_network_has_the_published_macs(name: str) -> None:
    assert macs_by_pytorch(name) / 1e6 == pytest.approx(KINDS[name].published_mmacs, rel=3e-4)


@pytest.mark.parametrize("name", IN_ONNX)
def test_an_exported_file_has_the_macs_of_pytorchs_counter_by_ours(name: str, tmp_path: Path) -> None:
    found = graph(base(name, "onnx"), "onnx", tmp_path)
    assert found.macs == macs_by_pytorch(name)
    assert found.params == folded_parameters(name)
    assert found.uncounted_ops == ()
    assert found.outputs[0].shape == (1, 2)


@pytest.mark.parametrize("name", IN_ALL_FORMATS)
def test_all_formats_hold_the_same_network_without_a_transposition(name: str, tmp_path: Path) -> None:
    onnx, *others = (graph(base(name, one), one, tmp_path) for one in FORMATS)
    for other in others:
        assert (other.params, other.macs) == (onnx.params, onnx.macs)
        assert other.uncounted_ops == ()
        assert "TRANSPOSE" not in other.ops


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("name", IN_ALL_FORMATS)
def test_fp32_computes_what_pytorch_computes_and_fp16_nearly(name: str, file_format: str) -> None:
    spread = np.ptp(exact(name))
    assert spread > 0.5  # equal answers to all images would be easy to copy
    for precision, tolerance in (("fp32", 1e-4), ("fp16", 5e-2)):
        found = run(file(name, file_format, precision), file_format, judged(name).numpy())
        assert np.abs(found - exact(name)).max() <= tolerance * spread


@pytest.mark.skipif("ncnn" not in FORMATS, reason="needs the packages ncnn and pnnx")
@pytest.mark.parametrize("name", IN_ALL_FORMATS)
def test_ncnn_as_apps_use_it_keeps_scores_and_decisions(name: str) -> None:
    """It may round weights to float16 by itself, where the CPU lets it."""
    images, wanted = judged(name).numpy(), exact(name)
    found = in_ncnn(file(name, "ncnn", "fp32"), images, ncnn_worker.CPU)
    live, said = (1 / (1 + np.exp(np.minimum(one[:, 0] - one[:, 1], 80))) for one in (wanted, found))
    assert np.abs(live - said).max() <= 1e-3
    threshold = np.median(live) + 1e-6
    assert ((live > threshold) == (said > threshold)).all()


@pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="needs the package executorch")
@pytest.mark.parametrize("name", IN_EXECUTORCH)
def test_executorch_holds_and_computes_the_same_network_and_what_xnnpack_leaves_is_known(
    name: str, tmp_path: Path
) -> None:
    from swapbench.runtimes import executorch
    from swapbench.workshop.export import to_executorch

    size_px = KINDS[name].size_px
    content = to_executorch.fp32(to_executorch.export_base(alike(name), size_px, size_px))
    onnx, found = graph(base(name, "onnx"), "onnx", tmp_path), graph(content, "executorch", tmp_path)
    assert (found.params, found.macs, found.uncounted_ops) == (onnx.params, onnx.macs, ())
    assert {kind for kind in found.ops if "::" in kind} == OUTSIDE_XNNPACK.get(name, set())
    engine = executorch.open_backend().load(str(tmp_path / "a.pte"), 1, None, Shapes())
    images = [np.ascontiguousarray(row[None]) for row in judged(name).numpy()]
    outputs = np.concatenate([engine.timed_call(image)() for image in images])
    assert np.abs(outputs - exact(name)).max() <= 1e-4 * np.ptp(exact(name))


@pytest.mark.parametrize("file_format", WITH_INTEGERS)
@pytest.mark.parametrize("name", IN_ALL_FORMATS)
def test_int8_follows_fp32_even_with_random_weights(name: str, file_format: str) -> None:
    wanted, kind = exact(name), quantiser(name, file_format)
    near = []
    for float_layers in (0, 2, 4, 8):
        found = run(kind.file(range(float_layers)), file_format, judged(name).numpy())
        near.append(np.corrcoef(wanted[:, 1] - wanted[:, 0], found[:, 1] - found[:, 0])[0, 1])
        if near[-1] >= 0.8:
            break
    # random weights spread little between images and quantise worse than trained ones;
    # a wrong scale or layout gives about 0
    assert max(near) >= 0.8, near


def test_nothing_that_folds_is_left_in_what_ships_and_the_answers_stay() -> None:
    for name, kind in (("cdcn_thin", CentralDifference), ("feathernet_b", PooledBranch)):
        ship = shipped(network(name))
        assert any(isinstance(part, kind) for part in network(name).modules())
        assert not any(isinstance(part, kind) for part in ship.modules())
        with torch.no_grad():
            assert np.abs(ship(judged(name)).numpy() - exact(name)).max() <= 2e-5
