import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.cards import read_card, write_card
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
    path.write_text('name = "x"\ncolour = "red"\n')
    with pytest.raises(BadCard, match=r"preprocessing: Field required \(and \d+ more\)"):
        read_card(path)


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
