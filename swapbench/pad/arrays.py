"""Error rates with what weakens them, and `metrics` of the public Python face, which takes arrays.

`swapbench metrics` answers for a score file with the same value, by the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from swapbench.pad.error_lines import Line
    from swapbench.pad.metrics import ErrorRates, TargetRates
    from swapbench.pad.scores import Scored
    from swapbench.records import Interval, Proportion


@dataclass(frozen=True)
class Errors:
    """Error rates of ISO/IEC 30107-3 with their intervals; see `swapbench.pad.metrics` for each definition.

    Attributes:
        rates: All that was computed: ErrorRates at a threshold frozen on development scores, else
            TargetRates.
        remarks: What weakens these numbers, one sentence each.
    """

    rates: ErrorRates | TargetRates
    remarks: tuple[str, ...] = ()

    @property
    def threshold(self) -> float | None:
        """The frozen or given threshold; None where there is none."""
        return None if self._decided is None else self._decided.threshold

    @property
    def apcer(self) -> float | None:
        """APCER of the worst species at the threshold; None without one."""
        return None if self._decided is None else self._decided.apcer

    @property
    def apcer_by_species(self) -> dict[str, Proportion]:
        """Species -> APCER with its interval; empty without a threshold."""
        return {} if self._decided is None else dict(self._decided.apcer_by_species)

    @property
    def bpcer(self) -> Proportion | None:
        """BPCER with its interval; None without a threshold."""
        return None if self._decided is None else self._decided.bpcer

    @property
    def acer(self) -> float | None:
        """(APCER + BPCER) / 2 at the threshold; None without one."""
        return None if self._decided is None else self._decided.acer

    @property
    def acer_interval(self) -> Interval | None:
        """Of a bootstrap over subjects; None with fewer than two, or without a threshold."""
        return self.rates.acer_interval

    @property
    def eer(self) -> float:
        """EER of the scores themselves: what the literature calls HTER at the target's EER."""
        return self.rates.eer

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return self.rates.auc

    def lines(self) -> list[Line]:
        """The rates as named lines for a person."""
        from swapbench.pad.error_lines import lines_of_rates

        return lines_of_rates(self.rates)

    def as_json(self) -> dict[str, object]:
        """The same for a program."""
        return {"lines": [line.as_json() for line in self.lines()], "remarks": list(self.remarks)}

    def frame(self) -> pd.DataFrame:
        """Every rate as a row: name, value, unit, low, high, note."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "name": line.name,
                    "value": line.number,
                    "unit": line.unit,
                    "low": None if line.bounds is None else line.bounds.low,
                    "high": None if line.bounds is None else line.bounds.high,
                    "note": line.note,
                }
                for line in self.lines()
            ]
        )

    @property
    def _decided(self) -> Any:
        from swapbench.pad.metrics import ErrorRates

        return self.rates if isinstance(self.rates, ErrorRates) else self.rates.at_threshold

    def _repr_html_(self) -> str:
        html: str = self.frame().to_html(index=False)
        return html

    def __str__(self) -> str:
        lines = [
            f"{line.name}: {line.value}" + (f" [{line.interval}]" if line.interval else "")
            for line in self.lines()
        ]
        return "\n".join([*lines, *(f"note: {remark}" for remark in self.remarks)])


def metrics(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    species: ArrayLike | None = None,
    subjects: ArrayLike | None = None,
    presentations: ArrayLike | None = None,
    dev: tuple[ArrayLike, ArrayLike] | None = None,
    threshold: float | None = None,
) -> Errors:
    """Error rates of scores, as `swapbench metrics` computes them of a score file.

    A presentation is accepted as bona fide iff its score >= the threshold. The threshold is frozen at the EER
    of the development scores, or given; without either there are only the rates that need none (EER, AUC,
    BPCER at APCER).

    Args:
        scores: [n] numbers that rise with bona fide; NaN or masked is a failure to acquire. Arrays belong
            together by position, also those of pandas.
        labels: [n], True or 1 for bona fide, False or 0 for an attack; or words such as "live" and "spoof".
        species: [n], the attack instrument species of every attack (ignored for bona fide): APCER is that of
            the worst. None counts all attacks as one species.
        subjects: [n], who is shown: intervals come from a bootstrap over subjects. None counts every
            presentation as a person of its own, and a remark says that the intervals are too narrow.
        presentations: [n], which presentation a frame belongs to; its frames are averaged. None: each row is
            one.
        dev: (scores, labels) of a development split that shares nobody with the test split.
        threshold: One that was frozen elsewhere; not together with `dev`.

    Raises:
        BadDataset: A class is missing, lengths differ, or a species, subject or presentation is missing.
        UserError: Scores are not numbers, a label is neither bona fide nor an attack, or both `dev` and
            `threshold` are given.
    """
    from swapbench.pad import metrics as rates_of

    if dev is not None and threshold is not None:
        raise UserError("dev and threshold exclude each other", remedy="Give one of them")
    if dev is not None and len(dev) != 2:
        raise UserError("dev is not a pair", remedy="Give it as (scores, labels)")
    remarks = []
    if subjects is None:
        remarks.append("no subjects: every presentation counts as a person, so intervals are too narrow")
    if species is None:
        remarks.append("no species: all attacks count as one, so APCER is an average over species")
    test = _scored("test", scores, labels, (species, subjects, presentations))
    if dev is None:
        return Errors(rates_of.describe_without_dev(test, threshold), tuple(remarks))
    return Errors(rates_of.evaluate(_scored("dev", *dev, (None, None, None)), test), tuple(remarks))


def _scored(split: str, scores: ArrayLike, labels: ArrayLike, known: tuple[ArrayLike | None, ...]) -> Scored:
    """Arrays of one split as a table with a row a presentation."""
    import numpy as np

    from swapbench.errors import BadDataset
    from swapbench.pad.scores import Scored, mean_by_presentation

    numbers = _numbers(scores)
    is_bona_fide = _bona_fide(np.asarray(labels))
    names = ("species", "subjects", "presentations")
    attacks_only = (~is_bona_fide, None, None)
    columns = [
        None if column is None else _texts(name, column, where)
        for name, column, where in zip(names, known, attacks_only, strict=True)
    ]
    shapes = {array.shape for array in (numbers, is_bona_fide, *columns) if array is not None}
    if len(shapes) > 1 or numbers.ndim != 1:
        raise BadDataset(
            f"the {split} arrays have the shapes {', '.join(map(str, sorted(shapes)))}",
            remedy="Give one-dimensional arrays of one length",
        )
    species, subjects, presentations = columns
    if presentations is None:
        presentations = np.array([f"{split} {row}" for row in range(numbers.size)], dtype=np.object_)
    attacks = np.full(numbers.shape, "attack") if species is None else species
    frames = Scored(
        presentations.astype(np.object_),
        (presentations if subjects is None else subjects).astype(np.object_),
        is_bona_fide,
        np.where(is_bona_fide, "", attacks).astype(np.object_),
        numbers,
    )
    return mean_by_presentation(frames)[0]


def _numbers(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores as float64; a masked one is a failure to acquire, NaN."""
    import numpy as np

    try:
        array: Any = np.ma.asarray(scores)
        numbers: NDArray[np.float64] | None = (
            array.astype(np.float64).filled(np.nan) if array.dtype.kind in "biufO" else None
        )
    except (TypeError, ValueError):  # texts among objects, rows of unequal lengths
        numbers = None
    if numbers is None:
        raise UserError("the scores are not numbers", remedy="Give one real number for each row")
    return numbers


def _texts(name: str, column: ArrayLike, where: NDArray[np.bool_] | None) -> NDArray[Any]:
    """A column of names as text; none may be missing, or none of those `where`."""
    import numpy as np
    import pandas as pd

    from swapbench.errors import BadDataset

    array = np.asarray(column, dtype=np.object_)
    missing = pd.isna(array)
    if where is not None and where.shape == missing.shape:
        missing = missing & where
    if missing.any():
        raise BadDataset(
            f"{int(missing.sum())} of {missing.size} {name} are missing",
            remedy=f"Name all of them, or leave {name} out",
        )
    return array.astype(str)


def _bona_fide(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Labels as booleans: True for bona fide."""
    import numpy as np

    from swapbench.data.words import is_bona_fide

    truth = {"True": True, "1": True, "1.0": True, "False": False, "0": False, "0.0": False}
    texts = labels.astype(str).ravel()
    meaning = {text: truth.get(text, is_bona_fide(text)) for text in set(texts.tolist())}
    unknown = sorted(text for text, real in meaning.items() if real is None)
    if unknown:
        raise UserError(
            f"{unknown[0]!r} is not a label",
            remedy='Label bona fide presentations 1 or "bona_fide" and attacks 0 or "attack"',
        )
    return np.array([meaning[text] for text in texts.tolist()], dtype=np.bool_).reshape(labels.shape)
