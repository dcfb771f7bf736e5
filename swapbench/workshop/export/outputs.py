"""Raw outputs of a network and of the files made from it, in this process: what parity compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swapbench.data.preprocess import normalise
from swapbench.errors import BadModelFile
from swapbench.modelfile import read_graph, single_static_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor as TorchTensor
    from torch import nn

    from swapbench.modelfile import Tensor
    from swapbench.records import Preprocessing

    Images = NDArray[np.float32]
    Outputs = NDArray[np.float64]

_TORCH_BATCH = 32


def batches(crops: NDArray[np.uint8], preprocessing: Preprocessing) -> Iterator[TorchTensor]:
    """uint8 crops [n, height, width, 3] in the card's channel order as normalised batches [32, 3, height, width]."""
    import torch

    for start in range(0, len(crops), _TORCH_BATCH):
        yield torch.from_numpy(nchw(normalise(crops[start : start + _TORCH_BATCH], preprocessing)))


def network_outputs(network: nn.Module, crops: NDArray[np.uint8], preprocessing: Preprocessing) -> Outputs:
    """First output of a PyTorch network in eval mode for uint8 crops [n, height, width, 3]."""
    import torch

    with torch.inference_mode():
        found = [network(batch).numpy().astype(np.float64) for batch in batches(crops, preprocessing)]
    return np.concatenate(found)


def file_outputs(path: Path, crops: NDArray[np.uint8], preprocessing: Preprocessing) -> Outputs:
    """First output of an exported file under its real runtime for uint8 crops [n, height, width, 3].

    Integer inputs and outputs are converted by the tensor's own scale. Raises BadModelFile where the file cannot be run.
    """
    graph = read_graph(path)
    takes = single_static_input(graph, path.name)
    run = _onnx(path) if graph.format == "onnx" else _tflite(path, takes, graph.outputs[0])
    channels_first = graph.layout == "nchw"
    found = []
    for crop in crops:
        image = normalise(crop[None], preprocessing)
        found.append(run(nchw(image) if channels_first else image).reshape(-1).astype(np.float64))
    return np.stack(found)


def nchw(images: Images) -> Images:
    """[n, height, width, 3] as [n, 3, height, width]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _onnx(path: Path) -> Callable[[Images], Images]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the binding's own exceptions share no public base class
        raise BadModelFile(f"onnxruntime cannot load {path}: {error}") from error
    name = session.get_inputs()[0].name

    def run(image: Images) -> Images:
        first: Images = session.run(None, {name: image})[0]
        return first

    return run


def _tflite(path: Path, takes: Tensor, gives: Tensor) -> Callable[[Images], Images]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BadModelFile(f"LiteRT cannot load {path}: {error}") from error
    into = interpreter.get_input_details()[0]["index"]
    out = interpreter.get_output_details()[0]["index"]

    def run(image: Images) -> Images:
        interpreter.set_tensor(into, _stored(image, takes))
        interpreter.invoke()
        result = interpreter.get_tensor(out)
        if gives.scale is None or gives.zero_point is None:
            return np.array(result, np.float32)
        values: Images = (result.astype(np.float32) - gives.zero_point) * np.float32(gives.scale)
        return values

    return run


def _stored(image: Images, takes: Tensor) -> NDArray[np.generic]:
    if takes.scale is None or takes.zero_point is None:
        plain: NDArray[np.generic] = image.astype(takes.dtype)
        return plain
    limits = np.iinfo(np.dtype(takes.dtype))
    rounded = np.round(image / takes.scale) + takes.zero_point
    stored: NDArray[np.generic] = np.clip(rounded, limits.min, limits.max).astype(takes.dtype)
    return stored
