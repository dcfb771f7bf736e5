"""PyTorch to TFLite: fp32, fp16 and int8 files of a network; "input" is NHWC float32, "logits" float32.

The base is converted once with litert-torch; the three precisions are made from it without PyTorch. Every
function returns the same bytes for the same arguments.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.workshop.export import flatbuffer

if TYPE_CHECKING:
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from numpy.typing import NDArray
    from torch import nn

FLOAT_HEAD_SHARE = 0.02
"""The output layer stays in float where it has at most this share of all multiplications, see `int8`."""

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

    example = torch.zeros(1, height_px, width_px, 3)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        import litert_torch

        channel_last = litert_torch.to_channel_last_io(batch_norms_folded(module.eval()), args=[0]).eval()
        path = Path(folder) / "base.tflite"
        litert_torch.convert(channel_last, (example,)).export(str(path))
        content = path.read_bytes()
    return flatbuffer.tidied(content)


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


def int8(base: bytes, samples: NDArray[np.float32], float_layers: int = 0) -> bytes:
    """Static quantisation: weights int8 per channel, activations int8 over their whole range.

    Input and output stay float32, as in the other precisions: applications need no change, and a score is not
    one of 256 values. For the same reason the output layer stays in float where it is small
    (`FLOAT_HEAD_SHARE`). Operators in `LEFT_IN_FLOAT` are faster in float.

    Args:
        base: From `export_base`.
        samples: Normalised images [n, height, width, 3] for calibration.
        float_layers: Number of weighted layers from the input on that stay in float.
    """
    manager = static_int8(base, float_layers)
    return _quantised(base, manager, true_range(base, manager, samples))


def static_int8(base: bytes, float_layers: int = 0) -> RecipeManager:
    """The quantiser's recipe for `int8`: what is quantised and what stays in float."""
    from ai_edge_quantizer import recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.add_static_config(".*", "*", 8, 8)
    for operation in ("INPUT", "OUTPUT", *LEFT_IN_FLOAT):
        manager.add_quantization_config(".*", operation, algorithm_key="no_quantize")
    last, share = flatbuffer.last_weighted(base)
    for name in (*flatbuffer.leading(base, float_layers), *([last] if share <= FLOAT_HEAD_SHARE else [])):
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
