"""YuNet through OpenCV, of which a stand-in with the same inputs and outputs finds white squares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from swapbench.data.boxes import with_detector
from swapbench.data.facebox import Detector, detector_name, detector_of, found_by
from swapbench.data.preprocess import prepare_all
from swapbench.data.protocol import open_data
from swapbench.errors import UserError
from swapbench.records import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

FACE_PX = 32.0


def white_squares(path: Path) -> Path:
    """The twelve outputs of YuNet: a white square of 8 x 8 pixels is the middle of a face of `FACE_PX`."""
    nodes, weights, outputs = [], [], []
    for stride in (8, 16, 32):
        for name, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            kernel = np.zeros((channels, 3, stride, stride), np.float32)
            bias = np.zeros(channels, np.float32)
            if name in {"cls", "obj"} and stride == 8:
                kernel += 1 / (3 * 64 * 255)  # 1 where all is white
            if name == "bbox":
                bias[2:] = math.log(FACE_PX / stride)
            key = f"{name}_{stride}"
            weights += [
                numpy_helper.from_array(kernel, f"k_{key}"),
                numpy_helper.from_array(bias, f"b_{key}"),
            ]
            weights.append(numpy_helper.from_array(np.array([1, -1, channels]), f"s_{key}"))
            nodes += [
                helper.make_node(
                    "Conv", ["input", f"k_{key}", f"b_{key}"], [f"c_{key}"], strides=[stride, stride]
                ),
                helper.make_node("Transpose", [f"c_{key}"], [f"t_{key}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"t_{key}", f"s_{key}"], [key]),
            ]
            cells = (640 // stride) ** 2
            outputs.append(helper.make_tensor_value_info(key, TensorProto.FLOAT, [1, cells, channels]))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "squares", [image], outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), path)
    return path


def picture(*squares: tuple[int, int], width: int = 320, height: int = 256) -> Image.Image:
    """Black, with white squares of 8 x 8 pixels at these places."""
    image = Image.new("RGB", (width, height))
    for x, y in squares:
        image.paste((255, 255, 255), (x, y, x + 8, y + 8))
    return image


def test_the_box_is_in_pixels_of_the_frame(tmp_path: Path) -> None:
    detector = detector_of(f"yunet={white_squares(tmp_path / 'squares.onnx')}")
    # the cell of the square begins at (80, 40), where YuNet has the middle of a box
    assert found_by(detector, picture((80, 40))) == pytest.approx((64, 24, 32, 32), abs=0.01)
    assert found_by(detector, picture()) is None
    # 1280 px wide, reduced to half: what is 16 px there is 8 here, and the box is twice as large
    large = picture((80, 40), width=640, height=320).resize((1280, 640), Image.Resampling.NEAREST)
    assert found_by(detector, large) == pytest.approx((128, 48, 64, 64), abs=0.1)


def test_its_name_tells_the_version_and_the_weights(tmp_path: Path) -> None:
    one, other = (Detector("yunet", tmp_path / name) for name in ("one.onnx", "other.onnx"))
    white_squares(tmp_path / "one.onnx")
    (tmp_path / "other.onnx").write_bytes((tmp_path / "one.onnx").read_bytes() + b"\0")
    assert detector_name(one).startswith(f"YuNet of OpenCV {cv2.__version__}, one.onnx ")
    assert detector_name(one).rsplit(" ", 1)[1] != detector_name(other).rsplit(" ", 1)[1]


@pytest.mark.parametrize("text", ["yunet", "yunet=", "retina=a.onnx", "dlib=x"])
def test_a_detector_that_is_none_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(UserError, match=r"is not a detector\. Use dlib, or yunet=FILE"):
        detector_of(text)


def test_weights_that_are_none_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    for name in ("text.onnx", "absent.onnx"):
        with pytest.raises(UserError, match=rf"OpenCV .* does not read .*{name} as a YuNet"):
            detector_of(f"yunet={tmp_path / name}")


def test_crops_and_their_cache_follow_the_detector_and_the_basis_names_it(tmp_path: Path) -> None:
    for name in ("live/1.png", "spoof/2.png"):
        (tmp_path / "faces" / name).parent.mkdir(parents=True)
        picture((80, 40)).save(tmp_path / "faces" / name)
    folds = open_data(tmp_path / "faces", splits=("dev", "test"), without_dev=True)
    detector = detector_of(f"yunet={white_squares(tmp_path / 'squares.onnx')}")
    (changed,) = with_detector(folds, detector)
    assert changed.basis[-1].endswith(f"found by {detector_name(detector)}")
    card = Preprocessing(width_px=8, height_px=8, crop_scale=0.25, face_box="detector")
    (own,) = prepare_all(changed.samples("test"), [card], tmp_path / "out")
    (dlibs,) = prepare_all(folds[0].samples("test"), [card], tmp_path / "out")
    assert own.failures == {}
    # a quarter of the box about (80, 40), 76..84 by 36..44, holds the white corner of the square
    assert own.crops()[0, -1, -1].tolist() == [255] * 3
    assert own.crops()[0, 0, 0].tolist() == [0] * 3
    assert dlibs.path != own.path
    assert "no face found by dlib" in dlibs.failures[0]
