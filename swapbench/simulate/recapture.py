"""Recapture in linear light: where a face, a print of it or a display of it falls in the frame of a camera.

Knows framing, how an instrument is lit and what enters the frame at its edges; `instruments` knows prints and
displays, `camera` knows optics and sensors. Must not know how a face is drawn, nor how a data set is laid
out. Bona fide and attacks go through the same `Framing` and the same `Camera`, with a `Shot` drawn from the
same distribution, so that neither sharpness, exposure, noise nor compression is the label.

Lengths are in pixels of the captured frame unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.simulate.camera import SUPERSAMPLING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swapbench.simulate.camera import Pixels
    from swapbench.simulate.face_canvas import Image
    from swapbench.simulate.faces import Box
    from swapbench.simulate.instruments import Display, Printer, Sheet, Showing

_GRID_STEP = 16
_BEZEL = (0.012, 0.012, 0.013)


@dataclass(frozen=True)
class Framing:
    """Where the source square (a scene, or a photograph of one) falls in the frame.

    Attributes:
        matrix: homography from source pixels to frame pixels, 3 x 3 row by row.
        source_px: side of the source.
        frame_px: side of the frame.
        box: face box in the frame.
        edge: width of a border that enters the frame, left, right, top and bottom, in shares of the frame:
            the end of the paper of a print, the bezel of a display, a door or a wall before a living face. It
            is as frequent for each, so that it tells nothing. None: no border.
        edge_colour: linear RGB of what lies beyond.
    """

    matrix: tuple[float, ...]
    source_px: int
    frame_px: int
    box: Box
    edge: tuple[float, float, float, float] | None = None
    edge_colour: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def scale(self) -> float:
        """Frame pixels per source pixel, at the face."""
        m = self.matrix
        return float(np.sqrt(abs(m[0] * m[4] - m[1] * m[3])))

    def maps(self, bend: float = 0.0, bend_deg: float = 0.0) -> tuple[Image, Image]:
        """Source coordinates of each supersampled frame position, as maps of x and of y.

        Args:
            bend: curl of the source, in shares of it.
            bend_deg: direction of the curl.
        """
        side = self.frame_px * SUPERSAMPLING
        nodes = np.arange(0, side + _GRID_STEP, _GRID_STEP, dtype=np.float64)
        grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
        inverse = np.linalg.inv(np.asarray(self.matrix).reshape(3, 3))
        source = _through(inverse, (grid + 0.5) / SUPERSAMPLING)
        if bend:
            a = np.deg2rad(bend_deg)
            axis = np.array([np.cos(a), np.sin(a)])
            t = (source / self.source_px - 0.5) @ axis
            source += (bend * self.source_px * t**2)[:, None] * np.array([-axis[1], axis[0]])
        n = len(nodes)
        coarse = (source - 0.5).astype(np.float32).reshape(n, n, 2)
        # The nodes are pixel positions: an affine warp keeps them there, where a resize would shift by half a
        # step.
        spread = np.array([[_GRID_STEP, 0, 0], [0, _GRID_STEP, 0]], np.float32)
        full = cv2.warpAffine(
            coarse, spread, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.ascontiguousarray(full[..., 0], np.float32), np.ascontiguousarray(full[..., 1], np.float32)

    def seen_at(
        self, point: tuple[float, float], bend: float = 0.0, bend_deg: float = 0.0
    ) -> tuple[float, float]:
        """Where a point of the source falls in the frame; `maps` with the same bend is its inverse."""
        a = np.deg2rad(bend_deg)
        axis = np.array([np.cos(a), np.sin(a)])
        source = np.array(point, np.float64)
        # The curl moves a point across the axis along which it is measured, so that the way back needs no
        # search.
        t = (source / self.source_px - 0.5) @ axis
        source -= bend * self.source_px * t**2 * np.array([-axis[1], axis[0]])
        x, y = _through(np.asarray(self.matrix).reshape(3, 3), source[None])[0]
        return float(x), float(y)

    def border(self, radiance: Image, colour: tuple[float, float, float], rim: float) -> None:
        """Paint the edge, if there is one, into the radiance.

        Args:
            radiance: changed in place.
            colour: linear RGB of the object's own rim.
            rim: share of the edge that belongs to the object.
        """
        if self.edge is None:
            return
        side = radiance.shape[0]
        outside = np.asarray(self.edge_colour, np.float32)
        for which, inset in enumerate(self.edge):
            for share, paint in ((1.0, np.asarray(colour, np.float32)), (1.0 - rim, outside)):
                depth = round(side * inset * share)
                if not depth:
                    continue
                strips = (radiance[:, :depth], radiance[:, -depth:], radiance[:depth], radiance[-depth:])
                strip = strips[which]
                ramp = np.linspace(0.75, 1.1, strip.shape[0], dtype=np.float32)[:, None, None]
                strip[:] = paint * ramp


@dataclass(frozen=True)
class Framings:
    """How the framings of a site scatter.

    Attributes:
        face_px: range of the width of the face, in a frame of 256 px.
        edged: share with an edge.
    """

    face_px: tuple[float, float] = (97, 124)
    edged: float = 0.12

    def draw(self, rng: np.random.Generator, box: Box, source_px: int, frame_px: int) -> Framing:
        """A framing that never shows the end of the source.

        Args:
            rng: random numbers.
            box: face box in the source.
            source_px: side of the source.
            frame_px: side of the frame.
        """
        x, y, w, h = box
        # The first draw that keeps the frame inside the source is taken; each attempt is calmer.
        calm = 1.0
        while True:
            scale = rng.uniform(*self.face_px) * frame_px / 256 / w
            tilt = np.deg2rad(rng.normal(0, 2.2) * calm)
            where = frame_px * (0.5 + rng.uniform(-0.05, 0.05, 2) * calm)
            keystone = rng.normal(0, 0.028, 2) * calm / frame_px
            squeeze = np.exp(rng.normal(0, 0.02) * calm)
            to_origin = np.array([[1, 0, -x - w / 2], [0, 1, -y - h / 2], [0, 0, 1.0]])
            cos, sin = np.cos(tilt) * scale, np.sin(tilt) * scale
            turn = np.array([[cos * squeeze, -sin, 0], [sin, cos / squeeze, 0], [0, 0, 1.0]])
            lean = np.array([[1, 0, 0], [0, 1, 0], [keystone[0], keystone[1], 1.0]])
            back = np.array([[1, 0, where[0]], [0, 1, where[1]], [0, 0, 1.0]])
            matrix = back @ lean @ turn @ to_origin
            corners = _through(np.linalg.inv(matrix), np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]) * frame_px)
            margin = 0.012 * source_px
            if (corners.min() > margin and corners.max() < source_px - margin) or calm < 0.02:
                break
            calm *= 0.85
        face = _through(matrix, np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]))
        low, high = face.min(axis=0), face.max(axis=0)
        edge = None
        if rng.uniform() < self.edged:
            inset = rng.uniform(0.015, 0.09, 4) * (rng.uniform(size=4) < 0.45)
            edge = (float(inset[0]), float(inset[1]), float(inset[2]), float(inset[3]))
        colour = np.exp(rng.uniform(-3.5, 0)) * np.exp(rng.normal(0, 0.2, 3))
        return Framing(
            matrix=tuple(float(m) for m in matrix.ravel()),
            source_px=source_px,
            frame_px=frame_px,
            box=(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])),
            edge=edge,
            edge_colour=(float(colour[0]), float(colour[1]), float(colour[2])),
        )


def _through(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    lifted = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    # einsum without a BLAS call: the same bytes on one thread and on many.
    out = np.einsum("ij,nj->ni", matrix, lifted)
    return np.asarray(out[:, :2] / out[:, 2:])


def bona_fide(radiance: Image, framing: Framing) -> Image:
    """A face in front of the camera: supersampled radiance of the framed scene."""
    mx, my = framing.maps()
    scene = np.asarray(
        cv2.remap(radiance, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32
    )
    framing.border(scene, framing.edge_colour, 0.3)
    return scene


def printed(photo: Pixels, printer: Printer, sheet: Sheet, framing: Framing) -> Image:
    """A print held before the camera: supersampled radiance of the framed sheet of an sRGB photograph."""
    raster_px = max(16, round(photo.shape[0] * framing.scale * SUPERSAMPLING))
    plates = printer.plates(photo)
    fidelity = sheet.fidelity
    if printer.scattered:
        fidelity = max(fidelity, 0.35)
    elif sheet.zoom != 1.0:
        # Steps, so that the cache of screens stays small.
        printer = replace(printer, period_px=round(printer.period_px * sheet.zoom * 8) / 8)
    raster = np.asarray(cv2.resize(plates, (raster_px, raster_px), interpolation=cv2.INTER_LINEAR), np.uint8)
    dots = printer.halftone(raster, sheet.phase_px, float(SUPERSAMPLING))
    if fidelity:
        # Fine droplets of a photo printer between the screens: the tone without the dots.
        dots = np.asarray(cv2.addWeighted(dots, 1 - fidelity, raster, fidelity, 0), np.uint8)
    mx, my = framing.maps(sheet.bend, sheet.bend_deg)
    ratio = np.float32(raster_px / photo.shape[0])
    seen = cv2.remap(
        dots,
        (mx + 0.5) * ratio - 0.5,
        (my + 0.5) * ratio - 0.5,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    out = printer.reflectance(np.asarray(seen, np.uint8))
    x, y = _across(out.shape[0])
    a, b = np.deg2rad(sheet.shade_deg), np.deg2rad(sheet.bend_deg)
    along = x * np.float32(np.cos(b)) + y * np.float32(np.sin(b))
    shade = 1 - sheet.shade * 0.5 * (1 + x * np.float32(np.cos(a)) + y * np.float32(np.sin(a)))
    shade = shade * (1 + 2.2 * sheet.bend * along)
    shade = shade * (
        1 + printer.streaks * np.sin(my * np.float32(0.23 * printer.period_px) + sheet.phase_px[0])
    )
    for offset, direction_deg, depth in sheet.creases:
        c = np.deg2rad(direction_deg)
        shade = shade * _crease(x * np.float32(np.cos(c)) + y * np.float32(np.sin(c)), offset, depth)
    shine = _spot(x, y, sheet.gloss_at, 0.55) * np.float32(printer.gloss * sheet.gloss)
    out *= np.clip(shade, 0.15, 2)[..., None]
    if printer.mottle:
        out *= _mottle(out.shape[0], printer.mottle, sheet.phase_px)
    out += shine[..., None]
    if sheet.reflection is not None:
        out += sheet.reflection.light(out.shape[0])
    out *= np.asarray(sheet.light, np.float32)
    framing.border(out, printer.paper, 0.5)
    if sheet.hold is not None:
        sheet.hold.paint(out, printer.paper)
    return out


def _crease(across: Image, offset: float, depth: float) -> Image:
    """Light of a fold: one side faces it less, and the fold itself is a bright and a dark line."""
    t = across - np.float32(offset)
    side = np.float32(depth) * np.tanh(t / np.float32(0.01)) * np.exp(-np.abs(t) / np.float32(0.5))
    line = np.float32(abs(depth)) * np.exp(-((t / np.float32(0.012)) ** 2))
    return np.asarray(1 + side - line, np.float32)


def _mottle(side: int, amplitude: float, phase_px: tuple[int, int]) -> Image:
    """Uneven inking: smooth noise about 1, in each colour on its own, 3 to 10 pixels large."""
    rng = np.random.default_rng(np.random.SeedSequence([0x307, *phase_px]))
    grain = np.zeros((side, side, 3), np.float32)
    for cell_px, weight in ((3.0, 0.5), (9.0, 0.9)):
        cells = round(side / SUPERSAMPLING / cell_px)
        seedling = rng.standard_normal((cells, cells, 3), dtype=np.float32)
        grain += np.float32(weight) * cv2.resize(seedling, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(1 + np.float32(amplitude) * grain, 0.2, 2), np.float32)


def _across(side: int) -> tuple[Image, Image]:
    """Coordinates -1..1 of a square, as a row and a column."""
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    return ramp[None, :], ramp[:, None]


def _spot(x: Image, y: Image, at: tuple[float, float], radius: float) -> Image:
    cx, cy = 2 * at[0] - 1, 2 * at[1] - 1
    return np.asarray(np.exp(-((x - cx) ** 2) / radius**2) * np.exp(-((y - cy) ** 2) / radius**2), np.float32)


def replayed(photo: Pixels, display: Display, showing: Showing, framing: Framing) -> Image:
    """A display held before the camera: supersampled radiance of an sRGB photograph shown on it."""
    light = display.emission(photo)
    mx, my = framing.maps()
    out = np.asarray(cv2.remap(light, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)
    scale = framing.scale
    a = np.deg2rad(showing.turn_deg)
    cos, sin = np.float32(np.cos(a)), np.float32(np.sin(a))
    pitch = display.pitch_px * showing.zoom / scale
    x, y = _across(out.shape[0])
    if showing.lens:
        swell = 1 + np.float32(showing.lens) * (x * x + y * y)
        centre = np.float32(framing.source_px / 2)
        mx, my = (mx - centre) * swell + centre, (my - centre) * swell + centre
    grid = display.lattice(
        mx * cos + my * sin,
        my * cos - mx * sin,
        pitch,
        1 / (SUPERSAMPLING * scale),
        display.grid * showing.grid,
    )
    out *= grid
    band = 1 + np.float32(display.flicker * showing.flicker) * np.sin(
        np.float32(np.pi * showing.flicker_cycles) * y + np.float32(showing.flicker_phase)
    )
    b = np.deg2rad(showing.falloff_deg)
    fall = 1 - np.float32(0.5 * showing.falloff) * (1 + x * np.float32(np.cos(b)) + y * np.float32(np.sin(b)))
    out *= (band * fall)[..., None]
    shine = _spot(x, y, showing.glare_at, showing.glare_size) * np.float32(display.gloss * showing.glare)
    if showing.pane is not None:
        side = out.shape[0]
        u, v, w, h = showing.pane
        pane = np.zeros((side, side), np.float32)
        pane[int(v * side) : int((v + h) * side), int(u * side) : int((u + w) * side)] = (
            0.5 * display.gloss * showing.glare
        )
        shine = shine + cv2.blur(pane, (max(3, side // 40) | 1, max(3, side // 40) | 1))
    if display.colour_shift:
        d = np.deg2rad(showing.drift_deg)
        drift = np.float32(display.colour_shift) * (x * np.float32(np.cos(d)) + y * np.float32(np.sin(d)))
        out[..., 0] *= 1 + drift
        out[..., 2] *= 1 - drift
    out += (shine + np.float32(showing.veil))[..., None]
    if showing.reflection is not None:
        out += showing.reflection.light(out.shape[0])
    framing.border(out, _BEZEL, 0.7)
    if showing.hold is not None:
        showing.hold.paint(out, _BEZEL)
    return out
