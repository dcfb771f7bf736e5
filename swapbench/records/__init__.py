"""The nouns: frozen values that cross a process or the disk.

Raw numbers, the unit in the name, no arithmetic. This package knows nothing about hardware, files or
statistics. A quantity that was not measured is an `Absent` with its reason, never 0. What can be computed
from the raw numbers is computed elsewhere, by pure functions.
"""

from __future__ import annotations

from swapbench.records.cards import (
    FACE_BOXES,
    FORMATS,
    PRECISIONS,
    FaceBoxes,
    Format,
    ModelCard,
    OutputMeaning,
    Precision,
    Preprocessing,
    Training,
    Variant,
)
from swapbench.records.machine import (
    OUTCOMES,
    THERMAL_STATUSES,
    CpuCluster,
    Finding,
    Machine,
    PhoneState,
    RuntimeUsed,
    StartGate,
)
from swapbench.records.quantities import (
    NOT_ELSEWHERE,
    NOT_PACED,
    NOT_SUSTAINED,
    POWER_GRADES,
    Accuracy,
    CounterRead,
    FoldErrors,
    Parity,
    PeakMemory,
    Plan,
    Power,
    PowerGrade,
    Speed,
    Sustained,
    SustainedPoint,
    ToolSummary,
    Weight,
    WorkerTimes,
)
from swapbench.records.record import SCHEMA_VERSION, Record
from swapbench.records.values import Absent, Doubt, Frozen, Interval, Proportion

__all__ = [
    "FACE_BOXES",
    "FORMATS",
    "NOT_ELSEWHERE",
    "NOT_PACED",
    "NOT_SUSTAINED",
    "OUTCOMES",
    "POWER_GRADES",
    "PRECISIONS",
    "SCHEMA_VERSION",
    "THERMAL_STATUSES",
    "Absent",
    "Accuracy",
    "CounterRead",
    "CpuCluster",
    "Doubt",
    "FaceBoxes",
    "Finding",
    "FoldErrors",
    "Format",
    "Frozen",
    "Interval",
    "Machine",
    "ModelCard",
    "OutputMeaning",
    "Parity",
    "PeakMemory",
    "PhoneState",
    "Plan",
    "Power",
    "PowerGrade",
    "Precision",
    "Preprocessing",
    "Proportion",
    "Record",
    "RuntimeUsed",
    "Speed",
    "StartGate",
    "Sustained",
    "SustainedPoint",
    "ToolSummary",
    "Training",
    "Variant",
    "Weight",
    "WorkerTimes",
]
