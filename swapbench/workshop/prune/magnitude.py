"""Magnitude pruning: the least important channels of a trained network are cut.

All channels of all genes are ranked in one list, so a layer of weak channels becomes narrow. The importance
of a channel of tied layers is its mean over them.
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
    """The importance of every channel of every gene; comparable across genes.

    Args:
        weights: State dict of the unpruned network.
        space: Its genes.
        by: "l1" is the sum of a filter's absolute weights (Li et al., "Pruning Filters for Efficient
            ConvNets", ICLR 2017), divided by the mean of its layer so that layers compare; "bn_gamma" is the
            absolute batch norm scale (Liu et al., "Learning Efficient Convolutional Networks through Network
            Slimming", ICCV 2017).

    Returns:
        One tensor [width] a gene.
    """
    of_genes = []
    for gene in space.genes:
        of_layers = []
        for convolution in convolutions():
            if convolution.output_place not in gene.places:
                continue
            if by == "bn_gamma":
                of_layers.append(weights[f"{convolution.name}.bn.weight"].abs())
            else:
                norms = weights[f"{convolution.name}.conv.weight"].abs().sum((1, 2, 3))
                of_layers.append(norms / norms.mean().clamp_min(1e-12))
        of_genes.append(torch.stack(of_layers).mean(0))
    return tuple(of_genes)


def kept_channels(
    importances: tuple[Tensor, ...], space: WidthSpace, budget: Budget
) -> tuple[tuple[int, ...], ...]:
    """The channels of every gene to keep, ascending: as many of the most important ones as the budget holds.

    No gene loses more than the space allows.

    Args:
        importances: One tensor [width] a gene, see `importance`.
        space: The genes.
        budget: The limit.

    Raises:
        UserError: No structure is within the budget.
    """
    space.within(budget)
    ranked = torch.cat(importances).sort(descending=True).values.tolist()

    def widths(count: int) -> list[int]:
        threshold = ranked[count - 1] if count else float("inf")
        return [
            space.narrowed(gene, int((of_gene >= threshold).sum()))
            for of_gene, gene in zip(importances, space.genes, strict=True)
        ]

    counts = range(len(ranked) + 1)
    fitting = bisect_right(counts, 0, key=lambda count: not budget.holds(space.with_widths(widths(count))))
    return tuple(
        tuple(sorted(of_gene.argsort(descending=True, stable=True)[:width].tolist()))
        for of_gene, width in zip(importances, widths(max(fitting - 1, 0)), strict=True)
    )


def inherited(
    weights: Mapping[str, Tensor], space: WidthSpace, kept: tuple[tuple[int, ...], ...]
) -> dict[str, Tensor]:
    """The state dict of the network of the kept channels, copied from the unpruned one's."""
    rows = {
        place: torch.tensor(channels)
        for gene, channels in zip(space.genes, kept, strict=True)
        for place in gene.places
    }
    result = {name: value.clone() for name, value in weights.items()}
    for convolution in convolutions():
        if convolution.output_place in rows:
            for name in [name for name in result if name.startswith(f"{convolution.name}.")]:
                if result[name].dim():  # the count of batches is a scalar
                    result[name] = result[name][rows[convolution.output_place]]
        if convolution.input_place in rows and not convolution.depthwise:
            kernel = f"{convolution.name}.conv.weight"
            result[kernel] = result[kernel][:, rows[convolution.input_place]]
    return result
