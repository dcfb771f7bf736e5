"""What is known of a network before it is measured: its card, and the files that it can become."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from swapbench.records.values import FileName, Frozen

Format = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""Of a model file: one of ALL_FORMATS, or one that an installed package reads."""
Precision = Literal["fp32", "fp16", "int16x8", "int8", "int8-dynamic", "unknown"]
"""What most weights of a file are, and how it computes with them.

"int8" has activations of 8 bits whose scales were found beforehand, "int16x8" has weights of 8 and
activations of 16 bits, and "int8-dynamic" finds the scales of its activations anew in each run. The files
of a system may have several, which is "unknown" too.
"""
FaceBoxes = Literal["given", "detector", "frame"]
FACE_BOXES: tuple[FaceBoxes, ...] = ("given", "detector", "frame")
"""Where the face box of a frame comes from; see Preprocessing."""
Border = Literal["shift", "shrink", "clip", "black", "reflect", "replicate"]
Resize = Literal[
    "antialias",
    "bilinear",
    "nearest",
    "area",
    "cubic",
    "lanczos4",
    "pillow_nearest",
    "pillow_box",
    "pillow_bilinear",
    "pillow_hamming",
    "pillow_bicubic",
    "pillow_lanczos",
]
ALL_PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""From the most exact to the least."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
"""Those that a card becomes where none is asked for."""
PRECISIONS_OF: dict[str, tuple[Precision, ...]] = {"ncnn": ("fp32", "fp16"), "executorch": ("fp32", "int8")}
"""Of formats that have not all: ncnn's packages have no quantiser, ExecuTorch takes no mixed fp16."""
ALL_FORMATS: tuple[Format, ...] = ("onnx", "tflite", "ncnn", "executorch")
"""Those that swapbench itself reads."""
FORMATS: tuple[Format, ...] = ("onnx", "tflite")
"""Those that a card becomes where none is asked for."""
SUFFIXES: dict[str, str] = {
    "onnx": "onnx",
    "tflite": "tflite",
    "ncnn": "ncnn.param",
    "executorch": "pte",
}
"""How the names of files that we make end; a network of ncnn has a .bin beside it."""
OutputKind = Literal["logits", "probabilities", "score", "sigmoid", "map", "expression"]
Reduction = Literal["mean", "sum", "max", "min"]


class Variant(Frozen):
    """Which network in which file: the text of a variant is its file name, `minifasnet_v2.kd.int8.tflite`.

    Files are only made of variants of a card, whose names are checked. Files that decide together are a
    "system", which is no file.
    """

    net: str
    recipe: str | None = None
    precision: Precision
    format: Format | Literal["system"]

    @property
    def name(self) -> str:
        """The file name without its format suffix."""
        return ".".join(word for word in (self.net, self.recipe, self.precision) if word)

    @property
    def file_name(self) -> str:
        """The file name; it sorts and globs."""
        return f"{self.name}.{SUFFIXES.get(self.format, self.format)}"


def _per_channel(value: object, info: ValidationInfo) -> object:
    """One number for every channel as one number for each, and as many numbers as there are channels."""
    channels = _channels(info.data.get("channel_order"))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,) * channels
    if isinstance(value, list | tuple):
        if len(value) == channels:
            return value
        raise ValueError(f"{len(value)} numbers for {channels} channel{'s' * (channels > 1)}")
    raise ValueError("must be one number, or one for each channel")


def _class_indexes(value: object) -> object:
    """One class or several, each by its place; a union of types alone would complain once for each type."""
    indexes = value if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(index, int) and not isinstance(index, bool) and index >= 0 for index in indexes):
        raise ValueError("must be a class, counted from 0, such as 1, or several, such as [0, 2]")
    return value


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("0 would make all pixels alike")
    return value


def _channels(order: object) -> int:
    return 1 if order == "gray" else 3


InputSize = Annotated[int, Field(ge=1, le=4096)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Factor = Annotated[Number, AfterValidator(_not_zero)]


class Preprocessing(Frozen):
    """From a frame and a face box to the network's input, as data.

    The crop is `crop_scale` times the face box about its centre, and what of it lies outside the frame is
    treated as `border` says. It is resized to width x height, with channels in `channel_order`; then each
    pixel in 0..255 becomes `(pixel * scale - mean) / std`.

    Attributes:
        face_box: where the face box comes from. "given": the dataset's own, and the detector where the
            dataset has none; "detector": always the detector; "frame": the whole frame, nothing is cropped
            away.
        width_px: width of the network's input, 1 to 4096.
        height_px: height of the network's input, 1 to 4096.
        crop_scale: side of the crop in sides of the face box, above 0 and at most 20.
        keep_box_aspect: False: the crop is a square on the longer side of the box; True: it has the shape of
            the box.
        border: what happens where the crop leaves the frame. "shift": a crop larger than the frame is made
            smaller, and then moved inside (minivision); "shrink": it is made smaller, and what still lies
            outside is cut off (yakhyo). Otherwise the crop keeps its size, and what lies outside is cut off,
            "clip", "black" (hairymax), the crop "reflect"ed about its outermost pixels (OpenCV's
            BORDER_REFLECT_101; facenox), or these pixels repeated, "replicate".
        fit: "stretch": the crop fills the input, whatever its shape; "letterbox": it keeps its shape, is
            centred, and the bars beside it are black, or reflected or replicated where `border` says so.
        resize: the filter. "antialias": Pillow's bilinear, which also sees the pixels just outside of the
            crop; "bilinear", "nearest", "area", "cubic" and "lanczos4": OpenCV's INTER_LINEAR and so on;
            "pillow_nearest", "pillow_box", "pillow_bilinear", "pillow_hamming", "pillow_bicubic" and
            "pillow_lanczos": Pillow's, of the crop alone.
        enlarge: the filter where the crop is smaller than the input; where it is not said, as `resize`.
        channel_order: of the network's input: "rgb", "bgr", or the one channel "gray" (luma of ITU-R BT.601).
        scale: factor of a pixel value: 1/255 for a network that wants 0..1, 1 for one that wants 0..255.
        mean: one number, or one for each channel in the network's order.
        std: one number, or one for each channel in the network's order; not 0.
    """

    face_box: FaceBoxes = "given"
    width_px: InputSize
    height_px: InputSize
    crop_scale: Annotated[Number, Field(gt=0, le=20)]
    keep_box_aspect: bool = False
    border: Border = "shift"
    fit: Literal["stretch", "letterbox"] = "stretch"
    resize: Resize = "antialias"
    enlarge: Resize | None = None
    channel_order: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: Factor = 1 / 255
    mean: Annotated[tuple[Number, ...], BeforeValidator(_per_channel)] = Field(
        default_factory=lambda given: (0.0,) * _channels(given.get("channel_order"))
    )
    std: Annotated[tuple[Factor, ...], BeforeValidator(_per_channel)] = Field(
        default_factory=lambda given: (1.0,) * _channels(given.get("channel_order"))
    )

    @property
    def channels(self) -> int:
        """How many channels the network's input has."""
        return _channels(self.channel_order)


class OutputMeaning(Frozen):
    """What a network returns, and how one score that rises with bona fide comes of it.

    Attributes:
        name: of the output that is meant; "" for the file's first. An expression names its outputs itself.
        kind: "logits" are passed through softmax, "probabilities" are taken as they are; of both the score is
            that of the bona fide class. "score" is one number as it is, "sigmoid" one logit that is passed
            through the logistic function. "map" is a map that `reduce` makes one number of, "expression" an
            expression over outputs.
        bona_fide_index: class of bona fide of logits and probabilities, or several, whose probabilities are
            added.
        higher_is: what a high number says, of the four kinds that give one number. Where that is "attack",
            the score is the negative number; of "sigmoid" it is one minus the probability.
        reduce: of a map.
        expression: of outputs by name, e.g. "sum(abs(Identity) * Identity_1)"; see swapbench.pad.expression.
        classes: names of the classes in order.
    """

    name: str = ""
    kind: OutputKind
    bona_fide_index: Annotated[int | tuple[int, ...], BeforeValidator(_class_indexes)] = 0
    higher_is: Literal["bona_fide", "attack"] = "bona_fide"
    reduce: Reduction = "mean"
    expression: str = ""
    classes: tuple[str, ...] = ()

    @property
    def bona_fide_indexes(self) -> tuple[int, ...]:
        """The classes of bona fide, of which most networks have one."""
        index = self.bona_fide_index
        return (index,) if isinstance(index, int) else index

    @property
    def of_classes(self) -> bool:
        """Whether the output has a number for each class."""
        return self.kind in {"logits", "probabilities"}

    @model_validator(mode="after")
    def _consistent(self) -> OutputMeaning:
        if not self.bona_fide_indexes or len(set(self.bona_fide_indexes)) < len(self.bona_fide_indexes):
            raise ValueError("bona_fide_index needs one class or several different ones")
        if self.of_classes and self.higher_is == "attack":
            raise ValueError(f"of {self.kind} bona_fide_index says what is high; higher_is must not")
        if (self.kind == "expression") != bool(self.expression):
            raise ValueError('kind = "expression" and expression = "..." belong together')
        if self.kind == "expression" and self.name:
            raise ValueError("an expression names its outputs itself; leave name out")
        if self.kind != "map" and self.reduce != "mean":
            raise ValueError('reduce belongs to kind = "map"')
        return self


class Training(Frozen):
    """How a checkpoint was made: enough to make it again. `swapbench train` writes it.

    Attributes:
        command: that made it.
        seed: of the training.
        data: name of the training set.
        data_digest: sha256 of what was trained on.
        simulated_data: whether the training set is simulated; tables say so.
        commit: of the source code.
        time: when the training ended, ISO 8601.
        seconds: how long it took.
        machine: what it ran on.
        packages: package -> version.
        dev_results: what the development split said, such as "eer" -> 0.13.
    """

    command: str
    seed: int
    data: str
    data_digest: str
    simulated_data: bool
    commit: str = ""
    time: str = ""
    seconds: float | None = None
    machine: str = ""
    packages: dict[str, str] = Field(default_factory=dict)
    dev_results: dict[str, float] = Field(default_factory=dict)


class Reads(Frozen):
    """What a part of a network takes instead of an image: an output of the part before it.

    Attributes:
        card: of the part before it, its name and recipe as in "mobilefacenet.early_exit_1".
        output: of that part's file, by its name.
    """

    card: FileName
    output: str = Field(default="features", min_length=1)


class ModelCard(Frozen):
    """A network that swapbench knows: what it expects, what its output means, and how it can be built.

    A card of files that exist already needs a name, preprocessing and output; to export files from a
    checkpoint it also needs a family, an architecture and the checkpoint.

    Attributes:
        name: of the network; files whose cards have one name are its precisions and formats.
        recipe: of its training or compression, if any.
        summary: one sentence.
        family: the builder in swapbench.workshop.nets, e.g. "minifasnet" or "resnet_map"; "" for none.
        architecture: arguments of the builder: widths are data.
        checkpoint: file name relative to the card, or an absolute path; "" for none.
        checkpoint_sha256: digest of that file.
        drop_keys: shell patterns of keys of a foreign state dict that inference does not need, such as
            "module.FTGenerator.*".
        rename_keys: regular expression -> replacement, applied in order to the keys that are left.
        preprocessing: what the network expects; of a part that reads, what the first part before it expects.
        output: what it returns.
        reads: of a part of a network, what it takes instead of an image; None for a whole network.
        licence: of the checkpoint, as an SPDX identifier.
        source: where the checkpoint comes from.
        training: how it was made, None where that is not known.
    """

    name: FileName
    recipe: FileName | None = None
    summary: str = ""
    family: str = ""
    architecture: dict[str, Any] = Field(default_factory=dict)
    checkpoint: str = ""
    checkpoint_sha256: str = ""
    drop_keys: tuple[str, ...] = ()
    rename_keys: dict[str, str] = Field(default_factory=dict)
    preprocessing: Preprocessing
    output: OutputMeaning
    reads: Reads | None = None
    licence: str = "Apache-2.0"
    source: str = ""
    training: Training | None = None

    @property
    def stem(self) -> str:
        """Name and recipe, as files are called."""
        return f"{self.name}.{self.recipe}" if self.recipe else self.name
