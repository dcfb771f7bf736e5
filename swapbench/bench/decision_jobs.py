"""What the process of a system is handed: its steps, its files and its presentations, as data.

A Python worker reads JSON (`swapbench.systems.worker`), the native runner lines of text (`native/system.c`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from swapbench.bench.card_fit import outputs_option, place_of
from swapbench.errors import UserError
from swapbench.runtimes.contract import PythonWorker
from swapbench.runtimes.native.adapter import STARTED_BY, NativeSystem, NativeWorker
from swapbench.systems.rules import wald_bounds
from swapbench.systems.stepwise import Steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Runtime
    from swapbench.records import Member, ModelCard, System

NAME: Final = "system"
_MODULE: Final = "swapbench.systems.worker"


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
    def seen(self) -> list[list[int]]:
        """Rows of each presentation that a decision may see."""
        return [list(rows[: self.system.frames.count]) for rows in self.presentations]


def runtime_of(job: Job) -> Runtime:
    """What runs the whole job in one process.

    Raises:
        UserError: its files cannot share one
    """
    first = job.files[0].runtime
    if isinstance(first, NativeWorker):
        for file in job.files:
            other = file.runtime
            if isinstance(other, NativeWorker) and other.delegate:
                raise UserError(
                    f"{file.name} runs under {other.name}, and a system runs its files on the CPU",
                    remedy="Leave --delegate out",
                )
            alike = isinstance(other, NativeWorker) and all(
                getattr(first, name) == getattr(other, name) for name in STARTED_BY
            )
            if not alike:
                raise UserError(
                    f"{first.name} and {other.name} are started differently there, and the files of a system"
                    " share a process",
                    remedy="Take files for one runtime, in libraries of one kind and on the same cores",
                )
        return NativeSystem.of(first)
    return _shared_worker(job.files)


def _shared_worker(files: Sequence[FileUnderTest]) -> PythonWorker:
    """What runs a system in Python: the interpreter of its files, which must be the same for all.

    Raises:
        UserError: it is not, or one of them is no Python program
    """
    workers = {file.runtime.name: _python_worker(file) for file in files}
    if len({worker.python for worker in workers.values()}) > 1:
        elsewhere = [name for name, worker in workers.items() if worker.is_elsewhere]
        raise UserError(
            f"{' and '.join(workers)} run with different Pythons, and the files of a system share a process",
            remedy="Have one Python run all of them, such as swapbench's own: "
            + " && ".join(f"swapbench runtimes remove {name}" for name in elsewhere),
        )
    worker, *others = workers.values()
    lent = tuple(other.module for other in (worker, *others))
    return replace(worker, name=NAME, formats=(), module=_MODULE, lent=lent, switches={})


def content(job: Job) -> str:
    """The job as the program reads it that runs it."""
    if isinstance(job.files[0].runtime, NativeWorker):
        return "\n".join(_lines(job)) + "\n"
    return json.dumps(_values(job))


def _values(job: Job) -> dict[str, Any]:
    members = zip(job.system.members, job.files, job.models, strict=True)
    return {
        "steps": asdict(steps(job.system)),
        "members": [
            {
                "module": _python_worker(file).module,
                "artifact": file.artifact,
                "switches": _python_worker(file).switches_text,
                "meaning": _meaning(model),
                **{name: str(value) for name, value in file.options.items()},
                **outputs_option(_card(model), model.graph),
                **_reads(member, place, job.models),
            }
            for place, (member, file, model) in enumerate(members)
        ],
        "presentations": job.seen,
    }


def _lines(job: Job) -> Iterator[str]:
    """The same for the native runner: a word and its values on each line."""
    said = steps(job.system)
    cascade = said.rule == "cascade"
    yield f"rule {said.rule}"
    yield f"frames {said.frame_rule}"
    yield f"threshold {said.threshold!r}"
    yield f"margin {said.margin or 0.0!r}"
    yield from (f"{word} {value!r}" for word, value in zip(("low", "high"), said.bounds, strict=True))
    yield from (f"{word} {value!r}" for word, value in zip(("slope", "offset"), said.evidence, strict=True))
    if said.members and not cascade:
        yield f"vote {said.members[0]!r}"
    for place, (member, file, model) in enumerate(
        zip(job.system.members, job.files, job.models, strict=True)
    ):
        yield from file_lines(file, model)
        yield f"weight {member.weight!r}"
        yield from (f"{word} {value}" for word, value in _reads(member, place, job.models).items())
        if cascade:
            yield f"alone {said.members[place]!r}"
    for rows in job.seen:
        yield f"presentation {' '.join(map(str, rows))}"


def file_lines(file: FileUnderTest, model: ModelUnderTest) -> Iterator[str]:
    """What runs a file, what it is fed and what its output means."""
    assert isinstance(file.runtime, NativeWorker)
    meaning = _meaning(model)
    yield f"file {file.artifact}"
    yield f"runtime {file.runtime.plain_name}"
    yield f"library {file.runtime.library}"
    told = {**file.options, **outputs_option(_card(model), model.graph)}
    for name in ("samples", "normalise", "shapes", "dimensions"):
        if name in told:
            yield f"{name} {told[name]}"
    yield f"place {told.get('outputs', '0')}"
    yield f"kind {meaning['kind']}"
    yield f"reduce {meaning['reduce']}"
    yield f"sign {-1 if meaning['higher_is'] == 'attack' else 1}"
    if _card(model).output.of_classes:
        yield f"classes {' '.join(map(str, _card(model).output.bona_fide_indexes))}"


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


def _python_worker(file: FileUnderTest) -> PythonWorker:
    if not isinstance(file.runtime, PythonWorker):
        raise UserError(
            f"{file.runtime.name} does not run in Python, and the files of a system share a process",
            remedy="Choose another runtime: swapbench runtimes",
        )
    return file.runtime


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
