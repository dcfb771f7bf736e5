"""PyTorch to TFLite: fp32, fp16 and integer files of a network; "input" is NHWC float32, "logits" float32.

A part of a network also returns its map, "features", which is the "input" of the next one; it is NHWC too.

The base is converted once with litert-torch; the precisions are made from it without PyTorch. Every function
returns the same bytes for the same arguments.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.workshop.export import flatbuffer
from swapbench.workshop.export.mixed import body_and_head

if TYPE_CHECKING:
    from collections.abc import Collection

    from ai_edge_quantizer.recipe_manager import RecipeManager
    from numpy.typing import NDArray
    from torch import nn

    from swapbench.records import Precision

LEFT_IN_FLOAT = ("HARD_SWISH", "RELU")
"""Operators that XNNPACK supports in float and not in int8.

Quantised, they run in slow reference kernels (three quarters of the whole time of a MobileNetV3). The
quantiser does not support PRELU and so leaves it in float too.
"""

_SIGNATURE = "serving_default"


def export_base(module: nn.Module, height_px: int, width_px: int) -> bytes:
    """The fp32 file of a network: NHWC, batch norm folded, PReLU as PRELU, no needless TRANSPOSE; batch 1.

    Networks must pool with adaptive_avg_pool2d: `x.mean([2, 3])` leaves a transposition.

    Args:
        module: In eval mode.
        height_px: Of the input.
        width_px: Of the input.
    """
    import torch

    from swapbench.workshop.export.rewrite import batch_norms_folded
    from swapbench.workshop.nets import input_shape, output_names

    channels, height, width = input_shape(module, height_px, width_px)
    example, names = torch.zeros(1, height, width, channels), output_names(module)
    maps = [place for place, name in enumerate(names) if name == "features"]
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        import litert_torch

        plain = batch_norms_folded(module.eval())
        channel_last = litert_torch.to_channel_last_io(plain, args=[0], outputs=maps or None).eval()
        path = Path(folder) / "base.tflite"
        litert_torch.convert(channel_last, (example,)).export(str(path))
        content = path.read_bytes()
    return flatbuffer.tidied(content, names)


def described(model: bytes, metadata: str) -> bytes:
    """The file with `metadata` (JSON text) under the key "swapbench"; see flatbuffer.described."""
    return flatbuffer.described(model, metadata)


def fp32(base: bytes) -> bytes:
    """The base, unchanged."""
    return base


def fp16(base: bytes) -> bytes:
    """Weights in float16, all else in float32: what TFLite calls float16 quantisation."""
    from ai_edge_quantizer import recipe_manager

    manager = recipe_manager.RecipeManager()
    for operation in ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED"):
        manager.add_weight_only_config(".*", operation, 16, "TENSORWISE", "float_casting")
    return _quantised(base, manager, None)


class Quantiser:
    """Quantisation of a base, calibrated once: all layers, or some of them.

    Weights are int8 per channel; activations are int8 or (int16x8) int16 over their whole range, or (dynamic)
    quantised anew in each run. Input and output stay float32, as in the other precisions: applications need
    no change, and a score is not one of 256 values. For the same reason the output layer stays in float where
    it is small. Operators in `LEFT_IN_FLOAT` are faster in float.

    Attributes:
        layers: Those that can be quantised, in order.
    """

    def __init__(self, base: bytes, precision: Precision, samples: NDArray[np.float32] | None) -> None:
        """Calibrate.

        Args:
            base: From `export_base`.
            precision: One with integer weights.
            samples: Normalised images [n, height, width, 3] for calibration; not needed for dynamic.
        """
        self.layers, self._head = body_and_head(flatbuffer.operators(base))
        self._base = base
        self._precision = precision
        self._ranges: dict[str, Any] | None = None
        if precision != "int8-dynamic":
            assert samples is not None
            self._ranges = true_range(base, self._recipe(), samples)

    def file(self, in_float: Collection[int] = ()) -> bytes:
        """The file with the layers of these numbers in float."""
        return _quantised(self._base, self._recipe(in_float), self._ranges)

    def _recipe(self, in_float: Collection[int] = ()) -> RecipeManager:
        """The quantiser's recipe: what is quantised and what stays in float."""
        from ai_edge_quantizer import recipe_manager

        manager = recipe_manager.RecipeManager()
        if self._precision == "int8-dynamic":
            manager.add_dynamic_config(".*", "*", 8)
        else:
            manager.add_static_config(".*", "*", 16 if self._precision == "int16x8" else 8, 8)
        for operation in ("INPUT", "OUTPUT", *LEFT_IN_FLOAT):
            manager.add_quantization_config(".*", operation, algorithm_key="no_quantize")
        for name in (*(name for number in in_float for name in self.layers[number].operators), *self._head):
            manager.add_quantization_config(f"^{re.escape(name)};?$", "*", algorithm_key="no_quantize")
        return manager


def true_range(base: bytes, manager: RecipeManager, samples: NDArray[np.float32]) -> dict[str, Any]:
    """Minimum and maximum of every tensor over all samples, by tensor name.

    The quantiser's default is a moving average of the samples' ranges (weight 0.95 on the past), which clips:
    for a MobileNetV3 it lowers the correlation of the scores with fp32 from 0.998 to 0.67.

    Args:
        base: From `export_base`.
        manager: The quantiser's recipe.
        samples: Normalised images [n, height, width, 3].
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that keeping all tensors costs memory
        calibration = calibrator.Calibrator(base, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        rows = [{flatbuffer.INPUT: np.ascontiguousarray(row[None])} for row in samples]
        calibration.calibrate({_SIGNATURE: rows}, manager)
    ranges: dict[str, Any] = calibration.get_model_qsvs()
    return ranges


def _quantised(base: bytes, manager: RecipeManager, ranges: dict[str, Any] | None) -> bytes:
    from ai_edge_quantizer import quantizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns again
        result = quantizer.Quantizer(base, manager.get_quantization_recipe()).quantize(
            ranges, enable_progress_bar=False, enable_progress_report=False
        )
    return bytes(result.quantized_model)
