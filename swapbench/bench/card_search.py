"""Finds the card of a file on labelled images: how to feed it, and how to read what it gives.

Ways are tried in stages, because their number is a product. First every range of the input in both channel
orders and two crops, on few images. Then the two best ranges with both orders and every crop, on all images;
then border, shape and filter, one after the other, and the other ranges once more. Each stage goes on from
the best of the last, and reads the outputs in every way as long as that is open. Scores come from a worker of
the file's runtime on its device, as in a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from swapbench.bench.card_checks import all_outputs
from swapbench.bench.card_fit import input_doubts, misfit
from swapbench.bench.separation import auc_interval, better_by_chance, separation
from swapbench.bench.trials import Trial, TrialBench
from swapbench.data.ranges import range_name, usual_ranges
from swapbench.data.variants import CROP_SCALES, FILTERS
from swapbench.errors import BadDataset, BadModelFile, MissingPackage, NotValid, SwapbenchError
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.pad.readings import readings
from swapbench.ports import OutputTensor
from swapbench.records import ModelCard, OutputMeaning, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.bench.workers import FileUnderTest
    from swapbench.modelfile import Graph
    from swapbench.pad.evaluation import Evaluation
    from swapbench.ports import Device, Outputs, Progress
    from swapbench.records import Plan

    Labels = NDArray[np.bool_]
    Rows = NDArray[np.intp]

IMAGES: Final = 200
COARSE_IMAGES: Final = 60
LEAST_IMAGES: Final = 16
LEAST_FINE_IMAGES: Final = 60
COARSE_S, FINE_S = 10.0, 40.0
"""Time for scoring in the first stage and in the others: a slow file gets fewer images."""
COARSE_TRIALS: Final = 16
FINE_TRIALS: Final = 38
TRIALS: Final = COARSE_TRIALS + FINE_TRIALS
ALIKE: Final = 0.002
"""In AUC. Of ways that differ by less the more usual one is chosen, which stands first."""
SIGNIFICANCE: Final = 0.01
DRAWS: Final = 400


@dataclass(frozen=True)
class Line:
    """One value of one field that was tried.

    Attributes:
        field: what was varied: output, range, channel_order, crop, border, shape or resize.
        value: as a card says it.
        auc: of the scores.
        low: of its interval.
        high: of its interval.
        verdict: "chosen"; "within noise" where the images do not tell it from the chosen one; or "worse".
    """

    field: str
    value: str
    auc: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Found:
    """What the search found.

    Attributes:
        card: the best one.
        auc: of its scores.
        interval: of the AUC, 95 %.
        bona_fide: how many images of faces.
        attacks: how many images of attacks.
        lines: what was tried, field by field, the best value first.
        remarks: what the search could not try.
    """

    card: ModelCard
    auc: float
    interval: tuple[float, float]
    bona_fide: int
    attacks: int
    lines: tuple[Line, ...]
    remarks: tuple[str, ...]

    @property
    def open_fields(self) -> tuple[str, ...]:
        """The fields of which several values separate equally well."""
        return tuple(dict.fromkeys(line.field for line in self.lines if line.verdict == "within noise"))


@dataclass(frozen=True, eq=False)
class _Tried:
    """One way, and how it separates the images of its stage."""

    preprocessing: Preprocessing
    output: OutputMeaning
    scores: NDArray[np.float64]
    auc: float


@dataclass
class CardSearch:
    """One search.

    Attributes:
        name: what the card will call the network.
        file: on the device, without samples.
        graph: what the file holds.
        evaluation: where images come from.
        rows: which of its samples are tried, see `chosen_rows`.
        device: where the file runs.
        plan: for its threads.
        progress: is told how far the search is.
    """

    name: str
    file: FileUnderTest
    graph: Graph
    evaluation: Evaluation
    rows: Rows
    device: Device
    plan: Plan
    progress: Progress
    _lines: list[Line] = field(default_factory=list)
    _remarks: list[str] = field(default_factory=list)
    _done: int = 0

    def found(self) -> Found:
        """Search.

        Raises:
            BadModelFile: the file has not one image input of a fixed size.
            BadDataset: too few images of a class have a face.
            NotValid: no way separates the classes.
            EnvironmentFailed: the file cannot be run.
        """
        self.file = replace(self.file, options={**self.file.options, **all_outputs(self.graph)})
        base = self._base()
        ranges = self._fitting_ranges(base)
        best = self._orders_and_crops(self._coarse(base, ranges))
        best = self._stage(
            best, "border", [{"border": border} for border in ("shift", "black", "reflect", "clip")]
        )
        best = self._stage(best, "shape", _shapes(best.preprocessing))
        best = self._stage(best, "resize", FILTERS)
        best = self._ranges_again(best, ranges)
        return self._result(best)

    # ------------------------------------------------------------------------------------------ the stages

    def _base(self) -> Preprocessing:
        """The input that the file fixes; drops images without a face, and those that time does not allow."""
        base = Preprocessing(crop_scale=1.0, **image_input(self.graph))
        try:
            (prepared,) = self.evaluation.prepared_rows(self.rows, [base])
            no_faces = "no face was found in any image" if len(prepared.failures) == len(self.rows) else ""
        except MissingPackage as error:
            no_faces = str(error.args[0])
        if no_faces:
            self._remarks.append(f"{no_faces}, so whole images were tried")
            base = base.replace(face_box="frame")
            (prepared,) = self.evaluation.prepared_rows(self.rows, [base])
        self.rows = np.delete(self.rows, list(prepared.failures))
        self._check_classes()
        few = self._few(4)
        (prepared,) = self.evaluation.prepared_rows(few, [base])
        (outputs,) = self._measure([Trial(base, prepared.crops())])
        run_s = outputs.pass_ns / 1e9 / len(few)
        in_time = COARSE_S / run_s / COARSE_TRIALS, FINE_S / run_s / FINE_TRIALS
        self._coarse_rows = self._few(min(COARSE_IMAGES, max(LEAST_IMAGES, in_time[0])))
        self.rows = self._few(min(len(self.rows), max(LEAST_FINE_IMAGES, in_time[1])))
        return base

    def _check_classes(self) -> None:
        bona_fide = self._labels(self.rows)
        fewest = min(int(np.sum(bona_fide)), int(np.sum(~bona_fide)))
        if fewest < LEAST_IMAGES // 2:
            raise BadDataset(
                f"only {fewest} usable image{'s' * (fewest != 1)} of a class; a card needs at least"
                f" {LEAST_IMAGES // 2} of each",
                remedy="Give a dataset with faces and attacks, or face boxes.",
            )

    def _fitting_ranges(self, base: Preprocessing) -> list[str]:
        """The names of the usual ranges, without those that a quantised input contradicts."""
        ranges = usual_ranges(base.channel_order)
        tensor = self.graph.inputs[0]
        if np.dtype(tensor.dtype).kind in "iu" and not tensor.scale:
            return ["0..255"]
        fitting = [
            name for name, attempt in ranges.items() if not input_doubts(base.replace(**attempt), self.graph)
        ]
        return fitting or list(ranges)

    def _coarse(self, base: Preprocessing, ranges: Sequence[str]) -> list[Preprocessing]:
        """The best way in each of the two best ranges, on few images, in both orders and two crops."""
        scales = (1.0,) if base.face_box == "frame" else (1.0, 2.7)
        ways = [
            base.replace(crop_scale=scale, channel_order=order, **usual_ranges(order)[name])
            for name in ranges
            for order in _orders(base)
            for scale in scales
        ]
        tried = _readable(self._tried(ways, self._coarse_rows))
        best: dict[str, Preprocessing] = {}
        for attempt in sorted(tried, key=lambda attempt: -attempt.auc):
            best.setdefault(range_name(attempt.preprocessing), attempt.preprocessing)
        return list(best.values())[:2]

    def _orders_and_crops(self, best: Sequence[Preprocessing]) -> _Tried:
        """Both channel orders with every crop, in each range."""
        own = best[0]
        crops: list[Mapping[str, Any]] = [{"crop_scale": scale} for scale in (1.0, 1.3, *CROP_SCALES[1:])]
        if own.face_box == "frame":
            crops = [{}]
        elif self.evaluation.faces is None:
            crops.append({"face_box": "frame", "crop_scale": 1.0})
        ways = [
            way.replace(**{**crop, **_turned(way, order)})
            for way in best
            for order in _orders(own)
            for crop in crops
        ]
        tried = _readable(self._tried(ways, self.rows))
        winner = _best(tried)
        alike = [attempt for attempt in tried if attempt.output == winner.output]
        for name, fields in (("channel_order", _ORDER), ("crop", _CROP)):
            self._note(name, winner, [attempt for attempt in alike if _differs(attempt, winner) <= fields])
        return winner

    def _stage(self, best: _Tried, name: str, changes: Iterable[Mapping[str, Any]]) -> _Tried:
        """Vary one thing about the best so far; the first way, the usual one, yields to a better one only."""
        own = best.preprocessing
        if own.face_box == "frame" and name == "border":
            return best
        ways = list(dict.fromkeys(own.replace(**change) for change in changes))
        tried = self._tried(ways, self.rows, best.output)
        usual, winner = tried[0], max(tried, key=lambda attempt: attempt.auc)
        if self._p(usual, winner) >= SIGNIFICANCE:
            winner = usual
        self._note(name, winner, tried)
        return winner

    def _ranges_again(self, best: _Tried, ranges: Sequence[str]) -> _Tried:
        """Every range with the best crop: few images may have misled the first stage."""
        fields = usual_ranges(best.preprocessing.channel_order)
        others = [name for name in ranges if name != range_name(best.preprocessing)]
        ways = [best.preprocessing, *(best.preprocessing.replace(**fields[name]) for name in others)]
        tried = self._tried(ways, self.rows, best.output)
        winner = max(tried, key=lambda attempt: attempt.auc)
        if self._p(tried[0], winner) >= SIGNIFICANCE:
            winner = tried[0]
        self._note("range", winner, tried)
        return winner

    # ------------------------------------------------------------------------------------------ scoring

    def _tried(
        self, ways: Sequence[Preprocessing], rows: Rows, output: OutputMeaning | None = None
    ) -> list[_Tried]:
        """The ways in which every image has a crop, read as an output that is known or in every way."""
        prepared = self.evaluation.prepared_rows(rows, ways)
        trials = [
            Trial(way, attempt.crops())
            for way, attempt in zip(ways, prepared, strict=True)
            if not attempt.failures
        ]
        tried = []
        for trial, outputs in zip(trials, self._measure(trials), strict=True):
            if output is None:
                tried += self._read(trial.preprocessing, outputs, rows)
            else:
                tried.append(self._scored(trial.preprocessing, output, outputs, rows))
        return tried

    def _measure(self, trials: Sequence[Trial]) -> list[Outputs]:
        at_once = max(1, self.evaluation.processes // self.plan.threads)
        bench = TrialBench(self.device, self.plan, self.evaluation.cache / "crops", at_once)
        outputs = bench.outputs(self.file, trials)
        self._done += len(trials)
        self.progress("trying ways to feed the file", min(self._done, TRIALS), TRIALS)
        return outputs

    def _read(self, way: Preprocessing, outputs: Outputs, rows: Rows) -> list[_Tried]:
        """Every reading of what the file gave; outputs that are not finite cannot be read."""
        numbers = np.asarray(outputs.rows, np.float64)
        if not np.isfinite(numbers).all():
            return []
        return [self._scored(way, reading, outputs, rows) for reading in readings(numbers, _tensors(outputs))]

    def _scored(self, way: Preprocessing, output: OutputMeaning, outputs: Outputs, rows: Rows) -> _Tried:
        try:
            scores = bona_fide_scores(outputs.rows, output, _tensors(outputs))
        except NotValid:
            scores = np.zeros(len(outputs.rows))
        return _Tried(way, output, scores, separation(scores, self._labels(rows)))

    # ------------------------------------------------------------------------------------------ the result

    def _result(self, best: _Tried) -> Found:
        read = self._tried([best.preprocessing], self.rows) or [best]
        final = _best(read)
        bona_fide = self._labels(self.rows)
        self._note("output", final, read)
        counts = int(np.sum(bona_fide)), int(np.sum(~bona_fide))
        interval = auc_interval(final.auc, *counts)
        if interval[0] <= 0.5:
            raise NotValid(
                f"no way to feed the file and to read its outputs separates the {len(bona_fide)} images:"
                f" the best has an AUC of {final.auc:.2f}, interval {interval[0]:.2f} to {interval[1]:.2f}",
                remedy="Give more images, or images that resemble those that the network was made for.",
            )
        card = ModelCard(
            name=self.name,
            summary=f"found by swapbench card on {counts[0]} faces and {counts[1]} attacks of"
            f" {self.evaluation.folds[0].name}, AUC {final.auc:.3f}",
            preprocessing=final.preprocessing,
            output=final.output,
            licence="unknown",
        )
        reason = misfit(card, self.graph)
        if reason is not None:
            raise SwapbenchError(f"the search made a card that does not fit: {reason.absent}")
        order = ("output", "range", "channel_order", "crop", "border", "shape", "resize")
        lines = sorted(
            self._lines, key=lambda line: (order.index(line.field), line.verdict != "chosen", -line.auc)
        )
        return Found(card, final.auc, interval, *counts, tuple(lines), tuple(self._remarks))

    def _note(self, name: str, winner: _Tried, tried: Sequence[_Tried]) -> None:
        """Lines about what was varied; nothing where there was one value only."""
        if len(tried) < 2:
            return
        bona_fide = self._labels(self.rows)
        counts = int(np.sum(bona_fide)), int(np.sum(~bona_fide))
        for attempt in tried:
            verdict = "chosen"
            if attempt is not winner:
                verdict = "worse" if self._p(attempt, winner) < SIGNIFICANCE else "within noise"
            low, high = auc_interval(attempt.auc, *counts)
            self._lines.append(Line(name, _value(name, attempt), attempt.auc, low, high, verdict))

    def _p(self, attempt: _Tried, other: _Tried) -> float:
        """Of the hypothesis that the other separates no better; see `better_by_chance`."""
        if other.auc <= attempt.auc:
            return 1.0
        return better_by_chance(attempt.scores, other.scores, self._labels(self.rows), DRAWS)

    def _labels(self, rows: Rows) -> Labels:
        return np.array([self.evaluation.samples[row].bona_fide for row in rows], dtype=np.bool_)

    def _few(self, count: float) -> Rows:
        """Up to `count` of the images, half of each class, spread evenly."""
        bona_fide = self._labels(self.rows)
        picked: list[int] = []
        for wanted in (True, False):
            rows = self.rows[bona_fide == wanted]
            taken = min(len(rows), max(1, int(count) // 2))
            picked += [int(rows[place * len(rows) // taken]) for place in range(taken)]
        return np.array(sorted(picked), dtype=np.intp)


_ORDER = frozenset({"channel_order", "mean", "std"})
_CROP = frozenset({"crop_scale", "face_box"})


def image_input(graph: Graph) -> dict[str, Any]:
    """Size and channels of a file's only input, as fields of a preprocessing.

    Raises:
        BadModelFile: it is not one image of a fixed size.
    """
    if len(graph.inputs) == 1 and len(graph.inputs[0].shape) == 4:
        _, first, second, last = graph.inputs[0].shape
        for channels, order in ((3, "rgb"), (1, "gray")):
            for height, width, given in ((first, second, last), (second, last, first)):
                if given == channels and min(height, width) > 0:
                    return {"width_px": width, "height_px": height, "channel_order": order}
    shapes = "; ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in graph.inputs)
    raise BadModelFile(
        f"a card describes one input that is an image of a fixed size, and the file has {shapes or 'none'}",
        remedy="Fix the size of the input, or write the card by hand.",
    )


def _orders(own: Preprocessing) -> tuple[Literal["rgb", "bgr", "gray"], ...]:
    """The channel orders of an input with as many channels."""
    return ("gray",) if own.channel_order == "gray" else ("rgb", "bgr")


def _turned(own: Preprocessing, order: str) -> Mapping[str, Any]:
    """The fields of a channel order; mean and std stay with their colours."""
    if order == own.channel_order:
        return {"channel_order": order}
    return {"channel_order": order, "mean": own.mean[::-1], "std": own.std[::-1]}


def _shapes(own: Preprocessing) -> list[Mapping[str, Any]]:
    """The box as it is or a square, stretched or with bars."""
    if own.face_box == "frame":
        return [{"fit": "stretch"}, {"fit": "letterbox"}]
    return [
        {"keep_box_aspect": False, "fit": "stretch"},
        {"keep_box_aspect": True, "fit": "stretch"},
        {"keep_box_aspect": True, "fit": "letterbox"},
    ]


def _tensors(outputs: Outputs) -> tuple[OutputTensor, ...]:
    return outputs.tensors or (OutputTensor("", (len(outputs.rows[0]),)),)


def _readable(tried: Sequence[_Tried]) -> Sequence[_Tried]:
    """Raise NotValid where no way gave an output that can be read as a score."""
    if not tried:
        raise NotValid(
            "none of the file's outputs can be read as a score",
            remedy="Write a card by hand; an expression may combine outputs.",
        )
    return tried


def _best(tried: Sequence[_Tried]) -> _Tried:
    """The first of those that separate best, or as good as best."""
    most = max(attempt.auc for attempt in tried)
    return next(attempt for attempt in tried if attempt.auc >= most - ALIKE)


def _differs(attempt: _Tried, other: _Tried) -> frozenset[str]:
    """The fields in which two preprocessings differ."""
    pair = attempt.preprocessing, other.preprocessing
    return frozenset(
        name for name in Preprocessing.model_fields if getattr(pair[0], name) != getattr(pair[1], name)
    )


def _value(name: str, tried: _Tried) -> str:
    """What was varied, in few words."""
    own, output = tried.preprocessing, tried.output
    if name == "output":
        which = f" of {output.name}" if output.name else ""
        if output.of_classes:
            return f"{output.kind}[{output.bona_fide_index}]{which}"
        return f"{output.kind}{which}, high is {output.higher_is.replace('_', ' ')}"
    if name == "range":
        return range_name(own)
    if name == "crop":
        return "whole frame" if own.face_box == "frame" else f"{own.crop_scale:g}"
    if name == "shape":
        square = "" if own.face_box == "frame" else "box, " if own.keep_box_aspect else "square, "
        return f"{square}{own.fit}"
    if name == "resize":
        return own.resize if own.enlarge is None else f"{own.resize}, enlarge {own.enlarge}"
    return str(getattr(own, name))
