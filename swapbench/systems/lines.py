"""A system in words: what it was chosen from, and what was found of it, line by line."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from swapbench.records import Accuracy, Decision, DecisionCost, Interval, System
    from swapbench.systems.gain import Paired
    from swapbench.systems.search import Candidate

SHOWN = 12
"""Candidates of a long search that a terminal shows; the file has all."""


@dataclass(frozen=True)
class Line:
    """One number of a system: its name, its text, its interval and what to keep in mind."""

    name: str
    value: str
    interval: str = ""
    note: str = ""


def lines(decision: Decision, accuracy: Accuracy) -> Iterator[Line]:
    """What was found on the test split."""
    at = f"threshold {accuracy.threshold_rule}"
    assert accuracy.acer is not None
    assert accuracy.apcer is not None
    assert accuracy.bpcer is not None
    yield Line("ACER", units.percent(accuracy.acer, 2), _share(accuracy.acer_interval), at)
    worst = max(accuracy.apcer_by_species.items(), key=lambda item: item[1].rate)
    yield Line("APCER", units.percent(accuracy.apcer, 2), _share(worst[1].interval), f"worst: {worst[0]}")
    yield Line("BPCER", units.percent(accuracy.bpcer.rate, 2), _share(accuracy.bpcer.interval))
    if decision.gain is not None:
        gain = decision.gain
        yield Line(
            "ACER, change",
            _points(gain.change),
            f"{_points(gain.interval.low)} to {_points(gain.interval.high)}" if gain.interval else "",
            f"against {gain.member} ({units.percent(gain.member_acer, 2)}); only the system is right"
            f" {gain.only_system_right} times, only the file {gain.only_member_right}:"
            f" McNemar p = {gain.p_value:.2g}",
        )
    yield from _cost("time", decision.time_ns, units.duration)
    if isinstance(decision.energy_uj, Absent):
        yield Line("energy", units.NOT_MEASURED, note=decision.energy_uj.absent)
    else:
        yield from _cost("energy", decision.energy_uj, units.energy)
    for member, known in zip(decision.system.members, decision.members, strict=True):
        yield Line(f"asked: {member.file}", f"{known.asked:.3g}", note="inferences in a decision, mean")
    if decision.frames.all.worst > 1:
        yield from _cost("frames", decision.frames, lambda number: f"{number:.3g}")
    if not isinstance(decision.latency_ns, Absent):
        yield from _cost(f"latency at {decision.fps:g} fps", decision.latency_ns, units.duration)
    if decision.alike is not None:
        count = decision.frames.all.mean
        worth = count / (1 + (count - 1) * max(decision.alike, 0.0))
        yield Line(
            "frames alike",
            f"{decision.alike:.2f}",
            note=f"correlation in a presentation: {count:.3g} are worth {worth:.2f} independent ones",
        )


def compared_lines(
    found: Paired, decisions: tuple[Decision, Decision], apart: dict[str, str]
) -> Iterator[dict[str, str]]:
    """Two systems side by side, a row a number.

    Args:
        found: their errors on the same presentations
        decisions: of both
        apart: why a cost of theirs cannot be compared, by its name; "" for one that can
    """
    for name, change in (("ACER", found.acer), ("APCER", found.apcer), ("BPCER", found.bpcer)):
        interval = change.interval
        yield {
            "name": name,
            "first": units.percent(change.before, 2),
            "second": units.percent(change.after, 2),
            "change": _points(change.change),
            "interval": f"{_points(interval.low)} to {_points(interval.high)}" if interval else "",
        }
    for name, text in (("time", units.duration), ("energy", units.energy)):
        for part in ("mean", "p90", "worst"):
            before, after = (_part(decision, name, part) for decision in decisions)
            share = "" if before is None or after is None or apart[name] else _share_of(before, after)
            yield {
                "name": f"{name}, {part}",
                "first": units.NOT_MEASURED if before is None else text(before),
                "second": units.NOT_MEASURED if after is None else text(after),
                "change": share,
                "interval": "",
            }


def cost_of(decision: Decision, name: str) -> DecisionCost | Absent:
    """The "time" or "energy" of a decision."""
    return decision.time_ns if name == "time" else decision.energy_uj


def _part(decision: Decision, name: str, part: str) -> float | None:
    cost = cost_of(decision, name)
    return None if isinstance(cost, Absent) else float(getattr(cost.all, part))


def _share_of(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.1f} %" if before > 0 else ""


def _cost(name: str, cost: DecisionCost, text: Callable[[float], str]) -> Iterator[Line]:
    bounds = f"{text(cost.interval.low)} to {text(cost.interval.high)}" if cost.interval else ""
    note = f"p90 {text(cost.all.p90)}, worst {text(cost.all.worst)}"
    yield Line(f"{name}, mean", text(cost.all.mean), bounds, note)
    if cost.all.mean != cost.all.worst:
        by_class = {"bona fide": cost.bona_fide, **cost.species}
        parts = ", ".join(f"{kind} {text(one.mean)}" for kind, one in by_class.items())
        yield Line(f"{name}, by class", "", note=parts)


def _share(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{units.percent(interval.low, 2)} to {units.percent(interval.high, 2)}"


def _points(change: float) -> str:
    return f"{100 * change:+.2f}"


# ---- The search ----


def setting(system: System) -> str:
    """What differs among the candidates of a search, in words."""
    if system.margin is not None:
        return "always" if math.isinf(system.margin) else f"{system.margin:.4g}"
    if system.frames.rule == "sequential":
        return f"{system.frames.count} at {100 * system.frames.apcer:g} %"
    if system.frames.count > 1 or len(system.members) == 1:
        return str(system.frames.count)
    return ":".join(f"{member.weight:g}" for member in system.members)


def search_rows(
    candidates: Sequence[Candidate], chosen: Candidate, text: Callable[[float], str]
) -> list[dict[str, str]]:
    """Some of the candidates, evenly, with the chosen one and both ends, for a terminal."""
    count = len(candidates)
    shown = {round(step * (count - 1) / (SHOWN - 1)) for step in range(SHOWN)} if count > SHOWN else None
    rows = []
    for place, candidate in enumerate(candidates):
        if shown is not None and place not in shown and candidate is not chosen:
            continue
        errors = candidate.errors
        rows.append(
            {
                "tried": setting(candidate.system),
                "ACER": units.percent(errors.acer, 2),
                "APCER": units.percent(errors.apcer, 2),
                "BPCER": units.percent(errors.bpcer, 2),
                "cost": text(candidate.cost),
                "asked": " ".join(f"{one:.2f}" for one in candidate.asked),
                "": "chosen" if candidate is chosen else "",
            }
        )
    return rows


def search_csv(candidates: Sequence[Candidate], chosen: Candidate, unit: str) -> str:
    """All candidates, nothing rounded: errors on development and the mean cost there."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "setting",
            "dev_acer",
            "dev_apcer",
            "dev_bpcer",
            f"dev_cost_{unit}",
            "dev_asked",
            "dev_frames",
            "chosen",
        ]
    )
    for candidate in candidates:
        errors = candidate.errors
        writer.writerow(
            [
                setting(candidate.system),
                errors.acer,
                errors.apcer,
                errors.bpcer,
                candidate.cost,
                " ".join(map(repr, candidate.asked)),
                candidate.frames,
                int(candidate is chosen),
            ]
        )
    return text.getvalue()
