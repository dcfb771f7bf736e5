"""Models under test, from files: each file under every runtime that runs it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from swapbench.errors import BadCard, BadModelFile, SwapbenchError, UnknownName, UserError, of_one_file
from swapbench.files import files_sha256
from swapbench.records import ALL_PRECISIONS, Absent, Variant, plain_file_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.catalog import Carded, Folders
    from swapbench.commands.named_files import CardFinder, NamedFile
    from swapbench.modelfile import Shapes
    from swapbench.ports import Runtime
    from swapbench.workshop.artifacts import Built

NO_NETWORK = Absent(
    absent="the network that this file was made from is not known", remedy="Export it with swapbench"
)


def of_file(
    file: NamedFile, runtimes: Sequence[Runtime], cards: CardFinder, shapes: Shapes | None = None
) -> list[ModelUnderTest]:
    """A file under each runtime that runs it. A card that is bad or does not fit costs its accuracy only.

    Args:
        file: What is to be measured.
        runtimes: What there is to run it.
        cards: Finds its card, whose image size also fills what the file leaves free.
        shapes: Of inputs with free lengths.

    Raises:
        BadModelFile: The file cannot be read, or one run of it is not one image of a known size.
        UserError: None of the runtimes runs it.
    """
    from swapbench.bench.card_fit import misfit, several_inputs
    from swapbench.bench.experiment import NO_CARD, ModelUnderTest
    from swapbench.modelfile import read_graph
    from swapbench.modelfile.input_shapes import image_shapes, refuse_unmeasurable

    try:
        plain_file_name(file.path.name)
    except ValueError as error:
        raise BadModelFile(f"{error}, as records need", remedy="Rename the file") from error
    shapes = shapes or {}
    graph = read_graph(file.path, shapes)
    found = cards.card(file, graph.metadata)
    card, reason = (None, found) if isinstance(found, Absent) else (found, NO_CARD)
    if card is not None:
        image = card.preprocessing
        of_card = image_shapes(graph, image.width_px, image.height_px, image.channels)
        asked = shapes.keys() & {"", *of_card}
        graph = graph if asked or not of_card else read_graph(file.path, {**shapes, **of_card})
    refuse_unmeasurable(graph, file.title)
    capable = [runtime for runtime in runtimes if graph.format in runtime.formats]
    if not capable:
        raise UserError(
            f"none of the chosen runtimes runs {graph.format} files",
            remedy="Leave --runtime out, or choose another",
        )
    unscored = several_inputs(graph) or (reason if card is None else misfit(card, graph))
    sha256 = files_sha256(graph.files)
    if unscored == NO_CARD:
        unscored = _without_card(cards.folders, file, sha256)
    net, recipe = (card.name, card.recipe) if card is not None else (_net_name(file.path), None)
    variant = Variant(net=net, recipe=recipe, precision=graph.precision, format=graph.format)
    return [
        ModelUnderTest(
            variant, file.path, sha256, graph, runtime, card, NO_NETWORK, named=file.title, unscored=unscored
        )
        for runtime in capable
    ]


def of_files(
    files: Sequence[NamedFile], runtimes: Sequence[Runtime], cards: CardFinder, shapes: Shapes | None = None
) -> tuple[list[ModelUnderTest], list[tuple[str, SwapbenchError]]]:
    """Files from anywhere, as `of_file`, and what failed: files that cannot be measured, bad cards.

    Raises:
        UnknownName: A shape is for an input that no file has.
    """
    from swapbench.bench.experiment import NO_CARD
    from swapbench.bench.series import linked

    models: list[ModelUnderTest] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for file in files:
        try:
            with of_one_file(file.title, BadModelFile):
                under_test = of_file(file, runtimes, cards, shapes)
        except SwapbenchError as error:
            failures.append((file.title, error))
            continue
        models += under_test
        unscored = under_test[0].unscored
        if unscored is None or unscored.absent.startswith(NO_CARD.absent):
            continue
        # several inputs cannot be scored whatever the card says: nothing that a person could correct
        if len(under_test[0].graph.inputs) == 1:
            failures.append((file.title, BadCard(unscored.absent, remedy=unscored.remedy)))
    if not failures:
        known = {tensor.name for model in models for tensor in model.graph.inputs}
        for name in (shapes or {}).keys() - known - {""}:
            raise UnknownName("input in these files", name, known)
    return linked(models), failures


def _without_card(folders: Folders, file: NamedFile, sha256: str) -> Absent:
    """Why a file without a card cannot be scored; a network of the zoo is recognised by its digest."""
    from swapbench.bench.experiment import NO_CARD
    from swapbench.commands import zoo

    network = zoo.owner(folders, sha256)
    if network is None:
        return NO_CARD
    name = network.card.name
    return Absent(
        absent=f"{NO_CARD.absent}; it is {name} of the zoo",
        remedy=f"Write its card: swapbench zoo get {name} {shlex.quote(str(file.path))}",
    )


def of_networks(
    files: Sequence[Built], carded: Sequence[Carded], runtimes: Sequence[Runtime]
) -> list[ModelUnderTest]:
    """The files of known networks under every runtime that runs them."""
    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.bench.series import linked
    from swapbench.modelfile import read_graph

    cards = {(model.card.name, model.card.recipe): model.card for model in carded}
    models = [
        ModelUnderTest(
            variant=file.variant,
            path=file.path,
            sha256=file.sha256,
            graph=read_graph(file.path),
            runtime=runtime,
            card=cards[file.variant.net, file.variant.recipe],
            parity=file.parity,
        )
        for file in files
        for runtime in runtimes
        if file.variant.format in runtime.formats
    ]
    return linked(models)


def _net_name(path: Path) -> str:
    """The stem of a file name, without a precision at its end: 'net.kd.int8.tflite' -> 'net.kd'."""
    stem = path.stem.removesuffix(".ncnn")
    words = stem.split(".")
    return ".".join(words[:-1]) if len(words) > 1 and words[-1] in ALL_PRECISIONS else stem
