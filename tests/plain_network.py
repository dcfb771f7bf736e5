"""Trains a network without batch norm for two epochs, alone or as one of torchrun's processes; leaves its weights in a file.

python plain_network.py DATASET WORK      torchrun --nproc-per-node 2 plain_network.py DATASET WORK
"""

import sys
from pathlib import Path

import torch
from torch import nn

from swapbench.compress.loop import Run
from swapbench.compress.processes import joined
from swapbench.compress.recipe import Augmentation, Phase, TrainRecipe
from swapbench.pad.dataset import Dataset
from swapbench.records import OutputMeaning, Preprocessing

RECIPE = TrainRecipe(
    name="plain",
    summary="for tests",
    family="resnet_map",  # not built: the network is handed in
    architecture={},
    preprocessing=Preprocessing(width_px=32, height_px=32, crop_scale=1.2),
    output=OutputMeaning(kind="logits", bona_fide_index=1, classes=("attack", "bona fide")),
    phases=(Phase(size_px=32, epochs=2, batch=8),),
    learning_rate=0.01,
    augmentation=Augmentation(scale=0.05, shift=0.02),
    seed=4,
)

if __name__ == "__main__":
    folder, work = Path(sys.argv[1]), Path(sys.argv[2])
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2)
    )
    with joined() as processes:
        run = Run(
            recipe=RECIPE,
            seed=4,
            dataset=Dataset.load(folder, ("train",)),
            digest="",
            work=work,
            threads=1,
            bfloat16=False,
            say=lambda _: None,
            progress=lambda *_: None,
            choose_epoch=False,
            processes=processes,
        )
        torch.save(run.fit(network).state_dict(), work / f"{processes.rank}-of-{processes.count}.pt")
