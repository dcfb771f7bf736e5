"""Cards of the zoo against their authors' code: the same pictures through both, to the last logit.

The pipelines here are written anew after what the authors' repositories do, with OpenCV where they use it.
Nothing of swapbench is in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from conftest import PRETRAINED

from swapbench import bench, catalog
from swapbench.bench import normalise_json
from swapbench.bench.card_fit import misfit, outputs_option
from swapbench.catalog import Folders
from swapbench.commands import zoo
from swapbench.data.preprocess import prepare
from swapbench.data.samples import Sample
from swapbench.devices.local import Local
from swapbench.modelfile import read_graph
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.ports import Outputs
from swapbench.records import Plan
from swapbench.runtimes.litert import LiteRT
from swapbench.runtimes.ort import OnnxRuntime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.records import ModelCard

    Picture = NDArray[np.uint8]
    Box = tuple[int, int, int, int]
    Pipeline = Callable[[Picture, Box], NDArray[np.float32]]
    """From a BGR picture and a face box x, y, width, height to the network's input without the batch."""

cv2 = pytest.importorskip("cv2")

FILES = PRETRAINED.parent
pytestmark = pytest.mark.skipif(
    not FILES.is_dir(), reason="the real networks are not in shared/pretrained beside the repository"
)

FACES: dict[str, Box] = {
    "image_T1.jpg": (120, 100, 245, 250),
    "image_F1.jpg": (195, 110, 190, 230),
    "image_F2.jpg": (125, 180, 230, 320),
}


def boxed_pictures() -> list[tuple[Picture, Box]]:
    """Three photographs with hand-drawn boxes, and noise whose boxes meet each border or are tiny."""
    pictures = [(cv2.imread(str(PRETRAINED / name)), box) for name, box in FACES.items()]
    dice = np.random.default_rng(11)
    boxes = [(0, 0, 40, 60), (150, 90, 49, 41), (200, 10, 119, 130), (5, 150, 107, 89), (60, 40, 200, 160)]
    boxes += [(100, 70, 33, 33), (140, 100, 66, 80)]
    pictures += [(dice.integers(0, 256, (240, 320, 3), dtype=np.uint8), box) for box in boxes]
    return pictures


def minivision(scale: float) -> Pipeline:
    """Silent-Face-Anti-Spoofing: the scaled box moved inside the picture, corners inclusive, BGR as it is."""

    def pixels(picture: Picture, box: Box) -> NDArray[np.float32]:
        height, width = picture.shape[:2]
        x, y, box_width, box_height = box
        factor = min((height - 1) / box_height, (width - 1) / box_width, scale)
        spans = []
        for start, length, size in ((x, box_width, width), (y, box_height, height)):
            low = start + length / 2 - length * factor / 2
            high = start + length / 2 + length * factor / 2
            if low < 0:
                low, high = 0, high - low
            if high > size - 1:
                low, high = low - (high - size + 1), size - 1
            spans.append(slice(int(low), int(high) + 1))
        crop = picture[spans[1], spans[0]]
        return cv2.resize(crop, (80, 80)).astype(np.float32).transpose(2, 0, 1)

    return pixels


def facenox(picture: Picture, box: Box) -> NDArray[np.float32]:
    """face-antispoof-onnx: a square of 1.5 longer sides, reflected outside the picture, RGB in 0..1."""
    x, y, width, height = box
    side = max(width, height)
    left, top = int(x + width / 2 - side * 1.5 / 2), int(y + height / 2 - side * 1.5 / 2)
    side = int(side * 1.5)
    rows, columns = picture.shape[:2]
    inside = picture[max(top, 0) : min(top + side, rows), max(left, 0) : min(left + side, columns)]
    margins = max(-top, 0), max(top + side - rows, 0), max(-left, 0), max(left + side - columns, 0)
    crop = cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REFLECT_101)
    ratio = 128 / side
    short = int(side * ratio)  # 127 for one side in ten
    crop = cv2.resize(crop, (short, short), interpolation=cv2.INTER_LANCZOS4 if ratio > 1 else cv2.INTER_AREA)
    before, after = (128 - short) // 2, 128 - short - (128 - short) // 2
    crop = cv2.copyMakeBorder(crop, before, after, before, after, cv2.BORDER_REFLECT_101)
    return crop[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / 255


class Case(NamedTuple):
    network: str
    file: str
    pipeline: Pipeline


CASES = [
    Case("minifasnet_v2_minivision", "feni/2.7_80x80_MiniFASNetV2.onnx", minivision(2.7)),
    Case("minifasnet_v2_minivision", "feni/2.7_80x80_MiniFASNetV2_float32.tflite", minivision(2.7)),
    Case("minifasnet_v2_minivision", "feni/2.7_80x80_MiniFASNetV2_float16.tflite", minivision(2.7)),
    Case("minifasnet_v2se_facenox_98_20", "vietanh954/best_model.onnx", facenox),
    Case("minifasnet_v2se_facenox_98_20", "vietanh954/best_model_quantized.onnx", facenox),
]


def in_session(path: Path, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Every output by name, [images, ...], of a plain session of the file's runtime, one image after another.

    Args:
        path: The file.
        inputs: [images, 3, height, width].
    """
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (feed,) = session.get_inputs()
        said = [session.run(None, {feed.name: image[None]}) for image in inputs]
        names = [output.name for output in session.get_outputs()]
    else:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path))
        (feed,) = interpreter.get_input_details()
        interpreter.resize_tensor_input(feed["index"], [1, *inputs.shape[2:], 3])
        interpreter.allocate_tensors()
        outputs = interpreter.get_output_details()
        names, said = [output["name"] for output in outputs], []
        for image in inputs:
            interpreter.set_tensor(feed["index"], image[None].transpose(0, 2, 3, 1))
            interpreter.invoke()
            said.append([interpreter.get_tensor(output["index"]) for output in outputs])
    return {name: np.concatenate([one[place] for one in said]) for place, name in enumerate(names)}


def by_card(
    card: ModelCard, path: Path, pictures: list[tuple[Picture, Box]], folder: Path
) -> tuple[Outputs, NDArray[np.float64]]:
    """What swapbench makes of the pictures: raw outputs, and scores that rise with bona fide."""
    samples = []
    for number, (picture, box) in enumerate(pictures):
        name = f"{number}.png"
        cv2.imwrite(str(folder / name), picture)
        samples.append(
            Sample(name, folder / name, 0, "somebody", "bona_fide", "", "", "", "", "dev", "", box, name)
        )
    prepared = prepare(samples, card.preprocessing, folder / "crops", processes=1)
    assert prepared.failures == {}
    graph = read_graph(path)
    assert misfit(card, graph) is None
    options = {
        **graph.worker_options,
        "samples": str(prepared.path),
        "normalise": normalise_json(card.preprocessing),
        **outputs_option(card, graph),
    }
    runtime = OnnxRuntime() if path.suffix == ".onnx" else LiteRT()
    subject = bench.FileUnderTest(path.name, str(path), runtime, options)
    ((_, outputs),) = bench.measure_scores([subject], Local(), Plan(warmup_ns=0), at_once=1)
    assert isinstance(outputs, Outputs), outputs
    return outputs, bona_fide_scores(outputs.rows, card.output, outputs.tensors)


def fetched(network: str, file: str, folder: Path) -> tuple[ModelCard, Path]:
    """The card of a file that was fetched into a folder, as `swapbench zoo get` writes it, and the file."""
    path = folder / file.rpartition("/")[2]
    path.symlink_to(FILES / file)
    result = zoo.get(Folders(folder), network, path)
    return catalog.model(Folders(folder), str(result.card)).card, path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_a_card_gives_the_logits_of_its_authors_code(case: Case, tmp_path: Path) -> None:
    card, path = fetched(case.network, case.file, tmp_path)
    pictures = boxed_pictures()
    outputs, scores = by_card(card, path, pictures, tmp_path)
    (logits,) = in_session(path, np.stack([case.pipeline(*picture) for picture in pictures])).values()
    assert np.abs(np.array(outputs.rows) - logits).max() < 1e-5
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    live = (powers / powers.sum(axis=1, keepdims=True))[:, card.output.bona_fide_indexes[0]]
    assert scores == pytest.approx(live, abs=1e-5)
    assert scores[0] > 0.5  # image_T1.jpg is a live face
    assert max(scores[1:3]) < 0.5  # the other two are attacks


def test_the_deep_tree_scores_as_its_app_does(tmp_path: Path) -> None:
    """Pictures that are the input already: how the app turns and crops faces, a card cannot say."""
    card, path = fetched("deep_tree_syaringan", "syaringan/FaceAntiSpoofing.tflite", tmp_path)
    pictures = [
        (cv2.resize(cv2.imread(str(PRETRAINED / name)), (256, 256), interpolation=cv2.INTER_AREA), box)
        for name, box in zip(FACES, [(0, 0, 256, 256)] * 3, strict=True)
    ]
    _, scores = by_card(card, path, pictures, tmp_path)
    inputs = [picture[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / 255 for picture, _ in pictures]
    said = in_session(path, np.stack(inputs))
    leaves, mask = said["Identity"], said["Identity_1"]
    assert scores == pytest.approx(-(np.abs(leaves) * mask).sum(axis=1), abs=1e-5)
    assert len({round(float(score), 4) for score in scores}) == 3
