"""The table by which a simulated world is accepted: what must hold, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.compression.trainings import DOMAINS, fold
from benchmarks.world import scorers
from benchmarks.world.trainings import TRAINEES
from swapbench.data.dataset import SPLITS
from swapbench.data.protocol import open_data
from swapbench.pad.intervals import People
from swapbench.pad.metrics import ErrorRates, FoldScores, evaluate_folds
from swapbench.pad.rates import auc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swapbench.data.dataset import Dataset
    from swapbench.records import Interval, ModelCard

SHORTCUT_AUC, REAL_AUC, REAL_SPECIES_AUC = 0.65, 0.80, 0.70
STUDENT_ACER, TEACHER_RATIO = (0.02, 0.08), 0.6
UNSEEN_HTER, UNSEEN_LOSS = (0.10, 0.25), 0.05


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        name: what was measured.
        accepted: what must hold, in words; empty where a line only informs.
        measured: numbers with intervals, or why there are none.
        holds: None where it is absent or nothing must hold.
    """

    name: str
    accepted: str
    measured: str
    holds: bool | None = None

    @property
    def verdict(self) -> str:
        """Yes, no, or nothing."""
        return {True: "yes", False: "no", None: ""}[self.holds]


@dataclass
class World:
    """The data of a world, and everything that was measured of it, each thing once.

    Attributes:
        data: folder of the data.
        trained: folder of the networks.
        cache: folder for crops.
        seeds: how many networks of each kind are looked for.
    """

    data: Path
    trained: Path
    cache: Path
    seeds: int
    _rates: dict[str, ErrorRates] = field(default_factory=dict)

    def rates(self, name: str) -> ErrorRates | None:
        """Error rates of a network in its own test split, a fold for each seed; None: it is not trained."""
        if name not in self._rates:
            trainee = TRAINEES[name]
            folds = self._folds(name, trainee.protocol)
            if not folds:
                return None
            self._rates[name] = evaluate_folds(folds)
        return self._rates[name]

    def _folds(self, name: str, protocol: str) -> list[FoldScores]:
        """Scores of the networks that are there, on the data of a protocol."""
        cards = {seed: TRAINEES[name].card(self.trained, seed) for seed in range(1, self.seeds + 1)}
        there = {seed: card for seed, card in cards.items() if card.is_file()}
        if not there:
            return []
        (data,) = open_data(self.data, protocol=protocol or None, splits=("dev", "test"))
        return [
            scorers.network(data, card, self.cache, f"{name} seed {seed} {protocol}")
            for seed, card in there.items()
        ]

    def unseen(self) -> tuple[ErrorRates, ErrorRates] | None:
        """Without each domain, tested there, and the student that saw them all on the same people."""
        apart, together = [], []
        for domain in DOMAINS:
            there = self._folds(f"without-{domain}", fold(domain))
            if not there:
                return None
            apart += there
            together += self._folds("student", fold(domain))
        return (evaluate_folds(apart), evaluate_folds(together)) if together else None


def _span(value: float, interval: Interval | None, unit: float = 1.0, digits: int = 3) -> str:
    text = f"{value * unit:.{digits}f}"
    if interval is not None:
        text += f" [{interval.low * unit:.{digits}f}, {interval.high * unit:.{digits}f}]"
    return text


def _acer(rates: ErrorRates) -> str:
    species = ", ".join(f"{name} {100 * share.rate:.1f}" for name, share in rates.apcer_by_species.items())
    text = (
        f"ACER {_span(rates.acer, rates.acer_interval, 100, 1)} %, AUC {_span(rates.auc, rates.auc_interval)}"
    )
    return f"{text}; APCER {species}; {_seeds(len(rates.folds))}"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def of_classical(world: World) -> list[Line]:
    """Lines of the shortcuts and of spectra and colours, and the latter beside the student."""
    (data,) = open_data(world.data, splits=SPLITS)
    tables = scorers.tables_of(data)
    found = scorers.classical(data, tables)
    lines = []
    for name, scores in found.items():
        rates = evaluate_folds([scores])
        if name == "spectra and colours":
            student = world.rates("student")
            holds = None if student is None else rates.acer > student.acer
            measured = _acer(rates).removesuffix("; 1 seed")
            if student is None:
                measured += "; the student is not trained"
            lines.append(Line(f"logistic regression, {name}", "ACER above the student's", measured, holds))
        else:
            area = max(rates.auc, 1 - rates.auc)
            measured = f"AUC {_span(rates.auc, rates.auc_interval)}"
            holds = area <= SHORTCUT_AUC
            lines.append(Line(f"logistic regression, {name}", f"AUC at most {SHORTCUT_AUC}", measured, holds))
    if {sample.domain for sample in data.samples("train")} == set(DOMAINS):
        lines.append(_classical_unseen(data, tables, found["spectra and colours"]))
    return lines


def _classical_unseen(data: Dataset, tables: scorers.Tables, seen: FoldScores) -> Line:
    """How much the regression loses on a domain that it did not see; only the network's loss must hold."""
    apart = [scorers.classical_unseen(data, tables, domain) for domain in DOMAINS]
    domains = np.array([sample.domain for sample in data.samples("test")])
    together = [FoldScores(domain, seen.dev, seen.test.rows(domains == domain)) for domain in DOMAINS]
    rates, known = evaluate_folds(apart), evaluate_folds(together)
    by_domain = ", ".join(f"{errors.fold} {100 * errors.hter:.1f}" for errors in rates.folds)
    measured = (
        f"HTER {_span(rates.hter, rates.hter_interval, 100, 1)} % ({by_domain}), "
        f"AUC {_span(rates.auc, rates.auc_interval)} against {known.auc:.3f}"
    )
    return Line("logistic regression, spectra and colours, on a domain not seen", "", measured)


def of_detector(world: World, file: Path, card: ModelCard) -> list[Line]:
    """Lines of a public network: all attacks, and each species against bona fide."""
    (data,) = open_data(world.data, splits=("dev", "test"))
    scores = scorers.detector(data, file, card, world.cache)
    test = scores.test.acquired
    area, interval = auc(test.bona_fide, test.attacks), _auc_interval(scores)
    lines = [
        Line(
            f"{file.name} ({card.name})",
            f"AUC at least {REAL_AUC:.2f}",
            f"AUC {_span(area, interval)}",
            area >= REAL_AUC,
        )
    ]
    for species in test.attacks_by_species:
        rows = test.rows((test.species == species) | test.is_bona_fide)
        alone = FoldScores(species, None, rows)
        area = auc(rows.bona_fide, rows.attacks)
        lines.append(
            Line(
                f"  {species} alone",
                f"AUC at least {REAL_SPECIES_AUC:.2f}",
                f"AUC {_span(area, _auc_interval(alone))}",
                area >= REAL_SPECIES_AUC,
            )
        )
    return lines


def _auc_interval(scores: FoldScores) -> Interval | None:
    test = scores.test.acquired
    area = auc(test.bona_fide, test.attacks)
    people = People.of([test], 0.95, 1000, 0)
    return people.auc_and_eer([area], [0.0])[0]


def of_networks(world: World) -> list[Line]:
    """Lines of what was trained on the world."""
    student, teacher = world.rates("student"), world.rates("teacher")
    distilled, wide = world.rates("distilled"), world.rates("student-128")
    low, high = STUDENT_ACER
    return [
        _line(
            "student (MiniFASNetV2 from scratch)",
            f"ACER {100 * low:.0f} to {100 * high:.0f} %",
            student,
            lambda rates: low <= rates.acer <= high,
        ),
        _line(
            "teacher (ResNet-18)",
            f"ACER at most {TEACHER_RATIO} times the student's",
            teacher,
            lambda rates: None if student is None else rates.acer <= TEACHER_RATIO * student.acer,
        ),
        _line(
            "distilled",
            "ACER between the two",
            distilled,
            lambda rates: (
                None if student is None or teacher is None else teacher.acer <= rates.acer <= student.acer
            ),
        ),
        _line(
            "student at 128 px",
            "replay's APCER below the student's",
            wide,
            lambda rates: None if student is None else _replay(rates) < _replay(student),
        ),
        _unseen(world),
    ]


def _replay(rates: ErrorRates) -> float:
    return rates.apcer_by_species["replay"].rate


def _line(
    name: str, accepted: str, rates: ErrorRates | None, holds: Callable[[ErrorRates], bool | None]
) -> Line:
    if rates is None:
        return Line(name, accepted, "absent: not trained; python -m benchmarks.world train")
    return Line(name, accepted, _acer(rates), holds(rates))


def _unseen(world: World) -> Line:
    low, high = UNSEEN_HTER
    name = "student on a domain that it did not see"
    accepted = f"HTER {100 * low:.0f} to {100 * high:.0f} %, AUC at least {UNSEEN_LOSS} lower than seen"
    found = world.unseen()
    if found is None:
        return Line(name, accepted, "absent: not all are trained; python -m benchmarks.world train")
    apart, together = found
    by_domain = ", ".join(
        f"{domain} {100 * fmean(errors.hter for errors in apart.folds if errors.fold.endswith(domain)):.1f}"
        for domain in DOMAINS
    )
    measured = (
        f"HTER {_span(apart.hter, apart.hter_interval, 100, 1)} % ({by_domain}), "
        f"AUC {_span(apart.auc, apart.auc_interval)} against {together.auc:.3f}; "
        f"{_seeds(len(apart.folds) // len(DOMAINS))}"
    )
    holds = low <= apart.hter <= high and together.auc - apart.auc >= UNSEEN_LOSS
    return Line(name, accepted, measured, holds)


def as_markdown(lines: Sequence[Line]) -> str:
    """The table as Markdown."""
    rows = [f"| {line.name} | {line.accepted} | {line.measured} | {line.verdict} |" for line in lines]
    return "\n".join(["| what | accepted when | measured | holds |", "|---|---|---|---|", *rows])
