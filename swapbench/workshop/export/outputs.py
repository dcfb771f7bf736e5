"""Raw outputs of a network and of the files made from it, computed in this process for the parity check."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import numpy as np

from swapbench.data.preprocess import normalise
from swapbench.errors import BadModelFile, MissingPackage
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
    Inputs = NDArray[np.uint8] | NDArray[np.float32]
    Outputs = NDArray[np.float64]

_TORCH_BATCH = 32
_USUAL_LAYOUT = {"onnx": "nchw", "tflite": "nhwc", "ncnn": "nchw", "executorch": "nchw"}
"""Of our own files, where the shape of the input does not tell it: that of a map with few channels."""


def fed(inputs: Inputs, preprocessing: Preprocessing) -> Images:
    """What a network is fed: uint8 crops normalised, and maps of the part before it as they are."""
    if inputs.dtype != np.uint8:
        return inputs.astype(np.float32)
    return normalise(cast("NDArray[np.uint8]", inputs), preprocessing)


def batches(inputs: Inputs, preprocessing: Preprocessing) -> Iterator[TorchTensor]:
    """Inputs [n, h, w, channels], see `fed`, as batches of up to 32, [.., channels, h, w]."""
    import torch

    for start in range(0, len(inputs), _TORCH_BATCH):
        yield torch.from_numpy(nchw(fed(inputs[start : start + _TORCH_BATCH], preprocessing)))


def network_outputs(
    network: nn.Module, inputs: Inputs, preprocessing: Preprocessing, place: int = 0
) -> NDArray[np.float32]:
    """One output of a PyTorch network in eval mode for inputs [n, height, width, channels], see `fed`."""
    import torch

    with torch.inference_mode():
        found = [network(batch) for batch in batches(inputs, preprocessing)]
    return np.concatenate([(one[place] if isinstance(one, tuple) else one).numpy() for one in found])


def file_outputs(path: Path, inputs: Inputs, preprocessing: Preprocessing) -> tuple[Outputs, int]:
    """First output of an exported file under its real runtime for inputs [n, height, width, channels].

    Integer inputs and outputs are converted with the scale and zero point of their tensor.

    Returns:
        The outputs, [n, numbers], and the fastest run in this process in ns: a first idea of its time.

    Raises:
        BadModelFile: The file cannot be run.
    """
    graph = read_graph(path)
    input_tensor = single_static_input(graph, path.name)
    match graph.format:
        case "onnx":
            run = _onnx(path)
        case "tflite":
            run = _tflite(path, input_tensor, graph.outputs[0])
        case "ncnn":
            run = _ncnn(path, input_tensor.name, graph.outputs[0].name)
        case "executorch":
            run = _executorch(path)
    channels_first = (graph.layout or _USUAL_LAYOUT[graph.format]) == "nchw"
    outputs, runs_ns = [], []
    for one in inputs:
        image = fed(one[None], preprocessing)
        image = nchw(image) if channels_first else image
        began_ns = time.perf_counter_ns()
        numbers = run(image)
        runs_ns.append(time.perf_counter_ns() - began_ns)
        outputs.append(numbers.reshape(-1).astype(np.float64))
    return np.stack(outputs), min(runs_ns)


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


def _tflite(path: Path, input_tensor: Tensor, output_tensor: Tensor) -> Callable[[Images], Images]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BadModelFile(f"LiteRT cannot load {path}: {error}") from error
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]

    def run(image: Images) -> Images:
        interpreter.set_tensor(input_index, _stored(image, input_tensor))
        interpreter.invoke()
        result = interpreter.get_tensor(output_index)
        if output_tensor.scale is None or output_tensor.zero_point is None:
            return np.array(result, np.float32)
        values: Images = (result.astype(np.float32) - output_tensor.zero_point) * np.float32(
            output_tensor.scale
        )
        return values

    return run


def _ncnn(path: Path, input_name: str, output_name: str) -> Callable[[Images], Images]:
    """With ncnn's own options, as an app finds them that sets none."""
    try:
        import ncnn
    except ImportError:
        raise MissingPackage("ncnn", "checking a file of ncnn", "ncnn") from None
    net = ncnn.Net()
    net.opt.num_threads = 1
    if net.load_param(str(path)) != 0 or net.load_model(str(path.with_suffix(".bin"))) != 0:
        raise BadModelFile(f"ncnn cannot load {path}")

    def run(image: Images) -> Images:
        extractor = net.create_extractor()
        extractor.input(input_name, ncnn.Mat(image[0]).clone())
        status, output = extractor.extract(output_name)
        if status != 0:
            raise BadModelFile(f"ncnn cannot run {path}")
        return np.array(output, np.float32)

    return run


def _executorch(path: Path) -> Callable[[Images], Images]:
    import torch

    try:
        from executorch.runtime import Runtime
    except ImportError:
        raise MissingPackage("executorch", "checking a file of ExecuTorch", "executorch") from None
    try:
        method = Runtime.get().load_program(path).load_method("forward")
    except RuntimeError as error:
        raise BadModelFile(f"ExecuTorch cannot load {path}: {error}") from error

    def run(image: Images) -> Images:
        first: Images = method.execute((torch.from_numpy(image),))[0].numpy()
        return first

    return run


def _stored(image: Images, tensor: Tensor) -> NDArray[np.generic]:
    """The image in the type of an input tensor, quantised where that is an integer."""
    if tensor.scale is None or tensor.zero_point is None:
        plain: NDArray[np.generic] = image.astype(tensor.dtype)
        return plain
    limits = np.iinfo(np.dtype(tensor.dtype))
    rounded = np.round(image / tensor.scale) + tensor.zero_point
    stored: NDArray[np.generic] = np.clip(rounded, limits.min, limits.max).astype(tensor.dtype)
    return stored
