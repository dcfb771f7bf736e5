"""Image files: every depth and mode as the same RGB, and the reasons why there is no image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image

from swapbench.data.images import image_or_reason, load_frame
from swapbench.errors import BadDataset

CASES = REPOSITORY.parent / "shared" / "cases"

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def pixels(path: Path) -> np.ndarray:
    image = image_or_reason(path)
    assert isinstance(image, Image.Image), image
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("factor", [257, 256])
def test_sixteen_bits_of_grey_are_the_same_in_eight(tmp_path: Path, name: str, factor: int) -> None:
    # 255 * 257 = 65535 and 255 * 256 = 65280 are both white: the upper eight bits count
    Image.fromarray(GREY.astype(np.uint16) * factor).save(tmp_path / name)
    assert np.array_equal(pixels(tmp_path / name), np.dstack([GREY] * 3))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_is_turned_by_its_exif_orientation(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / name, exif=exif)
    assert np.array_equal(pixels(tmp_path / name)[:, :, 0], GREY[::-1, ::-1])


def test_twelve_bits_in_sixteen_have_no_known_scale_but_black_is_black(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 16).save(tmp_path / "a.png")  # the brightest is 255 * 16
    reason = image_or_reason(tmp_path / "a.png")
    assert isinstance(reason, str)
    assert reason.startswith("16 bits a pixel of which the brightest is 4080,")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "b.png")
    assert not pixels(tmp_path / "b.png").any()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_thirty_two_bits_have_no_known_scale(tmp_path: Path, mode: str) -> None:
    Image.fromarray(GREY.astype(np.float32 if mode == "F" else np.int32)).save(tmp_path / "a.tif")
    assert str(image_or_reason(tmp_path / "a.tif")).startswith(f"32 bits a pixel ({mode})")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_of_colour_keep_their_upper_eight(tmp_path: Path, suffix: str) -> None:
    cv2 = pytest.importorskip("cv2")
    colours = np.random.default_rng(1).integers(0, 65536, (8, 8, 3), np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), colours[:, :, ::-1])
    assert np.array_equal(pixels(tmp_path / f"a.{suffix}"), colours >> 8)


def test_every_other_mode_becomes_the_colours_that_a_viewer_shows(tmp_path: Path) -> None:
    teal = (0, 128, 128)
    rgb = Image.new("RGB", (4, 4), teal)
    rgb.convert("RGBA").save(tmp_path / "rgba.png")
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "palette.png", transparency=b"\x00" * 256)
    rgb.convert("CMYK").save(tmp_path / "cmyk.tif")
    for name in ("rgba.png", "palette.png", "cmyk.tif"):
        assert tuple(pixels(tmp_path / name)[2, 2]) == teal, name
    Image.new("LA", (4, 4), (77, 0)).save(tmp_path / "la.png")
    Image.new("1", (4, 4), 1).save(tmp_path / "bits.png")
    assert pixels(tmp_path / "la.png").tolist() == np.full((4, 4, 3), 77).tolist()
    assert pixels(tmp_path / "bits.png").min() == 255


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(stream, "jpeg")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, I am no image", "not an image, but text"),
        (b"\x00\x01\x02\xfe" * 9, "not an image"),
        (
            b"\x00\x00\x00\x24ftypheic" + bytes(24),
            "a HEIC image, which is not read: convert it to JPEG or PNG",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer in place of an image"),
        (b"\n<!DOCTYPE html><html>", "a web page in place of an image"),
        (jpeg()[:-200], "it is cut short"),
        (b"\xff\xd8\xff" + bytes(30), "damaged: it begins as a JPEG image does"),
    ],
)
def test_a_file_without_a_readable_image_says_what_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert str(image_or_reason(tmp_path / "a.jpg")).startswith(reason)


def test_a_png_that_is_cut_short_or_a_folder_is_a_reason_too(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 90).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    assert image_or_reason(tmp_path / "a.png") == "it is cut short"
    assert image_or_reason(tmp_path) == "Is a directory"
    assert image_or_reason(tmp_path / "none.png") == "No such file or directory"


def test_a_frame_that_cannot_be_loaded_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(BadDataset, match=r"cannot read .*a\.jpg: the file is empty"):
        load_frame(tmp_path / "a.jpg")


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases beside the repository")
def test_the_reported_cases_have_their_reasons() -> None:
    found = {path.name: image_or_reason(path) for path in (CASES / "no_reason_fta").iterdir()}
    assert found == {
        "trunc.jpg": "it is cut short",
        "zero.jpg": "the file is empty",
        "text.jpg": "not an image, but text",
        "heic.heic": "a HEIC image, which is not read: convert it to JPEG or PNG",
    }
    assert np.array_equal(pixels(CASES / "gray16" / "gray16.png"), pixels(CASES / "gray16" / "gray.png"))
