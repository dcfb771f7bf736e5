"""Options that several commands share: one definition, one wording; those that travel together are groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from swapbench.cli.groups import Group
from swapbench.cli.panels import ACCURACY, ENERGY, OUTPUT, PRUNING, RARE, WHAT, WHERE
from swapbench.commands.fleet_options import FleetOptions
from swapbench.commands.options import (
    FRAMES_PER_VIDEO,
    DataOptions,
    DeviceOptions,
    JudgedData,
    ScoreReading,
    VariantOptions,
)

if TYPE_CHECKING:
    from swapbench.records import FaceBoxes

Json = Annotated[
    bool,
    typer.Option("--json", rich_help_panel=OUTPUT, help="Print JSON for programs, not a table for people."),
]
Doubts = Annotated[
    bool,
    typer.Option(
        "--doubts",
        rich_help_panel=OUTPUT,
        help="Show every doubt in full, with what helps. By default their kinds are counted.",
    ),
]
RawCsv = Annotated[
    bool,
    typer.Option(
        "--raw-csv",
        rich_help_panel=OUTPUT,
        help="Keep text in CSV as it is. By default an apostrophe stands before what a spreadsheet would "
        "compute, such as =1+1.",
    ),
]
RelativeTo = Annotated[
    str | None,
    typer.Option(
        "--relative-to",
        metavar="NAME",
        rich_help_panel=OUTPUT,
        help="Model that the others are compared with. By default the one with the most MACs.",
    ),
]
Card = Annotated[
    str | None,
    typer.Option(
        "--card",
        metavar="CARD",
        rich_help_panel=ACCURACY,
        help="Model card (name or file) of all files, which are then scored: without --data on simulated "
        "images. By default each file's own: FILE=CARD, or net.toml beside net.onnx.",
    ),
]
ShapeTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=1,3,80,80",
        rich_help_panel=WHAT,
        help="Shape of an input whose lengths the file leaves free; without NAME= that of the only input. "
        "Repeatable. By default the batch is 1.",
    ),
]
Runtimes = Annotated[
    list[str] | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        rich_help_panel=WHAT,
        help="Runtime; swapbench runtimes lists them. By default onnxruntime, litert, ncnn and executorch.",
    ),
]
Switches = Annotated[
    list[str] | None,
    typer.Option(
        "--switch",
        metavar="NAME.OPTION=on|off",
        rich_help_panel=RARE,
        help="Turn an option of a runtime on or off, as in ncnn.winograd=off; of ncnn: winograd, sgemm, "
        "packing, fp16_storage, fp16_arithmetic, bf16_storage, int8. Repeatable; records keep them.",
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        "--threads", min=1, metavar="N", rich_help_panel=WHERE, help="Threads that the runtime uses."
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        rich_help_panel=RARE,
        help="Seed for the order of measurements and for the bootstrap.",
    ),
]
ChannelMultiple = Annotated[
    int | None,
    typer.Option(
        "--channel-multiple",
        min=1,
        metavar="N",
        rich_help_panel=PRUNING,
        help="Make all pruned widths multiples of N; 8 suits most runtimes. By default as the recipe says.",
    ),
]

# ---------------------------------------------------------------------------------------------- devices

DeviceName = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        rich_help_panel=WHERE,
        help="Device profile; swapbench devices lists them.",
    ),
]
Serial = Annotated[
    str | None,
    typer.Option(
        "--serial",
        metavar="SERIAL",
        rich_help_panel=WHERE,
        help="Which of several phones. By default ANDROID_SERIAL or the only one attached.",
    ),
]
Cores = Annotated[
    str | None,
    typer.Option(
        "--cores",
        metavar="KIND",
        help="Phone cores to run on: big, mid, little or all; several as big,little; sweep for "
        "each kind in turn. By default the phone decides.",
    ),
]


def _phone(device: DeviceName = "local", serial: Serial = None) -> DeviceOptions:
    return DeviceOptions.of(device, serial)


def _phone_cores(device: DeviceName = "local", serial: Serial = None, cores: Cores = None) -> DeviceOptions:
    return DeviceOptions.of(device, serial, cores)


def _device(
    device: DeviceName = "local",
    serial: Serial = None,
    cores: Cores = None,
    delegate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=RARE,
            help="Also run .tflite files on a phone's gpu or npu, with scores, if LiteRT's library for it is "
            "there, and time them with Google's benchmark_model where that is there, which knows cpu, "
            "xnnpack and nnapi too. Repeatable.",
        ),
    ] = None,
    require_full_delegation: Annotated[
        bool,
        typer.Option(
            "--require-full-delegation",
            rich_help_panel=RARE,
            help="Fail if a delegate takes only part of the graph.",
        ),
    ] = False,
    detached: Annotated[
        bool,
        typer.Option(
            "--detached",
            rich_help_panel=ENERGY,
            help="Let a phone measure its own battery while unplugged. You are told when to pull the "
            "cable and when to plug it back in.",
        ),
    ] = False,
) -> DeviceOptions:
    return DeviceOptions.of(
        device,
        serial,
        cores,
        delegate or (),
        require_full_delegation=require_full_delegation,
        detached=detached,
    )


FleetWhere = Annotated[
    str | None,
    typer.Option(
        "--fleet",
        metavar="WHERE",
        help="Have a fleet do it: the address of its scheduler (scheduler:8786), or a join file.",
    ),
]
OneEach = Annotated[
    bool,
    typer.Option(
        "--one-each",
        rich_help_panel=RARE,
        help="In a fleet, one device of each profile, whichever is free first. By default all that fit.",
    ),
]
Wait = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="TIME",
        rich_help_panel=RARE,
        help="How long to wait for a device that no host of the fleet offers, as in 10min, the default.",
    ),
]
Lease = Annotated[
    str | None,
    typer.Option(
        "--lease",
        metavar="TIME",
        rich_help_panel=RARE,
        help="How long a job of a fleet may have its device before its host ends it, as in 1h, the default.",
    ),
]


def _fleet(
    fleet: FleetWhere = None, one_each: OneEach = False, wait: Wait = None, lease: Lease = None
) -> FleetOptions:
    return FleetOptions.of(fleet, wait, lease, one_each=one_each)


def _fleet_alone(fleet: FleetWhere = None, wait: Wait = None, lease: Lease = None) -> FleetOptions:
    return FleetOptions.of(fleet, wait, lease)


InFleet = Annotated[FleetOptions, Group(WHERE, _fleet)]
OnFleet = Annotated[FleetOptions, Group(WHERE, _fleet_alone)]
Phone = Annotated[DeviceOptions, Group(WHERE, _phone)]
PhoneCores = Annotated[DeviceOptions, Group(WHERE, _phone_cores)]
Device = Annotated[DeviceOptions, Group(WHERE, _device)]

# ---------------------------------------------------------------------------------------------- networks

Models = Annotated[
    list[str] | None,
    typer.Option("--models", "-m", metavar="NAME", help="Model names or card files. Repeatable."),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format", metavar="NAME", help="onnx, tflite, ncnn or executorch. By default the first two."
    ),
]
Precisions = Annotated[
    list[str] | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="fp32, fp16, int8, int8-dynamic or int16x8. By default the first three.",
    ),
]


def _variants(models: Models = None, format_: Formats = None, precision: Precisions = None) -> VariantOptions:
    return VariantOptions.of(models or (), format_ or (), precision or ())


Variants = Annotated[VariantOptions, Group(WHAT, _variants)]

# ---------------------------------------------------------------------------------------------- data

DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", metavar="FOLDER", help="Folder of several datasets, for protocols such as O+C+I:M."
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="1 to 4 or 3_2 (OULU-NPU), or O+C+I:M (train on three, test on the fourth). By default the "
        "dataset's own splits.",
    ),
]
Frames = Annotated[int, typer.Option("--frames", min=1, metavar="N", help="Frames per video, evenly spaced.")]
Faces = Annotated[
    str | None,
    typer.Option(
        "--faces",
        metavar="SOURCE",
        help="Face boxes: given (the dataset's, else a detector's), detector, or frame (no crop). By "
        "default as the model card says.",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="SCORE",
        help="A threshold frozen elsewhere; a score equal to it is accepted. By default that of the "
        "development split's EER.",
    ),
]


DataPath = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Dataset folder in its official layout, a folder with live and spoof in it, or a manifest. "
        "By default the simulated set.",
    ),
]


Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="FOLDER",
        help="Where relative paths of a manifest begin. By default in its own folder.",
    ),
]
Boxes = Annotated[
    Path | None,
    typer.Option(
        "--boxes", metavar="FILE", help="Table of face boxes: path, x, y, width and height in pixels."
    ),
]


FaceDetector = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="What finds faces without a box: dlib, or yunet=FILE with the weights of YuNet for OpenCV.",
    ),
]
KeepCrops = Annotated[
    bool,
    typer.Option(
        "--cache/--no-cache",
        show_default=False,
        help="Keep the crops of faces in build/ for the next time. This is the default.",
    ),
]


def _data(
    data: DataPath = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    images: Images = None,
    boxes: Boxes = None,
    detector: FaceDetector = None,
) -> DataOptions:
    known = cast("FaceBoxes | None", faces)  # DataOptions refuses any other
    return DataOptions(data, data_root, protocol, frames, known, images, boxes, detector)


def _scored_data(
    data: DataPath = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    images: Images = None,
    boxes: Boxes = None,
    detector: FaceDetector = None,
    cache: KeepCrops = True,
) -> JudgedData:
    options = _data(data, data_root, protocol, frames, faces, images, boxes, detector)
    return JudgedData(**vars(options), keep_crops=cache)


def _judged_data(
    data: DataPath = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    images: Images = None,
    boxes: Boxes = None,
    detector: FaceDetector = None,
    threshold: Threshold = None,
    cache: KeepCrops = True,
) -> JudgedData:
    options = _scored_data(data, data_root, protocol, frames, faces, images, boxes, detector, cache)
    return replace(options, threshold=threshold)


def _compared_data(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Dataset to score both sides on, as in swapbench run. By default accuracy is not measured.",
        ),
    ] = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    images: Images = None,
    boxes: Boxes = None,
    detector: FaceDetector = None,
    threshold: Threshold = None,
    cache: KeepCrops = True,
) -> JudgedData | None:
    options = _judged_data(
        data, data_root, protocol, frames, faces, images, boxes, detector, threshold, cache
    )
    return options if options.named else None


Data = Annotated[JudgedData, Group(ACCURACY, _judged_data)]
ScoredData = Annotated[JudgedData, Group(ACCURACY, _scored_data)]
TrainingData = Annotated[DataOptions, Group("Data", _data)]
ComparedData = Annotated[JudgedData | None, Group(ACCURACY, _compared_data)]

# ---------------------------------------------------------------------------------------------- scores

ScoreColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="OURS=THEIRS", help="Name or number of a column in the file, as in score=prob."
    ),
]
BonaFideLabel = Annotated[
    str | None,
    typer.Option(
        "--bona-fide-label", metavar="LABEL", help="Label that means bona fide, where 0 and 1 are ambiguous."
    ),
]
ScoresAre = Annotated[
    str, typer.Option("--scores-are", metavar="CLASS", help="What high scores mean: bona_fide or attack.")
]
GroupFrames = Annotated[
    bool,
    typer.Option(
        "--group-frames",
        help="Rows whose names differ only in the number of a frame are one presentation: average them.",
    ),
]


def _reading(
    column: ScoreColumns = None,
    bona_fide_label: BonaFideLabel = None,
    scores_are: ScoresAre = "bona_fide",
    group_frames: GroupFrames = False,
) -> ScoreReading:
    return ScoreReading.of(column or (), bona_fide_label, scores_are, group_frames=group_frames)


Reading = Annotated[ScoreReading, Group("Columns of score files", _reading)]

Runs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RUNS", help="Run folders, or patterns such as 'reports/*'. By default the newest run."
    ),
]
