"""The order of work of a run: speed of all together, then memory, energy and accuracy of each; doubts; save.

It is handed files and never builds them. Every record is saved the moment it is final, so an interrupted run keeps
what it finished, and running again with the same description goes on from there.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench import bench, store
from swapbench.bench.scoring import NO_CARD, NO_DATA, Judge, scored_folds
from swapbench.errors import DeviceFailed, SwapbenchError, WorkerFailed
from swapbench.files import write_atomically
from swapbench.records import Absent, Accuracy, Record, Weight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from swapbench.data.preprocess import Prepared
    from swapbench.modelfile import Graph
    from swapbench.pad.evaluation import Evaluation
    from swapbench.pad.scores import FoldFrames
    from swapbench.ports import Device, Meter, Progress, Runtime, SampledMeter, Tool
    from swapbench.records import (
        Doubt,
        Machine,
        ModelCard,
        Parity,
        PeakMemory,
        Plan,
        Power,
        Preprocessing,
        Sustained,
        Variant,
    )


__all__ = [
    "NO_CARD",
    "NO_DATA",
    "Candidate",
    "Outcome",
    "description",
    "read_about",
    "run",
    "score",
    "scored_folds",
]


@dataclass(frozen=True)
class Candidate:
    """One file under one runtime, and what is known about it.

    card None: a file from elsewhere, no accuracy. tool: what times the file by itself, in place of the runtime's worker. cores:
    the kind of cores of a phone that it runs on, "" for the system's choice.
    """

    variant: Variant
    path: Path
    sha256: str
    graph: Graph
    runtime: Runtime
    card: ModelCard | None
    parity: Parity | Absent
    tool: Tool | None = None
    cores: str = ""

    @property
    def record_id(self) -> str:
        """A file name that sorts by model and tells equal names with different content apart."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", self.variant.file_name).lstrip(".")
        where = f"-{self.cores}" if self.cores else ""
        return f"{readable}-{(self.tool or self.runtime).name}{where}-{self.sha256[:8]}"

    def weight(self, peak_memory: PeakMemory | Absent) -> Weight:
        """What the graph of the file counts, with the memory that was measured."""
        return Weight(
            file_bytes=self.graph.file_bytes,
            params=self.graph.params,
            macs=self.graph.macs,
            uncounted_ops=self.graph.uncounted_ops,
            ops=dict(self.graph.ops),
            peak_memory=peak_memory,
        )


@dataclass(frozen=True)
class Outcome:
    """What a run came to: all records of the folder, and the errors of the candidates that have none."""

    records: tuple[Record, ...]
    failures: tuple[tuple[str, SwapbenchError], ...]
    resumed: int


def description(
    candidates: Sequence[Candidate],
    plan: Plan,
    device: str,
    evaluation: Evaluation | None,
    setup: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What makes two runs the same run: the files by content, the plan, the device, its setup and the data."""
    return {
        "artifacts": sorted(f"{one.record_id} {one.sha256}" for one in candidates),
        "plan": plan.model_dump(mode="json"),
        "device": device,
        "data": evaluation.digest if evaluation else None,
        **({"setup": dict(setup)} if setup else {}),
    }


def unfinished(folder: Path, wanted: dict[str, Any]) -> bool:
    """True where `folder` holds a run of that description that was not finished."""
    about = read_about(folder)
    return about is not None and not about["finished"] and about["description"] == wanted


def read_about(folder: Path) -> dict[str, Any] | None:
    """The content of a run's run.json, or None where there is none that can be read."""
    try:
        about = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and {"description", "finished"} <= about.keys() else None


def run(
    candidates: Sequence[Candidate],
    device: Device,
    meters: Sequence[Meter | SampledMeter] | Absent,
    plan: Plan,
    evaluation: Evaluation | None,
    folder: Path,
    *,
    setup: Mapping[str, str] | None = None,
    desktop: bench.Desktop | None = None,
    sustained_s: float | None = None,
    unplugged: bench.Unplugged | None = None,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Measure every candidate that has no record in `folder` yet.

    setup: what else tells this run from others on the device; desktop: this computer, where the device is another one and its
    scores are to be held against those here; sustained_s: how long every file also runs without a pause; unplugged: the
    energy of all files is also measured by the device itself, at the end, while its cable is out.

    A candidate that fails is an error among the failures; the others go on. Raises DeviceFailed where the device goes away,
    EnvironmentFailed where the folder cannot be written, and lets KeyboardInterrupt through after the workers have ended.
    """
    about = {
        "description": description(candidates, plan, device.name, evaluation, setup),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(folder / "run.json", store.dumps({**about, "finished": False}) + "\n")
    before = _done(folder)
    energy: bench.UnpluggedEnergy | None = None
    without_energy: list[tuple[str, SwapbenchError]] = []
    if unplugged is not None:
        energy = bench.UnpluggedEnergy(
            device,
            unplugged,
            {one.record_id: one.runtime for one in candidates},
            plan,
            folder,
            progress,
            sleep,
        )
        without_energy += energy.collect_earlier()
    done = _done(folder) | (energy.drafts().keys() if energy else set())
    todo = [one for one in candidates if one.record_id not in done]
    failures: list[tuple[str, SwapbenchError]] = []
    if todo:
        with device.quiet(plan):
            failures = _Sitting(
                todo, device, meters, plan, evaluation, folder, desktop, sustained_s, progress, sleep, energy
            ).measure()
    if energy is not None:
        waiting = [one for one in candidates if one.record_id in energy.drafts()]
        crops = _crops(waiting, evaluation, progress)
        without_energy += energy.measure(
            {one.record_id: scoring_subject(one, device, crops) for one in waiting}
        )
    if not failures:  # a record whose energy is absent is final as well
        write_atomically(folder / "run.json", store.dumps({**about, "finished": True}) + "\n")
    wanted = {one.record_id for one in candidates}
    found = [store.load(path) for path in sorted((folder / "records").glob("*.json")) if path.stem in wanted]
    return Outcome(tuple(found), (*failures, *without_energy), resumed=len(before & wanted))


def _done(folder: Path) -> set[str]:
    """The ids of the records of a run."""
    return {path.stem for path in (folder / "records").glob("*.json")}


TIMES_ONLY = Absent(
    absent="the tool tells times and nothing else", remedy="The same file under litert has the rest"
)


@dataclass
class _Sitting:
    """The passes over all candidates that are still to be measured, in their order; what has been found so far."""

    todo: Sequence[Candidate]
    device: Device
    meters: Sequence[Meter | SampledMeter] | Absent
    plan: Plan
    evaluation: Evaluation | None
    folder: Path
    desktop: bench.Desktop | None
    sustained_s: float | None
    progress: Progress
    sleep: Callable[[float], None]
    energy: bench.UnpluggedEnergy | None = None
    failures: list[tuple[str, SwapbenchError]] = field(default_factory=list)
    subjects: dict[str, bench.FileUnderTest] = field(default_factory=dict)
    tools: dict[str, bench.ToolUnderTest] = field(default_factory=dict)
    drafts: dict[str, Record] = field(default_factory=dict)

    def measure(self) -> list[tuple[str, SwapbenchError]]:
        """Every pass; saves each record as soon as it is final. The candidates that failed, with their errors."""
        crops = _crops(self.todo, self.evaluation, self.progress)
        self._bring(crops)
        machine = self._time()
        slow = bench.slower_than_float(self.drafts.values())
        self._time_at_frame_rate()
        suspicions = _suspicions(
            self._scored, self.subjects, self.device, self.plan, self.evaluation, crops, self.progress
        )
        self._measure_alone(machine)
        self._run_on()
        self._judge(crops, slow, tuple(bench.phone_doubts(machine)), suspicions)
        return self.failures

    @property
    def _scored(self) -> dict[str, Record]:
        """The drafts of candidates that a worker runs, in contrast to tools, which only tell times."""
        return {name: draft for name, draft in self.drafts.items() if name in self.subjects}

    def _fail(self, name: str, error: SwapbenchError) -> None:
        """A candidate is out; raises DeviceFailed where the error is none of its own, because the device is gone."""
        if isinstance(error, DeviceFailed):
            self.device.describe()
        self.failures.append((name, error))

    def _bring(self, crops: Mapping[Preprocessing, Prepared]) -> None:
        for one in self.todo:
            try:
                if one.tool is not None:
                    path = self.device.push(one.path)
                    self.tools[one.record_id] = bench.ToolUnderTest(one.record_id, path, one.tool)
                else:
                    self.subjects[one.record_id] = scoring_subject(one, self.device, crops)
            except SwapbenchError as error:
                self._fail(one.variant.file_name, error)

    def _time(self) -> Machine:
        """Speed of all together, tools after workers; the machine as it was then."""
        plan, count = self.plan, max(1, len(self.subjects) + len(self.tools))
        self.progress("timing", 0, plan.time_budget_s)

        def sharing(many: int, before: int) -> tuple[Plan, Callable[[bench.RoundDone], None]]:
            """A plan with the time for so many of them, and what tells the progress after so many others."""
            budget_s, began_s = (plan.time_budget_s * part / count for part in (many, before))
            return plan.replace(time_budget_s=budget_s), lambda at: self.progress(
                "timing", began_s + min(at.spent_s, budget_s), plan.time_budget_s
            )

        share, tell = sharing(len(self.subjects), 0)
        timed = bench.measure_speed(list(self.subjects.values()), self.device, share, progress=tell)
        share, tell = sharing(len(self.tools), len(self.subjects))
        timed |= bench.measure_tool_speed(list(self.tools.values()), self.device, share, progress=tell)
        self.progress("timing", plan.time_budget_s, plan.time_budget_s)
        machine = self.device.describe()
        for one in self.todo:
            speed = timed.get(one.record_id)
            if isinstance(speed, SwapbenchError):
                self._fail(one.variant.file_name, speed)
            elif speed is not None:
                self.drafts[one.record_id] = _draft(one, speed, machine, plan, self.folder.name)
        return machine

    def _time_at_frame_rate(self) -> None:
        fps, drafts = self.plan.fps, self._scored
        if fps is None or not drafts:
            return
        stage = f"timing at {fps:g} frames a second"
        self.progress(stage, 0, 1)
        found = bench.measure_paced(
            [self.subjects[name] for name in drafts],
            self.device,
            self.plan,
            fps,
            progress=lambda share: self.progress(stage, share, 1),
        )
        for name, paced in found.items():
            self.drafts[name] = drafts[name].replace(paced=paced)

    def _measure_alone(self, machine: Machine) -> None:
        """Memory and energy, one candidate after the other."""
        stage = "memory" if isinstance(self.meters, Absent) else "memory and energy"
        drafts = self._scored
        for number, (name, draft) in enumerate(drafts.items()):
            self.progress(stage, number, len(drafts))
            try:
                memory = bench.measure_memory(self.subjects[name], self.device, self.plan)
                found: dict[str, Any] = {"power": self._power(self.subjects[name])}
                if machine.state is not None:  # a phone does not stay as it is
                    found["machine"] = self.device.describe()
            except SwapbenchError as error:
                del self.drafts[name]
                self._fail(draft.variant.file_name, error)
                continue
            assert isinstance(draft.weight, Weight)
            found["weight"] = draft.weight.replace(peak_memory=memory)
            self.drafts[name] = draft.replace(**found)
        self.progress(stage, len(drafts), len(drafts))

    def _power(self, subject: bench.FileUnderTest) -> tuple[Power, ...] | Absent:
        if isinstance(self.meters, Absent):
            return self.meters
        if self.plan.fps is not None:
            subject = bench.at_frame_rate(subject, self.plan.fps)
        return bench.measure_power(subject, self.meters, self.device, self.plan, sleep=self.sleep)

    def _run_on(self) -> None:
        """Sustained runs, each of which begins as steady as the sitting itself did; absent where a worker fails."""
        if self.sustained_s is None:
            return
        for name, draft in self._scored.items():
            stage, duration_s = f"running {draft.artifact} on", self.sustained_s
            self.progress(stage, 0, duration_s)
            found: Sustained | Absent
            try:
                with self.device.quiet(self.plan):
                    found = bench.measure_sustained(
                        self.subjects[name],
                        self.device,
                        self.plan,
                        duration_s,
                        progress=partial(_told, self.progress, stage, duration_s),
                    )
            except WorkerFailed as error:
                found = Absent(absent=f"the sustained run failed: {error.args[0]}", remedy=error.remedy)
            self.progress(stage, duration_s, duration_s)
            self.drafts[name] = draft.replace(sustained=found)

    def _judge(
        self,
        crops: Mapping[Preprocessing, Prepared],
        slow: Mapping[str, Doubt],
        unsteady: Sequence[Doubt],
        suspicions: Mapping[str, bench.Findings],
    ) -> None:
        """Scores and what they say, doubts, and the record on the disk."""
        self.progress("scoring", 0, len(self.drafts))
        files = {one.record_id: one.path for one in self.todo}
        judge = Judge(self.device, self.plan, self.evaluation, crops, self.folder, self.desktop, files)
        times_only: dict[str, Any] = {}
        judged = chain(
            ((name, times_only) for name in self.drafts if name in self.tools),
            judge.accuracies(self._scored, self.subjects),
        )
        for number, (name, found) in enumerate(judged, 1):
            draft = self.drafts[name]
            if isinstance(found, SwapbenchError):
                self._fail(draft.variant.file_name, found)
            else:
                record = draft.replace(**{"time": datetime.now(UTC), **found})
                doubts = [*bench.doubts(record), *([slow[name]] if name in slow else [])]
                known = {one.code for one in doubts}
                doubts += [one for one in unsteady if one.code not in known]
                if record.card is not None and isinstance(record.accuracy, Accuracy):
                    findings = suspicions.get(_key(record.card), bench.Findings())
                    doubts += findings.doubts
                    if findings.remark:
                        basis = (*record.accuracy.basis, findings.remark)
                        accuracy = record.accuracy.replace(basis=basis)
                        record = record.replace(accuracy=accuracy)
                self._keep(record.replace(doubts=tuple(doubts)))
            self.progress("scoring", number, len(self.drafts))

    def _keep(self, record: Record) -> None:
        """On the disk: whole, or as a draft where the energy of a worker's file is still to come."""
        if self.energy is not None and record.id in self.subjects:
            self.energy.keep(record)
        else:
            store.save(record, self.folder)


def _told(progress: Progress, stage: str, total: float, done: float) -> None:
    progress(stage, done, total)


def _suspicions(
    drafts: Mapping[str, Record],
    subjects: Mapping[str, bench.FileUnderTest],
    device: Device,
    plan: Plan,
    evaluation: Evaluation | None,
    crops: Mapping[Preprocessing, Prepared],
    progress: Progress,
) -> dict[str, bench.Findings]:
    """What speaks against each card's preprocessing, from its first file (fp32 where there is one)."""
    if evaluation is None:
        return {}
    chosen: dict[str, tuple[ModelCard, str]] = {}
    for name, draft in sorted(drafts.items(), key=lambda item: item[1].variant.precision != "fp32"):
        if draft.card is not None:
            chosen.setdefault(_key(draft.card), (draft.card, name))
    found = {}
    stage = "checking preprocessing"
    for number, (card, name) in enumerate(chosen.values()):
        progress(stage, number, len(chosen))
        prepared = crops[card.preprocessing]
        dev = evaluation.development
        failed = {place for place, row in enumerate(dev) if int(row) in prepared.failures}
        rows = dev[bench.chosen_rows([evaluation.samples[row] for row in dev], failed)]
        found[_key(card)] = bench.check_preprocessing(
            subjects[name],
            card,
            prepared.crops()[rows],
            np.array([evaluation.samples[row].bona_fide for row in rows], dtype=np.bool_),
            device,
            plan,
            evaluation.cache / "crops",
        )
    progress(stage, len(chosen), len(chosen))
    return found


def _key(card: ModelCard) -> str:
    return card.model_dump_json()


def score(
    one: Candidate, device: Device, plan: Plan, evaluation: Evaluation, *, progress: Progress
) -> tuple[FoldFrames, ...]:
    """Scores of every frame of every fold, and nothing else measured. Raises what the worker's failure is.

    The candidate must have a card.
    """
    assert one.card is not None
    crops = _crops([one], evaluation, progress)
    subject = scoring_subject(one, device, crops)
    progress("scoring", 0, 1)
    _, outputs = next(iter(bench.measure_scores([subject], device, plan)))
    progress("scoring", 1, 1)
    if isinstance(outputs, SwapbenchError):
        raise outputs
    return scored_folds(one.path.name, one.card, outputs, evaluation, crops)


def _draft(one: Candidate, timed: bench.Timed, machine: Machine, plan: Plan, run_name: str) -> Record:
    """A record that holds what the sitting of all candidates together gave; the passes of each alone are still to come."""
    to_come = TIMES_ONLY if one.tool is not None else Absent(absent="not measured yet")
    return Record(
        id=one.record_id,
        time=datetime.now(UTC),
        run=run_name,
        variant=one.variant,
        artifact=one.path.name,
        artifact_sha256=one.sha256,
        card=one.card,
        runtime=timed.used,
        plan=plan,
        machine=machine,
        speed=timed.speed,
        weight=one.weight(to_come),
        accuracy=to_come,
        power=to_come,
        parity=one.parity,
        doubts=(),
    )


def _crops(
    candidates: Sequence[Candidate], evaluation: Evaluation | None, progress: Progress
) -> dict[Preprocessing, Prepared]:
    """What each way of preprocessing makes of the evaluation's frames; every file is decoded once for all."""
    if evaluation is None:
        return {}
    return evaluation.prepared([one.card.preprocessing for one in candidates if one.card], progress)


def scoring_subject(
    one: Candidate, device: Device, crops: Mapping[Preprocessing, Prepared]
) -> bench.FileUnderTest:
    """A file on the device, with the crops that its card wants, where there are some."""
    options: dict[str, str | int | float] = {}
    if one.card is not None and one.card.preprocessing in crops:
        samples = device.push(crops[one.card.preprocessing].path)
        options = {"samples": samples, "normalise": bench.normalise_json(one.card.preprocessing)}
    return bench.FileUnderTest(one.record_id, device.push(one.path), one.runtime, options)
