"""Error rates as named lines for a person: what each number is, its interval, and what to keep in mind of it.

A line keeps its raw number beside its text, so that one list serves a terminal and a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from swapbench import units
from swapbench.pad.metrics import ErrorRates
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from swapbench.pad.metrics import TargetRates
    from swapbench.records import Interval, Proportion

SOURCE_DEV = "HTER @ source dev"
TARGET_EER = "HTER @ target EER"


@dataclass(frozen=True)
class Line:
    """One named number: a share of presentations, a count, a threshold (score), or None with the reason in the note."""

    name: str
    number: float | None
    unit: Literal["share", "count", "score"] = "share"
    bounds: Interval | None = None
    note: str = ""

    @property
    def value(self) -> str:
        """The number as text: shares in per cent."""
        if self.number is None:
            return units.NOT_MEASURED
        if self.unit == "share":
            return units.percent(self.number, 2)
        return f"{self.number:.0f}" if self.unit == "count" else f"{self.number:.6g}"

    @property
    def interval(self) -> str:
        """The interval as text, empty where there is none."""
        if self.bounds is None:
            return ""
        return f"{units.percent(self.bounds.low, 2)} to {units.percent(self.bounds.high, 2)}"

    def as_json(self) -> dict[str, object]:
        """The raw number, its interval and the note, for a program."""
        bounds = None if self.bounds is None else self.bounds.model_dump(mode="json")
        return {
            "name": self.name,
            "value": self.number,
            "unit": self.unit,
            "interval": bounds,
            "note": self.note,
        }


def report_rows(rates: ErrorRates | TargetRates) -> list[Line]:
    """The lines of an evaluation, the number to judge by first and the literature's directly below it, never without it."""
    return list(_frozen(rates) if isinstance(rates, ErrorRates) else _without_dev(rates))


def _frozen(rates: ErrorRates) -> Iterator[Line]:
    several = len(rates.folds) > 1
    mean = "mean over folds; " if several else ""
    yield Line(
        SOURCE_DEV,
        rates.hter,
        bounds=rates.hter_interval,
        note=f"{mean}threshold frozen at the EER of the development scores ({units.percent(rates.dev_eer, 2)})",
    )
    yield _target_eer(rates, mean)
    sd = "" if rates.acer_sd is None else f", sd {units.percent(rates.acer_sd, 2)} (n - 1)"
    yield Line(
        "ACER",
        rates.acer,
        bounds=rates.acer_interval,
        note=f"mean over {len(rates.folds)} folds{sd}"
        if several
        else "(APCER of the worst species + BPCER) / 2",
    )
    yield from _apcers(rates.apcer_by_species)
    if several:
        yield Line("APCER, worst species of each fold", rates.apcer, note="mean over folds")
    yield Line("BPCER", rates.bpcer.rate, bounds=rates.bpcer.interval, note=_counted(rates.bpcer))
    yield Line("AUC", rates.auc, bounds=rates.auc_interval, note=mean.rstrip("; "))
    yield from _bpcer_at_apcer(rates.bpcer_at_apcer)
    if rates.threshold is not None:
        yield Line("threshold", rates.threshold, "score", note=rates.threshold_rule)
    yield from _failures(rates)
    if rates.dev_failures_to_acquire:
        yield Line("failures to acquire, development", rates.dev_failures_to_acquire, "count")
    yield Line("subjects", rates.subjects, "count")
    for one in rates.folds if several else ():
        yield Line(
            f"fold {one.fold}: ACER",
            one.acer,
            note=f"APCER {units.percent(one.apcer, 2)}, BPCER {units.percent(one.bpcer.rate, 2)},"
            f" HTER {units.percent(one.hter, 2)}, threshold {one.threshold:.6g}",
        )


def _without_dev(rates: TargetRates) -> Iterator[Line]:
    found = rates.at_threshold
    if found is None:
        yield Line(SOURCE_DEV, None, note="no development scores to freeze a threshold on, and none given")
    else:
        yield Line(
            "HTER @ given threshold",
            found.hter,
            bounds=rates.hter_interval,
            note=f"threshold {found.threshold:.6g}, given and not frozen here",
        )
    yield _target_eer(rates, "")
    if found is not None:
        note = "(APCER of the worst species + BPCER) / 2, at the given threshold"
        yield Line("ACER", found.acer, bounds=rates.acer_interval, note=note)
        yield from _apcers(found.apcer_by_species)
        yield Line("BPCER", found.bpcer.rate, bounds=found.bpcer.interval, note=_counted(found.bpcer))
    yield Line("AUC", rates.auc, bounds=rates.auc_interval)
    yield from _bpcer_at_apcer(rates.bpcer_at_apcer)
    yield from _failures(rates)
    yield Line("subjects", rates.subjects, "count")


def _target_eer(rates: ErrorRates | TargetRates, mean: str) -> Line:
    return Line(
        TARGET_EER,
        rates.eer,
        bounds=rates.eer_interval,
        note=f"{mean}the literature's: threshold chosen on the test scores",
    )


def _apcers(by_species: Mapping[str, Proportion]) -> Iterator[Line]:
    worst = max(one.rate for one in by_species.values())
    for species, one in by_species.items():
        mark = ", worst" if one.rate == worst and len(by_species) > 1 else ""
        yield Line(f"APCER {species}", one.rate, bounds=one.interval, note=_counted(one) + mark)


def _bpcer_at_apcer(found: Mapping[str, Proportion | Absent]) -> Iterator[Line]:
    for name, one in found.items():
        if isinstance(one, Absent):
            yield Line(name.upper(), None, note=f"n/a: {one.absent}")
        else:
            note = f"{_counted(one)}, threshold chosen on the test scores"
            yield Line(name.upper(), one.rate, bounds=one.interval, note=note)


def _failures(rates: ErrorRates | TargetRates) -> Iterator[Line]:
    for label, name, scored in (
        ("bona_fide", "bona fide", rates.bona_fide),
        ("attack", "attacks", rates.attacks),
    ):
        failed = rates.failures_by_class[label]
        share = units.percent(failed / (failed + scored), 2)
        rate = "BPNRR" if label == "bona_fide" else "APNRR"
        yield Line(
            f"failures to acquire, {name}",
            failed,
            "count",
            note=f"of {failed + scored}, {rate} {share}; in no rate",
        )


def _counted(one: Proportion) -> str:
    return f"{one.errors} of {one.trials}"
