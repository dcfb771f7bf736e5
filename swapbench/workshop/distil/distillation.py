"""Teachers and what a student learns from them: loading, outputs, losses, and whether they fit the data.

The losses are those of Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); Zagoruyko and
Komodakis, "Paying More Attention to Attention" (ICLR 2017); Romero et al., "FitNets: Hints for Thin Deep
Nets" (ICLR 2015); and, cell by cell, the cross entropy with the teacher's map of bona fide probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from swapbench.cards import read_card
from swapbench.errors import BadCard, NotValid
from swapbench.workshop.nets import Tapped, modalities_of
from swapbench.workshop.nets.checkpoint import load_network
from swapbench.workshop.pipeline.batches import memory_format, normalised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.data.dataset import Dataset
    from swapbench.records import ModelCard, OutputMeaning
    from swapbench.workshop.nets import Taps
    from swapbench.workshop.pipeline.batches import Sight
    from swapbench.workshop.recipes.recipe import TrainRecipe


def as_two(logits: Tensor, output: OutputMeaning) -> Tensor:
    """Logits [n, classes] as [n, 2], (attack, bona fide), with the same softmax for bona fide."""
    bona_fide = list(output.bona_fide_indexes)
    attacks = [index for index in range(logits.shape[1]) if index not in bona_fide]
    return torch.stack([logits[:, attacks].logsumexp(1), logits[:, bona_fide].logsumexp(1)], 1)


def soft_target_loss(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """T^2 KL(target || softmax(student / T)), summed over classes, mean over the batch (Hinton et al. 2015).

    T^2 keeps the size of the gradient. A mean over classes as well would be too small by their number.

    Args:
        student: Logits [n, classes].
        target: Probabilities [n, classes] that are softened already.
        temperature: T, from 1.
    """
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student / temperature, 1), target, reduction="batchmean"
    )


def energy(features: Tensor) -> Tensor:
    """Attention map of features [n, c, h, w]: the mean over channels of their squares, [n, 1, h, w]."""
    return features.square().mean(1, keepdim=True)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two normalised attention maps, mean over the batch: 0 to 2.

    Cells are summed, not averaged, so that the weight does not depend on the grid: a weight of 1 here equals
    the published weight of 1000 on a mean over about 1000 cells.

    Args:
        student: `energy` of its features [n, 1, h, w].
        teacher: `energy` of its features [n, 1, any, any].
    """
    target = functional.normalize(resized(teacher, student).flatten(1), dim=1)
    return (functional.normalize(student.flatten(1), dim=1) - target).square().sum(1).mean()


def map_loss(student_logits: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of the student's probability from the teacher's in each cell, mean over cells and batch.

    It is 0 where they agree. A mean squared error would lose its gradient in cells where the student is sure
    and wrong.

    Args:
        student_logits: [n, 1, h, w].
        teacher: Bona fide probabilities [n, 1, any, any].
    """
    target = resized(teacher, student_logits).clamp(1e-6, 1 - 1e-6)
    entropy = -(target * target.log() + (1 - target) * torch.log1p(-target)).mean()
    return functional.binary_cross_entropy_with_logits(student_logits, target) - entropy


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Maps [n, c, any, any] on the grid of `like`: bilinear, antialiased where it gets coarser."""
    size = (like.shape[2], like.shape[3])
    if maps.shape[2:] == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=True)


class TeacherOutput(NamedTuple):
    """What a teacher computes for n images; None where no term of the loss needs it.

    Attributes:
        logits: [n, 2], attack and bona fide.
        map: Bona fide probability of each cell [n, 1, h, w].
        energy: Attention map of its features [n, 1, h, w].
        features: Of a middle stage [n, c, h, w].
    """

    logits: Tensor
    map: Tensor | None = None
    energy: Tensor | None = None
    features: Tensor | None = None


@dataclass(frozen=True)
class Teacher:
    """A trained network that a student learns from.

    Attributes:
        card: Says how images are prepared for it and what its outputs mean.
        network: In eval mode, on `device`.
        share: Its weight among the teachers; all shares add up to 1.
        device: Where it computes.
        parts: Fields of `TeacherOutput` that it computes besides the logits.
        bfloat16: Whether it computes in bfloat16.
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

    @property
    def sight(self) -> Sight:
        """How it sees."""
        return self.card.preprocessing, modalities_of(self.card.architecture)

    @torch.no_grad()
    def output(self, pixels: Tensor) -> TeacherOutput:
        """The outputs for pixels [n, channels, h, w] 0..255 of the size and channel order on its card.

        Its classes become two: the probability of all classes but bona fide is that of an attack.

        Raises:
            NotValid: The logits are not finite.
        """
        images = normalised(pixels.to(self.device), self.card.preprocessing)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            images = images.contiguous(memory_format=memory_format(self.device))
            taps = self.network.taps(images) if isinstance(self.network, Tapped) else None
            logits = self.network(images) if taps is None else taps.logits
        logits = as_two(logits.float(), self.card.output)
        if not bool(torch.isfinite(logits).all()):
            raise NotValid(
                f"the logits of the teacher {self.stem} are not finite",
                remedy="Train it again, or leave it out.",
            )
        if taps is None or not self.parts:
            return TeacherOutput(logits)
        features = taps.features.float()
        with_map = "map" in self.parts and taps.map_logits is not None
        return TeacherOutput(
            logits,
            map=torch.sigmoid(_needed(taps.map_logits).float()) if with_map else None,
            energy=energy(features) if "energy" in self.parts else None,
            features=features if "features" in self.parts else None,
        )


def open_teachers(
    recipe: TrainRecipe, paths: Mapping[str, Path], device: torch.device, *, bfloat16: bool
) -> tuple[Teacher, ...]:
    """Load the teachers of a recipe, sorted by name; none where every weight of the distillation is 0.

    Args:
        recipe: Says which teachers, with which shares, and what is learnt from them.
        paths: Name to card file.
        device: Where the teachers compute.
        bfloat16: Whether they compute in bfloat16.

    Raises:
        BadCard: A card or checkpoint cannot be used; a teacher lacks what a term of the loss compares; or a
            term compares places in the image and the teacher sees another part of the frame.
    """
    wanted = recipe.distillation
    if wanted is None or not wanted.on:
        return ()
    weights = {"map": wanted.map_weight, "energy": wanted.attention_weight, "features": wanted.hint_weight}
    parts = frozenset(part for part, weight in weights.items() if weight > 0)
    total = sum(wanted.teachers.values())
    teachers = []
    for name in sorted(wanted.teachers):
        path = paths[name]
        card = read_card(path)
        if card.output.kind != "logits":
            raise BadCard(f"{path}: the outputs of a teacher must be logits, not {card.output.kind}")
        network = load_network(card, path).to(device)
        teacher = Teacher(card, network, wanted.teachers[name] / total, device, parts, bfloat16)
        if parts:
            _check_places(teacher, recipe)
        teachers.append(teacher)
    if "map" in parts and not any(_blank_taps(teacher).map_logits is not None for teacher in teachers):
        stems = ", ".join(teacher.stem for teacher in teachers)
        raise BadCard(
            f"map_weight needs a teacher with a map head, and {stems} has none",
            remedy="Use resnet18_map, or set map_weight to 0.",
        )
    return tuple(teachers)


def _check_places(teacher: Teacher, recipe: TrainRecipe) -> None:
    """Raise BadCard where the features of teacher and student cannot be compared place by place."""
    if not isinstance(teacher.network, Tapped):
        raise BadCard(
            f"the teacher {teacher.stem} does not expose the features of a middle stage",
            remedy="Set attention_weight, hint_weight and map_weight to 0.",
        )
    geometry = ("crop_scale", "keep_box_aspect", "face_box")
    for field in geometry:
        value, expected = getattr(teacher.card.preprocessing, field), getattr(recipe.preprocessing, field)
        if value != expected:
            raise BadCard(
                f"the teacher {teacher.stem} sees another part of the frame than the student: "
                f"{field} is {value}, not {expected}",
                remedy="Train it on the same crops, or set attention_weight, hint_weight and map_weight "
                "to 0.",
            )


@torch.no_grad()
def _blank_taps(teacher: Teacher) -> Taps:
    size = teacher.card.preprocessing
    channels = 3 + len(modalities_of(teacher.card.architecture))
    blank = torch.zeros(1, channels, size.height_px, size.width_px, device=teacher.device)
    return cast("Tapped", teacher.network).taps(blank)


def training_data_difference(card: ModelCard, dataset: Dataset, digest: str) -> str:
    """How a teacher's training data differ from the student's, for the student's card; "" where they do not.

    Judged by what the cards say: the digest of the data, and the names of protocol, domains and fold.

    Args:
        card: The teacher's.
        dataset: The student's.
        digest: Of the student's dataset.

    Raises:
        BadCard: The teacher's data hold conditions that the student's protocol keeps for its test. Such a
            teacher passes on knowledge of the test, and the student's error rates would be too low.
    """
    if card.training is None:
        return "unknown data"
    if card.training.data_digest == digest:
        return ""
    theirs = card.training.data
    if _holds_the_test(theirs, dataset):
        raise BadCard(
            f"the teacher {card.name} was trained on {theirs}, which contains the test conditions of "
            f"{_fold_name(dataset)}",
            remedy=f"Train the teacher on the same fold first: swapbench train {card.name} with the same "
            "--data and --protocol.",
        )
    return f"other data than the student's ({theirs})"


def _fold_name(dataset: Dataset) -> str:
    return dataset.protocol + (f" fold {dataset.fold}" if dataset.fold else "")


def _holds_the_test(theirs: str, dataset: Dataset) -> bool:
    """Whether training data named `theirs` hold the test conditions of a dataset's protocol.

    Such a protocol leaves one domain out, or is one of several of its dataset.
    """
    _, leaves_one_out, target = dataset.protocol.partition(" to ")
    title = dataset.name.rpartition(" to ")[2]  # of the dataset that is tested, or that has the domains
    if leaves_one_out:
        sources, is_protocol, _ = theirs.partition(" to ")
        return target in sources.split("+") if is_protocol else theirs.startswith(title)
    # the protocols and folds of one dataset differ in what they keep for the test
    numbered = " protocol " in dataset.protocol and theirs.startswith(f"{title} protocol ")
    return numbered and theirs != _fold_name(dataset)


class Imitation(nn.Module):
    """The terms of a student's loss that come from its teachers, and the layers that only they need.

    The layers are trained with the student but are no part of it: neither its checkpoint nor its exported
    graph has them.

    Attributes:
        regressors: 1x1 convolutions from the student's features to each teacher's (FitNets).
        map_head: A 1x1 convolution from the student's features to a map, where the student has no map of its
            own.
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
                f"recipe {recipe.stem}: {recipe.family} does not expose the features of a middle stage",
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

    def forward(
        self, logits: Tensor, taps: Taps | None, targets: Sequence[TeacherOutput]
    ) -> dict[str, Tensor]:
        """The unweighted terms of the loss, by name; those whose weight is 0 are left out.

        Args:
            logits: The student's [n, 2].
            taps: The student's; None where no term needs them.
            targets: One output a teacher, for the same images.
        """
        wanted, terms = self.wanted, {}
        if wanted.weight > 0:
            softened = [functional.softmax(output.logits / wanted.temperature, 1) for output in targets]
            target = _mean(softened, self.shares)
            terms["soft_targets"] = soft_target_loss(logits, target, wanted.temperature)
        if not wanted.spatial:
            return terms
        assert taps is not None
        features = taps.features.float()
        if wanted.attention_weight > 0:
            ours = energy(features)
            distances = [attention_loss(ours, _needed(output.energy)) for output in targets]
            terms["attention"] = _mean(distances, self.shares)
        if self.regressors is not None:
            distances = [
                functional.mse_loss(
                    regressor(features).float(), resized(_needed(output.features).float(), features)
                )
                for regressor, output in zip(self.regressors, targets, strict=True)
            ]
            terms["hint"] = _mean(distances, self.shares)
        if wanted.map_weight > 0:
            cells = self.map_head(features) if self.map_head is not None else _needed(taps.map_logits)
            maps = [
                (resized(output.map, cells), share)
                for output, share in zip(targets, self.shares, strict=True)
                if output.map is not None
            ]
            terms["teacher_map"] = map_loss(cells.float(), _mean(*zip(*maps, strict=True)))
        return terms

    def added(self, loss: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
        """The loss of the labels plus these terms, each with its weight."""
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
    """The mean weighted by shares, which need not add up to 1."""
    total = sum(shares)
    return torch.stack([value * (share / total) for value, share in zip(values, shares, strict=True)]).sum(0)


def _needed(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "the teacher did not compute this"
    return tensor
