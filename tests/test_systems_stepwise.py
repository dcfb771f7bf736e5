"""Systems that run as a whole: they decide as their scores say, and their two costs are compared."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import made_systems as made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.pad.rates import EER_AT_DEV
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.records import Absent, Evidence, Frames, FrozenFold, OutputMeaning, Speed, WorkerTimes
from swapbench.systems import measured, rules
from swapbench.systems.computed import How, Known, computed, decided_on_test
from swapbench.systems.costs import Prices
from swapbench.systems.frozen import Development
from swapbench.systems.stepwise import NotStepwise, Steps, score_of

PROBABILITY = st.floats(0, 1).map(lambda number: round(number, 3))


def steps_of(system: made.System) -> Steps:
    """As `bench.decisions.steps` has it, and through JSON as a process gets it."""
    from swapbench.bench.decision_jobs import steps

    return Steps.of(json.loads(json.dumps(vars(steps(system)))))


@st.composite
def frozen_systems(draw: Any) -> made.System:
    rule = draw(st.sampled_from(("mean", "logits", "product", "maximum", "cascade")))
    frame_rule = draw(st.sampled_from(("mean", "median", "vote", "sequential")))
    if rule == "cascade" and frame_rule == "sequential":
        frame_rule = "mean"
    weights = (
        (1.0, 1.0) if rule in {"cascade", "maximum"} else draw(st.sampled_from(((1.0, 3.0), (1.0, 0.0))))
    )
    members = tuple(
        made.Member(file=f"{name}.onnx", weight=weight) for name, weight in zip("ab", weights, strict=True)
    )
    thresholds = (0.5, 0.25) if rule == "cascade" else (0.5,)
    frozen = FrozenFold(
        threshold=draw(st.sampled_from((0.0, 0.3, 0.5, -0.1))),
        members=thresholds if rule == "cascade" or frame_rule == "vote" else (),
        evidence=Evidence(slope=4.0, offset=-2.0) if frame_rule == "sequential" else None,
    )
    margin = draw(st.sampled_from((0.0, 0.2, math.inf))) if rule == "cascade" else None
    frames = Frames(count=3, rule=frame_rule)
    return made.system(rule, members=members, margin=margin, frames=frames, frozen=(frozen,))


@settings(max_examples=150, deadline=None)
@given(frozen_systems(), st.lists(st.tuples(PROBABILITY, PROBABILITY), min_size=1, max_size=3))
def test_a_process_decides_step_by_step_as_the_scores_say(
    system: made.System, frames: list[tuple[float, float]]
) -> None:
    scores = np.array(frames).T[:, None, :]
    said = rules.decided(system, scores, system.frozen[0])
    asks = [[lambda one=one: float(one) for one in member] for member in np.array(frames).T]
    accepted, asked = steps_of(system).decide(asks)
    assert list(asked) == said.asked[:, 0].tolist()
    if abs(said.score[0] - system.frozen[0].threshold) > 1e-9:  # a tie hangs on the last bit
        assert accepted == bool(said.score[0] >= system.frozen[0].threshold)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3))
def test_one_output_means_the_same_step_by_step(numbers: list[float]) -> None:
    for meaning in (
        OutputMeaning(kind="logits", bona_fide_index=1),
        OutputMeaning(kind="logits", bona_fide_index=(0, 2)),
        OutputMeaning(kind="probabilities", bona_fide_index=2),
        OutputMeaning(kind="map", reduce="mean"),
        OutputMeaning(kind="map", reduce="max", higher_is="attack"),
    ):
        expected = bona_fide_scores([numbers], meaning)[0]
        assert score_of(meaning.model_dump(mode="json"))(numbers) == pytest.approx(expected, abs=1e-12)
    for meaning in (
        OutputMeaning(kind="sigmoid"),
        OutputMeaning(kind="sigmoid", higher_is="attack"),
        OutputMeaning(kind="score", higher_is="attack"),
    ):
        expected = bona_fide_scores([numbers[:1]], meaning)[0]
        assert score_of(meaning.model_dump(mode="json"))(numbers[:1]) == pytest.approx(expected, abs=1e-12)


def test_an_expression_is_not_timed() -> None:
    with pytest.raises(NotStepwise, match="expression"):
        score_of({"kind": "expression"})


# ---- What was timed ----


def speed(*processes: list[tuple[tuple[int, ...], int]]) -> Speed:
    """Processes with one slice each: (decision, its ns)."""
    return Speed(
        workers=tuple(
            WorkerTimes(
                round=number,
                load_ns=1,
                first_ns=1,
                warmup_runs=0,
                slices_ns=(tuple(ns for _, ns in runs),),
                cpu_ns=1,
                decisions=(tuple(decision for decision, _ in runs),),
            )
            for number, runs in enumerate(processes)
        ),
        input="sample",
        stopped="rounds",
    )


def alone(*medians_ns: int) -> Speed:
    plain = speed(*([((0, 0, 1), ns)] for ns in medians_ns))
    return plain.replace(workers=tuple(worker.replace(decisions=None) for worker in plain.workers))


def test_measured_costs_by_hand() -> None:
    known = made.members(made.SMALL, made.LARGE)
    system = Development(known, EER_AT_DEV).freeze(made.system("cascade", margin=0.15))
    # test presentations in order: live/0 sure, live/1 asked, print/0 asked, print/1 sure
    said = decided_on_test(system, known)
    assert said.asked.tolist() == [[1, 1, 1, 1], [0, 1, 1, 0]]
    assert said.accepted.tolist() == [True, True, False, False]
    whole = speed(
        # a way has the median over processes of each one's own median
        [((0, 1, 1, 0), 100), ((3, 0, 1, 0), 104), ((1, 1, 1, 1), 1300)],
        [((0, 1, 1, 0), 110), ((2, 0, 1, 1), 1100)],
        [((0, 1, 1, 0), 120), ((2, 0, 1, 1), 1200)],
    )
    sitting = measured.Sitting((alone(90, 100, 110), alone(900, 1000, 1100)), whole)
    assert sitting.prices.each.tolist() == [100.0, 1000.0]
    of = Known(("a", "b"), (("run", "a"), ("run", "b")), known, sitting.prices, Absent(absent="no energy"))
    result = computed(system, of, How(EER_AT_DEV)).decision
    assert result.time_ns.all.mean == 600.0  # 100, 1100, 1100, 100
    found = measured.measured(result, said, sitting, [0, 1, 2, 3], 0.95)
    # sure: processes show 102, 110, 120; asked: 1300, 1100, 1200
    assert found.decision.time_ns.all.mean == (110 + 1200) / 2
    assert found.decision.time_ns.all.worst == 1200
    assert found.decision.computed_time_ns == 600.0
    assert found.decision.energy_uj == measured.NO_METER
    assert found.untimed == 0
    assert found.doubts == ()  # 600 is 8.4 % below 655


def test_a_cost_that_is_a_tenth_off_and_a_decision_that_differs_are_doubts() -> None:
    known = made.members(made.SMALL, made.LARGE)
    system = Development(known, EER_AT_DEV).freeze(made.system("cascade", margin=0.15))
    said = decided_on_test(system, known)
    # presentation 0 is bona fide and was accepted by its scores; here it is rejected
    whole = speed([((0, 0, 1, 0), 200), ((1, 1, 1, 1), 1500)])
    sitting = measured.Sitting((alone(100), alone(1000)), whole, energy_uj=10.0)
    prices = sitting.prices
    of = Known(
        ("a", "b"), (("run", "a"), ("run", "b")), known, prices, Prices(prices.each / 100, prices.drawn / 100)
    )
    result = computed(system, of, How(EER_AT_DEV)).decision
    found = measured.measured(result, said, sitting, [0, 1, 2, 3], 0.95)
    assert [doubt.code for doubt in found.doubts] == [
        "computed_time_differs",  # 600 against 850
        "computed_energy_differs",  # 6 against 10
        "system_decides_otherwise",
    ]
    assert "1 of 4 presentations" in found.doubts[-1].message
    # a decision took 200 or 1500 ns, 850 on average, and 10 uJ on average
    energy = found.decision.energy_uj
    assert not isinstance(energy, Absent)
    assert energy.all.mean == pytest.approx(10.0)
    assert energy.all.worst == pytest.approx(10 * 1500 / 850)
    assert found.decision.computed_energy_uj == 6.0
    unmetered = replace(sitting, energy_uj=Absent(absent="the meter could not tell"))
    computed_alone = measured.measured(result, said, unmetered, [0, 1, 2, 3], 0.95).decision.energy_uj
    assert computed_alone == result.energy_uj


def test_files_without_energy_make_a_system_with_the_one_that_was_metered() -> None:
    known = made.members(made.SMALL, made.LARGE)
    system = Development(known, EER_AT_DEV).freeze(made.system("cascade", margin=0.15))
    said = decided_on_test(system, known)
    whole = speed([((0, 1, 1, 0), 100), ((1, 1, 1, 1), 1100)])
    sitting = measured.Sitting((alone(100), alone(1000)), whole, energy_uj=12.0)
    of = Known(("a", "b"), (("run", "a"), ("run", "b")), known, sitting.prices, Absent(absent="no energy"))
    result = computed(system, of, How(EER_AT_DEV)).decision
    found = measured.measured(result, said, sitting, [0, 1, 2, 3], 0.95)
    assert not isinstance(found.decision.energy_uj, Absent)
    assert found.decision.energy_uj.all.mean == 12.0
    assert found.decision.energy_uj.species["print"].mean == 12.0  # one print is asked about, the other not
    assert found.decision.computed_energy_uj is None
    assert found.doubts == ()


def test_a_way_that_was_never_timed_is_computed_and_counted() -> None:
    known = made.members(made.SMALL, made.LARGE)
    system = Development(known, EER_AT_DEV).freeze(made.system("cascade", margin=0.15))
    said = decided_on_test(system, known)
    sitting = measured.Sitting((alone(100), alone(1000)), speed([((0, 1, 1, 0), 100)]))
    of = Known(("a", "b"), (("run", "a"), ("run", "b")), known, sitting.prices, Absent(absent="no energy"))
    result = computed(system, of, How(EER_AT_DEV)).decision
    found = measured.measured(result, said, sitting, [0, 1, 2, 3], 0.95)
    assert found.untimed == 2
    assert found.decision.time_ns.all.mean == 600.0
