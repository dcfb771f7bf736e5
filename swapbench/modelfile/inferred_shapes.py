"""The shapes between the nodes of an ONNX graph.

ONNX infers most of them. Exporters of PyTorch also leave graphs that work out shapes while they run
(Shape, Gather, Unsqueeze, Concat, then Reshape), which older operator sets cannot infer through; once the
inputs have shapes, such values are constants, and are worked out here with ONNX's reference evaluator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from swapbench.modelfile import DAMAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = dict[str, NDArray[Any]]

MOST_NUMBERS: Final = 64
"""Of a tensor that describes a shape."""

MOST_ROUNDS: Final = 16
"""Of working out values and inferring: a shape may depend on a shape."""

_ON_SHAPES: Final = frozenset(
    {
        *("Gather", "Concat", "Unsqueeze", "Squeeze", "Slice", "Cast", "Identity", "Reshape", "Constant"),
        *("Add", "Sub", "Mul", "Div", "Floor", "Ceil", "Max", "Min", "Neg", "Equal", "Where", "ReduceProd"),
    }
)
"""Operators that graphs use to work out shapes."""


def shapes_between(model: Any) -> Any:
    """The graph of `model` with the shapes between its nodes, as far as they can be inferred.

    Nodes that only work out shapes may be missing from it.
    """
    import onnx

    graph = _inferred(model)
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return graph
    values = _small_constants(model.graph)
    for _ in range(MOST_ROUNDS):
        made = _worked_out(model, graph, values)
        if not made:
            break
        values |= made
        smaller = onnx.ModelProto()
        smaller.CopyFrom(model)
        del smaller.graph.node[:]
        smaller.graph.node.extend(
            node for node in model.graph.node if not (node.output and node.output[0] in values)
        )
        known = {weight.name for weight in model.graph.initializer}
        smaller.graph.initializer.extend(
            onnx.numpy_helper.from_array(value, name) for name, value in values.items() if name not in known
        )
        graph = _inferred(smaller)
    return graph


def _inferred(model: Any) -> Any:
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, *DAMAGE):
        return model.graph


def _small_constants(graph: Any) -> Values:
    import onnx

    return {
        weight.name: onnx.numpy_helper.to_array(weight)
        for weight in graph.initializer
        if weight.data_location != onnx.TensorProto.EXTERNAL and np.prod(weight.dims) <= MOST_NUMBERS
    }


def _worked_out(model: Any, graph: Any, values: Values) -> Values:
    """What nodes make of known shapes and known values, without what is in `values` already."""
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    made: Values = {}
    for node in model.graph.node:
        if len(node.output) != 1 or node.output[0] in values:
            continue
        (name,) = node.output
        if node.op_type == "Shape":
            shape = shapes.get(node.input[0])
            if shape is not None and 0 not in shape:
                ends = {attribute.name: attribute.i for attribute in node.attribute}
                made[name] = np.array(shape, np.int64)[ends.get("start") : ends.get("end")]
        elif node.op_type in _ON_SHAPES:
            given = {one: made.get(one, values.get(one)) for one in node.input if one}
            if all(value is not None for value in given.values()):
                result = _result(model, node, given)
                if result is not None and result.size <= MOST_NUMBERS:
                    made[name] = result
    return made


def _result(model: Any, node: Any, given: dict[str, Any]) -> NDArray[Any] | None:
    """What one node makes of its inputs, None where it cannot be run."""
    from onnx import TypeProto, helper
    from onnx.reference import ReferenceEvaluator

    inputs = [helper.make_value_info(name, TypeProto()) for name in given]
    outputs = [helper.make_value_info(node.output[0], TypeProto())]
    alone = helper.make_model(
        helper.make_graph([node], "one", inputs, outputs), opset_imports=model.opset_import
    )
    try:
        (result,) = ReferenceEvaluator(alone).run(None, given)
    except Exception:  # noqa: BLE001 - a node that cannot be run here leaves a shape unknown, no more
        return None
    return np.asarray(result)
