"""What the code of public networks does to a frame, in plain OpenCV, and the card that says the same.

Written after minivision-ai/Silent-Face-Anti-Spoofing, yakhyo/face-anti-spoofing, hairymax/Face-AntiSpoofing
and VietAnh954/face-antispoof-onnx. A frame is RGB; what comes out is in the network's channel order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swapbench.records import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

MINIVISION = Preprocessing(
    width_px=80,
    height_px=80,
    crop_scale=2.7,
    keep_box_aspect=True,
    resize="bilinear",
    channel_order="bgr",
    scale=1.0,
)
YAKHYO = MINIVISION.replace(border="shrink")
HAIRYMAX = Preprocessing(
    width_px=128, height_px=128, crop_scale=1.5, border="black", fit="letterbox", resize="bilinear"
)
FACENOX = HAIRYMAX.replace(border="reflect", resize="area", enlarge="lanczos4")


def minivision(cv2: Any, frame: np.ndarray, box: list[int]) -> Any:
    height, width = frame.shape[:2]
    x, y, box_width, box_height = box
    scale = min((height - 1) / box_height, (width - 1) / box_width, 2.7)
    corners = []
    for low, side, limit in ((x, box_width, width), (y, box_height, height)):
        first, last = low + side / 2 - side * scale / 2, low + side / 2 + side * scale / 2
        if first < 0:
            first, last = 0, last - first
        if last > limit - 1:
            first, last = first - (last - limit + 1), limit - 1
        corners.append((int(first), int(last)))
    (x0, x1), (y0, y1) = corners
    return cv2.resize(frame[y0 : y1 + 1, x0 : x1 + 1, ::-1].copy(), (80, 80))


def yakhyo(cv2: Any, frame: np.ndarray, box: list[int]) -> Any:
    height, width = frame.shape[:2]
    x, y, box_width, box_height = box
    scale = min((height - 1) / box_height, (width - 1) / box_width, 2.7)
    half_width, half_height = box_width * scale / 2, box_height * scale / 2
    x0, y0 = max(0, int(x + box_width / 2 - half_width)), max(0, int(y + box_height / 2 - half_height))
    x1 = min(width - 1, int(x + box_width / 2 + half_width))
    y1 = min(height - 1, int(y + box_height / 2 + half_height))
    return cv2.resize(frame[y0 : y1 + 1, x0 : x1 + 1, ::-1].copy(), (80, 80))


def _square(cv2: Any, frame: np.ndarray, box: list[int], border: int) -> Any:
    """The square of 1.5 times the longer side, and what lies outside the frame by a border of OpenCV's."""
    height, width = frame.shape[:2]
    x, y, box_width, box_height = box
    longer = max(box_width, box_height)
    x0, y0 = int(x + box_width / 2 - longer * 1.5 / 2), int(y + box_height / 2 - longer * 1.5 / 2)
    x1, y1 = x0 + int(longer * 1.5), y0 + int(longer * 1.5)
    inside = frame[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    overhang = max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0)
    return cv2.copyMakeBorder(inside, *overhang, border)


def _letterbox(cv2: Any, crop: np.ndarray, filters: tuple[int, int], border: int) -> Any:
    """Scaled to 128 px by one filter up and another one down, and centred."""
    ratio = 128 / max(crop.shape[:2])
    height, width = (int(side * ratio) for side in crop.shape[:2])
    crop = cv2.resize(crop, (width, height), interpolation=filters[0 if ratio > 1 else 1])
    missing_y, missing_x = 128 - height, 128 - width
    bars = missing_y // 2, missing_y - missing_y // 2, missing_x // 2, missing_x - missing_x // 2
    return cv2.copyMakeBorder(crop, *bars, border)


def hairymax(cv2: Any, frame: np.ndarray, box: list[int]) -> Any:
    crop = _square(cv2, frame, box, cv2.BORDER_CONSTANT)
    return _letterbox(cv2, crop, (cv2.INTER_LINEAR, cv2.INTER_LINEAR), cv2.BORDER_CONSTANT)


def facenox(cv2: Any, frame: np.ndarray, box: list[int]) -> Any:
    crop = _square(cv2, frame, box, cv2.BORDER_REFLECT_101)
    return _letterbox(cv2, crop, (cv2.INTER_LANCZOS4, cv2.INTER_AREA), cv2.BORDER_REFLECT_101)


PIPELINES: Mapping[str, tuple[Preprocessing, Callable[[Any, np.ndarray, list[int]], Any]]] = {
    "minivision": (MINIVISION, minivision),
    "yakhyo": (YAKHYO, yakhyo),
    "hairymax": (HAIRYMAX, hairymax),
    "facenox": (FACENOX, facenox),
}
"""Name -> card, and the function of OpenCV, a frame and a face box as x, y, width, height."""
