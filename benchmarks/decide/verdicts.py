"""What the kept results say so far: arms, and pairs of arms that share target, domain and seed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from benchmarks.decide import progress, studies
from benchmarks.decide.evidence import KEPT
from benchmarks.decide.progress import Standing
from swapbench import stats
from swapbench.files import write_atomically
from swapbench.stats.sign_flips import change_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.decide.evidence import Evidence

    Pair = tuple[str, str, int]

DIGITS: Final = 1e-4
"""Unit of the differences of AUC in the sign-flip test, which counts in whole numbers."""

QUESTIONS: Final = (
    ("metapruning", "uniform", "what the search brings"),
    ("metammd_live", "metapruning", "what live-only alignment brings"),
    ("metammd_class", "metapruning", "what class-wise alignment brings"),
    ("metammd_live", "uniform", "both together"),
    ("flat", "uniform", "what a flat minimum brings, without a search"),
)
"""Pairs of arms of the decision; the first two are the primary ones."""


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


def compared(values: Sequence[float]) -> tuple[str, str]:
    """Mean difference in points with Student's 95 % interval, and p of an exact sign-flip test."""
    if len(values) < 2:
        return ("" if not values else f"{100 * values[0]:+.2f}", "")
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    half = stats.t_quantile(0.975, len(values) - 1) * deviation / len(values) ** 0.5
    p = change_p([round(value / DIGITS) for value in values])
    return f"{100 * mean:+.2f} [{100 * (mean - half):+.2f}, {100 * (mean + half):+.2f}]", f"{p:.3g}"


def _pairs_with_the_first(stands: Standing) -> Iterator[str]:
    first, *others = stands.arms
    lines = []
    for arm in others:
        for name, heading in (("auc", "AUC"), ("acer", "ACER")):
            values = differences(_results([stands], arm), _results([stands], first), name)
            if values:
                lines.append((f"{arm} less {first}", heading, str(len(values)), *compared(values)))
    if lines:
        yield ""
        yield from _table(("arms", "what", "pairs", "difference, points", "p"), lines)


def _decision(found: Sequence[Standing]) -> Iterator[str]:
    lines = []
    for arm, other, question in QUESTIONS:
        values = differences(_results(found, arm), _results(found, other))
        lines.append((question, f"{arm} less {other}", str(len(values)), *compared(values)))
    yield from _table(("question", "arms", "pairs", "AUC, points", "p (sign flips)"), lines)


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
