"""Fronts, how sure they are, and recommendations: worked out by hand, and against brute force."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import (
    MACHINE,
    NOT_MEASURED_ENERGY,
    NOT_SCORED,
    accuracy,
    demo,
    doubt,
    power,
    record,
    speed,
    weight,
)

from swapbench import store
from swapbench.errors import UserError
from swapbench.pad.score_files import write_score_file
from swapbench.pad.scores import FoldFrames, Scored
from swapbench.records import Record
from swapbench.report.choose.fronts import (
    Comparison,
    comparisons,
    groups_of,
    on_front,
    shares_on_front,
)
from swapbench.report.choose.recommendation import recommend
from swapbench.report.choose.resampling import Evidence, draws_of
from swapbench.report.rows.row import Row
from swapbench.report.tables.columns import column, columns, constraint
from swapbench.report.tables.table import table_of

Point = tuple[float, ...]
small = st.one_of(st.integers(0, 4).map(float), st.floats(-1e9, 1e9, allow_nan=False))
clouds = st.integers(1, 4).flatmap(
    lambda metrics: st.lists(st.tuples(*[small] * metrics), min_size=1, max_size=25)
)


def dominates(one: Point, other: Point) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def rows_of(records: list[Record]) -> tuple[Row, ...]:
    return table_of(records).rows


def compared(
    records: list[Record], names: str = "latency_p50,acer", evidence: Evidence | None = None
) -> Comparison:
    [found] = comparisons(rows_of(records), columns(names), evidence or Evidence.of(records))
    return found


def standing(comparison: Comparison, label: str) -> tuple[bool, float | None]:
    [one] = [one for one in comparison.standings if one.row.label == label]
    return one.on_front, one.share


def said(records: list[Record], *requirements: str, minimise: str = "") -> str:
    rows = rows_of(records)
    [found] = recommend(
        rows,
        [constraint(text, rows) for text in requirements],
        minimise=column(minimise) if minimise else None,
    )
    return found.text


# ---- dominance ----


def test_the_front_of_five_points_is_the_one_drawn_on_paper() -> None:
    # (1, 5), (2, 3) and (4, 1) are best at something; (3, 3) loses to (2, 3), (5, 2) to (4, 1).
    points = [(1, 5), (2, 3), (3, 3), (4, 1), (5, 2)]
    assert on_front(points).tolist() == [True, True, False, True, False]


def test_a_third_metric_keeps_a_point_on_the_front() -> None:
    # (3, 3) loses to (2, 3) in two metrics, but is smallest in the third; (5, 2, 9) still loses to (4, 1, 9).
    points = [(1, 5, 9), (2, 3, 9), (3, 3, 1), (4, 1, 9), (5, 2, 9)]
    assert on_front(points).tolist() == [True, True, True, True, False]


def test_equal_points_do_not_push_each_other_off_the_front() -> None:
    assert on_front([(2, 2), (1, 1), (1, 1)]).tolist() == [False, True, True]


@given(clouds)
def test_the_front_is_what_brute_force_finds(points: list[Point]) -> None:
    expected = [not any(dominates(other, one) for other in points) for one in points]
    assert on_front(points).tolist() == expected


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_shares_count_the_draws_with_a_point_on_the_front(draws: int, points: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 3, (draws, points, 2)).astype(float)
    expected = np.mean([on_front(one) for one in values], axis=0)
    assert shares_on_front(values) == pytest.approx(expected)


# ---- fronts of rows ----


def test_each_column_is_taken_in_its_own_direction() -> None:
    fast = record("fast", speed=speed(1_000_000, 10))
    slow = record("slow", speed=speed(9_000_000, 10), weight=weight(2_000_000, 500_000, 99_000_000))
    by_time, by_speed_up = (compared([fast, slow], name) for name in ("latency_p50", "speed_up"))
    assert [one.on_front for one in by_time.standings] == [True, False]
    # slow has the most MACs and is the reference; fast has the higher speed-up
    assert [one.on_front for one in by_speed_up.standings] == [True, False]


def test_a_column_without_a_better_direction_cannot_make_a_front() -> None:
    plain = replace(column("latency_p50"), better="")
    with pytest.raises(UserError, match="cannot be ranked"):
        comparisons(rows_of([record()]), [plain])


def test_only_rows_of_one_device_and_one_data_set_are_compared() -> None:
    slow = MACHINE.model_copy(update={"name": "pixel7"})
    there = accuracy({"print": (50, 100)}, 1, 50, dataset_digest="fedcba")
    rows = rows_of(
        [
            record("a"),
            record("b", machine=slow, speed=speed(9_000_000, 9)),
            record("c", speed=speed(9_000_000, 9), accuracy=there),
        ]
    )
    groups = groups_of(rows, columns("latency_p50,acer"))
    assert [(machine, [row.net for row in members]) for machine, _, members in groups] == [
        ("bench-1", ["a"]),
        ("bench-1", ["c"]),
        ("pixel7", ["b"]),
    ]
    assert groups[0][1] == "made (01234567), intra"
    # without an error rate the data does not matter
    assert [len(members) for *_, members in groups_of(rows, columns("latency_p50,file_bytes"))] == [2, 1]


def test_machines_of_one_name_are_told_apart_by_their_fingerprints() -> None:
    other = MACHINE.model_copy(update={"governor": "powersave"})
    groups = groups_of(rows_of([record("a"), record("b", machine=other)]), columns("latency_p50"))
    assert len({machine for machine, *_ in groups}) == 2


def test_rows_without_a_number_are_listed_with_the_reason() -> None:
    found = comparisons(rows_of([record("a"), record("b", speed=NOT_SCORED)]), columns("latency_p50"))[0]
    [missing] = found.not_judged
    assert missing.row.net == "b"
    assert missing.reason == "no Median latency: no data set was given"


# ---- how sure ----


def test_clear_winners_are_sure_and_clear_losers_never_drawn() -> None:
    found = compared(
        [record("good", speed=speed(1_000_000, 10)), record("bad", speed=speed(50_000_000, 10))],
        "latency_p50,file_bytes",
    )
    assert standing(found, "good.fp32.onnx") == (True, 1.0)
    assert standing(found, "bad.fp32.onnx") == (False, 0.0)


def test_two_rows_that_cannot_be_told_apart_share_the_front() -> None:
    twins = [record("a", run="one"), record("b", run="two")]
    found = compared(twins, "latency_p50")
    shares = [one.share or 0.0 for one in found.standings]
    assert all(0.3 < share < 0.75 for share in shares)
    assert 1.0 <= sum(shares) < 1.3  # ties are on the front both


def test_the_same_rows_give_the_same_shares() -> None:
    assert compared(demo()) == compared(demo())


def test_rates_that_are_equal_but_for_their_last_bit_are_equal() -> None:
    # (.27 + .17) / 2 and (.265 + .175) / 2 are two doubles
    slow = record("slow", speed=speed(2_000_000, 10), accuracy=accuracy({"print": (27, 100)}, 17, 100))
    fast = record("fast", accuracy=accuracy({"print": (53, 200)}, 35, 200))
    rates = [one.accuracy.acer for one in (slow, fast)]  # type: ignore[union-attr]
    assert rates[0] != rates[1]
    assert rates[0] == pytest.approx(rates[1], abs=1e-15)
    found = compared([slow, fast])
    assert [standing(found, f"{name}.fp32.onnx")[0] for name in ("slow", "fast")] == [False, True]


def test_a_row_alone_has_no_share() -> None:
    assert standing(compared([record()]), "net.fp32.onnx") == (True, None)


def test_rows_that_are_clearly_beaten_change_no_share() -> None:
    near = [record("a", run="one"), record("b", run="two")]
    lost = [record(f"z{i}", speed=speed(90_000_000, 10)) for i in range(5)]
    alone, among = compared(near, "latency_p50"), compared([*near, *lost], "latency_p50")
    assert [one.share for one in among.standings[:2]] == [one.share for one in alone.standings]


def test_what_the_shares_rest_on_is_said() -> None:
    found = compared([record("a"), record("b")], "latency_p50,acer,eer,file_bytes")
    assert found.draws == 1000
    assert found.methods == (
        "Median latency: processes drawn again",
        "ACER: drawn within its interval, each file for itself",
        "EER: taken as exact, because it has no interval",
    )


def test_many_rows_near_the_front_get_fewer_draws() -> None:
    found = compared([record(f"n{i}") for i in range(120)], "latency_p50,acer")
    assert found.draws == 500


def test_draws_from_an_interval_have_its_ends_as_quantiles() -> None:
    [row] = rows_of([record()])  # ACER 0.03, by hand 0.01 to 0.05
    drawn = draws_of([row], column("acer"), draws=4000).values[0]
    assert np.quantile(drawn, [0.025, 0.5, 0.975]) == pytest.approx([0.01, 0.03, 0.05], abs=0.002)


def test_draws_of_an_energy_lie_evenly_within_its_uncertainty() -> None:
    [row] = rows_of([record(power=power(20_000_000, 1000))])
    [energy] = row.energy
    drawn = draws_of([row], column("energy"), draws=4000).values[0]
    assert abs(drawn - energy.above_idle_uj).max() <= energy.uncertainty_uj
    assert np.mean(abs(drawn - energy.above_idle_uj)) == pytest.approx(energy.uncertainty_uj / 2, rel=0.1)


def test_draws_of_a_ratio_move_with_what_it_is_made_of() -> None:
    records = [
        record("slow", speed=speed(8_000_000, 9000), weight=weight(9, 9, 10**9)),
        record("fast", speed=speed(1_000_000, 9000)),
    ]
    [fast, _] = rows_of(records)
    times = draws_of([fast], column("latency_p50"), Evidence.of(records)).values
    ratios = draws_of([fast], column("speed_up"), Evidence.of(records)).values
    assert fast.relative is not None
    assert fast.speed is not None
    assert ratios * times == pytest.approx(
        np.full_like(times, (fast.relative.speed_up or 0) * fast.speed.p50_ns)
    )


def test_counts_and_sizes_do_not_move() -> None:
    rows = rows_of([record()])
    for name in ("params", "macs", "file_bytes", "size_reduction"):
        drawn = draws_of(rows, column(name), draws=5)
        assert (np.ptp(drawn.values), drawn.methods) == (0.0, ())


def test_the_tail_is_drawn_about_the_estimate_that_the_table_has() -> None:
    records = [record(speed=speed(1_000_000, 1000, runs=800))]
    [row] = rows_of(records)
    drawn = draws_of([row], column("p90"), Evidence.of(records)).values[0]
    assert np.median(drawn) == pytest.approx(row.speed.p90_ns, rel=0.01)
    assert np.ptp(drawn) > 0


# ---- paired error rates ----


def kept_scores(folder: Path, one: Record, wrong: set[int]) -> Path:
    """Twenty people with a bona fide and a print each; the people in `wrong` have their print accepted."""
    people = [f"p{i:02d}" for i in range(20)]
    scored = Scored.of(
        [f"{name}-{kind}" for name in people for kind in ("real", "print")],
        [name for name in people for _ in range(2)],
        [True, False] * 20,
        ["", "print"] * 20,
        [score for i in range(20) for score in (0.9, 0.8 if i in wrong else 0.1)],
    )
    nothing = scored.rows(np.arange(0))
    path = store.scores_path(folder, one.id)
    path.parent.mkdir(exist_ok=True)
    frames = np.zeros(len(scored), dtype=np.int64)
    write_score_file(path, [FoldFrames("", nothing, scored, frames[:0], frames)])
    return path


def paired(folder: Path, wrong: dict[str, set[int]]) -> tuple[list[Record], Evidence]:
    records = [
        record(net, accuracy=accuracy({"print": (len(people), 20)}, 0, 20)) for net, people in wrong.items()
    ]
    for one, people in zip(records, wrong.values(), strict=True):
        kept_scores(folder, one, people)
    return records, Evidence.of(records, lambda one: store.scores_path(folder, one.id))


def test_files_that_err_on_the_same_people_are_drawn_with_the_same_people(tmp_path: Path) -> None:
    # b errs where a does and on one person more: in no draw can it be better
    records, evidence = paired(tmp_path, {"a": {1, 2, 3}, "b": {1, 2, 3, 4}})
    rows = rows_of(records)
    drawn = draws_of(rows, column("acer"), evidence)
    assert drawn.methods == ("ACER: people of the test set drawn again, the same for every file",)
    assert (drawn.values[0] <= drawn.values[1]).all()
    assert (drawn.values[0] < drawn.values[1]).mean() == pytest.approx(1 - (1 - 1 / 20) ** 20, abs=0.05)
    assert drawn.values.mean(axis=1) == pytest.approx([3 / 40, 4 / 40], abs=0.005)


@pytest.mark.parametrize("name", ["apcer", "bpcer", "hter", "apcer.print"])
def test_every_counted_rate_is_drawn_from_people(tmp_path: Path, name: str) -> None:
    records, evidence = paired(tmp_path, {"a": {1, 2, 3}, "b": {5, 6}})
    rows = rows_of(records)
    drawn = draws_of(rows, column(name, rows), evidence)
    assert "people of the test set" in drawn.methods[0]
    expected = [column(name, rows).number(row) for row in rows]
    assert drawn.values.mean(axis=1) == pytest.approx(expected, abs=0.01)


def test_scores_that_do_not_give_the_rate_of_the_record_are_not_used(tmp_path: Path) -> None:
    records, evidence = paired(tmp_path, {"a": {1, 2, 3}})
    other = [records[0].model_copy(update={"accuracy": accuracy({"print": (5, 20)}, 0, 20)})]
    evidence = Evidence.of(other, evidence.scores_path)
    assert "within its interval" in draws_of(rows_of(other), column("acer"), evidence).methods[0]


def test_without_an_error_only_the_interval_knows_how_sure_it_is(tmp_path: Path) -> None:
    records, evidence = paired(tmp_path, {"a": set()})
    drawn = draws_of(rows_of(records), column("acer"), evidence)
    assert "within its interval" in drawn.methods[0]
    assert drawn.values.max() > 0.005


# ---- recommendations ----


def three() -> list[Record]:
    """ACER 3, 5 and 9 %, each with 2 points either way; latency 8.5, 2.0 and 1.0 ms."""
    return [
        record("big", speed=speed(8_405_000, 1000), accuracy=accuracy({"print": (4, 100)}, 1, 50)),
        record("mid", speed=speed(1_955_000, 1000), accuracy=accuracy({"print": (8, 100)}, 1, 50)),
        record("tiny", speed=speed(955_000, 1000), accuracy=accuracy({"print": (16, 100)}, 1, 50)),
    ]


def test_the_cheapest_file_that_meets_every_requirement_is_named() -> None:
    text = said(three(), "acer<=0.08", "p50<=30ms")
    assert "take mid.fp32.onnx, the cheapest of 2 files that meet acer <= 0.08 and p50 <= 30ms" in text
    assert "2.00 ms of median latency (because no energy was measured)" in text
    assert "It surely does: no interval crosses a limit." in text


def test_an_interval_that_crosses_a_limit_is_not_sure_and_the_sure_one_is_named() -> None:
    text = said(three(), "acer<=0.06")
    assert "take mid.fp32.onnx" in text
    assert (
        "Not surely: its ACER of 5.00 % has the interval 3.00 % to 7.00 %, which crosses acer <= 0.06."
        in text
    )
    assert "The cheapest that surely does is big.fp32.onnx with 8.45 ms." in text


def test_a_requirement_that_nothing_meets_is_named_with_the_nearest_miss() -> None:
    text = said(three(), "acer<=0.01", "p50<=30ms")
    assert (
        "no file meets acer <= 0.01: the nearest, big.fp32.onnx, has 3.00 % and misses it by 2.00 points"
        in text
    )
    assert "though its interval reaches the limit" in text
    assert "p50" not in text


def test_requirements_that_only_fail_together_are_said_to() -> None:
    text = said(three(), "acer<=0.03", "p50<=1.9ms")
    assert (
        "each requirement is met by some file, but no file meets acer <= 0.03 and p50 <= 1.9ms together"
        in text
    )
    # mid misses 5 % by two thirds of the limit and 1.999 ms by 5 %; big misses 1.9 ms by far more
    assert (
        "the nearest, mid.fp32.onnx, misses acer <= 0.03 by 2.00 points and p50 <= 1.9ms by 99.0 µs" in text
    )


def test_at_least_is_kept_from_the_other_side() -> None:
    records = three()
    records[0] = records[0].model_copy(update={"weight": weight(9_000_000, 9, 10**9)})
    text = said(records, "speed_up>=4")
    assert "take tiny.fp32.onnx" in text
    assert "no file meets speed_up >= 40" in said(records, "speed_up>=40")


def test_energy_is_the_cost_where_every_candidate_has_it() -> None:
    records = [
        one.model_copy(update={"power": power(20_000_000, n)})
        for one, n in zip(three(), (500, 900, 400), strict=True)
    ]
    # 10 J above idle over 500, 900 and 400 runs: mid is the cheapest of the two that fit
    text = said(records, "acer<=0.08")
    assert "take mid.fp32.onnx" in text
    assert "11.1 mJ of energy above idle (above idle, which every candidate has)" in text


def test_latency_is_the_cost_where_one_candidate_has_no_energy() -> None:
    records = three()
    records[0] = records[0].model_copy(update={"power": power(20_000_000, 500)})
    assert "(because energy is not known of mid.fp32.onnx)" in said(records, "acer<=0.08")


def test_energies_of_different_meters_are_not_compared() -> None:
    records = [
        one.model_copy(update={"power": power(20_000_000, 500, meter=meter)})
        for one, meter in zip(three(), ("rapl", "nvml", "rapl"), strict=True)
    ]
    assert "because the energies come from different meters" in said(records)


def test_what_is_minimised_may_be_asked_for() -> None:
    records = three()
    records[0] = records[0].model_copy(update={"weight": weight(1_000, 9, 9)})
    assert "take big.fp32.onnx, the cheapest of 3 files: 1.00 kB of file size (as asked)." in said(
        records, minimise="file_bytes"
    )
    assert "take big.fp32.onnx, the best of 3 files: 97.0 % of AUC" in said(records, minimise="auc")


def test_a_bound_below_the_limit_meets_a_requirement() -> None:
    # 10 J idle, 10.001 J busy over 1000 runs: the energy is not resolved, but surely below 1 J
    unresolved = record("u", power=power(10_001_000, 1000))
    assert "take u.fp32.onnx" in said([unresolved], "energy<=1J")
    assert "no file can be judged" in said([unresolved], "energy<=1uJ")


def test_doubtful_records_are_named() -> None:
    records = three()
    records[1] = records[1].model_copy(update={"doubts": (doubt(),)})
    records[0] = records[0].model_copy(update={"doubts": (doubt("throttled"),)})
    text = said(records, "acer<=0.08")
    assert "Its record is doubtful (wide_interval)." in text
    assert "Doubtful too: big.fp32.onnx." in text
    records[0] = records[0].model_copy(update={"doubts": ()})
    assert "The cheapest without doubts is big.fp32.onnx with 8.45 ms." in said(records, "acer<=0.08")


def test_rows_without_a_number_are_not_judged_and_said_to_be() -> None:
    records = [*three(), record("lost", power=NOT_MEASURED_ENERGY, speed=NOT_SCORED)]
    text = said(records, "p50<=30ms")
    assert "Not judged: lost.fp32.onnx (no Median latency: no data set was given)." in text


def test_simulated_data_are_said_to_be_wherever_errors_decide() -> None:
    assert "Simulated data: not PAD performance." in said(three(), "acer<=0.08")
    assert "Simulated" not in said(three(), "p50<=30ms")


def test_rows_that_cannot_be_told_apart_are_said_to_be() -> None:
    text = said([record("a", run="r1"), record("b", run="r2")])
    assert "b.fp32.onnx costs 1.44 ms, which cannot be told from it." in text


def test_each_device_has_its_own_recommendation() -> None:
    slow = MACHINE.model_copy(update={"name": "pixel7"})
    rows = rows_of([record("a"), record("b", machine=slow)])
    found = recommend(rows, [constraint("p50<=1s", rows)])
    assert [(one.machine, one.chosen.net if one.chosen else "") for one in found] == [
        ("bench-1", "a"),
        ("pixel7", "b"),
    ]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=8), st.integers(1, 50)
)
def test_nothing_that_fits_is_cheaper_than_the_recommended(sizes: list[tuple[int, int]], limit: int) -> None:
    rows = rows_of(
        [record(f"n{i}", weight=weight(size, params, 9)) for i, (size, params) in enumerate(sizes)]
    )
    [found] = recommend(rows, [constraint(f"params<={limit}", rows)], minimise=column("file_bytes"))
    fitting = [size for size, params in sizes if params <= limit]
    assert (found.chosen is None) == (not fitting)
    if found.chosen is not None:
        assert found.chosen.weight.file_bytes == min(fitting)
