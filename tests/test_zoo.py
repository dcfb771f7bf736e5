"""The zoo: what the cards of public networks must say, what a person sees, and what `get` refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import REPOSITORY
from tiny_files import small_onnx
from zoo_page import page

from swapbench import catalog, cli
from swapbench.bench.experiment import NO_CARD
from swapbench.cards import card_text, read_card, read_network
from swapbench.catalog import Folders
from swapbench.commands import models_under_test, zoo, zoo_text
from swapbench.commands.named_files import CardFinder, named_file, named_files
from swapbench.errors import BadCard, BadModelFile, UnknownName, UserError
from swapbench.runtimes.ort import OnnxRuntime

if TYPE_CHECKING:
    from swapbench.records import PublicNetwork

NETWORKS = sorted((REPOSITORY / "models" / "zoo").glob("*.toml"))
LICENCES = {"Apache-2.0", "MIT", "unknown"}

CARD = """
name = "{name}"
summary = "A network"
licence = "unknown"
source = "https://example.org/{name}"
read_from = ["code.py"]
{building}
[preprocessing]
width_px = 8
height_px = 8
crop_scale = 1.5

[output]
kind = "logits"
bona_fide_index = 1
"""
FILE = """
[[files]]
name = "{name}"
format = "{kind}"
bytes = {bytes}
sha256 = "{sha256}"
repository = "https://example.org/repository"
commit = "{commit}"
path = "weights/{name}"
"""
BUILDING = """
family = "minifasnet"
architecture = { squeeze = true }
rename_keys = { '^module\\.' = "" }
"""


def file_text(name: str, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    kind = name.rpartition(".")[2]
    return FILE.format(name=name, kind=kind, bytes=len(content), sha256=digest, commit="c" * 40)


ONNX, PTH, OTHER = small_onnx(), b"PK\x03\x04\x14\x00 a checkpoint", b"another network"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """A working folder with two networks of its own in the zoo."""
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "models" / "zoo"
    own.mkdir(parents=True)
    one = CARD.format(name="one", building=BUILDING) + file_text("net.onnx", ONNX) + file_text("net.pth", PTH)
    (own / "one.toml").write_text(one)
    (own / "two.toml").write_text(CARD.format(name="two", building="") + file_text("net.pth", OTHER))
    return Folders(tmp_path)


# ------------------------------------------------------------------------------------------ the built-in ones


def test_there_are_fifteen_networks_and_no_digest_twice() -> None:
    networks = [read_network(path) for path in NETWORKS]
    assert len(networks) >= 15
    digests = [file.sha256 for network in networks for file in network.files]
    assert len(digests) == len(set(digests))


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_a_network_of_the_zoo_says_what_a_person_must_know(path: Path) -> None:
    network = read_network(path)
    assert catalog.zoo_files(Folders(Path("nowhere")))[path.stem] == path
    assert network.card.licence in LICENCES
    assert network.card.source.startswith("https://")
    assert len(network.card.name) <= 32, "the list has 80 columns"
    for file in network.files:
        assert file.commit or file.release
        assert file.bytes or any("Nobody states the size" in text for text in network.uncertain)
    for number in network.published:
        assert number.stated
        assert number.data
    assert not network.card.checkpoint  # `get` names the file where it lies


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_a_card_of_the_zoo_states_what_a_run_would_doubt_if_it_were_left_out(path: Path) -> None:
    assert {"channel_order", "scale"} <= read_network(path).card.preprocessing.model_fields_set


def test_only_cards_are_carried_and_no_weights() -> None:
    assert {path.suffix for path in (REPOSITORY / "models" / "zoo").iterdir()} == {".toml"}


def test_the_page_is_what_the_cards_say() -> None:
    told = (REPOSITORY / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert told == page(), "make it again: python tests/zoo_page.py > docs/zoo.md"


# ---------------------------------------------------------------------------------------------- what is shown


def test_the_list_fits_80_columns_and_names_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["zoo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    names = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert names >= {path.stem for path in NETWORKS}
    row = next(line for line in lines if line.startswith("minifasnet_v2_minivision "))
    assert row.split()[1:] == ["80×80", "1.88", "MB", "Apache-2.0", "onnx", "pth", "tflite"]


def test_one_network_is_shown_whole_by_its_bare_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["zoo", "anti_spoof_mn3_openvino"]) == 0
    shown = capsys.readouterr().out
    for fact in (
        "licence  MIT",
        "c4c99af04603b62d7e44f6f4daeb33e0daeccc696008c0b1d62f6f5cebbb3262",
        "commit 26a0e40e71b98e9e911c6c27782448a3f788dcac",
        "ACER 3.81%",
        'border = "clip"',
        'kind = "probabilities"',
        "zoo get anti_spoof_mn3_openvino FILE",
    ):
        assert fact in shown
    assert cli.main(["zoo", "show", "anti_spoof_mn3_openvino"]) == 0
    assert capsys.readouterr().out == shown


def test_a_program_reads_the_list_and_a_network_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["zoo", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    (row,) = (row for row in rows if row["name"] == "minifasnet_v2se_hairymax")
    assert row["licence"] == "unknown"
    assert row["published"] == "AUC-ROC 0.990246"
    assert row["size"] == "–"
    assert cli.main(["zoo", "minifasnet_v2se_hairymax", "--json"]) == 0
    network = json.loads(capsys.readouterr().out)
    assert network["card"]["output"]["classes"] == ["bona fide", "print", "replay"]
    assert network["files"][0]["path"] == "saved_models/AntiSpoofing_print-replay_1.5_128.onnx"


def test_numbers_of_one_source_stand_in_one_line() -> None:
    path = REPOSITORY / "models" / "zoo" / "anti_spoof_mn3_openvino.toml"
    lines = zoo_text.published(read_network(path))
    assert [line.partition(":")[0] for line in lines] == ["ACER 3.81%", "EER 2.26%; AUC 0.998", "EER 16.13%"]


def test_a_missing_licence_is_said_where_it_is_listed_and_shown(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["zoo"], ["zoo", "two"]):
        assert cli.main(words) == 0
        assert "ask its author before you use" in " ".join(capsys.readouterr().out.split())


def test_a_misspelt_name_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["zoo", "minifasnet_v2_minivison"]) == 2
    assert "Did you mean minifasnet_v2_minivision" in capsys.readouterr().err


def test_a_damaged_network_of_ones_own_costs_itself_only(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    own = folders.models / "zoo"
    (own / "bad.toml").write_text("name = ")
    (own / "renamed.toml").write_text((own / "two.toml").read_text())
    (own / "short.toml").write_text((own / "two.toml").read_text().replace('"two"', '"short"', 1)[:-200])
    assert cli.main(["zoo"]) == 0
    said = capsys.readouterr()
    assert "two " in said.out
    assert "bad.toml is not TOML" in said.err
    assert "renamed.toml is the card of two. Call it two.toml" in said.err
    with pytest.raises(BadCard, match=r"short\.toml: files\.0\.sha256"):
        zoo.network(folders, "short")


# -------------------------------------------------------------------------------------------------------- get


def fetch(name: str, content: bytes) -> Path:
    path = Path(name)
    path.write_bytes(content)
    return path


def test_a_fetched_file_gets_a_card_that_run_finds_beside_it(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch("2.7_fetched.onnx", ONNX)
    assert cli.main(["zoo", "get", "one", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out == "2.7_fetched.toml\n"
    assert "is net.onnx of one" in said.err
    assert "swapbench run 2.7_fetched.onnx" in said.err
    written = Path("2.7_fetched.toml").read_text()
    assert "family" not in written  # what only a checkpoint needs, and what nobody said, is left out
    assert "border" not in written
    found = CardFinder(folders).card(named_file(str(path)), None)
    assert found == read_card(Path("2.7_fetched.toml"))
    assert found is not None
    assert found.name == "one"


def test_a_checkpoint_gets_a_card_to_be_exported_with(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["zoo", "get", "one", str(fetch("theirs.pth", PTH))]) == 0
    assert "swapbench export theirs.toml" in capsys.readouterr().err
    card = read_card(Path("theirs.toml"))
    assert (card.family, card.checkpoint) == ("minifasnet", "theirs.pth")
    assert card.checkpoint_sha256 == hashlib.sha256(PTH).hexdigest()
    assert card.rename_keys == {r"^module\.": ""}
    assert cli.main(["zoo", "get", "two", str(fetch("other.pth", OTHER))]) == 0
    assert "export it with its author's code to other.onnx" in capsys.readouterr().err
    assert read_card(Path("other.toml")).checkpoint == ""


@pytest.mark.parametrize("order", [("net.onnx", "net.pth"), ("net.pth", "net.onnx")])
def test_a_file_and_its_checkpoint_share_the_card_that_says_more(
    folders: Folders, order: tuple[str, str]
) -> None:
    contents = {"net.onnx": ONNX, "net.pth": PTH}
    for name in order:
        zoo.get(folders, "one", fetch(name, contents[name]))
    assert read_card(Path("net.toml")).checkpoint == "net.pth"
    assert not zoo.get(folders, "one", Path("net.onnx")).new
    assert not zoo.get(folders, "one", Path("net.pth")).new


THEIRS = CARD.replace('read_from = ["code.py"]', "")
OTHERS_CHECKPOINT = 'checkpoint = "net.pth"\ncheckpoint_sha256 = "00"'


@pytest.mark.parametrize(
    "present",
    [
        "name = ",
        THEIRS.format(name="mine", building=""),
        THEIRS.format(name="one", building=BUILDING + OTHERS_CHECKPOINT),
        THEIRS.format(name="one", building="").replace("1.5", "2.7"),
    ],
)
def test_a_card_that_says_something_else_is_never_overwritten(folders: Folders, present: str) -> None:
    path = fetch("net.onnx", ONNX)
    Path("net.toml").write_text(present)
    with pytest.raises(UserError, match=r"net\.toml is there already and says something else"):
        zoo.get(folders, "one", path)
    assert Path("net.toml").read_text() == present


def test_a_file_of_another_network_is_named(folders: Folders) -> None:
    with pytest.raises(BadModelFile, match=r"x\.pth is two, not one\. Type: swapbench zoo get two x\.pth"):
        zoo.get(folders, "one", fetch("x.pth", OTHER))
    assert not Path("x.toml").exists()
    with pytest.raises(BadModelFile, match=r"Type: swapbench zoo get two 'x y\.pth'"):
        zoo.get(folders, "one", fetch("x y.pth", OTHER))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "a Git LFS pointer.*lfs pull",
        ),
        (b"\n<!DOCTYPE html><html>not found</html>", "a web page"),
        (b'{"message": "Not Found"}', "a text in JSON"),
        (ONNX[:-5], rf"has {len(ONNX) - 5} bytes of the {len(ONNX)} of net\.onnx: it is cut short"),
        (ONNX + b"more", "is none of the 2 known files of one.*zoo show one"),
    ],
)
@pytest.mark.parametrize("name", ["net.onnx", "net.pth"])
def test_what_was_saved_in_place_of_a_file_is_told(
    folders: Folders, name: str, content: bytes, words: str
) -> None:
    if name == "net.pth" and "cut short" in words:
        content, words = PTH[:-1], "cut short"
    with pytest.raises(BadModelFile, match=words):
        zoo.get(folders, "one", fetch(name, content))


def test_a_missing_file_and_a_misspelt_network_are_said(folders: Folders) -> None:
    with pytest.raises(BadModelFile, match=r"there is no file nope\.onnx.*swapbench zoo show one"):
        zoo.get(folders, "one", Path("nope.onnx"))
    with pytest.raises(BadModelFile, match="there is no file"):
        zoo.get(folders, "one", Path())  # a folder
    with pytest.raises(UnknownName, match="no network named 'ones'"):
        zoo.get(folders, "ones", fetch("net.onnx", ONNX))


# ------------------------------------------------------------------------------------------- a run knows them


def test_a_run_recognises_a_file_without_a_card_by_its_digest(folders: Folders) -> None:
    fetch("renamed.onnx", ONNX)
    models, failures = models_under_test.of_files(
        named_files(("renamed.onnx",)), [OnnxRuntime()], CardFinder(folders)
    )
    assert failures == []  # that it has no card yet is no mistake
    unscored = models[0].unscored
    assert unscored is not None
    assert unscored.absent == f"{NO_CARD.absent}; it is one of the zoo"
    assert unscored.remedy == "Write its card: swapbench zoo get one renamed.onnx"
    zoo.get(folders, "one", Path("renamed.onnx"))
    models, _ = models_under_test.of_files(
        named_files(("renamed.onnx",)), [OnnxRuntime()], CardFinder(folders)
    )
    assert models[0].unscored is None
    assert models[0].card is not None


def test_the_digest_is_believed_only_where_a_file_of_the_network_has_it(folders: Folders) -> None:
    digest = hashlib.sha256(ONNX).hexdigest()
    mention = CARD.format(name="mention", building="").replace('["code.py"]', f'["{digest}"]')
    (folders.models / "zoo" / "a.toml").write_text("name = " + digest)
    (folders.models / "zoo" / "mention.toml").write_text(mention + file_text("net.pth", b"else"))
    owner = zoo.owner(folders, digest)
    assert owner is not None
    assert owner.card.name == "one"
    assert zoo.owner(folders, "0" * 64) is None


def test_a_brief_card_leaves_out_what_nobody_said(folders: Folders) -> None:
    network: PublicNetwork = zoo.network(folders, "two")
    text = card_text(network.card, brief=True)
    assert "resize" not in text
    assert "resize" in card_text(network.card)
    Path("brief.toml").write_text(text)
    assert read_card(Path("brief.toml")) == network.card
