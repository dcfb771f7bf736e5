"""The commands about accuracy, as a person types them."""

from __future__ import annotations

import csv
import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from dataset_trees import casia_tree, msu_tree, oulu_tree, replay_tree, tiny
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from swapbench import cli
from swapbench.cli.options import FRAMES_PER_VIDEO
from swapbench.data import manifests

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("few_rounds")

BY_HAND = """presentation,subject,label,species,split,score
a,s1,bona_fide,,dev,0.9
b,s2,bona_fide,,dev,0.8
c,s1,attack,print,dev,0.1
d,s2,attack,print,dev,0.2
e,s3,bona_fide,,test,0.9
f,s4,bona_fide,,test,0.9
g,s5,bona_fide,,test,0.8
h,s6,bona_fide,,test,0.7
i,s3,attack,print,test,0.1
j,s4,attack,print,test,0.1
k,s5,attack,print,test,0.1
l,s6,attack,print,test,0.9
m,s3,attack,replay,test,0.9
n,s4,attack,replay,test,0.9
o,s5,attack,replay,test,0.1
p,s6,attack,replay,test,nan
"""
"""The EER threshold of dev is .8: test rejects h (1 of 4), accepts print l (1 of 4) and replay m, n (2 of 3).

p has no score.
"""


CARD = (
    'name = "red"\nsummary = "a test"\nfamily = ""\ncheckpoint = ""\ncheckpoint_sha256 = ""\n[architecture]\n'
    "[preprocessing]\nwidth_px = 4\nheight_px = 4\ncrop_scale = 1.0\n"
    '[output]\nkind = "score"\n'
)


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def numbers(text: str) -> dict[str, float | None]:
    return {line["name"]: line["value"] for line in json.loads(text)["lines"]}


def test_the_default_number_of_frames_is_that_of_the_readers() -> None:
    assert FRAMES_PER_VIDEO == manifests.FRAMES_PER_VIDEO


def test_metrics_of_a_score_file_worked_out_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.csv").write_text(BY_HAND)
    assert cli.main(["metrics", "scores.csv", "--json"]) == 0
    found = numbers(capsys.readouterr().out)
    assert found["APCER print"] == pytest.approx(1 / 4)
    assert found["APCER replay"] == pytest.approx(2 / 3)
    assert found["BPCER"] == pytest.approx(1 / 4)
    assert found["ACER"] == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert found["HTER @ source dev"] == pytest.approx((3 / 7 + 1 / 4) / 2)
    assert found["failures to acquire, attacks"] == 1
    assert found["threshold"] == pytest.approx(0.8)


def test_metrics_for_a_person_name_both_numbers_and_never_the_literatures_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.csv").write_text(BY_HAND)
    assert cli.main(["metrics", "scores.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    dev, target = (
        next(n for n, line in enumerate(lines) if name in line)
        for name in ("HTER @ source dev", "HTER @ target EER")
    )
    assert dev < target
    assert "the literature's" in lines[target]


def test_scores_without_a_development_split_give_no_frozen_number_unless_a_threshold_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.csv").write_text(
        "\n".join(line for line in BY_HAND.splitlines() if ",dev," not in line) + "\n"
    )
    (tmp_path / "dev.csv").write_text(
        "\n".join(line for line in BY_HAND.splitlines() if ",test," not in line) + "\n"
    )
    assert cli.main(["metrics", "scores.csv", "--json"]) == 0
    assert numbers(capsys.readouterr().out)["HTER @ source dev"] is None
    assert cli.main(["metrics", "scores.csv", "--threshold", "0.8", "--json"]) == 0
    assert numbers(capsys.readouterr().out)["HTER @ given threshold"] == pytest.approx((3 / 7 + 1 / 4) / 2)
    assert cli.main(["metrics", "scores.csv", "--dev", "dev.csv", "--json"]) == 0
    assert numbers(capsys.readouterr().out)["HTER @ source dev"] == pytest.approx((3 / 7 + 1 / 4) / 2)


def test_other_peoples_files_are_read_with_what_the_person_says_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs.csv").write_text(
        "video;p_spoof;truth;person\na;0.1;0;x\nb;0.2;0;y\nc;0.9;1;x\nd;0.7;1;y\n"
    )
    argv = ["metrics", "theirs.csv", "--column", "score=p_spoof,label=truth", "--json"]
    assert cli.main(argv) == 2
    assert "--bona-fide-label" in capsys.readouterr().err
    assert cli.main([*argv, "--bona-fide-label", "0", "--scores-are", "attack"]) == 0
    assert numbers(capsys.readouterr().out)["AUC"] == 1.0
    assert cli.main(["metrics", "theirs.csv", "--column", "score"]) == 2
    assert "score=probability" in capsys.readouterr().err
    assert cli.main(["metrics", "theirs.csv", "--scores-are", "atack"]) == 2
    assert "Did you mean attack" in capsys.readouterr().err


def test_parity_of_two_score_files_says_who_pays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = "presentation,subject,label,species,split,score\n"
    rows = [
        (f"{split}-{kind}-{n}", f"{split}{n}", kind, split)
        for split in ("dev", "test")
        for kind in ("", "print", "replay")
        for n in range(20)
    ]

    def text(replay: float) -> str:
        score = {"": 0.9, "print": 0.1, "replay": 0.2}
        return header + "".join(
            f"{name},{person},{'attack' if kind else 'bona_fide'},{kind},{split},"
            f"{replay if kind == 'replay' and split == 'test' else score[kind]}\n"
            for name, person, kind, split in rows
        )

    (tmp_path / "fp32.csv").write_text(text(0.2))
    (tmp_path / "int8.csv").write_text(text(0.95))
    assert cli.main(["parity", "fp32.csv", "fp32.csv"]) == 0
    assert "No attack species" in capsys.readouterr().out
    assert cli.main(["parity", "fp32.csv", "int8.csv"]) == 3
    assert "FAILS ON replay" in capsys.readouterr().out
    assert cli.main(["parity", "fp32.csv", "int8.csv", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["flips"], found["only_reference_right"], found["worst_species"]) == (20, 20, "replay")


def test_data_check_counts_an_official_tree_and_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = oulu_tree(tmp_path / "OULU-NPU")
    assert cli.main(["data", "check", str(root), "--protocol", "1"]) == 0
    out = capsys.readouterr().out
    assert "complete" in out
    assert any(line.split()[:4] == ["train", "bona_fide", "240", "240"] for line in out.splitlines())
    (root / "Test_files" / "1_3_36_1.avi").unlink()
    assert cli.main(["data", "check", str(root), "--protocol", "1"]) == 3
    assert "missing: 1 file, first: Test_files/1_3_36_1.avi" in capsys.readouterr().out


def test_data_check_answers_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = casia_tree(tmp_path / "CASIA-FASD")
    assert cli.main(["data", "check", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] is True
    assert sum(row["found"] for row in found["rows"] if row["fold"]) == 600


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["data", "check", "nothing"], "nothing"),
        (["data", "check", "x", "--data-root", "y"], "cannot be combined"),
        (["data", "simulate", "--layout", "oulu"], "needs a folder"),
        (["data", "simulate", "out", "--layout", "olu"], "Did you mean oulu"),
        (["data", "simulate", "out", "--split", "dev"], "--layout manifest"),
        (["run", "--data", "x", "--data-root", "y"], "cannot be combined"),
        (["run", "--data", "x", "--faces", "detecter"], "Did you mean detector"),
        (
            ["train", "minifasnet_v2", "--data", "OULU", "--protocol", "3"],
            "6 folds, each with a network of its own",
        ),
        (["run", "--data-root", ".", "--protocol", "O+C:M"], "no folder in . has the layout of OULU-NPU"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    argv: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "OULU" in argv:
        oulu_tree(tmp_path / "OULU")
    assert cli.main(argv) == 2
    assert reason in capsys.readouterr().err


def red_less_blue(path: Path) -> None:
    """A network whose bona fide probability is sigmoid(mean red - mean blue), for pixels of 0 to 1."""
    weights = np.zeros((1, 3, 4, 4), np.float32)
    weights[0, 0], weights[0, 2] = 1 / 16, -1 / 16
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["difference"]),
            helper.make_node("Sigmoid", ["difference"], ["p"]),
            helper.make_node("Flatten", ["p"], ["score"]),
        ],
        "red_less_blue",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def test_score_writes_a_row_a_frame_that_metrics_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red_less_blue(tmp_path / "net.onnx")
    (tmp_path / "card.toml").write_text(CARD)
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "frame", "presentation", "subject", "label", "species", "split"])
        for split in ("dev", "test"):
            for kind, colour in (("", (200, 0, 20)), ("print", (20, 0, 200))):
                for person in range(3):
                    for frame in range(2):
                        name = f"{split}{kind}{person}-{frame}.png"
                        Image.new("RGB", (8, 8), colour).save(tmp_path / name)
                        label = "attack" if kind else "bona_fide"
                        writer.writerow(
                            [name, frame, f"{split}{kind}{person}", f"{split}{person}", label, kind, split]
                        )
    argv = [
        "score",
        "net.onnx",
        "--card",
        "card.toml",
        "--data",
        "manifest.csv",
        "--faces",
        "frame",
        "--out",
        "scores.csv.gz",
    ]
    assert cli.main(argv) == 0
    with gzip.open(tmp_path / "scores.csv.gz", "rt") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == 24
    # 180/255 apart: sigmoid(.70588) and its complement
    assert {round(float(row["score"]), 4) for row in rows} == {0.6695, 0.3305}
    capsys.readouterr()
    assert cli.main(["metrics", "scores.csv.gz", "--json"]) == 0
    found = numbers(capsys.readouterr().out)
    assert (found["ACER"], found["AUC"], found["subjects"]) == (0.0, 1.0, 3)


def test_score_of_a_file_without_a_card_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red_less_blue(tmp_path / "net.onnx")
    assert cli.main(["score", "net.onnx", "--out", "scores.csv"]) == 2
    assert "--card" in capsys.readouterr().err


def test_leave_one_dataset_out_runs_on_videos_in_the_official_layouts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red_less_blue(tmp_path / "net.onnx")
    (tmp_path / "card.toml").write_text(CARD)
    data = tmp_path / "data"
    oulu_tree(data / "oulu", people=1, phones=(1,), fill=tiny)
    casia_tree(data / "casia", people=4, fill=tiny)
    replay_tree(data / "replay", people=1, fill=tiny)
    msu_tree(data / "msu", people=4, fill=tiny)
    (data / "msu" / "scene01" / "real" / "real_client001_android_SD_scene01.mp4").write_bytes(b"cut short")
    argv = [
        "score",
        "net.onnx",
        "--card",
        "card.toml",
        "--data-root",
        "data",
        "--protocol",
        "O+C+I:M",
        "--faces",
        "frame",
        "--frames",
        "2",
        "--out",
        "scores.csv",
    ]
    assert cli.main(argv) == 0
    said = capsys.readouterr().err
    assert "everything, as in SSDG" in said
    assert "carved by subject from all of CASIA-FASD" in said
    with (tmp_path / "scores.csv").open() as text:
        rows = list(csv.DictReader(text))
    subjects = {split: {row["subject"] for row in rows if row["split"] == split} for split in ("dev", "test")}
    assert {name.split(":")[0] for name in subjects["dev"]} == {"oulu", "casia", "replay"}
    assert {name.split(":")[0] for name in subjects["test"]} == {"msu"}
    assert cli.main(["metrics", "scores.csv", "--json"]) == 0
    found = numbers(capsys.readouterr().out)
    assert found["failures to acquire, bona fide"] == 1
    assert "HTER @ source dev" in found
