"""Error rates as lines for a person: names, texts, notes, and what stands beside what."""

from __future__ import annotations

import json
import math

import pytest

from swapbench.pad import metrics
from swapbench.pad.error_lines import Line, lines_of_rates
from swapbench.pad.metrics import FoldScores
from swapbench.pad.scores import Scored
from swapbench.records import Interval

NAN = math.nan


def split(name: str, rows: list[tuple[str, float]]) -> Scored:
    """Rows of species ("" is bona fide) and score, two people taking turns."""
    return Scored.of(
        [f"{name}/{number}" for number in range(len(rows))],
        [f"{name}{number % 2}" for number in range(len(rows))],
        [not species for species, _ in rows],
        [species for species, _ in rows],
        [score for _, score in rows],
    )


DEV = split("dev", [("", 0.5), ("print", 0.1), ("print", NAN)])
ROWS = [
    *[("", 0.9)] * 3,
    ("", 0.2),
    ("", NAN),
    *[("print", 0.1)] * 4,
    *[("replay", 0.1)] * 3,
    ("replay", 0.7),
]
ONE = FoldScores("1", DEV, split("test1", ROWS))
TWO = FoldScores("2", DEV, split("test2", ROWS[:4] + ROWS[5:-1]))


def by_name(lines: list[Line]) -> dict[str, Line]:
    assert len({line.name for line in lines}) == len(lines)
    return {line.name: line for line in lines}


def test_the_number_to_judge_by_comes_first_and_the_literatures_directly_below_it() -> None:
    for rates in (
        metrics.evaluate_folds([ONE], draws=20),
        metrics.evaluate_folds([ONE, TWO], draws=20),
        metrics.describe_without_dev(ONE.test, draws=20),
        metrics.describe_without_dev(ONE.test, 0.5, draws=20),
    ):
        first, second = lines_of_rates(rates)[:2]
        assert first.name in {"HTER @ source dev", "HTER @ given threshold"}
        assert second.name == "HTER @ target EER"
        assert "the literature's: threshold chosen on the test scores" in second.note


def test_the_lines_of_one_fold_by_hand() -> None:
    lines = by_name(lines_of_rates(metrics.evaluate_folds([ONE], draws=20)))
    # BPCER 1 of 4, APCER print 0 of 4, replay 1 of 4, pooled 1 of 8
    assert lines["HTER @ source dev"].value == "18.75 %"
    assert lines["ACER"].value == "25.00 %"
    assert (lines["APCER print"].value, lines["APCER print"].note) == ("0.00 %", "0 of 4")
    assert (lines["APCER replay"].value, lines["APCER replay"].note) == ("25.00 %", "1 of 4, worst")
    assert lines["BPCER"].note == "1 of 4"
    assert lines["BPCER"].interval == "0.00 % to 100.00 %"  # two people
    assert (lines["threshold"].value, lines["threshold"].note) == ("0.5", "eer@dev")
    assert (lines["BPCER10"].number, lines["BPCER10"].value) == (None, "–")
    assert lines["BPCER10"].note == "n/a: fold 1: 4 attacks of species print cannot resolve an APCER of 10 %"
    assert lines["failures to acquire, bona fide"].value == "1"
    assert lines["failures to acquire, bona fide"].note == "of 5, BPNRR 20.00 %; in no other rate"
    assert lines["failures to acquire, attacks"].note == "of 8, APNRR 0.00 %; in no other rate"
    assert lines["failures to acquire, development"].number == 1
    assert lines["subjects"].number == 2
    assert not any(name.startswith("fold") for name in lines)


def test_several_folds_have_a_mean_with_its_deviation_and_a_line_each() -> None:
    lines = by_name(lines_of_rates(metrics.evaluate_folds([ONE, TWO], draws=20)))
    # ACER 25 % and 12.5 %
    assert lines["ACER"].value == "18.75 %"
    assert lines["ACER"].note == "mean over 2 folds, sd 8.84 % (n - 1)"
    assert lines["APCER, worst species of each fold"].value == "12.50 %"
    assert lines["BPCER"].note == "2 of 8"
    assert lines["fold 1: ACER"].note == "APCER 25.00 %, BPCER 25.00 %, HTER 18.75 %, threshold 0.5"
    assert lines["fold 2: ACER"].value == "12.50 %"
    assert "threshold" not in lines


def test_without_development_scores_the_honest_number_is_absent_and_says_why() -> None:
    lines = by_name(lines_of_rates(metrics.describe_without_dev(ONE.test, draws=20)))
    assert lines["HTER @ source dev"].number is None
    assert "no development scores" in lines["HTER @ source dev"].note
    assert "ACER" not in lines
    assert "APCER print" not in lines


def test_a_given_threshold_is_named_as_given() -> None:
    lines = by_name(lines_of_rates(metrics.describe_without_dev(ONE.test, 0.95, draws=20)))
    assert lines["HTER @ given threshold"].note == "threshold 0.95, given, not frozen here"
    assert lines["BPCER"].value == "100.00 %"
    assert lines["APCER print"].note == lines["APCER replay"].note == "0 of 4, worst"


def test_a_line_is_text_for_a_person_and_a_number_for_a_program() -> None:
    line = Line("x", 0.12345, bounds=Interval(low=0.1, high=0.2, method="by hand"), note="so")
    assert (line.value, line.interval) == ("12.35 %", "10.00 % to 20.00 %")
    found = json.loads(json.dumps(line.as_json()))
    assert (found["value"], found["interval"]["high"], found["note"]) == (0.12345, 0.2, "so")
    assert Line("x", None).value == "–"
    assert json.loads(json.dumps(Line("x", None).as_json()))["interval"] is None


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (3, "count", "3"),
        (1234567, "count", "1234567"),
        (0.9876543, "score", "0.987654"),
        (0.0, "share", "0.00 %"),
    ],
)
def test_counts_and_scores_are_no_percentages(number: float, unit: str, text: str) -> None:
    assert Line("x", number, unit).value == text  # type: ignore[arg-type]
