"""PyTorch to ExecuTorch: fp32 and int8 programs (.pte) whose operators XNNPACK takes, NCHW float32 to logits.

The network is exported once with torch.export. The base is the fp32 program, which holds what was exported
under a name, because int8 is made from that (PT2E) and not from a program. Every function returns the same
bytes for the same arguments. There is no fp16: XNNPACK computes in half precision only where input and output
are half too, which no file of the other formats is.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from swapbench.errors import MissingPackage, UserError
from swapbench.modelfile import METADATA_KEY
from swapbench.workshop.export.mixed import Layer, Operator, body_and_head

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray
    from torch import fx, nn
    from torch.export import ExportedProgram

    from swapbench.records import Precision

_EXPORTED: Final = "swapbench.exported"
"""Under which name the base holds what torch.export gave."""


def export_base(module: nn.Module, height_px: int, width_px: int) -> bytes:
    """The fp32 program of a network, with batch norm folded, and what it was exported from; batch 1.

    Args:
        module: In eval mode.
        height_px: Of the input.
        width_px: Of the input.

    Raises:
        MissingPackage: ExecuTorch is not installed.
    """
    import torch

    from swapbench.workshop.export.rewrite import batch_norms_folded

    with _quiet():
        example = (torch.zeros(1, 3, height_px, width_px),)
        exported = torch.export.export(batch_norms_folded(module.eval()), example, strict=False)
        stored = io.BytesIO()
        torch.export.save(_bare(exported), stored)
        return _with_data(_lowered(exported), _EXPORTED, stored.getvalue())


def fp32(base: bytes) -> bytes:
    """The base alone."""
    return _with_data(base, _EXPORTED, None)


def fp16(base: bytes) -> bytes:
    """Nothing: see the head of this module; always raises UserError."""
    del base
    raise UserError(
        "executorch files are made in fp32 and int8 only: in half precision, XNNPACK wants input and output "
        "in half too",
        remedy="Leave fp16 out: --precision fp32,int8",
    )


def described(model: bytes, metadata: str) -> bytes:
    """The program with `metadata` (JSON text) as data under the name "swapbench"."""
    return _with_data(model, METADATA_KEY, metadata.encode())


class Quantiser:
    """Quantisation of what the base was exported from, by PyTorch's PT2E, calibrated once.

    Weights are int8 per channel; activations are int8 over their whole range. Input and output stay float32,
    as in the other formats: applications need no change, and a score is not one of 256 values. For the same
    reason the output layer stays in float where it is small. XNNPACK has no PReLU of integers, so it is
    computed in float between two conversions.

    Attributes:
        layers: Always empty, so that no other layer is tried in float: a file takes half a minute to make.
    """

    layers: tuple[Layer, ...] = ()

    def __init__(self, base: bytes, precision: Precision, samples: NDArray[np.float32] | None) -> None:
        """Calibrate.

        Args:
            base: From `export_base`.
            precision: int8.
            samples: Normalised images [n, 3, height, width] for calibration.

        Raises:
            UserError: It is another precision.
        """
        if precision != "int8":
            raise UserError(
                f"executorch files are made in fp32 and int8 only, not in {precision}",
                remedy="Choose these: --precision fp32,int8",
            )
        import torch
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
        from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

        assert samples is not None
        images = [torch.from_numpy(image).unsqueeze(0) for image in np.ascontiguousarray(samples)]
        self._example = (images[0],)
        with _quiet():
            network = torch.export.load(io.BytesIO(_data(base, _EXPORTED))).module()
            _, head = body_and_head(_operators(network.graph))
            quantizer = XNNPACKQuantizer().set_global(_whole_range())
            quantizer.set_filter_function(lambda node: node.name not in head)
            self._prepared = prepare_pt2e(network, quantizer)
            for image in images:
                self._prepared(image)

    def file(self, in_float: Collection[int] = ()) -> bytes:
        """The file; it has no layers that could be left in float."""
        del in_float
        import torch
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

        with _quiet():
            converted = convert_pt2e(copy.deepcopy(self._prepared))
            return _lowered(torch.export.export(converted, self._example, strict=False))


def _whole_range() -> Any:
    """XNNPACK's int8 with weights per channel, whose activations are not clipped: from least to largest."""
    from dataclasses import replace

    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import get_symmetric_quantization_config
    from torchao.quantization.pt2e import MinMaxObserver

    usual = get_symmetric_quantization_config(is_per_channel=True)
    ranges = MinMaxObserver.with_args(eps=2**-12)
    activations = replace(usual.input_activation, observer_or_fake_quant_ctr=ranges)
    return replace(usual, input_activation=activations, output_activation=activations)


def _operators(graph: fx.Graph) -> list[Operator]:
    """What a graph calls, in order, with the weights and products of convolutions and linear layers."""
    found = []
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        weights = macs = 0
        if _name(node) in {"conv2d", "linear"}:
            shape = node.args[1].meta["val"].shape
            weights = int(np.prod(shape))
            macs = int(np.prod(node.meta["val"].shape)) * int(np.prod(shape[1:]))
        found.append(Operator(node.name, weights, macs))
    return found


def _name(node: fx.Node) -> str:
    """'conv2d' of aten.conv2d.default."""
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _lowered(exported: ExportedProgram) -> bytes:
    """The program in which XNNPACK has what it can take."""
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError:
        raise MissingPackage("executorch", "exporting to ExecuTorch", "executorch") from None
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)


def _bare(exported: ExportedProgram) -> ExportedProgram:
    """Without file names and stack traces, so that the bytes depend on the network alone."""
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)
        node.meta.pop("nn_module_stack", None)
    return exported


def _data(program: bytes, name: str) -> bytes:
    """What a program holds under a name."""
    from executorch.exir._serialize import _deserialize_pte_binary

    named = _deserialize_pte_binary(program).named_data
    assert named is not None
    return bytes(named.buffers[named.pte_data[name].buffer_index])


def _with_data(program: bytes, name: str, data: bytes | None) -> bytes:
    """The program with data under a name, or without what it holds there."""
    from executorch.exir._serialize import _deserialize_pte_binary, _serialize_pte_binary
    from executorch.exir._serialize._named_data_store import NamedDataStore, NamedDataStoreOutput

    file = _deserialize_pte_binary(program)
    held = file.named_data or NamedDataStoreOutput([], {}, {})
    store = NamedDataStore()
    for one, entry in held.pte_data.items():
        if one != name:
            store.add_named_data(one, held.buffers[entry.buffer_index], entry.alignment)
    if data is not None:
        store.add_named_data(name, data)
    file.named_data = store.get_named_data_store_output()
    return bytes(_serialize_pte_binary(file, extract_delegate_segments=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What PyTorch warns of while it exports is its own business."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
