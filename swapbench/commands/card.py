"""Finding the card of a model file on labelled images."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.cards import write_card
from swapbench.commands.data import evaluation, folds
from swapbench.commands.options import DeviceOptions
from swapbench.commands.place import open_place
from swapbench.errors import UserError
from swapbench.records import Plan

if TYPE_CHECKING:
    from swapbench.bench.card_search import Found
    from swapbench.catalog import Folders
    from swapbench.commands.options import ScoringOptions
    from swapbench.ports import Progress, Say


@dataclass(frozen=True)
class CardRequest:
    """Whose card is wanted, and where it goes.

    Attributes:
        file: The model file.
        out: The card to write; None writes it beside the file, where `swapbench run` finds it.
        replace: Whether a card that is there may be overwritten.
        images: How many images to try at most.
    """

    file: Path
    out: Path | None = None
    replace: bool = False
    images: int = 200

    @property
    def path(self) -> Path:
        """Where the card goes."""
        return self.file.with_suffix(".toml") if self.out is None else self.out


def find_card(
    folders: Folders, request: CardRequest, options: ScoringOptions, *, progress: Progress, say: Say
) -> Found:
    """Try the usual ways to feed a file and to read its outputs, and write the best as its card.

    Raises:
        UserError: No data were named, no runtime runs the file, or there is a card already.
        BadModelFile: The file cannot be read, or its input is not one image of a fixed size.
        BadDataset: The data have too few usable images of a class.
        NotValid: No way separates the classes.
    """
    from swapbench.bench import FileUnderTest, chosen_rows
    from swapbench.bench.card_search import CardSearch
    from swapbench.modelfile import read_graph
    from swapbench.modelfile.input_shapes import refuse_unmeasurable

    if not options.data.named:
        raise UserError(
            "a card is found on labelled images, and none were named",
            remedy="Give a dataset, or a folder of live/ and spoof/ images, with --data",
        )
    path = request.path
    if path.exists() and not request.replace:
        raise UserError(
            f"there is a file {path} already",
            remedy="Write another with --out, or overwrite it with --replace",
        )
    graph = read_graph(request.file, options.shapes)
    refuse_unmeasurable(graph, request.file.name)
    place = open_place(folders, DeviceOptions(options.device), options.runtimes)
    runtime = next((one for one in place.runtimes if graph.format in one.formats), None)
    if runtime is None:
        raise UserError(
            f"none of the chosen runtimes runs {graph.format} files",
            remedy="Leave --runtime out, or choose another",
        )
    judged_on = evaluation(
        folders, folds(folders, options.data, ("dev", "test"), progress=progress, say=say), options.data
    )
    artifact = place.device.push(request.file, *graph.files[1:])
    folders.build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".card-", dir=folders.build
    ) as crops:  # faces in forty crops each
        search = CardSearch(
            name=request.file.stem,
            file=FileUnderTest(request.file.name, artifact, runtime, graph.worker_options),
            graph=graph,
            evaluation=replace(judged_on, cache=Path(crops)),
            rows=chosen_rows(judged_on.samples, (), request.images // 2),
            device=place.device,
            plan=Plan(threads=options.threads, warmup_runs=1, warmup_ns=0),
            progress=progress,
        )
        found = search.found()
    write_card(found.card, path)
    return found
