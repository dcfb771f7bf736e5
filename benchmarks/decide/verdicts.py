"""What the kept results say so far: arms, and pairs of arms that share target, domain and seed."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.decide import progress, studies
from benchmarks.decide.evidence import KEPT, LOGIT_UNIT
from benchmarks.decide.progress import Standing
from swapbench import stats
from swapbench.files import write_atomically
from swapbench.stats.sign_flips import change_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.decide.evidence import Evidence

    Pair = tuple[str, str, int]

DIGITS: Final = 1e-4
"""Unit of the differences of AUC in the sign-flip test, which counts in whole numbers."""

PRIMARY: Final = (
    ("metammd_live", "metapruning", "what live-only alignment brings"),
    ("metammd_class", "metapruning", "what class-wise alignment brings"),
)
SECONDARY: Final = (
    ("metapruning", "uniform", "what the search brings"),
    ("metammd_live", "uniform", "both together"),
    ("flat", "uniform", "what a flat minimum brings, without a search"),
)
"""Pairs of arms of the decision that differ in one thing."""

DRAWS, SEED = 2000, 0
"""Of people, for intervals of ACER."""


def write() -> Path:
    """Write the tables and return their file."""
    path = KEPT.with_name("decided.md")
    write_atomically(path, "\n".join(_text()) + "\n")
    return path


def _text() -> Iterator[str]:
    yield "# What the studies say so far"
    yield ""
    yield "Written by `python -m benchmarks.decide table` from `evidence/`. **Simulated data, world 2: not"
    yield "PAD performance.** A study that is not complete decides nothing."
    stands = {name: progress.standing(name) for name in studies.NAMES}
    yield ""
    yield from _table(("study", "trainings"), ((name, _done(one)) for name, one in stands.items()))
    for name, one in stands.items():
        if isinstance(one, Standing) and one.results and not name.startswith("decide-"):
            yield ""
            yield f"## {name}"
            yield ""
            yield from _arms([one])
            yield from _rank(one) if name == "rank" else _pairs_with_the_first(one)
    for title, targets in (("a domain", studies.DOMAINS), ("a species", studies.SPECIES)):
        found = [one for target in targets if isinstance(one := stands[f"decide-{target}"], Standing)]
        if any(one.results for one in found):
            yield ""
            yield f"## decide: without {title}"
            yield ""
            yield from _arms(found)
            yield ""
            yield from _decision(found)


def _done(stands: Standing | str) -> str:
    return stands if isinstance(stands, str) else f"{len(stands.results)} of {len(stands.trainings)}"


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for line in lines:
        yield "| " + " | ".join(line) + " |"


def _results(found: Sequence[Standing], arm: str) -> dict[Pair, Evidence]:
    return {
        (one.planned.study.name, domain, seed): result
        for one in found
        for (domain, seed), result in one.of(arm).items()
    }


def _arms(found: Sequence[Standing]) -> Iterator[str]:
    arms = dict.fromkeys(arm for one in found for arm in one.arms)
    lines = []
    for arm in arms:
        results = list(_results(found, arm).values())
        planned = sum(1 for one in found for training in one.trainings if training.arm == arm)
        values = [
            f"{100 * statistics.fmean(float(result.content[name]) for result in results):.2f}"
            if results
            else ""
            for name in ("auc", "acer", "hter")
        ]
        lines.append((arm, f"{len(results)} of {planned}", *values))
    yield from _table(("arm", "results", "AUC, %", "ACER, %", "HTER, %"), lines)


def differences(
    first: Mapping[Pair, Evidence], second: Mapping[Pair, Evidence], name: str = "auc"
) -> list[float]:
    """`first` less `second` in a value, over the pairs that both have."""
    return [
        float(result.content[name]) - float(second[pair].content[name])
        for pair, result in first.items()
        if pair in second
    ]


def spread_of(values: Sequence[float]) -> str:
    """Mean difference in points, with Student's 95 % interval where there are several."""
    if len(values) < 2:
        return f"{100 * values[0]:+.2f}" if values else ""
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    half = stats.t_quantile(0.975, len(values) - 1) * deviation / len(values) ** 0.5
    return f"{100 * mean:+.2f} [{100 * (mean - half):+.2f}, {100 * (mean + half):+.2f}]"


def flips_p(values: Sequence[float]) -> float | None:
    """p of an exact two-sided sign-flip test; None for fewer than two pairs."""
    return change_p([round(value / DIGITS) for value in values]) if len(values) > 1 else None


def with_p(lines: Sequence[tuple[tuple[str, ...], Sequence[float]]]) -> Iterator[tuple[str, ...]]:
    """Each line with its differences, p, and p after Holm's correction within these lines."""
    found = [flips_p(values) for _, values in lines]
    corrected = iter(stats.holm([p for p in found if p is not None]))
    for (cells, values), p in zip(lines, found, strict=True):
        ps = ("", "") if p is None else (f"{p:.3g}", f"{next(corrected):.3g}")
        yield (*cells, str(len(values)), spread_of(values), *ps)


def _pairs_with_the_first(stands: Standing) -> Iterator[str]:
    first, *others = stands.arms
    lines = []
    for name, heading in (("auc", "AUC"), ("acer", "ACER")):
        for arm in others:
            values = differences(_results([stands], arm), _results([stands], first), name)
            if values:
                lines.append(((f"{arm} less {first}", heading), values))
    if lines:
        yield ""
        yield from _table(("arms", "what", *_HEADS), with_p(lines))
    people = [(f"{arm} less {first}", over_people(stands, arm, first)) for arm in others if stands.of(arm)]
    if any(interval for _, interval in people):
        yield ""
        yield "ACER, points; the people of the test drawn again, the same for both, and seeds averaged:"
        yield ""
        yield from _table(("arms", "difference [95 %]"), [each for each in people if each[1]])


_HEADS: Final = ("pairs", "difference, points", "p (sign flips)", "p (Holm)")


def _decision(found: Sequence[Standing]) -> Iterator[str]:
    for title, questions in (("Primary", PRIMARY), ("Secondary", SECONDARY)):
        lines = [
            (
                (question, f"{arm} less {other}"),
                differences(_results(found, arm), _results(found, other)),
            )
            for arm, other, question in questions
        ]
        yield f"{title}, AUC:"
        yield ""
        yield from _table(("question", "arms", *_HEADS), with_p(lines))
        yield ""


def over_people(stands: Standing, arm: str, other: str) -> str:
    """The difference in ACER with its interval over people; empty without scores of both."""
    ours, theirs = stands.of(arm), stands.of(other)
    shared = [pair for pair in ours if pair in theirs]
    if not shared or not stands.planned.keeps_scores:
        return ""
    drawn = []
    for pair in shared:
        counts = [errors_of(one, stands.planned.study.name) for one in (ours[pair], theirs[pair])]
        random = np.random.default_rng(SEED)
        people = len(counts[0])
        weights = random.multinomial(people, np.full(people, 1 / people), DRAWS)
        weights = np.vstack([np.ones((1, people)), weights])
        drawn.append(acer(weights @ counts[0]) - acer(weights @ counts[1]))
    values = 100 * np.mean(drawn, axis=0)
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:+.2f} [{low:+.2f}, {high:+.2f}]"


def errors_of(result: Evidence, study: str) -> NDArray[np.float64]:
    """Of each person, for bona fide and each species: errors and presentations [people, 2 * kinds]."""
    about = json.loads((KEPT / study / result.content["presentations_in"]).read_text(encoding="utf-8"))
    logits = np.array(result.content["logits_in_hundredths"]) * LOGIT_UNIT
    accepted = logits >= result.content["threshold_logit"]
    species = np.array(about["species"])
    people = np.unique(about["subject"], return_inverse=True)[1]
    columns = []
    for kind in ["", *sorted(set(species) - {""})]:
        wrong = (species == kind) & (accepted if kind else ~accepted)
        columns += [np.bincount(people, wrong), np.bincount(people, species == kind)]
    return np.stack(columns, 1).astype(float)


def acer(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the BPCER and half the APCER of the worst species, of sums of `errors_of` [n, 2 * kinds]."""
    rates = counts[:, ::2] / np.maximum(counts[:, 1::2], 1)
    return np.asarray((rates[:, 0] + rates[:, 1:].max(1)) / 2)


def _rank(stands: Standing) -> Iterator[str]:
    results = [stands.of(arm).get(("", 1)) for arm in stands.arms]
    places = [place for place, one in enumerate(results) if one is not None]
    errors = [1 - one.auc for one in results if one is not None]
    rho = stats.spearman(places, errors) if len(places) > 2 else None
    if rho is not None:
        yield ""
        yield (
            "Spearman's rank correlation of the fitness with the error after training: "
            f"{rho:+.2f}, n = {len(places)}."
        )
