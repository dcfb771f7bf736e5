"""The order of work of a run: speed of all together, then memory, energy and accuracy of each; doubts; save.

It is handed files and never builds them. Every record is saved the moment it is final, so an interrupted run keeps
what it finished, and running again with the same description goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from swapbench import bench, store
from swapbench.errors import BadModelFile, NotValid, SwapbenchError
from swapbench.records import Absent, Record, Weight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swapbench.graph import Graph
    from swapbench.pad.dataset import Dataset, Sample
    from swapbench.pad.preprocess import Prepared
    from swapbench.pad.scores import Scored
    from swapbench.ports import Device, Meter, Outputs, Runtime
    from swapbench.records import (
        Accuracy,
        Machine,
        ModelCard,
        Parity,
        Plan,
        RuntimeUsed,
        Variant,
    )


class Progress(Protocol):
    """Told how far a stage is; `total` may be a number of things or of seconds."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Stage `stage` has done `done` of `total`."""
        ...


@dataclass(frozen=True)
class Candidate:
    """One file under one runtime, and what is known about it. card None: a file from elsewhere, no accuracy."""

    variant: Variant
    path: Path
    sha256: str
    graph: Graph
    runtime: Runtime
    card: ModelCard | None
    parity: Parity | Absent

    @property
    def record_id(self) -> str:
        """A file name that sorts by model and tells equal names with different content apart."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", self.variant.file_name).lstrip(".")
        return f"{readable}-{self.runtime.name}-{self.sha256[:8]}"


@dataclass(frozen=True)
class Evaluation:
    """The data that accuracy is measured on, and the folder that keeps crops and scores."""

    dataset: Dataset
    digest: str
    protocol: str
    cache: Path
    decoders: int

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Development split, then test split."""
        return (*self.dataset.samples("dev"), *self.dataset.samples("test"))


@dataclass(frozen=True)
class Outcome:
    """What a run came to: all records of the folder, and the errors of the candidates that have none."""

    records: tuple[Record, ...]
    failures: tuple[tuple[str, SwapbenchError], ...]
    resumed: int


REST = "memory, energy and accuracy"
NO_DATA = Absent(
    absent="no data was given to score", remedy="Give a dataset with --data, or leave out --no-accuracy"
)
NO_CARD = Absent(
    absent="the file has no model card, so how to feed and read it is not known",
    remedy="Give the card with --card, or export the file with swapbench, which writes the card into it",
)


def description(
    candidates: Sequence[Candidate], plan: Plan, device: str, evaluation: Evaluation | None
) -> dict[str, Any]:
    """What makes two runs the same run: the files by content, the plan, the device and the data."""
    return {
        "artifacts": sorted(f"{one.record_id} {one.sha256}" for one in candidates),
        "plan": plan.model_dump(mode="json"),
        "device": device,
        "data": evaluation.digest if evaluation else None,
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
    meters: Sequence[Meter] | Absent,
    plan: Plan,
    evaluation: Evaluation | None,
    folder: Path,
    *,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Measure every candidate that has no record in `folder` yet.

    A candidate that fails is an error among the failures; the others go on. Raises EnvironmentFailed where
    the folder cannot be written, and lets KeyboardInterrupt through after the workers have ended.
    """
    about = {
        "description": description(candidates, plan, device.name, evaluation),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    store.write_atomically(folder / "run.json", store.dumps({**about, "finished": False}) + "\n")
    done = {path.stem for path in (folder / "records").glob("*.json")}
    todo = [one for one in candidates if one.record_id not in done]
    failures: list[tuple[str, SwapbenchError]] = []
    if todo:
        with device.quiet(plan):
            failures = _measure(todo, device, meters, plan, evaluation, folder, progress, sleep)
    if not failures:
        store.write_atomically(folder / "run.json", store.dumps({**about, "finished": True}) + "\n")
    wanted = {one.record_id for one in candidates}
    found = [store.load(path) for path in sorted((folder / "records").glob("*.json")) if path.stem in wanted]
    return Outcome(tuple(found), tuple(failures), resumed=len(candidates) - len(todo))


def _measure(
    todo: Sequence[Candidate],
    device: Device,
    meters: Sequence[Meter] | Absent,
    plan: Plan,
    evaluation: Evaluation | None,
    folder: Path,
    progress: Progress,
    sleep: Callable[[float], None],
) -> list[tuple[str, SwapbenchError]]:
    failures: list[tuple[str, SwapbenchError]] = []
    crops: dict[str, Prepared] = {}
    subjects: dict[str, bench.Subject] = {}
    for number, one in enumerate(todo):
        progress("reading images", number, len(todo))
        try:
            subjects[one.record_id] = _subject(one, device, evaluation, crops)
        except SwapbenchError as error:
            failures.append((one.variant.file_name, error))
    progress("reading images", len(todo), len(todo))
    progress("timing", 0, plan.time_budget_s)
    timed = bench.measure_speed(
        list(subjects.values()),
        device,
        plan,
        progress=lambda at: progress("timing", min(at.spent_s, plan.time_budget_s), plan.time_budget_s),
    )
    progress("timing", plan.time_budget_s, plan.time_budget_s)
    machine = device.describe()
    drafts: dict[str, Record] = {}
    for one in todo:
        speed = timed.get(one.record_id)
        if isinstance(speed, SwapbenchError):
            failures.append((one.variant.file_name, speed))
        elif speed is not None:
            drafts[one.record_id] = _draft(one, speed, machine, plan, folder.name)
    slow = bench.slower_than_float(drafts.values())
    for number, one in enumerate(todo):
        if one.record_id not in drafts:
            continue
        progress(REST, number, len(todo))
        subject, draft = subjects[one.record_id], drafts[one.record_id]
        try:
            memory = bench.measure_memory(subject, device, plan)
            power = (
                meters
                if isinstance(meters, Absent)
                else bench.measure_power(subject, meters, device, plan, sleep=sleep)
            )
            accuracy = _accuracy(one, subject, draft.runtime, device, plan, evaluation, crops)
        except SwapbenchError as error:
            failures.append((one.variant.file_name, error))
            continue
        assert isinstance(draft.weight, Weight)
        record = draft.model_copy(
            update={
                "time": datetime.now(UTC),
                "weight": draft.weight.model_copy(update={"peak_memory": memory}),
                "power": power,
                "accuracy": accuracy,
            }
        )
        doubts = (*bench.doubts(record), *([slow[record.id]] if record.id in slow else []))
        store.save(record.model_copy(update={"doubts": doubts}), folder)
    progress(REST, len(todo), len(todo))
    return failures


def _draft(one: Candidate, timed: bench.Timed, machine: Machine, plan: Plan, run_name: str) -> Record:
    """A record that holds what the sitting of all candidates together gave; the passes of each alone are still to come."""
    to_come = Absent(absent="not measured yet")
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
        weight=Weight(
            file_bytes=one.graph.file_bytes,
            params=one.graph.params,
            macs=one.graph.macs,
            uncounted_ops=one.graph.uncounted_ops,
            ops=dict(one.graph.ops),
            peak_memory=to_come,
        ),
        accuracy=to_come,
        power=to_come,
        parity=one.parity,
        doubts=(),
    )


def _subject(
    one: Candidate, device: Device, evaluation: Evaluation | None, crops: dict[str, Prepared]
) -> bench.Subject:
    options: dict[str, str | int | float] = {}
    if evaluation is not None and one.card is not None:
        prepared = _prepared(one.card, evaluation, crops)
        options = {"samples": device.push(prepared.path), "normalise": _normalise_json(one.card)}
    return bench.Subject(one.record_id, device.push(one.path), one.runtime, options)


def _normalise_json(card: ModelCard) -> str:
    wanted = card.preprocessing.model_dump(mode="json", include={"scale", "mean", "std"})
    return json.dumps(wanted, sort_keys=True)


def _prepared(card: ModelCard, evaluation: Evaluation, crops: dict[str, Prepared]) -> Prepared:
    from swapbench.pad.preprocess import prepare

    key = card.preprocessing.model_dump_json()
    if key not in crops:
        crops[key] = prepare(
            evaluation.samples, card.preprocessing, evaluation.cache / "crops", processes=evaluation.decoders
        )
    return crops[key]


def _accuracy(
    one: Candidate,
    subject: bench.Subject,
    used: RuntimeUsed,
    device: Device,
    plan: Plan,
    evaluation: Evaluation | None,
    crops: dict[str, Prepared],
) -> Accuracy | Absent:
    from swapbench.pad import metrics
    from swapbench.pad.scores import Scored, bona_fide_scores, mean_by_presentation

    card = one.card
    if card is None:
        return NO_CARD
    if evaluation is None:
        return NO_DATA
    prepared = _prepared(card, evaluation, crops)
    outputs = _outputs(one, subject, used, device, plan, evaluation, prepared)
    try:
        scores = bona_fide_scores(outputs.rows, card.output)
    except NotValid as error:  # an overflowing file: its speed and weight are still worth a record
        return Absent(absent=error.args[0], remedy=error.remedy)
    for index in prepared.failures:
        scores[index] = math.nan
    dev_count = len(evaluation.dataset.samples("dev"))
    splits: list[Scored] = []
    for rows, values in (
        (evaluation.samples[:dev_count], scores[:dev_count]),
        (evaluation.samples[dev_count:], scores[dev_count:]),
    ):
        frames = Scored.of(
            [_presentation(sample) for sample in rows],
            [sample.subject for sample in rows],
            [sample.bona_fide for sample in rows],
            [sample.species for sample in rows],
            [float(value) for value in values],
        )
        splits.append(mean_by_presentation(frames)[0])
    rates = metrics.evaluate(splits[0], splits[1], confidence=plan.confidence, seed=plan.seed)
    return rates.accuracy(
        dataset=evaluation.dataset.name,
        dataset_digest=evaluation.digest,
        simulated=evaluation.dataset.simulated,
        protocol=evaluation.protocol,
        invoke_ns=outputs.invoke_ns,
        pass_ns=outputs.pass_ns,
    )


def _presentation(sample: Sample) -> str:
    return sample.name


def _outputs(
    one: Candidate,
    subject: bench.Subject,
    used: RuntimeUsed,
    device: Device,
    plan: Plan,
    evaluation: Evaluation,
    prepared: Prepared,
) -> Outputs:
    """The outputs for every sample, from the cache where this file was scored under this runtime before."""
    from swapbench.ports import Outputs

    about = {
        "artifact": one.sha256,
        "runtime": used.model_dump(mode="json"),
        "device": device.name,
        "samples": prepared.path.name,
        "normalise": subject.options["normalise"],
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
    path = evaluation.cache / "scores" / f"{key}.json"
    try:
        kept = json.loads(path.read_bytes())
        return Outputs(tuple(tuple(row) for row in kept["rows"]), kept["invoke_ns"], kept["pass_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or damaged: score again
    outputs = bench.measure_scores(subject, device, plan)
    if len(outputs.rows) != len(evaluation.samples):
        raise BadModelFile(
            f"{one.path.name} gave {len(outputs.rows)} scores for {len(evaluation.samples)} images",
            remedy="Its batch size must be 1: export it again",
        )
    kept = {
        **about,
        "invoke_ns": outputs.invoke_ns,
        "pass_ns": outputs.pass_ns,
        "rows": [list(row) for row in outputs.rows],
    }
    store.write_atomically(path, json.dumps(kept) + "\n")
    return outputs
