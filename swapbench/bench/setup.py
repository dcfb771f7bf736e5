"""What a run measures with: the same for all of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.bench.desktop_agreement import Desktop
    from swapbench.bench.unplugged import Unplugged
    from swapbench.pad.evaluation import Evaluation
    from swapbench.ports import Device, Meter, SampledMeter
    from swapbench.records import Absent, Plan


@dataclass(frozen=True)
class Setup:
    """Where a run measures, how, and with which meters and data.

    Attributes:
        device: where the files run.
        meters: what measures energy, or why nothing can.
        plan: how to measure.
        evaluation: the data to score, None for no accuracy.
        desktop: this computer as the reference for scores, where `device` is another one.
        profiled: whether a pass of its own asks each runtime which operators take the time.
        sustained_s: for how long every file also runs without a pause; None for no sustained runs.
        unplugged: for energy that the device measures by itself at the end, with its cable unplugged.
        settings: what else tells this run from others on the same device, e.g. the kind of cores.
        lost_hosts: hosts of a fleet that began this run before and were lost.
    """

    device: Device
    meters: Sequence[Meter | SampledMeter] | Absent
    plan: Plan
    evaluation: Evaluation | None = None
    desktop: Desktop | None = None
    profiled: bool = False
    sustained_s: float | None = None
    unplugged: Unplugged | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    lost_hosts: tuple[str, ...] = ()
