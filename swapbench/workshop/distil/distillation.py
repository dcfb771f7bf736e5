"""Teachers and what a student learns from them: opening, whether they fit the data, their answers, and the losses.

Losses: Hinton et al., Distilling the Knowledge in a Neural Network (2015); Zagoruyko and Komodakis, Paying More Attention to
Attention (2017); Romero et al., FitNets (2015); and the teacher's map of bona fide probability, cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from swapbench.cards import read_card
from swapbench.errors import BadCard, NotValid
from swapbench.workshop.nets import Tapped
from swapbench.workshop.nets.checkpoint import load_network
from swapbench.workshop.pipeline.batches import normalised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.data.dataset import Dataset
    from swapbench.records import ModelCard, OutputMeaning
    from swapbench.workshop.nets import Taps
    from swapbench.workshop.recipes.recipe import TrainRecipe


def as_two(logits: Tensor, output: OutputMeaning) -> Tensor:
    """Logits of any number of classes as two, (attack, bona fide), with the same softmax for bona fide."""
    real = output.bona_fide_index
    others = torch.cat([logits[:, :real], logits[:, real + 1 :]], 1)
    return torch.stack([others.logsumexp(1), logits[:, real]], 1)


# ------------------------------------------------------------------------------------------------------- losses


def soft_target_loss(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """T^2 KL(target || softmax(student / T)), summed over classes, mean over the batch (Hinton et al. 2015).

    student: logits [n, classes]; target: probabilities [n, classes], already softened. T^2 keeps the size of the gradient;
    a mean over classes too would be too small by their number.
    """
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student / temperature, 1), target, reduction="batchmean"
    )


def energy(features: Tensor) -> Tensor:
    """Where a network looks: the mean over channels of squared features, [n, c, h, w] to [n, 1, h, w]."""
    return features.square().mean(1, keepdim=True)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of attention maps, each of length 1, mean over the batch: from 0 to 2 (Zagoruyko and Komodakis 2017).

    Both are `energy` [n, 1, h, w], the teacher's of any size. The sum over cells and not their mean, so that the weight
    does not depend on the grid: 1 here is 1000, the published weight, on a mean over about 1000 cells.
    """
    theirs = functional.normalize(resized(teacher, student).flatten(1), dim=1)
    return (functional.normalize(student.flatten(1), dim=1) - theirs).square().sum(1).mean()


def map_loss(student_logits: Tensor, teacher: Tensor) -> Tensor:
    """KL of the teacher's probability and the student's in each cell, mean over cells and batch; 0 where they agree.

    student_logits [n, 1, h, w]; teacher: probabilities [n, 1, any, any]. Not a mean squared error, whose gradient vanishes
    in cells where a student is sure and wrong.
    """
    target = resized(teacher, student_logits).clamp(1e-6, 1 - 1e-6)
    entropy = -(target * target.log() + (1 - target) * torch.log1p(-target)).mean()
    return functional.binary_cross_entropy_with_logits(student_logits, target) - entropy


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Maps [n, c, any, any] on the grid of `like`: bilinear, smoothed where it becomes coarser."""
    size = (like.shape[2], like.shape[3])
    if maps.shape[2:] == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=True)


# ----------------------------------------------------------------------------------------------------- teachers


class Answer(NamedTuple):
    """What a teacher says of n images: logits [n, 2]; and where a term asks for them, its map of bona fide probability
    [n, 1, h, w], the energy of its features [n, 1, h, w], and the features [n, c, h, w] themselves.
    """

    logits: Tensor
    map: Tensor | None = None
    energy: Tensor | None = None
    features: Tensor | None = None


@dataclass(frozen=True)
class Teacher:
    """A trained network that answers: its card, its share among several, and how it computes.

    parts: what of an Answer it is asked for besides the logits.
    """

    card: ModelCard
    network: nn.Module
    share: float
    device: torch.device
    parts: frozenset[str] = frozenset()
    bfloat16: bool = False

    @property
    def stem(self) -> str:
        """Name and recipe of its card."""
        return f"{self.card.name}.{self.card.recipe}" if self.card.recipe else self.card.name

    @torch.no_grad()
    def answer(self, pixels: Tensor) -> Answer:
        """The answer to pixels [n, 3, h, w] 0..255 as its card wants them, on its device.

        Whatever classes it has become two: the others' mass is attack. Raises NotValid for logits that are no numbers.
        """
        images = normalised(pixels.to(self.device), self.card.preprocessing)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            images = images.contiguous(memory_format=torch.channels_last)
            taps = self.network.taps(images) if isinstance(self.network, Tapped) else None
            logits = self.network(images) if taps is None else taps.logits
        logits = as_two(logits.float(), self.card.output)
        if not bool(torch.isfinite(logits).all()):
            raise NotValid(
                f"the teacher {self.stem} answers with something that is no number",
                remedy="Train it again, or leave it out.",
            )
        if taps is None or not self.parts:
            return Answer(logits)
        features = taps.features.float()
        return Answer(
            logits,
            map=torch.sigmoid(taps.map_logits.float())
            if "map" in self.parts and taps.map_logits is not None
            else None,
            energy=energy(features) if "energy" in self.parts else None,
            features=features if "features" in self.parts else None,
        )


def open_teachers(
    recipe: TrainRecipe, paths: Mapping[str, Path], device: torch.device, *, bfloat16: bool
) -> tuple[Teacher, ...]:
    """The teachers of a recipe, sorted by name, shares adding up to 1; none where every weight is 0.

    paths: name -> file of the card. Raises BadCard for a card or checkpoint that cannot be used, and for a teacher that lacks
    what a term compares or, where a term compares places, sees another part of the frame.
    """
    wanted = recipe.distillation
    if wanted is None or not wanted.on:
        return ()
    weights = {"map": wanted.map_weight, "energy": wanted.attention_weight, "features": wanted.hint_weight}
    parts = frozenset(part for part, weight in weights.items() if weight > 0)
    total = sum(wanted.teachers.values())
    found = []
    for name in sorted(wanted.teachers):
        path = paths[name]
        card = read_card(path)
        if card.output.kind != "logits":
            raise BadCard(f"{path}: a teacher must give logits, and this one gives {card.output.kind}")
        network = load_network(card, path).to(device)
        teacher = Teacher(card, network, wanted.teachers[name] / total, device, parts, bfloat16)
        if parts:
            _check_places(teacher, recipe)
        found.append(teacher)
    if "map" in parts and not any(_blank_taps(one).map_logits is not None for one in found):
        raise BadCard(
            f"map_weight needs a teacher with a map head, and {', '.join(one.stem for one in found)} has none",
            remedy="Take resnet18_map, or set map_weight to 0.",
        )
    return tuple(found)


def _check_places(teacher: Teacher, recipe: TrainRecipe) -> None:
    if not isinstance(teacher.network, Tapped):
        raise BadCard(
            f"the teacher {teacher.stem} shows no features of a middle stage",
            remedy="Set attention_weight, hint_weight and map_weight to 0.",
        )
    geometry = ("crop_scale", "keep_box_aspect", "face_box")
    for field in geometry:
        theirs, ours = getattr(teacher.card.preprocessing, field), getattr(recipe.preprocessing, field)
        if theirs != ours:
            raise BadCard(
                f"the teacher {teacher.stem} sees another part of the frame than the student: {field} is {theirs}, not {ours}",
                remedy="Train it with the same crops, or set attention_weight, hint_weight and map_weight to 0.",
            )


@torch.no_grad()
def _blank_taps(teacher: Teacher) -> Taps:
    size = teacher.card.preprocessing
    blank = torch.zeros(1, 3, size.height_px, size.width_px, device=teacher.device)
    return cast("Tapped", teacher.network).taps(blank)


def unlike_the_students_data(card: ModelCard, dataset: Dataset, digest: str) -> str:
    """In what a teacher's training data differ from the student's, as words for its card; "" where they are the same.

    Raises BadCard where they hold conditions that the student's protocol keeps for its test: what such a teacher passes on
    is knowledge of the test, and the student's errors would be too low. Judged by what the cards say: the digest of the data,
    and the names of protocol, domains and fold.
    """
    if card.training is None:
        return "unknown data"
    if card.training.data_digest == digest:
        return ""
    theirs = card.training.data
    if _holds_the_test(theirs, dataset):
        ours = dataset.protocol + (f" fold {dataset.fold}" if dataset.fold else "")
        raise BadCard(
            f"the teacher {card.name} was trained on {theirs}, which holds what {ours} is tested on",
            remedy=f"Train the teacher on the same fold first: swapbench train {card.name} with the same --data and --protocol.",
        )
    return f"other data than the student's ({theirs})"


def _holds_the_test(theirs: str, dataset: Dataset) -> bool:
    """Whether training data named `theirs` hold the test conditions of a protocol: leave-one-out, or one of several of a dataset."""
    _, leaves_one_out, target = dataset.protocol.partition(" to ")
    title = dataset.name.rpartition(" to ")[2]  # of the dataset that is tested, or that has the domains
    if leaves_one_out:
        sources, also, _ = theirs.partition(" to ")
        return target in sources.split("+") if also else theirs.startswith(title)
    # the protocols and folds of one dataset differ in what they keep for the test
    numbered = " protocol " in dataset.protocol and theirs.startswith(f"{title} protocol ")
    ours = dataset.protocol + (f" fold {dataset.fold}" if dataset.fold else "")
    return numbered and theirs != ours


# ------------------------------------------------------------------------------------------------------ student


class Imitation(nn.Module):
    """The terms of a student's loss that come from its teachers, and the parts of it that only training has.

    regressors: from the student's features to each teacher's (1x1, FitNets); map_head: from the student's features to a map
    (1x1), where it has none of its own. They are trained with the student and never belong to it: neither checkpoint nor
    exported graph knows them.
    """

    def __init__(self, recipe: TrainRecipe, teachers: Sequence[Teacher], student: nn.Module) -> None:
        super().__init__()
        assert recipe.distillation is not None
        self.wanted = recipe.distillation
        self.shares = [teacher.share for teacher in teachers]
        self.map_head: nn.Conv2d | None = None
        self.regressors: nn.ModuleList | None = None
        if not self.wanted.spatial:
            return
        if not isinstance(student, Tapped):
            raise BadCard(
                f"recipe {recipe.stem}: the family {recipe.family} shows no features of a middle stage",
                remedy="Set attention_weight, hint_weight and map_weight to 0.",
            )
        size = recipe.preprocessing
        with torch.no_grad():
            ours = student.eval().taps(torch.zeros(1, 3, size.height_px, size.width_px))
        channels = ours.features.shape[1]
        if self.wanted.map_weight > 0 and ours.map_logits is None:
            self.map_head = nn.Conv2d(channels, 1, 1)
        if self.wanted.hint_weight > 0:
            self.regressors = nn.ModuleList(
                nn.Conv2d(channels, _blank_taps(teacher).features.shape[1], 1) for teacher in teachers
            )

    def forward(self, logits: Tensor, taps: Taps | None, answers: Sequence[Answer]) -> dict[str, Tensor]:
        """The terms that have a weight, by name and without it. logits [n, 2] and taps: the student's; answers: one a teacher."""
        wanted, terms = self.wanted, {}
        if wanted.weight > 0:
            softened = [functional.softmax(answer.logits / wanted.temperature, 1) for answer in answers]
            target = _mean(softened, self.shares)
            terms["soft_targets"] = soft_target_loss(logits, target, wanted.temperature)
        if not wanted.spatial:
            return terms
        assert taps is not None
        features = taps.features.float()
        if wanted.attention_weight > 0:
            ours = energy(features)
            distances = [attention_loss(ours, _needed(answer.energy)) for answer in answers]
            terms["attention"] = _mean(distances, self.shares)
        if self.regressors is not None:
            distances = [
                functional.mse_loss(
                    regressor(features).float(), resized(_needed(answer.features).float(), features)
                )
                for regressor, answer in zip(self.regressors, answers, strict=True)
            ]
            terms["hint"] = _mean(distances, self.shares)
        if wanted.map_weight > 0:
            cells = self.map_head(features) if self.map_head is not None else _needed(taps.map_logits)
            maps = [(answer.map, share) for answer, share in zip(answers, self.shares, strict=True)]
            theirs = [(resized(one, cells), share) for one, share in maps if one is not None]
            terms["teacher_map"] = map_loss(cells.float(), _mean(*zip(*theirs, strict=True)))
        return terms

    def added(self, loss: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
        """The loss of the labels and these terms, each with its weight."""
        wanted = self.wanted
        if "soft_targets" in terms:
            loss = (1 - wanted.weight) * loss + wanted.weight * terms["soft_targets"]
        if "attention" in terms:
            loss = loss + wanted.attention_weight * terms["attention"]
        if "hint" in terms:
            loss = loss + wanted.hint_weight * terms["hint"]
        if "teacher_map" in terms:
            loss = loss + wanted.map_weight * terms["teacher_map"]
        return loss


def _mean(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The mean by shares, which need not add up to 1."""
    total = sum(shares)
    return torch.stack([value * (share / total) for value, share in zip(values, shares, strict=True)]).sum(0)


def _needed(part: Tensor | None) -> Tensor:
    assert part is not None, "the teacher was not asked for this"
    return part
