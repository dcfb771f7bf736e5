"""The result of a training as a small file that stays in the repository, and how it comes about."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.decide.studies import RANKED
from benchmarks.decide.worlds import ROOT
from benchmarks.world.scorers import scored
from swapbench.cards import read_card
from swapbench.data.dataset import SPLITS
from swapbench.data.modalities import in_modality
from swapbench.data.preprocess import prepare
from swapbench.data.protocol import open_data
from swapbench.files import write_atomically
from swapbench.pad.metrics import FoldScores, evaluate_folds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.decide.studies import Planned
    from swapbench.commands.study_table import Training
    from swapbench.data.samples import Sample
    from swapbench.records import ModelCard

KEPT: Final = ROOT / "reports" / "compression" / "evidence"
_FORMAT: Final = 1
LOGIT_UNIT, _LOGIT_MOST = 0.01, 20.0


@dataclass(frozen=True)
class Evidence:
    """A result that is kept.

    Attributes:
        arm: of the study.
        domain: left out; "" for none.
        seed: of the training.
        content: of the file.
    """

    arm: str
    domain: str
    seed: int
    content: dict[str, Any]

    @property
    def auc(self) -> float:
        """Area under the curve on the test presentations."""
        return float(self.content["auc"])


def path_of(study: str, training: Training) -> Path:
    """Where the result of a training is kept."""
    return KEPT / study / f"{training.job.name}.json"


def kept(study: str, training: Training) -> Evidence | None:
    """The result of this very training; None where there is none, or one of another recipe."""
    try:
        content = json.loads(path_of(study, training).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if (content.get("format"), content.get("key")) != (_FORMAT, training.job.key):
        return None
    return Evidence(training.arm, training.domain, training.seed, content)


def keep(planned: Planned, training: Training) -> None:
    """Test what a training left, and keep the result."""
    study = planned.study
    card = read_card(ROOT / training.job.card)
    assert card.training is not None
    options = study.data_options(training.domain)
    (own,) = open_data(
        ROOT / planned.data.folder, protocol=options.protocol, splits=("dev",), images=_images(planned)
    )
    unseen = tuple(_unseen(planned, options.protocol))
    logits = {
        name: _logits(card, ROOT / training.job.card, samples)
        for name, samples in (("dev", own.samples("dev")), ("test", unseen))
    }
    fold = FoldScores(
        training.job.name, scored(own.samples("dev"), logits["dev"]), scored(unseen, logits["test"])
    )
    rates, target = evaluate_folds([fold]), _target(options.protocol)
    content: dict[str, Any] = {
        "format": _FORMAT,
        "key": training.job.key,
        "simulated": True,
        "data": planned.data.folder.name,
        "tested_on": f"people of {target} that no training saw" if target else "the test split",
        "people": rates.subjects,
        "presentations": rates.bona_fide + rates.attacks,
        "auc": round(rates.auc, 5),
        "acer": round(rates.acer, 5),
        "hter": round(rates.hter, 5),
        "bpcer": round(rates.bpcer.rate, 5),
        "apcer": {name: round(share.rate, 5) for name, share in rates.apcer_by_species.items()},
        "dev_eer": round(rates.dev_eer, 5),
        "threshold_logit": None if rates.threshold is None else round(rates.threshold, 4),
        "seconds": card.training.seconds,
        "machine": card.training.machine,
        "commit": card.training.commit,
    }
    if "channels" in card.architecture:
        content["channels"] = list(card.architecture["channels"])
    searched = (ROOT / training.job.card).with_suffix(".search.csv")
    if searched.is_file():
        content["search"] = _searched(searched, whole=training.seed == 1)
    if planned.keeps_scores:
        units = np.clip(logits["test"], -_LOGIT_MOST, _LOGIT_MOST) / LOGIT_UNIT
        content["presentations_in"] = _presentations(study.name, unseen, training.domain)
        content["logits_in_hundredths"] = [round(float(value)) for value in units]
    write_atomically(path_of(study.name, training), json.dumps(content) + "\n")


def _presentations(study: str, samples: tuple[Sample, ...], domain: str) -> str:
    """Write, once a study and domain, who and what was tested; the name of the file."""
    name = ".".join(filter(None, ("presentations", domain, "json")))
    about = {
        "subject": [sample.subject for sample in samples],
        "species": [sample.species for sample in samples],
    }
    write_atomically(KEPT / study / name, json.dumps(about) + "\n")
    return name


def _images(planned: Planned) -> Path | None:
    images = planned.data.images
    return None if images is None else ROOT / images


def _target(protocol: str | None) -> str:
    return (protocol or "").partition(":")[2]


def _unseen(planned: Planned, protocol: str | None) -> Iterator[Sample]:
    """The test split or, where a domain is left out, everybody of that domain.

    Where a species is left out too, only its test split shows that one, and a held-out domain is no test: its
    test split is not looked at.
    """
    target = _target(protocol)
    if not target:
        (data,) = open_data(ROOT / planned.data.folder, splits=("test",), images=_images(planned))
        yield from data.samples("test")
        return
    splits = SPLITS[:2] if planned.data.without else SPLITS
    (data,) = open_data(ROOT / planned.data.folder, splits=splits, images=_images(planned))
    for split in splits:
        yield from (sample for sample in data.samples(split) if sample.domain == target)


def _logits(card: ModelCard, path: Path, samples: tuple[Sample, ...]) -> NDArray[np.float64]:
    """Log odds of bona fide, of every sample."""
    from swapbench.workshop.nets import modalities_of
    from swapbench.workshop.nets.checkpoint import load_network
    from swapbench.workshop.pipeline.crops import of_one_channel
    from swapbench.workshop.train.dev_scoring import network_scores

    size, cache = card.preprocessing, ROOT / "build" / "decide" / "crops"
    beside = [
        prepare(in_modality(samples, name, size.face_box), of_one_channel(size), cache)
        for name in modalities_of(card.architecture)
    ]
    prepared = prepare(samples, size, cache)
    scores = network_scores(load_network(card, path), prepared, size, card.output, beside=beside)
    clipped = np.clip(scores, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _searched(path: Path, *, whole: bool) -> dict[str, Any]:
    """What a search came to, and some of its structures from the best to the worst."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["fitness"]))
    found: dict[str, Any] = {"candidates": len(rows), "best_fitness": float(rows[0]["fitness"])}
    if whole:
        places = [round(number * (len(rows) - 1) / (RANKED - 1)) for number in range(RANKED)]
        found["ranked"] = [rows[place] for place in places]
    return found
