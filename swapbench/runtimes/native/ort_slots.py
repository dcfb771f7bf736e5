"""The places of functions in ONNX Runtime's function table, read from its C header.

The table (struct OrtApi) is only ever appended to, so a place in one version holds for all later ones.
`python -m swapbench.runtimes.native.ort_slots onnxruntime_c_api.h` prints ort_slots.h; the header is in the
AAR of the Android library (headers/) and in development packages.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

USED = (
    *(
        "GetErrorMessage",
        "CreateEnv",
        "CreateSession",
        "Run",
        "CreateSessionOptions",
        "SetSessionExecutionMode",
    ),
    *("SetSessionLogSeverityLevel", "SetSessionGraphOptimizationLevel", "SetIntraOpNumThreads"),
    *("SetInterOpNumThreads", "SessionGetInputCount", "SessionGetOutputCount", "SessionGetInputTypeInfo"),
    *(
        "SessionGetOutputTypeInfo",
        "SessionGetInputName",
        "SessionGetOutputName",
        "CreateTensorWithDataAsOrtValue",
    ),
    *("GetTensorMutableData", "CastTypeInfoToTensorInfo", "GetTensorElementType", "GetDimensionsCount"),
    *("GetDimensions", "GetTensorShapeElementCount", "GetTensorTypeAndShape", "CreateCpuMemoryInfo"),
    *("GetAllocatorWithDefaultOptions", "ReleaseValue", "ReleaseTypeInfo", "ReleaseTensorTypeAndShapeInfo"),
    *(
        "GetAvailableProviders",
        "AddFreeDimensionOverrideByName",
        "AddSessionConfigEntry",
        "SessionOptionsAppendExecutionProvider",
    ),
)
"""The functions that ort.c calls."""

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_TABLE = re.compile(r"^struct OrtApi\s*\{(.*?)^\};", re.DOTALL | re.MULTILINE)
_MEMBER = re.compile(
    r"ORT_API2_STATUS\(\s*(?P<status>\w+)"
    r"|ORT_API_T\([^,]+,\s*(?P<other>\w+)"
    r"|ORT_CLASS_RELEASE\(\s*(?P<release>\w+)"
    r"|\(\s*ORT_API_CALL\s*\*\s*(?P<pointer>\w+)\s*\)"
)


def slots(header: str) -> dict[str, int]:
    """Function name -> place in the table; ValueError where there is no table.

    Args:
        header: The text of onnxruntime_c_api.h.
    """
    table = _TABLE.search(_COMMENT.sub("", header))
    if table is None:
        raise ValueError("this header declares no struct OrtApi")
    names = [
        f"Release{member['release']}"
        if member["release"]
        else member["status"] or member["other"] or member["pointer"]
        for member in _MEMBER.finditer(table[1])
    ]
    return {name: place for place, name in enumerate(names)}


def rendered(places: dict[str, int]) -> str:
    """The C header of the functions in USED, in the order of the table."""
    lines = [f"#define SLOT_{name} {places[name]}" for name in sorted(USED, key=places.__getitem__)]
    command = "python -m swapbench.runtimes.native.ort_slots onnxruntime_c_api.h"
    return "\n".join([f"/* Places in struct OrtApi; made by: {command} */", *lines, ""])


if __name__ == "__main__":
    sys.stdout.write(rendered(slots(Path(sys.argv[1]).read_text(encoding="utf-8"))))
