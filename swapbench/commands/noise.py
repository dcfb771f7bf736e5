"""How noisy this computer is, as a finding of the doctor."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swapbench import catalog, units
from swapbench.errors import SwapbenchError
from swapbench.records import Finding, Plan

if TYPE_CHECKING:
    from swapbench.bench.noise import Noise
    from swapbench.catalog import Folders
    from swapbench.ports import Progress

QUIET: Final = 0.03
"""Files of a run that differ by more must be told apart on a machine that is called quiet."""

STOLEN: Final = 0.01
_LAYERS, _WIDTH = 8, 600


def noise(folders: Folders, *, progress: Progress) -> Finding:
    """Time a small network against itself under onnxruntime for some ten seconds."""
    from swapbench import bench

    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "noise.onnx")
            _write_network(path)
            file = bench.FileUnderTest(path.name, str(path), catalog.runtime(folders, "onnxruntime"))
            found = bench.measure_noise(
                file,
                catalog.device(folders, "local"),
                Plan(),
                progress=lambda done: progress("measuring this computer's noise", done, bench.NOISE_ROUNDS),
            )
    except SwapbenchError as error:
        return Finding("noise", "limited", f"not measured: {error.args[0]}", error.remedy)
    return finding_of(found)


def finding_of(found: Noise) -> Finding:
    """What the noise means for a person."""
    detail = (
        f"two files of a run of default length are told apart if they differ by more than "
        f"{units.percent(found.median)} in the median or {units.percent(found.p05)} in p05; the median of a "
        f"file alone is known to ±{units.percent(found.alone)}"
    )
    if found.stolen is not None and found.stolen >= 0.0005:
        detail += f"; others took {units.percent(found.stolen)} of the processor's time from this machine"
    loud = found.median > QUIET or (found.stolen or 0.0) > STOLEN
    remedy = "Stop other programs, fix the clock frequency, or measure longer: --budget 120." if loud else ""
    return Finding("noise", "limited" if loud else "ok", detail, remedy)


def _write_network(path: Path) -> None:
    """A chain of matrix products that takes about a millisecond."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    names = [f"x{number}" for number in range(_LAYERS + 1)]
    ends = [helper.make_tensor_value_info(names[at], TensorProto.FLOAT, [1, _WIDTH]) for at in (0, -1)]
    nodes = [helper.make_node("MatMul", [one, "w"], [other]) for one, other in itertools.pairwise(names)]
    weights = numpy_helper.from_array(np.full((_WIDTH, _WIDTH), 1 / _WIDTH, np.float32), "w")
    graph = helper.make_graph(nodes, "noise", ends[:1], ends[1:], [weights])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
