"""The training loop: a network, its batches and its losses, epoch by epoch.

After every epoch the whole state is on disk, so a killed training resumes where it stopped and ends with the
same weights. The loop runs on a CUDA device where there is one, with the same code as on the CPU. Only the
CPU promises identical bits: not all of PyTorch's algorithms on a GPU are deterministic.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from swapbench.cards import read_card
from swapbench.data.modalities import in_modality
from swapbench.data.preprocess import prepare
from swapbench.errors import BadCard, BadDataset, NotValid, UserError
from swapbench.files import file_sha256
from swapbench.workshop.distil.distillation import Imitation, as_two, soft_target_loss
from swapbench.workshop.distil.teacher_cache import cached_outputs, fixed_views
from swapbench.workshop.nets import Tapped, modalities_of
from swapbench.workshop.pipeline.batches import batches, normalised, steps
from swapbench.workshop.pipeline.crops import decode, of_one_channel, with_modalities
from swapbench.workshop.train.climb import Climb
from swapbench.workshop.train.dev_scoring import dev_results, network_scores
from swapbench.workshop.train.mmd import domain_discrepancy, require_domains
from swapbench.workshop.train.setup import CPU, Start
from swapbench.workshop.train.state import Fitted, Learner, TrainingState, restored, save_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.dataset import Dataset
    from swapbench.records import ModelCard, OutputMeaning, Preprocessing
    from swapbench.workshop.distil.distillation import Teacher, TeacherOutput
    from swapbench.workshop.distil.teacher_cache import CachedOutputs
    from swapbench.workshop.nets import Taps
    from swapbench.workshop.pipeline.batches import Batch
    from swapbench.workshop.pipeline.crops import Regions
    from swapbench.workshop.recipes.recipe import EarlyExit, TrainRecipe
    from swapbench.workshop.train.setup import Execution

_STATE_FORMAT = 2
_TEACHER_FIELDS = {"checkpoint_sha256", "preprocessing", "output"}
"""What of a teacher's card decides its outputs."""

_MAX_GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class TrainingRun:
    """One training: a recipe on a dataset, and everything else that decides the weights.

    Attributes:
        recipe: What is trained.
        dataset: With its splits train and, where an epoch is chosen, dev.
        digest: Of the dataset.
        execution: Where and how it computes.
        bfloat16: Whether the network computes in bfloat16 while it is trained.
        teachers: Empty without distillation.
        start: What the network begins with.
        choose_epoch: False ends with the last epoch and never looks at the development split.
    """

    recipe: TrainRecipe
    dataset: Dataset
    digest: str
    execution: Execution
    bfloat16: bool = False
    teachers: tuple[Teacher, ...] = ()
    start: Start = field(default_factory=Start)
    choose_epoch: bool = True

    @property
    def fingerprint(self) -> str:
        """A digest of what must agree before a state may be continued."""
        weights, processes = self.start.weights, self.execution.processes.count
        parts = [
            _STATE_FORMAT,
            self.recipe.model_dump(mode="json"),
            self.execution.seed,
            self.digest,
            [teacher.card.model_dump(mode="json", include=_TEACHER_FIELDS) for teacher in self.teachers],
            [teacher.bfloat16 for teacher in self.teachers],
            self.bfloat16,
            self.execution.device.type,
            *([_digest(weights)] if weights else []),
            *([{"processes": processes}] if processes > 1 else []),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def state_path(self) -> Path:
        """Where the state lies while the training goes on."""
        return self.execution.work / f"{self.recipe.stem}-{self.fingerprint[:16]}.state.pt"

    @property
    def finished_path(self) -> Path:
        """What is left of the state at the end: which checkpoint came out."""
        return self.execution.work / f"{self.recipe.stem}-{self.fingerprint[:16]}.finished.json"

    def finished(self, checkpoint: Path) -> ModelCard | None:
        """The card beside this checkpoint where this very training made both, else None."""
        try:
            made = json.loads(self.finished_path.read_text(encoding="utf-8"))["checkpoint_sha256"]
            card = read_card(checkpoint.with_suffix(".toml"))
            return card if made == card.checkpoint_sha256 == file_sha256(checkpoint) else None
        except (OSError, ValueError, KeyError, BadCard):
            return None

    def fit(self, network: nn.Module) -> Fitted:
        """Train a network to the end, or from where a killed training of the same fingerprint stopped.

        Returns:
            The network with the weights of the best epoch of the last phase. Of several processes only the
            leading one knows the best epoch; the others end with the last.

        Raises:
            BadDataset: Frames cannot be read, a class is missing, or domains are compared and there is only
                one.
            BadCard: The network lacks what a term of the loss needs, or does not fit the initial weights.
            UserError: The processes cannot share a batch evenly.
            NotValid: The loss is not finite any more (the state before the epoch stays), or the state is
                damaged.
        """
        recipe, device, processes = self.recipe, self.execution.device, self.execution.processes
        processes.require_equal_shares(recipe.phases)
        if recipe.flat is not None and processes.count > 1:
            raise UserError(
                f"recipe {recipe.stem} trains towards a flat minimum, which one process does alone",
                remedy="Start it without torchrun, or remove flat from the recipe.",
            )
        if self.start.weights is not None:
            _begin_with(self.start.weights, network, recipe)
        if recipe.mmd_weight > 0:
            require_domains(self.dataset, "train")
        imitation = Imitation(recipe, self.teachers, network).to(device) if self.teachers else None
        learner = Learner.of(recipe, network.to(device), imitation)
        state = TrainingState()
        if self.state_path.is_file():
            state = restored(self.state_path, learner, device)
            self.execution.say(f"resuming after epoch {state.epochs} of {recipe.epochs}")
        regions = self._regions()
        outputs = self._teacher_outputs(regions)
        teachers_s = outputs.seconds if outputs is not None else 0.0
        losses = processes.wrapped(_Losses(self, learner))
        pixels = [recipe.phase(epoch).size_px ** 2 for epoch in range(recipe.epochs)]
        done = state.epochs
        for epoch in range(done, recipe.epochs):
            started = time.monotonic()

            def on_step(share: float, epoch: int = epoch) -> None:
                now = sum(pixels[done:epoch]) + share * pixels[epoch]
                self.execution.progress(f"training {recipe.stem}", now, sum(pixels[done:]))

            means = self.learn(epoch, learner, regions, outputs=outputs, on_step=on_step, losses=losses)
            if not processes.leads:
                continue
            results: dict[str, float] = {}
            if self.choose_epoch:
                results = self._dev_results(epoch, learner.judged)
                state = self._with_best(state, epoch, results, learner.judged)
            seconds = state.seconds + (time.monotonic() - started)
            row = {"epoch": epoch + 1, "size_px": recipe.phase(epoch).size_px, **means}
            row |= {f"dev_{name}": value for name, value in results.items()}
            row["seconds"] = round(seconds + teachers_s, 1)
            state = replace(state, epochs=epoch + 1, seconds=seconds, curve=(*state.curve, row))
            save_state(self.state_path, state, learner)
            left_s = seconds * sum(pixels[epoch + 1 :]) / sum(pixels[: epoch + 1])
            self.execution.say(f"{_epoch_line(row, recipe.epochs)}, about {left_s:.0f} s left")
        if self.choose_epoch and processes.leads:
            network.load_state_dict(state.best)
        return Fitted(network.to(CPU).eval(), state, teachers_s)

    def _regions(self) -> Regions:
        """The decoded training frames, as far as the student and its teachers look at them."""
        recipe, execution = self.recipe, self.execution
        sights = [(recipe.preprocessing, modalities_of(recipe.architecture))]
        sights += [teacher.sight for teacher in self.teachers]
        preprocessings = [size for size, _ in sights]
        samples = self.dataset.samples("train")
        with execution.processes.first():
            how = (recipe.augmentation, execution.work, execution.threads)
            regions = with_modalities(decode(samples, preprocessings, *how), sights, *how)
        if regions.left_out:
            execution.say(
                f"{len(regions.left_out)} training frames have no face and are left out, "
                f"first: {regions.left_out[0]}"
            )
        return regions

    def _teacher_outputs(self, regions: Regions) -> CachedOutputs | None:
        """The teachers' outputs for fixed views; None without teachers, or where views are drawn afresh."""
        distillation, execution = self.recipe.distillation, self.execution
        if distillation is None or distillation.views == 0 or not self.teachers:
            return None
        with execution.processes.first():
            return cached_outputs(self.teachers, self.recipe, regions, execution.work, execution.progress)

    def _dev_results(self, epoch: int, network: nn.Module) -> dict[str, float]:
        size = _at_size(self.recipe.preprocessing, self.recipe.phase(epoch).size_px)
        scores = self.scores(network, "dev", size, bfloat16=self.bfloat16)
        return dev_results([sample.bona_fide for sample in self.dataset.samples("dev")], scores)

    def _with_best(
        self, state: TrainingState, epoch: int, results: Mapping[str, float], network: nn.Module
    ) -> TrainingState:
        """The state with this network as its best, where it is; only epochs of the last phase count."""
        key = {
            "eer": (results["eer"], results["loss"]),
            "loss": (results["loss"], results["eer"]),
            "last": (-float(epoch), 0.0),
        }[self.recipe.choose]
        if epoch < self.recipe.epochs - self.recipe.phases[-1].epochs or key >= state.best_key:
            return state
        weights = {name: value.detach().to(CPU, copy=True) for name, value in network.state_dict().items()}
        return replace(state, best_key=key, best_epoch=epoch, best=weights)

    def scores(
        self, network: nn.Module, split: str, preprocessing: Preprocessing, *, bfloat16: bool
    ) -> NDArray[np.float64]:
        """Bona fide scores [n] of a whole split, NaN for frames without a crop.

        Raises:
            BadDataset: No frame of a class has a crop.
            NotValid: A score is not finite.
        """
        samples = self.dataset.samples(split)
        prepared = prepare(samples, preprocessing, self.execution.work, self.execution.threads)
        usable = np.array([row not in prepared.failures for row in range(len(samples))])
        bona_fide = np.array([sample.bona_fide for sample in samples])
        for name, of_class in (("bona fide", bona_fide), ("attack", ~bona_fide)):
            if not (usable & of_class).any():
                raise BadDataset(
                    f"no {name} image of {split} can be used: "
                    + ", ".join(list(prepared.failures.values())[:3]),
                    remedy="Restore the files, give face boxes, or use whole frames with --faces frame.",
                )
        beside = [
            prepare(
                in_modality(samples, name, preprocessing.face_box),
                of_one_channel(preprocessing),
                self.execution.work,
                self.execution.threads,
            )
            for name in modalities_of(self.recipe.architecture)
        ]
        scores = network_scores(
            network, prepared, preprocessing, self.recipe.output, bfloat16=bfloat16, beside=beside
        )
        if not np.isfinite(scores[usable]).all():
            raise NotValid(
                f"the network's scores on {split} are not finite",
                remedy="Lower learning_rate in the recipe.",
            )
        return scores

    def learn(
        self,
        epoch: int,
        learner: Learner,
        regions: Regions,
        *,
        outputs: CachedOutputs | None = None,
        on_step: Callable[[float], None] | None = None,
        losses: nn.Module | None = None,
    ) -> dict[str, float]:
        """Train one epoch at the input size of its phase.

        Args:
            epoch: From 0.
            learner: What is trained, in place.
            regions: The decoded training frames.
            outputs: Of the teachers for fixed views; without them the teachers run on fresh views.
            on_step: Called after every step with the share of the epoch that is done.
            losses: `self.loss` as a module that all processes share; None takes one of this process alone.

        Returns:
            The mean over the epoch of the loss and of each of its unweighted terms.

        Raises:
            NotValid: The loss is not finite.
        """
        recipe, network = self.recipe, learner.network
        size = _at_size(recipe.preprocessing, recipe.phase(epoch).size_px)
        torch.manual_seed((self.execution.seed << 20) + epoch)  # dropout; the rest has its own generator
        network.train()
        count = steps(recipe, epoch, len(regions.samples))
        sums: dict[str, float] = {}
        epoch_batches = batches(
            recipe,
            epoch,
            regions,
            size,
            np.random.default_rng([self.execution.seed, epoch]),
            also=[teacher.sight for teacher in self.teachers],
            views=outputs.views if outputs else fixed_views(recipe, len(regions.samples), recipe.views),
            share=self.execution.processes.share,
        )
        losses = losses or _Losses(self, learner)
        climb = Climb(learner)
        for step, batch in enumerate(epoch_batches):
            for group in learner.optimiser.param_groups:
                group["lr"] = _learning_rate(recipe, epoch + step / count)
            learner.optimiser.zero_grad(set_to_none=True)
            targets = self._targets(batch, outputs)
            if recipe.flat is not None:
                self._climb(climb, batch, size, step)
            with torch.autocast(self.execution.device.type, torch.bfloat16, enabled=self.bfloat16):
                loss, terms = losses(batch, size, targets)
            detached = torch.stack([loss.detach(), *(term.detach() for term in terms.values())])
            values = self.execution.processes.mean(detached).tolist()
            means = dict(zip(("loss", *terms), values, strict=True))
            if not math.isfinite(means["loss"]):
                raise self._diverged(means, epoch, step)
            loss.backward()
            if recipe.flat is not None:
                climb.back()
            nn.utils.clip_grad_norm_(learner.parameters(), _MAX_GRADIENT_NORM)
            learner.step()
            for name, value in means.items():
                sums[name] = sums.get(name, 0.0) + value
            if on_step is not None:
                on_step((step + 1) / count)
        return {name: round(total / count, 6) for name, total in sums.items()}

    def _climb(self, climb: Climb, batch: Batch, size: Preprocessing, step: int) -> None:
        """Climb along the gradient of a batch, or of the domain in it whose turn it is."""
        assert self.recipe.flat is not None
        if self.recipe.flat.by_domain:
            names = torch.unique(batch.domains)
            batch = batch.of((batch.domains == names[step % len(names)]).nonzero()[:, 0])
        with (
            climb.statistics_kept(),
            torch.autocast(self.execution.device.type, torch.bfloat16, enabled=self.bfloat16),
        ):
            loss, _ = self.loss(climb.learner, batch, size)
        loss.backward()  # type: ignore[no-untyped-call]
        climb.up(self.recipe.flat.radius)

    def _diverged(self, means: Mapping[str, float], epoch: int, step: int) -> NotValid:
        broken = [name for name, value in means.items() if name != "loss" and not math.isfinite(value)]
        return NotValid(
            f"the loss became {means['loss']} in epoch {epoch + 1}, step {step + 1}"
            + (f" ({', '.join(broken)})" if broken else ""),
            remedy=f"Lower learning_rate in the recipe; the state before this epoch is in {self.state_path}.",
        )

    def _targets(self, batch: Batch, outputs: CachedOutputs | None) -> tuple[TeacherOutput, ...]:
        """The teachers' outputs for a batch, from the cache or computed now."""
        if outputs is not None and batch.views is not None:
            return outputs.of(batch.rows, batch.views, self.execution.device)
        return tuple(
            teacher.output(images.pixels(teacher.device))
            for teacher, images in zip(self.teachers, batch.also, strict=True)
        )

    def loss(
        self, learner: Learner, batch: Batch, size: Preprocessing, targets: Sequence[TeacherOutput] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and its terms without their weights.

        Args:
            learner: What is trained.
            batch: Images and labels.
            size: The preprocessing at the input size of the phase.
            targets: One output a teacher, for the images of the batch.

        Raises:
            BadCard: The network has no map or no embedding, and a term of the loss needs it.
        """
        recipe, network, device = self.recipe, learner.network, self.execution.device
        images = normalised(batch.images.pixels(device), size)
        bona_fide = batch.bona_fide.to(device)
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
            imitated = learner.imitation(logits, taps, targets)
            loss = learner.imitation.added(loss, imitated)
            terms |= imitated
        if recipe.early_exit is not None:
            assert taps is not None
            loss, exits = _with_exits(recipe.early_exit, recipe.output, taps, bona_fide, loss)
            terms |= exits
        if recipe.mmd_weight > 0:
            if taps is None:
                raise BadCard(f"recipe {recipe.stem}: mmd_weight needs a network with an embedding")
            terms["mmd"] = domain_discrepancy(
                taps.embedding.float(), batch.domains.to(device), bona_fide, recipe.mmd_over
            )
            loss = loss + recipe.mmd_weight_at(batch.share) * terms["mmd"]
        return loss, terms


def _with_exits(
    wanted: EarlyExit, meaning: OutputMeaning, taps: Taps, bona_fide: Tensor, loss: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss with those of the exits, each taught by the labels and by the last exit; see `EarlyExit`."""
    last = as_two(taps.logits.float(), meaning).detach()
    taught = functional.softmax(last / wanted.temperature, 1)
    terms = {}
    for number, output in enumerate(taps.exits, 1):
        logits = as_two(output.float(), meaning)
        labels = functional.cross_entropy(logits, bona_fide)
        term = (1 - wanted.weight) * labels + wanted.weight * soft_target_loss(
            logits, taught, wanted.temperature
        )
        terms[f"exit_{number}"] = term
        loss = loss + term
    return loss, terms


class _Losses(nn.Module):
    """`TrainingRun.loss` as a module of all that is trained, which PyTorch's data parallelism wraps."""

    def __init__(self, run: TrainingRun, learner: Learner) -> None:
        super().__init__()
        self.network, self.imitation = learner.network, learner.imitation
        self._loss = partial(run.loss, learner)

    def forward(
        self, batch: Batch, size: Preprocessing, targets: Sequence[TeacherOutput]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and its terms."""
        return self._loss(batch, size, targets)


def _epoch_line(row: Mapping[str, float], epochs: int) -> str:
    line = f"epoch {row['epoch']}/{epochs} {row['size_px']} px: loss {row['loss']:.4f}"
    if "dev_eer" in row:
        line += f", dev EER {100 * row['dev_eer']:.2f} %, AUC {row['dev_auc']:.4f}"
        line += f", dev loss {row['dev_loss']:.4f}"
    return f"{line}, {row['seconds']:.0f} s"


def _begin_with(weights: Mapping[str, Tensor], network: nn.Module, recipe: TrainRecipe) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise BadCard(
            f"recipe {recipe.stem}: the initial weights do not fit the architecture: {error}"
        ) from error


def _at_size(preprocessing: Preprocessing, size_px: int) -> Preprocessing:
    return preprocessing.replace(width_px=size_px, height_px=size_px)


def _learning_rate(recipe: TrainRecipe, epochs: float) -> float:
    """Linear warm-up, then half a cosine down to zero (Loshchilov and Hutter, "SGDR", ICLR 2017).

    Args:
        recipe: Says how long the warm-up and the whole training are.
        epochs: That have passed, with fractions.
    """
    if epochs < recipe.warmup_epochs:
        return recipe.learning_rate * (epochs + 0.01) / (recipe.warmup_epochs + 0.01)
    share = (epochs - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return total.hexdigest()
