"""Parts of a network: which file reads which, and how a part is scored in series with those before it.

A part is timed and weighed as a file of its own, on random numbers of the shape of its map. Alone it has no
accuracy: its scores are those of all parts up to it, one fed to the next in one process.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swapbench.bench.card_fit import outputs_option, place_of
from swapbench.bench.decision_jobs import file_lines
from swapbench.bench.workers import normalise_json
from swapbench.files import write_atomically
from swapbench.records import Absent
from swapbench.runtimes.native.adapter import NativeSystem, NativeWorker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.bench.workers import FileUnderTest
    from swapbench.data.preprocess import Prepared
    from swapbench.ports import Device
    from swapbench.records import ModelCard, Preprocessing


ON_THE_CPU_ONLY: Final = Absent(
    absent="the phone's runner feeds one file to another on the CPU only",
    remedy="Leave --delegate out",
)


def linked(models: Sequence[ModelUnderTest]) -> list[ModelUnderTest]:
    """The models, each part of a network with the parts before it.

    A part whose predecessor is not among them, in the same precision and format and under the same runtime,
    gets no accuracy.
    """
    return [model if model.unscored is not None else _linked(model, models) for model in models]


def _linked(model: ModelUnderTest, models: Sequence[ModelUnderTest]) -> ModelUnderTest:
    before: list[ModelUnderTest] = []
    part = model
    while part.card is not None and part.card.reads is not None:
        reads = part.card.reads
        found = next((one for one in models if _is(one, reads.card, model) and one not in before), None)
        if found is None:
            like = f"{reads.card}.{model.variant.precision} ({model.variant.format})"
            return replace(
                model,
                unscored=Absent(
                    absent=f"it reads {reads.output} of {like}, which is not among the files",
                    remedy="Name that file too",
                ),
            )
        if place_of(reads.output, found.graph) is None:
            names = ", ".join(tensor.name for tensor in found.graph.outputs)
            return replace(
                model,
                unscored=Absent(
                    absent=f"it reads {reads.output} of {found.title}, which returns {names}",
                    remedy="Correct output in the section [reads] of the card",
                ),
            )
        before.insert(0, found)
        part = found
    if before and isinstance(model.runtime, NativeWorker) and model.runtime.delegate:
        return replace(model, unscored=ON_THE_CPU_ONLY)
    return replace(model, before=tuple(before))


def _is(model: ModelUnderTest, stem: str, like: ModelUnderTest) -> bool:
    return (
        model.card is not None
        and model.card.stem == stem
        and model.runtime.name == like.runtime.name
        and model.cores == like.cores
        and (model.variant.precision, model.variant.format) == (like.variant.precision, like.variant.format)
    )


def file_to_score(
    model: ModelUnderTest, file: FileUnderTest, device: Device, crops: Mapping[Preprocessing, Prepared]
) -> FileUnderTest:
    """The file as it is scored: a part of a network with the files before it, any other as it is."""
    card = model.scoring_card
    if not model.before or card is None:
        return file
    if isinstance(file.runtime, NativeWorker):
        return _in_series(model, file, device, crops[card.preprocessing].path)
    options = {
        "samples": device.push(crops[card.preprocessing].path),
        "normalise": normalise_json(card.preprocessing),
        "reads": json.dumps(
            [{"artifact": part.pushed(device).artifact, "place": place} for part, place in _read(model)]
        ),
        **outputs_option(card, model.graph),
    }
    return replace(file, options={**file.options, **options})


def _in_series(model: ModelUnderTest, file: FileUnderTest, device: Device, crops: Path) -> FileUnderTest:
    """The same for the native runner, which is handed a job of all parts."""
    assert isinstance(file.runtime, NativeWorker)
    assert model.card is not None
    told = {"samples": device.push(crops), "normalise": normalise_json(model.card.preprocessing)}
    lines = ["rule cascade", "margin inf"]
    read = _read(model)
    for number, (part, _) in enumerate(read):
        pushed = part.pushed(device)
        lines += file_lines(replace(pushed, options={**pushed.options, **({} if number else told)}), part)
        lines += [f"reads {read[number - 1][1]}"] if number else []
    lines += [*file_lines(file, model), f"reads {read[-1][1]}", "presentation 0"]
    job = crops.with_name(f"{model.record_id}.job")
    write_atomically(job, "\n".join(lines) + "\n")
    return replace(file, artifact=device.push(job), runtime=NativeSystem.of(file.runtime), options=told)


def read_digests(model: ModelUnderTest) -> list[tuple[str, int]]:
    """What a part's scores rest on besides its own file: digest of each file before it and the place read."""
    return [(part.sha256, place) for part, place in _read(model)]


def _read(model: ModelUnderTest) -> list[tuple[ModelUnderTest, int]]:
    """The files before a part, each with the place of the output that the next one reads."""
    readers: list[ModelCard | None] = [*(part.card for part in model.before[1:]), model.card]
    places = []
    for part, reader in zip(model.before, readers, strict=True):
        assert reader is not None
        assert reader.reads is not None
        place = place_of(reader.reads.output, part.graph)
        assert place is not None
        places.append((part, place))
    return places
