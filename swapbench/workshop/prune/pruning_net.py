"""PruningNet (Liu et al., MetaPruning, ICCV 2019): one network that generates the weights of every structure of a width space.

Each convolution whose widths are genes has a generator of two layers: the input and output width, as parts of the unpruned
ones, go through a linear layer and a ReLU into a linear layer that gives the full kernel, cropped to the widths. What runs
is the very network class that ships, built from the channel list, with these weights in it.

Two departures from the paper: batch norm has one scale and shift a channel, cropped, not a set of its own for each width
(training uses each batch's statistics, and a candidate's are measured anew, so there are none to confuse); and the biases of
the generators begin as the kernels of an ordinary network do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from swapbench.workshop.nets.minifasnet import MiniFASNet
from swapbench.workshop.prune.widths import Shape, WidthSpace, convolutions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.workshop.nets import Taps
    from swapbench.workshop.prune.widths import Channels, Convolution, Genes


class GeneratedKernel(nn.Module):
    """The kernel of one convolution as a function of its widths.

    Only the part that is kept is computed: the last layer is stored as one kernel for each hidden unit.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, depthwise: bool, hidden: int) -> None:
        super().__init__()
        shape = (outputs, 1 if depthwise else inputs, kernel, kernel)
        self.widest = (inputs, outputs)
        self.depthwise = depthwise
        self.first = nn.Linear(2, hidden)
        self.bias = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.bias, mode="fan_out", nonlinearity="relu")
        self.directions = nn.Parameter(
            torch.randn(hidden, *shape) * float(self.bias.detach().std()) / math.sqrt(hidden)
        )

    def forward(self, inputs: int, outputs: int) -> Tensor:
        """The kernel [outputs, inputs, k, k], or [outputs, 1, k, k] of a depthwise convolution."""
        widths = self.bias.new_tensor([inputs / self.widest[0], outputs / self.widest[1]])
        hidden = torch.relu(self.first(widths))
        kept = slice(None) if self.depthwise else slice(inputs)
        turned = torch.tensordot(hidden, self.directions[:, :outputs, kept], 1)
        return cast("Tensor", self.bias[:outputs, kept] + turned)


class PruningNet(nn.Module):
    """Weights for every structure of `space`; in training each forward pass draws one structure uniformly.

    architecture: arguments of MiniFASNet, without squeeze-and-excitation. Draws come from PyTorch's generator.
    """

    def __init__(self, architecture: Mapping[str, Any], space: WidthSpace, hidden: int) -> None:
        super().__init__()
        self.space = space
        self.architecture = dict(architecture)
        tied = {place for gene in space.genes for place in gene.places}
        layers = {layer.name: layer for layer in shape_of(architecture).layers(space.base)}
        self.kernels = nn.ModuleDict()
        self.vectors = nn.ParameterDict()
        self._generated: list[Convolution] = []
        for one in convolutions():
            if not {one.input_place, one.output_place} & tied:
                continue
            layer = layers[one.name]
            self._generated.append(one)
            self.kernels[_key(one.name)] = GeneratedKernel(
                layer.inputs, layer.outputs, layer.kernel, depthwise=one.depthwise, hidden=hidden
            )
        # all that is not generated is as in the unpruned network, cropped where a channel is
        generated = {f"{one.name}.conv.weight" for one in self._generated}
        for name, parameter in self._network(space.base).named_parameters():
            if name not in generated:
                self.vectors[_key(name)] = parameter

    def _network(self, channels: Channels) -> MiniFASNet:
        return MiniFASNet(**{**self.architecture, "channels": channels})

    def weights(self, genes: Genes) -> dict[str, Tensor]:
        """The parameters of the network of a structure, by their names in it, with gradients to what generates them."""
        channels = self.space.channels(genes)
        found: dict[str, Tensor] = {}
        for one in self._generated:
            inputs = 3 if one.input_place is None else channels[one.input_place]
            found[f"{one.name}.conv.weight"] = self.kernels[_key(one.name)](
                inputs, channels[one.output_place]
            )
        for one in convolutions():
            for part in ("bn.weight", "bn.bias", "prelu.weight"):
                name = f"{one.name}.{part}"
                if _key(name) in self.vectors:
                    found[name] = self.vectors[_key(name)][: channels[one.output_place]]
        for key, parameter in self.vectors.items():
            found.setdefault(_name(key), parameter)
        return found

    def taps(self, images: Tensor) -> Taps:
        """One structure, drawn uniformly, with the batch's own statistics in its batch norms."""
        genes = tuple(int(torch.randint(size, ())) for size in self.space.sizes)
        weights = self.weights(genes)
        with torch.device("meta"):  # only what is computed is needed: no memory, no initialisation
            network = _OnlyTaps(self._network(self.space.channels(genes)))
        statistics = {
            name: torch.zeros(value.shape, device=images.device) for name, value in network.named_buffers()
        }
        values = {f"network.{name}": value for name, value in weights.items()} | statistics
        return cast("Taps", functional_call(network.train(), values, (images,)))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [n, 3, h, w] to the logits [n, classes] of a structure drawn uniformly."""
        return self.taps(images).logits

    @torch.no_grad()
    def candidate(self, genes: Genes, calibration: Sequence[Tensor]) -> MiniFASNet:
        """The network of a structure with its generated weights, in eval mode, independent of this one.

        calibration: batches of normalised images [n, 3, h, w] whose mean statistics become those of its batch norms.
        """
        with torch.device("meta"):
            network = self._network(self.space.channels(genes))
        network.to_empty(device="cpu")
        network.load_state_dict(
            {name: value.clone() for name, value in self.weights(genes).items()}, strict=False
        )
        recalibrate(network, calibration)
        return network


class _OnlyTaps(nn.Module):
    def __init__(self, network: MiniFASNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Taps:
        return self.network.taps(images)


def shape_of(architecture: Mapping[str, Any]) -> Shape:
    """What MiniFASNet makes of its arguments besides the channel list."""
    known = {name: architecture[name] for name in ("size_px", "classes", "embedding") if name in architecture}
    return Shape(**known)


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Replace the running statistics of every batch norm by the mean over these batches; leaves the network in eval mode."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    network.eval()  # dropout must not shake the statistics behind it
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # every batch counts alike
        norm.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    network.eval()


def _key(name: str) -> str:
    """Module and parameter names may not hold a dot."""
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")
