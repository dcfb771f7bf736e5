"""Models under test, from files: each file under every runtime that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swapbench import catalog
from swapbench.errors import BadModelFile, SwapbenchError, UserError
from swapbench.files import file_sha256
from swapbench.records import PRECISIONS, Absent, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.catalog import Carded, Folders
    from swapbench.ports import Runtime
    from swapbench.records import ModelCard
    from swapbench.workshop.artifacts import Built

NO_NETWORK = Absent(
    absent="the network that this file was made from is not known", remedy="Export it with swapbench"
)


def named_card(folders: Folders, name: str | None) -> ModelCard | None:
    """The model card that was named for files that carry none of their own."""
    return catalog.model(folders, name).card if name else None


def of_file(path: Path, runtimes: Sequence[Runtime], card: ModelCard | None) -> list[ModelUnderTest]:
    """A file under each runtime that runs it; card None means the one that it carries itself, if any.

    Raises:
        BadModelFile: The file cannot be read, or has not one static input.
        UserError: None of the runtimes runs it.
    """
    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.modelfile import read_graph, single_static_input

    graph = read_graph(path)
    single_static_input(graph, path.name)
    capable = [runtime for runtime in runtimes if graph.format in runtime.formats]
    if not capable:
        raise UserError(
            f"none of the chosen runtimes runs {graph.format} files",
            remedy="Leave --runtime out, or choose another",
        )
    card = card or own_card(path, graph.metadata)
    sha256 = file_sha256(path)
    variant = Variant(net=_net_name(path), precision=graph.precision, format=graph.format)
    return [ModelUnderTest(variant, path, sha256, graph, runtime, card, NO_NETWORK) for runtime in capable]


def of_files(
    paths: Sequence[Path], runtimes: Sequence[Runtime], card: ModelCard | None
) -> tuple[list[ModelUnderTest], list[tuple[str, SwapbenchError]]]:
    """Files from anywhere, as `of_file`; each that cannot be measured fails alone."""
    models: list[ModelUnderTest] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for path in paths:
        try:
            models += of_file(path, runtimes, card)
        except SwapbenchError as error:
            failures.append((str(path), error))
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


def own_card(path: Path, metadata: dict[str, Any] | None) -> ModelCard | None:
    """The card that a file exported by swapbench carries in its metadata, or None."""
    from pydantic import ValidationError

    from swapbench.records import ModelCard

    if metadata is None:
        return None
    try:
        return ModelCard(
            name=metadata["network"],
            recipe=metadata.get("recipe"),
            summary="read from the metadata of the file",
            family="",
            architecture={},
            checkpoint="",
            checkpoint_sha256=metadata.get("checkpoint_sha256", ""),
            preprocessing=metadata["preprocessing"],
            output=metadata["output"],
        )
    except (KeyError, ValidationError) as error:
        raise BadModelFile(
            f"the swapbench metadata in {path} is damaged ({str(error).splitlines()[0]})",
            remedy="Export the file again",
        ) from error
