"""Two systems against each other: errors on the same presentations, and what a decision of each costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from swapbench import store
from swapbench.errors import BadRecord, UnknownName, UserError
from swapbench.pad.score_files import folds_behind
from swapbench.records import Absent
from swapbench.systems.gain import paired
from swapbench.systems.lines import compared_lines, cost_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.catalog import Folders
    from swapbench.pad.metrics import FoldScores
    from swapbench.records import Decision, DecisionCost, Record
    from swapbench.report.rows.row import Row
    from swapbench.systems.gain import Paired

COSTS: Final = {"time": "decision_time", "energy": "decision_energy"}
"""What a decision costs -> the column that knows on what it depends."""
BASES: Final = ("measured", "computed")
"""Which row of a system is taken where both have it."""


@dataclass(frozen=True)
class _Side:
    """A row of a system, and the run that it stands in."""

    run: Path
    record: Record

    @property
    def decision(self) -> Decision:
        assert self.record.decision is not None
        return self.record.decision

    def scores(self) -> tuple[FoldScores, ...]:
        """The scores that the row rests on; BadRecord where they are not there."""
        accuracy, path = self.record.accuracy, store.scores_path(self.run, self.record.id)
        folds = () if isinstance(accuracy, Absent) or not path.is_file() else folds_behind(accuracy, path)
        if not folds:
            raise BadRecord(
                f"the scores of {self.record.title} are not in {path.parent}",
                remedy="Make the system again: swapbench system, or swapbench run --system FILE",
            )
        return folds


@dataclass(frozen=True)
class Comparison:
    """Two systems side by side.

    Attributes:
        titles: Of both rows.
        decisions: Of both.
        errors: On the presentations that both scored.
        apart: Why a cost of theirs is not compared, by its name; "" for one that is.
        simulated: Whether the data are.
    """

    titles: tuple[str, str]
    decisions: tuple[Decision, Decision]
    errors: Paired
    apart: dict[str, str]
    simulated: bool

    def rows(self) -> list[dict[str, str]]:
        """A row a number, for people."""
        return list(compared_lines(self.errors, self.decisions, self.apart))

    def notes(self) -> Iterator[str]:
        """What the rows do not say."""
        found = self.errors
        yield (
            f"Of {found.presentations} presentations only the second is right {found.only_second_right}"
            f" times, only the first {found.only_first_right}: McNemar p = {found.p_value:.2g}."
        )
        if found.unmatched:
            yield f"{found.unmatched} presentations lack a score of one of them and are left out."
        for name, why in self.apart.items():
            if why:
                yield f"The {name} of a decision is not compared: {why}."

    def document(self) -> dict[str, Any]:
        """The same for programs, nothing rounded."""
        found = self.errors
        sides = tuple(zip(("first", "second"), self.decisions, strict=True))
        compared = [name for name, why in self.apart.items() if not why]
        costs = {name: {side: _all_of(cost_of(one, name)) for side, one in sides} for name in compared}
        rates = {"acer": found.acer, "apcer": found.apcer, "bpcer": found.bpcer}
        return {
            **dict(zip(("first", "second"), self.titles, strict=True)),
            **{
                name: {
                    "first": rate.before,
                    "second": rate.after,
                    "change": rate.change,
                    "interval": None if rate.interval is None else rate.interval.model_dump(),
                }
                for name, rate in rates.items()
            },
            "only_first_right": found.only_first_right,
            "only_second_right": found.only_second_right,
            "p_value": found.p_value,
            "presentations": found.presentations,
            "unmatched": found.unmatched,
            "costs": costs,
            "not_compared": {name: why for name, why in self.apart.items() if why},
        }


def _all_of(cost: DecisionCost | Absent) -> dict[str, Any] | None:
    return None if isinstance(cost, Absent) else cost.all.model_dump()


def compare(folders: Folders, first: str, second: str, run: Path | None) -> Comparison:
    """Hold the second system against the first, each at its own frozen thresholds.

    Args:
        folders: Of the working folder.
        first: Name of a row of the run, or a file in the folder systems/ of one.
        second: The same.
        run: Of rows that are named; None for the newest.

    Raises:
        UnknownName: A run has no such system.
        UserError: There is no run, both are one row, or they decide about other data or at other operating
            points.
        BadRecord: The scores of a row were not kept.
        BadDataset: The two have no presentations in common.
    """
    from swapbench.report.rows.comparable import why_not
    from swapbench.report.rows.summary import summary
    from swapbench.report.tables.columns import COLUMNS

    one, other = _sides(_named(folders, first, run), _named(folders, second, run))
    rows = summary(one.record), summary(other.record)
    if (one.run, one.record.id) == (other.run, other.record.id):
        raise UserError(f"{first} and {second} are one row", remedy="Name two systems")
    if why := why_not(*rows, COLUMNS["acer"]):
        raise UserError(
            f"{rows[0].label} and {rows[1].label} cannot be compared: they differ in {why}",
            remedy="Make both on the same data, and with the same --target",
        )
    accuracy = one.record.accuracy
    assert not isinstance(accuracy, Absent)
    plan = one.record.plan
    errors = paired(
        (one.decision.system, one.scores()),
        (other.decision.system, other.scores()),
        confidence=plan.confidence,
        seed=plan.seed,
    )
    return Comparison(
        titles=(one.record.title, other.record.title),
        decisions=(one.decision, other.decision),
        errors=errors,
        apart={name: _apart(rows, (one, other), name) for name in COSTS},
        simulated=accuracy.simulated,
    )


def _apart(rows: tuple[Row, Row], sides: tuple[_Side, _Side], name: str) -> str:
    """Why a cost of two systems cannot be compared; "" where it can."""
    from swapbench.report.rows.comparable import why_not
    from swapbench.report.tables.columns import COLUMNS

    for side in sides:
        if isinstance(cost := cost_of(side.decision, name), Absent):
            return f"{side.record.title} has none, for {cost.absent}"
    if sides[0].decision.basis != sides[1].decision.basis:
        return "one is measured, the other computed from its files"
    why = why_not(*rows, COLUMNS[COSTS[name]])
    return f"they differ in {why}" if why else ""


def _named(folders: Folders, name: str, run: Path | None) -> list[_Side]:
    """The rows of a system: one that was computed, one that was measured, or both."""
    path = Path(name)
    if path.suffix == ".toml" and (path.parent.parent / "records").is_dir():
        run, name = path.parent.parent, path.stem
    elif path.is_file():
        name = path.stem
    run = run or store.newest_run(folders.reports)
    if run is None:
        raise UserError(
            f"there is no run to take {name} from", remedy="Make a system first: swapbench system fuse FILES"
        )
    systems = [record for record in store.load_run(run) if record.decision is not None]
    found = [
        _Side(run, record) for record in systems if name in {record.variant.net, record.title, record.id}
    ]
    if not found:
        raise UnknownName(f"system in the run {run.name}", name, {one.variant.net for one in systems})
    return found


def _sides(first: list[_Side], second: list[_Side]) -> tuple[_Side, _Side]:
    """Of each the row that was made as that of the other, measured rather than computed."""

    def of(sides: list[_Side], basis: str) -> _Side | None:
        return next((side for side in sides if side.decision.basis == basis), None)

    for basis in BASES:
        one, other = of(first, basis), of(second, basis)
        if one is not None and other is not None:
            return one, other
    return first[0], second[0]
