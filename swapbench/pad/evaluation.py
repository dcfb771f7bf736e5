"""What models are judged on: the folds of a protocol, and the way from a network's outputs to an `Accuracy`.

One object serves all models of a run. It knows nothing of devices and runtimes: it is handed their outputs.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from swapbench.data.preprocess import prepare_all
from swapbench.errors import BadDataset, UserError
from swapbench.files import private_folder
from swapbench.pad import metrics
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.pad.score_files import data_label
from swapbench.pad.scores import FoldFrames, Scored
from swapbench.records import FailedFrames

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
    FrameKey = tuple[Path, int, int]


_NUMBER = re.compile(r"\d[\d.]*")


@dataclass(frozen=True)
class Evaluation:
    """The data that accuracy is measured on.

    Attributes:
        folds: of one protocol; a frame that is in several of them is scored once
        cache: the folder that keeps crops and scores
        processes: how many threads prepare crops
        faces: where face boxes come from, for all models alike; None: from where each card says
        threshold: one that was frozen elsewhere; None: frozen on the development split, where there is one
    """

    folds: tuple[Dataset, ...]
    cache: Path
    processes: int
    faces: FaceBoxes | None = None
    threshold: float | None = None

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """Every frame of the development and test splits once, in the order of the folds."""
        frames = (
            sample for fold in self.folds for split in ("dev", "test") for sample in fold.samples(split)
        )
        first: dict[FrameKey, Sample] = {}
        for sample in frames:
            first.setdefault(_key(sample), sample)
        return tuple(first.values())

    @cached_property
    def _rows(self) -> tuple[tuple[Rows, Rows], ...]:
        """The development and test frames of each fold, as indexes into `samples`."""
        index = {_key(sample): row for row, sample in enumerate(self.samples)}

        def rows(fold: Dataset, split: str) -> Rows:
            return np.array([index[_key(sample)] for sample in fold.samples(split)], dtype=np.intp)

        return tuple((rows(fold, "dev"), rows(fold, "test")) for fold in self.folds)

    @property
    def data(self) -> str:
        """What score files say of the data, in every row."""
        return data_label(self.folds[0].name, simulated=self.folds[0].simulated)

    @cached_property
    def digest(self) -> str:
        """sha256 of what the scores depend on: content, labels and boxes of every frame, and its fold."""
        digests = [fold.digest(("dev", "test")) for fold in self.folds]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()

    @property
    def development(self) -> Rows:
        """The development frames of the first fold, else its test frames, as indexes into `samples`."""
        dev, test = self._rows[0]
        return dev if dev.size else test

    def test_presentations(self, failures: Iterable[int]) -> dict[str, list[int]]:
        """The test presentations of the first fold: name -> indexes of its frames into `samples`, in order.

        Args:
            failures: indexes of frames without a crop, which are left out
        """
        lost = set(failures)
        rows = sorted(set(self._rows[0][1].tolist()) - lost, key=lambda row: self.samples[row].frame)
        presentations: dict[str, list[int]] = {}
        for row in rows:
            presentations.setdefault(self.samples[row].presentation, []).append(row)
        return presentations

    @property
    def protocol(self) -> str:
        """The protocol in words."""
        first = self.folds[0]
        return first.protocol or f"{'dev and ' if first.samples('dev') else ''}test of the dataset folder"

    def preprocessing(self, card: Preprocessing) -> Preprocessing:
        """The card's preprocessing with this evaluation's source of face boxes."""
        return card if self.faces is None else card.replace(face_box=self.faces)

    def prepared(
        self, cards: Iterable[Preprocessing], progress: Progress | None = None
    ) -> dict[Preprocessing, Prepared]:
        """The crops of all samples for each card's preprocessing; every file is decoded once for all."""
        preprocessings = tuple(dict.fromkeys(cards))
        private_folder(self.cache / "scores")
        prepared = prepare_all(
            self.samples,
            [self.preprocessing(card) for card in preprocessings],
            private_folder(self.cache / "crops"),
            self.processes,
            progress=None if progress is None else partial(progress, "reading frames"),
        )
        return dict(zip(preprocessings, prepared, strict=True))

    def prepared_rows(self, rows: Rows, cards: Sequence[Preprocessing]) -> list[Prepared]:
        """The crops of some samples, by their indexes, for several cards' preprocessings."""
        chosen = [self.samples[row] for row in rows]
        wanted = [self.preprocessing(card) for card in cards]
        return prepare_all(chosen, wanted, private_folder(self.cache / "crops"), self.processes)

    @cached_property
    def _unscored(self) -> Scored:
        """All frames, without their scores."""
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
        """Scores of every frame of every fold.

        Args:
            outputs: of the network, a row per frame of `samples`
            meaning: what the card says of them
            failures: index of a frame without a crop -> the reason; its score becomes NaN

        Raises:
            BadCard: the outputs do not have the shape that the card says
            NotValid: an output or a score is not finite
        """
        scores = bona_fide_scores(outputs.rows, meaning, outputs.tensors).copy()  # it may be a view
        scores[list(failures)] = math.nan
        numbers = np.array([sample.frame for sample in self.samples], dtype=np.int64)
        frames = self._unscored.with_scores(scores)
        return tuple(
            FoldFrames(
                name=fold.fold,
                dev=frames.rows(dev),
                test=frames.rows(test),
                dev_frame=numbers[dev],
                test_frame=numbers[test],
            )
            for fold, (dev, test) in zip(self.folds, self._rows, strict=True)
        )

    def failed_frames(self, failures: Mapping[int, str]) -> tuple[FailedFrames, ...]:
        """Frames without a crop by their reason, the most frequent first.

        Reasons that differ only in numbers, such as that of a frame, are one.

        Args:
            failures: as in `fold_frames`
        """
        groups: dict[str, list[tuple[str, str]]] = {}
        for index, failure in sorted(failures.items()):
            name = self.samples[index].name
            reason = failure.removeprefix(f"{name}: ")
            groups.setdefault(_NUMBER.sub("0", reason), []).append((name, reason))
        return tuple(
            FailedFrames(
                reason=members[0][1],
                frames=len(members),
                files=tuple(dict.fromkeys(name for name, _ in members))[: FailedFrames.FILES_NAMED],
            )
            for members in sorted(groups.values(), key=len, reverse=True)
        )

    def accuracy(
        self,
        folds: Sequence[FoldFrames],
        outputs: Outputs,
        card: Preprocessing,
        prepared: Prepared,
        *,
        confidence: float,
        seed: int,
    ) -> Accuracy:
        """The error rates of these scores and everything that they rest on.

        Args:
            folds: scores of every frame of every fold, from `fold_frames`
            outputs: what they were computed from, for the time that it took
            card: the preprocessing of the model's card
            prepared: its crops, for the frames that have none and those whose crop leaves the frame
            confidence: of all intervals, between 0 and 1
            seed: of the bootstrap

        Raises:
            BadDataset: the scores cannot be evaluated, see `metrics.evaluate_folds`
            UserError: a threshold is given for several folds
        """
        failed = self.failed_frames(prepared.failures)
        try:
            rates = self._rates(folds, confidence, seed)
        except BadDataset as error:
            reasons = "".join(f"; {group.sentence}" for group in failed)
            raise BadDataset(f"{error.args[0]}{reasons}", remedy=error.remedy) from error
        first = self.folds[0]
        return rates.accuracy(
            metrics.ScoringPass(
                dataset=first.name,
                dataset_digest=self.digest,
                simulated=first.simulated,
                protocol=self.protocol,
                invoke_ns=outputs.invoke_ns,
                pass_ns=outputs.pass_ns,
                faces=self.preprocessing(card).face_box,
                basis=tuple(dict.fromkeys(text for fold in self.folds for text in fold.basis)),
                frames=sum(len(fold.test) for fold in folds),
                frames_without_score=sum(fold.test.failures_to_acquire for fold in folds),
                failed_frames=failed,
                crops_at_border=sum(
                    row in prepared.at_border for _, test in self._rows for row in test.tolist()
                ),
            )
        )

    def _rates(
        self, folds: Sequence[FoldFrames], confidence: float, seed: int
    ) -> metrics.ErrorRates | metrics.TargetRates:
        """Errors at the frozen or the given threshold; without any, what the test scores alone say."""
        if self.threshold is not None and len(folds) > 1:
            raise UserError(
                f"a threshold is given for {len(folds)} folds, of which each freezes its own",
                remedy="Leave out --threshold, or choose one fold with --protocol.",
            )
        presentations = [metrics.FoldScores.of_frames(fold) for fold in folds]
        if self.threshold is None and (len(folds) > 1 or presentations[0].dev is not None):
            return metrics.evaluate_folds(presentations, confidence=confidence, seed=seed)
        return metrics.describe_without_dev(
            presentations[0].test, self.threshold, confidence=confidence, seed=seed
        )


def _key(sample: Sample) -> FrameKey:
    return sample.path, sample.frame, sample.spread
