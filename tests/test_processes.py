"""Several processes that train one network; without GPUs they share the CPU, with the same code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_prune
import test_train
import tomli_w

from swapbench.cards import read_card
from swapbench.data.dataset import Dataset
from swapbench.errors import UserError
from swapbench.workshop.pipeline.crops import decode
from swapbench.workshop.recipes.recipe import Phase

stripes = test_train.stripes
REPOSITORY = Path(__file__).parents[1]


def torchrun(count: int, *command: str, folder: Path) -> str:
    """What the processes say, together."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""},
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_shares_of_a_batch_make_the_batch(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.pipeline.batches import Batch, batches, draw

    def parts(batch: Batch) -> list[Any]:
        every = [batch.rows, *batch.images, batch.bona_fide, batch.domains, batch.views]
        return [part for part in every if part is not None]

    recipe = test_train.tiny()
    size = recipe.preprocessing
    regions = decode(stripes.samples("train"), [size], recipe.augmentation, tmp_path)
    fixed = [draw(recipe.augmentation, len(regions.samples), np.random.default_rng(one)) for one in (1, 2)]
    for views in ((), fixed):
        every, evens, odds = (
            list(batches(recipe, 0, regions, size, np.random.default_rng(3), views=views, share=share))
            for share in (slice(None), slice(0, None, 2), slice(1, None, 2))
        )
        for whole, even, odd in zip(every, evens, odds, strict=True):
            assert len(whole.rows) == 8
            for of_whole, of_even, of_odd in zip(*map(parts, (whole, even, odd)), strict=True):
                assert np.array_equal(of_whole[0::2], of_even)
                assert np.array_equal(of_whole[1::2], of_odd)


def test_a_batch_that_cannot_be_shared_evenly_is_an_error() -> None:
    from swapbench.workshop.train.processes import Processes

    phases = (Phase(size_px=32, epochs=1, batch=32),)
    Processes(1, 4).require_equal_shares(phases)
    with pytest.raises(UserError, match="3 processes cannot share a batch of 32 images evenly"):
        Processes(0, 3).require_equal_shares(phases)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(stripes: Dataset, tmp_path: Path) -> None:
    """Without batch norm the mean gradient of the shares is the gradient of the batch."""
    import torch

    command = (str(REPOSITORY / "tests" / "plain_network.py"), str(stripes.root), ".")
    for count in (1, 2):
        torchrun(count, *command, folder=tmp_path)
    alone, first, second = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("0-of-1", "0-of-2", "1-of-2")
    )
    for name, weights in alone.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(weights, first[name], rtol=1e-4, atol=1e-5), name


@pytest.mark.slow
def test_torchrun_prunes_and_trains_once_and_finds_it_again(stripes: Dataset, tmp_path: Path) -> None:
    recipe = test_prune.recipe(test_prune.META | {"mmd_training": 1.0}, mmd_weight=1.0)
    (tmp_path / "thin.toml").write_text(tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True)))
    command = (
        "-m",
        "swapbench",
        "train",
        "thin.toml",
        "--data",
        str(stripes.root),
        "--out",
        "made",
        "--missing",
    )
    said = torchrun(2, *command, folder=tmp_path)
    card = read_card(tmp_path / "made" / "thin.metapruning-0_15M.toml")
    assert card.training is not None
    assert "2 processes" in card.training.machine
    assert card.training.command.startswith(
        "torchrun --nproc-per-node 2 --local-ranks-filter 0 -m swapbench train"
    )
    assert said.count("PruningNet epoch 1/2") == 1
    assert said.count("found in generation") == 1
    assert (tmp_path / "made" / "thin.metapruning-0_15M.curve.csv").read_text().count("\n") == 2
    again = torchrun(2, *command, folder=tmp_path)
    assert "were trained before" in again
    assert read_card(tmp_path / "made" / "thin.metapruning-0_15M.toml") == card
