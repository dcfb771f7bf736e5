"""A card held against its model file before anything runs: whether it fits, and what of it is doubtful.

A card that does not fit costs the file its accuracy and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swapbench import units
from swapbench.bench.workers import normalise_json
from swapbench.errors import BadCard
from swapbench.pad.output_fit import check_output, output_places, shape_text
from swapbench.records import Absent, Doubt
from swapbench.runtimes.feed import Input, Normalise, Unusable

if TYPE_CHECKING:
    from swapbench.modelfile import Graph, Tensor
    from swapbench.records import ModelCard, Preprocessing

LEAST_COVERED = 0.75
"""Of the card's range of input values: what the file's quantised input must be able to hold."""
LEAST_USED = 0.25
"""Of the file's quantised input: what the card's range of values must use."""


def misfit(card: ModelCard, graph: Graph) -> Absent | None:
    """Why a file cannot be scored as a card says; None where it can."""
    try:
        if card.reads is None:
            _check_input(card.preprocessing, graph)
        check_output(card.output, graph.outputs)
    except BadCard as error:
        return Absent(absent=f"the card does not fit the file: {error.args[0]}", remedy=error.remedy)
    return None


def several_inputs(graph: Graph) -> Absent | None:
    """Why a file with several inputs cannot be scored, whatever its card says; None for one input."""
    if len(graph.inputs) < 2:
        return None
    names = ", ".join(tensor.name for tensor in graph.inputs)
    return Absent(
        absent=f"the file has {len(graph.inputs)} inputs ({names}), and a card describes one image",
        remedy="Score a file whose only input is the image",
    )


def outputs_option(card: ModelCard, graph: Graph) -> dict[str, str]:
    """The worker's option that names the outputs which a card's scores are made of; the first needs none.

    Raises:
        BadCard: the file has no such output.
    """
    places = output_places(card.output, graph.outputs)
    return {} if places == (0,) else {"outputs": ",".join(map(str, places))}


def place_of(output: str, graph: Graph) -> int | None:
    """The place of an output of that name among those of a file."""
    names = [tensor.name for tensor in graph.outputs]
    return names.index(output) if output in names else None


def _check_input(preprocessing: Preprocessing, graph: Graph) -> None:
    tensor = graph.inputs[0]
    sizes = {channels: _image_sizes(tensor, channels) for channels in (3, 1)}
    if not any(sizes.values()):
        raise BadCard(
            f"the input {tensor.name!r} ({shape_text(tensor)}) takes no image",
            remedy="Leave the card out: the file can be timed, but not scored.",
        )
    channels = preprocessing.channels
    if not sizes[channels]:
        raise BadCard(
            f"the input {tensor.name!r} ({shape_text(tensor)}) does not take {channels} channel"
            f'{"s" * (channels > 1)}, as channel_order = "{preprocessing.channel_order}" of the card has',
            remedy='Correct channel_order in the preprocessing section of the card; "gray" is one channel.',
        )
    fixed = [size for size in sizes[channels] if min(size) > 0]
    if fixed and (preprocessing.height_px, preprocessing.width_px) not in fixed:
        height, width = fixed[0]
        raise BadCard(
            f"the input {tensor.name!r} takes {width}x{height} px ({shape_text(tensor)}), and the card says"
            f" {preprocessing.width_px}x{preprocessing.height_px}",
            remedy="Correct width_px and height_px in the preprocessing section of the card.",
        )
    quantisation = None if tensor.scale is None else (tensor.scale, tensor.zero_point or 0)
    try:  # the worker that is to feed the images is asked, so that both judge alike
        spec = Input(tensor.name, tensor.shape, np.dtype(tensor.dtype), quantisation)
        Normalise.from_json(normalise_json(preprocessing)).table(spec)
    except Unusable as reason:
        raise BadCard(
            str(reason),
            remedy="For a file that normalises inside, the card says scale = 1, mean = 0 and std = 1.",
        ) from reason


def _image_sizes(tensor: Tensor, channels: int) -> list[tuple[int, int]]:
    """Height and width of an input, read as NHWC and as NCHW, where it has so many channels."""
    _, first, second, last = tensor.shape
    return [(first, second)] * (last == channels) + [(second, last)] * (first == channels)


def input_doubts(preprocessing: Preprocessing, graph: Graph) -> tuple[Doubt, ...]:
    """What a file's quantised input says against the card's range.

    Its scale and zero point were calibrated on the values that the network is fed, so they tell 0..255 from
    0..1 without a run.
    """
    if len(graph.inputs) != 1:
        return ()
    tensor = graph.inputs[0]
    held = _held(tensor)
    if held is None:
        return ()
    low, high = held
    fed_low, fed_high = _fed(preprocessing)
    common = max(0.0, min(high, fed_high) - max(low, fed_low))
    covered = common / max(fed_high - fed_low, 1e-12)
    used = common / (high - low)
    if covered >= LEAST_COVERED and used >= LEAST_USED:
        return ()
    file_range, card_range = (
        f"{units.significant(first, 3)} to {units.significant(last, 3)}"
        for first, last in (held, (fed_low, fed_high))
    )
    return (
        Doubt(
            code="input_range_contradicted",
            quantity="accuracy",
            message=f"the {tensor.dtype} input of the file holds {file_range}"
            f" (scale {units.significant(tensor.scale or 0.0, 3)}, zero point {tensor.zero_point}),"
            f" but the card feeds {card_range}",
            remedy="Correct scale, mean and std in the preprocessing section of the card.",
        ),
    )


def _held(tensor: Tensor) -> tuple[float, float] | None:
    """The least and the largest real number that a quantised input holds; None where it is none."""
    if not tensor.scale or np.dtype(tensor.dtype).kind not in "iu":
        return None
    limits, zero_point = np.iinfo(tensor.dtype), tensor.zero_point or 0
    return (limits.min - zero_point) * tensor.scale, (limits.max - zero_point) * tensor.scale


def _fed(preprocessing: Preprocessing) -> tuple[float, float]:
    """The least and the largest number that the card's arithmetic makes of a pixel, over all channels."""
    ends = np.array([[0.0], [255.0]]) * preprocessing.scale
    values = (ends - np.asarray(preprocessing.mean)) / np.asarray(preprocessing.std)
    return float(values.min()), float(values.max())
