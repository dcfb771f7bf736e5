"""What is known of a network before it is measured: its card, and the files that it can become."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from swapbench.records.values import Frozen

Format = Literal["onnx", "tflite"]
Precision = Literal["fp32", "fp16", "int8", "unknown"]
FaceBoxes = Literal["given", "detector", "frame"]
FACE_BOXES: tuple[FaceBoxes, ...] = ("given", "detector", "frame")
"""Where the face box of a frame comes from; see Preprocessing."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
FORMATS: tuple[Format, ...] = ("onnx", "tflite")


class Variant(Frozen):
    """Which network in which file: the text of a variant is its file name, `minifasnet_v2.kd.int8.tflite`."""

    net: str
    recipe: str | None = None
    precision: Precision
    format: Format

    @property
    def name(self) -> str:
        """The file name without its format suffix."""
        return ".".join(word for word in (self.net, self.recipe, self.precision) if word)

    @property
    def file_name(self) -> str:
        """The file name; it sorts and globs."""
        return f"{self.name}.{self.format}"


class Preprocessing(Frozen):
    """From a frame and a face box to the network's input, as data.

    The crop is `crop_scale` times the face box about its centre, made smaller where the frame is too small
    and shifted inside the frame (never padded), resized to width x height, channels in `channel_order`; then
    per channel `(pixel * scale - mean) / std` with pixel in 0..255.

    Attributes:
        face_box: "given" takes the dataset's own box and asks the detector where the dataset has none;
            "detector" always asks the detector; "frame" crops nothing away.
        width_px: of the network's input.
        height_px: of the network's input.
        crop_scale: side of the crop in sides of the face box.
        keep_box_aspect: False crops a square on the longer side of the box, True scales the box as it is
            (minivision).
        resize: "antialias" (support grows with the reduction) or "bilinear" (four neighbours, as OpenCV's
            default).
        channel_order: of the network's input.
        scale: factor of a pixel value.
        mean: by channel, in the network's order.
        std: by channel, in the network's order.
    """

    face_box: FaceBoxes = "given"

    width_px: int
    height_px: int
    crop_scale: float
    keep_box_aspect: bool = False
    resize: Literal["antialias", "bilinear"] = "antialias"
    channel_order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class OutputMeaning(Frozen):
    """What the first output tensor of a network means. Scores rise with bona fide.

    Attributes:
        kind: with "logits" the score is softmax(output)[bona_fide_index], with "probabilities" it is
            output[bona_fide_index], with "score" the single number itself.
        bona_fide_index: class of bona fide.
        classes: names of the classes in order.
    """

    kind: Literal["logits", "probabilities", "score"]
    bona_fide_index: int = 0
    classes: tuple[str, ...] = ()


class Training(Frozen):
    """How a checkpoint was made: enough to make it again."""

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
        rename_keys: regular expression -> replacement, applied in order to the keys of a foreign state dict.
        preprocessing: what the network expects.
        output: what it returns.
        licence: of the checkpoint, as an SPDX identifier.
        source: where the checkpoint comes from.
        training: how it was made, None where that is not known.
    """

    name: str
    recipe: str | None = None
    summary: str = ""
    family: str = ""
    architecture: dict[str, Any] = Field(default_factory=dict)
    checkpoint: str = ""
    checkpoint_sha256: str = ""
    rename_keys: dict[str, str] = Field(default_factory=dict)
    preprocessing: Preprocessing
    output: OutputMeaning
    licence: str = "Apache-2.0"
    source: str = ""
    training: Training | None = None
