"""The check of every file's card in a run: which images, which ways, and what one file says for all.

The output and the range are checked with every file, for they differ where a conversion went wrong. Channel
order, crop and border belong to the network: the first file of a card (fp32 where there is one) speaks for
all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from swapbench.bench.card_check import CardCheck, CheckImages, check_card, chosen_rows
from swapbench.bench.output_cache import cache_key
from swapbench.bench.trials import TrialBench
from swapbench.data.variants import variants
from swapbench.errors import SwapbenchError
from swapbench.pad.output_fit import output_size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.bench.draft import Draft
    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.bench.setup import Setup
    from swapbench.bench.workers import FileUnderTest
    from swapbench.data.preprocess import Prepared
    from swapbench.modelfile import Graph
    from swapbench.pad.evaluation import Evaluation
    from swapbench.ports import Progress
    from swapbench.records import ModelCard, Preprocessing

ALIKE = 1.25
"""Crops whose sides differ by less are not told apart."""
BORDERS = ("shift", "black", "reflect")
"""The others differ from one of these in few pixels."""
MOST_OUTPUTS = 8
MOST_NUMBERS = 1024
"""Of all outputs of one image: a file that gives more is asked for its card's outputs only."""


@dataclass
class CardChecks:
    """Checks the cards of a run's files, each with its file."""

    setup: Setup
    evaluation: Evaluation
    crops: Mapping[Preprocessing, Prepared]
    progress: Progress
    _images: dict[str, CheckImages] = field(default_factory=dict)

    def results(
        self,
        drafts: Mapping[str, Draft],
        models: Mapping[str, ModelUnderTest],
        files: Mapping[str, FileUnderTest],
    ) -> dict[str, CardCheck]:
        """What speaks against the card of each drafted file that has one, by record id."""
        scored = {
            name: models[name]
            for name in drafts
            if (card := models[name].scoring_card) is not None and card.reads is None
        }
        first_of: dict[str, CardCheck] = {}
        checks: dict[str, CardCheck] = {}
        stage = "checking cards"
        for number, (name, model) in enumerate(
            sorted(scored.items(), key=lambda item: item[1].variant.precision != "fp32")
        ):
            self.progress(stage, number, len(scored))
            card = model.scoring_card
            assert card is not None
            key = card.model_dump_json()
            first = first_of.get(key)
            check = self._check(drafts[name], files[name], model.graph, card, alone=first is None)
            checks[name] = check if first is None else _with_the_card_s(check, first)
            first_of.setdefault(key, check)
        self.progress(stage, len(scored), len(scored))
        return checks

    def _check(
        self, draft: Draft, file: FileUnderTest, graph: Graph, card: ModelCard, *, alone: bool
    ) -> CardCheck:
        """`alone`: no other file speaks for the network."""
        try:
            images = self._images_of(card.preprocessing)
        except SwapbenchError as error:
            return CardCheck(remark=f"The card was not checked: {error}")
        if not alone:
            images = replace(images, others={}, of_network=False)
        cache, options = self.evaluation.cache, {**file.options, **all_outputs(graph)}

        def kept(digest: str) -> Path:
            about = {"trials": digest, "outputs": options.get("outputs", "")}
            return cache / "checks" / f"{cache_key(draft, about)}.json"

        bench = TrialBench(self.setup.device, self.setup.plan, cache / "crops", kept=kept)
        return check_card(replace(file, options=options), card, images, bench)

    def _images_of(self, card: Preprocessing) -> CheckImages:
        """Some of the development images, as a card crops them and otherwise."""
        key = card.model_dump_json(exclude={"scale", "mean", "std"})
        if key not in self._images:
            prepared, samples = self.crops[card], self.evaluation.samples
            pool = self.evaluation.development
            failed = {place for place, row in enumerate(pool) if int(row) in prepared.failures}
            rows = pool[chosen_rows([samples[row] for row in pool], failed)]
            self._images[key] = CheckImages(
                crops=prepared.crops()[rows],
                bona_fide=np.array([samples[row].bona_fide for row in rows], dtype=np.bool_),
                others=self._other_crops(card, rows),
            )
        return self._images[key]

    def _other_crops(
        self, card: Preprocessing, rows: NDArray[np.intp]
    ) -> dict[Preprocessing, NDArray[np.uint8]]:
        """The same images in crops of other sizes and with other borders, without those that have no crop."""
        if self.evaluation.preprocessing(card).face_box == "frame" or not len(rows):
            return {}
        ways = other_geometries(card)
        prepared = self.evaluation.prepared_rows(rows, ways)
        return {way: one.crops() for way, one in zip(ways, prepared, strict=True) if not one.failures}


def other_geometries(card: Preprocessing) -> list[Preprocessing]:
    """A card's preprocessing with other crops, one change each."""
    others = []
    for other in variants(card).values():
        ratio = other.crop_scale / card.crop_scale
        if max(ratio, 1 / ratio) > ALIKE or (other.border != card.border and other.border in BORDERS):
            others.append(other)
    return others


def all_outputs(graph: Graph) -> dict[str, str]:
    """The worker's option for all outputs of a file; none where there is one, or they are too many."""
    sizes = [output_size(output) for output in graph.outputs]
    numeric = all(np.dtype(output.dtype).kind in "fiub" for output in graph.outputs)
    if (
        not numeric
        or not 1 < len(sizes) <= MOST_OUTPUTS
        or sum(size or MOST_NUMBERS for size in sizes) > MOST_NUMBERS
    ):
        return {}
    return {"outputs": ",".join(map(str, range(len(sizes))))}


def _with_the_card_s(check: CardCheck, first: CardCheck) -> CardCheck:
    """A file's check with what another file of its card said about the preprocessing."""
    if check.doubts:
        return check
    return replace(
        check, doubts=tuple(doubt for doubt in first.doubts if doubt.code.startswith("preprocessing"))
    )
