"""The times of nodes from a profile that onnxruntime wrote: Chrome's trace format, one JSON array of events.

https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html. Used here: "X" events of category "Session" named
`model_run`, one a run, and of category "Node" named `<node>_kernel_time` with `op_name`, `provider` and
`output_type_shape` among their arguments. Times are whole microseconds.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from swapbench.runtimes.worker import Executed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KERNEL = "_kernel_time"
ADDED = re.compile(r"(?:_nchwc|_token_\d+)+$")
"""What optimisers put behind the name of a node that they replace; the number is another one in another file."""
RUN = "model_run"


def executed(events: Sequence[Mapping[str, Any]], warmup_runs: int) -> list[Executed]:
    """Every node in the order of its first run, with its own time in each run after the first `warmup_runs`.

    A node that holds others (a loop, a branch) counts without them. A node that did not run in some run took 0 there.
    Raises KeyError, TypeError or ValueError where the events are of another form.
    """
    starts = sorted(int(one["ts"]) for one in events if one.get("cat") == "Session" and one["name"] == RUN)
    runs = len(starts) - warmup_runs
    kernels = [one for one in events if one.get("cat") == "Node" and str(one["name"]).endswith(KERNEL)]
    found: dict[tuple[str, str, str], Executed] = {}
    for event, own_us in _own_times(kernels):
        number = bisect_right(starts, int(event["ts"])) - 1 - warmup_runs
        if number < 0:
            continue
        told = event["args"]
        name, op = str(event["name"]).removesuffix(KERNEL), str(told["op_name"])
        key = (name, str(told.get("node_index", "")), op)
        if key not in found:
            output = _shapes(told.get("output_type_shape", ()))
            provider = str(told.get("provider", ""))
            found[key] = Executed(ADDED.sub("", name), op, output, provider, [0] * runs)
        found[key].run_ns[number] += own_us * 1000
    return list(found.values())


def _own_times(kernels: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], int]]:
    """Each event with its duration in µs, less that of the events inside it, in order of time."""
    order = sorted(kernels, key=lambda one: (int(one["ts"]), -int(one["dur"])))
    own_us = [int(one["dur"]) for one in order]
    around: list[int] = []
    for place, event in enumerate(order):
        while around and int(event["ts"]) >= int(order[around[-1]]["ts"]) + int(order[around[-1]]["dur"]):
            around.pop()
        if around:
            own_us[around[-1]] -= int(event["dur"])
        around.append(place)
    return list(zip(order, own_us, strict=True))


def _shapes(outputs: Sequence[Mapping[str, Sequence[int]]]) -> str:
    """[{"float": [1, 32, 40, 40]}] as 'float 1x32x40x40'."""
    return ", ".join(
        f"{kind} {'x'.join(map(str, shape))}".strip() for one in outputs for kind, shape in one.items()
    )
