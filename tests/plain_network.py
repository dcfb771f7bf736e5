"""Trains a network without batch norm for two epochs, alone or in one of several processes, and saves it.

python plain_network.py DATASET WORK      torchrun --nproc-per-node 2 plain_network.py DATASET WORK
"""

import sys
from pathlib import Path

import torch
from test_train import run_of, tiny
from torch import nn

from swapbench.data.dataset import Dataset
from swapbench.workshop.train.processes import joined

if __name__ == "__main__":
    folder, work = Path(sys.argv[1]), Path(sys.argv[2])
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2)
    )
    recipe = tiny(phases=({"size_px": 32, "epochs": 2, "batch": 8},), map_weight=0.0)
    dataset = Dataset.load(folder, ("train",))
    with joined() as processes:
        run = run_of(recipe, dataset, work, choose_epoch=False, processes=processes)
        torch.save(run.fit(network).network.state_dict(), work / f"{processes.rank}-of-{processes.count}.pt")
