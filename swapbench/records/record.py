"""The record: everything measured about one exported file, and the version of its format."""

from __future__ import annotations

# pydantic needs the real types at run time
from datetime import datetime  # noqa: TC003
from typing import Final, Literal

from pydantic import Field

from swapbench.records.cards import ModelCard, Variant  # noqa: TC001
from swapbench.records.machine import Machine, RuntimeUsed  # noqa: TC001
from swapbench.records.operator_profile import NOT_PROFILED, OperatorProfile
from swapbench.records.quantities import (
    NOT_ELSEWHERE,
    NOT_PACED,
    NOT_SUSTAINED,
    Accuracy,
    Parity,
    Plan,
    Power,
    Speed,
    Sustained,
    Weight,
)
from swapbench.records.systems import Decision  # noqa: TC001
from swapbench.records.values import Absent, Doubt, FileName, Frozen

SCHEMA_VERSION: Final = 3
"""Version of the record format.

History:
    1 (2026-11): first. 2 (2026-11): accuracy has HTER, its folds, its frames and what it rests on;
    preprocessing says where the face box
        comes from.
    3 (2026-11): sustained runs, the frame rate of the plan, times at that rate and frames lost; a phone's
    state, and
        how far its scores are from the desktop's.

Everything that an older version lacks has a default, so its records are read as they are.
"""


class Record(Frozen):
    """Everything measured about one file under one runtime on one device. Written once, never rewritten.

    Files that decide together have one too: what their own records say of the system, or what was measured.

    Attributes:
        schema_version: see SCHEMA_VERSION.
        id: unique in its run.
        time: when measuring ended.
        run: name of the run.
        variant: which network in which file.
        artifact: name of the file.
        named: the file as a person named it, with as many folders as tell it from other files of its run;
            "" in older records.
        artifact_sha256: its digest.
        card: of the network, None for a file without one.
        runtime: what ran it.
        plan: how it was measured.
        machine: where.
        speed: runs back to back.
        weight: size, operations and memory.
        accuracy: errors of its scores.
        power: one for each meter.
        parity: of the file with its PyTorch network.
        sustained: runs without a pause for minutes, where they were asked for.
        paced: runs that wait for the frames of a camera at plan.fps, where they were asked for.
        device_parity: of the device's scores with the same file's on the desktop: every frame of the data,
            decisions at the threshold that the desktop's scores freeze.
        operators: what the runtime made of the file's graph, where its operators were profiled.
        decision: of a system, what one decision costs; None for a file.
        doubts: reasons to distrust it.
        shapes: by name of an input that the file leaves free, the shape at which it was measured.
        remarks: what should be known of the file; nothing of it speaks against the numbers.
        lost_hosts: hosts of a fleet that began this measurement and were lost in the middle of it, so that it
            was done again from the beginning.
    """

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    id: FileName
    time: datetime
    run: str
    variant: Variant
    artifact: FileName
    named: str = ""
    artifact_sha256: str
    card: ModelCard | None
    runtime: RuntimeUsed
    plan: Plan
    machine: Machine
    speed: Speed | Absent
    weight: Weight | Absent
    accuracy: Accuracy | Absent
    power: tuple[Power, ...] | Absent
    parity: Parity | Absent
    sustained: Sustained | Absent = NOT_SUSTAINED
    paced: Speed | Absent = NOT_PACED
    device_parity: Parity | Absent = NOT_ELSEWHERE
    operators: OperatorProfile | Absent = NOT_PROFILED
    decision: Decision | None = None
    doubts: tuple[Doubt, ...]
    shapes: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    lost_hosts: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What tables call the file."""
        return self.named or self.artifact

    @property
    def valid(self) -> bool:
        """True when nothing speaks against using this record."""
        return not self.doubts
