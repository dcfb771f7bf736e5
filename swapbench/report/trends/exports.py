"""The latest numbers of a history in the formats of two services that watch benchmarks.

Bencher takes its Bencher Metric Format: an object of benchmarks, each an object of measures with `value`,
`lower_value` and `upper_value`. github-action-benchmark takes for its tools `customSmallerIsBetter` and
`customBiggerIsBetter` a list of objects with `name`, `unit`, `value`, and `range` and `extra` as texts.

Both know neither places nor doubts, so only the numbers of one place are exported at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from swapbench import store
from swapbench.errors import UserError
from swapbench.report.trends.words import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from swapbench.report.trends.series import Series

_MEASURES: Final = {"latency_p50": "latency", "file_bytes": "file-size"}
"""Columns that are measures which Bencher has of its own accord: in ns, and in bytes."""


def latest(series: Iterable[Series], place: str | None = None) -> tuple[Series, ...]:
    """Of each file, runtime and column the newest series, on one place.

    Raises:
        UserError: there are several places and none is named, or nothing is left.
    """
    every = tuple(series)
    places = tuple(dict.fromkeys(trend.place for trend in every))
    if place is None and len(places) > 1:
        raise UserError(
            f"the history has {len(places)} places: {'; '.join(places)}", remedy="Name one with --place"
        )
    if place is not None and place not in places:
        raise UserError(
            f"the history has no place {place!r}", remedy=f"There are: {'; '.join(places) or 'none'}"
        )
    newest: dict[tuple[str, str, str], Series] = {}
    for trend in every:
        if place in {None, trend.place}:
            key = (trend.file, trend.points[-1].row.runtime, trend.column.name)
            if key not in newest or newest[key].points[-1].time <= trend.points[-1].time:
                newest[key] = trend
    if not newest:
        raise UserError("the history has no number to export", remedy="Name other --columns")
    return tuple(newest.values())


def as_bencher(series: Sequence[Series]) -> str:
    """The latest number of each series in Bencher Metric Format, in ns, bytes and uJ."""
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for trend in series:
        metric = {"value": trend.values[-1]}
        bounds = trend.column.interval(trend.points[-1].row)
        if bounds is not None:
            metric |= {"lower_value": bounds[0], "upper_value": bounds[1]}
        name = _MEASURES.get(trend.column.name, trend.column.name.replace("_", "-"))
        benchmarks.setdefault(_benchmark(trend), {})[name] = metric
    return store.dumps(benchmarks) + "\n"


def as_github(series: Sequence[Series], better: str) -> str:
    """The latest number of each series where `better` is better, as github-action-benchmark reads it."""
    return store.dumps([_entry(trend) for trend in series if trend.column.better == better]) + "\n"


def _entry(series: Series) -> dict[str, Any]:
    point, column = series.points[-1], series.column
    cell = column.cell(point.row)
    doubts = series.doubts(-1)
    extra = [f"place: {point.row.place}", f"commit: {short(point.at)}", f"ran under: {series.ran_under}"]
    return {
        "name": f"{_benchmark(series)}: {column.title}",
        "unit": column.unit or column.sign,
        "value": column.shown(series.values[-1]),
        **({"range": cell.aside} if cell.aside else {}),
        "extra": "\n".join([*extra, *([f"doubts: {', '.join(doubts)}"] if doubts else [])]),
    }


def _benchmark(series: Series) -> str:
    return f"{series.file} ({series.points[-1].row.runtime})"


EXPORTS: Final[Mapping[str, Callable[[Sequence[Series]], str]]] = {
    "bencher": as_bencher,
    "github-smaller": lambda series: as_github(series, "lower"),
    "github-bigger": lambda series: as_github(series, "higher"),
}
"""What people type -> the text of some series; the two for github-action-benchmark are its custom tools."""
