"""How good a network is on a split: its scores, and their error rates. For the development split; knows nothing of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from swapbench.data.preprocess import Prepared, normalise
from swapbench.pad.rates import auc, eer_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from swapbench.data.samples import Sample
    from swapbench.records import OutputMeaning, Preprocessing

SCORING_BATCH = 32


def scores(
    network: nn.Module,
    prepared: Prepared,
    preprocessing: Preprocessing,
    output: OutputMeaning,
    *,
    bfloat16: bool = False,
) -> NDArray[np.float64]:
    """The bona fide score of every prepared image, NaN where it could not be read, computed where the network is."""
    pixels = prepared.crops()
    device = next(network.parameters()).device
    network.eval()
    found: list[Tensor] = []
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for start in range(0, len(pixels), SCORING_BATCH):
            images = torch.from_numpy(normalise(pixels[start : start + SCORING_BATCH], preprocessing))
            logits = network(images.permute(0, 3, 1, 2).to(device)).double()
            found.append(torch.softmax(logits, 1)[:, output.bona_fide_index].cpu())
    result: NDArray[np.float64] = torch.cat(found).numpy()
    result[list(prepared.failures)] = np.nan
    return result


def dev_results(samples: Sequence[Sample], found: NDArray[np.float64]) -> dict[str, float]:
    """EER, AUC and class-balanced log loss of bona fide scores; NaN is left out."""
    known = np.isfinite(found)
    real = np.array([sample.bona_fide for sample in samples])[known]
    found = found[known]
    equal = eer_threshold(found[real], found[~real])
    chance = np.clip(np.where(real, found, 1 - found), 1e-7, 1.0)
    loss = -(np.log(chance[real]).mean() + np.log(chance[~real]).mean()) / 2
    return {"eer": equal.eer, "auc": auc(found[real], found[~real]), "loss": round(float(loss), 6)}
