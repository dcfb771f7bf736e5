"""The row of a system: its record beside those of its members, its scores and the report with it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from swapbench import store
from swapbench.pad.metrics import ScoringPass
from swapbench.records import Absent, Accuracy, Doubt, Record, RuntimeUsed, Variant, Weight
from swapbench.systems.file import system_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from swapbench.commands.system_members import Members
    from swapbench.pad.metrics import FoldScores
    from swapbench.pad.scores import FoldFrames
    from swapbench.ports import Say
    from swapbench.systems.computed import Computed

NOT_TIMED: Final = Absent(
    absent="computed from the records of its members: no process ran it as a whole",
    remedy="Measure it: swapbench run --system FILE",
)
NO_INFERENCE: Final = Absent(absent="a system has decisions, not inferences: see the time of a decision")


def system_record(known: Members, result: Computed) -> Record:
    """The record of a system that was computed or measured."""
    first, system = known.records[0], result.decision.system
    is_measured = result.decision.basis == "measured"
    digest = hashlib.sha256(system_text(system).encode()).hexdigest()
    precisions = {record.variant.precision for record in known.records}
    return Record(
        id=f"{system.name}-{result.decision.basis}-{digest[:8]}",
        time=datetime.now(UTC),
        run=first.run,
        variant=Variant(
            net=system.name,
            precision=precisions.pop() if len(precisions) == 1 else "unknown",
            format="system",
        ),
        artifact=f"{system.name}.toml",
        named=f"{system.name} ({result.decision.basis})",
        artifact_sha256=digest,
        card=None,
        runtime=_runtime([record.runtime for record in known.records]),
        plan=first.plan,
        machine=first.machine,
        speed=NO_INFERENCE if is_measured else NOT_TIMED,
        weight=_weight(known.records),
        accuracy=_accuracy(known, result),
        power=NOT_TIMED,
        parity=Absent(absent="a system is no file that a network was exported to"),
        decision=result.decision,
        doubts=_doubts(known.records),
        remarks=(f"its scores are those of {' and '.join(known.known.names)}",),
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


def keep(run: Path, record: Record, folds: Sequence[FoldScores], say: Say) -> tuple[Path, ...]:
    """Write a system's record and scores into the run of its members, and the report again.

    An earlier row of that name and basis is replaced: it can be made again.

    Args:
        run: the folder; the caller is its only writer
        record: of the system
        folds: its scores
        say: what was replaced

    Returns:
        The report's files.
    """
    from swapbench.pad.score_files import data_label, write_score_file
    from swapbench.report.writer import write_report

    decision, accuracy = record.decision, record.accuracy
    assert decision is not None
    assert isinstance(accuracy, Accuracy)
    for old in store.load_run(run):
        if old.decision is not None and old.title == record.title:
            (run / "records" / f"{old.id}.json").unlink()
            store.scores_path(run, old.id).unlink(missing_ok=True)
            say(f"The row {old.title} of this run is replaced.")
    label = data_label(accuracy.dataset, simulated=accuracy.simulated)
    write_score_file(store.scores_path(run, record.id), list(map(_as_frames, folds)), label)
    store.save(record, run)
    report = write_report(store.load_run(run), run, kinds=("pareto", "decision"))
    return report.all


def _as_frames(fold: FoldScores) -> FoldFrames:
    """One row a presentation, as a file of scores has it."""
    from swapbench.pad.scores import FoldFrames

    assert fold.dev is not None
    dev_frame, test_frame = (np.zeros(len(split), dtype=np.int64) for split in (fold.dev, fold.test))
    return FoldFrames(fold.name, fold.dev, fold.test, dev_frame, test_frame)
