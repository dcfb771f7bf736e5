"""The decision figure: what one decision costs and how often it is wrong, of systems beside single files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swapbench.report.figures import pareto
from swapbench.report.figures.drawing import Drawing
from swapbench.report.figures.pareto import USUAL_LABELS
from swapbench.report.tables.columns import numeric_column

if TYPE_CHECKING:
    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.figures.intervals import Uncertainty
    from swapbench.report.figures.pareto import Labels
    from swapbench.report.figures.style import Page
    from swapbench.report.tables.table import Table

OF_A_DECISION: Final = {
    "latency": "decision_time",
    "latency_p50": "decision_time",
    "time": "decision_time",
    "p90": "decision_p90",
    "latency_p90": "decision_p90",
    "worst": "decision_worst",
    "energy": "decision_energy",
}
"""A cost of one inference, or a short name -> the cost of one decision, which is what is drawn."""


def draw(
    table: Table,
    evidence: Evidence,
    page: Page,
    names: tuple[str, str],
    labels: Labels = USUAL_LABELS,
    uncertainty: Uncertainty = "bars",
) -> Drawing:
    """The figure of a table that holds a system, else the reason why there is none.

    Raises:
        UnknownName: there is no such column.
        UserError: a column is text.
    """
    if not any(row.is_system for row in table.rows):
        return Drawing({}, "no record is of a system (swapbench system cascade SMALL LARGE makes one)")
    x, y = (numeric_column(OF_A_DECISION.get(name, name), table.rows) for name in names)
    drawn = pareto.draw(table, evidence, page, (x, y), labels, uncertainty)
    if not drawn.files:
        return drawn
    shows = f"{drawn.shows} A file alone decides by the mean of all frames of a presentation."
    return replace(drawn, shows=shows)
