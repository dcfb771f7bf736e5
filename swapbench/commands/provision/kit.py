"""The kit of a phone: the native runner, the runtimes' libraries and, for those of Linux wheels, a C library.

What was gathered for a phone is noted on this computer (`build/phones/<profile>.json`: where the files lie),
what was pushed is noted on the phone (`kit.json`: names, digests, versions), so that another computer can go
on with it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from pydantic import Field, ValidationError

from swapbench.commands.provision.sources import PACKAGES, Source, from_this_computer, is_like_this_computer
from swapbench.errors import DeviceFailed, EnvironmentFailed, SwapbenchError, WorkerFailed
from swapbench.files import file_sha256, write_atomically
from swapbench.modelfile.parts import packed, write_model
from swapbench.records import SUFFIXES, Frozen
from swapbench.runtimes.native.adapter import (
    Flavour,
    NativeLiteRT,
    NativeNcnn,
    NativeOnnxRuntime,
    NativeWorker,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.catalog import Folders
    from swapbench.ports import Device, Loaded

RUNTIMES: Final[Mapping[str, type[NativeOnnxRuntime | NativeLiteRT | NativeNcnn]]] = {
    "onnxruntime": NativeOnnxRuntime,
    "litert": NativeLiteRT,
    "ncnn": NativeNcnn,
}
NOTE: Final = "kit.json"
TRIAL_RUNS: Final = 3
TRIAL_TIMEOUT_S: Final = 120.0


class Part(Frozen):
    """One runtime of a kit; runner, library and loader are file names.

    Attributes:
        loader: Starts the runner; "" where the phone's own linker does.
        accelerators: File names of libraries that LiteRT loads by itself.
    """

    runtime: str
    flavour: Flavour
    package: str
    version: str
    runner: str
    library: str
    loader: str = ""
    accelerators: tuple[str, ...] = ()


class Kit(Frozen):
    """What lies on a phone.

    Attributes:
        files: File name -> SHA-256.
        tools: Further programs: their name -> file name.
    """

    parts: tuple[Part, ...]
    files: dict[str, str]
    tools: dict[str, str] = Field(default_factory=dict)


# ------------------------------------------------------------------------------------------- on this computer


class Gathered(Frozen):
    """What was gathered for a phone: runtimes, and benchmark_model."""

    runtimes: tuple[Source, ...]
    benchmark_model: Path | None


def noted(folders: Folders, profile: str) -> tuple[tuple[Source, ...], Path | None]:
    """What was gathered for a phone before, if the files are still there: runtimes, and benchmark_model."""
    try:
        gathered = Gathered.model_validate_json(_note_file(folders, profile).read_bytes())
    except (OSError, ValidationError):
        return (), None
    tool = gathered.benchmark_model
    whole = (source for source in gathered.runtimes if all(path.is_file() for path in files_of(source)))
    return tuple(whole), tool if tool is not None and tool.is_file() else None


def note(folders: Folders, profile: str, sources: Sequence[Source], benchmark_model: Path | None) -> None:
    """Remember what was gathered for a phone."""
    tool = benchmark_model.resolve() if benchmark_model else None
    gathered = Gathered(runtimes=tuple(sources), benchmark_model=tool)
    write_atomically(_note_file(folders, profile), gathered.model_dump_json(indent=1) + "\n")


def _note_file(folders: Folders, profile: str) -> Path:
    return folders.build / "phones" / f"{profile}.json"


def files_of(source: Source) -> tuple[Path, ...]:
    """Every file of a runtime, its library first: it is the largest, so that a full disk shows soonest."""
    loader = () if source.loader is None else (source.loader,)
    return (source.library, source.runner, *loader, *source.support, *source.accelerators)


def at_hand(folders: Folders, profile: str, abi: str) -> tuple[dict[str, Source], dict[str, SwapbenchError]]:
    """By runtime, what can go to the phone without fetching anything; and why the others cannot."""
    sources = {source.runtime: source for source in noted(folders, profile)[0]}
    errors: dict[str, SwapbenchError] = {}
    if is_like_this_computer(abi):
        for runtime in PACKAGES:
            if runtime in sources and sources[runtime].flavour == "aar":
                continue
            before = sources.pop(runtime, None)  # the wheel may be another one by now
            try:
                here = from_this_computer(runtime, cache(folders))
                sources[runtime] = replace(here, accelerators=before.accelerators) if before else here
            except EnvironmentFailed as error:
                errors[runtime] = error
    return sources, errors


def cache(folders: Folders) -> Path:
    """Where files of kits lie that can be made or fetched again."""
    return folders.build / "kits"


# ------------------------------------------------------------------------------------------- on the phone


def push(
    device: Device, folders: Folders, sources: Sequence[Source], benchmark_model: Path | None = None
) -> tuple[Kit, str]:
    """Bring a kit to the phone, its note last; returns it and its folder there. No file is sent twice."""
    files: dict[str, Path] = {}
    for source in sources:
        files |= {path.name: path for path in files_of(source)}
    if benchmark_model is not None:
        files[benchmark_model.name] = benchmark_model
    for path in files.values():
        device.push(path)
    kit = Kit(
        parts=tuple(
            Part(
                runtime=source.runtime,
                flavour=source.flavour,
                package=source.package,
                version=source.version,
                runner=source.runner.name,
                library=source.library.name,
                loader=source.loader.name if source.loader else "",
                accelerators=tuple(path.name for path in source.accelerators),
            )
            for source in sources
        ),
        files={name: file_sha256(path) for name, path in files.items()},
        tools={"benchmark_model": benchmark_model.name} if benchmark_model else {},
    )
    path = cache(folders) / NOTE
    write_atomically(path, kit.model_dump_json(indent=1) + "\n")
    return kit, str(PurePosixPath(device.push(path)).parent)


def on_phone(device: Device, folder: str) -> Kit | None:
    """The kit in our folder on the phone, whoever pushed it; None if there is none, or only a part of it."""
    try:
        kit = Kit.model_validate_json(device.read(f"{folder}/{NOTE}"))
        done = device.run(["ls", "--", *(f"{folder}/{name}" for name in kit.files)], TRIAL_TIMEOUT_S)
    except (DeviceFailed, ValidationError):
        return None
    return kit if done.exit_code == 0 else None


def workers(kit: Kit, folder: str) -> tuple[NativeWorker, ...]:
    """The runtimes of a kit as the bench takes them."""
    return tuple(
        RUNTIMES[part.runtime](
            runner=f"{folder}/{part.runner}",
            library=f"{folder}/{part.library}",
            flavour=part.flavour,
            package=part.package,
            version=part.version,
            prefix=(f"{folder}/{part.loader}", "--library-path", folder) if part.loader else (),
        )
        for part in kit.parts
        if part.runtime in RUNTIMES
    )


def accelerated(kit: Kit, folder: str, delegate: str) -> NativeWorker | None:
    """LiteRT with an accelerator for a delegate; None where the kit has no library of one."""
    names = [name for part in kit.parts if part.runtime == "litert" for name in part.accelerators]
    litert = next((worker for worker in workers(kit, folder) if isinstance(worker, NativeLiteRT)), None)
    if litert is None:
        return None
    if delegate == "npu" and any("Dispatch" in name for name in names):
        return litert.accelerated("npu")
    if delegate == "gpu" and any("Accelerator" in name for name in names):
        return litert.accelerated("gpu")
    return None


def try_out(device: Device, worker: NativeWorker, folders: Folders) -> Loaded:
    """Run a model of one operator on the phone; WorkerFailed with the runner's words if it does not run."""
    kind = worker.formats[0]
    content = {"onnx": trial_onnx, "tflite": trial_tflite, "ncnn": trial_ncnn}[kind]()
    files = write_model(cache(folders) / f"trial.{SUFFIXES[kind]}", content)
    options: dict[str, str | int | float] = {"runs": TRIAL_RUNS, "warmup_runs": 1, "warmup_ns": 0}
    options |= {"shapes": "1x4"} if kind == "ncnn" else {}
    done = device.run(
        worker.command(device.push(*files), mode="time", threads=1, options=options), TRIAL_TIMEOUT_S
    )
    lines = done.stdout.splitlines()
    if len(lines) < 2:
        worker.parse_loaded(lines[0]) if lines else None  # raises where it is an error line
        last = " | ".join(done.stderr.strip().splitlines()[-2:])
        raise WorkerFailed(
            f"the runner for {worker.name} ended with {done.exit_code}{': ' + last if last else ''}",
            remedy="Give another version of the library, or report it with the phone's model.",
        )
    loaded = worker.parse_loaded(lines[0])
    worker.parse_slice(lines[1])
    return loaded


def trial_onnx() -> bytes:
    """A file that negates four numbers."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "trial", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def trial_ncnn() -> bytes:
    """A network that negates four numbers."""
    return packed(b"7767517\n2 2\nInput x 0 1 x 0=4\nPower trial 1 1 x y 0=1.0 1=-1.0\n", b"")


def trial_tflite() -> bytes:
    """A file that negates four numbers."""
    import flatbuffers  # type: ignore[import-untyped, unused-ignore]
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.SubGraphT()
    graph.tensors = []
    for name in "xy":
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, [1, 4], schema.TensorType.FLOAT32
        graph.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0], [1]
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [1]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.NEG
    code.version = 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [code], [schema.BufferT()]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
