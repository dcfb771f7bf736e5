"""Maximum mean discrepancy (MMD) between domains: how much features depend on camera, printer or light.

The unbiased estimator of Gretton et al., "A Kernel Two-Sample Test" (JMLR 2012), with the mean of three
Gaussian kernels around the median heuristic. It compares the *source* domains of face anti-spoofing, as in Li
et al., "Learning Generalized Deep Feature Representation for Face Anti-Spoofing" (TIFS 2018); the target
domain is never looked at. Where it enters Meta-MMD is our reading (see `prune.pruning`).
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
"""Which features of two domains are compared.

each_class compares bona fide with bona fide and attacks with attacks and takes the mean, so that classes in
unequal parts are no discrepancy; all ignores the class; bona_fide compares living faces alone: attacks may
differ between domains.
"""

KERNEL_WIDTHS = (0.5, 1.0, 2.0)
"""Widths of the three kernels, as multiples of the bandwidth."""


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances of [n, d] and [m, d]: [n, m], never negative.

    Squared, because the gradient of the root at equal points is infinite.
    """
    squares = x.square().sum(1)[:, None] + y.square().sum(1)[None, :]
    return (squares - 2 * x @ y.T).clamp_min(0)


def median_bandwidth(features: Tensor) -> float:
    """The (lower) median squared distance of different rows of [n, d]; without gradient."""
    rows = features.detach()
    first, second = torch.triu_indices(len(rows), len(rows), 1)
    return max(float(squared_distances(rows, rows)[first, second].median()), 1e-12)


def mmd_squared(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    """Unbiased estimate of the squared MMD of two samples: about 0, and often negative, where they are alike.

    The kernel is the mean over a in KERNEL_WIDTHS of exp(-distance^2 / (2 a bandwidth)). The biased estimate
    would be far above 0 at the size of a batch (0.03 where 32 and 32 rows of one distribution are compared).

    Args:
        x: Features [n, d], n at least 2.
        y: Features [m, d], m at least 2.
        bandwidth: A squared distance, see `median_bandwidth`.
    """
    n, m = len(x), len(y)
    of_x, of_y, across = _kernel(x, x, bandwidth), _kernel(y, y, bandwidth), _kernel(x, y, bandwidth)
    within_x = (of_x.sum() - of_x.diagonal().sum()) / (n * (n - 1))
    within_y = (of_y.sum() - of_y.diagonal().sum()) / (m * (m - 1))
    return within_x + within_y - 2 * across.mean()


def domain_discrepancy(
    features: Tensor, domains: Tensor, bona_fide: Tensor, over: MmdOver, bandwidth: float | None = None
) -> Tensor:
    """Mean squared MMD over all pairs of domains: a scalar.

    Domains with fewer than two rows are left out; where no pair is left the result is 0, with a gradient of
    0.

    Args:
        features: [n, d].
        domains: Number of the domain of each row [n].
        bona_fide: 0 or 1 for each row [n].
        over: Which rows of two domains are compared.
        bandwidth: None takes the median of these features, which makes the result independent of their scale.
            Give one to compare networks.
    """
    bandwidth = median_bandwidth(features) if bandwidth is None else bandwidth
    selections = {
        "each_class": (bona_fide == 1, bona_fide == 0),
        "all": (torch.ones_like(bona_fide, dtype=torch.bool),),
        "bona_fide": (bona_fide == 1,),
    }[over]
    means = []
    for selection in selections:
        groups = [features[selection & (domains == number)] for number in torch.unique(domains)]
        pairs = combinations([group for group in groups if len(group) >= 2], 2)
        discrepancies = [mmd_squared(x, y, bandwidth) for x, y in pairs]
        if discrepancies:
            means.append(torch.stack(discrepancies).mean())
    return torch.stack(means).mean() if means else features.sum() * 0


def require_domains(dataset: Dataset, split: str) -> None:
    """Check that a split has at least two domains, and raise BadDataset where it has not."""
    names = sorted({sample.domain for sample in dataset.samples(split)})
    if len(names) < 2:
        raise BadDataset(
            f"the recipe compares domains, but {split} of {dataset.name} has only "
            f"{names[0] or 'one without a name'}",
            remedy="Take several sources, as in --protocol A+B+C:D, or set mmd_weight, mmd_training "
            "and mmd_search to 0.",
        )


def _kernel(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    scaled = squared_distances(x, y) / (2 * bandwidth)
    return torch.stack([torch.exp(-scaled / width) for width in KERNEL_WIDTHS]).mean(0)
