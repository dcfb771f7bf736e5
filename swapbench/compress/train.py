"""The training loop: one recipe, one dataset, one seed -> one model card and its checkpoint.

The best network of the last phase is chosen on the development split and on nothing else; the test split is never opened.
After every epoch the whole state is on disk, so a killed training goes on where it stopped and ends in the same weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import platform
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from swapbench import __version__
from swapbench.cards import read_card, write_card
from swapbench.compress.crops import Jitter, Regions, balanced_order, decode, draw_jitter
from swapbench.compress.domain import domain_discrepancy, require_domains
from swapbench.errors import BadCard, BadDataset, NotValid
from swapbench.files import write_atomically
from swapbench.nets import Tapped, build
from swapbench.nets.checkpoint import load_network, save_checkpoint
from swapbench.pad.metrics import auc, eer_threshold
from swapbench.pad.preprocess import Prepared, normalise, prepare
from swapbench.records import ModelCard, OutputMeaning, Preprocessing, Training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.compress.recipe import Augmentation, Distillation, TrainRecipe
    from swapbench.pad.dataset import Dataset
    from swapbench.pad.samples import Sample

SCORING_BATCH = 32
_STATE_FORMAT = 1
_PACKAGES = ("torch", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class Teacher:
    """A network whose answers a student imitates, and how it wants its images."""

    card: ModelCard
    network: nn.Module

    def logits(self, pixels: Tensor) -> Tensor:
        """Two logits [n, 2] as (attack, bona fide), whatever classes the teacher has: the others' mass is attack."""
        with torch.no_grad():
            every = self.network(normalised(pixels, self.card.preprocessing)).float()
        return as_two(every, self.card.output)


def as_two(logits: Tensor, output: OutputMeaning) -> Tensor:
    """Logits of any number of classes as two, (attack, bona fide), with the same softmax for bona fide."""
    real = output.bona_fide_index
    others = torch.cat([logits[:, :real], logits[:, real + 1 :]], 1)
    return torch.stack([others.logsumexp(1), logits[:, real]], 1)


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), summed over classes, mean over the batch (Hinton et al. 2015)."""
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student / temperature, 1),
        functional.softmax(teacher / temperature, 1),
        reduction="batchmean",
    )


def normalised(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """NCHW pixels 0..255 as the network wants them, float32."""
    mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    return (pixels * preprocessing.scale - mean) / std


def recoloured(pixels: Tensor, gains: Tensor, contrast: Tensor) -> Tensor:
    """NCHW pixels 0..255 with each channel times its gain [n, 3], then contrast [n] about the image's own mean."""
    pixels = pixels * gains[:, :, None, None]
    mean = pixels.mean((1, 2, 3), keepdim=True)
    return ((pixels - mean) * contrast[:, None, None, None] + mean).clamp(0, 255)


def faster_in_bfloat16() -> bool:
    """True where this CPU has bfloat16 matrix instructions (AMX, AVX-512 BF16); elsewhere autocast would slow it down."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def train(
    recipe: TrainRecipe,
    dataset: Dataset,
    out: Path,
    *,
    seed: int | None = None,
    command: str | None = None,
    work: Path | None = None,
    threads: int = 1,
    bfloat16: bool | None = None,
    initial: Mapping[str, Tensor] | None = None,
    progress: Callable[[str], None] | None = None,
) -> ModelCard:
    """Train `recipe` on the train split of `dataset`; write <stem>.toml and <stem>.safetensors into `out`.

    The dev split chooses the epoch, so both must be loaded. Frames without a face are left out and counted.

    command: the line that the card gives for repeating this; work: where decoded images and the state for resuming lie
    (out/.training unless told); bfloat16: None = as the recipe says, where the CPU is made for it; initial: weights to begin
    with, drawn from the seed unless given; progress hears one line an epoch. Returns the card, whose dev_results come from the
    stored checkpoint, read back and computed in float32.

    Raises BadDataset, BadCard, and NotValid when the loss is no longer a number (the last good state stays).
    """
    assert recipe.pruning is None, "compress.prune finds the widths first"
    seed = recipe.seed if seed is None else seed
    work = out / ".training" if work is None else work
    torch.set_num_threads(threads)
    run = Run(
        recipe=recipe,
        seed=seed,
        dataset=dataset,
        digest=dataset.digest(),
        work=work,
        teacher=_teacher(recipe.distillation, out),
        threads=threads,
        bfloat16=recipe.bfloat16 and faster_in_bfloat16() if bfloat16 is None else bfloat16,
        progress=progress or _silent,
        initial=initial,
    )
    torch.manual_seed(seed)
    best = run.fit(build(recipe.family, recipe.architecture))
    path = out / f"{recipe.stem}.safetensors"
    card = ModelCard(
        name=recipe.name,
        recipe=recipe.recipe,
        summary=recipe.summary,
        family=recipe.family,
        architecture=recipe.architecture,
        checkpoint=path.name,
        checkpoint_sha256=save_checkpoint(best, path),
        preprocessing=recipe.preprocessing,
        output=recipe.output,
        source="trained here",
        training=Training(
            command=command
            or f"swapbench train {recipe.stem}" + (f" --seed {seed}" if seed != recipe.seed else ""),
            seed=seed,
            data=" ".join(
                filter(None, (dataset.protocol or dataset.name, dataset.fold and f"fold {dataset.fold}"))
            ),
            data_digest=run.digest,
            simulated_data=dataset.simulated,
            commit=_commit(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(run.seconds, 1),
            machine=f"{platform.machine()}, {threads} thread(s), {'bfloat16' if run.bfloat16 else 'float32'}",
            packages={"swapbench": __version__, **{name: version(name) for name in _PACKAGES}},
        ),
    )
    stored = load_network(card, out / f"{recipe.stem}.toml")
    found = run.scores(stored, "dev", recipe.preprocessing, bfloat16=False)
    results = {**dev_results(dataset.samples("dev"), found), "epoch": float(run.best_epoch + 1)}
    assert card.training is not None
    card = card.model_copy(update={"training": card.training.model_copy(update={"dev_results": results})})
    write_card(card, out / f"{recipe.stem}.toml")
    run.state_path.unlink(missing_ok=True)
    return card


def scores(
    network: nn.Module,
    prepared: Prepared,
    preprocessing: Preprocessing,
    output: OutputMeaning,
    *,
    bfloat16: bool = False,
) -> NDArray[np.float64]:
    """The bona fide score of every prepared image, NaN where it could not be read."""
    pixels = prepared.crops()
    network.eval()
    found: list[Tensor] = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for start in range(0, len(pixels), SCORING_BATCH):
            images = torch.from_numpy(normalise(pixels[start : start + SCORING_BATCH], preprocessing))
            logits = network(images.permute(0, 3, 1, 2)).double()
            found.append(torch.softmax(logits, 1)[:, output.bona_fide_index])
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


def _silent(line: str) -> None:
    del line


def _teacher(distillation: Distillation | None, out: Path) -> Teacher | None:
    if distillation is None or distillation.weight == 0:
        return None
    path = out / f"{distillation.teacher}.toml"
    card = read_card(path)
    if card.output.kind != "logits":
        raise BadCard(f"{path}: a teacher must give logits")
    return Teacher(card, load_network(card, path))


@dataclass
class Run:
    """One training in progress: what it is made of, and the state that survives a kill.

    initial: weights to begin with; choose_epoch: False ends with the last epoch and never looks at the development split.
    """

    recipe: TrainRecipe
    seed: int
    dataset: Dataset
    digest: str
    work: Path
    teacher: Teacher | None
    threads: int
    bfloat16: bool
    progress: Callable[[str], None]
    initial: Mapping[str, Tensor] | None = None
    choose_epoch: bool = True
    seconds: float = 0.0
    best_epoch: int = -1
    best: dict[str, Tensor] = field(default_factory=dict)
    best_key: tuple[float, float] = (math.inf, math.inf)

    @property
    def fingerprint(self) -> str:
        """What must agree before a state may be continued."""
        teacher = self.teacher.card.checkpoint_sha256 if self.teacher else ""
        parts = [
            _STATE_FORMAT,
            self.recipe.model_dump(mode="json"),
            self.seed,
            self.digest,
            teacher,
            self.bfloat16,
            *([_digest(self.initial)] if self.initial else []),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def state_path(self) -> Path:
        """Where the state lies while the training goes on."""
        return self.work / f"{self.recipe.stem}-{self.fingerprint[:16]}.state.pt"

    def fit(self, network: nn.Module) -> nn.Module:
        """The network after its training, with the weights of the best epoch of the last phase."""
        if self.initial is not None:
            network.load_state_dict(self.initial)
        if self.recipe.mmd_weight > 0:
            require_domains(self.dataset, "train")
        optimiser = _optimiser(self.recipe, network)
        done = self._resume(network, optimiser)
        preprocessings = [
            self.recipe.preprocessing,
            *([self.teacher.card.preprocessing] if self.teacher else []),
        ]
        regions = decode(
            self.dataset.samples("train"), preprocessings, self.recipe.augmentation, self.work, self.threads
        )
        if regions.left_out:
            self.progress(
                f"{len(regions.left_out)} training frames have no face and are left out, first: {regions.left_out[0]}"
            )
        for epoch in range(done, self.recipe.epochs):
            started = time.monotonic()
            preprocessing = _at_size(self.recipe.preprocessing, self.recipe.phase(epoch).size_px)
            loss = self._epoch(epoch, network, optimiser, regions, preprocessing)
            judged = self._judge(epoch, network, preprocessing) if self.choose_epoch else ""
            self.seconds += time.monotonic() - started
            self._save(epoch + 1, network, optimiser)
            pixels = [self.recipe.phase(number).size_px ** 2 for number in range(self.recipe.epochs)]
            left = self.seconds * sum(pixels[epoch + 1 :]) / sum(pixels[: epoch + 1])
            self.progress(
                f"epoch {epoch + 1}/{self.recipe.epochs} {preprocessing.width_px} px: loss {loss:.4f}, {judged}"
                f"{self.seconds:.0f} s, about {left:.0f} s left"
            )
        if self.choose_epoch:
            network.load_state_dict(self.best)
        return network.eval()

    def _judge(self, epoch: int, network: nn.Module, preprocessing: Preprocessing) -> str:
        """Score the development split, keep the network where it is the best so far, and say how good it is."""
        found = self.scores(network, "dev", preprocessing, bfloat16=self.bfloat16)
        results = dev_results(self.dataset.samples("dev"), found)
        key = (results["eer"], results["loss"])
        if epoch >= self.recipe.epochs - self.recipe.phases[-1].epochs and key < self.best_key:
            self.best_key, self.best_epoch = key, epoch
            self.best = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return f"dev EER {100 * results['eer']:.2f} %, AUC {results['auc']:.4f}, dev loss {results['loss']:.4f}, "

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

    def _epoch(
        self,
        epoch: int,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        regions: Regions,
        size: Preprocessing,
    ) -> float:
        torch.manual_seed((self.seed << 20) + epoch)  # dropout; the rest draws from its own generator
        random = np.random.default_rng([self.seed, epoch])
        network.train()
        losses: list[float] = []
        steps = _batches(self.recipe, epoch, regions, size, self.teacher, random)
        count = max(len(regions.samples) // self.recipe.phase(epoch).batch, 1)
        for step, batch in enumerate(steps):
            for group in optimiser.param_groups:
                group["lr"] = _learning_rate(self.recipe, epoch + step / count)
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                loss = self._loss(network, batch, size)
            if not math.isfinite(loss.item()):
                raise NotValid(
                    f"the loss became {loss.item()} in epoch {epoch + 1}, step {step + 1}",
                    remedy=f"Lower learning_rate in the recipe; the state before this epoch is in {self.state_path}.",
                )
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    def _loss(self, network: nn.Module, batch: _Batch, size: Preprocessing) -> Tensor:
        recipe = self.recipe
        images = normalised(batch.pixels, size).contiguous(memory_format=torch.channels_last)
        taps = network.taps(images) if isinstance(network, Tapped) else None
        logits = as_two((taps.logits if taps else network(images)).float(), recipe.output)
        loss = functional.cross_entropy(logits, batch.bona_fide, label_smoothing=recipe.label_smoothing)
        if recipe.map_weight > 0:
            if taps is None or taps.map_logits is None:
                raise BadCard(f"recipe {recipe.stem}: map_weight needs a network with a map head")
            cells = taps.map_logits.float()
            target = batch.bona_fide.float()[:, None, None, None].expand_as(cells)
            on_map = functional.binary_cross_entropy_with_logits(cells, target)
            loss = (1 - recipe.map_weight) * loss + recipe.map_weight * on_map
        if self.teacher is not None and batch.teacher_pixels is not None and recipe.distillation is not None:
            weight, temperature = recipe.distillation.weight, recipe.distillation.temperature
            imitated = distillation_loss(logits, self.teacher.logits(batch.teacher_pixels), temperature)
            loss = (1 - weight) * loss + weight * imitated
        if recipe.mmd_weight > 0:
            if taps is None:
                raise BadCard(f"recipe {recipe.stem}: mmd_weight needs a network with an embedding")
            loss = loss + recipe.mmd_weight * domain_discrepancy(
                taps.embedding.float(), batch.domains, batch.bona_fide, recipe.mmd_over
            )
        return loss

    def _resume(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
        if not self.state_path.is_file():
            return 0
        try:
            state = torch.load(self.state_path, map_location="cpu", weights_only=True)
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
        except (pickle.UnpicklingError, RuntimeError, KeyError, ValueError, EOFError) as error:
            raise NotValid(
                f"{self.state_path} is damaged", remedy="Delete it to train from the start."
            ) from error
        self.seconds, self.best_epoch, self.best = state["seconds"], state["best_epoch"], state["best"]
        self.best_key = tuple(state["best_key"])
        self.progress(f"continuing after epoch {state['epochs']} of {self.recipe.epochs}")
        return int(state["epochs"])

    def _save(self, epochs: int, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        state = {
            "epochs": epochs,
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "seconds": self.seconds,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_key": list(self.best_key),
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(self.state_path, content.getvalue())


@dataclass(frozen=True)
class _Batch:
    """pixels [n, 3, h, w] 0..255 after augmentation; bona_fide [n] 0 or 1; domains [n] numbers; the teacher's view of the same
    draws.
    """

    pixels: Tensor
    bona_fide: Tensor
    domains: Tensor
    teacher_pixels: Tensor | None


def _batches(
    recipe: TrainRecipe,
    epoch: int,
    regions: Regions,
    size: Preprocessing,
    teacher: Teacher | None,
    random: np.random.Generator,
) -> Iterator[_Batch]:
    """The batches of an epoch, the next one cut while the network works on this one. All draws come from `random`, in order."""
    order = balanced_order(regions.samples, random)
    count = recipe.phase(epoch).batch
    jobs = []
    for start in range(0, max(len(order) - count + 1, 1), count):
        rows = order[start : start + count]
        jobs.append(
            (
                rows,
                [draw_jitter(recipe.augmentation, random) for _ in rows],
                *_colours(recipe.augmentation, len(rows), random),
            )
        )

    names = sorted({sample.domain for sample in regions.samples})
    numbers = [names.index(sample.domain) for sample in regions.samples]

    def make(job: tuple[NDArray[np.intp], list[Jitter], Tensor, Tensor]) -> _Batch:
        rows, jitters, gains, contrast = job
        real = torch.tensor([int(regions.samples[row].bona_fide) for row in rows])
        domains = torch.tensor([numbers[row] for row in rows])
        pixels = recoloured(_views(regions, rows, jitters, size), gains, contrast)
        if teacher is None:
            return _Batch(pixels, real, domains, None)
        seen = _views(regions, rows, jitters, teacher.card.preprocessing)
        same_order = teacher.card.preprocessing.channel_order == size.channel_order
        return _Batch(
            pixels, real, domains, recoloured(seen, gains if same_order else gains.flip(1), contrast)
        )

    with ThreadPoolExecutor(max_workers=1) as ahead:
        coming = ahead.submit(make, jobs[0])
        for job in jobs[1:]:
            ready, coming = coming.result(), ahead.submit(make, job)
            yield ready
        yield coming.result()


def _views(
    regions: Regions, rows: NDArray[np.intp], jitters: Sequence[Jitter], size: Preprocessing
) -> Tensor:
    stacked = np.stack(
        [regions.view(int(row), size, jitter) for row, jitter in zip(rows, jitters, strict=True)]
    )
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float()


def _colours(augmentation: Augmentation, count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    brightness = random.uniform(1 - augmentation.brightness, 1 + augmentation.brightness, (count, 1))
    gains = brightness * random.uniform(1 - augmentation.colour, 1 + augmentation.colour, (count, 3))
    contrast = random.uniform(1 - augmentation.contrast, 1 + augmentation.contrast, count)
    return torch.from_numpy(gains).float(), torch.from_numpy(contrast).float()


def _at_size(preprocessing: Preprocessing, size_px: int) -> Preprocessing:
    return preprocessing.model_copy(update={"width_px": size_px, "height_px": size_px})


def _optimiser(recipe: TrainRecipe, network: nn.Module) -> torch.optim.Optimizer:
    kernels = [p for p in network.parameters() if p.dim() > 1]
    vectors = [
        p for p in network.parameters() if p.dim() <= 1
    ]  # biases, batch norm and PReLU are not decayed
    groups = [
        {"params": kernels, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


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


def _commit() -> str:
    """The commit of this source tree, with +changed where files differ; empty where there is none."""
    where = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run(
            [*where, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        changes = subprocess.run(
            [*where, "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + ("+changed" if changes.stdout.strip() else "")
