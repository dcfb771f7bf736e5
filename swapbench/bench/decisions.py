"""The pass over decisions: a system in one process, timed in turn with its files alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from swapbench import stats
from swapbench.bench.card_fit import outputs_option
from swapbench.bench.energy import measure_power
from swapbench.bench.memory import measure_memory
from swapbench.bench.series import place_of
from swapbench.bench.speed import measure_speed
from swapbench.bench.workers import FileUnderTest
from swapbench.errors import EnvironmentFailed, UserError
from swapbench.files import write_atomically
from swapbench.records import Absent
from swapbench.runtimes.contract import PythonWorker
from swapbench.systems.measured import Sitting
from swapbench.systems.rules import wald_bounds
from swapbench.systems.stepwise import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.bench.setup import Setup
    from swapbench.bench.speed import RoundDone
    from swapbench.ports import Progress
    from swapbench.records import Member, ModelCard, PeakMemory, Power, System

NAME: Final = "system"
_MODULE: Final = "swapbench.systems.worker"


@dataclass(frozen=True)
class DecisionPass:
    """What was measured of a system as a whole."""

    sitting: Sitting
    memory: PeakMemory
    power: tuple[Power, ...] | Absent


@dataclass(frozen=True)
class Job:
    """What a system's process is handed.

    Attributes:
        system: frozen; its first fold is what decides
        files: of its members, on the device, with their crops
        models: the same files
        presentations: rows of the crops that are the frames of each presentation, in the order of the camera
        path: of the job's own file
    """

    system: System
    files: Sequence[FileUnderTest]
    models: Sequence[ModelUnderTest]
    presentations: Sequence[Sequence[int]]
    path: Path

    @property
    def content(self) -> dict[str, Any]:
        """As the worker reads it."""
        count = self.system.frames.count
        return {
            "steps": asdict(steps(self.system)),
            "members": [
                {
                    "module": _module(file),
                    "artifact": file.artifact,
                    "switches": _python_worker(file).switches_text,
                    "meaning": _meaning(model),
                    **{name: str(value) for name, value in file.options.items()},
                    **outputs_option(_card(model), model.graph),
                    **_reads(member, place, self.models),
                }
                for place, (member, file, model) in enumerate(
                    zip(self.system.members, self.files, self.models, strict=True)
                )
            ],
            "presentations": [list(rows[:count]) for rows in self.presentations],
        }


def steps(system: System) -> Steps:
    """A frozen system as its process takes it."""
    frozen = system.frozen[0]
    evidence = (0.0, 0.0) if frozen.evidence is None else (frozen.evidence.slope, frozen.evidence.offset)
    return Steps(
        rule=system.rule,
        weights=tuple(member.weight for member in system.members),
        margin=system.margin,
        frame_rule=system.frames.rule,
        bounds=wald_bounds(system.frames.apcer, system.frames.bpcer),
        threshold=frozen.threshold,
        members=frozen.members,
        evidence=evidence,
    )


def measure_decisions(job: Job, setup: Setup, progress: Progress) -> DecisionPass:
    """Time a system and its files in turn, then its memory and energy alone.

    Raises:
        EnvironmentFailed: a worker failed
    """
    write_atomically(job.path, json.dumps(job.content))
    try:
        first = job.files[0].options
        told = {name: first[name] for name in ("samples", "normalise")}
        whole = FileUnderTest(NAME, str(job.path.resolve()), _worker(job.files), told)
        plan, stage = setup.plan, "timing decisions"

        def report(done: RoundDone) -> None:
            progress(stage, min(done.spent_s, plan.time_budget_s), plan.time_budget_s)

        progress(stage, 0, plan.time_budget_s)
        timed = measure_speed([*job.files, whole], setup.device, plan, progress=report)
        progress(stage, plan.time_budget_s, plan.time_budget_s)
        speeds = []
        for one in timed.values():
            if isinstance(one, EnvironmentFailed):
                raise one
            speeds.append(one.speed)
        memory = measure_memory(whole, setup.device, plan)
        power: tuple[Power, ...] | Absent
        power = (
            setup.meters
            if isinstance(setup.meters, Absent)
            else measure_power(whole, setup.meters, setup.device, plan)
        )
        return DecisionPass(Sitting(tuple(speeds[:-1]), speeds[-1], _energy_uj(power)), memory, power)
    finally:
        job.path.unlink(missing_ok=True)


def _energy_uj(power: tuple[Power, ...] | Absent) -> float | None:
    """Above idle of one decision; None where no meter resolved it."""
    if isinstance(power, Absent) or not power:
        return None
    run = stats.energy_per_run(power[0])
    return run.above_idle_uj if run.above_idle_uj > run.uncertainty_uj else None


def _module(file: FileUnderTest) -> str:
    return _python_worker(file).module


def _python_worker(file: FileUnderTest) -> PythonWorker:
    if not isinstance(file.runtime, PythonWorker):
        raise UserError(
            f"{file.runtime.name} does not run in Python, and the files of a system share a process",
            remedy="Choose another runtime: swapbench runtimes",
        )
    return file.runtime


def _worker(files: Sequence[FileUnderTest]) -> PythonWorker:
    """What runs the system: the interpreter of its files, which must be the same for all.

    Raises:
        UserError: It is not.
    """
    workers = {file.runtime.name: _python_worker(file) for file in files}
    if len({worker.python for worker in workers.values()}) > 1:
        elsewhere = [name for name, worker in workers.items() if worker.is_elsewhere]
        raise UserError(
            f"{' and '.join(workers)} run with different Pythons, and the files of a system share a process",
            remedy="Have one Python run all of them, such as swapbench's own: "
            + " && ".join(f"swapbench runtimes remove {name}" for name in elsewhere),
        )
    first, *others = workers.values()
    lent = tuple(worker.module for worker in (first, *others))
    return replace(first, name=NAME, formats=(), module=_MODULE, lent=lent, switches={})


def _reads(member: Member, place: int, models: Sequence[ModelUnderTest]) -> dict[str, int]:
    """The place of the output that a member takes of the one before it; nothing where it takes a crop."""
    if not member.reads:
        return {}
    before = models[place - 1]
    found = place_of(member.reads, before.graph)
    if found is None:
        raise UserError(
            f"{member.file} reads {member.reads}, and {before.title} has no such output",
            remedy="Correct reads = in the system's file",
        )
    return {"reads": found}


def _card(model: ModelUnderTest) -> ModelCard:
    assert model.card is not None
    return model.card


def _meaning(model: ModelUnderTest) -> dict[str, Any]:
    if _card(model).output.kind == "expression":
        raise UserError(
            f"{model.title} has an expression for an output, which is not timed in a system",
            remedy="Compute the system from records: swapbench system",
        )
    return _card(model).output.model_dump(mode="json")
