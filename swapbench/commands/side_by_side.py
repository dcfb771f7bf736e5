"""One network under several runtimes: measured together, in turns, and set side by side as a report does."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swapbench import bench, catalog, store, units
from swapbench.bench import built_in_inputs
from swapbench.commands import models_under_test
from swapbench.commands.data import evaluation, folds
from swapbench.commands.face_cache import face_cache
from swapbench.commands.named_files import CardFinder, named_files
from swapbench.commands.options import DeviceOptions, JudgedData, PairOptions
from swapbench.commands.place import open_place
from swapbench.errors import SwapbenchError, UserError
from swapbench.records import Absent, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.catalog import Folders
    from swapbench.commands.place import Place
    from swapbench.pad.score_agreement import ScoreAgreement
    from swapbench.ports import Outputs, Progress, Say
    from swapbench.records import Record
    from swapbench.report.rows.row import Row
    from swapbench.report.rows.side_by_side import SideBySide

NO_ENERGY: Final = Absent(
    absent="comparing runtimes measures no energy", remedy="swapbench run FILE... measures it"
)
BUILT_IN: Final = (
    f"Outputs of {built_in_inputs.COUNT} built-in patterns, no faces: they show whether files compute alike. "
    "Decisions: which output is the largest. For scores and thresholds give --data."
)


@dataclass(frozen=True)
class SideBySideRequest:
    """What a person asked `swapbench compare` for with several runtimes.

    Attributes:
        files: Model files, folders of them, and files with their cards; see `named_files`.
        pairs: The runtimes, the first of which the others are compared with; where and how long.
        data: What the files are scored on; None for the outputs of built-in inputs.
    """

    files: tuple[str, ...]
    pairs: PairOptions = field(default_factory=PairOptions)
    data: JudgedData | None = None


@dataclass(frozen=True)
class RuntimesCompared:
    """Networks under several runtimes, what failed, each with its error, and remarks for the reader."""

    networks: tuple[SideBySide, ...]
    failures: tuple[tuple[str, SwapbenchError], ...] = ()
    notes: tuple[str, ...] = ()


def compare_runtimes(
    folders: Folders, request: SideBySideRequest, *, progress: Progress, say: Say
) -> RuntimesCompared:
    """Measure every file that a runtime runs, and set those of one network and precision side by side.

    Nothing is kept: a run of the same files keeps its records, and its report shows the same.

    Raises:
        UserError: No network is there for two of the runtimes.
        UnknownName: There is no such runtime or device.
        EnvironmentFailed: The device goes away.
    """
    options = request.pairs
    keep = request.data is None or request.data.keep_crops
    with face_cache(folders, say, keep=keep) as kept:
        runtimes = catalog.split_commas(options.runtimes)
        place = open_place(kept, DeviceOptions(options.device), runtimes)
        cards = CardFinder.named(kept, options.card)
        models, failures = models_under_test.of_files(
            named_files(request.files), place.runtimes, cards, options.shapes
        )
        models, notes = _of_several_runtimes(models, failures)
        with tempfile.TemporaryDirectory(prefix="swapbench-") as folder:
            networks, failed = _Session(kept, request, place, Path(folder), progress, say).compare(models)
    if request.data is None:
        notes.append(BUILT_IN)
    return RuntimesCompared(networks, (*failures, *failed), tuple(notes))


# ---- Which files ----


def _of_several_runtimes(
    models: Sequence[ModelUnderTest], failures: Sequence[tuple[str, SwapbenchError]]
) -> tuple[list[ModelUnderTest], list[str]]:
    """The files of networks that at least two runtimes run, and remarks about the others."""
    models, notes = _named_as_one(list({model.record_id: model for model in models}.values()))
    by_network: dict[tuple[str, str | None, str], list[ModelUnderTest]] = defaultdict(list)
    for model in models:
        variant = model.variant
        by_network[variant.net, variant.recipe, variant.precision].append(model)
    shared = [
        model
        for of_network in by_network.values()
        if len({model.runtime.name for model in of_network}) > 1
        for model in of_network
    ]
    alone = [model for model in models if model not in shared]
    if not shared and not alone and failures:
        raise failures[0][1]
    if not shared:
        ran = units.some([f"{model.title} under {model.runtime.name}" for model in alone])
        raise UserError(
            f"no network in one precision is there for two of these runtimes ({ran})",
            remedy="Give the files of one network in one precision, such as net.fp32.onnx and "
            "net.fp32.tflite; they are matched by their names or cards",
        )
    if alone:
        names = units.some([f"{model.title} ({model.runtime.name})" for model in alone])
        notes.append(f"Left out, because no other of the runtimes has its network and precision: {names}.")
    return shared, notes


def _named_as_one(models: list[ModelUnderTest]) -> tuple[list[ModelUnderTest], list[str]]:
    """The same; a single file for each runtime is one network whatever the names are."""
    nets = {model.variant.net for model in models}
    runtimes = [model.runtime.name for model in models]
    precisions = {model.variant.precision for model in models}
    if len(nets) < 2 or len(precisions) > 1 or len(set(runtimes)) < len(models):
        return models, []
    first = models[0]
    named = [replace(model, variant=first.variant.replace(format=model.variant.format)) for model in models]
    notes = [f"Taken to be one network: {units.some([model.title for model in models])}."]
    notes += [
        f"{model.title} has {units.count(model.graph.macs)} MACs and {first.title} "
        f"{units.count(first.graph.macs)}: they may be different networks."
        for model in models[1:]
        if abs(model.graph.macs - first.graph.macs) > 0.05 * first.graph.macs
    ]
    return named, notes


# ---- Measuring ----


@dataclass(frozen=True)
class _Session:
    """Where and with what the files are measured; `folder` holds the records until they are compared."""

    folders: Folders
    request: SideBySideRequest
    place: Place
    folder: Path
    progress: Progress
    say: Say

    def compare(
        self, models: Sequence[ModelUnderTest]
    ) -> tuple[tuple[SideBySide, ...], tuple[tuple[str, SwapbenchError], ...]]:
        """The networks side by side, and what failed."""
        from swapbench.bench import experiment
        from swapbench.report.rows.side_by_side import KeptScores, side_by_side
        from swapbench.report.tables.table import table_of

        options, data = self.request.pairs, self.request.data
        networks = len(
            {(model.variant.net, model.variant.recipe, model.variant.precision) for model in models}
        )
        plan = Plan(threads=options.threads, seed=options.seed, time_budget_s=options.budget_s * networks)
        judged_on = None
        if data is not None:
            datasets = folds(self.folders, data, ("dev", "test"), progress=self.progress, say=self.say)
            judged_on = evaluation(self.folders, datasets, data)
        setup = experiment.Setup(self.place.device, NO_ENERGY, plan, judged_on, profiled=True)
        outcome = experiment.run(models, setup, self.folder, progress=self.progress)
        if not outcome.records:
            raise outcome.failures[0][1]
        table = table_of(outcome.records)
        if data is None:
            agree = _BuiltInOutputs.of(self, models, outcome.records, plan).agreement
        else:
            agree = KeptScores(
                {
                    (record.run, record.id): store.scores_path(self.folder, record.id)
                    for record in outcome.records
                }
            ).agreement
        first = catalog.split_commas(options.runtimes)
        return side_by_side(table.rows, agree, first), outcome.failures


@dataclass(frozen=True)
class _BuiltInOutputs:
    """What each file made of the built-in inputs, by record id."""

    outputs: dict[str, Outputs | Absent]

    @classmethod
    def of(
        cls, session: _Session, models: Sequence[ModelUnderTest], records: Sequence[Record], plan: Plan
    ) -> _BuiltInOutputs:
        """Score every file that has a record."""
        import numpy as np

        found: dict[str, Outputs | Absent] = {}
        device, measured = session.place.device, {record.id for record in records}
        files: list[bench.FileUnderTest] = []
        for model in (model for model in models if model.record_id in measured):
            size = built_in_inputs.image_size(model)
            if isinstance(size, Absent):
                found[model.record_id] = size
                continue
            path = session.folder / f"inputs-{'x'.join(map(str, size))}.npy"
            if not path.is_file():
                np.save(path, built_in_inputs.built_in_images(*size, seed=plan.seed))
            pushed = model.pushed(device)
            told = built_in_inputs.scoring_options(model, size, device.push(path))
            files.append(replace(pushed, name=model.record_id, options={**pushed.options, **told}))
        session.progress("comparing outputs", 0, len(files))
        for number, (file, outputs) in enumerate(bench.measure_scores(files, device, plan), 1):
            if isinstance(outputs, SwapbenchError):
                found[file.name] = Absent(absent=outputs.args[0], remedy=outputs.remedy)
            else:
                found[file.name] = outputs
            session.progress("comparing outputs", number, len(files))
        return cls(found)

    def agreement(self, reference: Row, row: Row) -> ScoreAgreement | Absent:
        """How far the outputs of a row are from a reference's."""
        from swapbench.pad.score_agreement import of_outputs

        sides = [self.outputs[side.record_id] for side in (reference, row)]
        for side, of_side in zip((reference, row), sides, strict=True):
            if isinstance(of_side, Absent):
                return Absent(absent=f"{side.label} has no outputs to compare: {of_side.absent}")
        first, second = (side for side in sides if not isinstance(side, Absent))
        return of_outputs(first, second)
