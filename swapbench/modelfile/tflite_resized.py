"""The shapes between the operators of a TFLite file for another shape of its inputs, worked out by LiteRT.

A process of its own asks the interpreter, which runs nothing: what is damaged may end that process and no
other. Run as `python -m swapbench.modelfile.tflite_resized FILE 1x96x96x3[,...]`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT_S = 60.0


def resized_shapes(path: Path, inputs: Sequence[tuple[int, ...]]) -> dict[int, tuple[int, ...]] | None:
    """Index of a tensor -> its shape, for these shapes of all inputs; None where LiteRT cannot say."""
    shapes = ",".join("x".join(map(str, shape)) for shape in inputs)
    argv = [sys.executable, "-m", __name__, str(path), shapes]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        return {int(index): tuple(map(int, shape)) for index, shape in found.items()}
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, AttributeError, TypeError):
        return None


def _shapes(path: str, inputs: str) -> dict[int, list[int]]:
    litert = importlib.import_module(
        "ai_edge_litert.interpreter"
        if importlib.util.find_spec("ai_edge_litert")
        else "tflite_runtime.interpreter"
    )
    plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter: Any = litert.Interpreter(path, experimental_op_resolver_type=plain)
    for details, shape in zip(interpreter.get_input_details(), inputs.split(","), strict=True):
        lengths = [int(length) for length in shape.split("x") if length]
        interpreter.resize_tensor_input(details["index"], lengths)
    interpreter.allocate_tensors()
    return {
        int(tensor["index"]): [int(length) for length in tensor["shape"]]
        for tensor in interpreter.get_tensor_details()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_shapes(*sys.argv[1:])) + "\n")
