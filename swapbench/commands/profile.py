"""Which operators take the time of a model file, and which of them grew from one file to another."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swapbench import bench, catalog, operators, stats
from swapbench.commands import models_under_test
from swapbench.commands.named_files import CardFinder, NamedFile
from swapbench.commands.options import PROFILE_PROCESSES, DeviceOptions
from swapbench.commands.place import open_place
from swapbench.errors import NotValid, UserError
from swapbench.operators import Contents, Spread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.operators import Breakdown, Difference, OperatorCount
    from swapbench.ports import Device, Progress
    from swapbench.records import Plan

PAIRED_ROUNDS: Final = 4
"""Rounds of the gate's kind that tell how two files compare as a whole."""


@dataclass(frozen=True)
class ProfileRequest:
    """What a person asked `swapbench profile` for.

    Attributes:
        candidate: A second file, whose differences are shown.
        runtimes: The first that runs a file is taken; all if empty.
        timed: False for only what the files hold.
        processes: Fresh processes of each file.
        shapes: Of inputs whose lengths a file leaves free.
    """

    baseline: Path
    candidate: Path | None = None
    device: str = "local"
    runtimes: tuple[str, ...] = ()
    timed: bool = True
    processes: int = PROFILE_PROCESSES
    plan: Plan = bench.PAIRED_PLAN
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ProfileResult:
    """One file, or two and their difference; breakdowns, one a file, are empty where nothing was timed."""

    files: tuple[Contents, ...]
    counted: tuple[OperatorCount, ...]
    breakdowns: tuple[Breakdown, ...] = ()
    difference: Difference | None = None


def profile(folders: Folders, request: ProfileRequest, *, progress: Progress) -> ProfileResult:
    """Profile one file, or two in turns.

    Raises:
        BadModelFile: A file is not a model file.
        UserError: No runtime runs a file, or two are of different formats.
        EnvironmentFailed: A worker fails.
    """
    device_options = DeviceOptions(request.device if request.timed else "local")
    place = open_place(folders, device_options, catalog.split_commas(request.runtimes))
    device = place.device
    paths = [path for path in (request.baseline, request.candidate) if path is not None]
    cards = CardFinder(folders)
    models = [
        models_under_test.of_file(NamedFile(path, path.name), place.runtimes, cards, request.shapes)[0]
        for path in paths
    ]
    if len({model.variant.format for model in models}) > 1:
        names = " and ".join(path.name for path in paths)
        raise UserError(
            f"{names} are of different formats, which name operators differently",
            remedy="Profile each of them alone",
        )
    contents = tuple(
        Contents(
            model.path.name, model.graph.file_bytes, model.graph.params, model.graph.macs, model.graph.ops
        )
        for model in models
    )
    counted = operators.counted(contents[0].ops, contents[1].ops) if len(contents) > 1 else ()
    if not request.timed:
        return ProfileResult(contents, counted)
    files = [model.pushed(device) for model in models]
    with device.quiet(request.plan, progress):
        profiles = bench.measure_operators(files, device, request.plan, request.processes, progress=progress)
        breakdowns = tuple(operators.breakdown(profile) for profile in profiles)
        if len(files) == 1:
            return ProfileResult(contents, counted, breakdowns)
        total = _total(files[0], files[1], device, request.plan, progress)
    difference = operators.difference(profiles[0], profiles[1], total)
    return ProfileResult(contents, counted, breakdowns, difference)


def _total(
    baseline: bench.FileUnderTest,
    candidate: bench.FileUnderTest,
    device: Device,
    plan: Plan,
    progress: Progress,
) -> Spread:
    """The candidate's time as a share of the baseline's, without a profiler, over rounds."""
    times = None
    for done in range(PAIRED_ROUNDS):
        progress("timing in pairs", done, PAIRED_ROUNDS)
        times = bench.measure_rounds(baseline, candidate, device, plan, 1, before=times)
        if times.failure is not None:
            raise times.failure
        if times.invalid:
            raise NotValid(times.invalid, remedy="Profile again")
    progress("timing in pairs", PAIRED_ROUNDS, PAIRED_ROUNDS)
    assert times is not None
    ratios = [math.exp(change) for change in bench.log_ratios(times.rounds)[0]]
    return Spread(stats.median(ratios), min(ratios), max(ratios))
