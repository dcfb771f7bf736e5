"""A training recipe: everything that decides what a trained checkpoint is, except the data and the seed, as a TOML file."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from swapbench.cards import first_problem
from swapbench.errors import BadCard
from swapbench.records import Frozen, OutputMeaning, Preprocessing
from swapbench.workshop.recipes.pruning_recipe import Pruning  # noqa: TC001 - pydantic needs the real type at run time

if TYPE_CHECKING:
    from pathlib import Path


class Phase(Frozen):
    """Epochs at one input size. Earlier phases at smaller sizes are cheap; networks with a fixed head have one phase."""

    size_px: int = Field(ge=16)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=2)


class Augmentation(Frozen):
    """How far a training crop may differ from the deployed one. All zero: not at all."""

    scale: float = Field(default=0.1, ge=0, lt=0.5, description="crop side times 1 - scale .. 1 + scale")
    shift: float = Field(
        default=0.05, ge=0, lt=0.5, description="centre moves by up to this part of the side"
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of a mirrored image")
    brightness: float = Field(default=0.2, ge=0, lt=1, description="all channels times 1 - b .. 1 + b")
    contrast: float = Field(
        default=0.2, ge=0, lt=1, description="distance from the image's mean times 1 - c .. 1 + c"
    )
    colour: float = Field(default=0.1, ge=0, lt=1, description="each channel on its own times 1 - c .. 1 + c")


class Distillation(Frozen):
    """What a student learns from trained networks besides the labels. Each weight switches a term; all 0 is plain training.

        (1 - weight) (the loss of the labels) + weight (T^2 KL of softened probabilities)   Hinton et al. 2015
        + attention_weight (distance of normalised attention maps)                          Zagoruyko and Komodakis 2017
        + hint_weight (MSE of the regressed features of a middle stage)                     Romero et al. 2015
        + map_weight (KL of each cell of the map of bona fide probability)

    Two logits say one number an image; the other terms say where in the image. teachers: name of a card -> its share; of
    several, the softened probabilities and the maps are averaged, and so are the distances from their attention and features.

    views: so many augmented views of every image are fixed, each teacher answers them once, and its answers are kept on disk;
    each time an image is used, one of them is drawn. 0: a fresh view and a fresh answer every time, at the price of a
    teacher's forward pass each. Teacher and student always see the same view (Beyer et al., A Good Teacher Is Patient and
    Consistent, 2022). bfloat16: teachers answer in it where the machine is made for it.
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
        """False where no term has a weight: teachers are not even opened then."""
        return self.weight > 0 or self.spatial

    @property
    def spatial(self) -> bool:
        """True where a term compares places, so that teacher and student must see the same part of a frame."""
        return max(self.attention_weight, self.hint_weight, self.map_weight) > 0


class TrainRecipe(Frozen):
    """How to train one network. `name` and `recipe` become the card's and so the file's name."""

    name: str
    recipe: str | None = None
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
    augmentation: Augmentation = Augmentation()
    distillation: Distillation | None = None
    pruning: Pruning | None = None
    bfloat16: bool = Field(
        default=False, description="autocast; depthwise convolutions are slower in it, others faster"
    )
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> TrainRecipe:
        if self.preprocessing.width_px != self.preprocessing.height_px:
            raise ValueError("training needs a square input")
        if self.phases[-1].size_px != self.preprocessing.width_px:
            raise ValueError("the last phase must train at the deployed size, width_px")
        if self.output.kind != "logits" or self.output.bona_fide_index not in (0, 1):
            raise ValueError("training needs two classes given as logits")
        return self

    @property
    def stem(self) -> str:
        """File name of the card and the checkpoint without suffix."""
        return f"{self.name}.{self.recipe}" if self.recipe else self.name

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase(self, epoch: int) -> Phase:
        """The phase of an epoch counted from 0."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        raise IndexError(epoch)


def read_recipe(path: Path, method: Path | None = None) -> TrainRecipe:
    """The recipe in a TOML file, with a method laid over it: another TOML file, whose keys win over the network's.

    Tables are joined key by key. Raises BadCard naming the file and the field.
    """
    raw = toml_table(path) if method is None else _joined(toml_table(path), toml_table(method))
    try:
        return TrainRecipe.model_validate(raw)
    except ValidationError as error:
        where = path if method is None else f"{path} with {method}"
        raise BadCard(f"{where}: {first_problem(error)}") from error


def toml_table(path: Path) -> dict[str, Any]:
    """A TOML file of recipes as it stands. Raises BadCard where it is none."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise BadCard(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadCard(f"{path} is not TOML: {error}") from error


def _joined(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = below.keys() & above.keys()
    tables = {key for key in both if isinstance(below[key], dict) and isinstance(above[key], dict)}
    return {**below, **above, **{key: _joined(below[key], above[key]) for key in tables}}
