"""The native runner with libncnn.so: a stand-in, and a real one where SWAPBENCH_NCNN_LIBRARY names it.

Wheels of ncnn hold no library with its C API. The official releases for Android and Linux do ("shared"), and
so does what CMake builds from the source archive on PyPI with NCNN_SHARED_LIB=ON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_files import small_ncnn

from swapbench.catalog import Folders
from swapbench.commands.provision import kit
from swapbench.commands.provision.sources import from_aar
from swapbench.devices.local import Local
from swapbench.errors import UserError
from swapbench.runtimes import contract
from swapbench.runtimes.native import build as building
from swapbench.runtimes.native.adapter import NativeNcnn
from swapbench.runtimes.native.build import build

REAL = os.environ.get("SWAPBENCH_NCNN_LIBRARY", "")
PLAIN = json.dumps({"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]})
MEANS = "7767517\n2 2\nInput x 0 1 x\nPooling mean 1 1 x y 0=1 4=1\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ziglang") is None, reason="building the runner needs the package ziglang"
    ),
]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(building.this_computer(), tmp_path_factory.mktemp("runner")))


@pytest.fixture(scope="module", params=["stand-in", "real"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "real":
        if not Path(REAL).is_file():
            pytest.skip("SWAPBENCH_NCNN_LIBRARY names no libncnn.so")
        return REAL
    made = tmp_path_factory.mktemp("library") / "libncnn.so"
    source = Path(__file__).parent / "phone" / "standin_ncnn.c"
    argv = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*argv, "-o", str(made), str(source)], check=True, capture_output=True, timeout=300)
    return str(made)


@pytest.fixture
def means(tmp_path: Path) -> str:
    (tmp_path / "m.param").write_text(MEANS, encoding="utf-8")
    (tmp_path / "m.bin").write_bytes(b"")
    return str(tmp_path / "m.param")


def worker(runner: str, library: str) -> NativeNcnn:
    return NativeNcnn(runner=runner, library=library, flavour="host", package="given")


def said(one: NativeNcnn, model: str, mode: Any = "time", **options: Any) -> tuple[int, list[dict[str, Any]]]:
    argv = one.command(model, mode=mode, threads=1, options={"warmup_ns": 0, "runs": 3, **options})
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("height", "width"), [(4, 6), (7, 5), (1, 1)], ids=["even", "odd", "one"])
def test_scores_are_those_of_the_samples_without_the_gaps_between_channels(
    runner: str, library: str, means: str, tmp_path: Path, height: int, width: int
) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (5, height, width, 3), np.uint8)
    np.save(tmp_path / "s.npy", samples)
    given = {"samples": tmp_path / "s.npy", "normalise": PLAIN, "shapes": f"1x3x{height}x{width}"}
    status, answers = said(worker(runner, library), means, "score", **given)
    assert status == 0, answers
    outputs = contract.parse_outputs("\n".join(map(json.dumps, answers)))
    np.testing.assert_allclose(outputs.rows, samples.mean(axis=(1, 2)), rtol=1e-6)
    assert [(one.name, one.shape) for one in outputs.tensors] == [("y", (1, 3))]


def test_it_says_what_ran_and_with_which_switches(runner: str, library: str, means: str) -> None:
    one = worker(runner, library)
    status, (loaded, timed) = said(one, means, shapes="1x3x4x6")
    assert (status, len(timed["run_ns"])) == (0, 3)
    used = one.parse_loaded(json.dumps(loaded)).used
    assert (used.runtime, used.package, used.providers) == ("ncnn", "given", ("cpu",))
    assert used.version
    assert {"runner": "native", "api": "ncnn-c", "winograd": "on"}.items() <= used.settings.items()


def test_what_it_cannot_run_is_one_error_line(runner: str, library: str, means: str, tmp_path: Path) -> None:
    one = worker(runner, library)
    for model, options, part in (
        (means, {}, "--shapes"),
        (means, {"shapes": "2x3x4x4"}, "one image or row a run"),
        (means, {"shapes": "1x3x4x4", "provider": "gpu"}, "only cpu is available"),
    ):
        status, answers = said(one, model, **options)
        assert (status, answers[-1]["event"]) == (1, "error")
        assert part in answers[-1]["message"]
    Path(means).write_text("7767517\n2 2\nInput x 0 1 x\nMyOwn l 1 1 x y\n", encoding="utf-8")
    status, answers = said(one, means, shapes="1x3x4x4")
    assert (status, answers[-1]["stage"]) == (1, "model")
    Path(means).write_text(MEANS, encoding="utf-8")
    Path(means).with_suffix(".bin").unlink()
    assert "cannot load the weights" in said(one, means, shapes="1x3x4x4")[1][-1]["message"]


def test_a_real_library_computes_what_the_package_computes(runner: str, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    if not Path(REAL).is_file():
        pytest.skip("SWAPBENCH_NCNN_LIBRARY names no libncnn.so")
    from swapbench.runtimes import ncnn
    from swapbench.runtimes.feed import Shapes

    small_ncnn(tmp_path / "n.param")
    samples = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.save(tmp_path / "s.npy", samples)
    given = {"samples": tmp_path / "s.npy", "normalise": PLAIN, "shapes": "1x3x8x8"}
    _, answers = said(worker(runner, REAL), str(tmp_path / "n.param"), "score", **given)
    rows = contract.parse_outputs("\n".join(map(json.dumps, answers))).rows
    engine = ncnn.open_backend().load(str(tmp_path / "n.param"), 1, None, Shapes(((1, 3, 8, 8),)))
    images = samples.astype(np.float32).transpose(0, 3, 1, 2)
    expected = [engine.timed_call(np.ascontiguousarray(image[None]))()[0] for image in images]
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


# ------------------------------------------------------------------------------------------------- on a phone


@pytest.mark.skipif(not REAL, reason="SWAPBENCH_NCNN_LIBRARY names no libncnn.so")
def test_a_phone_is_tried_out_with_a_network_of_one_layer(runner: str, tmp_path: Path) -> None:
    assert kit.try_out(Local(), worker(runner, REAL), Folders(tmp_path)).used.runtime == "ncnn"


def test_the_library_is_taken_from_an_official_release(tmp_path: Path) -> None:
    release = tmp_path / "ncnn-20261020-android-shared.zip"
    inside = "ncnn-20261020-android-shared/arm64-v8a/lib/libncnn.so"
    with zipfile.ZipFile(release, "w") as packed:
        packed.writestr(inside.replace("arm64-v8a", "x86_64"), b"\x7fELF other")
        packed.writestr(inside, b"\x7fELF arm64")
    source = from_aar("ncnn", release, tmp_path)
    assert source.library.read_bytes() == b"\x7fELF arm64"
    assert (source.runtime, source.flavour, source.package) == ("ncnn", "aar", "ncnn")
    with zipfile.ZipFile(release, "w") as packed:
        packed.writestr("ncnn-20261020-android/arm64-v8a/lib/libncnn.a", b"")
    with pytest.raises(
        UserError, match=r"holds no arm64-v8a/lib/libncnn.so: it has no library at all"
    ) as raised:
        from_aar("ncnn", release, tmp_path)
    assert "ncnn-DATE-android-shared.zip" in raised.value.remedy
