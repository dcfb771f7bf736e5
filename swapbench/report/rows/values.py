"""Values of a row by their place in it.

`at("speed.p50_ns")` is a function from a row to its median latency.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.report.rows.row import Row


def at(path: str) -> Callable[[Row], Any]:
    """The value at a path of attributes; None where any of them is None or an `Absent`."""
    first, *others = path.split(".")
    if not others:
        return attrgetter(first)

    def value(row: Row) -> Any:
        part = getattr(row, first)
        for name in others:
            if part is None or type(part) is Absent:
                return None
            part = getattr(part, name)
        return part

    return value
