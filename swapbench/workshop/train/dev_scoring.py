"""How good a network is on a split, such as the development split in training: its scores and error rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from swapbench.data.preprocess import Prepared, normalise
from swapbench.pad.rates import auc, eer_threshold
from swapbench.workshop.pipeline.batches import normalised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from swapbench.records import OutputMeaning, Preprocessing

SCORING_BATCH = 32


def network_scores(
    network: nn.Module,
    prepared: Prepared,
    preprocessing: Preprocessing,
    output: OutputMeaning,
    *,
    bfloat16: bool = False,
    beside: Sequence[Prepared] = (),
) -> NDArray[np.float64]:
    """The bona fide score of every prepared image [n], NaN where it could not be read.

    Args:
        network: On any device.
        prepared: The photographs.
        preprocessing: Theirs.
        output: What the logits mean.
        bfloat16: Whether the network computes in it.
        beside: The same captures in each modality that the network sees besides.
    """
    pixels = prepared.crops()
    others = [one.crops() for one in beside]
    device = next(network.parameters()).device
    network.eval()
    batches: list[Tensor] = []
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for start in range(0, len(pixels), SCORING_BATCH):
            rows = slice(start, start + SCORING_BATCH)
            if others:
                stacked = np.concatenate([pixels[rows], *(one[rows] for one in others)], axis=3)
                images = normalised(torch.from_numpy(stacked).permute(0, 3, 1, 2).float(), preprocessing)
            else:
                images = torch.from_numpy(normalise(pixels[rows], preprocessing)).permute(0, 3, 1, 2)
            logits = network(images.to(device)).double()
            batches.append(torch.softmax(logits, 1)[:, list(output.bona_fide_indexes)].sum(1).cpu())
    scores: NDArray[np.float64] = torch.cat(batches).numpy()
    scores[list(prepared.failures)] = np.nan
    return scores


def dev_results(labels: Sequence[bool], scores: NDArray[np.float64]) -> dict[str, float]:
    """EER, AUC and class-balanced log loss of bona fide scores [n]; NaN is left out.

    Args:
        labels: Whether each sample is bona fide.
        scores: Of the samples.
    """
    scored = np.isfinite(scores)
    bona_fide = np.array(labels)[scored]
    scores = scores[scored]
    equal = eer_threshold(scores[bona_fide], scores[~bona_fide])
    likelihood = np.clip(np.where(bona_fide, scores, 1 - scores), 1e-7, 1.0)
    loss = -(np.log(likelihood[bona_fide]).mean() + np.log(likelihood[~bona_fide]).mean()) / 2
    return {
        "eer": equal.eer,
        "auc": auc(scores[bona_fide], scores[~bona_fide]),
        "loss": round(float(loss), 6),
    }
