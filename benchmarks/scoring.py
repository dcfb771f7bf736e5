"""Where does the time of scoring videos go, and does memory grow with their number?

    python benchmarks/scoring.py FILE.onnx | FILE.tflite [--frames N] [--threads T]

Writes short videos (640x480 px, Motion JPEG, 40 frames) with a face box for every frame, prepares all their
frames and scores them in a real worker, once N frames and once 2 N, each in a fresh process. Prints the share
of wall time in the runtime's invoke, in reading and decoding, in finding face boxes, in cropping and
resizing, and in all the rest (the workers' start, Python, digests, writing crops), and the peak memory of
both processes. Parts that run in T threads count with a T-th of their time.

The videos are hard links to a few different ones and were just written: reading from a cold disk is not
measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from swapbench import bench, units
from swapbench.data.preprocess import prepare
from swapbench.data.samples import Annotation, Presentation
from swapbench.devices.local import Local
from swapbench.errors import SwapbenchError
from swapbench.modelfile import read_graph
from swapbench.records import Plan, Preprocessing
from swapbench.runtimes.litert import LiteRT
from swapbench.runtimes.ort import OnnxRuntime
from swapbench.runtimes.worker import peak_resident_bytes

FRAMES_PER_VIDEO = 40
DIFFERENT_VIDEOS = 8
SIZE_PX = (640, 480)
FACE = (220, 120, 200, 240)
REST_LIMIT = 0.15
GROWTH_LIMIT = 0.1


def write_videos(folder: Path, count: int) -> list[Presentation]:
    """`count` videos of a drifting, noisy picture, with annotations as Replay-Attack has them."""
    import cv2

    rng = np.random.default_rng(0)
    width, height = SIZE_PX
    for number in range(min(count, DIFFERENT_VIDEOS)):
        coarse = rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, SIZE_PX, interpolation=cv2.INTER_CUBIC).astype(np.int16)
        writer = cv2.VideoWriter(
            str(folder / f"{number}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, SIZE_PX
        )
        for frame in range(FRAMES_PER_VIDEO):
            noise = rng.integers(-8, 9, (height, width, 1), dtype=np.int16)
            shifted = np.roll(picture, 3 * frame, axis=1)
            writer.write(np.clip(shifted + noise, 0, 255).astype(np.uint8))
        writer.release()
    for number in range(DIFFERENT_VIDEOS, count):
        os.link(folder / f"{number % DIFFERENT_VIDEOS}.avi", folder / f"{number}.avi")
    lines = (" ".join(map(str, (frame, *FACE))) for frame in range(FRAMES_PER_VIDEO))
    annotation = folder / "all.face"
    annotation.write_text("\n".join(lines) + "\n")
    return [
        Presentation(
            name=f"{number}.avi",
            path=folder / f"{number}.avi",
            video=True,
            subject=str(number),
            label="bona_fide",
            annotation=Annotation(annotation, "replay"),
        )
        for number in range(count)
    ]


def preprocessing_of(path: Path) -> Preprocessing:
    """What the file itself says, or a plain one for the size of its input."""
    graph = read_graph(path)
    if graph.metadata is not None:
        return Preprocessing.model_validate(graph.metadata["preprocessing"])
    shape = graph.inputs[0].shape
    height, width = shape[2:] if graph.layout == "nchw" else shape[1:3]
    return Preprocessing(width_px=width, height_px=height, crop_scale=1.5)


def one_pass(path: Path, frames: int, threads: int) -> dict[str, float]:
    """Prepare and score so many frames here: seconds of wall time by part, and peak memory in bytes."""
    runtime = OnnxRuntime() if path.suffix == ".onnx" else LiteRT()
    preprocessing = preprocessing_of(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = write_videos(folder, -(-frames // FRAMES_PER_VIDEO))
        samples = [one for video in videos for one in video.samples(FRAMES_PER_VIDEO, "test")]
        before_bytes = peak_resident_bytes()
        began = time.perf_counter()
        prepared = prepare(samples, preprocessing, folder / "crops", threads)
        prepared_s = time.perf_counter() - began
        assert prepared.timings is not None
        assert not prepared.failures
        normalise = preprocessing.model_dump_json(include={"scale", "mean", "std"})
        options = {"samples": str(prepared.path), "normalise": normalise}
        file = bench.FileUnderTest(path.name, str(path), runtime, options)
        ((_, outputs),) = bench.measure_scores([file], Local(), Plan())
        if isinstance(outputs, SwapbenchError):
            raise outputs
        wall_s = time.perf_counter() - began
    spent = prepared.timings
    parts = {
        "invoke": outputs.invoke_ns / 1e9,
        "decode": spent.decode_ns / spent.threads / 1e9,
        "faces": spent.faces_ns / spent.threads / 1e9,
        "resize": spent.resize_ns / spent.threads / 1e9,
    }
    return {
        "frames": len(samples),
        "wall": wall_s,
        **parts,
        "rest": wall_s - sum(parts.values()),
        "rest_of_preparing": prepared_s - parts["decode"] - parts["faces"] - parts["resize"],
        "rest_of_scoring": wall_s - prepared_s - parts["invoke"],
        "before_bytes": before_bytes,
        "peak_bytes": peak_resident_bytes(),
        "worker_peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("file", type=Path, help="an .onnx or .tflite file with an image input")
    parser.add_argument(
        "--frames", type=int, default=2000, help="frames of the first pass; the second has twice as many"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads that decode")
    parser.add_argument("--one-pass", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = options.file.resolve()
    if options.one_pass:
        print(json.dumps(one_pass(path, options.frames, options.threads)))
        return 0
    print(f"{path.name}, {options.threads} decoding threads")
    passes = []
    for frames in (options.frames, 2 * options.frames):
        argv = [
            sys.executable,
            __file__,
            str(path),
            "--frames",
            str(frames),
            "--threads",
            str(options.threads),
        ]
        said = subprocess.run([*argv, "--one-pass"], stdout=subprocess.PIPE, text=True, check=True).stdout
        found = json.loads(said.splitlines()[-1])
        passes.append(found)
        shares = ", ".join(
            f"{part} {units.percent(found[part] / found['wall'])}"
            for part in ("invoke", "decode", "faces", "resize", "rest")
        )
        print(
            f"{found['frames']} frames in {found['wall']:.1f} s,"
            f" {found['frames'] / found['wall']:.0f} a second: {shares}\n"
            f"  rest: {found['rest_of_preparing']:.2f} s of preparing,"
            f" {found['rest_of_scoring']:.2f} s of scoring\n"
            f"  peak memory {units.size(found['peak_bytes'])},"
            f" {units.size(found['before_bytes'])} before preparing; "
            f"of the worker {units.size(found['worker_peak_bytes'])}, with the crops that it maps from disk"
        )
    small, large = passes
    grown = large["peak_bytes"] / small["peak_bytes"] - 1
    print(f"twice the frames: {units.percent(grown)} more peak memory")
    rest = large["rest"] / large["wall"]
    if rest > REST_LIMIT or grown > GROWTH_LIMIT:
        print(f"limits: rest {units.percent(REST_LIMIT)}, growth {units.percent(GROWTH_LIMIT)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
