"""Measuring a latency table: files of layers, their times, and whole networks to check the sum."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from swapbench import __version__, bench, catalog, doctor, stats, units
from swapbench.commands.options import DeviceOptions
from swapbench.commands.place import open_place
from swapbench.errors import EnvironmentFailed, NotValid, UserError, WorkerFailed
from swapbench.files import write_atomically
from swapbench.kept import keep, kept
from swapbench.modelfile import read_graph
from swapbench.modelfile.parts import files_of
from swapbench.records import PRECISIONS, SUFFIXES, Frozen, Plan, RuntimeUsed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.catalog import Folders
    from swapbench.ports import Device, Progress, Runtime, Say
    from swapbench.records import Format, Precision, Speed
    from swapbench.workshop.prune.latency_table import LatencyTable
    from swapbench.workshop.prune.layer_chains import Chain, LayerGrid
    from swapbench.workshop.prune.widths import Channels, Shape, WidthSpace
    from swapbench.workshop.recipes.recipe import TrainRecipe

SECONDS_A_FILE = 1.5
"""Time for each file of a sitting, in which files are measured in turns."""

SLICE_NS = 10_000_000
"""Shorter than bursts of other work, so that one hits the short and the long file alike."""

CHECKED = 6
"""Whole networks that the table is checked with."""


@dataclass(frozen=True)
class LatencyRequest:
    """What a person asked `swapbench latency-table` for.

    Attributes:
        recipe: Of a network that can be pruned, a name or a file.
        points: Widths on each side of a grid of layers.
        channel_multiple: All widths are multiples of it; None as the recipe says.
        checked: Whole networks to check the table with.
        out: The table's file; None for one in reports/latency/.
    """

    recipe: str
    runtime: str = "onnxruntime"
    precision: str = "fp32"
    device: DeviceOptions = field(default_factory=DeviceOptions)
    points: int = 4
    channel_multiple: int | None = None
    checked: int = CHECKED
    out: Path | None = None
    replace: bool = False
    plan: Plan = field(default_factory=lambda: Plan(slice_ns=SLICE_NS))


@dataclass(frozen=True)
class LatencyResult:
    """The table, and the file that it was written to."""

    path: Path
    table: LatencyTable


class _Row(Frozen):
    """What a sitting measured, as it lies on disk until the table is whole."""

    files: tuple[str, ...]
    used: RuntimeUsed
    ns: tuple[float, ...]


def latency_table(
    folders: Folders, request: LatencyRequest, *, progress: Progress, say: Say
) -> LatencyResult:
    """Measure every kind of layer of a network on a grid of widths, then whole networks, and write the table.

    Layers that were measured before an interruption are not measured again.

    Raises:
        UserError: The table is there already.
        UnknownName: There is no such recipe, runtime or precision.
        BadCard: The network cannot be pruned.
        EnvironmentFailed: A file cannot be made or run.
        NotValid: The runtime changed while the layers were measured.
    """
    task = _task(folders, request, say)
    from swapbench.workshop.prune.latency_table import CheckedNetwork, Latency, LatencyTable
    from swapbench.workshop.prune.layer_chains import bare, grids

    planned = grids(task.shape, task.space, request.points)
    rows_of = [(grid, inputs) for grid in planned for inputs in grid.inputs]
    empty = bare(task.shape.size_px)
    chains = [empty, *(chain for grid, inputs in rows_of for cell in grid.row(inputs) for chain in cell[:2])]
    whole = _networks(task.space, task.shape, request.checked)
    files = _make_files(task, chains, whole, progress)
    with task.device.quiet(request.plan, progress):
        rows = []
        for number, (grid, inputs) in enumerate(rows_of):
            progress("measuring layers", number, len(rows_of))
            rows.append(_measured_row(task, number, grid, inputs, files))
        progress("measuring layers", len(rows_of), len(rows_of))
        progress("measuring whole networks", 0, 1)
        alone = [empty.name, *whole]
        last = task.sitting(
            "whole", alone, files, lambda speeds: [stats.median(speeds[name].runs_ns) for name in alone]
        )
        progress("measuring whole networks", 1, 1)
    if any(row.used != last.used for row in rows):
        raise NotValid(
            "the runtime's version or settings changed while the layers were measured",
            remedy=f"Remove {os.path.relpath(task.rows)} and measure again.",
        )
    times = iter(row.ns for row in rows)
    table = LatencyTable(
        format=1,
        measured=_measured_on(task, last.used),
        channel_multiple=task.space.multiple,
        other_ns=last.ns[0],
        layers=tuple(layer for grid in planned for layer in grid.times([next(times) for _ in grid.inputs])),
    )
    latency = Latency(table, task.shape)
    checked = tuple(
        CheckedNetwork(channels=channels, predicted_ns=latency.ns(channels), measured_ns=ns)
        for channels, ns in zip(whole.values(), last.ns[1:], strict=True)
    )
    table = table.replace(checked=checked)
    write_atomically(task.out, table.model_dump_json(indent=1) + "\n")
    shutil.rmtree(task.rows, ignore_errors=True)
    return LatencyResult(task.out, table)


def check_rows(table: LatencyTable) -> list[dict[str, str]]:
    """The whole networks of the check, as a table."""
    return [
        {
            "network": "stem {0}, outputs {4}/{19}/{40}".format(*network.channels),
            "predicted": units.duration(network.predicted_ns),
            "measured": units.duration(network.measured_ns),
            "error": units.percent(network.predicted_ns / network.measured_ns - 1),
        }
        for network in table.checked
    ]


def verdict(table: LatencyTable) -> str:
    """How far the table is to be trusted, in a line."""
    if table.error is None:
        return "No whole network was measured, so the table's error is not known."
    networks = f"{len(table.checked)} whole networks"
    text = f"Median error of the sum of layers on {networks}: {units.percent(table.error)}"
    if table.correlation is not None:
        text += f"; correlation {units.significant(table.correlation)}"
    return f"{text}."


@dataclass(frozen=True)
class _Task:
    request: LatencyRequest
    recipe: TrainRecipe
    shape: Shape
    space: WidthSpace
    device: Device
    runtime: Runtime
    precision: Precision
    cache: Path
    rows: Path
    out: Path

    @property
    def format(self) -> Format:
        return self.runtime.formats[0]

    def under_test(self, name: str, path: Path) -> bench.FileUnderTest:
        """A file on the device; only a worker of ncnn must be told the size of the input."""
        options = read_graph(path).worker_options if self.format == "ncnn" else {}
        return bench.FileUnderTest(name, self.device.push(*files_of(path)), self.runtime, options)

    def sitting(
        self,
        name: str,
        files: Sequence[str],
        paths: Mapping[str, Path],
        of: Callable[[Mapping[str, Speed]], Sequence[float]],
    ) -> _Row:
        """Measure files in turns, or read what was measured before; `of` makes numbers of their speeds."""
        place = self.rows / f"{name}.json"
        content = kept(place)
        if content is not None:
            row = _Row.model_validate(content)
            if row.files == tuple(files):
                return row
        under_test = [self.under_test(file, paths[file]) for file in files]
        plan = self.request.plan.replace(time_budget_s=SECONDS_A_FILE * len(files))
        speeds, used = {}, []
        for file, result in bench.measure_speed(under_test, self.device, plan).items():
            if isinstance(result, EnvironmentFailed):
                raise result
            speeds[file] = result.speed
            # how many nodes a delegate took differs between files, and says nothing of the way they ran
            used.append(result.used.replace(delegated_nodes=None, nodes=None))
        if any(other != used[0] for other in used):
            raise WorkerFailed(
                "files that were measured in turns ran in different ways", remedy="Measure again."
            )
        row = _Row(files=tuple(files), used=used[0], ns=tuple(of(speeds)))
        keep(place, row.model_dump(mode="json"))
        return row


def _task(folders: Folders, request: LatencyRequest, say: Say) -> _Task:
    doctor.require("export", "making the layers' files")
    from swapbench.workshop.artifacts.chain_files import key_parts
    from swapbench.workshop.artifacts.files import digest
    from swapbench.workshop.prune.pruning import width_space
    from swapbench.workshop.prune.pruning_net import shape_of
    from swapbench.workshop.recipes.pruning_recipe import MetaPruning
    from swapbench.workshop.recipes.recipe import read_recipe

    if request.points < 2:
        raise UserError("--points must be at least 2", remedy="Times are interpolated between two widths.")
    (precision,) = catalog.checked_names("precision", (request.precision,), PRECISIONS)
    recipe = read_recipe(catalog.named_file("recipe", request.recipe, catalog.recipe_files(folders)))
    pruning = recipe.pruning or MetaPruning(method="metapruning")
    if request.channel_multiple is not None:
        pruning = pruning.replace(channel_multiple=request.channel_multiple)
    space = width_space(recipe, pruning)
    multiples = f".x{space.multiple}" if space.multiple > 1 else ""
    name = (
        f"{recipe.name}.{request.runtime}.{precision}.{request.plan.threads}t{multiples}"
        f".{request.device.name}.json"
    )
    out = request.out or folders.reports / "latency" / name
    if out.exists() and not request.replace:
        raise UserError(
            f"{os.path.relpath(out)} exists already",
            remedy="Choose another --out, or measure again with --replace",
        )
    place = open_place(folders, request.device, (request.runtime,))
    machine = place.device.describe()
    identity: list[Any] = [machine.name, machine.device, machine.soc, dict(place.setup)]
    identity += [request.runtime, precision, request.plan.model_dump(), request.points, request.checked]
    identity += [recipe.architecture, space.multiple]
    work = folders.build / "latency"
    rows = work / f"rows-{digest(identity)[:8]}"
    if rows.is_dir():
        say("Resuming an unfinished table.")
    return _Task(
        request=request,
        recipe=recipe,
        shape=shape_of(recipe.architecture),
        space=space,
        device=place.device,
        runtime=place.runtimes[0],
        precision=cast("Precision", precision),
        cache=work / f"files-{digest(key_parts(place.runtimes[0].formats[0]))[:8]}",
        rows=rows,
        out=out,
    )


def _networks(space: WidthSpace, shape: Shape, count: int) -> dict[str, Channels]:
    """Networks between the narrowest and the unpruned one: half cut uniformly, half drawn at random."""
    import numpy as np

    from swapbench.workshop.artifacts.files import digest
    from swapbench.workshop.prune.widths import Budget

    random = np.random.default_rng(0)
    least, most = shape.macs(space.channels((0,) * len(space.sizes))), shape.macs(space.base)
    networks = {}
    for number in range(count):
        budget = Budget.of_macs(least + (most - least) * (number + 1) / (count + 1), shape)
        channels = space.uniform(budget) if number % 2 else space.channels(space.within(budget).drawn(random))
        key = digest([list(channels), shape.size_px, shape.classes, shape.embedding])[:8]
        networks[f"network-{key}"] = channels
    return networks


def _make_files(
    task: _Task, chains: Sequence[Chain], whole: Mapping[str, Channels], progress: Progress
) -> dict[str, Path]:
    """Name -> file of every chain and network, after those that are missing have been made."""
    from swapbench.workshop.artifacts.chain_files import Wanted, is_made, make_in_processes

    def path(name: str) -> Path:
        return task.cache / f"{name}.{task.precision}.{SUFFIXES[task.format]}"

    wanted = {
        chain.name: Wanted(path=str(path(chain.name)), chain=chain, size_px=chain.input_px)
        for chain in chains
    }
    for name, channels in whole.items():
        architecture = {**task.recipe.architecture, "channels": list(channels)}
        wanted[name] = Wanted(path=str(path(name)), architecture=architecture, size_px=task.shape.size_px)
    missing = [file for file in wanted.values() if not is_made(Path(file.path))]
    if missing:
        make_in_processes(missing, task.format, task.precision, task.cache, progress)
    return {name: path(name) for name in wanted}


def _measured_row(task: _Task, number: int, grid: LayerGrid, inputs: int, files: Mapping[str, Path]) -> _Row:
    from swapbench.workshop.prune.layer_chains import layer_ns

    cells = grid.row(inputs)
    names = list(dict.fromkeys(chain.name for cell in cells for chain in (cell.short, cell.long)))

    def layers(speeds: Mapping[str, Speed]) -> list[float]:
        return [layer_ns(speeds[cell.short.name], speeds[cell.long.name], cell.layers) for cell in cells]

    return task.sitting(f"row-{number}", names, files, layers)


def _measured_on(task: _Task, used: RuntimeUsed) -> str:
    machine = task.device.describe()
    return (
        f"{machine.device}, {machine.soc}, {machine.system}; "
        f"{used.runtime} {used.version} ({', '.join(used.providers)}), {used.threads} thread(s), "
        f"{task.precision}; {task.recipe.name} at {task.shape.size_px} px; "
        f"swapbench {__version__}, {datetime.now(UTC).isoformat(timespec='minutes')}"
    )
