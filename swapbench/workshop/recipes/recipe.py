"""A training recipe: a TOML file of everything that decides a checkpoint, except the data and the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from swapbench.cards import first_problem
from swapbench.errors import BadCard
from swapbench.files import toml_table
from swapbench.records import FileName, Frozen, OutputMeaning, Preprocessing
from swapbench.workshop.recipes.pruning_recipe import Pruning  # noqa: TC001 - pydantic needs it

if TYPE_CHECKING:
    from pathlib import Path


class Phase(Frozen):
    """Epochs at one input size; early phases at smaller sizes are cheap."""

    size_px: int = Field(ge=16)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=2)


class Augmentation(Frozen):
    """How far a training crop may differ from the deployed one; with all zero it does not differ."""

    scale: float = Field(default=0.1, ge=0, lt=0.5, description="crop side times 1 - scale .. 1 + scale")
    shift: float = Field(
        default=0.05, ge=0, lt=0.5, description="centre moves by up to this fraction of the side"
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of a mirrored image")
    brightness: float = Field(default=0.2, ge=0, lt=1, description="all channels times 1 - b .. 1 + b")
    contrast: float = Field(
        default=0.2, ge=0, lt=1, description="distance from the image's mean times 1 - c .. 1 + c"
    )
    colour: float = Field(default=0.1, ge=0, lt=1, description="each channel on its own times 1 - c .. 1 + c")


class Distillation(Frozen):
    """What a student learns from trained networks besides the labels. All weights 0 is plain training.

        (1 - weight) (loss of the labels) + weight (T^2 KL of softened probabilities)   Hinton et al. 2015
        + attention_weight (distance of normalised attention maps)              Zagoruyko and Komodakis 2017
        + hint_weight (MSE of the regressed features of a middle stage)                  Romero et al. 2015
        + map_weight (KL of each cell of the map of bona fide probability)

    Two logits hold one number an image; the other terms tell where in the image. The softened probabilities
    and the maps of several teachers are averaged, and so are the distances from their attention maps and
    features. Teacher and student always see the same view (Beyer et al., "Knowledge Distillation: A Good
    Teacher Is Patient and Consistent", CVPR 2022).

    Attributes:
        teachers: Name of a card -> its share.
        weight: Of the softened probabilities.
        temperature: T.
        attention_weight: Of the attention maps.
        hint_weight: Of the features.
        map_weight: Of the map.
        views: Number of augmented views of every image that are fixed, so that each teacher's outputs are
            computed once and kept on disk; each time an image is used, one of them is drawn. With 0 every
            view is fresh, at the price of a forward pass of each teacher.
        bfloat16: Whether teachers compute in bfloat16 on devices made for it.
    """

    teachers: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    weight: float = Field(default=0.9, ge=0, le=1)
    temperature: float = Field(default=4.0, gt=0)
    attention_weight: float = Field(default=0.0, ge=0)
    hint_weight: float = Field(default=0.0, ge=0)
    map_weight: float = Field(default=0.0, ge=0)
    views: int = Field(default=0, ge=0)
    bfloat16: bool = True

    @property
    def on(self) -> bool:
        """Whether any term has a weight; if none has, teachers are not even loaded."""
        return self.weight > 0 or self.spatial

    @property
    def spatial(self) -> bool:
        """Whether a term compares places, so that teacher and student must see the same part of a frame."""
        return max(self.attention_weight, self.hint_weight, self.map_weight) > 0


class EarlyExit(Frozen):
    """Exits behind stages of a network, trained with it.

        loss of the last exit + sum over the others of
            (1 - weight) CE + weight (T^2 KL from the last exit's softened probabilities)

    That is self-distillation after Zhang et al., "Be Your Own Teacher" (ICCV 2019), without their hint loss
    on features; with weight 0 it is the joint training of BranchyNet (Teerapittayanon et al., ICPR 2016). No
    gradient flows through what the last exit teaches.

    Attributes:
        after: Stages behind which there is an exit, from 1, ascending: one or two.
        width: Channels of the exits.
        weight: Of what the last exit teaches.
        temperature: T.
    """

    after: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, max_length=2)
    width: int = Field(default=128, ge=1)
    weight: float = Field(default=0.3, ge=0, le=1)
    temperature: float = Field(default=3.0, gt=0)


class FlatMinimum(Frozen):
    """Train towards a flat minimum: sharpness-aware minimisation (Foret et al., "SAM", ICLR 2021).

    Each step climbs first, by `radius` along the normalised gradient, and descends with the gradient found
    there, at the price of two passes. With `by_domain` the climb follows the loss of one training domain
    alone, each in its turn, so that the minimum is flat in the direction of every one. Climbing by domain is
    in the spirit of Le and Woo ("Gradient Alignment for Cross-Domain Face Anti-Spoofing", CVPR 2024), who
    climb for all domains in every step and align the gradients found there; we do neither.

    Attributes:
        radius: Length of the climb, in the norm of all weights.
        by_domain: Whether one domain decides its direction.
    """

    radius: float = Field(gt=0)
    by_domain: bool = False


class TrainRecipe(Frozen):
    """How to train one network. The card, and so its file, gets the recipe's `name` and `recipe`.

    `choose` and `average` say which weights are kept. The averaged weights are an exponential mean over steps
    (Polyak and Juditsky 1992, as in Tarvainen and Valpola, "Mean teachers", NeurIPS 2017); they are what the
    development split judges, too.
    """

    name: FileName
    recipe: FileName | None = None
    summary: str
    family: str
    architecture: dict[str, Any]
    preprocessing: Preprocessing
    output: OutputMeaning
    phases: tuple[Phase, ...] = Field(min_length=1)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    map_weight: float = Field(default=0.0, ge=0, le=1, description="loss = (1 - w) CE + w BCE(map)")
    mmd_weight: float = Field(
        default=0.0, ge=0, description="loss + w times the discrepancy between the training domains"
    )
    mmd_over: Literal["each_class", "all", "bona_fide"] = "each_class"
    mmd_from: float = Field(
        default=0.0, ge=0, le=1, description="share of the training before the weight begins to rise from 0"
    )
    mmd_full: float = Field(default=0.0, ge=0, le=1, description="share of it at which the weight is full")
    flat: FlatMinimum | None = None
    stratified: bool = Field(
        default=False, description="every batch, not only the epoch, has each domain and species by its share"
    )
    views: int = Field(
        default=0, ge=0, description="fixed augmented views of an image, as of a distillation; 0: fresh ones"
    )
    choose: Literal["eer", "loss", "last"] = Field(
        default="eer", description="the epoch of the last phase by this on the development split, or the last"
    )
    average: float = Field(
        default=0.0, ge=0, lt=1, description="share that the mean of the weights keeps in a step; 0: no mean"
    )
    augmentation: Augmentation = Augmentation()
    distillation: Distillation | None = None
    early_exit: EarlyExit | None = None
    pruning: Pruning | None = None
    bfloat16: bool = Field(
        default=False, description="autocast; depthwise convolutions are slower in it, others faster"
    )
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> TrainRecipe:
        if self.preprocessing.width_px != self.preprocessing.height_px:
            raise ValueError("training needs a square input")
        if self.preprocessing.channels != 3:
            raise ValueError("training needs colour: channel_order rgb or bgr")
        if self.phases[-1].size_px != self.preprocessing.width_px:
            raise ValueError("the last phase must train at the deployed size, width_px")
        if self.output.kind != "logits" or self.output.bona_fide_index not in (0, 1):
            raise ValueError("training needs logits of two classes")
        if self.early_exit is not None and self.pruning is not None:
            raise ValueError("a network is pruned or gets early exits, not both at once")
        if self.mmd_full < self.mmd_from:
            raise ValueError("mmd_full is before mmd_from")
        if self.views and self.distillation is not None:
            raise ValueError("views stand in distillation where there is one")
        if self.flat is not None and self.distillation is not None:
            raise ValueError("flat and distillation cannot be combined")
        return self

    def mmd_weight_at(self, share: float) -> float:
        """The weight of the discrepancy after this share of the training: a ramp, or the whole of it."""
        if share >= self.mmd_full:
            return self.mmd_weight
        return self.mmd_weight * max(share - self.mmd_from, 0.0) / (self.mmd_full - self.mmd_from)

    @property
    def network(self) -> tuple[str, dict[str, Any]]:
        """Family and architecture of what is trained: with exits, where it gets any."""
        if self.early_exit is None:
            return self.family, self.architecture
        exits = self.early_exit.model_dump(mode="json", include={"after", "width"})
        return "early_exit", {"family": self.family, "network": self.architecture, **exits}

    @property
    def stem(self) -> str:
        """File name of the card and the checkpoint, without suffix."""
        return f"{self.name}.{self.recipe}" if self.recipe else self.name

    @property
    def epochs(self) -> int:
        """The number of epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase(self, epoch: int) -> Phase:
        """The phase of an epoch, which counts from 0."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        raise IndexError(epoch)


def read_recipe(path: Path, method: Path | None = None) -> TrainRecipe:
    """Read a recipe.

    Args:
        path: The TOML file of the network.
        method: A TOML file whose keys override the network's; tables are merged key by key.

    Raises:
        BadCard: A file cannot be read, or the recipe is not valid; the message names the file and the field.
    """
    raw = toml_table(path, "recipe", BadCard)
    if method is not None:
        raw = _merged(raw, toml_table(method, "recipe", BadCard))
    try:
        return TrainRecipe.model_validate(raw)
    except ValidationError as error:
        where = path if method is None else f"{path} with {method}"
        raise BadCard(f"{where}: {first_problem(error, TrainRecipe)}") from error


def _merged(table: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    both = table.keys() & overrides.keys()
    nested = {key for key in both if isinstance(table[key], dict) and isinstance(overrides[key], dict)}
    return {**table, **overrides, **{key: _merged(table[key], overrides[key]) for key in nested}}


def label(recipe: TrainRecipe) -> str:
    """Method and budget for a file name: metammd-40M, uniform-3_5ms; uniform-40M-x8 in multiples of 8."""
    pruning = recipe.pruning
    assert pruning is not None
    method = recipe.recipe or pruning.method
    budget = f"{pruning.latency_ms:g}ms" if pruning.macs is None else f"{pruning.macs / 1e6:g}M"
    multiple = f"-x{pruning.channel_multiple}" if pruning.channel_multiple > 1 else ""
    return f"{method}-{budget}{multiple}".replace(".", "_")
