"""The training loop: a network, its batches and its losses, epoch by epoch.

After every epoch the whole state is on disk, so a killed training goes on where it stopped and ends in the same weights. It
runs on a CUDA device where there is one, with the same code as on the processor. Only the processor promises equal bits:
not all of PyTorch's algorithms on a GPU are deterministic.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from swapbench.cards import read_card
from swapbench.data.preprocess import prepare
from swapbench.errors import BadCard, BadDataset, NotValid
from swapbench.files import file_sha256, write_atomically
from swapbench.workshop.distil.distillation import Imitation, as_two
from swapbench.workshop.distil.teacher_cache import kept_answers
from swapbench.workshop.nets import Tapped
from swapbench.workshop.pipeline.batches import batches, normalised, steps
from swapbench.workshop.pipeline.crops import decode
from swapbench.workshop.train.dev_scoring import dev_results, scores
from swapbench.workshop.train.mmd import domain_discrepancy, require_domains
from swapbench.workshop.train.processes import ALONE, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.dataset import Dataset
    from swapbench.ports import Progress, Say
    from swapbench.records import ModelCard, Preprocessing
    from swapbench.workshop.distil.distillation import Answer, Teacher
    from swapbench.workshop.distil.teacher_cache import Answers
    from swapbench.workshop.pipeline.batches import Batch
    from swapbench.workshop.pipeline.crops import Regions
    from swapbench.workshop.recipes.recipe import TrainRecipe

CPU = torch.device("cpu")
_STATE_FORMAT = 2
_OF_A_TEACHER = {"checkpoint_sha256", "preprocessing", "output"}
"""What of a teacher's card decides its answers."""


def default_device() -> torch.device:
    """A CUDA device where PyTorch sees one, else the processor."""
    return torch.device("cuda") if torch.cuda.is_available() else CPU


def faster_in_bfloat16(device: torch.device) -> bool:
    """True where there are bfloat16 matrix instructions (AMX, AVX-512 BF16, Ampere and later); autocast slows others down."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


@dataclass(frozen=True)
class Learner:
    """What learns: the network, what of its training it sheds at the end, and the optimiser of both."""

    network: nn.Module
    imitation: Imitation | None
    optimiser: torch.optim.Optimizer

    @classmethod
    def of(cls, recipe: TrainRecipe, network: nn.Module, imitation: Imitation | None = None) -> Learner:
        """With the recipe's optimiser."""
        learning = [*network.parameters(), *(imitation.parameters() if imitation else ())]
        kernels = [p for p in learning if p.dim() > 1]
        vectors = [p for p in learning if p.dim() <= 1]  # biases, batch norm and PReLU are not decayed
        groups = [
            {"params": kernels, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        if recipe.optimiser == "sgd":
            optimiser: torch.optim.Optimizer = torch.optim.SGD(
                groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True
            )
        else:
            optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        return cls(network, imitation, optimiser)

    def parameters(self) -> list[nn.Parameter]:
        """Everything that learns."""
        return [*self.network.parameters(), *(self.imitation.parameters() if self.imitation else ())]


@dataclass
class Run:
    """One training in progress: what it is made of, and the state that survives a kill.

    initial: weights to begin with; choose_epoch: False ends with the last epoch and never looks at the development split;
    processes: those that share it, of which one judges and writes.
    seconds: of the epochs; asking_s: what the teachers' answers took, also where they were on disk already; curve: a row an
    epoch, of its number from 1, input size, mean loss and each of its terms without its weight, development results, and the
    seconds since the beginning.
    """

    recipe: TrainRecipe
    seed: int
    dataset: Dataset
    digest: str
    work: Path
    threads: int
    bfloat16: bool
    say: Say
    progress: Progress
    device: torch.device = CPU
    teachers: tuple[Teacher, ...] = ()
    initial: Mapping[str, Tensor] | None = None
    choose_epoch: bool = True
    processes: Processes = ALONE
    seconds: float = 0.0
    asking_s: float = 0.0
    best_epoch: int = -1
    best: dict[str, Tensor] = field(default_factory=dict)
    best_key: tuple[float, float] = (math.inf, math.inf)
    curve: list[dict[str, float]] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """What must agree before a state may be continued."""
        parts = [
            _STATE_FORMAT,
            self.recipe.model_dump(mode="json"),
            self.seed,
            self.digest,
            [one.card.model_dump(mode="json", include=_OF_A_TEACHER) for one in self.teachers],
            [one.bfloat16 for one in self.teachers],
            self.bfloat16,
            self.device.type,
            *([_digest(self.initial)] if self.initial else []),
            *([{"processes": self.processes.count}] if self.processes.count > 1 else []),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def state_path(self) -> Path:
        """Where the state lies while the training goes on."""
        return self.work / f"{self.recipe.stem}-{self.fingerprint[:16]}.state.pt"

    @property
    def finished_path(self) -> Path:
        """What is left of the state at the end: which checkpoint came out."""
        return self.work / f"{self.recipe.stem}-{self.fingerprint[:16]}.finished.json"

    def finished(self, checkpoint: Path) -> ModelCard | None:
        """The card beside this checkpoint where this very training made both, else None."""
        try:
            made = json.loads(self.finished_path.read_text(encoding="utf-8"))["checkpoint_sha256"]
            card = read_card(checkpoint.with_suffix(".toml"))
            return card if made == card.checkpoint_sha256 == file_sha256(checkpoint) else None
        except (OSError, ValueError, KeyError, BadCard):
            return None

    def fit(self, network: nn.Module) -> nn.Module:
        """The network after its training, on the processor, with the weights of the best epoch of the last phase.

        Of several processes only the one that leads knows the best epoch; the others end with the last.
        """
        recipe = self.recipe
        self.processes.require_equal_shares(recipe.phases)
        if self.initial is not None:
            _begin_with(self.initial, network, recipe)
        if recipe.mmd_weight > 0:
            require_domains(self.dataset, "train")
        imitation = Imitation(recipe, self.teachers, network).to(self.device) if self.teachers else None
        learner = Learner.of(recipe, network.to(self.device), imitation)
        done = self._resume(learner)
        seen = [recipe.preprocessing, *(teacher.card.preprocessing for teacher in self.teachers)]
        with self.processes.first():
            regions = decode(
                self.dataset.samples("train"), seen, recipe.augmentation, self.work, self.threads
            )
        if regions.left_out:
            self.say(
                f"{len(regions.left_out)} training frames have no face and are left out, first: {regions.left_out[0]}"
            )
        answers = None
        if recipe.distillation is not None and recipe.distillation.views > 0 and self.teachers:
            with self.processes.first():
                answers = kept_answers(self.teachers, recipe, regions, self.work, self.progress)
            self.asking_s = answers.seconds
        losses = self.processes.wrapped(_Losses(self, learner))
        pixels = [recipe.phase(epoch).size_px ** 2 for epoch in range(recipe.epochs)]
        for epoch in range(done, recipe.epochs):
            started = time.monotonic()
            size = _at_size(recipe.preprocessing, recipe.phase(epoch).size_px)

            def heard(part: float, epoch: int = epoch) -> None:
                now = sum(pixels[done:epoch]) + part * pixels[epoch]
                self.progress(f"training {recipe.stem}", now, sum(pixels[done:]))

            means = self.learn(epoch, learner, regions, size, answers, heard, losses)
            if not self.processes.leads:
                continue
            judged = self._judge(epoch, network, size) if self.choose_epoch else {}
            self.seconds += time.monotonic() - started
            row = {"epoch": epoch + 1, "size_px": size.width_px, **means, **judged}
            self.curve.append({**row, "seconds": round(self.seconds + self.asking_s, 1)})
            self._save(epoch + 1, learner)
            left = self.seconds * sum(pixels[epoch + 1 :]) / sum(pixels[: epoch + 1])
            self.say(_epoch_line(self.curve[-1], recipe.epochs) + f", about {left:.0f} s left")
        if self.choose_epoch and self.processes.leads:
            network.load_state_dict(self.best)
        return network.to(CPU).eval()

    def _judge(self, epoch: int, network: nn.Module, size: Preprocessing) -> dict[str, float]:
        """Score the development split and keep the network where it is the best so far; how good it is."""
        found = self.scores(network, "dev", size, bfloat16=self.bfloat16)
        results = dev_results(self.dataset.samples("dev"), found)
        key = (results["eer"], results["loss"])
        if epoch >= self.recipe.epochs - self.recipe.phases[-1].epochs and key < self.best_key:
            self.best_key, self.best_epoch = key, epoch
            self.best = {
                name: value.detach().to(CPU, copy=True) for name, value in network.state_dict().items()
            }
        return {f"dev_{name}": value for name, value in results.items()}

    def scores(
        self, network: nn.Module, split: str, preprocessing: Preprocessing, *, bfloat16: bool
    ) -> NDArray[np.float64]:
        """Scores of a whole split, NaN for frames without a crop; BadDataset where a class has no frame with one."""
        samples = self.dataset.samples(split)
        prepared = prepare(samples, preprocessing, self.work, self.threads)
        usable = np.array([row not in prepared.failures for row in range(len(samples))])
        real = np.array([sample.bona_fide for sample in samples])
        for name, of_class in (("bona fide", real), ("attack", ~real)):
            if not (usable & of_class).any():
                raise BadDataset(
                    f"not one {name} image of {split} can be used: "
                    + ", ".join(list(prepared.failures.values())[:3]),
                    remedy="Restore the files, give face boxes, or take whole frames with --faces frame.",
                )
        found = scores(network, prepared, preprocessing, self.recipe.output, bfloat16=bfloat16)
        if not np.isfinite(found[usable]).all():
            raise NotValid(
                f"the network gives scores that are no numbers on {split}",
                remedy="Lower learning_rate in the recipe.",
            )
        return found

    def learn(
        self,
        epoch: int,
        learner: Learner,
        regions: Regions,
        size: Preprocessing,
        answers: Answers | None = None,
        heard: Callable[[float], None] | None = None,
        losses: nn.Module | None = None,
    ) -> dict[str, float]:
        """One epoch at the input `size`: the mean of the loss and of each of its terms.

        answers: of the teachers to fixed views; without them they are asked about fresh ones. heard: told the part that is done.
        losses: `self.loss` as a module of all processes, its own unless told.
        """
        recipe, network = self.recipe, learner.network
        torch.manual_seed((self.seed << 20) + epoch)  # dropout; the rest draws from its own generator
        random = np.random.default_rng([self.seed, epoch])
        network.train()
        count = steps(recipe, epoch, len(regions.samples))
        sums: dict[str, float] = {}
        coming = batches(
            recipe,
            epoch,
            regions,
            size,
            random,
            also=[teacher.card.preprocessing for teacher in self.teachers],
            views=answers.views if answers else (),
            share=self.processes.share,
        )
        losses = losses or _Losses(self, learner)
        for step, batch in enumerate(coming):
            for group in learner.optimiser.param_groups:
                group["lr"] = _learning_rate(recipe, epoch + step / count)
            learner.optimiser.zero_grad(set_to_none=True)
            taught = self._answers(batch, answers)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                loss, terms = losses(batch, size, taught)
            names = ("loss", *terms)
            detached = torch.stack([loss.detach(), *(term.detach() for term in terms.values())])
            values = self.processes.mean(detached).tolist()
            if not math.isfinite(values[0]):
                broken = [
                    name for name, value in zip(terms, values[1:], strict=True) if not math.isfinite(value)
                ]
                raise NotValid(
                    f"the loss became {values[0]} in epoch {epoch + 1}, step {step + 1}"
                    + (f" ({', '.join(broken)})" if broken else ""),
                    remedy=f"Lower learning_rate in the recipe; the state before this epoch is in {self.state_path}.",
                )
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 5.0)
            learner.optimiser.step()
            for name, value in zip(names, values, strict=True):
                sums[name] = sums.get(name, 0.0) + value
            if heard is not None:
                heard((step + 1) / count)
        return {name: round(total / count, 6) for name, total in sums.items()}

    def _answers(self, batch: Batch, answers: Answers | None) -> tuple[Answer, ...]:
        if answers is not None and batch.views is not None:
            return answers.of(batch.rows, batch.views, self.device)
        return tuple(
            teacher.answer(images.pixels(teacher.device))
            for teacher, images in zip(self.teachers, batch.also, strict=True)
        )

    def loss(
        self, learner: Learner, batch: Batch, size: Preprocessing, taught: Sequence[Answer] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and its terms without their weights."""
        recipe, network = self.recipe, learner.network
        images = normalised(batch.images.pixels(self.device), size)
        bona_fide = batch.bona_fide.to(self.device)
        taps = network.taps(images) if isinstance(network, Tapped) else None
        logits = as_two((taps.logits if taps else network(images)).float(), recipe.output)
        loss = functional.cross_entropy(logits, bona_fide, label_smoothing=recipe.label_smoothing)
        terms = {"cross_entropy": loss}
        if recipe.map_weight > 0:
            if taps is None or taps.map_logits is None:
                raise BadCard(f"recipe {recipe.stem}: map_weight needs a network with a map head")
            cells = taps.map_logits.float()
            target = bona_fide.float()[:, None, None, None].expand_as(cells)
            terms["map"] = functional.binary_cross_entropy_with_logits(cells, target)
            loss = (1 - recipe.map_weight) * loss + recipe.map_weight * terms["map"]
        if learner.imitation is not None:
            imitated = learner.imitation(logits, taps, taught)
            loss = learner.imitation.added(loss, imitated)
            terms |= imitated
        if recipe.mmd_weight > 0:
            if taps is None:
                raise BadCard(f"recipe {recipe.stem}: mmd_weight needs a network with an embedding")
            terms["mmd"] = domain_discrepancy(
                taps.embedding.float(), batch.domains.to(self.device), bona_fide, recipe.mmd_over
            )
            loss = loss + recipe.mmd_weight * terms["mmd"]
        return loss, terms

    def _resume(self, learner: Learner) -> int:
        if not self.state_path.is_file():
            return 0
        try:
            state = torch.load(self.state_path, map_location=self.device, weights_only=True)
            learner.network.load_state_dict(state["network"])
            if learner.imitation is not None:
                learner.imitation.load_state_dict(state["imitation"])
            learner.optimiser.load_state_dict(state["optimiser"])
        except (pickle.UnpicklingError, RuntimeError, KeyError, ValueError, EOFError) as error:
            raise NotValid(
                f"{self.state_path} is damaged", remedy="Delete it to train from the start."
            ) from error
        self.seconds, self.best_epoch, self.curve = state["seconds"], state["best_epoch"], state["curve"]
        self.best = {name: value.to(CPU) for name, value in state["best"].items()}
        self.best_key = tuple(state["best_key"])
        self.say(f"continuing after epoch {state['epochs']} of {self.recipe.epochs}")
        return int(state["epochs"])

    def _save(self, epochs: int, learner: Learner) -> None:
        state = {
            "epochs": epochs,
            "network": learner.network.state_dict(),
            "imitation": learner.imitation.state_dict() if learner.imitation is not None else {},
            "optimiser": learner.optimiser.state_dict(),
            "seconds": self.seconds,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_key": list(self.best_key),
            "curve": self.curve,
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(self.state_path, content.getvalue())


class _Losses(nn.Module):
    """Run.loss as a module that holds everything that learns, which is what PyTorch's data parallelism wraps."""

    def __init__(self, run: Run, learner: Learner) -> None:
        super().__init__()
        self.network, self.imitation = learner.network, learner.imitation
        self._loss = partial(run.loss, learner)

    def forward(
        self, batch: Batch, size: Preprocessing, taught: Sequence[Answer]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and its terms."""
        return self._loss(batch, size, taught)


def _epoch_line(row: Mapping[str, float], epochs: int) -> str:
    line = f"epoch {row['epoch']}/{epochs} {row['size_px']} px: loss {row['loss']:.4f}"
    if "dev_eer" in row:
        line += f", dev EER {100 * row['dev_eer']:.2f} %, AUC {row['dev_auc']:.4f}, dev loss {row['dev_loss']:.4f}"
    return f"{line}, {row['seconds']:.0f} s"


def _begin_with(weights: Mapping[str, Tensor], network: nn.Module, recipe: TrainRecipe) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise BadCard(
            f"recipe {recipe.stem}: the weights to begin with are of another architecture: {error}"
        ) from error


def _at_size(preprocessing: Preprocessing, size_px: int) -> Preprocessing:
    return preprocessing.replace(width_px=size_px, height_px=size_px)


def _learning_rate(recipe: TrainRecipe, epochs: float) -> float:
    """Linear warm-up, then half a cosine down to zero at the end."""
    if epochs < recipe.warmup_epochs:
        return recipe.learning_rate * (epochs + 0.01) / (recipe.warmup_epochs + 0.01)
    part = (epochs - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return total.hexdigest()
