"""PruningNet: one network that generates the weights of every structure of a width space.

After Liu et al., "MetaPruning: Meta Learning for Automatic Neural Network Channel Pruning" (ICCV 2019). Each
convolution whose widths are genes has a generator of two layers: the input and output width, as fractions of
the unpruned ones, go through a linear layer and a ReLU into a linear layer that gives the full kernel,
cropped to the widths. What runs is the network class that ships, built from the channel list, with these
weights in it.

Two departures from the paper: batch norm has one scale and shift a channel, cropped, not a set for each width
(training uses each batch's statistics, and a candidate's are measured anew, so there are none to confuse);
and the biases of the generators are initialised like the kernels of an ordinary network.
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

    Only the cropped part is computed: the last layer is stored as one kernel for each hidden unit.
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
        columns = slice(None) if self.depthwise else slice(inputs)
        offset = torch.tensordot(hidden, self.directions[:, :outputs, columns], 1)
        return cast("Tensor", self.bias[:outputs, columns] + offset)


class PruningNet(nn.Module):
    """Weights for every structure of `space`; each forward pass draws one structure uniformly.

    Draws come from PyTorch's global generator.
    """

    def __init__(self, architecture: Mapping[str, Any], space: WidthSpace, hidden: int) -> None:
        """Initialise the generators.

        Args:
            architecture: Arguments of `MiniFASNet`, without squeeze-and-excitation.
            space: The structures.
            hidden: Units between the two layers of each generator.
        """
        super().__init__()
        self.space = space
        self.architecture = dict(architecture)
        self.hidden = hidden
        tied = {place for gene in space.genes for place in gene.places}
        layers = {layer.name: layer for layer in shape_of(architecture).layers(space.base)}
        self.kernels = nn.ModuleDict()
        self.vectors = nn.ParameterDict()
        self._generated: list[Convolution] = []
        for convolution in convolutions():
            if not {convolution.input_place, convolution.output_place} & tied:
                continue
            layer = layers[convolution.name]
            self._generated.append(convolution)
            self.kernels[_key(convolution.name)] = GeneratedKernel(
                layer.inputs, layer.outputs, layer.kernel, depthwise=convolution.depthwise, hidden=hidden
            )
        # all other parameters are those of the unpruned network, cropped to the channels
        generated = {f"{convolution.name}.conv.weight" for convolution in self._generated}
        for name, parameter in self._network(space.base).named_parameters():
            if name not in generated:
                self.vectors[_key(name)] = parameter

    def _network(self, channels: Channels) -> MiniFASNet:
        return MiniFASNet(**{**self.architecture, "channels": channels})

    def weights(self, genes: Genes) -> dict[str, Tensor]:
        """The parameters of a structure's network, by name; gradients flow back to the generators."""
        channels = self.space.channels(genes)
        weights: dict[str, Tensor] = {}
        for convolution in self._generated:
            place = convolution.input_place
            generate = self.kernels[_key(convolution.name)]
            weights[f"{convolution.name}.conv.weight"] = generate(
                3 if place is None else channels[place], channels[convolution.output_place]
            )
        for convolution in convolutions():
            for part in ("bn.weight", "bn.bias", "prelu.weight"):
                name = f"{convolution.name}.{part}"
                if _key(name) in self.vectors:
                    weights[name] = self.vectors[_key(name)][: channels[convolution.output_place]]
        for key, parameter in self.vectors.items():
            weights.setdefault(_name(key), parameter)
        return weights

    def taps(self, images: Tensor) -> Taps:
        """The taps of a structure drawn uniformly, whose batch norms use the statistics of this batch."""
        genes = tuple(int(torch.randint(size, ())) for size in self.space.sizes)
        weights = self.weights(genes)
        with torch.device("meta"):  # only the computation is needed: no memory, no initialisation
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
        """The network of a structure with its generated weights, in eval mode; it shares no memory with this.

        Args:
            genes: The structure.
            calibration: Batches of normalised images [n, 3, h, w]; the mean of their statistics becomes that
                of the batch norms.
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
    """What the arguments of `MiniFASNet` decide besides the channel list."""
    fields = ("size_px", "classes", "embedding")
    return Shape(**{name: architecture[name] for name in fields if name in architecture})


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Replace the running statistics of every batch norm by their mean over batches of images [n, 3, h, w].

    The network is in eval mode afterwards.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()  # dropout must not disturb the statistics behind it
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # every batch counts alike
        norm.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def _key(name: str) -> str:
    """The name without dots, which the names of modules and parameters must not hold."""
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")
