from __future__ import annotations

import json
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from author_pipelines import MINIVISION
from conftest import PRETRAINED
from tiny_files import small_ncnn
from tiny_videos import frame_of

from swapbench import bench
from swapbench.bench import normalise_json
from swapbench.data.preprocess import normalise, prepare
from swapbench.devices.local import Local
from swapbench.modelfile import read_graph
from swapbench.ports import Outputs
from swapbench.records import Plan
from swapbench.runtimes import contract
from swapbench.runtimes import ncnn as worker
from swapbench.runtimes.worker import work

if TYPE_CHECKING:
    from pathlib import Path

ncnn = pytest.importorskip("ncnn")

PLAIN = '{"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}'
MEANS = (
    "Input x 0 1 x",
    "Split two 1 2 x a b",
    "Pooling mean 1 1 a y 0=1 4=1",
    "Pooling most 1 1 b z 0=0 4=1",
)
"""The means of the channels, and their largest numbers."""


def network(path: Path, *layers: str) -> str:
    blobs = sum(int(layer.split()[3]) for layer in layers)
    path.write_text("\n".join(["7767517", f"{len(layers)} {blobs}", *layers, ""]), encoding="utf-8")
    path.with_suffix(".bin").write_bytes(b"")
    return str(path)


def said(*argv: str) -> tuple[int, list[dict[str, Any]]]:
    out = StringIO()
    status = work(["--warmup-ns", "0", *argv], worker.open_backend, StringIO('{"runs": 2}\n'), out)
    return status, [json.loads(line) for line in out.getvalue().splitlines()]


def scored(path: str, samples: Path, *argv: str) -> tuple[tuple[float, ...], ...]:
    options = ("--mode", "score", "--artifact", path, "--samples", str(samples), "--normalise", PLAIN)
    status, answers = said(*options, *argv)
    assert status == 0, answers
    return contract.parse_outputs("\n".join(map(json.dumps, answers))).rows


def test_it_reports_its_version_and_the_switches_that_change_results(tmp_path: Path) -> None:
    small_ncnn(tmp_path / "m.param")
    argv = ("--artifact", str(tmp_path / "m.param"), "--shapes", "1x3x8x8", "--runs", "3")
    status, (loaded, timed) = said(*argv)
    assert status == 0
    assert (loaded["runtime"], loaded["package"], loaded["version"]) == ("ncnn", "ncnn", ncnn.__version__)
    assert loaded["providers"] == ["cpu"]
    fresh = ncnn.Net().opt
    for name, option in worker.OPTIONS.items():
        assert loaded["settings"][name] == ("on" if getattr(fresh, option) else "off")
    assert "spinning" not in loaded["settings"]
    assert len(timed["run_ns"]) == 3
    contract.parse_loaded(json.dumps(loaded))


def test_a_switch_turns_an_option_and_is_reported(tmp_path: Path) -> None:
    small_ncnn(tmp_path / "m.param")
    argv = ("--artifact", str(tmp_path / "m.param"), "--shapes", "1x3x8x8")
    for states in ({"winograd": "off", "fp16_storage": "off"}, {"winograd": "on", "fp16_storage": "on"}):
        text = ",".join(f"{name}={state}" for name, state in states.items())
        status, (loaded, _) = said(*argv, "--switches", text)
        assert status == 0
        assert {name: loaded["settings"][name] for name in states} == states
    off = ("fp16_storage=off", "fp16_arithmetic=off", "bf16_storage=off")
    _, (loaded, _) = said(*argv, "--switches", ",".join(off))
    assert loaded["settings"]["fp16_activations"] == "none"
    for wrong, message in (
        ("winograd", "must be as in NAME=off"),
        ("winograd=maybe", "must be as in NAME=off"),
        ("speed=on", "ncnn has no switch 'speed'; choose winograd, "),
    ):
        status, answers = said(*argv, "--switches", wrong)
        assert (status, message in answers[-1]["message"]) == (1, True), answers


def test_with_several_threads_spinning_is_off_and_said(tmp_path: Path) -> None:
    small_ncnn(tmp_path / "m.param")
    argv = ("--artifact", str(tmp_path / "m.param"), "--shapes", "1x3x8x8", "--mode", "serve")
    _, (loaded, served) = said(*argv, "--threads", "2")
    assert (loaded["threads"], loaded["settings"]["spinning"]) == (2, "off")
    assert len(served["run_ns"]) == 2


def test_in_single_precision_no_layer_rounds_to_half() -> None:
    for number, weight in ((1.0, 1 + 2.0**-13), (1 + 2.0**-13, 1.0)):
        assert worker.halved(worker.Nets(ncnn, worker.SINGLE), number, weight) == []


def test_what_has_a_float16_is_rounded_by_no_layer() -> None:
    assert worker.halved(worker.Nets(ncnn), 1.0, 1.5) == []


def test_an_unknown_provider_is_an_error(tmp_path: Path) -> None:
    small_ncnn(tmp_path / "m.param")
    status, answers = said("--artifact", str(tmp_path / "m.param"), "--provider", "gpu")
    assert status == 1
    assert answers[-1]["message"] == "unknown provider 'gpu'; choose cpu or cpu-fp32"


@pytest.mark.parametrize(("height", "width"), [(4, 6), (7, 5), (1, 1)], ids=["even", "odd", "one"])
def test_scores_are_those_of_the_samples_at_any_size(tmp_path: Path, height: int, width: int) -> None:
    """Odd planes do not end where ncnn aligns them."""
    samples = np.random.default_rng(0).integers(0, 256, (5, height, width, 3), np.uint8)
    np.save(tmp_path / "s.npy", samples)
    path, shape = network(tmp_path / "m.param", *MEANS), ("--shapes", f"1x3x{height}x{width}")
    rows = scored(path, tmp_path / "s.npy", *shape)
    np.testing.assert_allclose(rows, samples.mean(axis=(1, 2)), rtol=1e-6)
    both = scored(path, tmp_path / "s.npy", *shape, "--outputs", "1,0")
    np.testing.assert_allclose(
        both, np.hstack([samples.max(axis=(1, 2)), samples.mean(axis=(1, 2))]), rtol=1e-6
    )


def test_a_first_layer_that_works_in_place_leaves_the_input_as_it_is(tmp_path: Path) -> None:
    """It may write into what it is handed, which would make the second run another one."""
    path = network(tmp_path / "m.param", "Input x 0 1 x", "Power p 1 1 x y 0=2.0")
    np.save(tmp_path / "s.npy", np.full((2, 4, 4, 3), 3, np.uint8))
    assert set(sum(scored(path, tmp_path / "s.npy", "--shapes", "1x3x4x4"), ())) == {9.0}
    status, (_, timed) = said("--artifact", path, "--shapes", "1x3x4x4", "--runs", "9")
    assert (status, len(timed["run_ns"])) == (0, 9)


def test_several_inputs_are_timed_with_zeros(tmp_path: Path) -> None:
    layers = ("Input x 0 1 x", "Input z 0 1 z", "BinaryOp sum 2 1 x z y 0=0")
    path = network(tmp_path / "m.param", *layers)
    status, (loaded, _) = said("--artifact", path, "--shapes", "1x3x4x4,1x3x4x4")
    assert (status, loaded["input"]) == (0, "zeros")


def test_a_size_that_nobody_says_is_an_error(tmp_path: Path) -> None:
    status, answers = said("--artifact", network(tmp_path / "m.param", *MEANS))
    assert status == 1
    assert "--shapes does not set it" in answers[-1]["message"]
    status, answers = said("--artifact", network(tmp_path / "m.param", *MEANS), "--shapes", "2x3x4x4")
    assert "has a batch of 2; ncnn runs one image" in answers[-1]["message"]


def test_a_layer_that_this_build_lacks_is_named(tmp_path: Path) -> None:
    path = network(tmp_path / "m.param", "Input x 0 1 x", "MyOwn l 1 1 x y")
    status, answers = said("--artifact", path, "--shapes", "1x3x4x4")
    assert (status, answers[-1]["stage"]) == (1, "model")
    assert answers[-1]["message"] == "this ncnn cannot load the network: it has no layer MyOwn"


def test_it_has_no_profiler_and_says_so(tmp_path: Path) -> None:
    path = network(tmp_path / "m.param", *MEANS)
    status, answers = said("--artifact", path, "--shapes", "1x3x4x4", "--mode", "profile", "--runs", "3")
    assert status == 0
    assert "no profiler" in contract.parse_profile("\n".join(map(json.dumps, answers))).absent


def test_without_the_package_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    small_ncnn(tmp_path / "m.param")
    status, answers = said("--artifact", str(tmp_path / "m.param"), "--shapes", "1x3x8x8")
    assert status == 1
    assert answers[-1]["message"] == "ncnn is not installed; install it with: pip install ncnn"


def test_the_adapter_names_its_worker_and_its_format() -> None:
    runtime = worker.Ncnn()
    argv = runtime.command("m.param", mode="time", threads=1, options={"shapes": "1x3x8x8"})
    assert argv[1:3] == ["-m", "swapbench.runtimes.ncnn"]
    assert argv[-2:] == ["--shapes", "1x3x8x8"]
    assert (runtime.name, runtime.formats) == ("ncnn", ("ncnn",))


# ------------------------------------------------------------------------------------ the networks of an app

FACES = {
    "image_T1.jpg": (120.0, 100.0, 245.0, 250.0),
    "image_F1.jpg": (195.0, 110.0, 190.0, 230.0),
    "image_F2.jpg": (125.0, 180.0, 230.0, 320.0),
}
"""minivision's sample images, of which the first shows a live face, with boxes drawn by hand."""
APP = PRETRAINED.parent / "minivision_ncnn"
NETWORKS = {
    "model_1": (2.7, "2.7_80x80_MiniFASNetV2.pth", "minifasnet_v2_minivision"),
    "model_2": (4.0, "4_0_0_80x80_MiniFASNetV1SE.pth", "minifasnet_v1se_minivision"),
}
"""Of Silent-Face-Anti-Spoofing-APK: the crop, the author's checkpoint of the same network, and its card."""


def of_the_app(name: str, crop_scale: float, folder: Path) -> np.ndarray:
    """Probabilities [images, 3] of one of the app's networks, in a worker process."""
    card = MINIVISION.replace(crop_scale=crop_scale)
    prepared = prepare([frame_of(PRETRAINED / image, box=box) for image, box in FACES.items()], card, folder)
    path = APP / f"{name}.param"
    options = {
        **read_graph(path, {"": (1, 3, 80, 80)}).worker_options,
        "samples": str(prepared.path),
        "normalise": normalise_json(card),
    }
    subject = bench.FileUnderTest(path.name, str(path), worker.Ncnn(), options)
    ((_, outputs),) = bench.measure_scores([subject], Local(), Plan(warmup_ns=0), at_once=1)
    assert isinstance(outputs, Outputs), outputs
    return np.array(outputs.rows)


def of_the_checkpoint(card: str, checkpoint: str, crop_scale: float, folder: Path) -> np.ndarray:
    """Probabilities [images, 3] of the author's PyTorch network."""
    torch = pytest.importorskip("torch")

    from swapbench import catalog
    from swapbench.catalog import Folders
    from swapbench.commands import zoo
    from swapbench.workshop.nets.checkpoint import load_network

    path = folder / checkpoint
    path.symlink_to(PRETRAINED / checkpoint)
    fetched = zoo.get(Folders(folder), card, path)
    network = load_network(catalog.model(Folders(folder), str(fetched.card)).card, fetched.card)
    crop = MINIVISION.replace(crop_scale=crop_scale)
    prepared = prepare([frame_of(PRETRAINED / image, box=box) for image, box in FACES.items()], crop, folder)
    images = normalise(np.asarray(prepared.crops()), crop).transpose(0, 3, 1, 2).copy()
    with torch.no_grad():
        return torch.softmax(network(torch.from_numpy(images)), 1).numpy()


@pytest.mark.slow
@pytest.mark.skipif(not APP.is_dir(), reason="needs the networks of Silent-Face-Anti-Spoofing-APK")
def test_the_networks_of_an_app_decide_as_the_authors_checkpoints(tmp_path: Path) -> None:
    """Each half and their mean, which is what the author's tool judges by; class 1 is bona fide."""
    pytest.importorskip("cv2")
    ncnns, torches = [], []
    for name, (crop_scale, checkpoint, card) in NETWORKS.items():
        ncnns.append(of_the_app(name, crop_scale, tmp_path / name))
        torches.append(of_the_checkpoint(card, checkpoint, crop_scale, tmp_path))
    for one, other in zip((*ncnns, np.mean(ncnns, 0)), (*torches, np.mean(torches, 0)), strict=True):
        assert one.sum(1) == pytest.approx(1, abs=1e-5)
        decisions = (one.argmax(1) == 1).tolist()
        assert decisions == (other.argmax(1) == 1).tolist() == [True, False, False]
