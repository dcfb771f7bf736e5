"""Options that several commands share: one definition, one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FRAMES_PER_VIDEO = 8
"""Stands here too because the dataset readers, which own it, are too much to import for --help; a test holds both equal."""

Precisions = Annotated[
    list[str] | None,
    typer.Option("--precision", metavar="NAME", help="fp32, fp16 or int8; repeat for several; all if none."),
]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="NAME", help="onnx or tflite; repeat for several; both if none."),
]
RelativeTo = Annotated[
    str | None,
    typer.Option("--relative-to", help="Model to compare with; the one with the most MACs if not given."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]

Data = Annotated[
    Path | None,
    typer.Option(
        help="Dataset: a folder in its official layout, a manifest CSV, or a folder with one; the simulated set if none."
    ),
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder that holds several datasets, for protocols such as O+C+I:M.")
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="Which protocol: 1 to 4 or 3_2 (OULU-NPU), O+C+I:M (train on three, test on the fourth); "
        "the dataset's own splits if none."
    ),
]
Frames = Annotated[
    int, typer.Option("--frames", min=1, help="Frames of each video, spread evenly; images are one frame.")
]
Faces = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help="Where face boxes come from: given (the dataset's own, else the detector), detector, frame (no crop); "
        "as the model card says if none.",
    ),
]
Card = Annotated[
    str | None, typer.Option(help="Model card (name or file) for files that carry none of their own.")
]

ChannelMultiple = Annotated[
    int | None,
    typer.Option(
        "--channel-multiple",
        min=1,
        metavar="N",
        help="Widths of pruned layers are multiples of N: runtimes compute vectors of channels, 8 suits most; "
        "the recipe's own if not given, which is any width.",
    ),
]

Device = Annotated[str, typer.Option("--device", help="Device profile; see: swapbench devices.")]
Serial = Annotated[
    str | None,
    typer.Option(
        metavar="SERIAL", help="Which of several attached phones; ANDROID_SERIAL, or the only one, if none."
    ),
]
Cores = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="Cores of a phone to run on: big, mid, little or all; several, as in big,little, one after another; "
        "sweep for every kind that it has; its own choice if none.",
    ),
]
Runtimes = Annotated[
    list[str] | None, typer.Option("--runtime", metavar="NAME", help="onnxruntime or litert.")
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the runtime.")]
