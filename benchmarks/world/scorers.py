"""All that scores frames here: classical detectors, public networks, and networks trained on the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.world import features
from swapbench.cards import read_card
from swapbench.data.dataset import SPLITS
from swapbench.data.preprocess import normalise, prepare
from swapbench.pad.metrics import FoldScores
from swapbench.pad.rates import auc
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.pad.scores import Scored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.dataset import Dataset
    from swapbench.data.samples import Sample
    from swapbench.records import ModelCard

    Floats = NDArray[np.float64]

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_BATCH = 64


def scored(samples: Sequence[Sample], scores: Floats) -> Scored:
    """Scores with what is known of the frames; each frame of these data is a presentation."""
    return Scored.of(
        [sample.presentation for sample in samples],
        [sample.subject for sample in samples],
        [sample.bona_fide for sample in samples],
        [sample.species for sample in samples],
        scores,
    )


Tables = dict[str, dict[str, "Floats"]]
"""Split -> kind of features -> [samples, numbers]."""


def tables_of(data: Dataset) -> Tables:
    """All features of every split."""
    return {split: features.table(data.samples(split)) for split in SPLITS}


def classical(data: Dataset, known: Tables | None = None) -> dict[str, FoldScores]:
    """A logistic regression on each kind of features: fitted on train, its strength chosen on dev, by AUC."""
    tables = tables_of(data) if known is None else known
    labels = {
        split: np.array([sample.bona_fide for sample in data.samples(split)], np.int64) for split in SPLITS
    }
    found = {}
    for name in tables["train"]:
        columns = {split: table[name] for split, table in tables.items()}
        scores = _regression(columns, labels)
        found[name] = FoldScores(
            name, *(scored(data.samples(split), scores[split]) for split in ("dev", "test"))
        )
    return found


def classical_unseen(data: Dataset, tables: Tables, domain: str) -> FoldScores:
    """The regression on spectra and colours, fitted without a domain and tested there."""
    kept = {
        split: np.array([(sample.domain == domain) == (split == "test") for sample in data.samples(split)])
        for split in SPLITS
    }
    samples = {
        split: [one for one, keep in zip(data.samples(split), kept[split], strict=True) if keep]
        for split in SPLITS
    }
    columns = {split: tables[split]["spectra and colours"][kept[split]] for split in SPLITS}
    labels = {
        split: np.array([sample.bona_fide for sample in of_split], np.int64)
        for split, of_split in samples.items()
    }
    scores = _regression(columns, labels)
    return FoldScores(domain, *(scored(samples[split], scores[split]) for split in ("dev", "test")))


def _regression(columns: Mapping[str, Floats], labels: Mapping[str, NDArray[np.int64]]) -> dict[str, Floats]:
    from sklearn.linear_model import LogisticRegression

    mean, spread = columns["train"].mean(axis=0), columns["train"].std(axis=0) + 1e-9
    scaled = {split: (table - mean) / spread for split, table in columns.items()}
    real = labels["dev"] == 1
    best, chosen = -1.0, {}
    for strength in _STRENGTHS:
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
        model.fit(scaled["train"], labels["train"])
        scores = {split: np.asarray(model.decision_function(scaled[split])) for split in ("dev", "test")}
        area = auc(scores["dev"][real], scores["dev"][~real])
        if area > best:
            best, chosen = area, scores
    return chosen


def detector(data: Dataset, file: Path, card: ModelCard, cache: Path) -> FoldScores:
    """A public ONNX file, fed and read as its card says."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    folds = []
    for split in ("dev", "test"):
        prepared = prepare(data.samples(split), card.preprocessing, cache)
        crops = prepared.crops()
        rows: list[Floats] = []
        for start in range(0, len(crops), _BATCH):
            images = normalise(crops[start : start + _BATCH], card.preprocessing).transpose(0, 3, 1, 2)
            rows.extend(np.asarray(row, np.float64).ravel() for row in session.run(None, {name: images})[0])
        folds.append(scored(data.samples(split), bona_fide_scores(rows, card.output)))
    return FoldScores(file.name, *folds)


def network(data: Dataset, card_path: Path, cache: Path, fold: str) -> FoldScores:
    """A network that was trained on the world, in float32."""
    from swapbench.workshop.nets.checkpoint import load_network
    from swapbench.workshop.train.dev_scoring import network_scores

    card = read_card(card_path)
    net = load_network(card, card_path)
    folds = []
    for split in ("dev", "test"):
        prepared = prepare(data.samples(split), card.preprocessing, cache)
        folds.append(
            scored(data.samples(split), network_scores(net, prepared, card.preprocessing, card.output))
        )
    return FoldScores(fold, *folds)
