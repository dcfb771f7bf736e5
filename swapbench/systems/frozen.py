"""What is frozen on development: thresholds, evidence, and the errors that a system makes there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.errors import BadDataset
from swapbench.pad.metrics import FoldScores
from swapbench.pad.rates import apcer, bpcer
from swapbench.records import FrozenFold
from swapbench.systems.evidence import fitted
from swapbench.systems.rules import Decided, decided, fuse, over_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.pad.rates import ThresholdRule
    from swapbench.pad.scores import Scored
    from swapbench.records import System
    from swapbench.systems.scores import FoldMembers, FrameScores

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DevErrors:
    """Errors on development at thresholds frozen there, means over folds; rates between 0 and 1."""

    apcer: float
    bpcer: float
    acer: float


@dataclass(frozen=True, eq=False)
class Trial:
    """A system that was frozen on development.

    Attributes:
        system: frozen
        errors: on the scores that chose its thresholds: a description, no estimate
        said: what it says there, fold by fold
    """

    system: System
    errors: DevErrors
    said: tuple[Decided, ...]


@dataclass(frozen=True, eq=False)
class Development:
    """The development splits of all folds, and the rule that freezes thresholds on them.

    Attributes:
        folds: what the members say
        rule: of thresholds
    """

    folds: Sequence[FoldMembers]
    rule: ThresholdRule
    _alone: dict[object, float] = field(default_factory=dict, repr=False)

    def freeze(self, system: System) -> System:
        """The system with everything that its rule needs frozen on each fold's development split.

        Raises:
            BadDataset: a class is missing, or scores separate so badly that no finite threshold exists
        """
        return self.tried(system).system

    def tried(self, system: System) -> Trial:
        """The same, with what the system then says and its errors; raises as `freeze`."""
        frozen, said, errors = [], [], []
        for fold in self.folds:
            fold_frozen, decisions = self._frozen(system, fold)
            dev = fold.dev.of.with_scores(decisions.score).acquired
            at = fold_frozen.threshold
            errors.append((apcer(at, dev.attacks_by_species), bpcer(at, dev.bona_fide)))
            frozen.append(fold_frozen)
            said.append(decisions)
        attacks, real = (fmean(rates) for rates in zip(*errors, strict=True))
        return Trial(
            system.replace(frozen=tuple(frozen), threshold_rule=self.rule.name),
            DevErrors(attacks, real, (attacks + real) / 2),
            tuple(said),
        )

    def _frozen(self, system: System, fold: FoldMembers) -> tuple[FrozenFold, Decided]:
        dev = fold.dev.first(system.frames.count)
        known: dict[str, Any] = {}
        if system.rule == "cascade":
            known["members"] = tuple(
                self._member_threshold(system, fold, place) for place in range(len(dev.scores))
            )
        elif system.frames.rule in {"vote", "sequential"}:
            frames, real = _frames_of(system, dev)
            if system.frames.rule == "vote":
                known["members"] = (self._threshold(frames),)
            else:
                known["evidence"] = fitted(frames.score, real)
        frozen = FrozenFold(fold=fold.name, threshold=0.0, **known)
        said = decided(system, dev.scores, frozen)
        return frozen.replace(threshold=self._threshold(dev.of.with_scores(said.score))), said

    def _member_threshold(self, system: System, fold: FoldMembers, place: int) -> float:
        """Of a member alone; the same for every margin, so it is computed once."""
        key = (fold.name, place, system.frames.count, system.frames.rule)
        if key not in self._alone:
            dev = fold.dev.first(system.frames.count)
            self._alone[key] = self._threshold(
                dev.of.with_scores(over_frames(dev.scores[place], system.frames.rule))
            )
        return self._alone[key]

    def _threshold(self, dev: Scored) -> float:
        threshold = self.rule.threshold(dev.acquired)
        if not math.isfinite(threshold):
            raise BadDataset(
                "development scores do not separate bona fide from attacks, so no threshold can be frozen",
                remedy="Do the scores rise with attack? swapbench metrics FILE says more.",
            )
        return threshold


def scored(system: System, split: FrameScores, frozen: FrozenFold) -> Scored:
    """The system's score of every presentation of a split."""
    return split.of.with_scores(decided(system, split.scores, frozen).score)


def fold_scores(system: System, folds: Sequence[FoldMembers]) -> list[FoldScores]:
    """The scores of a frozen system on both splits, as those of a file."""
    return [
        FoldScores(fold.name, scored(system, fold.dev, frozen), scored(system, fold.test, frozen))
        for fold, frozen in zip(folds, system.frozen, strict=True)
    ]


def _frames_of(system: System, dev: FrameScores) -> tuple[Scored, NDArray[np.bool_]]:
    """The fused score of every development frame as a row of its own, and whether it is bona fide."""
    weights = [member.weight for member in system.members]
    fused = dev.scores[0] if len(dev.scores) == 1 else fuse(dev.scores, system.rule, weights)
    there = ~np.isnan(fused)
    frames = dev.of.rows(np.nonzero(there)[0]).with_scores(fused[there])
    return frames, frames.is_bona_fide
