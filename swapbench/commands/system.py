"""Decision systems: fuse files, ask a large one when a small one is unsure, look at several frames."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench import store
from swapbench.bench import run_folder
from swapbench.catalog import checked_names
from swapbench.commands.system_members import members
from swapbench.commands.system_row import keep, system_record
from swapbench.errors import UserError
from swapbench.files import write_atomically
from swapbench.pad.rates import EER_AT_DEV, ThresholdRule
from swapbench.records import Absent, Frames, Member, System
from swapbench.systems import search
from swapbench.systems.computed import How, computed
from swapbench.systems.file import write_system
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
    from swapbench.records import Decision, Record

RULES: Final = ("mean", "logits", "product", "maximum")
FRAME_RULES: Final = ("mean", "median", "vote", "sequential")
COSTS: Final = ("time", "energy")
WEIGHT_STEPS: Final = {2: 20, 3: 10, 4: 5}
"""Files of a fusion -> the parts that weights are searched in."""


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
    reading = next((one for one in known.records if one.card is not None and one.card.reads), None)
    if reading is not None:
        raise UserError(
            f"{reading.title} is a part of a network, which decides in a cascade only",
            remedy="swapbench system cascade PART_1 PART_2",
        )
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
    files: Sequence[str],
    margin: float | None,
    options: SystemOptions,
    *,
    progress: Progress,
    say: Say,
) -> Found:
    """Ask each file after the first only where the score of the one before it lies near its threshold.

    Nearer than `margin`; without one it is chosen on the development split.

    Raises:
        UserError: There are fewer than two files.
    """
    if len(files) < 2:
        raise UserError("a cascade takes two files or more, the cheapest first", remedy="Name another one")
    known = members(folders, files, options, progress=progress, say=say)
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
                reads="" if record.card is None or record.card.reads is None else record.card.reads.output,
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
    A target on ACER leaves thresholds at the EER and takes the cheapest that keeps it. A target on the time
    or energy of a decision, a mean on development, takes the lowest ACER that keeps it: systems that were
    chosen under one such limit are compared at equal cost.
    """
    usual = search.Aim(slack=options.slack if slack is None else slack)
    if options.target is None:
        return EER_AT_DEV, usual
    from swapbench.report.tables.columns import constraint

    wanted = constraint(options.target)
    name = wanted.column.name
    if wanted.at_most and name == f"decision_{options.cost}":
        return EER_AT_DEV, search.Aim("cost", wanted.limit)
    if name not in {"acer", "apcer", "bpcer"} or not wanted.at_most or not 0 < wanted.limit < 1:
        raise UserError(
            f"--target {options.target!r} is none that a system can be chosen by",
            remedy='Write a limit of apcer, bpcer or acer, as in "apcer<=5 %", or "decision_time<=2 ms"',
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
    record = system_record(known, result)
    file = store.system_path(known.run, chosen.system.name)
    curve = file.with_suffix(".search.csv")
    with run_folder.only_writer(known.run):
        write_system(chosen.system, file)
        write_atomically(curve, search_csv(candidates, chosen, "ns" if options.cost == "time" else "uj"))
        report = keep(known.run, record, result.folds, say)
    told = [path for path in report if path.name in {"table.md", "decision.png", "index.html"}]
    return Found(record, candidates, chosen, options.cost, (file, curve, _picture(curve), *told))


def _picture(curve: Path) -> Path:
    """The searched curve as a picture beside it."""
    from swapbench.report import figures

    drawing = figures.draw("search", None, options=figures.Options(history=curve))
    path = curve.with_suffix(".png")
    write_atomically(path, drawing.files["png"])
    return path


def shown(path: Path) -> str:
    """A path as a person reads it, from where they are."""
    return os.path.relpath(path)
