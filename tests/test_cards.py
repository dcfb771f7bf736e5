import math
import re
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from swapbench.cards import first_problem, read_card, write_card
from swapbench.commands.named_files import own_card
from swapbench.errors import BadCard
from swapbench.records import ModelCard, OutputMeaning, Preprocessing, Training

CARD = ModelCard(
    name="tiny",
    recipe="kd",
    summary='A "small" network\nin two lines',
    family="minifasnet",
    architecture={
        "channels": list(range(1, 50)),
        "classes": 2,
        "squeeze": False,
        "dropout": 0.2,
        "nested": {"a": []},
    },
    checkpoint="tiny.kd.safetensors",
    checkpoint_sha256="0" * 64,
    rename_keys={r"^module\.": "", r"\.se_(fc|bn)": r".se_module.\1"},
    preprocessing=Preprocessing(width_px=80, height_px=80, crop_scale=2.7, mean=(0.1, 0.2, 0.3)),
    output=OutputMeaning(kind="logits", bona_fide_index=1, classes=("attack", "bona fide")),
    training=Training(
        command="swapbench train tiny",
        seed=1,
        data="simulated",
        data_digest="f" * 64,
        simulated_data=True,
        dev_results={"eer": 1e-05, "auc": 1.0},
    ),
)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
tables = st.recursive(
    st.dictionaries(texts, scalars | st.lists(scalars, max_size=40), max_size=4),
    lambda inner: st.dictionaries(texts, scalars | inner, max_size=3),
    max_leaves=8,
)


def test_a_card_comes_back_as_it_was_written_and_always_in_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "cards" / "tiny.toml"
    write_card(CARD, path)
    assert read_card(path) == CARD
    first = path.read_bytes()
    write_card(read_card(path), path)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.toml"]


@given(texts, tables)
def test_any_text_and_any_architecture_survives_being_written(
    summary: str, architecture: dict[str, object]
) -> None:
    card = CARD.model_copy(update={"summary": summary, "architecture": architecture})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "card.toml"
        write_card(card, path)
        assert read_card(path) == card


def test_what_was_not_given_is_left_out(tmp_path: Path) -> None:
    write_card(CARD.model_copy(update={"recipe": None, "training": None}), tmp_path / "card.toml")
    written = tomllib.loads((tmp_path / "card.toml").read_text())
    assert "recipe" not in written
    assert "training" not in written


def test_a_wrong_field_is_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    write_card(CARD, path)
    path.write_text(path.read_text().replace("width_px = 80", 'width_px = "wide"'))
    with pytest.raises(BadCard, match=r"bad.toml: preprocessing.width_px: .*valid integer"):
        read_card(path)
    path.write_text('name = "x"\n')
    with pytest.raises(BadCard, match=r"preprocessing: Field required \(and \d+ more\)"):
        read_card(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'channel_order = "rgb"',
            'chanel_order = "rgb"',
            r"unknown key `chanel_order` in \[preprocessing\]; did you mean channel_order\?$",
        ),
        (
            'kind = "logits"',
            'kinds = "logits"',
            r"unknown key `kinds` in \[output\]; did you mean kind\? \(and 1",
        ),
        ('family = "m', 'famly = "m', r"unknown key `famly`; did you mean family\?"),
        ("[output]", "[output]\nwidth_px = 3", r"`width_px` in \[output\]; it belongs in \[preprocessing\]$"),
        ("[training]", "[training]\nsource = 3", r"`source` in \[training\]; it belongs above the tables$"),
        ("[output]", "[output]\nzzz = 3", r"`zzz` in \[output\]; known are bona_fide_index, classes, .*kind"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "card.toml"
    write_card(CARD, path)
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(BadCard) as caught:
        read_card(path)
    assert re.search(message, caught.value.args[0])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width_px", 0, "width_px: Input should be greater than or equal to 1"),
        ("height_px", -80, "height_px: Input should be greater than or equal to 1"),
        ("width_px", 200_000, "width_px: Input should be less than or equal to 4096"),
        ("crop_scale", 0, "crop_scale: Input should be greater than 0"),
        ("crop_scale", math.nan, "crop_scale: Input should be a finite number"),
        ("crop_scale", 1e300, "crop_scale: Input should be less than or equal to 20"),
        ("scale", math.inf, "scale: Input should be a finite number"),
        ("scale", 0, "scale: 0 would make all pixels alike"),
        ("std", [1, 0, 1], "std.1: 0 would make all pixels alike"),
        ("std", math.nan, "std.0: Input should be a finite number"),
        ("mean", [0.5, 0.5], "mean: 2 numbers for 3 channels"),
        ("mean", "0.5", "mean: must be one number, or one for each channel"),
        ("channel_order", "grey", "channel_order: Input should be 'rgb', 'bgr' or 'gray'"),
    ],
)
def test_a_preprocessing_without_sense_is_refused(field: str, value: object, message: str) -> None:
    given = {"width_px": 8, "height_px": 8, "crop_scale": 1.0, field: value}
    with pytest.raises(ValidationError) as caught:
        Preprocessing.model_validate(given)
    assert message in first_problem(caught.value, Preprocessing)


@pytest.mark.parametrize("index", [-1, True, "1", 1.5, [0, -1]])
def test_what_is_no_class_is_refused_in_one_complaint(index: object) -> None:
    with pytest.raises(ValidationError) as caught:
        OutputMeaning.model_validate({"kind": "logits", "bona_fide_index": index})
    assert first_problem(caught.value, OutputMeaning) == (
        "bona_fide_index: must be a class, counted from 0, such as 1, or several, such as [0, 2]"
    )


def test_one_number_stands_for_every_channel() -> None:
    size = {"width_px": 8, "height_px": 8, "crop_scale": 1.0}
    colour = Preprocessing.model_validate({**size, "mean": 0.5, "std": [0.1, 0.2, 0.3]})
    assert (colour.mean, colour.std, colour.channels) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3), 3)
    gray = Preprocessing.model_validate({**size, "channel_order": "gray", "std": 0.5})
    assert (gray.mean, gray.std, gray.channels) == ((0.0,), (0.5,), 1)


def test_a_file_that_is_missing_or_no_toml_is_a_bad_card(tmp_path: Path) -> None:
    with pytest.raises(BadCard, match=r"cannot read the card .*none.toml"):
        read_card(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"name = \xff")
    with pytest.raises(BadCard, match="is not TOML"):
        read_card(tmp_path / "bad.toml")


def test_a_card_that_toml_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCard, match=r"cannot be written: .*NoneType"):
        write_card(CARD.model_copy(update={"architecture": {"widths": [1, None]}}), tmp_path / "a.toml")
    assert not (tmp_path / "a.toml").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"preprocessing": {"width_px": 0, "height_px": 8, "crop_scale": 1}},
            "preprocessing.width_px: Input",
        ),
        ({"output": {"kind": "logits", "kid": 3}}, r"unknown key `kid` in \[output\]; did you mean kind\?"),
        ({"network": None}, "no 'network'"),
    ],
)
def test_what_is_wrong_with_a_card_inside_a_file_is_named(changes: dict[str, object], reason: str) -> None:
    metadata = {"network": "net", **CARD.model_dump(mode="json"), **changes}
    wanted = {key: value for key, value in metadata.items() if value is not None}
    with pytest.raises(BadCard, match=rf"metadata in net.onnx cannot be used: {reason}"):
        own_card(Path("net.onnx"), wanted)
