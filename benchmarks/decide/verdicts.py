"""What the kept results say so far: arms, and pairs of arms that share target, domain and seed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from benchmarks.decide import paired, progress, studies
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
            yield from _rank(one) if name == "rank" else _pairs(one)
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


def _pairs(stands: Standing) -> Iterator[str]:
    """Its questions: in AUC and ACER, over people and seeds where the scores are kept."""
    study, lines = stands.planned.study.name, []
    for arm, other in stands.planned.questions:
        shared = _shared(stands, arm, other)
        if shared and stands.planned.keeps_scores:
            of_auc, of_acer = (str(paired.difference(shared, study, value)) for value in _VALUES)
            lines.append((f"{arm} less {other}", str(len(shared)), of_auc, of_acer, _ratios(shared)))
    if lines:
        yield ""
        yield "Differences in points, 95 % over people and seeds; both arms saw the same people:"
        yield ""
        heads = ("arms", "pairs", "AUC", "ACER", "1 - ACER kept, error ratio")
        yield from _table(heads, lines)


_VALUES: Final = (paired.auc, paired.acer)


def _shared(stands: Standing, arm: str, other: str) -> list[tuple[Evidence, Evidence]]:
    """Results of two arms in the same domain with the same seed; an arm of one seed stands for all."""
    ours, theirs = stands.of(arm), stands.of(other)
    alone = {domain: one for (domain, _), one in theirs.items()} if len(_seeds(theirs)) == 1 else {}
    found = [(one, theirs.get(pair, alone.get(pair[0]))) for pair, one in ours.items()]
    return [(one, held) for one, held in found if held is not None]


def _seeds(results: Iterable[tuple[str, int]]) -> set[int]:
    return {seed for _, seed in results}


def _ratios(shared: Sequence[tuple[Evidence, Evidence]]) -> str:
    """How much of 1 - ACER is kept, and the errors against the other arm's, of the mean ACERs."""
    ours, theirs = (statistics.fmean(float(one[at].content["acer"]) for one in shared) for at in (0, 1))
    kept = f"{100 * (1 - ours) / (1 - theirs):.1f} %"
    return f"{kept}, {ours / theirs:.2f}" if theirs else kept


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
