"""Why a runtime refuses a model file: its own message, in one sentence that says which version is needed.

The messages are those of onnxruntime 1.20 to 1.31 and LiteRT 1.4 to 2.3; a message of another form is shown
without what only concerns their developers.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from swapbench.errors import RefusedFile


class _Known(NamedTuple):
    """A message, and what is said in its place; both may name groups of the pattern."""

    pattern: re.Pattern[str]
    sentence: str
    remedy: str


_STANDARD: Final = "Export it with operators of the standard alone; custom ones cannot be measured."

_KNOWN: Final = tuple(
    _Known(re.compile(pattern, re.DOTALL), sentence, remedy)
    for pattern, sentence, remedy in (
        (
            r"Unsupported model IR version: (?P<has>\d+), max supported IR version: (?P<most>\d+)",
            "it has IR version {has}, and this onnxruntime reads up to {most}",
            "Upgrade onnxruntime, or save it with model.ir_version = {most}.",
        ),
        (
            r"Opset (?P<has>\d+) is under development.*domain (?P<domain>\S+) is till opset (?P<most>\d+)",
            "it has opset {has} of {domain}, and this onnxruntime knows up to {most}",
            "Upgrade onnxruntime, or export it with opset_version={most}.",
        ),
        (
            r"Fatal error: (?P<op>\S+?)\(-?\d+\) is not a registered function/op",
            "onnxruntime does not have its operator {op}",
            _STANDARD,
        ),
        (
            r"Could not find an implementation for (?P<op>\S+?)\((?P<opset>\d+)\)",
            "onnxruntime has no kernel for its operator {op} of opset {opset} with these types",
            "Export it in another precision or with another opset.",
        ),
        (
            r"Select TensorFlow op.*Node number \d+ \((?P<op>\w+)\)",
            "its operator {op} is TensorFlow's own, and LiteRT does not have it",
            "Convert it with the operators of LiteRT alone, without SELECT_TF_OPS.",
        ),
        (
            r"unresolved custom op: (?P<op>\S+?)\.?(?:\s|$)",
            "LiteRT does not have its custom operator {op}",
            _STANDARD,
        ),
        (
            r"schema version (?P<has>\d+) not equal to supported version (?P<most>\d+)",
            "it has schema version {has}, and this LiteRT reads version {most} alone",
            "Convert it again with a current converter.",
        ),
        (
            r"Didn't find op for builtin opcode '(?P<op>\w+)' version '(?P<has>\d+)'",
            "it has version {has} of the operator {op}, which this LiteRT does not know",
            "Upgrade ai-edge-litert, or convert it again with an older converter.",
        ),
    )
)

_NOISE: Final = re.compile(
    r"^(?:[A-Z]\w*: )?(?:onnxruntime: )?(?:\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : )?"
    r"(?:Load model from .*? failed:)?\s*"
    r"|\S+\.(?:cc|h):\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)?\s"
)
"""The class of the exception, the status, the path, and C++ functions."""

_MOST_LETTERS: Final = 300


def refused(message: str) -> RefusedFile:
    """The error for a runtime's message about a file that it does not load or run."""
    for known in _KNOWN:
        found = known.pattern.search(message)
        if found is not None:
            return RefusedFile(
                known.sentence.format(**found.groupdict()), remedy=known.remedy.format(**found.groupdict())
            )
    plain = _NOISE.sub("", message) or message
    return RefusedFile(
        f"the runtime cannot load or run it: {plain[:_MOST_LETTERS]}",
        remedy="Try another version of the runtime, or export the file again.",
    )
