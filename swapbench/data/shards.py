"""A share of a dataset, decided by digests alone, so that many computers agree on it without asking."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swapbench.data.dataset import Dataset


def shard_of(presentation: str, of: int) -> int:
    """In which of so many shards a presentation is, from 1; all of its frames are in the same."""
    return int.from_bytes(hashlib.sha256(presentation.encode()).digest()[:8], "big") % of + 1


def shard(dataset: Dataset, number: int, of: int) -> Dataset:
    """The presentations of a dataset that are in one of its shards, in their order."""
    splits = {
        split: tuple(sample for sample in samples if shard_of(sample.presentation, of) == number)
        for split, samples in dataset.splits.items()
    }
    return replace(dataset, splits=splits)
