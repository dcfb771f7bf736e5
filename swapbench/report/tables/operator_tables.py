"""The operators of one model file, or what differs between two: as plain text and as JSON. Pure functions.

JSON: an object with `kind` ("swapbench.operators"), `version` (1), `files` (name, file_bytes, params, macs,
ops; with times also what ran them, `operators` and `nodes` with their shares, `run_ns` without and
`operators_ns` with the profiler, or `absent`), `counted` (operators of which the files hold different
numbers) and `difference` (null for one file or without times): `total`, `operators`, `nodes` and `moved`.
Shares are fractions with `median`, `low` and `high` over the processes. Nothing is rounded or left out.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from swapbench import units

Row = tuple[object, ...]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.operators import (
        Breakdown,
        Change,
        Contents,
        Difference,
        Moved,
        OperatorCount,
        OperatorShare,
        Spread,
    )

NAMED_NODES: Final = 5
RANGE: Final = "Range: the lowest and the highest process."
PAIRED_RANGE: Final = (
    "Range: the change in the lowest and the highest pair of processes, with the range of the whole in it."
)
NO_NAMES: Final = (
    "Nodes inside a delegate have no names: they are matched by operator and order of execution."
)


def terminal(
    files: Sequence[Contents],
    counted: Sequence[OperatorCount],
    breakdowns: Sequence[Breakdown],
    difference: Difference | None,
    top: int,
) -> str:
    """Tables for a person: operator types, the `top` nodes, what the files hold differently.

    Each with its doubts.
    """
    parts = []
    if difference is not None:
        parts += [
            _head(file, breakdown, label)
            for label, file, breakdown in zip("AB", files, breakdowns, strict=True)
        ]
        parts += ["", *_difference(difference, top)]
    elif breakdowns:
        parts += [_head(files[0], breakdowns[0], ""), "", *_breakdown(breakdowns[0], top)]
    if len(files) > 1:
        parts += ["", *_counted(files, counted)]
    elif not breakdowns or breakdowns[0].absent:
        parts += ["", f"{files[0].name} holds:", *_grid([("Operator", "Nodes"), *files[0].ops.items()])]
    return "\n".join(parts).strip("\n") + "\n"


def json_text(
    files: Sequence[Contents],
    counted: Sequence[OperatorCount],
    breakdowns: Sequence[Breakdown],
    difference: Difference | None,
) -> str:
    """Everything, as the head of this module describes it."""
    contents: list[dict[str, Any]] = list(map(asdict, files))
    for file, breakdown in zip(contents, breakdowns, strict=False):
        file |= {**asdict(breakdown), "used": breakdown.used.model_dump(mode="json")}
    document = {
        "kind": "swapbench.operators",
        "version": 1,
        "files": contents,
        "counted": list(map(asdict, counted)),
        "difference": None if difference is None else asdict(difference),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


# ---------------------------------------------------------------------------------------------- one file


def _head(file: Contents, breakdown: Breakdown, label: str) -> str:
    used = breakdown.used
    words = [
        f"{used.runtime} {used.version}",
        ", ".join(used.providers),
        f"{used.threads} thread{'s' * (used.threads > 1)}",
        f"{breakdown.processes} processes of {breakdown.runs} runs",
    ]
    if used.delegated_nodes is not None and used.nodes is not None:
        words.insert(2, f"{used.delegated_nodes} of {used.nodes} nodes delegated")
    return f"{label + ': ' * bool(label)}{file.name} ({', '.join(words)})"


def _breakdown(breakdown: Breakdown, top: int) -> list[str]:
    if breakdown.absent:
        run = units.duration(breakdown.run_ns)
        return [f"No times of operators: {breakdown.absent}.", f"A run takes {run} as a whole."]
    assert breakdown.operators_ns is not None
    operators: list[Row] = [("Operator", "Nodes", "Share", "Range", "Hint", "Provider")]
    operators += [
        (part.op, part.nodes, *_shares(part.share), units.duration(part.hint_ns), part.providers)
        for part in breakdown.operators
    ]
    shown = breakdown.nodes[:top]
    nodes: list[Row] = [("Node", "Operator", "Output", "Share", "Range", "Provider")]
    nodes += [(_node(part), part.op, part.output, *_shares(part.share), part.providers) for part in shown]
    return [
        *_grid(operators),
        "",
        f"The heaviest {len(shown)} of {len(breakdown.nodes)} nodes:",
        *_grid(nodes),
        "",
        RANGE,
        (
            "Hint: a run's time while it is profiled, which costs time itself. All operators: "
            f"{units.duration(breakdown.operators_ns)}; a whole run without the profiler: "
            f"{units.duration(breakdown.run_ns)}."
        ),
    ]


def _shares(share: Spread) -> tuple[str, str]:
    return units.percent(share.median), f"{100 * share.low:.1f} to {100 * share.high:.1f}"


def _node(node: OperatorShare | Change) -> str:
    return node.name or units.NOT_MEASURED


# ---------------------------------------------------------------------------------------------- two files


def _difference(difference: Difference, top: int) -> list[str]:
    moved = [f"{_moved(nodes)}." for nodes in difference.moved]
    total, spread = _shares(difference.total)
    whole = f"B takes {total} ({spread}) of A's time, measured in pairs without a profiler."
    if difference.absent:
        return [whole, *moved, f"No times of operators: {difference.absent}."]
    changed = [node for node in difference.nodes if node.change.median]
    shown = changed[:top]
    head = ("A", "B", "Change", "Range", "Nodes", "Provider", "")
    operators = [
        ("Operator", *head),
        *((operator.op, *_changed(operator)) for operator in difference.operators),
    ]
    nodes: list[Row] = [("Node", "Operator", "Output", *head)]
    nodes += [(_node(node), node.op, node.output, *_changed(node)) for node in shown]
    lines = [f"{whole} Everything below is a share of A's time.", *moved, "", *_grid(operators)]
    if shown:
        lines += ["", f"The {len(shown)} nodes that changed most, of {len(difference.nodes)}:", *_grid(nodes)]
    lines += ["", PAIRED_RANGE]
    if any(not node.name for node in difference.nodes):
        lines.append(NO_NAMES)
    return lines


def _changed(part: Change) -> tuple[str, ...]:
    before, after = (
        units.percent(share.median) if nodes else units.NOT_MEASURED
        for share, nodes in zip((part.before, part.after), part.nodes, strict=True)
    )
    sides = [provider for provider in part.providers if provider]
    verdict = "new" if not part.nodes[0] else "gone" if not part.nodes[1] else "grew" if part.grew else ""
    return (
        before,
        after,
        f"{100 * part.change.median:+.1f}",
        f"{100 * part.change.low:+.1f} to {100 * part.change.high:+.1f}",
        " → ".join(dict.fromkeys(map(str, part.nodes))),
        " → ".join(dict.fromkeys(sides)),
        verdict,
    )


def _moved(moved: Moved) -> str:
    names = [name for name in moved.names if name]
    listed = ", ".join([*names[:NAMED_NODES], *["..."] * (len(names) > NAMED_NODES)])
    what = "fell back" if moved.fell_back else "moved"
    return f"{len(moved.names)} {moved.op} {what} from {moved.before} to {moved.after}" + (
        f" ({listed})" if listed else ""
    )


def _counted(files: Sequence[Contents], counted: Sequence[OperatorCount]) -> list[str]:
    totals = [
        f"{what} {show(getattr(files[0], field))} → {show(getattr(files[1], field))}"
        for what, field, show in (
            ("size", "file_bytes", units.size),
            ("parameters", "params", units.count),
            ("MACs", "macs", units.count),
        )
    ]
    lines = [f"In the files A {files[0].name} and B {files[1].name}: {', '.join(totals)}."]
    if not counted:
        return [*lines, "Both hold the same numbers of the same operators."]
    rows: list[Row] = [("Operator", "A", "B", "")]
    for operator in counted:
        change = f"{operator.after - operator.before:+d}"
        words = "added" if not operator.before else "removed" if not operator.after else change
        rows.append((operator.op, operator.before, operator.after, words))
    return [*lines, *_grid(rows)]


def _grid(rows: Sequence[Row]) -> list[str]:
    """Columns of text; those of numbers stand to the right."""
    texts = [[" ".join(str(cell).split()) for cell in row] for row in rows]
    columns = list(zip(*texts, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [
        all(cell[:1] in "0123456789+-–" for cell in column[1:])
        and any(cell not in {"", units.NOT_MEASURED} for cell in column[1:])
        for column in columns
    ]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in texts
    ]
