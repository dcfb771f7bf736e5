"""The part of a recipe that says how widths are found: the method, its budget, and what the method needs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from swapbench.records import Frozen


class _Pruning(Frozen):
    """What every method has: a hard budget, in MACs or in a time by a latency table.

    Attributes:
        macs: Multiply-accumulates; None where the budget is a time.
        latency_ms: Sum of the network's layers in the table.
        latency_table: A file, see `prune.latency_table`.
        smallest: No width is cut to less than this fraction.
        channel_multiple: Every width that is cut is a multiple of it. Runtimes compute whole vectors of
            channels, and a width that does not fill its vectors can cost several times as much.
    """

    macs: int | None = Field(default=None, ge=1)
    latency_ms: float | None = Field(default=None, gt=0)
    latency_table: str | None = None
    smallest: float = Field(default=0.1, gt=0, le=1, description="no width is cut to less than this fraction")
    channel_multiple: int = Field(default=1, ge=1, description="every width that is cut is a multiple of it")

    @model_validator(mode="after")
    def _one_budget(self) -> _Pruning:
        if (self.latency_ms is None) != (self.latency_table is None):
            raise ValueError("latency_ms and latency_table go together")
        if self.macs is not None and self.latency_ms is not None:
            raise ValueError("only one budget is possible: macs or latency_ms")
        return self


class UniformWidth(_Pruning):
    """Every width is cut by the same factor: the baseline of the other methods."""

    method: Literal["uniform"]


class Magnitude(_Pruning):
    """The least important channels of a trained network are cut.

    Attributes:
        base: Name of the card of the trained, unpruned network in the output folder; None takes the network's
            own name.
        importance: "l1", the norm of a filter relative to the mean of its layer, or "bn_gamma", the batch
            norm scale; see `prune.magnitude`.
        inherit: Begin the training with the weights of the kept channels; else train from scratch.
    """

    method: Literal["magnitude"]
    base: str | None = None
    importance: Literal["l1", "bn_gamma"] = "l1"
    inherit: bool = True


class Search(Frozen):
    """The evolutionary search; the defaults are those of MetaPruning, 1000 evaluations.

    A generation consists of mutations and crossovers of the `parents` best structures so far, filled up to
    `population` with random ones; the first generation is random.
    """

    generations: int = Field(default=20, ge=1)
    population: int = Field(default=50, ge=1)
    parents: int = Field(default=10, ge=1)
    mutations: int = Field(default=25, ge=0)
    crossovers: int = Field(default=25, ge=0)
    mutation_probability: float = Field(default=0.1, gt=0, le=1, description="of each gene")

    @model_validator(mode="after")
    def _fits(self) -> Search:
        if self.mutations + self.crossovers > self.population:
            raise ValueError("mutations and crossovers are more than the population")
        return self


class MetaPruning(_Pruning):
    """A network that generates weights for any widths, a search, and training from scratch.

    After Liu et al., "MetaPruning" (ICCV 2019), which it is with both weights of the discrepancy 0. Otherwise
    it is Meta-MMD, see `prune.pruning`. The discrepancy in the final training has a weight of its own: the
    recipe's `mmd_weight`.

    Attributes:
        steps: Number of scales that a gene chooses from.
        hidden: Width of the weight generators.
        epochs: Of the PruningNet; None takes those of the recipe's first phase.
        batch: Of the PruningNet; None takes that of the recipe's first phase.
        learning_rate: Of the PruningNet; None takes the recipe's.
        calibration_images: Training images that a candidate's batch norm statistics are measured on.
        search_images: Limit on the development images that a candidate is evaluated on.
        mmd_training: Weight of the discrepancy between source domains in the PruningNet's loss.
        mmd_search: Weight of the discrepancy in the fitness.
        mmd_noise: The discrepancy has a say in the fitness only where its sampling noise, with its weight, is
            at most this share of the spread of the structures' own fitness; None lets it have its say anyhow.
        judge: What the fitness of a structure is besides the discrepancy: the class-balanced loss, or
            1 - AUC.
        held_out: Whether one source domain, which the seed decides, is kept from the PruningNet, and
            structures are judged on it: on people and conditions that the generated weights have not seen.
        least: Structures that cost less than this share of the budget are not looked at.
        search: The evolutionary search.
    """

    method: Literal["metapruning"]
    steps: int = Field(default=31, ge=2)
    hidden: int = Field(default=16, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=2)
    learning_rate: float | None = Field(default=None, gt=0)
    calibration_images: int = Field(default=128, ge=2)
    search_images: int = Field(default=256, ge=2)
    mmd_training: float = Field(default=0.0, ge=0)
    mmd_search: float = Field(default=0.0, ge=0)
    mmd_noise: float | None = Field(default=None, gt=0)
    judge: Literal["loss", "auc"] = "loss"
    held_out: bool = False
    least: float = Field(default=0.0, ge=0, lt=1)
    search: Search = Search()


Pruning = Annotated[UniformWidth | Magnitude | MetaPruning, Field(discriminator="method")]
