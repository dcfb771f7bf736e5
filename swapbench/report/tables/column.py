"""What a column of a report is, and one cell of it.

From a row to digits, what stands beside them, and why there are none.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from swapbench import units
from swapbench.report.rows.comparable import SAME_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.report.rows.comparable import Condition
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.fields import Value

Better = Literal["lower", "higher", ""]
DAGGER = "†"
"""The mark of a row that a doubt speaks against."""


class Cell(NamedTuple):
    """One number or text as a reader sees it; a tuple, because a table has a hundred thousand of them.

    Attributes:
        digits: a bare number in the column's unit, "" where there is none; then `text` says what there is.
        aside: beside the digits: an interval or an uncertainty.
        text: of a text column, or in place of a number: "< 0.5", "–".
        absent: why there is no number, "" where there is one or nobody said why.
        best: among the rows of its group that it may be compared with.
        note: number of the footnote that says why there is no number, 0 for none.
    """

    digits: str = ""
    aside: str = ""
    text: str = ""
    absent: str = ""
    best: bool = False
    note: int = 0


@dataclass(frozen=True)
class Amount:
    """A kind of number: how its digits are shown, and in which unit.

    Attributes:
        quantity: kind of amount, for constraints.
        show: from a number of the row to its digits in `unit`.
        unit: as it stands in headings.
        per_unit: so many of a row's numbers are one `unit`.
        sign: what follows the digits in running text, "×".
    """

    quantity: units.Kind
    show: Callable[[float], str]
    unit: str = ""
    per_unit: float = 1.0
    sign: str = ""


@dataclass(frozen=True)
class Origin:
    """Where a column's numbers come from.

    Attributes:
        part: parts of `Row.missing` that say why a number is absent, its quantity first.
        conditions: what must be equal for two numbers to be compared.
        otherwise: why a number is absent, where `part` does not say.
    """

    part: str = ""
    conditions: frozenset[Condition] = SAME_FILE
    otherwise: str = ""


@dataclass(frozen=True)
class Column:
    """One column. Its numbers stay in the unit of the row.

    Attributes:
        name: what people type.
        title: the heading, without its unit.
        value: from a row to what it holds, None where that does not exist.
        fields: names of the same value, and of its interval, in CSV, JSON and data frames.
        amount: what kind of number it is; None for text.
        better: which direction is better, "" for what cannot be ranked.
        low: lower end of the interval.
        high: upper end of the interval.
        spread: the interval is symmetric and shown as ±.
        limit: what a number is below that the meter could not resolve.
        ratios: columns that say the same relative to the reference.
        listed: whether the page offers it; what it leaves out stands in its details.
        why: from a row to why it has nothing here, of what no part of its record says.
    """

    name: str
    title: str
    value: Callable[[Row], Value]
    fields: tuple[str, ...]
    amount: Amount | None = None
    origin: Origin = Origin()
    better: Better = ""
    low: Callable[[Row], float | None] | None = None
    high: Callable[[Row], float | None] | None = None
    spread: bool = False
    limit: Callable[[Row], float | None] | None = None
    ratios: tuple[str, ...] = ()
    listed: bool = True
    why: Callable[[Row], str] | None = None

    @property
    def conditions(self) -> frozenset[Condition]:
        """What must be equal for two of its numbers to be compared."""
        return self.origin.conditions

    @property
    def quantity(self) -> units.Kind | None:
        """Kind of amount; None for text."""
        return self.amount.quantity if self.amount else None

    @property
    def unit(self) -> str:
        """As it stands in headings; "" for text and plain numbers."""
        return self.amount.unit if self.amount else ""

    @property
    def per_unit(self) -> float:
        """So many of a row's numbers are one `unit`."""
        return self.amount.per_unit if self.amount else 1.0

    @property
    def sign(self) -> str:
        """What follows the digits in running text."""
        return self.amount.sign if self.amount else ""

    @property
    def heading(self) -> str:
        """Title and unit: 'Median latency, ms'."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def numeric(self) -> bool:
        """Whether it can be an axis or a constraint."""
        return self.amount is not None

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of a record that its numbers come from: 'speed', 'tail'."""
        return tuple(self.origin.part.split())

    @property
    def about(self) -> str:
        """Which of the four quantities it tells of, as doubts name them; "" for none."""
        return self.origin.part.partition(" ")[0]

    @property
    def relative(self) -> bool:
        """Whether it compares with the reference row."""
        return "reference" in self.conditions

    def number(self, row: Row) -> float | None:
        """Its number in the row's own unit, None where there is none.

        Shares are rounded to twelve decimals: means of the same errors may differ in their last bits, which
        must not decide what is better.
        """
        value = self.value(row)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return None
        return round(float(value), 12) if self.quantity == "share" else float(value)

    def interval(self, row: Row) -> tuple[float, float] | None:
        """Its interval in the row's own unit, None where there is none."""
        if self.low is None or self.high is None:
            return None
        low, high = self.low(row), self.high(row)
        return None if low is None or high is None else (low, high)

    def shown(self, value: float) -> float:
        """A number in the unit that is shown."""
        return value / self.per_unit

    def cell(self, row: Row) -> Cell:
        """What a reader sees of a row, without a unit where `unit` says it."""
        value = self.value(row)
        if self.amount is None:
            absent = self.why(row) if value is None and self.why is not None else ""
            return Cell(text=units.NOT_MEASURED if value is None else str(value), absent=absent)
        if isinstance(value, (int, float)) and math.isfinite(value):
            return Cell(self.amount.show(value), self._aside(row, self.amount))
        below = self.limit(row) if self.limit else None
        if below is not None:
            return Cell(text=f"< {self.amount.show(below)}")
        return Cell(text=units.NOT_MEASURED, absent=self.absent(row))

    def _aside(self, row: Row, amount: Amount) -> str:
        """What stands beside the digits: '[4.43, 4.56]', '± 0.0031', or ""."""
        bounds = self.interval(row)
        if bounds is None:
            return ""
        if self.spread:
            return f"± {units.significant(self.shown(bounds[1] - bounds[0]) / 2, 2)}"
        return f"[{amount.show(bounds[0])}, {amount.show(bounds[1])}]"

    def digits(self, row: Row) -> str:
        """Its number as digits in `unit`, "" where there is none that is finite."""
        return self.cell(row).digits

    def text(self, row: Row) -> str:
        """The whole cell as plain text; an en dash where there is nothing to say."""
        return self.plain(self.cell(row))

    def plain(self, cell: Cell) -> str:
        """A cell of this column as plain text: '4.49 [4.43, 4.56]', '7.12×', '–'."""
        return f"{cell.digits}{self.sign} {cell.aside}".rstrip() if cell.digits else cell.text

    def absent(self, row: Row) -> str:
        """Why the row has no number here; "" where it has one or nobody said why."""
        if self.value(row) is not None:
            return ""
        if self.why is not None:
            return self.why(row)
        parts = self.origin.part.split()
        reasons = [why.reason for why in row.missing if why.quantity in parts and self._concerns(why.reason)]
        if self.relative and row.relative is None:
            reasons = [why.reason for why in row.missing if why.quantity == "reference"] or reasons
        return "; ".join(dict.fromkeys(reasons)) or self.origin.otherwise

    def _concerns(self, reason: str) -> bool:
        """Reasons of one percentile or operating point begin with its name, and are no other one's."""
        named = re.match(r"(p\d\d|bpcer\d+)\b", reason)
        return named is None or self.name in {named[1], f"latency_{named[1]}", f"paced_{named[1]}"}
