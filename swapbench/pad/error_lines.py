"""Error rates as named lines for a person: what each number is, its interval, and what qualifies it.

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
    """One named number.

    Attributes:
        name: of the number
        number: a share of presentations (0 to 1), a count, or a threshold; None with the reason in `note`
        unit: what the number is, "score" for a threshold or a difference of scores
        bounds: the interval of the number
        note: what to keep in mind
    """

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


def lines_of_rates(rates: ErrorRates | TargetRates) -> list[Line]:
    """The lines of an evaluation: the number to judge by first, the literature's directly below it."""
    return list(_frozen(rates) if isinstance(rates, ErrorRates) else _without_dev(rates))


def _frozen(rates: ErrorRates) -> Iterator[Line]:
    several = len(rates.folds) > 1
    mean = "mean over folds; " if several else ""
    yield Line(
        SOURCE_DEV,
        rates.hter,
        bounds=rates.hter_interval,
        note=f"{mean}threshold frozen at the EER of the development scores"
        f" ({units.percent(rates.dev_eer, 2)})",
    )
    yield _target_eer(rates, mean)
    sd = "" if rates.acer_sd is None else f", sd {units.percent(rates.acer_sd, 2)} (n - 1)"
    yield Line(
        "ACER",
        rates.acer,
        bounds=rates.acer_interval,
        note=(
            f"mean over {len(rates.folds)} folds{sd}"
            if several
            else "(APCER of the worst species + BPCER) / 2"
        )
        + _bias(rates),
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
    for fold in rates.folds if several else ():
        yield Line(
            f"fold {fold.fold}: ACER",
            fold.acer,
            note=f"APCER {units.percent(fold.apcer, 2)}, BPCER {units.percent(fold.bpcer.rate, 2)},"
            f" HTER {units.percent(fold.hter, 2)}, threshold {fold.threshold:.6g}",
        )


def _without_dev(rates: TargetRates) -> Iterator[Line]:
    errors = rates.at_threshold
    if errors is None:
        yield Line(
            SOURCE_DEV, None, note="no development scores to freeze a threshold on, and no threshold given"
        )
    else:
        yield Line(
            "HTER @ given threshold",
            errors.hter,
            bounds=rates.hter_interval,
            note=f"threshold {errors.threshold:.6g}, given, not frozen here",
        )
    yield _target_eer(rates, "")
    if errors is not None:
        note = "(APCER of the worst species + BPCER) / 2, at the given threshold"
        yield Line("ACER", errors.acer, bounds=rates.acer_interval, note=note)
        yield from _apcers(errors.apcer_by_species)
        yield Line("BPCER", errors.bpcer.rate, bounds=errors.bpcer.interval, note=_counted(errors.bpcer))
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


def _bias(rates: ErrorRates) -> str:
    """What to keep in mind of a maximum over species, where it shows in the digits."""
    if rates.acer_bias is None or rates.acer_bias < 0.0005:
        return ""
    return f"; about {100 * rates.acer_bias:.1f} points too high, for taking the worst of several species"


def _apcers(by_species: Mapping[str, Proportion]) -> Iterator[Line]:
    worst = max(apcer.rate for apcer in by_species.values())
    for species, apcer in by_species.items():
        mark = ", worst" if apcer.rate == worst and len(by_species) > 1 else ""
        yield Line(f"APCER {species}", apcer.rate, bounds=apcer.interval, note=_counted(apcer) + mark)


def _bpcer_at_apcer(by_name: Mapping[str, Proportion | Absent]) -> Iterator[Line]:
    for name, bpcer in by_name.items():
        if isinstance(bpcer, Absent):
            yield Line(name.upper(), None, note=f"n/a: {bpcer.absent}")
        else:
            note = f"{_counted(bpcer)}, threshold chosen on the test scores"
            yield Line(name.upper(), bpcer.rate, bounds=bpcer.interval, note=note)


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
            note=f"of {failed + scored}, {rate} {share}; in no other rate",
        )


def _counted(rate: Proportion) -> str:
    return f"{rate.errors} of {rate.trials}"
