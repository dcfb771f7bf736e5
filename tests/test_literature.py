"""Published numbers: as data with their sources, apart from measured ones."""

from __future__ import annotations

from swapbench.report.literature import PUBLISHED, as_markdown, literature


def test_every_published_number_has_a_source_and_says_how_it_was_obtained() -> None:
    entries = literature()
    assert len({one.method for one in entries}) == len(entries) >= 20
    assert all(one.paper and one.venue and one.obtained for one in entries)
    assert all(found.unit and found.setting for one in entries for found in one.results)


def test_cross_domain_numbers_are_marked_as_chosen_on_the_target() -> None:
    crossed = [one for one in literature() if any("+" in found.setting for found in one.results)]
    assert {one.method for one in crossed} == {"MADDG", "SSDG-M", "SSDG-R", "SSAN-R", "SA-FAS", "IADG"}
    assert all("target-selected" in one.obtained for one in crossed)
    assert all(len(one.results) == 8 for one in crossed)  # HTER and AUC of four targets


def test_a_number_keeps_its_spread_and_unit() -> None:
    (cdcn,) = (one for one in literature() if one.method == "CDCN")
    assert [found.text for found in cdcn.results[:3]] == ["1 %", "1.5 %", "2.3 ± 1.4 %"]


def test_what_is_not_public_has_no_number() -> None:
    (thesis,) = (one for one in literature() if one.method == "Meta-MMD")
    assert thesis.results == ()
    assert "no number is public" in thesis.obtained


def test_the_text_says_first_that_nothing_of_it_was_measured_here() -> None:
    text = as_markdown(literature())
    assert PUBLISHED in text.split("|", maxsplit=1)[0]
    assert "IADG" in text
    assert "hdl 10356/158548" in text
