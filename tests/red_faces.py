"""Images whose colour tells bona fide from attack, and files that look at it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper
from PIL import Image
from tiny_files import onnx_bytes

from swapbench.data.manifests import BOX_COLUMNS, COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 24


def write_red_faces(root: Path) -> Path:
    """Grey frames of 60 x 40 with a box in the middle: bona fide are redder inside it, attacks bluer.

    Outside the box it is the other way round for every second image, so that only tight crops tell.
    """
    dice = np.random.default_rng(2)
    rows = []
    for number in range(2 * COUNT):
        real = number < COUNT
        pixels = dice.integers(60, 190, (40, 60, 3)).astype(np.float64)
        pixels += dice.integers(-30, 30)
        inside = np.zeros((40, 60), bool)
        inside[10:30, 20:40] = True
        pixels[inside] += np.array([22, 0, -22]) * (1 if real else -1) * dice.uniform(0.4, 1)
        pixels[~inside] += np.array([40, 0, -40]) * dice.choice([-1, 1])
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / f"{number}.png")
        rows.append(
            dict.fromkeys(COLUMNS, "")
            | {
                "path": f"{number}.png",
                "frame": 0,
                "subject": f"s{number}",
                "split": ("dev", "test")[number % 2],
            }
            | {"label": "bona_fide" if real else "attack", "species": "" if real else "print"}
            | dict(zip(BOX_COLUMNS, (20, 10, 20, 20), strict=True))
        )
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return root


def red_less_blue(*, saturated_by: float, flipped: bool = False) -> bytes:
    """Two logits from channel means: red less blue, where values beyond `saturated_by` are cut off."""
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = np.array([[-1, 1], [0, 0], [1, -1]], np.float32) / saturated_by
    constants = {
        "w": weights[:, ::-1].copy() if flipped else weights,
        "low": np.array(-saturated_by, np.float32),
        "high": np.array(saturated_by, np.float32),
    }
    return onnx_bytes(nodes, constants)


def red_parts(*, saturated_by: float = 30.0) -> tuple[bytes, bytes]:
    """A network in two parts: the first is unsure beyond `saturated_by`; the second reads what it passes on.

    "features" [1, 6, 8, 8] are the image twice, so the second part says of an image what `red_less_blue` of
    200 says.
    """
    passed = helper.make_node("Concat", ["x", "x"], ["features"], axis=1)
    nodes = [
        passed,
        helper.make_node("Clip", ["x", "low", "high"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = np.array([[-1, 1], [0, 0], [1, -1]], np.float32)
    bound = np.array(saturated_by, np.float32)
    first = onnx_bytes(
        nodes,
        {"w": weights / np.float32(saturated_by), "low": -bound, "high": bound},
        also={"features": [1, 6, 8, 8]},
    )
    both = np.concatenate([weights, weights]) / np.float32(400)
    second = onnx_bytes(nodes[2:], {"w": both}, inputs={"c": [1, 6, 8, 8]})
    return first, second
