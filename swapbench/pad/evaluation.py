"""What models are judged on: the folds of a protocol, every frame of them once, and the way from raw outputs to an Accuracy.

One object serves all models of a run. It knows nothing of devices and runtimes: it is handed what they answered.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from swapbench.data.preprocess import prepare_all
from swapbench.pad import metrics
from swapbench.pad.score_files import data_label
from swapbench.pad.scores import FoldFrames, Scored, bona_fide_scores, mean_by_presentation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.dataset import Dataset
    from swapbench.data.preprocess import Prepared
    from swapbench.data.samples import Sample
    from swapbench.ports import Outputs, Progress
    from swapbench.records import Accuracy, FaceBoxes, OutputMeaning, Preprocessing

    Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Evaluation:
    """The folds that accuracy is measured on, the folder that keeps crops and scores, and how many threads may work.

    faces: where face boxes come from, for all models alike; None: as each card says.
    """

    folds: tuple[Dataset, ...]
    cache: Path
    processes: int
    faces: FaceBoxes | None = None

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """Every frame of the development and test splits once, in the order of the folds."""
        return tuple(self._places[0])

    @cached_property
    def _places(self) -> tuple[list[Sample], dict[str, tuple[Rows, Rows]]]:
        frames: list[Sample] = []
        place: dict[tuple[Path, int, int], int] = {}
        rows: dict[str, tuple[Rows, Rows]] = {}
        for fold in self.folds:
            found = []
            for split in ("dev", "test"):
                places = []
                for sample in fold.samples(split):
                    key = (sample.path, sample.frame, sample.spread)
                    if key not in place:
                        place[key] = len(frames)
                        frames.append(sample)
                    places.append(place[key])
                found.append(np.array(places, dtype=np.intp))
            rows[fold.fold] = (found[0], found[1])
        return frames, rows

    @property
    def data(self) -> str:
        """What score files say of the data in every row."""
        return data_label(self.folds[0].name, simulated=self.folds[0].simulated)

    @cached_property
    def digest(self) -> str:
        """What the scores depend on: content, labels and boxes of every frame, and which fold it belongs to."""
        digests = [fold.digest(("dev", "test")) for fold in self.folds]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()

    @property
    def development(self) -> Rows:
        """Places of the first fold's development frames in `samples`."""
        return next(iter(self._places[1].values()))[0]

    @property
    def protocol(self) -> str:
        """The protocol in words."""
        return self.folds[0].protocol or "dev and test of the dataset folder"

    def preprocessing(self, card: Preprocessing) -> Preprocessing:
        """The card's preprocessing with this evaluation's source of face boxes."""
        return card if self.faces is None else card.replace(face_box=self.faces)

    def prepared(
        self, cards: Iterable[Preprocessing], progress: Progress | None = None
    ) -> dict[Preprocessing, Prepared]:
        """The crops of all samples as each card's preprocessing wants them; every file is decoded once for all."""
        wanted = tuple(dict.fromkeys(cards))
        heard = None if progress is None else partial(progress, "reading frames")
        made = prepare_all(
            self.samples,
            [self.preprocessing(one) for one in wanted],
            self.cache / "crops",
            self.processes,
            progress=heard,
        )
        return dict(zip(wanted, made, strict=True))

    @cached_property
    def _known(self) -> Scored:
        """All frames without their scores."""
        return Scored.of(
            [sample.presentation for sample in self.samples],
            [sample.subject for sample in self.samples],
            [sample.bona_fide for sample in self.samples],
            [sample.species for sample in self.samples],
            [math.nan] * len(self.samples),
        )

    def fold_frames(
        self, outputs: Outputs, meaning: OutputMeaning, failures: Mapping[int, str]
    ) -> tuple[FoldFrames, ...]:
        """Scores of every frame of every fold; NaN where a frame had no crop.

        Raises BadDataset and NotValid as `bona_fide_scores` does.
        """
        scores = bona_fide_scores(outputs.rows, meaning)
        scores[list(failures)] = math.nan
        numbers = np.array([sample.frame for sample in self.samples], dtype=np.int64)
        known = self._known.with_scores(scores)
        return tuple(
            FoldFrames(
                name=fold.fold,
                dev=known.rows(dev),
                test=known.rows(test),
                dev_frame=numbers[dev],
                test_frame=numbers[test],
            )
            for fold, (dev, test) in zip(self.folds, self._places[1].values(), strict=True)
        )

    def accuracy(
        self,
        folds: Sequence[FoldFrames],
        outputs: Outputs,
        card: Preprocessing,
        *,
        confidence: float,
        seed: int,
    ) -> Accuracy:
        """The error rates of these scores, with everything that they rest on. Raises BadDataset where they would mean nothing."""
        rates = metrics.evaluate_folds(
            [
                metrics.FoldScores(
                    one.name, mean_by_presentation(one.dev)[0], mean_by_presentation(one.test)[0]
                )
                for one in folds
            ],
            confidence=confidence,
            seed=seed,
        )
        first = self.folds[0]
        return rates.accuracy(
            dataset=first.name,
            dataset_digest=self.digest,
            simulated=first.simulated,
            protocol=self.protocol,
            invoke_ns=outputs.invoke_ns,
            pass_ns=outputs.pass_ns,
            faces=self.preprocessing(card).face_box,
            basis=tuple(dict.fromkeys(text for fold in self.folds for text in fold.basis)),
            frames=sum(len(one.test) for one in folds),
            frames_without_score=sum(one.test.failures_to_acquire for one in folds),
        )
