"""Public files score what they score in their authors' code: decoding, crop, filter and range together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from author_pipelines import PIPELINES
from conftest import PRETRAINED
from tiny_videos import frame_of

from swapbench.data.preprocess import normalise, prepare

FILES = {
    "facenox": PRETRAINED.parent / "vietanh954" / "best_model.onnx",
    "minivision": PRETRAINED.parent / "feni" / "2.7_80x80_MiniFASNetV2.onnx",
}
IMAGES = ("image_T1.jpg", "image_F1.jpg", "image_F2.jpg")


@pytest.mark.parametrize("name", FILES)
def test_the_outputs_are_those_of_the_authors_code(name: str, tmp_path: Path) -> None:
    """For 45 boxes in three photographs, most of whose crops leave the frame."""
    cv2 = pytest.importorskip("cv2")
    ort = pytest.importorskip("onnxruntime")
    if not FILES[name].is_file():
        pytest.skip("the public networks are not in shared/pretrained beside the repository")
    card, author = PIPELINES[name]
    random = np.random.default_rng(3)
    boxes = [
        [int(side) for side in (*random.integers(0, 300, 2), *random.integers(60, 400, 2))] for _ in range(45)
    ]
    samples, theirs = [], []
    for box, image in zip(boxes, IMAGES * 15, strict=True):
        path = PRETRAINED / image
        samples.append(frame_of(path, box=(float(box[0]), float(box[1]), float(box[2]), float(box[3]))))
        theirs.append(author(cv2, cv2.imread(str(path))[:, :, ::-1], box))
    prepared = prepare(samples, card, tmp_path)
    assert not prepared.failures
    assert len(prepared.at_border) > 30
    ours = normalise(np.asarray(prepared.crops()), card)
    scaled = np.stack(theirs).astype(np.float32) / np.float32(255 if card.scale == 1 / 255 else 1)
    session = ort.InferenceSession(FILES[name], providers=["CPUExecutionProvider"])
    outputs = [
        np.concatenate([session.run(None, {session.get_inputs()[0].name: one[None]})[0] for one in images])
        for images in (ours.transpose(0, 3, 1, 2), scaled.transpose(0, 3, 1, 2))
    ]
    assert np.abs(outputs[0] - outputs[1]).max() <= 1e-5
    assert np.ptp(outputs[1], axis=0).max() > 1  # the boxes do not all score alike
