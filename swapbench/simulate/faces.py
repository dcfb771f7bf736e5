"""Draw procedural faces: identities that never existed, under a given pose, expression and light.

The entry point to the modules beside it: `face_identity` knows who is shown, `face_head` and `face_hair` how
a head is shaped, coloured and lit, `face_surroundings` what stands around it, `face_canvas` what all paint
on. None of them knows cameras, prints, displays or data sets: what `render` returns is the light that leaves
the scene, before anything photographs it.
"""

from __future__ import annotations

import cv2
import numpy as np

from swapbench.simulate.face_canvas import Canvas, Image, linear
from swapbench.simulate.face_hair import lit_head
from swapbench.simulate.face_head import EYE_V, Head
from swapbench.simulate.face_identity import STYLES, Identity, Scene
from swapbench.simulate.face_surroundings import backdrop, paint_body

__all__ = [
    "FACE_WIDTH_SHARE",
    "STYLES",
    "Box",
    "Identity",
    "Image",
    "Point",
    "Scene",
    "eye_positions",
    "face_box",
    "linear",
    "relief",
    "render",
]

Box = tuple[float, float, float, float]
Point = tuple[float, float]

FACE_WIDTH_SHARE = 0.33
"""Width of the face box as a share of the rendered square."""

_CENTRE_V_SHARE = 0.47
_BOX_V = (-0.98, 1.27)
BACKDROP_DEPTH = -6.0
"""Where the backdrop is, in half face widths."""

_SHOULDERS_DEPTH, _BOW = -0.55, 0.35
_PIVOT_V = 0.9
_PIVOT_DEPTH = 0.35
_RELIEF_UNIT_PX = 32.0


def _depth(z: Image, c: Canvas) -> Image:
    """Depth by which a turn of the head moves each point: its relief without what is finer than a nose."""
    return np.asarray(cv2.GaussianBlur(z, (0, 0), 0.10 * c.unit) - _PIVOT_DEPTH, np.float32)


def _pose(layer: Image, z: Image, c: Canvas, scene: Scene, frame: Canvas) -> Image:
    """The head turned: for each pixel of the frame, the point of the height field that is seen there."""
    quarter = 4
    rows, columns = frame.shape[0] // quarter, frame.shape[1] // quarter
    su = np.interp(np.arange(columns) * quarter + (quarter - 1) / 2, np.arange(frame.shape[1]), frame.u)
    sv = np.interp(np.arange(rows) * quarter + (quarter - 1) / 2, np.arange(frame.shape[0]), frame.v)
    smooth = _depth(z, c)
    turn = scene.turn.astype(np.float64)
    x, y = np.meshgrid(su, sv)
    y = y - _PIVOT_V
    u, v = x.copy(), y.copy()
    inverse = np.linalg.inv(turn[:2, :2])
    for _ in range(4):
        mx = ((u - c.u[0]) * c.unit).astype(np.float32)
        my = ((v + _PIVOT_V - c.v[0]) * c.unit).astype(np.float32)
        depth = cv2.remap(smooth, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rx, ry = x - turn[0, 2] * depth, y - turn[1, 2] * depth
        u, v = inverse[0, 0] * rx + inverse[0, 1] * ry, inverse[1, 0] * rx + inverse[1, 1] * ry
    size = (frame.shape[1], frame.shape[0])
    mx = cv2.resize(((u - c.u[0]) * c.unit).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    my = cv2.resize(
        ((v + _PIVOT_V - c.v[0]) * c.unit).astype(np.float32), size, interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(cv2.remap(layer, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.float32)


def face_box(scene: Scene, size_px: int) -> Box:
    """Face box `x, y, w, h` in pixels of a render of this size: hairline to chin, cheek to cheek."""
    unit = FACE_WIDTH_SHARE * size_px / 2
    turn = scene.turn
    centre = turn @ np.array([0.0, (_BOX_V[0] + _BOX_V[1]) / 2 - _PIVOT_V, 0.30], np.float32)
    width, height = 2.0, _BOX_V[1] - _BOX_V[0]
    x, y = float(centre[0]) - width / 2, float(centre[1]) + _PIVOT_V - height / 2
    return (x * unit + size_px / 2, y * unit + _CENTRE_V_SHARE * size_px, width * unit, height * unit)


def eye_positions(identity: Identity, scene: Scene, size_px: int) -> tuple[Point, Point]:
    """Middle of the right and of the left eye of a person, `x, y` in pixels of a render of this size.

    Right and left are the person's own: the right eye is the one on the left of the picture. The middle is
    that of the opening, wherever the iris looks. It is turned as `render` turns the head, on a small drawing
    of the same relief.
    """
    head = Head(identity, scene, _RELIEF_UNIT_PX)
    depth, c = _depth(head.z, head.canvas), head.canvas
    unit = FACE_WIDTH_SHARE * size_px / 2
    turn = scene.turn.astype(np.float64)
    eyes: list[Point] = []
    for u in (-identity.eye_distance, identity.eye_distance):
        column, row = int(np.searchsorted(c.u, u)), int(np.searchsorted(c.v, EYE_V))
        x, y, _ = turn @ (u, EYE_V - _PIVOT_V, float(depth[row, column]))
        eyes.append((float(x) * unit + size_px / 2, (float(y) + _PIVOT_V) * unit + _CENTRE_V_SHARE * size_px))
    return eyes[0], eyes[1]


def render(identity: Identity, scene: Scene, size_px: int) -> tuple[Image, Box]:
    """Light leaving the scene, linear RGB float32 `(size_px, size_px, 3)`, about 0..1, and the face box.

    The head is a height field with an albedo, shaded by wrapped Lambert light, a sky, cast shadows, occlusion
    and a specular lobe, and turned by following the height field. The same arguments give the same bytes.

    Raises:
        ValueError: `size_px` is below 64.
    """
    frame = _frame(size_px)
    out = backdrop(scene, frame.shape, frame.unit)
    paint_body(identity, scene, frame, out)
    layer, z, canvas = lit_head(identity, scene, frame.unit)
    seen = _pose(layer, z, canvas, scene, frame)
    out *= 1 - seen[..., 3:]
    out += seen[..., :3]
    return np.ascontiguousarray(out, np.float32), face_box(scene, size_px)


def relief(identity: Identity, scene: Scene, size_px: int) -> Image:
    """How near each point of the scene is, in half face widths before the axis of the head's turns.

    Float32 `(size_px, size_px)`, the same geometry as `render`. Neck and shoulders are a shallow bow, the
    backdrop is a wall `BACKDROP_DEPTH` behind.

    Raises:
        ValueError: `size_px` is below 64.
    """
    frame = _frame(size_px)
    body = np.zeros((*frame.shape, 3), np.float32)
    paint_body(identity, scene, frame, body)
    bow = _SHOULDERS_DEPTH - _BOW * (frame.u / identity.shoulders)[None, :] ** 2
    out = np.where(body.max(axis=2) > 0, bow, np.float32(BACKDROP_DEPTH)).astype(np.float32)
    layer, z, c = lit_head(identity, scene, frame.unit)
    x, y, nearer = scene.turn[2]
    turned = x * c.u[None, :] + y * (c.v[:, None] - _PIVOT_V) + nearer * (z - _PIVOT_DEPTH)
    alpha = layer[..., 3]
    seen = _pose(np.dstack([turned * alpha, alpha]).astype(np.float32), z, c, scene, frame)
    # a point is the head's or what is behind it, never a mean of both
    head = seen[..., 1] > 0.5
    out[head] = seen[..., 0][head] / seen[..., 1][head]
    return out


def _frame(size_px: int) -> Canvas:
    """The canvas of a render of this size."""
    if size_px < 64:
        raise ValueError(f"size_px is {size_px}, at least 64 is needed")
    unit = FACE_WIDTH_SHARE * size_px / 2
    half = size_px / 2 / unit
    top = _CENTRE_V_SHARE * size_px / unit
    frame = Canvas(unit, (-half, half), (-top, 2 * half - top))
    if frame.shape != (size_px, size_px):
        raise ValueError(f"a canvas of {size_px} px cannot be made")
    return frame
