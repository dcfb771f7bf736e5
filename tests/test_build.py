import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import skip_without
from hypothesis import given
from hypothesis import strategies as st

from swapbench.errors import BadCard, EnvironmentFailed, MissingPackage, ParityFailed, UserError, WorkerFailed
from swapbench.kept import keep, kept
from swapbench.records import (
    FORMATS,
    NOTHING_TO_COMPARE,
    PRECISIONS,
    Absent,
    ModelCard,
    OutputMeaning,
    Parity,
    Preprocessing,
    Variant,
)
from swapbench.workshop.artifacts import Built, DevCrops, Failed, dev_crops, exporting, files
from swapbench.workshop.artifacts.child import error_report
from swapbench.workshop.artifacts.files import Sidecar

SIZE_PX = 32
DATA = "d" * 64


def card_for(checkpoint: Path | str = "net.safetensors", sha256: str = "a" * 64, **changes: Any) -> ModelCard:
    card = ModelCard(
        name="tiny",
        summary="for tests",
        family="resnet_map",
        architecture={"stem": 8, "stages": [8, 8, 16, 16], "blocks": [1, 1, 1, 1]},
        checkpoint=str(checkpoint),
        checkpoint_sha256=sha256,
        preprocessing=Preprocessing(
            width_px=SIZE_PX, height_px=SIZE_PX, crop_scale=1.5, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
        ),
        output=OutputMeaning(kind="logits", bona_fide_index=1),
    )
    return ModelCard.model_validate(card.model_dump() | changes)


def variant(precision: str = "fp32", format: str = "onnx") -> Variant:  # noqa: A002
    return Variant(net="tiny", precision=precision, format=format)  # type: ignore[arg-type]


ALL = [variant(precision, kind) for kind in FORMATS for precision in PRECISIONS]


def crops(count: int = 96, seed: int = 5) -> DevCrops:
    """Bright images are bona fide: something that even a random network's output varies with."""
    dice = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, SIZE_PX)[None, :, None, None] * dice.uniform(-60, 60, (count, 1, 1, 3))
    level = dice.uniform(20, 235, (count, 1, 1, 3))
    noise = dice.normal(0, 15, (count, SIZE_PX, SIZE_PX, 3))
    return DevCrops(np.clip(level + ramp + noise, 0, 255).astype(np.uint8), level.mean(axis=(1, 2, 3)) > 127)


def parity(flips: int = 0) -> Parity:
    return Parity(
        samples=10,
        max_abs_difference=0.0,
        mean_abs_difference=0.0,
        correlation=1.0,
        decision_flips=flips,
        threshold=0.5,
        tolerance={"flip_share": 0.05},
    )


def put(cache: Path, card: ModelCard, one: Variant, found: Parity | Absent | None = None) -> Path:
    """Lay a finished file into a cache by hand."""
    path = files.artifact_path(card, one, cache, DATA)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"model")
    parts = files.key_parts(card, one, DATA)
    sidecar = Sidecar(
        key=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
        parts=parts,
        sha256=hashlib.sha256(b"model").hexdigest(),
        parity=found or parity(),
        export_s=1.0,
    )
    keep(path.with_name(f"{path.name}.json"), sidecar.model_dump(mode="json"), [path])
    return path


def silent(stage: str, done: float, total: float) -> None:
    pass


def test_a_finished_file_is_found_by_its_content_and_not_made_again(tmp_path: Path) -> None:
    card, one = card_for(), variant()
    assert files.missing(card, [one], tmp_path, DATA) == [one]
    path = put(tmp_path, card, one)
    assert path.parent.parent == tmp_path
    assert (len(path.parent.name), path.name) == (8, "tiny.fp32.onnx")
    assert files.missing(card, [one], tmp_path, DATA) == []
    found = files.cached(card, one, tmp_path, DATA)
    assert found == Built(one, path, hashlib.sha256(b"model").hexdigest(), parity())


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint_sha256": "b" * 64},
        {"architecture": {"stem": 16}},
        {"preprocessing": {"width_px": 80, "height_px": 80, "crop_scale": 2.7}},
        {"output": {"kind": "logits", "bona_fide_index": 0}},
        {"rename_keys": {"^module\\.": ""}},
        {"name": "other"},
    ],
)
def test_whatever_the_bytes_depend_on_changes_the_key(changes: dict[str, Any]) -> None:
    one, cache = variant(), Path("cache")
    assert files.artifact_path(card_for(), one, cache, DATA) != files.artifact_path(
        card_for(**changes), one, cache, DATA
    )


def test_other_crops_precisions_and_exporters_change_the_key_and_a_summary_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at(card: ModelCard, one: Variant, data: str) -> Path:
        return files.artifact_path(card, one, Path(), data).parent

    first = at(card_for(), variant(), DATA)
    assert at(card_for(summary="other words"), variant(), DATA) == first
    others = [
        at(card_for(), variant("int8"), DATA),
        at(card_for(), variant("fp32", "tflite"), DATA),
        at(card_for(), variant(), "e" * 64),
    ]
    monkeypatch.setattr(files, "EXPORTER_VERSION", files.EXPORTER_VERSION + 1)
    others.append(at(card_for(), variant(), DATA))
    assert len({first, *others}) == 5


def test_a_damaged_file_does_not_count(tmp_path: Path) -> None:
    card, one = card_for(), variant()
    put(tmp_path, card, one).write_bytes(b"mode")
    assert files.missing(card, [one], tmp_path, DATA) == [one]


@pytest.mark.parametrize("text", ["", "{", '{"key": "x"}'])
def test_a_file_whose_sidecar_is_damaged_does_not_count(tmp_path: Path, text: str) -> None:
    card, one = card_for(), variant()
    path = put(tmp_path, card, one)
    path.with_name(f"{path.name}.json").write_text(text, encoding="utf-8")
    assert files.cached(card, one, tmp_path, DATA) is None


def test_a_sidecar_whose_agreement_was_changed_is_not_believed(tmp_path: Path) -> None:
    card, one = card_for(), variant()
    beside = put(tmp_path, card, one, parity(flips=9)).with_name(f"{one.file_name}.json")
    assert isinstance(files.cached(card, one, tmp_path, DATA), Failed)
    beside.write_text(beside.read_text().replace('"decision_flips": 9', '"decision_flips": 0'))
    assert files.cached(card, one, tmp_path, DATA) is None


def test_a_file_without_a_sidecar_was_interrupted_and_does_not_count(tmp_path: Path) -> None:
    card, one = card_for(), variant()
    path = put(tmp_path, card, one)
    path.with_name(f"{path.name}.json").unlink()
    assert files.cached(card, one, tmp_path, DATA) is None


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "int16x8"])
def test_a_quantised_file_that_differs_from_its_network_counts(precision: str, tmp_path: Path) -> None:
    card, one = card_for(), variant(precision)
    path = put(tmp_path, card, one, parity(flips=3))
    found = files.cached(card, one, tmp_path, DATA)
    assert found == Built(one, path, hashlib.sha256(b"model").hexdigest(), parity(flips=3))


@pytest.mark.parametrize("precision", ["fp32", "int8-dynamic"])
def test_a_file_made_without_samples_counts_and_its_parity_is_absent(precision: str, tmp_path: Path) -> None:
    card, one = card_for(), variant(precision)
    put(tmp_path, card, one, NOTHING_TO_COMPARE)
    found = files.cached(card, one, tmp_path, DATA)
    assert isinstance(found, Built)
    assert found.parity == NOTHING_TO_COMPARE


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_file_that_failed_parity_stays_failed_and_names_both_sides(precision: str, tmp_path: Path) -> None:
    card, one = card_for(), variant(precision)
    path = put(tmp_path, card, one, parity(flips=3))
    found = files.cached(card, one, tmp_path, DATA)
    assert isinstance(found, Failed)
    assert isinstance(found.error, ParityFailed)
    assert one.file_name in str(found.error)
    assert "network of card tiny" in str(found.error)
    assert (found.path, found.parity) == (path, parity(flips=3))
    assert files.missing(card, [one], tmp_path, DATA) == []


def test_a_digest_of_crops_sees_pixels_labels_and_shape() -> None:
    first = crops(4)
    pixels, labels = first.crops.copy(), first.bona_fide.copy()
    assert DevCrops(pixels.copy(), labels.copy()).digest() == first.digest()
    pixels[0, 0, 0, 0] ^= 1
    labels[0] ^= True
    turned = first.crops.reshape(4, SIZE_PX * 2, SIZE_PX // 2, 3)
    others = [
        DevCrops(pixels, first.bona_fide),
        DevCrops(first.crops, labels),
        DevCrops(turned, first.bona_fide),
    ]
    assert len({first.digest(), *(one.digest() for one in others)}) == 4


@given(st.lists(st.booleans(), min_size=1, max_size=700))
def test_rows_are_sorted_and_all_that_calibration_has_not_seen_are_judged(labels: list[bool]) -> None:
    bona_fide = np.array(labels)
    calibration = dev_crops.rows_for_calibration(bona_fide)
    judged = dev_crops.rows_for_parity(bona_fide, macs=10**8)
    for rows in (calibration, judged):
        assert np.all(np.diff(rows) > 0)
        assert rows[0] >= 0
        assert rows[-1] < len(labels)
    assert 1 <= len(calibration) <= 128
    assert bona_fide[calibration].sum() <= 64
    unseen = len(labels) - len(calibration)
    if unseen >= dev_crops.LEAST_UNSEEN:
        assert not set(calibration) & set(judged)
        assert len(judged) == unseen
    else:
        assert len(judged) == len(labels)


def test_a_heavy_network_is_judged_on_fewer_rows_half_of_each_class() -> None:
    """2e11 multiplications are 200 runs of 1e9; however heavy, 128 rows are judged."""
    bona_fide = np.arange(1000) % 4 == 0
    for macs, count in ((10**6, 872), (10**9, 200), (10**12, 128)):
        judged = dev_crops.rows_for_parity(bona_fide, macs)
        assert len(judged) == count
        assert macs < 10**9 or bona_fide[judged].sum() == count // 2


def test_no_frames_are_no_rows() -> None:
    nothing = np.zeros(0, np.bool_)
    assert len(dev_crops.rows_for_calibration(nothing)) == 0
    assert len(dev_crops.rows_for_parity(nothing, 10**6)) == 0


def test_rows_are_spread_over_the_whole_split() -> None:
    bona_fide = np.arange(1000) % 2 == 0
    calibration = dev_crops.rows_for_calibration(bona_fide)
    assert len(calibration) == 128
    assert calibration[-1] > 950
    assert bona_fide[calibration].sum() == 64


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (BadCard("broken card", remedy="Mend it."), BadCard, "broken card. Mend it."),
        (MissingPackage("torch", "exporting", "export"), EnvironmentFailed, "swapbench[export]"),
        (ModuleNotFoundError("No module named 'litert_torch'"), EnvironmentFailed, "swapbench[export]"),
        (
            RuntimeError("first line\nsecond line"),
            WorkerFailed,
            "RuntimeError: first line. The output of the exporters",
        ),
    ],
)
def test_an_error_of_the_child_arrives_as_itself(error: Exception, kind: type, words: str) -> None:
    arrived = exporting._restored(json.loads(json.dumps(error_report(error))), Path("logs/tiny.log"))
    assert type(arrived) is kind
    assert words in str(arrived)
    assert "second line" not in str(arrived)


def test_the_description_in_a_file_can_be_read_without_this_project() -> None:
    said = json.loads(files.description(card_for(), variant("int8")))
    assert said["network"] == "tiny"
    assert said["precision"] == "int8"
    assert Preprocessing.model_validate(said["preprocessing"]) == card_for().preprocessing
    assert OutputMeaning.model_validate(said["output"]).bona_fide_index == 1


# --- with PyTorch ---


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelCard, Path, Path]:
    """A card of a small network with a checkpoint, and a cache in which all six variants were built."""
    skip_without("litert_torch")
    torch = pytest.importorskip("torch")
    from swapbench.workshop.nets import build as network_of
    from swapbench.workshop.nets.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("workshop")
    torch.manual_seed(2)
    network = network_of("resnet_map", card_for().architecture).train()
    data = crops(64, seed=1)
    images = torch.from_numpy((data.crops / 255 - 0.5).astype(np.float32) * 4).permute(0, 3, 1, 2)
    labels = torch.from_numpy(data.bona_fide.astype(np.int64))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them wait for each other where the cores are busy
    for _ in range(25):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    torch.set_num_threads(threads)
    sha256 = save_checkpoint(network, folder / "net.safetensors")
    return card_for(sha256=sha256), folder / "tiny.toml", folder / "cache"


@pytest.fixture(scope="module")
def built(workshop: tuple[ModelCard, Path, Path]) -> list[Built | Failed]:
    card, card_path, cache = workshop
    return exporting.build(card, card_path, ALL, crops(), cache, silent)


@pytest.mark.slow
def test_all_six_variants_are_built_in_the_order_asked_for(built: list[Built | Failed], capfd: Any) -> None:
    assert [one.variant for one in built] == ALL
    assert [one.error for one in built if isinstance(one, Failed)] == []
    for one in built:
        assert isinstance(one, Built)
        assert one.path.name == one.variant.file_name
        assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256
        assert one.parity.samples == 96
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_sidecar_of_an_int8_file_tells_what_was_tried_and_what_was_chosen(
    built: list[Built | Failed],
) -> None:
    for one in built:
        assert isinstance(one, Built)
        beside = Sidecar.model_validate(kept(one.path.with_name(f"{one.path.name}.json")))
        assert beside.sha256 == one.sha256
        assert len(beside.trials) == len(one.trials)
        assert sum(trial.chosen for trial in one.trials) == (one.variant.precision == "int8")
        assert one.path.with_name(f"{one.path.name}.curve.csv").exists() == (len(one.trials) > 1)


@pytest.mark.slow
def test_the_files_hold_their_card_s_description(built: list[Built | Failed], workshop: Any) -> None:
    from swapbench.modelfile import read_graph

    card = workshop[0]
    for one in built:
        assert isinstance(one, Built)
        graph = read_graph(one.path)
        assert graph.metadata == json.loads(files.description(card, one.variant))
        assert graph.precision == one.variant.precision
    assert len({read_graph(one.path).params for one in built if isinstance(one, Built)}) == 1


@pytest.mark.slow
def test_a_second_build_starts_nothing_and_a_damaged_file_alone_is_made_again(
    built: list[Built | Failed], workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, card_path, cache = workshop
    started: list[str] = []
    start = exporting._start
    monkeypatch.setattr(exporting, "_start", lambda job, log: started.append(job.stem) or start(job, log))
    assert exporting.build(card, card_path, ALL, crops(), cache, silent) == built
    assert started == []
    victim = next(one for one in built if one.variant == variant("int8", "tflite"))
    assert victim.path is not None
    victim.path.write_bytes(victim.path.read_bytes()[:-100])
    again = exporting.build(card, card_path, ALL, crops(), cache, silent)
    assert started == ["tflite"]
    # another process, another hash seed, the same bytes; only the rough times of the trials differ
    assert [without_times(one) for one in again] == [without_times(one) for one in built]


def without_times(one: Built | Failed) -> Built:
    assert isinstance(one, Built)
    return replace(one, trials=tuple(trial.replace(run_ns=0) for trial in one.trials))


@pytest.mark.slow
def test_nothing_but_finished_files_bases_and_logs_is_left(
    built: list[Built | Failed], workshop: Any
) -> None:
    cache = workshop[2]
    names = {path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".csv"}
    files = [one.file_name for one in ALL] + ["base.onnx", "base.tflite"]
    assert names == {*files, *(f"{name}.json" for name in files), "tiny.onnx.log", "tiny.tflite.log"}
    assert not [path for path in cache.iterdir() if path.name.startswith(".job-")]


@pytest.mark.slow
def test_a_card_that_is_not_its_checkpoint_fails_every_variant_with_that_error(
    workshop: Any, tmp_path: Path
) -> None:
    _, card_path, _ = workshop
    wanted = [variant("fp32"), variant("int8")]
    found = exporting.build(card_for(sha256="0" * 64), card_path, wanted, crops(), tmp_path, silent)
    assert [type(one) for one in found] == [Failed, Failed]
    assert {type(one.error) for one in found if isinstance(one, Failed)} == {BadCard}


@pytest.mark.slow
def test_a_network_that_does_not_survive_int8_is_made_with_some_layers_in_float_and_a_doubt(
    tmp_path: Path,
) -> None:
    """Channels differ by 100,000 times and meet in residual sums, where nothing can equalise them."""
    skip_without("litert_torch")
    torch = pytest.importorskip("torch")
    from swapbench.bench.doubt import parity_doubts
    from swapbench.workshop.nets import build as network_of
    from swapbench.workshop.nets.checkpoint import save_checkpoint

    torch.manual_seed(2)
    network = network_of("resnet_map", card_for().architecture).eval()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                powers = torch.linspace(-2.5, 2.5, part.num_features)
                part.weight.copy_(10 ** powers[torch.randperm(part.num_features)])
    card = card_for(sha256=save_checkpoint(network, tmp_path / "net.safetensors"))
    wanted = [variant("fp32"), variant("int8")]
    fp32, int8 = exporting.build(card, tmp_path / "tiny.toml", wanted, crops(), tmp_path / "cache", silent)
    assert isinstance(fp32, Built)
    assert list(parity_doubts(fp32.parity)) == []
    assert isinstance(int8, Built)
    assert [doubt.code for doubt in parity_doubts(int8.parity)] == ["differs_from_network"]
    chosen = next(trial for trial in int8.trials if trial.chosen)
    assert chosen.float_layers
    assert chosen.logit_error < int8.trials[0].logit_error / 2
    header, *rows = int8.path.with_name(f"{int8.path.name}.curve.csv").read_text().splitlines()
    assert header.startswith("float_layers,")
    assert len(rows) == len(int8.trials)


@pytest.mark.slow
def test_without_frames_what_needs_no_ranges_is_made_and_its_parity_is_absent(
    workshop: Any, tmp_path: Path
) -> None:
    card, card_path, _ = workshop
    wanted = [variant("fp32"), variant("int8"), variant("int8-dynamic")]
    nothing = DevCrops(np.zeros((0, SIZE_PX, SIZE_PX, 3), np.uint8), np.zeros(0, np.bool_))
    fp32, int8, dynamic = exporting.build(card, card_path, wanted, nothing, tmp_path, silent)
    assert isinstance(int8, Failed)
    assert isinstance(int8.error, UserError)
    assert "int8 needs frames to find the ranges" in str(int8.error)
    for one in (fp32, dynamic):
        assert isinstance(one, Built)
        assert one.parity == NOTHING_TO_COMPARE


@pytest.mark.slow
def test_one_failing_variant_does_not_stop_the_others_and_progress_reaches_the_end(
    workshop: Any, built: list[Built | Failed]
) -> None:
    card, card_path, cache = workshop
    odd = variant("unknown")
    heard: list[tuple[float, float]] = []
    found = exporting.build(
        card,
        card_path,
        [odd, variant("fp32")],
        crops(seed=9),
        cache,
        lambda _, done, total: heard.append((done, total)),
    )
    assert isinstance(found[0], Failed)
    assert isinstance(found[0].error, UserError)
    assert isinstance(found[1], Built)
    assert heard[0] == (0, 2)
    assert heard[-1] == (2, 2)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


@pytest.mark.slow
def test_a_child_that_dies_is_an_error_with_its_log(
    workshop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, card_path, _ = workshop
    monkeypatch.setattr(exporting.sys, "executable", "/bin/false")
    found = exporting.build(card, card_path, [variant()], crops(), tmp_path, silent)
    assert isinstance(found[0], Failed)
    assert isinstance(found[0].error, WorkerFailed)
    assert "died with status 1" in str(found[0].error)
    assert "tiny.onnx.log" in found[0].error.remedy
