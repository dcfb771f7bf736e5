"""Score files: ours written and read back, other people's read, and what is refused or remarked."""

from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.errors import BadDataset, EnvironmentFailed, UnknownName, UserError
from swapbench.pad import metrics, score_files
from swapbench.pad.score_files import data_label, read_score_file, write_score_file
from swapbench.pad.scores import FoldFrames, Scored, scores_csv

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.pad.score_files import ScoreFile

NAN = math.nan

HEADER = "fold,split,presentation,frame,subject,label,species,score\n"


def table(*rows: tuple[str, str, str, float]) -> Scored:
    """Rows of presentation, subject, species ("" is bona fide), score."""
    columns = tuple(zip(*rows, strict=True)) if rows else ((), (), (), ())
    presentation, subject, species, score = columns
    return Scored.of(presentation, subject, [not one for one in species], species, score)


def frames_of(name: str, dev: Scored, test: Scored) -> FoldFrames:
    """Frames numbered within their table."""
    return FoldFrames(name, dev, test, np.arange(len(dev)), np.arange(len(test)))


DEV = table(("d1", "1", "", 0.75), ("d1", "1", "", 0.25), ("d2", "1", "print", 0.1))
TEST = table(("t1.avi", "2", "", 0.5), ("t2.avi", "2", "print", NAN), ("t2.avi", "2", "print", 0.125))


def read(folder: Path, content: str | bytes, name: str = "scores.csv", **how: object) -> ScoreFile:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_score_file(path, **how)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ ours


def test_the_file_is_what_its_description_says(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.csv"
    write_score_file(path, [frames_of("", DEV, TEST)], data_label("set", simulated=False))
    assert path.read_text() == HEADER.replace("score\n", "score,data\n") + (
        ",dev,d1,0,1,bona_fide,,0.75,set\n"
        ",dev,d1,1,1,bona_fide,,0.25,set\n"
        ",dev,d2,2,1,attack,print,0.1,set\n"
        ",test,t1.avi,0,2,bona_fide,,0.5,set\n"
        ",test,t2.avi,1,2,attack,print,nan,set\n"
        ",test,t2.avi,2,2,attack,print,0.125,set\n"
    )
    assert [one.name for one in path.parent.iterdir()] == ["scores.csv"]


def test_a_spreadsheet_computes_no_name_and_the_names_come_back(tmp_path: Path) -> None:
    named = table(("=1+1", "@SUM(A1)", "", 0.75), ("-2", "'=3", "+cmd", -0.5))
    path = tmp_path / "scores.csv"
    write_score_file(path, [frames_of("=0", named, named)], "=HYPERLINK(1)")
    line = "'=0,test,'=1+1,0,'@SUM(A1),bona_fide,,0.75,'=HYPERLINK(1)\n"
    assert line in path.read_text()
    assert "'=0,test,'-2,1,''=3,attack,'+cmd,-0.5,'=HYPERLINK(1)\n" in path.read_text()
    (fold,) = read_score_file(path).folds
    assert fold.name == "=0"
    assert (list(fold.test.presentation), list(fold.test.subject), list(fold.test.species)) == (
        ["=1+1", "-2"],
        ["@SUM(A1)", "'=3"],
        ["", "+cmd"],
    )
    write_score_file(path, [frames_of("=0", named, named)], "=HYPERLINK(1)", raw=True)
    assert line.replace("'", "") in path.read_text()


def test_simulated_data_is_still_called_so_when_its_scores_have_travelled(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv.gz"
    write_score_file(path, [frames_of("", DEV, TEST)], data_label("set", simulated=True))
    assert "simulated data: not PAD performance" in read_score_file(path).remarks
    write_score_file(path, [frames_of("", DEV, TEST)], data_label("set", simulated=False))
    assert "simulated data: not PAD performance" not in read_score_file(path).remarks


def test_frames_come_back_as_presentations(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_score_file(path, [frames_of("", DEV, TEST)])
    found = read_score_file(path)
    assert [fold.name for fold in found.folds] == [""]
    assert found.folds[0].dev is not None
    assert scores_csv(found.folds[0].dev) == scores_csv(
        table(("d1", "1", "", 0.5), ("d2", "1", "print", 0.1))
    )
    assert scores_csv(found.folds[0].test) == scores_csv(
        table(("t1.avi", "2", "", 0.5), ("t2.avi", "2", "print", 0.125))
    )
    assert (found.frames, found.frames_without_score) == (6, 1)
    assert found.remarks == (
        "6 rows are frames of 4 presentations and were averaged",
        "1 rows have no score; 0 presentations are failures to acquire",
    )


def test_folds_stay_apart_and_in_alphabetical_order(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv.gz"
    other = table(("t1.avi", "2", "", 0.25), ("t3.avi", "2", "replay", 0.5))
    write_score_file(path, [frames_of("2", DEV, other), frames_of("1", DEV, TEST)])
    found = read_score_file(path)
    assert [fold.name for fold in found.folds] == ["1", "2"]
    assert found.folds[0].test.presentation.tolist() == ["t1.avi", "t2.avi"]
    assert found.folds[1].test.score.tolist() == [0.25, 0.5]


def test_a_compressed_file_holds_the_same_and_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    plain, one, two = (tmp_path / name for name in ("a.csv", "b.csv.gz", "c.csv.gz"))
    for path in (plain, one, two):
        write_score_file(path, [frames_of("", DEV, TEST)])
    assert gzip.decompress(one.read_bytes()) == plain.read_bytes()
    assert one.read_bytes() == two.read_bytes()  # neither name nor time in it
    assert read_score_file(one).folds[0].test.score.tolist() == [0.5, 0.125]


def test_many_rows_are_written_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    write_score_file(whole, [frames_of("", DEV, TEST)])
    monkeypatch.setattr(score_files, "_ROWS_AT_ONCE", 2)
    write_score_file(parts, [frames_of("", DEV, TEST)])
    assert parts.read_bytes() == whole.read_bytes()


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailed, match="could not be written"):
        write_score_file(tmp_path / "file" / "scores.csv.gz", [frames_of("", DEV, TEST)])


letters = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=6)
names = st.lists(letters, min_size=1, max_size=6, unique=True)


@settings(deadline=None, max_examples=60)
@given(names, st.data())
def test_every_text_and_every_number_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, presentations: list[str], data: st.DataObject
) -> None:
    number = st.floats(allow_infinity=False, allow_nan=True)
    rows = [
        (f" {name}", data.draw(letters), data.draw(st.just("") | letters), data.draw(number))
        for name in presentations
    ]
    path = tmp_path_factory.getbasetemp() / data.draw(st.sampled_from(["r.csv", "r.csv.gz"]))
    write_score_file(path, [frames_of(data.draw(st.just("") | letters), table(), table(*rows))])
    found = read_score_file(path)
    assert found.folds[0].dev is None
    assert scores_csv(found.folds[0].test) == scores_csv(table(*rows))


def test_the_canonical_text_of_scores_is_a_score_file(tmp_path: Path) -> None:
    found = read(tmp_path, scores_csv(table(("a", "1", "", 0.5), ("b", "2", "print", 0.1))))
    assert scores_csv(found.folds[0].test) == scores_csv(table(("a", "1", "", 0.5), ("b", "2", "print", 0.1)))
    assert found.remarks == ()


# ------------------------------------------------------------------------------------------ other people's


def test_bob_pads_csv_is_read_as_it_stands(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "claimed_id, test_label,              is_bonafide, attack_type, score\n"
        "001,        bona_fide_sample_1_path, True,        ,            0.9\n"
        "001,        print_sample_1_path,     False,       print,       0.6\n"
        "002,        replay_sample_1_path,    False,       replay,      0.2\n",
    )
    test = found.folds[0].test
    assert test.subject.tolist() == ["001", "001", "002"]  # not the number 1
    assert test.species.tolist() == ["", "print", "replay"]
    assert test.presentation.tolist()[0] == "bona_fide_sample_1_path"
    assert test.score.tolist() == [0.9, 0.6, 0.2]
    (remark,) = found.remarks
    assert remark.startswith("columns were read as presentation = test_label, subject = claimed_id")
    assert remark.endswith("label = is_bonafide, species = attack_type")


@pytest.mark.parametrize(
    "content",
    [
        "001 001 bona_fide_path 0.9\n001 print print_path 0.6\n\n002 attack/replay replay_path nan\n",
        (
            "# by bob\n001 m 001 bona_fide_path 0.9\n001 m print print_path 0.6\n"
            "002 m attack/replay replay_path nan\n"
        ),
    ],
)
def test_bobs_columns_without_a_header_are_read(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, content, "scores-dev")
    test = found.folds[0].test
    assert test.is_bona_fide.tolist() == [True, False, False]
    assert test.species.tolist() == ["", "print", "attack/replay"]
    assert test.subject.tolist() == ["001", "001", "002"]
    assert test.presentation.tolist() == ["bona_fide_path", "print_path", "replay_path"]
    assert test.failures_to_acquire == 1
    assert "bob's columns were read" in found.remarks[0]


def test_a_line_of_bobs_that_is_none_is_named(tmp_path: Path) -> None:
    for line, complaint in (
        ("001 print path", "3 fields, where line 1 has 4"),
        ("001 print path high", "the score 'high' is not a number"),
        ("001 print path inf", "the score is infinite"),
    ):
        with pytest.raises(BadDataset, match=f"scores-dev line 3: {complaint}"):
            read(tmp_path, f"001 001 path 0.9\n# comment\n{line}\n", "scores-dev")


def test_columns_without_names_cannot_be_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no header"):
        read(tmp_path, "001 001 path 0.9\n", columns={"score": "prob"})


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_usual_names_are_found_whatever_their_case_and_separator(tmp_path: Path, mark: str) -> None:
    rows = [
        ["Video", "Client-ID", "Label", "Attack Type", "Prob", "Set"],
        ["v1", "7", "Live", "", "0.9", "eval"],
        ["v2", "7", "Spoof", "mask", "0.2", "Eval"],
        ["v3", "8", "bona fide", "none", "0.8", "devel"],
        ["v4", "8", "imposter", "mask", "0.1", "devel"],
        ["v5", "9", "real", "", "0.8", "train"],
    ]
    found = read(tmp_path, "\ufeff" + "\r\n".join(mark.join(row) for row in rows))
    dev, test = found.folds[0].dev, found.folds[0].test
    assert dev is not None
    assert (dev.presentation.tolist(), test.presentation.tolist()) == (["v3", "v4"], ["v1", "v2"])
    assert dev.species.tolist() == ["", "mask"]
    assert found.remarks[1] == "1 rows of the training split are not evaluated"


def test_a_column_that_is_named_wins_over_a_usual_name(tmp_path: Path) -> None:
    content = "path,label,score,p_live\na,live,0.1,0.9\nb,spoof,0.8,0.3\n"
    assert read(tmp_path, content).folds[0].test.score.tolist() == [0.1, 0.8]
    assert read(tmp_path, content, columns={"score": "p_live"}).folds[0].test.score.tolist() == [0.9, 0.3]


def test_without_subjects_and_species_the_remarks_say_what_that_costs(tmp_path: Path) -> None:
    found = read(tmp_path, "path,label,score\na,live,0.9\nb,spoof,0.3\nb,spoof,0.1\n")
    test = found.folds[0].test
    assert test.subject.tolist() == ["a", "b"]
    assert test.species.tolist() == ["", "attack (species not given)"]
    assert found.remarks == (
        "columns were read as presentation = path",
        "no column of species: all attacks count as one, so APCER is pooled",
        (
            "no column of subjects: every presentation counts as a person of its own,"
            " so intervals are too narrow"
        ),
        "3 rows are frames of 2 presentations and were averaged",
    )


def test_rows_that_name_no_subject_or_species_are_counted(tmp_path: Path) -> None:
    found = read(
        tmp_path, "video,subject,label,species,score\na,,live,,0.9\nb,7,spoof,,0.3\nc,7,spoof,mask,0.3\n"
    )
    test = found.folds[0].test
    assert test.subject.tolist() == ["a", "7", "7"]
    assert test.species.tolist() == ["", "attack (species not given)", "mask"]
    assert "1 attack rows do not name a species" in found.remarks
    assert any(text.startswith("1 rows do not name a subject") for text in found.remarks)


@pytest.mark.parametrize(
    ("labels", "real"),
    [
        (("+1", "-1", "-2"), (True, False, False)),
        (("1", "-1", "1"), (True, False, True)),
        (("1", "-1", "-2"), (True, False, False)),
        (("genuine", "fake", "attack"), (True, False, False)),
        (("Bona Fide", "bona-fide", "impostor"), (True, True, False)),
    ],
)
def test_labels_that_can_mean_only_one_thing_are_understood(
    tmp_path: Path, labels: tuple[str, ...], real: tuple[bool, ...]
) -> None:
    rows = "".join(f"{place},{label},0.5\n" for place, label in enumerate(labels))
    found = read(tmp_path, "path,label,score\n" + rows)
    assert found.folds[0].test.is_bona_fide.tolist() == list(real)


def test_several_labels_of_attacks_are_species_where_none_are_named(tmp_path: Path) -> None:
    """OULU-NPU marks print -1 and replay -2 in its test lists."""
    found = read(tmp_path, "path,label,score\na,+1,0.9\nb,-1,0.3\nc,-2,0.1\n")
    assert found.folds[0].test.species.tolist() == ["", "label -1", "label -2"]
    assert "no column of species: the labels of attacks were taken as species" in found.remarks


@pytest.mark.parametrize("labels", [("0", "1"), ("1", "1"), ("0.0", "1.0"), ("2", "1")])
def test_zero_and_one_are_refused_until_somebody_says_which_is_bona_fide(
    tmp_path: Path, labels: tuple[str, str]
) -> None:
    content = f"path,label,score\na,{labels[0]},0.9\nb,{labels[1]},0.2\n"
    complaint = f"it is unclear which of the labels .* is bona fide .*--bona-fide-label {min(labels)}"
    with pytest.raises(BadDataset, match=complaint):
        read(tmp_path, content)
    found = read(tmp_path, content, bona_fide_label="1")
    assert found.folds[0].test.is_bona_fide.tolist() == [float(label) == 1 for label in labels]


def test_the_label_that_is_said_to_be_bona_fide_wins_over_its_meaning(tmp_path: Path) -> None:
    content = "path,label,score\na,real,0.9\nb,print,0.3\nc,mask,0.1\n"
    with pytest.raises(BadDataset, match="line 4: unknown label 'mask'"):
        read(tmp_path, content)
    found = read(tmp_path, content, bona_fide_label="Real")
    assert found.folds[0].test.species.tolist() == ["", "label print", "label mask"]
    with pytest.raises(BadDataset, match=r"no row has the label 'live'.*Labels: mask, print, real"):
        read(tmp_path, content, bona_fide_label="live")


@pytest.mark.parametrize(("word", "real"), [("1", True), ("True", True), ("0", False), ("false", False)])
def test_a_column_called_is_bonafide_says_what_its_values_mean(tmp_path: Path, word: str, real: bool) -> None:
    found = read(tmp_path, f"path,is_bonafide,score\na,{word},0.9\n")
    assert found.folds[0].test.is_bona_fide.tolist() == [real]


def test_scores_that_rise_with_attack_are_turned(tmp_path: Path) -> None:
    content = "path,label,score\na,live,0.1\nb,spoof,0.8\nc,spoof,nan\n"
    found = read(tmp_path, content)
    assert any(
        "AUC is 0.000, worse than chance" in text and "--scores-are attack" in text for text in found.remarks
    )
    turned = read(tmp_path, content, rising_with="attack")
    assert turned.folds[0].test.score.tolist()[:2] == [-0.1, -0.8]
    assert turned.folds[0].test.failures_to_acquire == 1
    assert not any("worse than chance" in text for text in turned.remarks)
    assert any("negated" in text for text in turned.remarks)


def test_subjects_in_dev_and_test_are_remarked(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        HEADER + "1,dev,a,0,7,bona_fide,,0.5\n1,test,b,0,7,bona_fide,,0.5\n1,test,c,0,8,bona_fide,,0.5\n",
    )
    assert found.remarks == (
        (
            "1 subjects of fold 1 are in both dev and test, among them 7:"
            " the threshold was chosen with their scores"
        ),
    )


def test_a_file_of_development_scores_has_an_empty_test_split(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + ",dev,a,0,7,bona_fide,,0.5\n,dev,b,0,7,attack,print,0.1\n")
    assert len(found.folds[0].test) == 0
    assert found.folds[0].dev is not None
    with pytest.raises(BadDataset, match="the test split has no bona fide presentation"):
        metrics.evaluate_folds(found.folds)


# ---------------------------------------------------------------------------------------------- bad input

GOOD = HEADER + ",test,a,0,1,bona_fide,,0.5\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "scores.csv is empty"),
        ("\n \n", "scores.csv is empty"),
        (HEADER, "scores.csv has a header and no rows"),
        (HEADER + ",train,a,0,1,bona_fide,,0.5\n", "holds no scores of a dev or test split"),
        (GOOD + ",test,b,0,1,live-ish,,0.5\n", "scores.csv line 3: unknown label 'live-ish'"),
        (GOOD + "\n\n,test,b,0,1,bona_fide,,high\n", "scores.csv line 5: the score 'high' is not a number"),
        (GOOD + ",test,b,0,1,bona_fide,,\n", "scores.csv line 3: the score '' is not a number"),
        (GOOD + ",test,b,0,1\n", "scores.csv line 3: 5 fields, where line 1 has 8. Was the file cut short"),
        (GOOD + ",test,b,0,1,bona_fide,,-inf\n", "scores.csv line 3: the score is infinite"),
        (GOOD + ",probe,b,0,1,bona_fide,,0.5\n", "scores.csv line 3: unknown split 'probe'"),
        (GOOD + ",test,b,0,1,bona_fide,,0.5,9\n", "line 3: 9 fields, .* the column of '9' a name"),
        (GOOD + ',test,"b,0,1,bona_fide,,0.5\n', "line 4: 3 fields, .*quotation mark left open"),
        (
            GOOD.encode() + b",test,b\xff,0,1,bona_fide,,0.5\n",
            "cannot read .* line 3 is not text in UTF-8",
        ),
        (
            GOOD + ",test,b\x00c,0,1,bona_fide,,0.5\n",
            "scores.csv: the presentation 'b\\\\x00c' holds control",
        ),
        (GOOD + ",test,,0,1,bona_fide,,0.5\n", "scores.csv: a score has no presentation"),
        (GOOD + ",test,a,1,2,bona_fide,,0.5\n", "scores.csv: frames of presentation a differ in subject"),
        (GOOD + ",test,a,0,1,bona_fide,,0.5\n", "scores.csv line 3: frame 0 of a is there a second time"),
        (
            GOOD + ",test,b,0,1,bona_fide,print,0.5\n,test,c,0,1,attack,print,0.5\n",
            "line 3: a bona fide presentation has the attack species 'print'",
        ),
        (
            "path,score\na,0.5\n",
            "is recognised as the label.*Its columns: path, score.*--column label=NAME",
        ),
        ("label,score\nlive,0.5\n", "is recognised as the presentation"),
    ],
)
def test_a_file_that_means_nothing_is_refused_with_its_place(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    with pytest.raises(BadDataset, match=complaint):
        read(tmp_path, content)


def test_a_file_that_is_not_there_or_cut_off_is_a_bad_dataset(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match=r"scores .*: No such file or directory") as caught:
        read_score_file(tmp_path / "absent.csv")
    assert caught.value.remedy.startswith("Name a file of scores")
    whole = gzip.compress((GOOD * 50).encode())
    for content in (whole[: len(whole) // 2], b"no gzip at all"):
        with pytest.raises(BadDataset, match="cannot read the scores"):
            read(tmp_path, content, "scores.csv.gz")


def test_what_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no column named 'scores'"):
        read(tmp_path, GOOD, columns={"scores": "prob"})
    with pytest.raises(BadDataset, match=r"has no column 'prob'.*Its columns: fold, split"):
        read(tmp_path, GOOD, columns={"score": "prob"})
    with pytest.raises(UnknownName, match="'spoof'"):
        read(tmp_path, GOOD, rising_with="spoof")


# ---------------------------------------------------------------------------------- files as people have them

WORDS = "live", "spoof"
TRIALS = [("v0", "live", "0.9"), ("v1", "spoof", "0.25"), ("v2", "live", "0.5")]
COMMA = [(name, label, score.replace(".", ",")) for name, label, score in TRIALS]


def lines(rows: list[tuple[str, str, str]], mark: str = ",", header: str = "video,label,score") -> str:
    head = [header.replace(",", mark)] if header else []
    return "\n".join([*head, *(mark.join(row) for row in rows)]) + "\n"


def scores_of(found: ScoreFile) -> dict[str, float]:
    test = found.folds[0].test
    return dict(zip(test.presentation.tolist(), test.score.tolist(), strict=True))


@pytest.mark.parametrize(
    "content",
    [
        lines(TRIALS).replace("\n", "\r"),
        lines(TRIALS).replace("\n", "\r\n").encode("utf-16"),
        "\ufeff" + lines(TRIALS, "\t"),
        lines(TRIALS, "  "),
        "sep=;\n" + lines(TRIALS, ";"),
        '"sep=;"\r\n' + lines(COMMA, ";"),
        lines(COMMA, "\t"),
        "# scores of a network, \"it's\n# video label score\n" + lines(TRIALS, " ", header=""),
        "# a comment\n\n" + lines(TRIALS).replace("v1", "# between, rows\n\n ,,\nv1"),
        lines(TRIALS, '","').replace("\n", '"\n"').removesuffix('"').replace("video", '"video', 1),
        lines(TRIALS).replace("\n", ",,\n"),
        "," + lines(TRIALS).replace("\nv", "\n7,v"),
        lines([(name, label, f"{float(score) * 100:g}%") for name, label, score in TRIALS]),
        lines(
            [(name, label, f"{float(score) * 100:g} %".replace(".", ",")) for name, label, score in TRIALS],
            ";",
        ),
    ],
)
def test_tables_are_read_as_spreadsheets_and_scripts_write_them(tmp_path: Path, content: str | bytes) -> None:
    found = read(tmp_path, content)
    assert scores_of(found) == {"v0": 0.9, "v1": 0.25, "v2": 0.5}
    assert found.folds[0].test.is_bona_fide.tolist() == [True, False, True]


def test_decimal_commas_and_per_cent_are_remarked(tmp_path: Path) -> None:
    assert "decimal commas of scores were read as points" in read(tmp_path, lines(COMMA, ";")).remarks
    percent = lines([(name, label, f"{float(score) * 100:g}%") for name, label, score in TRIALS])
    assert "scores in per cent were divided by 100" in read(tmp_path, percent).remarks


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (lines(COMMA, ";").replace("0,25", "0.25"), "line 2: the score '0,9' .* others have a decimal point"),
        (lines(COMMA), "line 2: 4 fields, where line 1 has 3. 0,9 looks like a decimal comma"),
        (lines(TRIALS).replace("0.25", "25%"), "line 3: only some scores are in per cent, not '25%'"),
        (
            lines(TRIALS).replace("0.25", "0.25,extra"),
            "line 3: 4 fields, .* Give the column of 'extra' a name",
        ),
        (lines(TRIALS).replace("0.25", "N/A"), "line 3: the score 'N/A' is not a number. Use nan"),
        (lines(TRIALS).replace("video", "score"), "has 2 columns named 'score'"),
        (
            lines(TRIALS, header="video,label,score,prob")
            .replace("0.9", "0.9,1")
            .replace("0.25", ",2")
            .replace("0.5", "0.5,3"),
            "score and prob could both be the score",
        ),
        (lines(TRIALS, header=""), "no header: its first row is data .*presentation=1,label=2,score=3"),
        (
            "0.5940 1\n0.1470 0\n",
            r"no header: .*\(1 is '0.5940', 2 is '1'\).*presentation=row,label=2,score=1",
        ),
        (lines(COMMA, ";", header=""), "no header: its first row is data"),
        ("a b c d e 0.5\n", "no header"),
        ("0,1,2\nv0,live,0.5\n", "no column of .* is recognised as the presentation. Its columns: 0, 1, 2"),
        ("video,label,score\n", "has a header and no rows"),
        ("video\nv0\n", "is recognised as the label"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line_and_its_cause(
    tmp_path: Path, content: str, complaint: str
) -> None:
    with pytest.raises(BadDataset, match=complaint):
        read(tmp_path, content)


def test_columns_of_a_file_without_a_header_are_named_by_their_numbers(tmp_path: Path) -> None:
    numbered = {"presentation": "1", "label": "2", "score": "3"}
    content = lines([(name, str(int(label == "live")), score) for name, label, score in TRIALS], header="")
    found = read(tmp_path, content, columns=numbered, bona_fide_label="1")
    assert scores_of(found) == {"v0": 0.9, "v1": 0.25, "v2": 0.5}
    each_row = {"presentation": "row", "label": "2", "score": "1"}
    found = read(tmp_path, "0.5 live\n0.25 spoof\n", columns=each_row)
    assert scores_of(found) == {"row 1": 0.5, "row 2": 0.25}
    assert "each row counts as one presentation" in found.remarks
    with pytest.raises(BadDataset, match="has no header, so its columns have numbers, and no column '4'"):
        read(tmp_path, content, columns={"score": "4"})


def test_two_columns_that_could_be_the_label_or_the_score_and_differ_are_not_chosen_from(
    tmp_path: Path,
) -> None:
    content = "path,label,score,gt\na,real,0.9,live\nb,fake,0.1,spoof\nc,real,0.8,spoof\n"
    with pytest.raises(
        BadDataset, match=r"label and gt could both be the label, and differ in line 4\. Choose"
    ):
        read(tmp_path, content)
    assert read(tmp_path, content, columns={"label": "gt"}).folds[0].test.is_bona_fide.tolist() == [
        True,
        False,
        False,
    ]
    constant = content.replace("fake", "real").replace("live", "0").replace("spoof", "1")
    with pytest.raises(BadDataset, match="label and gt could both be the label, and differ in line 3"):
        read(tmp_path, constant)
    with pytest.raises(BadDataset, match="score and prob could both be the score, and differ in line 2"):
        read(tmp_path, "path,label,score,prob\na,live,0.9,0.8\nb,spoof,0.1,0.1\n")


@pytest.mark.parametrize(
    "content",
    [
        "path,label,score,is_live\na,live,0.9,1\nb,spoof,0.1,0\nc,live,0.8,1\n",
        "path,label,score,class\na,live,0.9,live\nb,spoof,0.1,print\nc,live,0.8,live\n",
        "path,label,score,gt\na,live,0.9,real\nb,spoof,0.1,attack\nc,live,0.8,genuine\n",
        "path,label,score,pred\na,live,0.9,real\nb,spoof,0.1,fake\nc,live,0.8,fake\n",  # no numbers in pred
        "path,is_attack,score,prob\na,0,0.9,0.9\nb,True,0.1,0.1\nc,no,0.8,0.8\n",
    ],
)
def test_columns_that_agree_or_hold_no_scores_are_no_choice(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, content)
    assert found.folds[0].test.is_bona_fide.tolist() == [True, False, True]
    assert found.folds[0].test.score.tolist() == [0.9, 0.1, 0.8]


@pytest.mark.parametrize("labels", [("True", "False"), ("yes", "no"), ("1.0", "0.0")])
def test_true_and_false_of_a_column_called_label_are_unclear(tmp_path: Path, labels: tuple[str, str]) -> None:
    with pytest.raises(BadDataset, match=r"it is unclear which of the labels .* is bona fide"):
        read(tmp_path, f"path,label,score\na,{labels[0]},0.9\nb,{labels[1]},0.2\n")


def frames_of_videos(videos: int, frames: int, name: str) -> str:
    rows = [
        (name.format(video=video, frame=frame), WORDS[video % 2], f"{0.1 * frame:g}")
        for video in range(videos)
        for frame in range(frames)
    ]
    return lines(rows, header="path,label,score")


@pytest.mark.parametrize(
    "name", ["t/{video}/HR_1/frame_{frame:04}.jpg", "v{video}_{frame}.png", "v{video}-{frame}"]
)
def test_frames_that_count_as_trials_are_remarked_and_can_be_grouped(tmp_path: Path, name: str) -> None:
    content = frames_of_videos(4, 5, name)
    found = read(tmp_path, content)
    (remark,) = (text for text in found.remarks if "--group-frames" in text)
    assert remark.startswith(
        "20 rows count as 20 presentations, though their names look like frames of 4 videos"
    )
    grouped = read(tmp_path, content, group_frames=True)
    assert grouped.folds[0].test.score.tolist() == pytest.approx([0.2] * 4)  # the mean of 0, .1, .2, .3, .4
    assert "20 rows are frames of 4 presentations and were averaged" in grouped.remarks


@pytest.mark.parametrize(
    "name",
    ["img{video}{frame}.jpg", "v{video}_{frame}.avi", "{frame}{video}", "{video}-{frame}/clip"],
)
def test_names_that_are_only_numbered_are_no_frames(tmp_path: Path, name: str) -> None:
    assert not any("--group-frames" in text for text in read(tmp_path, frames_of_videos(4, 5, name)).remarks)


def test_numbered_pictures_in_a_folder_a_class_are_no_frames(tmp_path: Path) -> None:
    content = frames_of_videos(2, 9, "{video}/{frame}.jpg")
    assert not any("--group-frames" in text for text in read(tmp_path, content).remarks)
