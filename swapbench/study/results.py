"""What a study came to: a line a training, arms over their seeds, and arms against the first, in pairs."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench import stats, units
from swapbench.texts import inert_cell, spaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CONFIDENCE: Final = 0.95
_SHARES: Final = ("eer", "auc")
"""Results that are shown in per cent; they are fractions of 1."""


@dataclass(frozen=True)
class Result:
    """What a training came to.

    Attributes:
        arm: its arm.
        domain: left out of its training data; "" where none was.
        seed: of the training.
        state: as in engine.JobNow.
        values: on the development split: eer and auc as fractions of 1, loss.
        seconds: of training, as its card says.
        card: where it is.
    """

    arm: str
    domain: str
    seed: int
    state: str
    values: Mapping[str, float]
    seconds: float | None = None
    card: str = ""


@dataclass(frozen=True)
class Spread:
    """Numbers of some trainings.

    Attributes:
        count: how many.
        mean: of the domains' means.
        sd: over the seeds of a domain (n - 1), the domains' variances averaged; None with one seed each.
    """

    count: int
    mean: float
    sd: float | None


@dataclass(frozen=True)
class Paired:
    """An arm less another one, over the trainings that share domain and seed.

    Attributes:
        count: pairs.
        mean: of the differences.
        sd: of them (n - 1); None for one pair.
        low: lower end of Student's interval of the mean; None for one pair.
        high: its upper end.
    """

    count: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


def spread(results: Iterable[Result], name: str) -> Spread | None:
    """A value over the trainings of an arm; None where none has it."""
    by_domain: dict[str, list[float]] = {}
    for result in results:
        if name in result.values:
            by_domain.setdefault(result.domain, []).append(result.values[name])
    if not by_domain:
        return None
    several = [statistics.variance(values) for values in by_domain.values() if len(values) > 1]
    return Spread(
        sum(map(len, by_domain.values())),
        statistics.mean(map(statistics.mean, by_domain.values())),
        statistics.mean(several) ** 0.5 if several else None,
    )


def paired(results: Iterable[Result], arm: str, other: str, name: str) -> Paired | None:
    """`arm` less `other` in a value; None without a pair."""
    values = {
        (result.arm, result.domain, result.seed): result.values[name]
        for result in results
        if name in result.values
    }
    differences = [
        value - values[other, domain, seed]
        for (of, domain, seed), value in values.items()
        if of == arm and (other, domain, seed) in values
    ]
    if not differences:
        return None
    count, mean = len(differences), statistics.mean(differences)
    if count == 1:
        return Paired(1, mean, None, None, None)
    sd = statistics.stdev(differences)
    half = stats.t_quantile((1 + CONFIDENCE) / 2, count - 1) * sd / count**0.5
    return Paired(count, mean, sd, mean - half, mean + half)


def names_of(results: Iterable[Result]) -> tuple[str, ...]:
    """The values that any training has, in their order."""
    return tuple(dict.fromkeys(name for result in results for name in result.values))


def as_csv(results: Sequence[Result]) -> str:
    """A line a training; empty where a number does not exist."""
    names = names_of(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("arm", "domain", "seed", "state", *(f"dev_{name}" for name in names), "seconds", "card")
    writer.writerow(head)
    for result in results:
        values = [result.values.get(name) for name in names]
        numbers = ["" if value is None else repr(value) for value in (*values, result.seconds)]
        texts = (inert_cell(result.arm), inert_cell(result.domain), result.seed, result.state)
        writer.writerow((*texts, *numbers, inert_cell(result.card)))
    return text.getvalue()


def as_markdown(results: Sequence[Result], title: str, notes: Sequence[str] = ()) -> str:
    """The arms over their seeds, their differences to the first, and the trainings one by one."""
    return "\n".join(_markdown(results, title, notes)) + "\n"


def _markdown(results: Sequence[Result], title: str, notes: Sequence[str]) -> Iterator[str]:
    arms, names = tuple(dict.fromkeys(result.arm for result in results)), names_of(results)
    yield f"# {_cell(title)}"
    yield ""
    yield "On the development split, which also chose epochs where recipes let it: a ranking, not a result."
    yield "Mean of the domains' means; ± is the standard deviation over seeds within a domain."
    yield ""
    yield from _table(
        ("arm", "trainings", *map(_heading, names), "time"),
        (
            (
                arm,
                f"{sum(1 for one in of_arm if one.values)} of {len(of_arm)}",
                *(_spread_text(spread(of_arm, name), name) for name in names),
                _time_text(of_arm),
            )
            for arm in arms
            if (of_arm := [result for result in results if result.arm == arm])
        ),
    )
    if len(arms) > 1 and names:
        yield ""
        yield f"## Difference to {_cell(arms[0])}"
        yield ""
        yield (
            "Over the trainings that share domain and seed: mean difference with Student's 95 % interval, "
            "and the pairs."
        )
        yield ""
        yield from _table(
            ("arm", *map(_heading, names)),
            (
                (arm, *(_paired_text(paired(results, arm, arms[0], name), name) for name in names))
                for arm in arms[1:]
            ),
        )
    yield ""
    yield "## Trainings"
    yield ""
    yield from _table(
        ("arm", "domain left out", "seed", "state", *map(_heading, names), "card"),
        (
            (
                *(result.arm, result.domain or units.NOT_MEASURED, str(result.seed), result.state),
                *(_value_text(result.values.get(name), name) for name in names),
                result.card or units.NOT_MEASURED,
            )
            for result in results
        ),
    )
    for note in notes:
        yield ""
        yield _cell(note)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for line in lines:
        yield "| " + " | ".join(map(_cell, line)) + " |"


def _cell(text: str) -> str:
    return spaced(text).replace("|", "\\|").replace("<", "&lt;")


def _heading(name: str) -> str:
    return f"{name.upper() if name in _SHARES else name}{', %' if name in _SHARES else ''}"


def _show(name: str) -> Callable[[float], str]:
    return (lambda value: f"{100 * value:.2f}") if name in _SHARES else (lambda value: f"{value:.4f}")


def _value_text(value: float | None, name: str) -> str:
    return units.NOT_MEASURED if value is None else _show(name)(value)


def _spread_text(found: Spread | None, name: str) -> str:
    if found is None:
        return units.NOT_MEASURED
    show = _show(name)
    return show(found.mean) if found.sd is None else f"{show(found.mean)} ± {show(found.sd)}"


def _paired_text(found: Paired | None, name: str) -> str:
    if found is None:
        return units.NOT_MEASURED
    show = _show(name)
    text = f"{'+' if found.mean > 0 else ''}{show(found.mean)}"
    if found.low is not None and found.high is not None:
        text += f" [{show(found.low)}, {show(found.high)}]"
    return f"{text} ({found.count})"


def _time_text(results: Sequence[Result]) -> str:
    known = [result.seconds for result in results if result.seconds is not None]
    return units.time_span(sum(known)) if known else units.NOT_MEASURED
