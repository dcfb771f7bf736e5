"""Magnitude pruning: the channels of a trained network that matter least are cut, and the others keep their weights.

All channels of all genes are ranked in one list, so a layer of weak channels becomes narrow. A channel of tied layers
matters as much as it does in the mean of them.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from swapbench.workshop.prune.widths import convolutions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.workshop.prune.widths import Budget, WidthSpace


def importance(
    weights: Mapping[str, Tensor], space: WidthSpace, by: Literal["l1", "bn_gamma"]
) -> tuple[Tensor, ...]:
    """How much every channel of every gene matters, one [width] tensor a gene; comparable across genes.

    l1: sum of a filter's absolute weights over the mean of its layer (Li et al., Pruning Filters 2017, made comparable);
    bn_gamma: absolute batch norm scale (Liu et al., Network Slimming 2017).
    """
    found = []
    for gene in space.genes:
        of_layers = []
        for one in convolutions():
            if one.output_place not in gene.places:
                continue
            if by == "bn_gamma":
                of_layers.append(weights[f"{one.name}.bn.weight"].abs())
            else:
                norms = weights[f"{one.name}.conv.weight"].abs().sum((1, 2, 3))
                of_layers.append(norms / norms.mean().clamp_min(1e-12))
        found.append(torch.stack(of_layers).mean(0))
    return tuple(found)


def kept_channels(
    matters: tuple[Tensor, ...], space: WidthSpace, budget: Budget
) -> tuple[tuple[int, ...], ...]:
    """The channels of every gene to keep, ascending: the most important ones of all that the budget holds.

    No gene loses more than the space allows. Raises UserError for an impossible budget.
    """
    space.within(budget)
    ranked = torch.cat(matters).sort(descending=True).values.tolist()

    def widths(count: int) -> list[int]:
        threshold = ranked[count - 1] if count else float("inf")
        return [
            space.narrowed(gene, int((one >= threshold).sum()))
            for one, gene in zip(matters, space.genes, strict=True)
        ]

    counts = range(len(ranked) + 1)
    fitting = bisect_right(counts, 0, key=lambda count: not budget.holds(space.with_widths(widths(count))))
    return tuple(
        tuple(sorted(one.argsort(descending=True, stable=True)[:width].tolist()))
        for one, width in zip(matters, widths(max(fitting - 1, 0)), strict=True)
    )


def inherited(
    weights: Mapping[str, Tensor], space: WidthSpace, kept: tuple[tuple[int, ...], ...]
) -> dict[str, Tensor]:
    """The state of the network of the kept channels, copied from the unpruned one's."""
    rows = {
        place: torch.tensor(channels)
        for gene, channels in zip(space.genes, kept, strict=True)
        for place in gene.places
    }
    result = {name: value.clone() for name, value in weights.items()}
    for one in convolutions():
        if one.output_place in rows:
            for name in [name for name in result if name.startswith(f"{one.name}.")]:
                if result[name].dim():  # the count of batches is one number
                    result[name] = result[name][rows[one.output_place]]
        if one.input_place in rows and not one.depthwise:
            kernel = f"{one.name}.conv.weight"
            result[kernel] = result[kernel][:, rows[one.input_place]]
    return result
