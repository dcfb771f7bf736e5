"""Where the names of points go, so that they hide neither points nor each other: pure arithmetic of boxes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""left, bottom, right, top"""


def overlap(box: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def label_boxes(
    anchors: Sequence[tuple[float, float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    lines: Sequence[Box],
    bounds: Box,
) -> tuple[Box, ...]:
    """A box for each label, near its anchor, inside `bounds` where it fits, over as little as possible.

    Greedy and deterministic: labels are placed in order, each at the candidate place that costs least. To
    cover an earlier label costs most, then to cover an obstacle, to cross a line, to be far away.

    Args:
        anchors: (x, y, radius) of the point that each label belongs to, in pixels as everything here.
        sizes: (width, height) of each label.
        obstacles: What labels should not cover.
        lines: What they should not cross.
        bounds: The frame of the axes.
    """
    placed: list[Box] = []
    hidden, crossed = _as_array(obstacles), _as_array(lines)
    for (x, y, radius), (width, height) in zip(anchors, sizes, strict=True):
        candidates: list[Box] = []
        steps: list[int] = []
        for step in range(12):
            reach = radius + 2 + step * height * 0.6
            for turn in range(16):
                angle = 2 * math.pi * turn / 16
                cos, sin = math.cos(angle), math.sin(angle)
                # The box touches the circle of that reach with the side or corner that faces the anchor.
                centre_x = x + cos * reach + width / 2 * max(-1.0, min(1.0, 1.6 * cos))
                centre_y = y + sin * reach + height / 2 * max(-1.0, min(1.0, 1.6 * sin))
                left = min(max(centre_x - width / 2, bounds[0]), max(bounds[2] - width, bounds[0]))
                bottom = min(max(centre_y - height / 2, bounds[1]), max(bounds[3] - height, bounds[1]))
                candidates.append((left, bottom, left + width, bottom + height))
                steps.append(step)
        boxes = np.array(candidates)
        own = _as_array([(x - radius, y - radius, x + radius, y + radius)])
        cost = (
            400 * _covered(boxes, _as_array(placed))
            + 40 * (_covered(boxes, hidden) + _covered(boxes, own))
            + 8 * _covered(boxes, crossed)
        ) / (width * height) + np.array(steps)
        placed.append(candidates[int(np.argmin(np.round(cost, 6)))])
    return tuple(placed)


def _as_array(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _covered(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area of each box that others lie in, counted once for each of them."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    area: NDArray[np.float64] = np.prod(np.clip(high - low, 0.0, None), axis=-1).sum(axis=1)
    return area
