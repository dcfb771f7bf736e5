"""Files of every kind with a few bytes changed: each is read, or refused with an error of ours.

The mutations are seeded, so that a failure can be repeated. SWAPBENCH_FUZZ says how many there are of each
kind: `SWAPBENCH_FUZZ=20000 python -m pytest tests/fuzz` is for a night.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_records as made
import numpy as np
import pytest
from tiny_files import small_ncnn, small_onnx, small_tflite
from tiny_pte import small_pte

from swapbench import catalog, store
from swapbench.cards import read_card
from swapbench.commands.provision.sources import from_aar
from swapbench.commands.study_table import study_in
from swapbench.devices import android_text
from swapbench.devices.android_profile import Profile, read_profile
from swapbench.devices.phone_report import Answer, PhoneReport, read_report
from swapbench.errors import SwapbenchError
from swapbench.fleet.door import Door, read_join_file, write_join_file
from swapbench.gate.policy import read_policy
from swapbench.modelfile import read_graph
from swapbench.pad.score_files import read_score_file
from swapbench.systems.file import read_system
from swapbench.workshop.prune.latency_table import read_latency_table
from swapbench.workshop.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.modelfile import Graph

COUNT = int(os.environ.get("SWAPBENCH_FUZZ", "150"))

CARD = (
    'name = "red"\n[preprocessing]\nwidth_px = 80\nheight_px = 80\ncrop_scale = 2.7\nmean = [0.5, 0.5, 0.5]\n'
    '[output]\nkind = "logits"\nbona_fide_index = 1\nclasses = ["attack", "bona fide"]\n'
)
POLICY = (
    '[[budget]]\nmetric = "latency_p50"\nrelative = "5 %"\n'
    '[[ceiling]]\nmetric = "file_bytes"\nat_most = "1 MB"\n'
)
PROFILE = 'name = "p"\nkind = "android"\n[match]\n"ro.product.model" = ["Pixel*"]\n[cores]\nbig = 2\n'
SCORES = "presentation,subject,label,species,split,score\n" + "".join(
    f"p{n},s{n},{('bona_fide', 'attack')[n % 2]},{('', 'print')[n % 2]},{('dev', 'test')[n % 3 > 0]},0.{n}\n"
    for n in range(24)
)


SYSTEM = (
    'name = "door"\nrule = "cascade"\nmargin = 0.2\n'
    '[[members]]\nfile = "small.onnx"\n[[members]]\nfile = "large.onnx"\n'
)
STUDY = 'name = "s"\nseeds = [1, 2]\n[arms.alone]\nnetwork = "minifasnet_v2"\n'


def aar() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("jni/arm64-v8a/libonnxruntime.so", b"\x7fELF" * 50)
    return content.getvalue()


def report() -> bytes:
    """What a phone answered, as a zip."""
    profile = Profile(name="p", kind="android", match={"ro.x": ("y",)})
    answers = (Answer(words="getprop", status=0, text="[ro.x]: [y]\n" * 20),)
    files = {"/proc/meminfo": "MemTotal: 8000000 kB\n" * 20}
    more = {"features": (), "findings": (), "properties": {"ro.x": "y"}, "answers": answers, "files": files}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.zip"
        PhoneReport(swapbench="1", time="now", profile=profile, **more).write(path)
        return path.read_bytes()


def join_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.json"
        write_join_file(Door("host", 8786, "a certificate", "its key"), path)
        return path.read_bytes()


def read_private(path: Path) -> Door:
    path.chmod(0o600)
    return read_join_file(path)


def ncnn() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.param"
        small_ncnn(path)
        return path.read_bytes()


def read_with_weights(path: Path) -> Graph:
    """Read a changed .param with the .bin that belongs to the good one."""
    good = path.with_name("good.param")
    if not good.exists():
        small_ncnn(good)
    path.with_suffix(".bin").write_bytes(good.with_suffix(".bin").read_bytes())
    return read_graph(path)


def record() -> bytes:
    return store.record_text(made.record("net", "fp32", "onnx")).encode()


def recipe() -> bytes:
    return catalog.recipe_files(catalog.Folders(Path("nowhere")))["minifasnet_v2"].read_bytes()


KINDS: dict[str, tuple[str, Callable[[], bytes], Callable[[Any], object]]] = {
    "onnx": (".onnx", small_onnx, read_graph),
    "tflite": (".tflite", lambda: small_tflite().bytes(), read_graph),
    "ncnn": (".param", ncnn, read_with_weights),
    "executorch": (".pte", small_pte, read_graph),
    "record": (".json", record, store.load),
    "card": (".toml", CARD.encode, read_card),
    "recipe": (".toml", recipe, read_recipe),
    "system": (".toml", SYSTEM.encode, read_system),
    "study": (".toml", STUDY.encode, study_in),
    "report of a phone": (".zip", report, read_report),
    "join file": (".json", join_file, read_private),
    "policy": (".toml", POLICY.encode, read_policy),
    "profile": (".toml", PROFILE.encode, read_profile),
    "scores": (".csv", SCORES.encode, read_score_file),
    "latency table": (".json", record, read_latency_table),
}
"""Kind -> suffix, a good file, and what reads it."""


UNLUCKY = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"nan,", b'["[{', b"1e999", b"-1")


def mutated(content: bytes, dice: np.random.Generator) -> bytes:
    """One to eight changes: a byte, a block deleted, repeated or exchanged, the end cut off."""
    data = bytearray(content)
    for _ in range(int(dice.integers(1, 9))):
        if not data:
            break
        start = int(dice.integers(len(data)))
        length = int(dice.integers(1, 64))
        change = int(dice.integers(6))
        if change == 0:
            data[start] = int(dice.integers(256))
        elif change == 1:
            data[start] ^= 1 << int(dice.integers(8))
        elif change == 2:
            del data[start : start + length]
        elif change == 3:
            data[start:start] = data[start : start + length] * int(dice.integers(1, 30))
        elif change == 4:
            data[start : start + 4] = dice.choice(
                [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"nan,", b'["[{']
            )
        elif dice.integers(4) == 0:
            del data[start:]
    return bytes(data)


def refusal(read: Callable[..., object], *arguments: object) -> SwapbenchError | None:
    """The error of ours that reading raises, None for none; another error goes through."""
    try:
        read(*arguments)
    except SwapbenchError as error:
        return error
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_read_or_refused_with_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    suffix, make, read = KINDS[kind]
    good, path = make(), tmp_path / f"file{suffix}"
    path.write_bytes(good)
    assert (refusal(read, path) is None) == (kind != "latency table")  # any JSON does for that one
    refusals = []
    for number in range(COUNT):
        path.write_bytes(mutated(good, np.random.default_rng([number, *kind.encode()])))
        refusals.append(refusal(read, path))
    errors = [error for error in refusals if error is not None]
    assert errors
    assert {error.exit_status for error in errors} == {2}
    assert not [error for error in errors if "\n" in str(error)]


def test_a_mutated_archive_is_unpacked_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapbench.commands.provision.sources.build", lambda *_: tmp_path)
    good, path = aar(), tmp_path / "onnxruntime-android-1.2.aar"
    path.write_bytes(good)
    assert from_aar("onnxruntime", path, tmp_path / "cache").library.is_file()
    errors = []
    for number in range(COUNT):
        path.write_bytes(mutated(good, np.random.default_rng([number, 1])))
        errors.append(refusal(from_aar, "onnxruntime", path, tmp_path / "cache"))
    assert {error.exit_status for error in errors if error is not None} == {2}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
def test_a_mutated_checkpoint_is_loaded_or_refused(tmp_path: Path, kind: str) -> None:
    torch = pytest.importorskip("torch")
    from test_checkpoint import SMALL, card_for

    from swapbench.workshop.nets import build
    from swapbench.workshop.nets.checkpoint import load_network, save_checkpoint

    network = build("resnet_map", SMALL)
    path = tmp_path / ("small.safetensors" if kind == "safetensors" else "small.pth")
    if kind == "safetensors":
        save_checkpoint(network, path)
    else:
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    good, where = path.read_bytes(), tmp_path / "small.toml"
    assert refusal(load_network, card_for(path), where) is None
    errors = []
    for number in range(COUNT):
        dice = np.random.default_rng([number, *kind.encode()])
        path.write_bytes(mutated_head(good, dice) if number % 2 else mutated(good, dice))
        errors.append(refusal(load_network, card_for(path), where))
    refused = [error for error in errors if error is not None]
    assert refused
    assert {error.exit_status for error in refused} == {2}
    assert not [error for error in refused if "\n" in str(error)]


def mutated_head(content: bytes, dice: np.random.Generator) -> bytes:
    """Changes where a checkpoint says what follows; the rest are weights, of which every value is one."""
    return mutated(content[:2048], dice) + content[2048:]


PHONES = b"List of devices attached\nemulator-5554\tdevice\nR5 x\tunauthorized\n"
PROPERTIES = b"[ro.product.model]: [Pixel 6]\n[ro.build.id]: [AP1A]\n"


@pytest.mark.parametrize(
    ("read", "good"), [(android_text.listed_phones, PHONES), (android_text.properties, PROPERTIES)]
)
def test_mutated_answers_of_a_phone_are_read_or_refused(read: Callable[[str], object], good: bytes) -> None:
    assert refusal(read, good.decode()) is None
    for number in range(COUNT):
        refusal(read, mutated(good, np.random.default_rng([number, 2])).decode("utf-8", "replace"))
