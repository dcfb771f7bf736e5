"""DET curves: BPCER against APCER at every threshold, on normal-deviate axes, with the operating points.

APCER is that of the worst attack species at each threshold (ISO/IEC 30107-3), so the curve can have corners.
The axes are those of Martin, Doddington, Kamm, Ordowski and Przybocki, The DET curve in assessment of
detection task performance (Eurospeech 1997): a rate is drawn at its normal deviate, where normal scores give
straight lines. The operating points are the threshold that was frozen on the development split and the one at
which the test split's own pooled error rates are equal. A rate of 0 has no normal deviate: an operating point
with one is drawn at the edge. The scores are those that a run keeps beside its records.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from swapbench.pad.rates import eer_threshold
from swapbench.records import Accuracy
from swapbench.report.figures.drawing import Drawing, as_csv, drawing
from swapbench.report.figures.panels import by_panel, on_pages, precision_lines
from swapbench.report.figures.style import (
    GREY,
    PRECISION_LINES,
    PRECISION_MARKERS,
    Key,
    Looks,
    Page,
    Panel,
    mark,
    not_drawn,
    sheet,
)
from swapbench.report.rows.row import distinction_among

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from swapbench.pad.scores import Scored
    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table

    Floats = NDArray[np.float64]

CURVES_AT_MOST = 12
"""Curves in one panel; more of them cannot be told apart."""
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.9, 0.95)
_STEPS_A_DEVIATE = 50
_POINTS_AT_MOST = 1500
_LEAST = 1e-6
What = Literal["curve", "dev threshold", "test EER threshold"]


@dataclass(frozen=True)
class DetPoint:
    """Both error rates of one file at one threshold.

    Attributes:
        what: On the curve, or which operating point.
    """

    label: str
    panel: str
    model: str
    precision: str
    fold: str
    what: What
    threshold: float
    apcer: float
    bpcer: float
    data_simulated: bool


def rates_at(scored: Scored, thresholds: Floats) -> tuple[Floats, Floats]:
    """(APCER of the worst species, BPCER) at each threshold: a score on the threshold is accepted."""
    real = np.sort(scored.bona_fide)
    bpcer = np.searchsorted(real, thresholds, side="left") / real.size
    by_species = []
    for scores in scored.attacks_by_species.values():
        below = np.searchsorted(np.sort(scores), thresholds, side="left")
        by_species.append(1 - below / scores.size)
    return np.max(by_species, axis=0), bpcer


def points_of(rows: Sequence[Row], evidence: Evidence) -> tuple[tuple[DetPoint, ...], tuple[str, ...]]:
    """The points of the figure, and the labels of records that are left out.

    A record is left out where its scores were not kept, or where its panel is full.

    Raises:
        BadDataset: A score file is damaged.
    """
    points: list[DetPoint] = []
    left_out: list[str] = []
    curves: dict[str, int] = {}
    distinction = distinction_among(rows)
    for row in rows:
        panel = ", ".join([row.format, row.runtime, *distinction(row)])
        curve = list(_of_row(row, panel, evidence)) if curves.get(panel, 0) < CURVES_AT_MOST else []
        if not curve:
            left_out.append(row.label)
            continue
        curves[panel] = curves.get(panel, 0) + 1
        points += curve
    return tuple(points), tuple(left_out)


def _of_row(row: Row, panel: str, evidence: Evidence) -> Iterator[DetPoint]:
    record = evidence.record(row)
    if record is None or not isinstance(record.accuracy, Accuracy):
        return
    scores = evidence.scores(record)
    if scores is None:
        return
    frozen = {fold.fold: fold.threshold for fold in record.accuracy.folds}
    for fold in scores.folds:
        test = fold.test.acquired
        species = test.attacks_by_species
        if not test.bona_fide.size or not species:
            continue
        own = frozen.get(fold.name, record.accuracy.threshold)
        every = np.append(np.unique(test.score), np.inf)
        wanted: list[tuple[What, Floats]] = [("curve", _thinned(every, *rates_at(test, every)))]
        if own is not None:
            wanted.append(("dev threshold", np.array([own])))
        wanted.append(
            ("test EER threshold", np.array([eer_threshold(test.bona_fide, test.attacks).threshold]))
        )
        for what, thresholds in wanted:
            for threshold, apcer, bpcer in zip(thresholds, *rates_at(test, thresholds), strict=True):
                yield DetPoint(
                    label=row.label,
                    panel=panel,
                    model=row.model,
                    precision=row.precision,
                    fold=fold.name,
                    what=what,
                    threshold=float(threshold),
                    apcer=float(apcer),
                    bpcer=float(bpcer),
                    data_simulated=bool(row.data_simulated),
                )


def _thinned(thresholds: Floats, apcer: Floats, bpcer: Floats) -> Floats:
    """The thresholds at the corners of the curve; of very many, those at which it visibly moves."""
    steps = np.stack([np.diff(apcer) != 0, np.diff(bpcer) != 0])
    only_one = np.sum(steps, axis=0) < 2
    straight = np.all(steps[:, 1:] == steps[:, :-1], axis=0) & only_one[1:] & only_one[:-1]
    corner = np.concatenate([[True], ~straight, [True]])
    if np.sum(corner) > _POINTS_AT_MOST:
        place = np.stack([deviates(apcer, _LEAST), deviates(bpcer, _LEAST)])
        corner = np.any(np.diff(np.round(place * _STEPS_A_DEVIATE), axis=1, prepend=np.nan) != 0, axis=0)
        corner[-1] = True
    corners: Floats = thresholds[corner]
    return corners


def deviates(rates: Floats, least: float) -> Floats:
    """The normal deviate of each rate, clipped to [`least`, 1 - `least`]."""
    normal = NormalDist()
    held = np.clip(rates, least, 1 - least)
    different, place = np.unique(held, return_inverse=True)
    normal_deviates: Floats = np.array([normal.inv_cdf(rate) for rate in different.tolist()])[place]
    return normal_deviates


def draw(table: Table, evidence: Evidence, page: Page) -> Drawing:
    """The figure of a table, from the scores that its runs kept."""
    points, left_out = points_of(table.rows, evidence)
    if not points:
        reason = "no run kept the scores of its frames (scores/*.csv.gz), so there is nothing to draw"
        return Drawing({}, reason, left_out)
    shows = (
        "DET curves: BPCER against APCER of the worst attack species at every threshold, on normal-deviate "
        "axes, with the frozen threshold of the development split and the EER threshold of the test split."
    )
    height_in = _height_in(page) + 0.6
    pages = on_pages(by_panel(points), lambda _: height_in, page.a_row(2))
    return drawing(
        lambda: [figure_of(part, page, left_out) for part in pages],
        as_csv(points),
        page,
        left_out,
        shows,
        ["accuracy"],
    )


def _height_in(page: Page) -> float:
    return 3.4 if page.wide else 2.4


def figure_of(points: Sequence[DetPoint], page: Page, left_out: Sequence[str] = ()) -> Figure:
    """Draw `points`, of which there is at least one; call it inside `rc_context(page.rc)`."""
    models = Looks.of(point.model for point in points)
    panels = by_panel(points)
    keys = [
        models.line_key("Network", page, 1.2),
        precision_lines((point.precision for point in points), page, markers=False),
        Key(
            "Threshold",
            (
                mark(page, "development split's, frozen", marker="o", color=GREY),
                mark(page, "test split's own EER", marker="x", color=GREY, markeredgewidth=page.pt(1.0)),
            ),
        ),
    ]
    notes = ["APCER of the worst species."]
    if any(point.what != "curve" and min(point.apcer, point.bpcer) == 0 for point in points):
        notes.append("A threshold without errors of a kind is drawn on the edge.")
    notes += not_drawn("no kept scores, or too many curves", left_out)
    figure, axes = sheet(
        page,
        [Panel(_height_in(page), name if len(panels) > 1 else "") for name in panels],
        keys,
        a_row=page.a_row(len(panels)),
        notes=notes,
        simulated=any(point.data_simulated for point in points),
    )
    for panel, own in zip(axes, panels.values(), strict=True):
        _panel(panel, own, models, page)
    return figure


def _panel(axes: Axes, points: Sequence[DetPoint], models: Looks, page: Page) -> None:
    chosen = [point for point in points if point.what != "curve"]
    most = max(0.6, *(min(max(point.apcer, point.bpcer) + 0.05, 0.97) for point in chosen))
    inside = [
        point
        for point in points
        if max(point.apcer, point.bpcer) <= most and min(point.apcer, point.bpcer) > 0
    ]
    least = max(min((min(point.apcer, point.bpcer) for point in inside), default=0.01) / 1.6, 2e-4)
    low, high = deviates(np.array([least, most]), _LEAST).tolist()
    ticks = [tick for tick in TICKS if least < tick < most]
    at = deviates(np.array(ticks), _LEAST).tolist()
    names = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xticks(at, names)
    axes.set_yticks(at, names)
    axes.grid(visible=True, which="major")
    axes.set_xlabel("APCER, % (normal deviate)", labelpad=page.pt(2))
    axes.set_ylabel("BPCER, % (normal deviate)", labelpad=page.pt(2))
    axes.plot([low, high], [low, high], color="0.8", linewidth=page.pt(0.6), zorder=1)
    for label, fold in dict.fromkeys((point.label, point.fold) for point in points):
        own = [point for point in points if (point.label, point.fold) == (label, fold)]
        colour = models.colour(own[0].model)
        curve = [point for point in own if point.what == "curve"]
        axes.plot(
            deviates(np.array([point.apcer for point in curve]), _LEAST),
            deviates(np.array([point.bpcer for point in curve]), _LEAST),
            color=colour,
            linestyle=PRECISION_LINES.get(own[0].precision, "-"),
            linewidth=page.pt(0.9),
            zorder=2,
        )
        for point in own:
            if point.what == "curve":
                continue
            frozen = point.what == "dev threshold"
            axes.plot(
                deviates(np.array([point.apcer]), least),
                deviates(np.array([point.bpcer]), least),
                marker=PRECISION_MARKERS.get(point.precision, "D") if frozen else "x",
                markersize=page.pt(4),
                color=colour,
                markerfacecolor=colour if point.precision == "fp32" else "white",
                markeredgewidth=page.pt(1.0),
                clip_on=False,
                zorder=3,
            )
