"""The table of scores: what it refuses, its mean over frames, its file."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.errors import BadDataset
from swapbench.pad import scores as scores_module
from swapbench.pad.scores import (
    Scored,
    coded,
    mean_by_presentation,
    scores_csv,
    scores_sha256,
)

NAN = math.nan


def table(*rows: tuple[str, str, str, float]) -> Scored:
    """Rows of presentation, subject, species ("" is bona fide), score."""
    columns = tuple(zip(*rows, strict=True)) if rows else ((), (), (), ())
    presentation, subject, species, score = columns
    return Scored.of(presentation, subject, [not one for one in species], species, score)


SMALL = table(("b", "2", "print", 0.25), ("a", "1", "", 0.1), ("c", "2", "", NAN))


def test_columns_are_copies_that_cannot_be_written_to() -> None:
    mine = np.array([0.5, 0.25])
    scored = Scored(
        np.array(["a", "b"]), np.array(["1", "1"]), np.array([True, False]), np.array(["", "print"]), mine
    )
    mine[0] = 9
    assert scored.score.tolist() == [0.5, 0.25]
    with pytest.raises(ValueError, match="read-only"):
        scored.score[0] = 1


def test_scores_of_another_type_become_float64() -> None:
    scored = Scored(
        np.array(["a"]),
        np.array(["1"]),
        np.array([1]),
        np.array([""]),
        np.array([0.1], dtype=np.float32),
    )
    assert scored.score.dtype == np.float64
    assert scored.score[0] == float(np.float32(0.1)) != 0.1
    assert scored.is_bona_fide.dtype == np.bool_


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (("", "1", "", 0.1), "a score has no presentation"),
        (("a", "", "", 0.1), "a score has no subject"),
        (("a", "1", "", math.inf), "infinite"),
        (("a\nb", "1", "", 0.1), "control characters"),
        (("a\udc80", "1", "", 0.1), "not text"),
    ],
)
def test_a_row_that_means_nothing_is_refused(row: tuple[str, str, str, float], complaint: str) -> None:
    with pytest.raises(BadDataset, match=complaint):
        table(row)


@pytest.mark.parametrize(("bona_fide", "species"), [(True, "print"), (False, "")])
def test_a_species_belongs_to_attacks_and_only_to_them(bona_fide: bool, species: str) -> None:
    with pytest.raises(BadDataset, match="species must be empty for bona fide and given for every attack"):
        Scored.of(["a"], ["1"], [bona_fide], [species], [0.5])


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadDataset, match="differ in shape"):
        Scored.of(["a", "b"], ["1", "1"], [True, True], ["", ""], [0.5])


def test_a_failure_to_acquire_is_counted_apart() -> None:
    assert len(SMALL) == 3
    assert SMALL.failures_to_acquire == 1
    assert SMALL.acquired.presentation.tolist() == ["b", "a"]
    assert SMALL.acquired.failures_to_acquire == 0
    assert {name: scores.tolist() for name, scores in SMALL.attacks_by_species.items()} == {"print": [0.25]}


def test_the_score_of_a_presentation_is_the_mean_of_its_frames_with_a_face() -> None:
    frames = table(
        ("video2", "s", "print", 0.5),
        ("video1", "s", "", 0.25),
        ("video2", "s", "print", NAN),
        ("video1", "s", "", 0.75),
        ("video3", "t", "", NAN),
        ("video2", "s", "print", 0.25),
    )
    presentations, failed_frames = mean_by_presentation(frames)
    assert presentations.presentation.tolist() == ["video2", "video1", "video3"]
    np.testing.assert_array_equal(presentations.score, [0.375, 0.5, NAN])
    assert presentations.species.tolist() == ["print", "", ""]
    assert presentations.subject.tolist() == ["s", "s", "t"]
    assert presentations.failures_to_acquire == 1
    assert failed_frames == 2


def test_a_single_frame_keeps_its_score_to_the_last_bit() -> None:
    presentations, _ = mean_by_presentation(table(("a", "1", "", 0.1), ("b", "1", "", 1 / 3)))
    assert presentations.score.tolist() == [0.1, 1 / 3]


@pytest.mark.parametrize(
    ("other", "column"),
    [
        (("a", "2", "", 0.5), "subject"),
        (("a", "1", "print", 0.5), "is_bona_fide"),
    ],
)
def test_frames_of_one_presentation_must_agree(other: tuple[str, str, str, float], column: str) -> None:
    with pytest.raises(BadDataset, match=f"presentation a differ in {column}"):
        mean_by_presentation(table(("a", "1", "", 0.5), other))


@given(st.data())
def test_neither_means_nor_their_ties_depend_on_the_order_of_frames(data: st.DataObject) -> None:
    tenths = st.integers(0, 10).map(lambda tenth: tenth / 10)
    rows = [
        (name, name, "" if number % 2 else "print", score)
        for number, name in enumerate("abcd")
        for score in data.draw(st.lists(tenths, min_size=1, max_size=6))
    ]
    means = [
        dict(zip(mean.presentation.tolist(), mean.score.tolist(), strict=True))
        for mean, _ in (
            mean_by_presentation(table(*order)) for order in (rows, data.draw(st.permutations(rows)))
        )
    ]
    assert means[0] == means[1]


def test_the_mean_of_three_tenths_is_one_double_whatever_their_order() -> None:
    for scores in itertools.permutations((0.1, 0.7, 0.3)):
        mean, _ = mean_by_presentation(table(*(("a", "1", "", score) for score in scores)))
        assert mean.score.tolist() == [1.0999999999999999 / 3]  # the exact sum is 1.09999999999999995


def test_the_mean_of_very_large_scores_does_not_overflow() -> None:
    mean, _ = mean_by_presentation(table(("a", "1", "", 1.5e308), ("a", "1", "", 1.5e308)))
    assert mean.score.tolist() == [1.5e308]


def test_no_frames_make_no_presentations() -> None:
    presentations, failed_frames = mean_by_presentation(table())
    assert len(presentations) == failed_frames == 0


def test_the_canonical_text_is_sorted_and_exact() -> None:
    assert scores_csv(SMALL) == (
        "presentation,subject,label,species,score\n"
        "a,1,bona_fide,,0.1\n"
        "b,2,attack,print,0.25\n"
        "c,2,bona_fide,,nan\n"
    )


def test_the_digest_does_not_depend_on_the_order_of_rows_and_does_on_one_bit() -> None:
    turned = SMALL.rows(np.array([2, 0, 1]))
    assert scores_sha256(turned) == scores_sha256(SMALL)
    other = table(("b", "2", "print", 0.25), ("a", "1", "", float(np.nextafter(0.1, 1))), ("c", "2", "", NAN))
    assert scores_sha256(other) != scores_sha256(SMALL)


text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
rows = st.lists(
    st.tuples(text, text, st.just("") | text, st.floats(allow_infinity=False, allow_nan=True)), max_size=8
)


@settings(deadline=None)
@given(rows)
def test_the_canonical_text_is_what_a_csv_writer_makes_of_the_sorted_rows(
    rows: list[tuple[str, str, str, float]],
) -> None:
    """The digest of every record rests on these bytes."""
    expected = io.StringIO()
    writer = csv.writer(expected, lineterminator="\n")
    writer.writerow(["presentation", "subject", "label", "species", "score"])
    writer.writerows(
        sorted(
            (name, who, "attack" if kind else "bona_fide", kind, repr(score))
            for name, who, kind, score in rows
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores_module, "_ROWS_AT_ONCE", 3)
        assert scores_csv(table(*rows)) == expected.getvalue()
        assert scores_sha256(table(*rows)) == hashlib.sha256(expected.getvalue().encode()).hexdigest()


def test_a_known_digest_stays_as_it_is() -> None:
    assert scores_sha256(SMALL) == "8b2ddb2dabb2d107266b6567719ccb34374d1e02b28d481ca8e9fd15197c069d"


def test_texts_are_plain_strings_that_take_no_more_room_than_their_letters() -> None:
    long = table(("a" * 10_000, "1", "", 0.5), ("b", "1", "", 0.5))
    assert long.presentation.dtype == np.object_
    assert [type(one) for one in long.presentation] == [str, str]


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(BadDataset, match="a subject is not text"):
        Scored.of(["a"], [7], [True], [""], [0.5])  # type: ignore[list-item]


def test_other_scores_for_the_same_rows() -> None:
    other = SMALL.with_scores([1.0, NAN, 3.0])
    assert other.presentation.tolist() == SMALL.presentation.tolist()
    assert other.score[0] == 1.0
    assert SMALL.score[0] == 0.25
    with pytest.raises(BadDataset, match="differ in shape"):
        SMALL.with_scores([1.0])


@given(st.lists(text, max_size=12))
def test_codes_are_those_of_numpys_unique(names: list[str]) -> None:
    code, found = coded(np.array(names, dtype=np.object_))
    values, inverse = np.unique(np.array(names, dtype=np.object_), return_inverse=True)
    assert (list(found), code.tolist()) == (values.tolist(), inverse.tolist())


def test_attacks_are_pooled_in_the_order_of_rows() -> None:
    scored = table(("a", "1", "replay", 0.3), ("b", "1", "", 0.9), ("c", "1", "print", 0.1))
    assert scored.attacks.tolist() == [0.3, 0.1]
    assert list(scored.attacks_by_species) == ["print", "replay"]
