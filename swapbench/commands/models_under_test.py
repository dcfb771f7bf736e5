"""Models under test, from files: each file under every runtime that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.errors import BadCard, SwapbenchError, UserError
from swapbench.files import file_sha256
from swapbench.records import PRECISIONS, Absent, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.catalog import Carded
    from swapbench.commands.named_files import CardFinder, NamedFile
    from swapbench.ports import Runtime
    from swapbench.workshop.artifacts import Built

NO_NETWORK = Absent(
    absent="the network that this file was made from is not known", remedy="Export it with swapbench"
)


def of_file(file: NamedFile, runtimes: Sequence[Runtime], cards: CardFinder) -> list[ModelUnderTest]:
    """A file under each runtime that runs it. A card that is bad or does not fit costs its accuracy only.

    Raises:
        BadModelFile: The file cannot be read, or has not one static input.
        UserError: None of the runtimes runs it.
    """
    from swapbench.bench.card_fit import misfit
    from swapbench.bench.experiment import NO_CARD, ModelUnderTest
    from swapbench.modelfile import read_graph, single_static_input

    graph = read_graph(file.path)
    single_static_input(graph, file.title)
    capable = [runtime for runtime in runtimes if graph.format in runtime.formats]
    if not capable:
        raise UserError(
            f"none of the chosen runtimes runs {graph.format} files",
            remedy="Leave --runtime out, or choose another",
        )
    found = cards.card(file, graph.metadata)
    card, reason = (None, found) if isinstance(found, Absent) else (found, NO_CARD)
    unscored = reason if card is None else misfit(card, graph)
    sha256 = file_sha256(file.path)
    net, recipe = (card.name, card.recipe) if card is not None else (_net_name(file.path), None)
    variant = Variant(net=net, recipe=recipe, precision=graph.precision, format=graph.format)
    return [
        ModelUnderTest(
            variant, file.path, sha256, graph, runtime, card, NO_NETWORK, named=file.title, unscored=unscored
        )
        for runtime in capable
    ]


def of_files(
    files: Sequence[NamedFile], runtimes: Sequence[Runtime], cards: CardFinder
) -> tuple[list[ModelUnderTest], list[tuple[str, SwapbenchError]]]:
    """Files from anywhere, as `of_file`, and what failed: files that cannot be measured, bad cards."""
    from swapbench.bench.experiment import NO_CARD

    models: list[ModelUnderTest] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for file in files:
        try:
            under_test = of_file(file, runtimes, cards)
        except SwapbenchError as error:
            failures.append((file.title, error))
            continue
        models += under_test
        unscored = under_test[0].unscored
        if unscored not in (None, NO_CARD):
            failures.append((file.title, BadCard(unscored.absent, remedy=unscored.remedy)))
    return models, failures


def of_networks(
    files: Sequence[Built], carded: Sequence[Carded], runtimes: Sequence[Runtime]
) -> list[ModelUnderTest]:
    """The files of known networks under every runtime that runs them."""
    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.modelfile import read_graph

    cards = {(model.card.name, model.card.recipe): model.card for model in carded}
    return [
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


def _net_name(path: Path) -> str:
    """The stem of a file name, without a precision at its end: 'net.kd.int8.tflite' -> 'net.kd'."""
    words = path.stem.split(".")
    return ".".join(words[:-1]) if len(words) > 1 and words[-1] in PRECISIONS else path.stem
