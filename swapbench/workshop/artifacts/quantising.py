"""Quantised files of a network, and how files that are not in the cache yet agree with it."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.errors import UserError
from swapbench.modelfile.parts import write_model
from swapbench.pad.agreement import NEAR_ERROR, parity
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.workshop.export.mixed import Trial, price, search
from swapbench.workshop.export.outputs import fed, file_outputs, nchw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from swapbench.records import ModelCard, Parity, Variant


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs [n, height, width, channels], and the PyTorch network's bona fide scores of them [n].

    Inputs are uint8 crops; of a part of a network the maps of the part before it.
    """

    crops: NDArray[np.uint8] | NDArray[np.float32]
    reference: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.crops)

    def half(self) -> Samples:
        """Half of them, spread evenly over the scores."""
        rows = self.reference.argsort(kind="stable")[::2]
        return Samples(self.crops[rows], self.reference[rows])


@dataclass(frozen=True)
class Judge:
    """Compares files with their network under their real runtime.

    Attributes:
        card: of the network.
        folder: for files while they are tried.
        threshold: where the network's scores are decided.
    """

    card: ModelCard
    folder: Path
    threshold: float

    def parity(self, content: bytes, variant: Variant, samples: Samples) -> tuple[Parity, int]:
        """How a file agrees with the network, and its fastest run in ns.

        Raises:
            BadModelFile: the runtime does not run the file.
            NotValid: it gives numbers that are not finite.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            trial = Path(folder) / variant.file_name
            write_model(trial, content)
            outputs, run_ns = file_outputs(trial, samples.crops, self.card.preprocessing)
        scores = bona_fide_scores(outputs.tolist(), self.card.output)
        precision, meaning = variant.precision, self.card.output
        return parity(samples.reference, scores, self.threshold, precision, meaning), run_ns


def quantised(
    variant: Variant, base: bytes, calibration: Samples, judge: Judge, describe: Callable[[bytes], bytes]
) -> tuple[bytes, tuple[Trial, ...]]:
    """The bytes of a quantised file, and the trials that led to the layers that it keeps in float.

    All layers are quantised where that is near enough to the network (`NEAR_ERROR`) on the calibration crops;
    else `mixed.search` finds those that stay in float. It does not see the crops that the file is judged on.

    Args:
        variant: One with integer weights.
        base: The fp32 graph that its format's precisions are made from.
        calibration: What ranges are found and layers chosen on; may be empty for "int8-dynamic".
        judge: Of the network.
        describe: Puts the description of the network into a file.

    Raises:
        UserError: ranges are needed, and there are no crops.
    """
    from swapbench.workshop.export.exporters import exporter

    makes = exporter(variant.format)
    if not hasattr(makes, "Quantiser"):
        raise UserError(
            f"{variant.format} files are made in fp32 and fp16 only: its packages have no quantiser",
            remedy="Make the file with ncnn's own tools and name it: swapbench run FILE.param",
        )
    images = None
    if variant.precision != "int8-dynamic":
        if not len(calibration):
            raise UserError(
                f"{variant.precision} needs frames to find the ranges of its activations, and the "
                "development split has none that could be read",
                remedy="Name a dataset with --data, or export int8-dynamic",
            )
        images = fed(calibration.crops, judge.card.preprocessing)
        images = nchw(images) if variant.format in {"onnx", "executorch"} else images
    quantiser = makes.Quantiser(base, variant.precision, images)
    if not len(calibration):
        return describe(quantiser.file()), ()
    few = calibration.half()

    def cost(content: bytes) -> float:
        error = judge.parity(content, variant, few)[0].logit_error
        return math.inf if error is None else error

    def measure(content: bytes, in_float: Sequence[int]) -> Trial:
        found, run_ns = judge.parity(content, variant, calibration)
        return Trial(
            float_layers=tuple(quantiser.layers[number].name for number in in_float),
            float_share=price(quantiser.layers, in_float) if in_float else 0.0,
            file_bytes=len(content),
            run_ns=run_ns,
            logit_error=found.logit_error,
            rank_correlation=found.rank_correlation,
            flips=found.decision_flips,
            samples=found.samples,
        )

    content, trials = search(quantiser, cost, measure, NEAR_ERROR, len(few))
    return describe(content), trials
