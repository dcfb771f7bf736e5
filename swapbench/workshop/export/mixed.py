"""Which layers of a quantised file stay in float: found by what each costs, as a curve of agreement and size.

Quantisation noise is small and independent from layer to layer, so the squared errors of the logits add up:
what a layer costs is the squared error with that layer alone quantised (of MiniFASNetV2 the sum over 50
layers is 1.1 times the squared error of all together). Leaving a layer in float takes its cost away, at the
price of its weights, which take four times the room, and of its arithmetic. Layers are left in float in the
order of cost for price, and what that gains is measured on the way.

Sources: one layer quantised at a time, Wu et al., "Integer Quantization for Deep Learning Inference:
Principles and Empirical Evaluation", 2020; errors that add up, Zhou et al., "Adaptive Quantization for Deep
Neural Network", AAAI 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

from swapbench.records import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

FLOAT_HEAD_SHARE = 0.02
"""The output layer stays in float where it has at most this share of all multiplications.

A score is then not one of 256 values.
"""

LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""How many units stay in float in the trials after the first: in single steps where the gain is largest."""

MOST_UNITS = 48
"""Units whose cost is measured; in deeper networks, several consecutive layers are one unit."""

LEAST_UNITS = 8

TRIAL_MACS = 1e12
"""Multiplications spent on measuring costs, some two minutes on one core, which bounds the number of units.

A bound of time would make the file depend on how busy the machine was.
"""

MOST_PRICE = 0.5
"""The share of a network that may stay in float: half of its weights and arithmetic, on average."""


LEAST_PRICE = 2e-4
"""Of a layer, where prices are divided by: the two conversions at its ends are never free."""


class Operator(NamedTuple):
    """An operator of a graph: its name, the number of its weights, its multiply-accumulates of a run."""

    name: str
    weights: int = 0
    macs: int = 0


@dataclass(frozen=True)
class Layer:
    """A weighted operator with those between it and the one before: quantised together, or not at all.

    Attributes:
        name: of the weighted operator.
        operators: names of all of them, in order.
        weights: number of its weights.
        macs: multiply-accumulates of a run.
    """

    name: str
    operators: tuple[str, ...]
    weights: int
    macs: int


def body_and_head(operators: Sequence[Operator]) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The layers that can be quantised, and the names of the last operators, which stay in float.

    The head is the last weighted operator and all after it, where that one is small (`FLOAT_HEAD_SHARE`);
    else it is empty. What has no weight before the head belongs to the layer before it.

    Args:
        operators: In order.
    """
    weighted = [place for place, operator in enumerate(operators) if operator.macs]
    if not weighted:
        return (), ()
    last = weighted[-1]
    small = operators[last].macs <= FLOAT_HEAD_SHARE * sum(operator.macs for operator in operators)
    ends = weighted[:-1] if small else weighted
    if not ends:
        return (), tuple(operator.name for operator in operators[last:])
    stop = last if small else len(operators)
    bounds = [0, *(end + 1 for end in ends[:-1]), stop]
    layers = tuple(
        Layer(
            operators[end].name,
            tuple(operator.name for operator in operators[begin:until]),
            operators[end].weights,
            operators[end].macs,
        )
        for end, (begin, until) in zip(ends, pairwise(bounds), strict=True)
    )
    return layers, tuple(operator.name for operator in operators[stop:])


class Quantiser(Protocol):
    """A network that can be quantised in part, calibrated once."""

    layers: tuple[Layer, ...]

    def file(self, in_float: Collection[int] = ()) -> bytes:
        """The file with the layers of these numbers in float."""


class Trial(Frozen):
    """One point of the curve: which layers stayed in float, what the file costs and how it agrees.

    Attributes:
        float_layers: names of the layers in float.
        float_share: share of the network that they are, half by weights, half by multiplications.
        file_bytes: size of the file.
        run_ns: the fastest run, in the exporting process, beside others: a first idea, no benchmark.
        logit_error: root mean square error of the logits in units of their standard deviation.
        rank_correlation: Spearman's, None where a side is constant.
        flips: decisions that differ from the network's.
        samples: that were compared.
        chosen: whether this became the file.
    """

    float_layers: tuple[str, ...]
    float_share: float
    file_bytes: int
    run_ns: int
    logit_error: float | None
    rank_correlation: float | None
    flips: int
    samples: int
    chosen: bool = False


def search(
    quantiser: Quantiser,
    cost: Callable[[bytes], float],
    measure: Callable[[bytes, Sequence[int]], Trial],
    target: float,
    samples: int,
) -> tuple[bytes, tuple[Trial, ...]]:
    """The file with the best trade between agreement and what stays in float, and the curve.

    Where the logit error of all layers quantised is within `target`, or cannot be known because the network
    gives all samples the same score, that is the file and the only trial. Of
    several trials, the best has the smallest sum of two shares: of the error of all layers quantised that
    remains, and of the network that stays in float. Those within `target` come first.

    Args:
        quantiser: Of the network.
        cost: The logit error of a file, on the samples for costs; infinite where it is not known.
        measure: A trial of a file with these layers in float.
        target: A logit error.
        samples: Number of samples that a cost is measured on.
    """
    layers = quantiser.layers
    first = quantiser.file()
    trials = {first: measure(first, ())}
    if not layers or trials[first].logit_error is None or _within(trials[first], target):
        return first, (trials[first].replace(chosen=True),)
    units = _units(layers, samples)
    every = range(len(layers))
    worth = {}
    for unit in units:
        alone = quantiser.file([number for number in every if number not in unit])
        worth[unit] = cost(alone) ** 2 / max(price(layers, unit), LEAST_PRICE)
    kept: list[tuple[int, ...]] = []
    for unit in sorted(units, key=lambda unit: -worth[unit]):
        if price(layers, [number for one in (*kept, unit) for number in one]) <= MOST_PRICE:
            kept.append(unit)
    for count in (step for step in LADDER if step <= len(kept)):
        in_float = sorted(number for unit in kept[:count] for number in unit)
        content = quantiser.file(in_float)
        trials.setdefault(content, measure(content, in_float))
    whole = trials[first].logit_error or math.inf
    best = min(trials, key=lambda content: _rank(trials[content], whole, target))
    curve = (trial.replace(chosen=content is best) for content, trial in trials.items())
    return best, tuple(curve)


def price(layers: Sequence[Layer], in_float: Collection[int]) -> float:
    """The share of a network that these layers are, half by weights, half by multiplications."""
    weights = sum(layers[number].weights for number in in_float) / sum(layer.weights for layer in layers)
    macs = sum(layers[number].macs for number in in_float) / sum(layer.macs for layer in layers)
    return (weights + macs) / 2


def _units(layers: Sequence[Layer], samples: int) -> list[tuple[int, ...]]:
    """The numbers of all layers, in as many runs of consecutive ones as may be tried one by one."""
    affordable = int(TRIAL_MACS / max(1, samples * sum(layer.macs for layer in layers)))
    count = min(len(layers), max(LEAST_UNITS, min(MOST_UNITS, affordable)))
    ends = [len(layers) * place // count for place in range(count + 1)]
    return [tuple(range(begin, end)) for begin, end in pairwise(ends)]


def _within(trial: Trial, target: float) -> bool:
    return trial.logit_error is not None and trial.logit_error <= target


def _rank(trial: Trial, whole: float, target: float) -> tuple[bool, float]:
    """The smaller, the better; `whole` is the error of all layers quantised."""
    error = math.inf if trial.logit_error is None else trial.logit_error
    return not _within(trial, target), error / whole + trial.float_share
