"""The order of a run: speed of all files together, then memory, energy and scores of each; doubts; save.

It is handed files and never builds them. A record is saved the moment it is finished, so an interrupted run
keeps what it has, and running again with the same description goes on from there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from swapbench import bench, store
from swapbench.bench.model_under_test import ModelUnderTest, file_under_test, prepared_crops
from swapbench.bench.run_folder import (
    description,
    measured_at,
    read_about,
    record_ids,
    unfinished,
    write_about,
)
from swapbench.bench.scoring import NO_CARD, NO_DATA, ScoringPass, scored_folds
from swapbench.bench.series import file_to_score
from swapbench.bench.setup import Setup
from swapbench.errors import DeviceFailed, NotValid, SwapbenchError, UserError, WorkerFailed
from swapbench.records import Absent, Accuracy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.bench.draft import Draft
    from swapbench.bench.scoring import ScoringResult
    from swapbench.data.preprocess import Prepared
    from swapbench.pad.evaluation import Evaluation
    from swapbench.pad.scores import FoldFrames
    from swapbench.ports import Device, Progress, Say
    from swapbench.records import Doubt, Machine, Plan, Power, Preprocessing, Record

__all__ = [
    "NO_CARD",
    "NO_DATA",
    "ModelUnderTest",
    "Outcome",
    "Setup",
    "description",
    "file_under_test",
    "prepared_crops",
    "read_about",
    "run",
    "score",
    "scored_folds",
    "unfinished",
]


_EXPLAINED: Final = frozenset({"worse_than_chance", "classes_not_separated"})
"""Doubts for which a doubt about the card gives the reason."""


@dataclass(frozen=True)
class Outcome:
    """What a run achieved.

    Attributes:
        records: all that its folder holds of its models.
        failures: what failed, by the name of the file or files, with its error.
        resumed: how many of the records were there before.
    """

    records: tuple[Record, ...]
    failures: tuple[tuple[str, SwapbenchError], ...]
    resumed: int


def run(
    models: Sequence[ModelUnderTest],
    setup: Setup,
    folder: Path,
    *,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    to_report: bool = False,
) -> Outcome:
    """Measure every model that has no record in `folder` yet.

    A model that fails is one of the failures; the others go on. KeyboardInterrupt is let through once all
    workers have ended. With `to_report` the run is unfinished until `run_folder.write_reported`.

    Raises:
        DeviceFailed: the device is gone.
        EnvironmentFailed: the folder cannot be written.
    """
    about = {
        "description": description(models, setup),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        **measured_at(folder),
        **({"reported": False} if to_report else {}),
    }
    write_about(folder, about, finished=False)
    recorded = record_ids(folder)
    energy: bench.UnpluggedEnergy | None = None
    without_energy: list[tuple[str, SwapbenchError]] = []
    if setup.unplugged is not None:
        runtimes = {model.record_id: model.runtime for model in models}
        energy = bench.UnpluggedEnergy(
            setup.device, setup.unplugged, runtimes, setup.plan, folder, progress, sleep
        )
        without_energy += energy.collect_earlier()
    measured = record_ids(folder) | (energy.drafts().keys() if energy else set())
    todo = [model for model in models if model.record_id not in measured]
    failures: list[tuple[str, SwapbenchError]] = []
    if todo:
        with setup.device.quiet(setup.plan, progress):
            failures = _Passes(todo, setup, folder, progress, sleep, energy).measure()
    if energy is not None:
        drafts = energy.drafts()
        waiting = [model for model in models if model.record_id in drafts]
        crops = prepared_crops(waiting, setup.evaluation, progress)
        without_energy += energy.measure(
            {model.record_id: file_under_test(model, setup.device, crops) for model in waiting}
        )
    if not failures:  # a record whose energy is absent is final as well
        write_about(folder, about, finished=True)
    wanted = {model.record_id for model in models}
    paths = sorted((folder / "records").glob("*.json"))
    records = [store.load(path) for path in paths if path.stem in wanted]
    return Outcome(tuple(records), (*failures, *without_energy), resumed=len(recorded & wanted))


def score(
    model: ModelUnderTest, device: Device, plan: Plan, evaluation: Evaluation, *, progress: Progress, say: Say
) -> tuple[FoldFrames, ...]:
    """Scores of every frame of every fold; nothing else is measured. The model must have a card.

    Frames that have none are said, with their reasons.

    Raises:
        EnvironmentFailed: the worker failed.
        BadModelFile: the file does not give one output for each image.
    """
    assert model.card is not None
    crops = prepared_crops([model], evaluation, progress)
    for group in evaluation.failed_frames(crops[model.card.preprocessing].failures):
        say(group.sentence)
    if model.card.reads is not None and not model.before:
        raise UserError(
            f"{model.title} is a part of a network: it reads {model.card.reads.output} of"
            f" {model.card.reads.card}, and alone it decides nothing",
            remedy="Measure its parts together: swapbench run FILES --data FOLDER",
        )
    file = file_to_score(model, file_under_test(model, device, crops), device, crops)
    progress("scoring", 0, 1)
    _, outputs = next(iter(bench.measure_scores([file], device, plan)))
    progress("scoring", 1, 1)
    if isinstance(outputs, SwapbenchError):
        raise outputs
    return scored_folds(model.path.name, model.card, outputs, evaluation, crops)


@dataclass
class _Passes:
    """The passes over the models that are still to be measured, and what they have measured so far.

    `files`, `tools` and `drafts` are by record id.
    """

    todo: Sequence[ModelUnderTest]
    setup: Setup
    folder: Path
    progress: Progress
    sleep: Callable[[float], None]
    energy: bench.UnpluggedEnergy | None
    failures: list[tuple[str, SwapbenchError]] = field(default_factory=list)
    files: dict[str, bench.FileUnderTest] = field(default_factory=dict)
    tools: dict[str, bench.ToolUnderTest] = field(default_factory=dict)
    drafts: dict[str, Draft] = field(default_factory=dict)

    def measure(self) -> list[tuple[str, SwapbenchError]]:
        """Make every pass and save each record as soon as it is finished; returns those that failed."""
        crops = prepared_crops(self.todo, self.setup.evaluation, self.progress)
        self._push(crops)
        machine = self._time()
        self._profile_operators()
        slow = bench.slower_than_float(self.drafts.values())
        self._time_at_frame_rate()
        checks = self._check_cards(crops)
        self._measure_alone(machine)
        self._run_sustained()
        self._finish(crops, slow, tuple(bench.phone_doubts(machine)), checks)
        return self.failures

    @property
    def _worker_drafts(self) -> dict[str, Draft]:
        """The drafts of models that a worker runs, in contrast to tools, which only report times."""
        return {name: draft for name, draft in self.drafts.items() if name in self.files}

    def _fail(self, name: str, error: SwapbenchError) -> None:
        """A model is out; raises DeviceFailed where the reason is that the device is gone."""
        if isinstance(error, DeviceFailed):
            self.setup.device.describe()
        self.failures.append((name, error))

    def _push(self, crops: Mapping[Preprocessing, Prepared]) -> None:
        device = self.setup.device
        for model in self.todo:
            name = model.record_id
            try:
                if model.tool is not None:
                    self.tools[name] = model.pushed_for_tool(device, model.tool)
                else:
                    self.files[name] = file_under_test(model, device, crops)
            except SwapbenchError as error:
                self._fail(model.title, error)

    def _time(self) -> Machine:
        """Speed of all together, tools after workers; the machine as it was then."""
        device, plan = self.setup.device, self.setup.plan
        files, tools = list(self.files.values()), list(self.tools.values())
        count = max(1, len(files) + len(tools))
        files_s, tools_s = (plan.time_budget_s * len(group) / count for group in (files, tools))
        self.progress("timing", 0, plan.time_budget_s)
        timed = bench.measure_speed(
            files, device, plan.replace(time_budget_s=files_s), progress=partial(self._timed, 0.0, files_s)
        )
        timed |= bench.measure_tool_speed(
            tools,
            device,
            plan.replace(time_budget_s=tools_s),
            progress=partial(self._timed, files_s, tools_s),
        )
        self.progress("timing", plan.time_budget_s, plan.time_budget_s)
        machine = device.describe()
        for model in self.todo:
            result = timed.get(model.record_id)
            if isinstance(result, SwapbenchError):
                self._fail(model.title, result)
            elif result is not None:
                draft = model.draft(result.speed, result.used, machine, plan, self.folder.name)
                draft.lost_hosts = self.setup.lost_hosts
                self.drafts[model.record_id] = draft
        return machine

    def _timed(self, began_s: float, budget_s: float, done: bench.RoundDone) -> None:
        """Report a round of files that began after `began_s` and have `budget_s`."""
        spent_s = began_s + min(done.spent_s, budget_s)
        self.progress("timing", spent_s, self.setup.plan.time_budget_s)

    def _profile_operators(self) -> None:
        drafts = self._worker_drafts if self.setup.profiled else {}
        for number, (name, draft) in enumerate(drafts.items()):
            self.progress("profiling operators", number, len(drafts))
            draft.operators = bench.operator_profile(self.files[name], self.setup.device, self.setup.plan)
        if drafts:
            self.progress("profiling operators", len(drafts), len(drafts))

    def _time_at_frame_rate(self) -> None:
        fps, drafts = self.setup.plan.fps, self._worker_drafts
        if fps is None or not drafts:
            return
        stage = f"timing at {fps:g} frames a second"
        self.progress(stage, 0, 1)
        speeds = bench.measure_paced(
            [self.files[name] for name in drafts],
            self.setup.device,
            self.setup.plan,
            fps,
            progress=lambda share: self.progress(stage, share, 1),
        )
        for name, speed in speeds.items():
            drafts[name].paced = speed

    def _check_cards(self, crops: Mapping[Preprocessing, Prepared]) -> dict[str, bench.CardCheck]:
        """What speaks against the card of each file, by record id."""
        evaluation = self.setup.evaluation
        if evaluation is None:
            return {}
        models = {model.record_id: model for model in self.todo}
        checks = bench.CardChecks(self.setup, evaluation, crops, self.progress)
        return checks.results(self._worker_drafts, models, self.files)

    def _measure_alone(self, machine: Machine) -> None:
        """Memory and energy, one model after the other."""
        stage = "memory" if isinstance(self.setup.meters, Absent) else "memory and energy"
        models = {model.record_id: model for model in self.todo}
        drafts = self._worker_drafts
        for number, (name, draft) in enumerate(drafts.items()):
            self.progress(stage, number, len(drafts))
            try:
                memory = bench.measure_memory(self.files[name], self.setup.device, self.setup.plan)
                draft.power = self._power(self.files[name])
                if machine.state is not None:  # a phone does not stay as it is
                    draft.machine = self.setup.device.describe()
            except SwapbenchError as error:
                del self.drafts[name]
                self._fail(draft.title, error)
                continue
            draft.weight = models[name].weight(memory)
        self.progress(stage, len(drafts), len(drafts))

    def _power(self, file: bench.FileUnderTest) -> tuple[Power, ...] | Absent:
        meters, plan = self.setup.meters, self.setup.plan
        if isinstance(meters, Absent):
            return meters
        if plan.fps is not None:
            file = bench.at_frame_rate(file, plan.fps)
        return bench.measure_power(file, meters, self.setup.device, plan, sleep=self.sleep)

    def _run_sustained(self) -> None:
        """Sustained runs, each begun in as steady a state as the speed pass; absent where a worker fails."""
        duration_s = self.setup.sustained_s
        if duration_s is None:
            return
        for name, draft in self._worker_drafts.items():
            stage = f"sustained run of {draft.artifact}"
            self.progress(stage, 0, duration_s)
            try:
                with self.setup.device.quiet(self.setup.plan, self.progress):
                    draft.sustained = bench.measure_sustained(
                        self.files[name],
                        self.setup.device,
                        self.setup.plan,
                        duration_s,
                        progress=partial(_report, self.progress, stage, duration_s),
                    )
            except WorkerFailed as error:
                draft.sustained = Absent(
                    absent=f"the sustained run failed: {error.args[0]}", remedy=error.remedy
                )
            self.progress(stage, duration_s, duration_s)

    def _finish(
        self,
        crops: Mapping[Preprocessing, Prepared],
        slow: Mapping[str, Doubt],
        unsteady: Sequence[Doubt],
        checks: Mapping[str, bench.CardCheck],
    ) -> None:
        """Score the files, find the doubts and save; tools, which score nothing, come first."""
        self.progress("scoring", 0, len(self.drafts))
        models = {model.record_id: model for model in self.todo}
        scoring = ScoringPass(self.setup, crops, self.folder, models)
        times_only = ((name, None) for name in self.drafts if name in self.tools)
        results: Iterator[tuple[str, ScoringResult | SwapbenchError | None]] = chain(
            times_only, scoring.results(self._worker_drafts, self.files)
        )
        for number, (name, result) in enumerate(results, 1):
            draft = self.drafts[name]
            if isinstance(result, SwapbenchError):
                self._fail(draft.title, result)
            else:
                check = checks.get(name)
                about_card: list[Doubt] = []
                if result is not None:
                    draft.accuracy, draft.device_parity = result.accuracy, result.device_parity
                    about_card = [*result.doubts, *models[name].card_doubts]
                    if result.failure is not None:
                        self._fail(draft.title, result.failure)
                if check is not None:
                    about_card += check.doubts
                draft.time = datetime.now(UTC)
                draft.doubts = _doubts(draft, slow.get(name), unsteady, about_card)
                if check is not None and check.remark and isinstance(draft.accuracy, Accuracy):
                    draft.accuracy = draft.accuracy.replace(basis=(*draft.accuracy.basis, check.remark))
                self._save(draft)
            self.progress("scoring", number, len(self.drafts))

    def _save(self, draft: Draft) -> None:
        """On the disk: as a record, or as a draft where the energy of a worker's file is still to come."""
        try:
            if self.energy is not None and draft.id in self.files:
                draft.set_aside(self.folder)
            else:
                draft.save(self.folder)
        except NotValid as error:
            self._fail(draft.title, error)


def _report(progress: Progress, stage: str, total: float, done: float) -> None:
    progress(stage, done, total)


def _doubts(
    draft: Draft, slow: Doubt | None, unsteady: Sequence[Doubt], about_card: Sequence[Doubt]
) -> tuple[Doubt, ...]:
    """All doubts about a draft; of the speed pass only those that its last pass does not raise as well."""
    explained = any(doubt.code.endswith("_suspect") for doubt in about_card)
    doubts = [doubt for doubt in bench.doubts(draft) if not (explained and doubt.code in _EXPLAINED)]
    if slow is not None:
        doubts.append(slow)
    codes = {doubt.code for doubt in doubts}
    doubts += [doubt for doubt in unsteady if doubt.code not in codes]
    if isinstance(draft.accuracy, Accuracy):
        doubts += about_card
    return tuple(doubts)
