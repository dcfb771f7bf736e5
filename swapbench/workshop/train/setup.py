"""How a training is carried out: its seed, the hardware that it uses, where it writes, and who follows it.

What is trained stands in the recipe, on what in the dataset; neither knows of a machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from swapbench.ports import unheard, unseen
from swapbench.workshop.train.processes import ALONE, Processes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from swapbench.ports import Progress, Say
    from swapbench.workshop.recipes.recipe import TrainRecipe

CPU = torch.device("cpu")


def default_device() -> torch.device:
    """A CUDA device where PyTorch sees one, else the CPU."""
    return torch.device("cuda") if torch.cuda.is_available() else CPU


def faster_in_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 matrix instructions; autocast slows other devices down.

    AMX and AVX-512 BF16 on a CPU, Ampere and later on a GPU.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


@dataclass(frozen=True)
class Execution:
    """Where and how a training, a search or a measurement of fitness computes: nothing is left to a default.

    Attributes:
        seed: Of the weights, the order of the samples, the augmentation and dropout.
        work: Folder of decoded images, teacher outputs and the state that a killed training resumes from.
        threads: CPU threads of this process.
        device: Where the network is trained.
        processes: Those that share the training; the leading one evaluates and writes.
        say: Receives one line an epoch.
        progress: Is called after every step.
    """

    seed: int
    work: Path
    threads: int = 1
    device: torch.device = CPU
    processes: Processes = ALONE
    say: Say = unheard
    progress: Progress = unseen


@dataclass(frozen=True)
class TrainingSetup:
    """What a caller may decide about a training or a pruning besides recipe, dataset and output folder.

    Attributes:
        seed: None takes the recipe's.
        command: The command line that the card gives for repeating the training; None composes one from the
            recipe.
        work: See `Execution`; None takes `.training` in the output folder.
        threads: CPU threads of this process.
        device: None takes `default_device`.
        bfloat16: Whether the forward passes run in bfloat16. None follows the recipe on devices made for it.
        teachers: Name to card file; a teacher that is missing here is looked for in the output folder.
        missing: Return the card on disk where the same recipe, data and seed were trained to it before.
        processes: Those that share the training, each of which makes the same call.
        say: Receives one line an epoch.
        progress: Is called after every step.
    """

    seed: int | None = None
    command: str | None = None
    work: Path | None = None
    threads: int = 1
    device: torch.device | None = None
    bfloat16: bool | None = None
    teachers: Mapping[str, Path] = field(default_factory=dict)
    missing: bool = False
    processes: Processes = ALONE
    say: Say = unheard
    progress: Progress = unseen

    def execution(self, recipe: TrainRecipe, out: Path) -> Execution:
        """The setup with its defaults filled in for a recipe and an output folder."""
        return Execution(
            seed=recipe.seed if self.seed is None else self.seed,
            work=out / ".training" if self.work is None else self.work,
            threads=self.threads,
            device=self.device or default_device(),
            processes=self.processes,
            say=self.say,
            progress=self.progress,
        )

    def in_bfloat16(self, device: torch.device, *, wanted: bool) -> bool:
        """Whether a network computes in bfloat16 on a device, where the recipe says that it is `wanted`."""
        return wanted and faster_in_bfloat16(device) if self.bfloat16 is None else self.bfloat16


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        weights: State dict of the untrained network; None draws the weights from the seed.
        before_s: Seconds spent on this network before, which the card's time includes.
    """

    weights: Mapping[str, Tensor] | None = None
    before_s: float = 0.0
