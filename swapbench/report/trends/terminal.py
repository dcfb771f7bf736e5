"""The skin of trends for a terminal: a line a series with its latest number, and its changes below it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from swapbench.report.tables.column import DAGGER
from swapbench.report.tables.table import SIMULATED
from swapbench.report.trends.words import METHOD, change_sentence, commit_text, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swapbench.report.trends.series import Change, Series, Trends

BARS: Final = "▁▂▃▄▅▆▇█"
_BARS_AT_MOST: Final = 20
_TITLE: Final = 20
_COMMITS_SHOWN: Final = 5


def terminal_text(trends: Trends, width: int = 80) -> str:
    """The trends as lines of at most `width` letters, names and messages of others as they are."""
    return "\n".join(_lines(trends, width))


def _lines(trends: Trends, width: int) -> Iterator[str]:
    place, file = "", ("", "")
    doubtful = False
    for series in trends.series:
        if series.place != place:
            if place:
                yield ""
            place, file = series.place, ("", "")
            yield from _wrapped(trends.places[place], width, indent=0)
        if (series.file, series.points[-1].row.runtime) != file:
            file = (series.file, series.points[-1].row.runtime)
            yield from _wrapped(", ".join(file), width, indent=1)
        yield _line(series, width)
        doubtful |= bool(series.doubts(-1))
        if series.begins:
            yield from _wrapped(f"begins anew: {series.begins}", width)
        for change in series.changes:
            yield from _change(series, change, trends, width)
    yield ""
    if doubtful:
        yield from textwrap.wrap(f"{DAGGER} the latest record has doubts about this number.", width)
    if trends.simulated:
        yield SIMULATED
    for remark in (*trends.remarks, METHOD):
        yield from textwrap.wrap(remark, width)


def _line(series: Series, width: int) -> str:
    latest = series.column.cell(series.points[-1].row)
    amount = series.text(series.values[-1]) + (f" {latest.aside}" if latest.aside else "")
    amount += f" {DAGGER}" if series.doubts(-1) else ""
    count = plural(len(series.points), "point")
    title = series.column.title
    start = f"  {title[:_TITLE]:{_TITLE}} {amount} "
    room = min(_BARS_AT_MOST, width - len(start) - len(count) - 1)
    return (
        f"{start}{sparkline(series.values, room)} {count}"[:width] if room > 0 else f"{start}{count}"[:width]
    )


def sparkline(values: Sequence[float], room: int) -> str:
    """The last `room` numbers as bars from the least to the largest of them; equal ones are in the middle."""
    shown = values[-room:]
    least, largest = min(shown), max(shown)
    if least == largest:
        return BARS[3] * len(shown)
    return "".join(BARS[round((value - least) / (largest - least) * (len(BARS) - 1))] for value in shown)


def _change(series: Series, change: Change, trends: Trends, width: int) -> Iterator[str]:
    yield from _wrapped(change_sentence(series, change), width)
    commits = trends.commits.get(series.neighbours(change))
    if commits is None:
        return
    for commit in commits[:_COMMITS_SHOWN]:
        line = f"      {commit_text(commit)}"
        yield line if len(line) <= width else line[: width - 1] + "…"
    if len(commits) > _COMMITS_SHOWN:
        yield f"      and {len(commits) - _COMMITS_SHOWN} more commits"


def _wrapped(text: str, width: int, indent: int = 4) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent)
