"""The part of a recipe that says how widths are found: the method, its budget, and what the method needs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from swapbench.records import Frozen


class _Pruning(Frozen):
    """What every method has: a hard budget, in MACs or in a table's time.

    latency_table: a file that compress.latency_table reads; latency_ms: the sum over the network's layers in that table.
    channel_multiple: runtimes compute whole vectors of channels, and a width that fills none can cost several times as much.
    """

    macs: int | None = Field(default=None, ge=1)
    latency_ms: float | None = Field(default=None, gt=0)
    latency_table: str | None = None
    smallest: float = Field(default=0.1, gt=0, le=1, description="no width is cut to less than this part")
    channel_multiple: int = Field(default=1, ge=1, description="every width that is cut is a multiple of it")

    @model_validator(mode="after")
    def _one_budget(self) -> _Pruning:
        if (self.latency_ms is None) != (self.latency_table is None):
            raise ValueError("latency_ms and latency_table go together")
        if self.macs is not None and self.latency_ms is not None:
            raise ValueError("one budget only: macs or latency_ms")
        return self


class UniformWidth(_Pruning):
    """Every width cut by the same factor: what every other method must beat."""

    method: Literal["uniform"]


class Magnitude(_Pruning):
    """The channels of a trained network that matter least are cut.

    base: card of the trained, unpruned network in the folder that the pruned one is written to, the network's own name
    unless told; importance: "l1", the norm
    of a filter relative to the mean of its layer, or "bn_gamma", the batch norm scale (Liu et al., Network Slimming 2017);
    inherit: go on from the kept weights, or train the found widths from scratch.
    """

    method: Literal["magnitude"]
    base: str | None = None
    importance: Literal["l1", "bn_gamma"] = "l1"
    inherit: bool = True


class Search(Frozen):
    """The evolutionary search; the defaults are those of MetaPruning, 1000 evaluations.

    A generation is so many mutations and crossovers of the `parents` best structures seen so far, filled up to `population`
    with random ones; the first is random.
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
    """Liu et al., MetaPruning (ICCV 2019): a network that generates weights for any widths, then a search, then training anew.

    steps: scales a gene chooses from; hidden: width of the weight generators; epochs, batch, learning_rate: of the
    PruningNet, else as the network's own recipe says (its first phase); calibration_images: training images that set a
    candidate's batch norm statistics; search_images: at most so many development images judge a candidate.

    With both weights 0 it is MetaPruning. mmd_training: weight of the discrepancy between source domains in the
    PruningNet's loss; mmd_search: in the fitness. The discrepancy in the final training is the recipe's own mmd_weight.
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
    search: Search = Search()


Pruning = Annotated[UniformWidth | Magnitude | MetaPruning, Field(discriminator="method")]
