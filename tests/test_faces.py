"""Procedural faces: repeatable, distinct, and lit as a face would be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2")

from swapbench.simulate.faces import STYLES, Identity, Scene, eye_positions, linear, render

SIZE = 96


def test_the_same_number_is_the_same_person():
    assert Identity.draw(7) == Identity.draw(7)
    assert Identity.draw(7) != Identity.draw(8)


def test_a_face_renders_to_the_same_bytes_twice():
    scene = Scene.draw(np.random.default_rng(3))
    first, box = render(Identity.draw(5), scene, SIZE)
    second, same = render(Identity.draw(5), scene, SIZE)
    assert first.tobytes() == second.tobytes()
    assert box == same


def test_radiance_is_finite_not_negative_and_of_the_size_asked_for():
    for seed in range(24):
        image, _ = render(Identity.draw(seed), Scene.draw(np.random.default_rng(seed)), SIZE)
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= -1e-4
        assert 0.002 < image.mean() < 2


def test_the_population_has_every_hair_style_and_the_full_range_of_skin():
    people = [Identity.draw(seed) for seed in range(300)]
    assert {p.style for p in people} == set(STYLES)
    luminance = [float(np.mean(p.skin)) for p in people]
    assert min(luminance) < 0.05
    assert max(luminance) > 0.5
    assert 0.05 < np.mean([p.glasses > 0 for p in people]) < 0.5
    assert any(p.beard for p in people)


def test_people_look_different_in_the_same_scene():
    pictures = [render(Identity.draw(seed), Scene(), SIZE)[0] for seed in range(6)]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 0.01


def test_the_face_box_holds_the_face_and_the_share_of_the_square_it_promises():
    image, (x, y, w, h) = render(Identity.draw(1), Scene(), SIZE)
    assert 0 < x < x + w < SIZE
    assert 0 < y < y + h < SIZE
    assert w == pytest.approx(0.33 * SIZE)
    assert image[int(y) : int(y + h), int(x) : int(x + w)].std() > 0


def test_light_from_the_left_makes_the_left_cheek_the_brighter_one():
    def cheeks(azimuth_deg: float) -> tuple[float, float]:
        image, (x, y, w, h) = render(Identity.draw(2), Scene(azimuth_deg=azimuth_deg, ambient=0.3), 192)
        row = slice(int(y + 0.50 * h), int(y + 0.62 * h))
        left = image[row, int(x + 0.15 * w) : int(x + 0.35 * w)].mean()
        right = image[row, int(x + 0.65 * w) : int(x + 0.85 * w)].mean()
        return float(left), float(right)

    left, right = cheeks(-60)
    assert left > 1.2 * right
    left, right = cheeks(60)
    assert right > 1.2 * left


def test_turning_the_head_moves_the_nose():
    def change(yaw_deg: float) -> float:
        plain, _ = render(Identity.draw(3), Scene(), SIZE)
        turned, _ = render(Identity.draw(3), Scene(yaw_deg=yaw_deg), SIZE)
        return float(np.abs(plain - turned).mean())

    assert change(0.0) == 0
    assert change(15.0) > change(3.0) > 0


@pytest.mark.parametrize("seed", range(8))
def test_what_moves_when_somebody_looks_aside_lies_around_the_eye_positions(seed):
    who, size = Identity.draw(seed), 192
    scene = replace(Scene.draw(np.random.default_rng(seed)), eyes_closed=0.0)
    aside = [render(who, replace(scene, gaze=(side, 0.0)), size)[0] for side in (-1.0, 1.0)]
    moved = np.abs(aside[0] - aside[1]).sum(axis=2)
    right, left = eye_positions(who, scene, size)
    assert right[0] < left[0]
    middle = round((right[0] + left[0]) / 2)
    at = np.arange(size) + 0.5
    for (x, y), part in ((right, slice(0, middle)), (left, slice(middle, size))):
        weight = moved[:, part] / moved[:, part].sum()
        # An eye is a fifth of the face's width across, so 13 px here.
        assert abs((weight.sum(axis=0) * at[part]).sum() - x) < 1.3
        assert abs((weight.sum(axis=1) * at).sum() - y) < 1.3


def test_a_pupil_that_looks_ahead_is_dark_at_the_eye_positions_of_every_size():
    # On the fairest of them in flat light everything around the pupil is brighter.
    who = max((Identity.draw(seed) for seed in range(20)), key=lambda one: sum(one.skin) - one.glasses)
    scene = Scene(ambient=1.0)
    for size in (96, 192, 384):
        image, _ = render(who, scene, size)
        nose = image[round(0.47 * size) : round(0.52 * size), round(0.47 * size) : round(0.53 * size)]
        for x, y in eye_positions(who, scene, size):
            assert image[int(y), int(x)].mean() < 0.4 * nose.mean()


def test_linear_light_of_white_is_one_and_of_black_is_zero():
    assert linear(np.array([0.0, 1.0, 2.0, -1.0], np.float32)).tolist() == [0.0, 1.0, 1.0, 0.0]


def test_a_render_too_small_for_a_face_is_refused():
    with pytest.raises(ValueError, match="at least 64"):
        render(Identity.draw(0), Scene(), 32)
