"""What every skin of the trends says in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swapbench import stats, units
from swapbench.report.trends.series import SEARCHED
from swapbench.repository import ABBREVIATED

if TYPE_CHECKING:
    from swapbench.history import MeasuredAt
    from swapbench.report.trends.series import Change, Series
    from swapbench.repository import Commit

METHOD: Final = (
    "Changes: E-divisive (Matteson and James 2014) with a permutation test at "
    f"{stats.LEVEL:g} a series, over its last {SEARCHED} points; in sizes and counts of a file every "
    "difference is one. A slow drift can look like a change."
)


def plural(count: int, thing: str) -> str:
    """'1 point', '2 points'."""
    return f"{count} {thing}{'s' * (count != 1)}"


def short(at: MeasuredAt) -> str:
    """The name of a commit as people read it, with + where files differed from it."""
    return at.commit[:ABBREVIATED] + "+" * at.changed


def commit_text(commit: Commit) -> str:
    """A commit in a line."""
    return f"{commit.name[:ABBREVIATED]} {commit.subject}".rstrip()


def by_how_much(series: Series, change: Change) -> str:
    """'+12.3 %', or both numbers where there is no ratio."""
    if change.relative is None:
        return f"{series.text(change.before.median)} to {series.text(change.after.median)}"
    return f"{'+' if change.relative > 0 else '−'}{units.percent(abs(change.relative))}"


def change_sentence(series: Series, change: Change) -> str:
    """A change in a sentence."""
    point, last = series.points[change.place], series.points[change.place - 1]
    direction = {True: "worse", False: "better", None: "changed"}[series.worse(change)]
    before, after = series.level_text(change.before), series.level_text(change.after)
    start = (
        f"{direction} by {by_how_much(series, change)} since {point.time:%Y-%m-%d}, "
        f"{short(last.at)} to {short(point.at)}: "
    )
    if change.p is None:
        return f"{start}{before} to {after}"
    return (
        f"{start}median of {change.before.points} {before}, of {change.after.points} {after} "
        f"(p = {change.p:.2g})"
    )
