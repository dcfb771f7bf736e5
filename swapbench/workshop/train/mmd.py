"""Maximum mean discrepancy between domains: how differently a network sees what differs only in camera, printer or light.

Gretton et al., A Kernel Two-Sample Test (2012), the unbiased estimator; the mean of three Gaussian kernels about the median
heuristic. Between the *source* domains of face anti-spoofing as in Li et al., Learning Generalized Deep Feature
Representation (2018): the target domain is never looked at. Where it enters Meta-MMD is our reading (see prune).
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from swapbench.data.dataset import Dataset

MmdOver = Literal["each_class", "all", "bona_fide"]
"""each_class: the mean of bona fide and attacks, each compared with its own class, so that classes in unequal parts are no
discrepancy; all: whatever the class; bona_fide: living faces alone, attacks may differ between domains."""

KERNEL_WIDTHS = (0.5, 1.0, 2.0)
"""Multiples of the bandwidth."""


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """[n, d] and [m, d] to [n, m], never negative. Without a root, whose gradient at equal points is infinite."""
    squares = x.square().sum(1)[:, None] + y.square().sum(1)[None, :]
    return (squares - 2 * x @ y.T).clamp_min(0)


def median_bandwidth(features: Tensor) -> float:
    """The median squared distance of different rows of [n, d], the lower of two middle ones; no gradient flows through it."""
    rows = features.detach()
    first, second = torch.triu_indices(len(rows), len(rows), 1)
    return max(float(squared_distances(rows, rows)[first, second].median()), 1e-12)


def mmd_squared(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    """Squared MMD of the samples [n, d] and [m, d], n and m at least 2: unbiased, so about 0 and often negative where they are alike.

    Kernel: mean over a in KERNEL_WIDTHS of exp(-distance^2 / (2 a bandwidth)). The biased estimator would be far above 0
    at the sizes of a batch (0.03 where 32 and 32 of one distribution are compared).
    """
    n, m = len(x), len(y)
    of_x, of_y, across = _kernel(x, x, bandwidth), _kernel(y, y, bandwidth), _kernel(x, y, bandwidth)
    within_x = (of_x.sum() - of_x.diagonal().sum()) / (n * (n - 1))
    within_y = (of_y.sum() - of_y.diagonal().sum()) / (m * (m - 1))
    return within_x + within_y - 2 * across.mean()


def domain_discrepancy(
    features: Tensor, domains: Tensor, bona_fide: Tensor, over: MmdOver, bandwidth: float | None = None
) -> Tensor:
    """Mean squared MMD over all pairs of domains: features [n, d], domains [n] numbers, bona_fide [n] 0 or 1; a scalar.

    bandwidth: None takes the median of these features, which makes the number independent of their scale; give one to
    compare networks. What has fewer than two rows is left out; where no pair is left the result is 0, with a gradient of 0.
    """
    bandwidth = median_bandwidth(features) if bandwidth is None else bandwidth
    of_interest = {
        "each_class": (bona_fide == 1, bona_fide == 0),
        "all": (torch.ones_like(bona_fide, dtype=torch.bool),),
        "bona_fide": (bona_fide == 1,),
    }[over]
    means = []
    for chosen in of_interest:
        groups = [features[chosen & (domains == number)] for number in torch.unique(domains)]
        pairs = combinations([group for group in groups if len(group) >= 2], 2)
        found = [mmd_squared(one, other, bandwidth) for one, other in pairs]
        if found:
            means.append(torch.stack(found).mean())
    return torch.stack(means).mean() if means else features.sum() * 0


def require_domains(dataset: Dataset, split: str) -> None:
    """Raise BadDataset where a split has fewer than two domains."""
    names = sorted({sample.domain for sample in dataset.samples(split)})
    if len(names) < 2:
        raise BadDataset(
            f"the recipe compares domains, and {split} of {dataset.name} has only {names[0] or 'one without a name'}",
            remedy="Take several sources, as in --protocol A+B+C:D, or set mmd_weight, mmd_training and mmd_search to 0.",
        )


def _kernel(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    scaled = squared_distances(x, y) / (2 * bandwidth)
    return torch.stack([torch.exp(-scaled / width) for width in KERNEL_WIDTHS]).mean(0)
