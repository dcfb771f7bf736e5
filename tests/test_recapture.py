"""Recapture: sensor, inks, subpixels and framing, each against what it must do by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from swapbench.simulate.camera import SUPERSAMPLING, Camera, Shot, Shots, decode, demosaic, encode, mosaic
from swapbench.simulate.instruments import Display, Printer, Sheet, Sheets, Showing, Showings
from swapbench.simulate.recapture import Framing, Framings, bona_fide, printed, replayed

SOURCE_PX, FRAME_PX = 128, 64
BOX = (43.0, 40.0, 42.0, 48.0)
PLAIN = Camera("plain", 0.3, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0)
STILL = Shot(exposure=0.2, adaptation=0.0, sharpening=0.0, quality=95)


def framing(seed: int = 0, edged: float = 0.0) -> Framing:
    return Framings(edged=edged).draw(np.random.default_rng(seed), BOX, SOURCE_PX, FRAME_PX)


def flat(rgb: tuple[float, float, float], side: int = FRAME_PX * SUPERSAMPLING) -> np.ndarray:
    return np.full((side, side, 3), rgb, np.float32)


def test_srgb_bytes_survive_linear_light_and_back():
    every = np.arange(256, dtype=np.uint8)
    back = encode(decode(every)).astype(int)
    # The table of 4096 steps is coarser than sRGB in the deepest shadows only.
    assert np.abs(back - every).max() <= 1
    assert (np.diff(decode(every)) > 0).all()


def test_linear_middle_grey_encodes_to_the_standard_value():
    # 0.2140 is the linear light of sRGB 127.5.
    assert int(encode(np.full((1, 1, 3), 0.2140, np.float32))[0, 0, 0]) in {127, 128}


@pytest.mark.parametrize("rgb", [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8), (0.6, 0.3, 0.1)])
def test_demosaic_gives_a_flat_patch_its_own_colour(rgb):
    patch = flat(rgb, 32)
    seen = demosaic(mosaic(patch))[4:-4, 4:-4]
    assert np.allclose(seen, rgb, atol=1e-3)


def test_the_mosaic_is_red_on_even_and_blue_on_odd_pixels():
    raw = mosaic(flat((0.7, 0.2, 0.4), 8))
    assert raw[0, 0] == pytest.approx(0.7)
    assert raw[0, 1] == raw[1, 0] == pytest.approx(0.2)
    assert raw[1, 1] == pytest.approx(0.4)


def test_a_camera_shows_a_red_scene_red():
    image = PLAIN.develop(flat((0.5, 0.1, 0.1)), STILL, np.random.default_rng(0))
    assert image.shape == (FRAME_PX, FRAME_PX, 3)
    middle = image[8:-8, 8:-8].reshape(-1, 3).mean(axis=0)
    assert middle[0] > middle[1] + 30
    assert middle[0] > middle[2] + 30


def test_noise_grows_with_its_gain_and_is_the_same_for_the_same_stream():
    noisy = Camera("noisy", 0.3, 0.02, 0.005, 0.0, 1.0, 1.0, 0.0)

    def deviation(gain: float) -> float:
        image = noisy.develop(flat((0.3, 0.3, 0.3)), replace(STILL, noise=gain), np.random.default_rng(1))
        return float(image[8:-8, 8:-8].std())

    assert deviation(0.3) < deviation(1.0) < deviation(3.0)
    one = noisy.photograph(flat((0.3, 0.3, 0.3)), STILL, np.random.default_rng(5))
    assert one == noisy.photograph(flat((0.3, 0.3, 0.3)), STILL, np.random.default_rng(5))


def test_a_camera_refuses_a_radiance_that_does_not_fill_its_mosaic():
    with pytest.raises(ValueError, match="shape"):
        PLAIN.develop(np.zeros((31, 31, 3), np.float32), STILL, np.random.default_rng(0))


def test_the_end_of_the_source_is_never_in_the_frame():
    for seed in range(40):
        mx, my = framing(seed).maps()
        assert min(mx.min(), my.min()) > 0
        assert max(mx.max(), my.max()) < SOURCE_PX - 1


def test_the_framed_face_is_as_wide_as_promised():
    wide = [
        Framings().draw(np.random.default_rng(s), (171.5, 165, 169, 190), 512, 256).box[2] for s in range(60)
    ]
    # Keystone and tilt widen the box around a face that was 97 to 124 px wide before them.
    assert min(wide) > 90
    assert max(wide) < 145
    assert 105 < np.median(wide) < 125


def test_coordinate_maps_follow_the_perspective_exactly():
    frame = framing(3)
    mx, my = frame.maps()
    inverse = np.linalg.inv(np.asarray(frame.matrix).reshape(3, 3))
    for row, column in ((0, 0), (17, 100), (191, 191), (63, 5)):
        x, y, w = inverse @ ((column + 0.5) / SUPERSAMPLING, (row + 0.5) / SUPERSAMPLING, 1)
        assert mx[row, column] == pytest.approx(x / w - 0.5, abs=0.02)
        assert my[row, column] == pytest.approx(y / w - 0.5, abs=0.02)


@pytest.mark.parametrize("scattered", [False, True])
def test_halftone_reflectance_falls_as_ink_rises(scattered):
    printer = Printer("any", period_px=2.0, scattered=scattered, dot_gain_px=0.0)
    means = []
    for tone in (0, 64, 128, 192, 255):
        plates = np.zeros((240, 240, 4), np.uint8)
        plates[..., 3] = tone
        means.append(float(printer.reflectance(printer.halftone(plates, (3, 5), 3.0)).mean()))
    assert means == sorted(means, reverse=True)
    paper, solid = means[0], means[-1]
    assert paper == pytest.approx(float(np.mean(printer.paper)), abs=1e-3)
    assert solid < 0.06
    assert means[2] == pytest.approx((paper + solid) / 2, abs=0.03)


def test_grey_component_replacement_puts_black_ink_into_shadows_only():
    plates = Printer("any", black=0.8).plates(
        np.array([[[10, 10, 10], [250, 250, 250], [200, 30, 30]]], np.uint8)
    )
    assert plates[0, 0, 3] > 120
    assert plates[0, 1, 3] < 5
    assert plates[0, 2, 0] < plates[0, 2, 1]


def test_each_ink_takes_its_own_colour_out_of_white_paper():
    printer = Printer("any")
    for plate, channel in ((0, 0), (1, 1), (2, 2)):
        dots = np.zeros((2, 2, 4), np.uint8)
        dots[..., plate] = 255
        assert int(printer.reflectance(dots)[0, 0].argmin()) == channel


def test_the_display_grid_keeps_the_mean_luminance():
    y, x = np.mgrid[0:300, 0:300].astype(np.float32) / 9
    grid = Display("any").lattice(x, y, 1.0, 1 / 9, 1.0)
    assert grid.mean(axis=(0, 1)) == pytest.approx([1, 1, 1], abs=0.02)
    assert grid.std() > 0.5


def test_stripes_of_the_display_come_red_then_green_then_blue():
    x = (np.arange(90, dtype=np.float32)[None, :] / 90).repeat(2, axis=0)
    grid = Display("any").lattice(x, np.zeros_like(x), 1.0, 0.0, 1.0)
    order = [int(grid[0, :, channel].argmax()) for channel in range(3)]
    assert (order[1] - order[0]) % 90 == pytest.approx(30, abs=2)
    assert (order[2] - order[1]) % 90 == pytest.approx(30, abs=2)


def test_a_grid_far_finer_than_the_sample_is_not_seen():
    y, x = np.mgrid[0:60, 0:60].astype(np.float32)
    assert Display("any").lattice(x, y, 0.5, 1.0, 1.0).std() < 0.01


def test_a_grid_near_the_sensor_pitch_folds_down_to_slow_moire():
    photo = np.full((SOURCE_PX, SOURCE_PX, 3), 160, np.uint8)
    still = Showing(glare=0, veil=0, falloff=0)
    frame = framing(1)

    def slow(grid: float) -> float:
        shown = replayed(photo, Display("any", pitch_px=1.9, grid=grid, flicker=0), still, frame)
        image = PLAIN.develop(shown, STILL, np.random.default_rng(0)).astype(np.float32)
        return float(cv2.GaussianBlur(image, (0, 0), 2.0)[8:-8, 8:-8].std(axis=(0, 1)).max())

    assert slow(0.6) > slow(0.0) + 0.5


def test_bona_fide_and_attacks_pass_the_same_camera():
    photo = np.full((SOURCE_PX, SOURCE_PX, 3), 128, np.uint8)
    frame = framing(2)
    camera, shot = Camera("any"), Shots().draw(np.random.default_rng(4), FRAME_PX)
    scenes = (
        bona_fide(decode(photo), frame),
        printed(photo, Printer("p"), Sheets().draw(np.random.default_rng(1)), frame),
        replayed(photo, Display("d"), Showings().draw(np.random.default_rng(1)), frame),
    )
    shapes = {scene.shape for scene in scenes}
    assert shapes == {(FRAME_PX * SUPERSAMPLING, FRAME_PX * SUPERSAMPLING, 3)}
    brightness = []
    for scene in scenes:
        data = camera.photograph(scene, shot, np.random.default_rng(9))
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (FRAME_PX, FRAME_PX, 3)
        brightness.append(float(image.mean()))
    # Exposure is metered after whatever stands before the lens, so that brightness tells nothing.
    assert max(brightness) - min(brightness) < 40


def test_a_border_may_enter_the_frame_of_any_capture():
    frame = replace(framing(2), edge=(0.1, 0.0, 0.0, 0.0))
    photo = np.full((SOURCE_PX, SOURCE_PX, 3), 128, np.uint8)
    for scene, plain in (
        (bona_fide(decode(photo), frame), bona_fide(decode(photo), framing(2))),
        (printed(photo, Printer("p"), Sheet(), frame), printed(photo, Printer("p"), Sheet(), framing(2))),
        (
            replayed(photo, Display("d"), Showing(), frame),
            replayed(photo, Display("d"), Showing(), framing(2)),
        ),
    ):
        depth = round(0.1 * scene.shape[1])
        assert not np.array_equal(scene[:, :depth], plain[:, :depth])
        assert np.array_equal(scene[:, depth:], plain[:, depth:])


def test_borders_are_drawn_for_a_minority():
    share = np.mean([framing(seed, 0.12).edge is not None for seed in range(200)])
    assert 0.04 < share < 0.22


@pytest.mark.parametrize(("bend", "bend_deg"), [(0.0, 0.0), (0.15, 30.0), (-0.1, 140.0)])
def test_a_point_of_the_source_is_seen_where_the_maps_look_for_it(bend, bend_deg):
    frame = framing(4)
    mx, my = frame.maps(bend, bend_deg)
    for row, column in ((40, 30), (96, 96), (150, 100)):
        # Index 0 of a map is the sample whose middle lies half a sample into the frame, and likewise in the
        # source.
        source = float(mx[row, column]) + 0.5, float(my[row, column]) + 0.5
        x, y = frame.seen_at(source, bend, bend_deg)
        assert x == pytest.approx((column + 0.5) / SUPERSAMPLING, abs=0.02)
        assert y == pytest.approx((row + 0.5) / SUPERSAMPLING, abs=0.02)
