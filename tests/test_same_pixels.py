"""The same pixels reach every runtime: an identity network returns its input, bit for bit what the card says.

A further runtime is one more entry of RUNTIMES: a function from prepared crops to what arrived in the
network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import helper
from PIL import Image
from tiny_files import TinyTflite, onnx_bytes
from tiny_videos import frame_of, spread_over, video

from swapbench import bench
from swapbench.bench import normalise_json
from swapbench.data.preprocess import normalise, prepare
from swapbench.devices.local import Local
from swapbench.ports import Outputs
from swapbench.records import Plan, Preprocessing
from swapbench.runtimes.litert import LiteRT
from swapbench.runtimes.native.adapter import NativeLiteRT, NativeOnnxRuntime, installed_library
from swapbench.runtimes.native.build import build, this_computer
from swapbench.runtimes.ort import OnnxRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from swapbench.data.preprocess import Prepared
    from swapbench.ports import Runtime

    Arrived = NDArray[np.float32]
    """What arrived in the network, one image after the other: [n, height, width, channels]."""

WIDTH_PX, HEIGHT_PX = 8, 6
MINIVISION = Preprocessing(
    width_px=WIDTH_PX,
    height_px=HEIGHT_PX,
    crop_scale=2.7,
    keep_box_aspect=True,
    resize="bilinear",
    channel_order="bgr",
    scale=1.0,
)
IMAGENET = Preprocessing(
    width_px=WIDTH_PX,
    height_px=HEIGHT_PX,
    crop_scale=1.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
FACENOX = Preprocessing(
    width_px=WIDTH_PX,
    height_px=HEIGHT_PX,
    crop_scale=1.5,
    border="reflect",
    fit="letterbox",
    resize="area",
    enlarge="lanczos4",
)
INFRARED = Preprocessing(
    width_px=WIDTH_PX, height_px=HEIGHT_PX, crop_scale=1.5, channel_order="gray", mean=0.5, std=0.5
)
CONVENTIONS = {"minivision": MINIVISION, "imagenet": IMAGENET, "facenox": FACENOX, "infrared": INFRARED}


def onnx_identity(path: Path, shape: list[int]) -> Path:
    path.write_bytes(onnx_bytes([helper.make_node("Identity", ["x"], ["y"])], {}, inputs={"x": shape}))
    return path


def tflite_identity(path: Path, channels: int) -> Path:
    file, size = TinyTflite(), [1, HEIGHT_PX, WIDTH_PX, channels]
    x = file.tensor("x", size)
    shape = file.tensor("shape", [4], np.array(size, np.int32), kind=schema.TensorType.INT32)
    options = schema.ReshapeOptionsT()
    options.newShape = size
    y = file.op(
        schema.BuiltinOperator.RESHAPE,
        [x, shape],
        file.tensor("y", size),
        options,
        schema.BuiltinOptions.ReshapeOptions,
    )
    file.graph.inputs, file.graph.outputs = [x], [y]
    path.write_bytes(file.bytes())
    return path


def scored(path: Path, runtime: Runtime, prepared: Prepared, preprocessing: Preprocessing) -> Arrived:
    """What a real scoring worker answers, in one row an image."""
    options = {"samples": str(prepared.path), "normalise": normalise_json(preprocessing)}
    file = bench.FileUnderTest(path.name, str(path), runtime, options)
    ((_, outputs),) = bench.measure_scores([file], Local(), Plan())
    assert isinstance(outputs, Outputs), outputs
    return np.array(outputs.rows, np.float32)


def onnx_channels_first(folder: Path, prepared: Prepared, preprocessing: Preprocessing) -> Arrived:
    path = onnx_identity(folder / "first.onnx", [1, preprocessing.channels, HEIGHT_PX, WIDTH_PX])
    rows = scored(path, OnnxRuntime(), prepared, preprocessing)
    return rows.reshape(-1, preprocessing.channels, HEIGHT_PX, WIDTH_PX).transpose(0, 2, 3, 1)


def onnx_channels_last(folder: Path, prepared: Prepared, preprocessing: Preprocessing) -> Arrived:
    path = onnx_identity(folder / "last.onnx", [1, HEIGHT_PX, WIDTH_PX, preprocessing.channels])
    return scored(path, OnnxRuntime(), prepared, preprocessing).reshape(
        -1, HEIGHT_PX, WIDTH_PX, preprocessing.channels
    )


def litert(folder: Path, prepared: Prepared, preprocessing: Preprocessing) -> Arrived:
    path = tflite_identity(folder / "identity.tflite", preprocessing.channels)
    return scored(path, LiteRT(), prepared, preprocessing).reshape(
        -1, HEIGHT_PX, WIDTH_PX, preprocessing.channels
    )


def pytorch(_: Path, prepared: Prepared, preprocessing: Preprocessing) -> Arrived:
    torch = pytest.importorskip("torch")
    from swapbench.workshop.export.outputs import network_outputs

    outputs = network_outputs(torch.nn.Identity(), np.asarray(prepared.crops()), preprocessing)
    assert np.array_equal(outputs, outputs.astype(np.float32))
    return outputs.astype(np.float32).transpose(0, 2, 3, 1)


def native(kind: type[NativeOnnxRuntime | NativeLiteRT], folder: Path) -> Runtime:
    """The phone's runner for this computer, built once for all tests with the Python package's library."""
    pytest.importorskip("ziglang", reason="building the native runner needs the package ziglang")
    runner = build(this_computer(), folder.parent)
    return kind(
        runner=str(runner), library=str(installed_library(kind().name)), flavour="host", package="wheel"
    )


def native_channels_first(folder: Path, prepared: Prepared, preprocessing: Preprocessing) -> Arrived:
    path = onnx_identity(folder / "first.onnx", [1, preprocessing.channels, HEIGHT_PX, WIDTH_PX])
    rows = scored(path, native(NativeOnnxRuntime, folder), prepared, preprocessing)
    return rows.reshape(-1, preprocessing.channels, HEIGHT_PX, WIDTH_PX).transpose(0, 2, 3, 1)


def native_litert(folder: Path, prepared: Prepared, preprocessing: Preprocessing) -> Arrived:
    path = tflite_identity(folder / "identity.tflite", preprocessing.channels)
    rows = scored(path, native(NativeLiteRT, folder), prepared, preprocessing)
    return rows.reshape(-1, HEIGHT_PX, WIDTH_PX, preprocessing.channels)


RUNTIMES: dict[str, Callable[[Path, Prepared, Preprocessing], Arrived]] = {
    "onnxruntime": onnx_channels_first,
    "onnxruntime, channels last": onnx_channels_last,
    "litert": litert,
    "the phone's runner, onnxruntime": native_channels_first,
    "the phone's runner, litert": native_litert,
    "pytorch": pytorch,
}
EVERY_RUNTIME = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "pytorch" else []) for name in RUNTIMES
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 16 x 16 flat patches with every value of every channel, an image of noise, and a video."""
    folder = tmp_path_factory.mktemp("pixels")
    random = np.random.default_rng(0)
    values = np.stack([random.permutation(256) for _ in range(3)], axis=1).astype(np.uint8)
    Image.fromarray(values.reshape(16, 16, 3).repeat(16, axis=0).repeat(16, axis=1)).save(folder / "flat.png")
    Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(folder / "noise.png")
    video(folder / "clip.avi", stripe=True)
    return folder


def prepared_with(folder: Path, preprocessing: Preprocessing) -> Prepared:
    patches = [(x, y, 4.0, 4.0) for x in range(6, 256, 16) for y in range(6, 256, 16)]
    samples = [frame_of(folder / "flat.png", box=box) for box in patches]
    samples += [frame_of(folder / "noise.png", box=(x, 20, 6.0, 8.0)) for x in (5, 40, 70)]
    samples += spread_over(folder / "clip.avi", 4, box=(20, 12, 20, 24))
    prepared = prepare(samples, preprocessing, folder / "crops")
    assert not prepared.failures
    return prepared


def by_the_card(prepared: Prepared, preprocessing: Preprocessing) -> Arrived:
    """What a network must see: crops as the card says, in the float32 that PyTorch networks are given."""
    return normalise(np.asarray(prepared.crops()), preprocessing)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("runtime", EVERY_RUNTIME)
def test_a_runtime_is_fed_exactly_the_bits_that_the_card_describes(
    folder: Path, tmp_path: Path, runtime: str, convention: str
) -> None:
    preprocessing = CONVENTIONS[convention]
    prepared = prepared_with(folder, preprocessing)
    arrived = RUNTIMES[runtime](tmp_path, prepared, preprocessing)
    assert arrived.shape == (263, HEIGHT_PX, WIDTH_PX, preprocessing.channels)
    assert np.array_equal(arrived, by_the_card(prepared, preprocessing))


@pytest.mark.parametrize(
    "mistake",
    [
        {"scale": 1 / 255**2},
        {"scale": 1.0},
        {"channel_order": "bgr"},
        {"mean": (0.406, 0.456, 0.485)},
        {"std": (0.225, 0.224, 0.229)},
        {"resize": "bilinear"},
        {"border": "black"},
        {"fit": "letterbox"},
        {"crop_scale": 1.6},
    ],
    ids=str,
)
def test_a_runtime_that_is_fed_otherwise_is_told_apart(
    folder: Path, tmp_path: Path, mistake: dict[str, Any]
) -> None:
    wrong = IMAGENET.model_copy(update=mistake)
    arrived = onnx_channels_first(tmp_path, prepared_with(folder, wrong), wrong)
    assert not np.array_equal(arrived, by_the_card(prepared_with(folder, IMAGENET), IMAGENET))


def test_every_value_of_every_channel_is_fed(folder: Path) -> None:
    pixels = prepared_with(folder, IMAGENET).crops()
    assert [len(np.unique(pixels[..., channel])) for channel in range(3)] == [256, 256, 256]
