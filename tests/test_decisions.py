"""The pass over decisions on a device that exists only in arithmetic: what one costs in time and energy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import made_systems as made
import numpy as np
import pytest
from red_faces import red_less_blue

from swapbench.bench.decision_jobs import Job
from swapbench.bench.decisions import DecisionPass, measure_decisions
from swapbench.bench.model_under_test import ModelUnderTest
from swapbench.bench.setup import Setup
from swapbench.bench.workers import FileUnderTest
from swapbench.modelfile import read_graph
from swapbench.pad.rates import EER_AT_DEV
from swapbench.ports import unseen
from swapbench.records import Absent, ModelCard, OutputMeaning, Plan, Preprocessing, Variant
from swapbench.runtimes.contract import PythonWorker
from swapbench.systems.computed import How, Known, computed, decided_on_test
from swapbench.systems.costs import Prices
from swapbench.systems.frozen import Development
from swapbench.systems.measured import measured
from swapbench.testing import Fake, FakeMeter, FakeModel

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
ORT = PythonWorker("onnxruntime", ("onnx",), "swapbench.runtimes.ort")
CARD = ModelCard(
    name="net",
    preprocessing=Preprocessing(width_px=8, height_px=8, crop_scale=1.0),
    output=OutputMeaning(kind="logits", bona_fide_index=1),
)
SYSTEM = Development(made.members(made.SMALL, made.LARGE), EER_AT_DEV).freeze(made.system())


def passed(folder: Path, *, whole_ms: int, busy_w: float = 2.0) -> DecisionPass:
    """Files of 2 and 6 ms, and a process of both, on a device that draws 1 W idle."""
    files, models = [], []
    for member in SYSTEM.members:
        path = folder / member.file
        path.write_bytes(red_less_blue(saturated_by=30.0))
        variant, graph = Variant(net="net", precision="fp32", format="onnx"), read_graph(path)
        parity = Absent(absent="made by hand")
        models.append(ModelUnderTest(variant, path, member.file, graph, ORT, CARD, parity))
        files.append(FileUnderTest(member.file, member.file, ORT, {"samples": "s.npy", "normalise": "{}"}))
    programmed = {"file-0.onnx": 2, "file-1.onnx": 6, "door.job": whole_ms}
    device = Fake({name: FakeModel(run_ns=ms * MS) for name, ms in programmed.items()})
    plan = Plan(max_rounds=3, slices_per_round=2, slice_ns=20 * MS, time_budget_s=1000)
    setup = Setup(device, [FakeMeter(device.clock, idle_w=1, busy_w=busy_w)], plan)
    job = Job(SYSTEM, files, models, [[0], [1], [2], [3]], folder / "door.job")
    found = measure_decisions(job, setup, unseen, sleep=device.clock.sleep)
    assert not job.path.exists()
    return found


def test_time_and_energy_of_a_decision_are_what_the_arithmetic_says(tmp_path: Path) -> None:
    found = passed(tmp_path, whole_ms=8)
    assert found.sitting.prices.each.tolist() == [2 * MS, 6 * MS]
    assert found.sitting.energy_uj == pytest.approx(8000)  # 8 ms of one watt above idle
    assert not isinstance(found.power, Absent)
    assert found.power[0].meter == "fake"


def test_a_meter_that_cannot_tell_says_how_much_a_decision_may_use(tmp_path: Path) -> None:
    energy = passed(tmp_path, whole_ms=8, busy_w=1.0).sitting.energy_uj
    assert isinstance(energy, Absent)
    # a step of 1 uJ while busy and one while idle, over the 1250 decisions of 10 s
    assert energy.absent == "fake could not tell the energy of a decision from idle: it is at most 0.00160 µJ"
    assert energy.remedy == "Watch it for longer: --window 60"


@pytest.mark.parametrize(("whole_ms", "doubts"), [(8, []), (10, ["computed_energy_differs"])])
def test_computed_energy_is_held_against_the_measured_one(
    whole_ms: int, doubts: list[str], tmp_path: Path
) -> None:
    sitting = passed(tmp_path, whole_ms=whole_ms).sitting
    members = made.members(made.SMALL, made.LARGE)
    each = np.array([2000.0, 6000.0])  # what the meter shows of each file alone
    energy = Prices(each, np.repeat(each[:, None], sitting.prices.drawn.shape[1], axis=1))
    known = Known(("a", "b"), (("run", "a"), ("run", "b")), members, sitting.prices, energy)
    result = computed(SYSTEM, known, How(EER_AT_DEV)).decision
    assert not isinstance(result.energy_uj, Absent)
    assert result.energy_uj.all.mean == 8000
    said = decided_on_test(SYSTEM, members)
    decision = (0, int(said.accepted[0]), 1, 1)  # which a fake process does not tell
    told = sitting.system.replace(
        workers=tuple(
            one.replace(decisions=tuple((decision,) * len(runs) for runs in one.slices_ns))
            for one in sitting.system.workers
        )
    )
    found = measured(result, said, replace(sitting, system=told), [0, 1, 2, 3], 0.95)
    assert found.decision.computed_energy_uj == 8000
    assert [doubt.code for doubt in found.doubts if doubt.quantity == "power"] == doubts
