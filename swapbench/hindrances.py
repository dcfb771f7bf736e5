"""What keeps a runtime from being fast with a file, as far as it was read or measured: plain sentences.

Nothing is guessed: each sentence counts nodes, either of a profile, in which a runtime says what it executed,
or of the file and of what the worker reports. Operators are recognised by what their names begin with, in the
words of any runtime; a name that is not known says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from swapbench import units
from swapbench.operators import FALLBACKS, NOTICEABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from swapbench.records import OperatorGroup, OperatorProfile, RuntimeUsed

_CONVERTS: Final = ("quantize", "dequantize", "requantize", "cast", "convert")
"""Operators that only change the type of numbers."""
_MOVES: Final = ("transpose", "reorder", "permute", "packing")
"""Operators that only change the layout of tensors."""
_IDLE: Final = ("reshape", "static reshape", "flatten", "squeeze", "unsqueeze", "expand_dims", "shape")
"""Operators that compute nothing."""
_AT_THE_ENDS: Final = 2
"""Conversions that an integer file needs where its input and its output are floats."""
_FLOATS: Final = ("float", "float32")


def hindrances(
    precision: str,
    used: RuntimeUsed,
    ops: Mapping[str, int],
    profile: OperatorProfile | None,
) -> tuple[str, ...]:
    """What was found, the sentences without their full stops; none where nothing was.

    Args:
        precision: Of the file.
        used: What ran it.
        ops: Operator -> nodes of it, in the file.
        profile: What the runtime executed; None where it was not asked.
    """
    if profile is None:
        found = [_outside_by_count(used), _outside_in_program(used, ops), _in_file(precision, ops)]
    else:
        found = [
            _outside(profile) or _outside_by_count(used),
            _in_float(precision, profile),
            _spent("convert", "between types of numbers", _CONVERTS, profile),
            _spent("change", "the layout of tensors", _MOVES, profile),
            profile.untimed and f"which operators take the time is not known: {profile.untimed}",
        ]
    return tuple(filter(None, found))


# ---- From a profile ----


def _outside(profile: OperatorProfile) -> str:
    """Nodes that no delegate or special provider took, where one took others."""
    taken = list(dict.fromkeys(group.provider for group in profile.placed))
    delegates = [provider for provider in taken if provider not in FALLBACKS]
    left = [group for group in profile.placed if group.provider in FALLBACKS]
    if not delegates or not left:
        return ""
    nodes, every = _nodes(left), _nodes(profile.placed)
    there = [group for group in profile.executed if group.provider in FALLBACKS]
    return f"{nodes} of {every} nodes are outside {' and '.join(delegates)}: {_listed(left)}{_share(there)}"


def _in_float(precision: str, profile: OperatorProfile) -> str:
    """Operators whose outputs are floats of 32 bits although the file's precision is another.

    Those of a file that finds the scales of its activations anew in each run are floats by design.
    """
    if precision in {"fp32", "unknown", "int8-dynamic"}:
        return ""
    computing = [group for group in profile.placed if not _is(group.op, (*_CONVERTS, *_MOVES, *_IDLE))]
    floats = [group for group in computing if group.output in _FLOATS]
    if not floats:
        return ""
    if len(floats) == len(computing):
        return (
            f"the outputs of all {_nodes(floats)} operators are floats of 32 bits: {precision} is how the "
            "file stores numbers, not how it computes"
        )
    timed = [group for group in profile.executed if _kind(group) in set(map(_kind, floats))]
    share = _share(timed) if len(timed) == len(floats) else ""
    return (
        f"the outputs of {_nodes(floats)} of {_nodes(computing)} operators are floats of 32 bits, not "
        f"{precision}: {_listed(floats)}{share}"
    )


def _spent(verb: str, what: str, kinds: Sequence[str], profile: OperatorProfile) -> str:
    """Executed nodes of a kind that computes nothing of the network."""
    found = [group for group in profile.executed if _is(group.op, kinds)]
    if sum(group.share or 0.0 for group in found) < NOTICEABLE:
        return ""
    nodes = _nodes(found)
    head = f"1 executed node only {verb}s" if nodes == 1 else f"{nodes} executed nodes only {verb}"
    return f"{head} {what}: {_listed(found)}{_share(found)}"


def _share(groups: Iterable[OperatorGroup]) -> str:
    shares = [group.share for group in groups if group.share is not None]
    return f" ({units.percent(sum(shares))} of the time of all operators)" if shares else ""


# ---- Without one ----


def _outside_by_count(used: RuntimeUsed) -> str:
    taken, every = used.delegated_nodes, used.nodes
    if taken is None or every is None or taken >= every:
        return ""
    if not taken:
        return f"no delegate took any of the {every} nodes"
    providers = [provider for provider in used.providers if provider not in FALLBACKS]
    return f"{every - taken} of {every} nodes are outside {' and '.join(providers) or 'the delegate'}"


def _outside_in_program(used: RuntimeUsed, ops: Mapping[str, int]) -> str:
    """Kernels of a program of ExecuTorch; the nodes of a delegate have names without namespaces."""
    kernels = {op: count for op, count in ops.items() if "::" in op}
    if used.runtime != "executorch" or not kernels:
        return ""
    every = sum(ops.values())
    if len(kernels) == len(ops):
        return f"no delegate took any of the {every} nodes"
    return f"{sum(kernels.values())} of {every} nodes are outside the delegate: {_counted(kernels)}"


def _in_file(precision: str, ops: Mapping[str, int]) -> str:
    """Nodes of an integer file that convert types, where the format means nodes by that.

    QuantizeLinear and DequantizeLinear are how an ONNX file writes down a quantisation: runtimes fold most of
    them into the operators between, so that only a profile can tell.
    """
    found = {op: count for op, count in ops.items() if _is(op, _CONVERTS) and not op.endswith("Linear")}
    if not precision.startswith("int") or sum(found.values()) <= _AT_THE_ENDS:
        return ""
    return (
        f"{sum(found.values())} of the file's {sum(ops.values())} nodes only convert between types of "
        f"numbers: {_counted(found)}"
    )


# ---- Words ----


def _is(op: str, beginnings: Sequence[str]) -> bool:
    return op.lower().startswith(tuple(beginnings))


def _kind(group: OperatorGroup) -> tuple[str, str, str]:
    return group.op, group.provider, group.output


def _nodes(groups: Iterable[OperatorGroup]) -> int:
    return sum(group.nodes for group in groups)


def _listed(groups: Iterable[OperatorGroup]) -> str:
    """'33 PRELU, 13 DEPTHWISE_CONV_2D'; what an operator's name says in parentheses is left out."""
    counts: Counter[str] = Counter()
    for group in groups:
        counts[re.sub(r"\s*\(.*", "", group.op)] += group.nodes
    return _counted(counts)


def _counted(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return units.some([f"{count} {op}" for op, count in ordered])
