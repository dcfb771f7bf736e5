"""Hair, ears and glasses of a procedural face, and the head that wears them as the light shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.simulate.face_canvas import KNOTS_DEG, noise, smooth_radius, step
from swapbench.simulate.face_head import Head
from swapbench.simulate.face_light import matt, normals, shadows

if TYPE_CHECKING:
    from swapbench.simulate.face_canvas import Canvas, Image
    from swapbench.simulate.face_identity import Identity, Scene


_STYLES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # Radius of the opening for the face and of the outside of the hair, in the directions of KNOTS_DEG; the
    # first is multiplied by the head outline too, so that 1.0 lies on the outline.
    "shaved": (
        (2, 2, 2, 2, 2, 2, 2, 0.99, 0.86, 0.72, 0.66, 0.65),
        (1, 1, 1, 1, 1, 1, 1.0, 1.01, 1.012, 1.015, 1.015, 1.015),
    ),
    "short": (
        (2, 2, 2, 2, 2, 2, 1.03, 0.94, 0.84, 0.70, 0.65, 0.64),
        (1, 1, 1, 1, 1, 1, 1.03, 1.06, 1.08, 1.11, 1.13, 1.14),
    ),
    "crop": (
        (2, 2, 2, 2, 2, 2, 1.0, 0.93, 0.82, 0.66, 0.60, 0.60),
        (1, 1, 1, 1, 1, 1, 1.04, 1.07, 1.11, 1.17, 1.22, 1.24),
    ),
    "parted": (
        (2, 2, 2, 2, 2, 1.2, 0.99, 0.92, 0.80, 0.66, 0.62, 0.60),
        (1, 1, 1, 1, 1, 1, 1.05, 1.09, 1.13, 1.18, 1.19, 1.18),
    ),
    "fringe": (
        (2, 2, 2, 1.1, 0.98, 0.95, 0.93, 0.86, 0.66, 0.48, 0.43, 0.42),
        (1, 1, 1, 1.04, 1.1, 1.12, 1.12, 1.13, 1.14, 1.17, 1.18, 1.18),
    ),
    "bob": (
        (2, 2, 1.1, 0.99, 0.95, 0.93, 0.92, 0.89, 0.80, 0.68, 0.62, 0.60),
        (1, 1.0, 1.12, 1.24, 1.28, 1.25, 1.2, 1.17, 1.16, 1.17, 1.18, 1.18),
    ),
    "long": (
        (2, 2, 1.04, 0.985, 0.96, 0.95, 0.93, 0.88, 0.78, 0.67, 0.63, 0.61),
        (1, 1.0, 1.12, 1.2, 1.2, 1.19, 1.17, 1.15, 1.14, 1.16, 1.17, 1.17),
    ),
    "curly": (
        (2, 2, 2, 1.1, 1.0, 0.97, 0.94, 0.88, 0.78, 0.66, 0.62, 0.60),
        (1, 1, 1.02, 1.1, 1.2, 1.27, 1.3, 1.33, 1.36, 1.38, 1.38, 1.38),
    ),
    "tied": (
        (2, 2, 2, 2, 2, 2, 1.01, 0.91, 0.80, 0.67, 0.62, 0.60),
        (1, 1, 1, 1, 1, 1, 1.02, 1.045, 1.06, 1.07, 1.07, 1.07),
    ),
    "receding": (
        (2, 2, 2, 2, 2, 2, 1.0, 0.965, 0.93, 0.90, 0.86, 0.80),
        (1, 1, 1, 1, 1, 1, 1.03, 1.05, 1.05, 1.05, 1.05, 1.05),
    ),
}
LOOSE_STYLES = frozenset({"long", "bob", "curly"})
_COVERED_EARS = frozenset({"long", "bob", "curly", "fringe"})


def _strands(head: Head, rng: np.random.Generator, curly: bool) -> Image:
    """Texture of the hair, -2..2: strands that run from the crown, or curls."""
    c = head.canvas
    if curly:
        a, b = noise(rng, c.shape, 0.07 * c.unit), noise(rng, c.shape, 0.03 * c.unit)
        return (0.9 * a + 0.6 * b).astype(np.float32)
    du = np.ascontiguousarray(np.broadcast_to(c.u[None, :] - 0.5 * head.person.parting, c.shape))
    dv = np.ascontiguousarray(np.broadcast_to(c.v[:, None] + 1.15, c.shape))
    away, around = cv2.cartToPolar(du, dv)
    wave = 0.10 * np.sin(4.0 * away + head.person.parting * 9)
    tile = rng.standard_normal((24, 512), dtype=np.float32)
    tile[:, 1:] = 0.55 * tile[:, 1:] + 0.45 * tile[:, :-1]
    coarse = noise(rng, (24, 512), 4, 14)
    across = (around + wave) * (512 / (2 * np.pi))
    along = np.clip(away * 3.2, 0, 22)
    where = (across.astype(np.float32), along.astype(np.float32))
    fine, wide = (
        cv2.remap(strip, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP) for strip in (tile, coarse)
    )
    return np.asarray(0.75 * fine + 0.7 * wide, np.float32)


def loose_hair(person: Identity, frame: Canvas, rng: np.random.Generator) -> tuple[Image, Image, Image]:
    """Cover of the hair behind the neck and in front of the shoulders, and its texture."""
    length = {"long": 2.1 + 0.8 * person.hair_volume, "bob": 1.12, "curly": 1.35}[person.style]
    v = frame.v
    outer = np.interp(v, [-1.2, -0.4, 0.5, 1.2, 1.8, 2.8], [0.92, 1.11, 1.14, 1.14, 1.13, 1.10])
    if person.style == "curly":
        outer = outer * (1.0 + 0.18 * person.hair_volume)
    inner = np.interp(v, [0.2, 0.9, 1.3, 1.8, 2.8], [0.95, 0.80, 0.68, 0.62, 0.70])
    strands = noise(rng, frame.shape, 1.2 * frame.unit, 0.035 * frame.unit)
    strands = strands + 0.7 * noise(rng, frame.shape, 0.5 * frame.unit, 0.10 * frame.unit)
    if person.style == "curly":
        strands = noise(rng, frame.shape, 0.08 * frame.unit) + 0.4 * strands
    au = np.abs(frame.u)[None, :] + 0.02 * strands
    ends = (
        length - 0.35 * np.clip(au, 0, 1.5) ** 4 * (0.45 if person.style == "long" else 1.0) + 0.05 * strands
    )
    end = step((ends - v[:, None]) * 6) * step((v + 1.0) * 3)[:, None]
    back = step((outer[:, None] - au) * frame.unit * 0.5 + 0.5) * end
    front = back * step((au - inner[:, None]) * frame.unit * 0.3 + 0.5)
    return back.astype(np.float32), front.astype(np.float32), strands.astype(np.float32)


def _glasses(head: Head, rgb: Image, alpha: Image, light: float) -> None:
    p, c = head.person, head.canvas
    power = p.glasses_round
    a, b = 0.335, 0.225 + 0.03 * (4.5 - power)
    thick = 0.016 + 0.022 * p.glasses
    colour = np.asarray(p.glasses_colour, np.float32) * light
    for side in (-1.0, 1.0):
        cu, cv_ = side * (p.eye_distance + 0.015), -0.10
        window = c.window(cu, cv_, a + 0.12, b + 0.14)
        u, v = c.at(window)

        def ring(dv: float, u: Image = u, v: Image = v, cu: float = cu, cv_: float = cv_) -> Image:
            f = (np.abs((u - cu) / a) ** power + np.abs((v - cv_ - dv) / b) ** power) ** np.float32(1 / power)
            return np.asarray((f - 1.0) * (0.5 * (a + b)))

        region = rgb[window]
        region *= 1 - 0.30 * np.exp(-((ring(0.05) / 0.030) ** 2))[..., None]
        d = ring(0.0)
        lens = step(-d * c.unit)[..., None]
        glare = 0.025 * lens * step(0.5 + 3.0 * (v - cv_) * -1 + 1.6 * side * (u - cu))[..., None] * light
        region[:] = region * (1 - 0.06 * lens) + glare
        rim = step((thick - np.abs(d)) * c.unit + 0.5)[..., None]
        sheen = (
            1
            + 1.8
            * np.exp(-(((d + 0.3 * thick) / (0.4 * thick)) ** 2))[..., None]
            * step(-(v - cv_) * 6)[..., None]
        )
        region[:] = region * (1 - rim) + colour * sheen * rim
        temple = c.window(side * (head.half_width - 0.08), -0.17, 0.14, 0.05)
        u, v = c.at(temple)
        bar = step((thick * 1.1 - np.abs(v + 0.17)) * c.unit + 0.5)[..., None] * alpha[temple][..., None]
        bar = bar * (np.abs(u) > p.eye_distance + a)[..., None]
        rgb[temple] = rgb[temple] * (1 - bar) + colour * bar
    bridge = c.window(0, -0.13, max(p.eye_distance - a + 0.02, 0.04), 0.09)
    u, v = c.at(bridge)
    bar = step((0.8 * thick - np.abs(v + 0.15 - 0.8 * u * u)) * c.unit + 0.5)[..., None]
    rgb[bridge] = rgb[bridge] * (1 - bar) + colour * bar


def lit_head(person: Identity, scene: Scene, unit: float) -> tuple[Image, Image, Canvas]:
    """Premultiplied RGBA radiance of the head facing the viewer, and its height."""
    head = Head(person, scene, unit)
    c, p = head.canvas, person
    light = scene.turn.T @ scene.towards_light
    rng = np.random.default_rng(np.random.SeedSequence([0x4A12, p.seed]))
    opening, outer = (np.asarray(x, np.float32) for x in _STYLES[p.style])
    volume = 1 + (outer - 1) * p.hair_volume
    opening = opening - np.where(KNOTS_DEG > 100, p.hairline, 0).astype(np.float32) * -0.6
    tilt = np.where(KNOTS_DEG > 120, p.parting * 0.22, 0).astype(np.float32)
    parted = p.style in ("parted", "bob", "long")
    inner_ring = smooth_radius(opening + (tilt if parted else 0), opening - (tilt if parted else 0))
    outer_ring = smooth_radius(volume, volume) * head.outline
    inner = inner_ring[head.direction] * head.radius
    outside = outer_ring[head.direction]
    curly = p.style == "curly"
    strands = _strands(head, rng, curly)
    jag = 0.022 * unit * (0.8 * strands + noise(rng, c.shape, 0.10 * unit))
    soft = {"shaved": 0.10, "short": 0.22, "receding": 0.2, "crop": 0.3}.get(p.style, 0.4)
    rim = 0.8 if curly else 0.25
    hair = step((head.rho - inner) * unit * soft + 0.6 * jag * soft * 2 + 0.5)
    hair = hair * step((outside - head.rho) * unit * 0.7 + rim * jag + 0.3)
    hair[c.v > 0.95, :] *= 1.0 if p.style in LOOSE_STYLES else 0.0
    density = {"shaved": 0.62, "receding": 0.9}.get(p.style, 1.0)
    z, alpha = head.z, head.face.copy()
    if p.style not in _COVERED_EARS:
        for side in (-1.0, 1.0):
            window = c.window(side * head.half_width, -0.02, 0.2, 0.42)
            u, v = c.at(window)
            lean = side * u - head.half_width + 0.10 * v
            d = np.sqrt((lean / 0.125) ** 2 + ((v + 0.02) / 0.285) ** 2)
            ear = step((1 - d) * 0.13 * unit + 0.5) * (1 - head.face[window])
            fold = np.exp(-(((d - 0.62) / 0.16) ** 2))[..., None]
            tone = (
                np.asarray(p.skin, np.float32) * np.array([0.92, 0.74, 0.70], np.float32) * (1 - 0.40 * fold)
            )
            head.albedo[window] += (tone - head.albedo[window]) * ear[..., None]
            z[window] += ear * (0.12 + 0.12 * np.sqrt(np.clip(1 - d * d, 0, 1)))
            alpha[window] = np.maximum(alpha[window], ear)
    cover = (hair * density)[..., None]
    tone = np.clip(1 + (0.20 if curly else 0.24) * strands, 0.3, 1.8)[..., None]
    roots = np.asarray(p.hair, np.float32) * tone
    if p.style == "shaved":
        roots = 0.6 * roots + 0.12 * np.asarray(p.skin, np.float32)
    albedo = head.albedo * (1 - cover) + roots * cover
    dome = np.sqrt(np.maximum(1 - np.minimum(head.rho / outside, 1.0) ** 2.4, 0)).astype(np.float32)
    mane = p.depth * dome + (0.02 if p.style == "shaved" else 0.09) + (0.05 if curly else 0.010) * strands
    z = z * (1 - hair) + np.maximum(mane, z) * hair
    alpha = np.maximum(alpha, hair * (0.9 + 0.1 * density))
    normal = normals(z, unit)
    lit, open_ = shadows(z, unit, light)
    rgb = matt(albedo, normal, scene, light, lit, open_)
    half = light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    glint = np.maximum(normal[0] * half[0] + normal[1] * half[1] + normal[2] * half[2], 0)
    bright = 1.35 * (1 - scene.ambient)
    wet = np.maximum(head.gloss, 0) * (1 - hair) * lit
    shine = p.oiliness * wet * (0.10 * cv2.pow(glint, 34.0) + 0.045 * cv2.pow(glint, 9.0))
    tress = np.maximum(1 - (normal[1] * 0.9 + half[1] * 0.9 + 0.12 * strands) ** 2 * 6, 0) ** 3
    shine += 0.055 * hair * density * tress * lit * np.clip(0.6 + 0.5 * strands, 0, 2) * (0.3 if curly else 1)
    rgb += shine[..., None] * (np.asarray(scene.light, np.float32) * bright)
    for gu, gv, radius, amount in head.glints:
        window = c.window(gu, gv, 0.12, 0.12)
        u, v = c.at(window)
        at_u, at_v = gu + 0.5 * radius * float(light[0]), gv + 0.5 * radius * float(light[1]) - 0.02
        spot = np.exp(-(((u - at_u) / 0.020) ** 2) - ((v - at_v) / 0.020) ** 2)
        rgb[window] += (
            (0.8 * min(amount, 1.0) * bright) * spot[..., None] * np.asarray(scene.light, np.float32)
        )
    if p.glasses:
        _glasses(head, rgb, alpha, 0.4 * scene.ambient + 0.6)
    return np.dstack([rgb * alpha[..., None], alpha]).astype(np.float32), z, c
