"""Decision systems: fuse files, ask a large one when a small one is unsure, look at several frames."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from swapbench import store
from swapbench.bench import run_folder
from swapbench.catalog import checked_names
from swapbench.commands.system_members import members
from swapbench.errors import UserError
from swapbench.files import write_atomically
from swapbench.pad.metrics import ScoringPass
from swapbench.pad.rates import EER_AT_DEV, ThresholdRule
from swapbench.records import (
    Absent,
    Accuracy,
    Doubt,
    Frames,
    Member,
    Record,
    RuntimeUsed,
    System,
    Variant,
    Weight,
)
from swapbench.systems import search
from swapbench.systems.computed import How, computed
from swapbench.systems.file import system_text, write_system
from swapbench.systems.frozen import Development
from swapbench.systems.lines import search_csv
from swapbench.systems.scores import check_probabilities

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.options import SystemOptions
    from swapbench.commands.system_members import Members
    from swapbench.ports import Progress, Say
    from swapbench.records import Decision
    from swapbench.systems.computed import Computed

RULES: Final = ("mean", "logits", "product", "maximum")
FRAME_RULES: Final = ("mean", "median", "vote", "sequential")
COSTS: Final = ("time", "energy")
WEIGHT_STEPS: Final = {2: 20, 3: 10, 4: 5}
"""Files of a fusion -> the parts that weights are searched in."""

NOT_TIMED: Final = Absent(
    absent="computed from the records of its members: no process ran it as a whole",
    remedy="Measure it: swapbench run --system FILE",
)


@dataclass(frozen=True)
class Found:
    """A system that was chosen, and what it was chosen from.

    Attributes:
        record: its row
        candidates: everything that was tried on development
        chosen: one of them
        cost: what was to be small, "time" or "energy"
        written: the system's file, the searched curve and the report
    """

    record: Record
    candidates: tuple[search.Candidate, ...]
    chosen: search.Candidate
    cost: str
    written: tuple[Path, ...]

    @property
    def decision(self) -> Decision:
        """What a decision of it costs."""
        assert self.record.decision is not None
        return self.record.decision


def fuse(
    folders: Folders,
    files: Sequence[str],
    rule: str,
    weights: str | None,
    options: SystemOptions,
    *,
    progress: Progress,
    say: Say,
) -> Found:
    """Add up what several files say of each frame; `weights` are numbers with commas, or "search".

    Raises:
        UserError: The weights do not fit the files.
    """
    checked_names("rule", [rule], RULES)
    if len(files) < 2:
        raise UserError("a fusion takes two files or more", remedy="Name another one")
    given = None if weights == "search" else _weights(weights, len(files))
    known = members(folders, files, options, progress=progress, say=say)
    if rule != "maximum":
        check_probabilities(known.known.names, known.known.folds)
    system = _system(known, rule, options, given)
    if given is not None:
        systems: Iterable[System] = (system,)
    elif rule == "maximum" or len(files) not in WEIGHT_STEPS:
        raise UserError(
            f"weights are not searched for {len(files)} files by {rule}", remedy="Give them: --weights 1,2"
        )
    else:
        systems = search.weights(system, WEIGHT_STEPS[len(files)])
    return _found(known, systems, options, slack=0.0, progress=progress, say=say)


def cascade(
    folders: Folders,
    small: str,
    large: str,
    margin: float | None,
    options: SystemOptions,
    *,
    progress: Progress,
    say: Say,
) -> Found:
    """Ask `large` only where the score of `small` lies less than a margin from its threshold.

    Without a `margin` it is chosen on the development split.
    """
    known = members(folders, (small, large), options, progress=progress, say=say)
    system = _system(known, "cascade", options, margin=margin or 0.0)
    if margin is not None:
        return _found(known, (system,), options, progress=progress, say=say)
    rule, _ = _aim(options)
    systems = search.margins(Development(known.known.folds, rule), system)
    return _found(known, systems, options, progress=progress, say=say)


def frames(
    folders: Folders,
    file: str,
    counts: Sequence[int],
    rule: str,
    options: SystemOptions,
    *,
    progress: Progress,
    say: Say,
) -> Found:
    """Decide over several frames of one file; how many is chosen on the development split.

    Raises:
        UserError: No presentation has as many frames.
    """
    checked_names("rule", [rule], FRAME_RULES)
    known = members(folders, (file,), options, progress=progress, say=say)
    most = max(int(fold.test.count.max(initial=0)) for fold in known.known.folds)
    if max(counts) > most:
        raise UserError(
            f"presentations of these data have {most} frame{'s' * (most != 1)}, not {max(counts)}",
            remedy="Score more frames of each video: swapbench run FILE --data FOLDER --frames N",
        )
    system = _system(known, "mean", options, frames=Frames(rule=rule))  # type: ignore[arg-type]
    systems = search.frame_counts(system, sorted(set(counts)))
    return _found(known, systems, options, progress=progress, say=say)


# ---- From members to a system ----


def _system(
    known: Members,
    rule: str,
    options: SystemOptions,
    weights: Sequence[float] | None = None,
    margin: float | None = None,
    frames: Frames | None = None,
) -> System:
    counts = [int(fold.test.count.max(initial=1)) for fold in known.known.folds]
    every = Frames(count=max(counts))
    kind = "frames" if frames else ("cascade" if rule == "cascade" else "fuse")
    nets = dict.fromkeys(row.model for row in known.rows)
    names = nets if len(nets) == len(known.rows) else [record.variant.name for record in known.records]
    name = options.name or f"{kind}.{'+'.join(names)}"[:80]
    return System(
        name=name,
        rule=rule,  # type: ignore[arg-type]
        members=tuple(
            Member(
                file=record.artifact,
                sha256=record.artifact_sha256,
                runtime=record.runtime.runtime,
                weight=1.0 if weights is None else weights[place],
            )
            for place, record in enumerate(known.records)
        ),
        margin=margin,
        frames=frames or every,
    )


def _weights(text: str | None, files: int) -> tuple[float, ...]:
    if text is None:
        return (1.0,) * files
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--weights {text!r} are not numbers", remedy="Write one for each file, as in 1,2, or search"
        ) from None
    if len(numbers) != files:
        raise UserError(f"{len(numbers)} weights for {files} files", remedy="Give one for each file")
    if not all(0 <= number <= 1e6 for number in numbers) or not any(numbers):
        raise UserError(
            f"--weights {text} do not fit: none may be below 0, and one must be above it",
            remedy="As in --weights 1,2",
        )
    return numbers


def _aim(options: SystemOptions, slack: float | None = None) -> tuple[ThresholdRule, search.Aim]:
    """The rule of thresholds, and what a system must keep to on development.

    A target on APCER or BPCER is an operating point, so thresholds are frozen there; the ACER then chooses.
    A target on ACER leaves thresholds at the EER and takes the cheapest that keeps it.
    """
    usual = search.Aim(slack=options.slack if slack is None else slack)
    if options.target is None:
        return EER_AT_DEV, usual
    from swapbench.report.tables.columns import constraint

    wanted = constraint(options.target)
    name = wanted.column.name
    if name not in {"acer", "apcer", "bpcer"} or not wanted.at_most or not 0 < wanted.limit < 1:
        raise UserError(
            f"--target {options.target!r} is none that a system can be chosen by",
            remedy='Write a limit of apcer, bpcer or acer, as in "apcer<=5 %"',
        )
    if name == "acer":
        return EER_AT_DEV, search.Aim("acer", wanted.limit)
    return ThresholdRule("apcer" if name == "apcer" else "bpcer", wanted.limit), usual


def _found(
    known: Members,
    systems: Iterable[System],
    options: SystemOptions,
    *,
    slack: float | None = None,
    progress: Progress,
    say: Say,
) -> Found:
    """Choose among systems on development, judge the chosen one on test, and keep it as a row of the run."""
    checked_names("cost", [options.cost], COSTS)
    rule, aim = _aim(options, slack)
    prices = known.known.time if options.cost == "time" else known.known.energy
    if isinstance(prices, Absent):
        raise UserError(f"there is no energy to choose by: {prices.absent}", remedy="Leave --cost out")
    progress("trying systems on the development split", 0, 1)
    candidates = search.tried(Development(known.known.folds, rule), tuple(systems), prices.each)
    chosen = search.chosen(candidates, aim)
    progress("trying systems on the development split", 1, 1)
    plan = known.records[0].plan
    how = How(rule, options.fps, plan.confidence, plan.seed)
    result = computed(chosen.system, known.known, how)
    record = _record(known, result)
    with run_folder.only_writer(known.run):
        written = _kept(known, record, result, search_csv(candidates, chosen, _unit(options.cost)), say)
    return Found(record, candidates, chosen, options.cost, written)


def _unit(cost: str) -> str:
    return "ns" if cost == "time" else "uj"


# ---- The row ----


def _record(known: Members, result: Computed) -> Record:
    first, system = known.records[0], result.decision.system
    digest = hashlib.sha256(system_text(system).encode()).hexdigest()
    precisions = {record.variant.precision for record in known.records}
    return Record(
        id=f"{system.name}-system-{digest[:8]}",
        time=datetime.now(UTC),
        run=first.run,
        variant=Variant(
            net=system.name,
            precision=precisions.pop() if len(precisions) == 1 else "mixed",
            format="system",
        ),
        artifact=f"{system.name}.toml",
        named=f"{system.name} (computed)",
        artifact_sha256=digest,
        card=None,
        runtime=_runtime([record.runtime for record in known.records]),
        plan=first.plan,
        machine=first.machine,
        speed=NOT_TIMED,
        weight=_weight(known.records),
        accuracy=_accuracy(known, result),
        power=NOT_TIMED,
        parity=Absent(absent="a system is no file that a network was exported to"),
        decision=result.decision,
        doubts=_doubts(known.records),
        remarks=(f"computed from the records of {' and '.join(known.known.names)}",),
    )


def _runtime(used: Sequence[RuntimeUsed]) -> RuntimeUsed:
    """What runs a system: of several runtimes what they have in common."""
    first = used[0]
    if all(one == first for one in used):
        return first

    def joined(texts: Iterable[str]) -> str:
        return " + ".join(dict.fromkeys(texts))

    return RuntimeUsed(
        runtime=joined(one.runtime for one in used),
        version=joined(one.version for one in used),
        package=joined(one.package for one in used),
        providers=tuple(dict.fromkeys(provider for one in used for provider in one.providers)),
        threads=first.threads,
        settings={
            name: text
            for name, text in first.settings.items()
            if all(one.settings.get(name) == text for one in used)
        },
    )


def _weight(records: Sequence[Record]) -> Weight | Absent:
    """What is shipped: all files. MACs are those of asking each of them once."""
    weights = [record.weight for record in records]
    if any(isinstance(weight, Absent) for weight in weights):
        return Absent(absent="the weight of a member is not known")
    known = [weight for weight in weights if isinstance(weight, Weight)]
    return Weight(
        file_bytes=sum(weight.file_bytes for weight in known),
        params=sum(weight.params for weight in known),
        macs=sum(weight.macs for weight in known),
        peak_memory=NOT_TIMED,
    )


def _accuracy(known: Members, result: Computed) -> Accuracy:
    passes = [record.accuracy for record in known.records if isinstance(record.accuracy, Accuracy)]
    first = passes[0]
    tests = [fold.test for fold in known.known.folds]
    return result.rates.accuracy(
        ScoringPass(
            dataset=first.dataset,
            dataset_digest=first.dataset_digest,
            simulated=first.simulated,
            protocol=first.protocol,
            invoke_ns=sum(one.invoke_ns for one in passes),
            pass_ns=sum(one.pass_ns for one in passes),
            faces=first.faces,
            basis=first.basis,
            frames=first.frames,
            frames_without_score=sum(test.left_out for test in tests),
        )
    )


def _doubts(records: Sequence[Record]) -> tuple[Doubt, ...]:
    """A system is as doubtful as its members."""
    doubted = [record.title for record in records if record.doubts]
    if not doubted:
        return ()
    return (
        Doubt(
            code="doubtful_member",
            quantity="run",
            message=f"it rests on records with doubts: {', '.join(doubted)}",
            remedy="Their own rows say which",
        ),
    )


def _kept(known: Members, record: Record, result: Computed, curve: str, say: Say) -> tuple[Path, ...]:
    """Write the row, its scores, the system and the searched curve; a system of that name is replaced."""
    from swapbench.pad.score_files import data_label, write_score_file
    from swapbench.report.writer import write_report

    run = known.run
    assert record.decision is not None
    name = record.decision.system.name
    for old in store.load_run(run):
        if old.decision is not None and old.decision.system.name == name:
            (run / "records" / f"{old.id}.json").unlink()
            store.scores_path(run, old.id).unlink(missing_ok=True)
            say(f"The system {name} of this run is replaced.")
    accuracy = record.accuracy
    assert isinstance(accuracy, Accuracy)
    label = data_label(accuracy.dataset, simulated=accuracy.simulated)
    write_score_file(store.scores_path(run, record.id), [_as_frames(fold) for fold in result.folds], label)
    file, searched = store.system_path(run, name), store.system_path(run, name).with_suffix(".search.csv")
    write_system(record.decision.system, file)
    write_atomically(searched, curve)
    store.save(record, run)
    report = write_report(store.load_run(run), run, kinds=("pareto", "decision"))
    return file, searched, *(path for path in report.all if path.suffix in {".md", ".html", ".png"})


def _as_frames(fold: Any) -> Any:
    import numpy as np

    from swapbench.pad.scores import FoldFrames

    zeros = [np.zeros(len(split), dtype=np.int64) for split in (fold.dev, fold.test)]
    return FoldFrames(fold.name, fold.dev, fold.test, *zeros)


def shown(path: Path) -> str:
    """A path as a person reads it, from where they are."""
    return os.path.relpath(path)
