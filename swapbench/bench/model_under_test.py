"""What a run is handed to measure: files, each under one runtime or tool."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from swapbench.bench.card_fit import input_doubts, misfit, outputs_option
from swapbench.bench.draft import Draft
from swapbench.bench.speed import ToolUnderTest
from swapbench.bench.workers import FileUnderTest, normalise_json
from swapbench.modelfile.input_shapes import shape_text
from swapbench.records import Absent, Weight
from swapbench.runtimes.contract import packages_elsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.data.preprocess import Prepared
    from swapbench.modelfile import Graph
    from swapbench.pad.evaluation import Evaluation
    from swapbench.ports import Device, Progress, Runtime, Tool
    from swapbench.records import (
        Doubt,
        Machine,
        ModelCard,
        Parity,
        PeakMemory,
        Plan,
        Preprocessing,
        RuntimeUsed,
        Speed,
        Variant,
    )

TIMES_ONLY: Final = Absent(
    absent="the tool reports times only", remedy="Measure the same file under litert for the rest"
)

_READABLE = 120
"""Letters of a file's name in the name of its record: a file system takes 255 bytes."""


@dataclass(frozen=True)
class ModelUnderTest:
    """One file under one runtime, and what is known about it.

    Attributes:
        variant: which network the file holds.
        path: the file on this computer.
        sha256: of the file.
        graph: what the file holds, counted.
        runtime: what runs the file.
        card: None for a file from elsewhere; it gets no accuracy.
        parity: of the file with its PyTorch network.
        named: the file as a person named it; "" for one that swapbench named.
        unscored: why it gets no accuracy, known before anything is measured; None where it is scored.
        tool: what times the file by itself, in place of the runtime's worker.
        cores: the kind of a phone's cores that the file runs on, "" where the system chooses.
        before: of a part of a network, the parts before it; see `bench.series`.
    """

    variant: Variant
    path: Path
    sha256: str
    graph: Graph
    runtime: Runtime
    card: ModelCard | None
    parity: Parity | Absent
    named: str = ""
    unscored: Absent | None = None
    tool: Tool | None = None
    cores: str = ""
    before: tuple[ModelUnderTest, ...] = ()

    @property
    def scoring_card(self) -> ModelCard | None:
        """The card to score the file by; None where the file is not scored."""
        return None if self.unscored is not None else self.card

    @property
    def card_doubts(self) -> tuple[Doubt, ...]:
        """What the file says against its card without being run."""
        card = self.scoring_card
        return () if card is None else input_doubts(card.preprocessing, self.graph)

    def with_card(self, card: ModelCard) -> ModelUnderTest:
        """The same file, scored as a card says where the card fits it."""
        return replace(self, card=card, unscored=misfit(card, self.graph))

    @property
    def title(self) -> str:
        """What messages and tables call the file."""
        return self.named or self.path.name

    @property
    def record_id(self) -> str:
        """A file name that sorts by model and tells equal names with different content apart."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", self.title).lstrip(".")[-_READABLE:]
        cores = f"-{self.cores}" if self.cores else ""
        return f"{readable}-{(self.tool or self.runtime).name}{cores}-{self.sha256[:8]}"

    def pushed(self, device: Device) -> FileUnderTest:
        """The file on a device, without anything to score."""
        artifact = device.push(self.path, *self.graph.files[1:])
        return FileUnderTest(self.path.name, artifact, self.runtime, self.graph.worker_options)

    def pushed_for_tool(self, device: Device, tool: Tool) -> ToolUnderTest:
        """The file on a device, for a tool that times by itself."""
        free = self.graph.set_shapes
        shapes = ":".join(",".join(map(str, shape)) for shape in free.values())
        options = {"input_layer": ",".join(free), "input_layer_shape": shapes} if free else {}
        return ToolUnderTest(self.record_id, device.push(self.path), tool, options)

    def weight(self, peak_memory: PeakMemory | Absent) -> Weight:
        """What was counted in the file's graph, with the memory that was measured."""
        return Weight(
            file_bytes=self.graph.file_bytes,
            params=self.graph.params,
            macs=self.graph.macs,
            uncounted_ops=self.graph.uncounted_ops,
            ops=dict(self.graph.ops),
            peak_memory=peak_memory,
        )

    def draft(
        self, speed: Speed | Absent, used: RuntimeUsed, machine: Machine, plan: Plan, run_name: str
    ) -> Draft:
        """What is known once all models are timed together; the passes of each alone are to come."""
        packages = packages_elsewhere(self.runtime)
        to_come = TIMES_ONLY if self.tool is not None else Absent(absent="not measured yet")
        return Draft(
            id=self.record_id,
            time=datetime.now(UTC),
            run=run_name,
            variant=self.variant,
            artifact=self.path.name,
            named=self.named,
            artifact_sha256=self.sha256,
            card=self.card,
            runtime=used,
            plan=plan,
            machine=machine.replace(packages=packages) if packages else machine,
            speed=speed,
            weight=self.weight(to_come),
            accuracy=to_come,
            power=to_come,
            parity=self.parity,
            shapes=self.graph.set_shapes,
            remarks=self.remarks,
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What should be known of the file; nothing of it speaks against its numbers."""
        remarks = []
        if self.graph.set_shapes:
            shapes = (f"{name} {shape_text(shape)}" for name, shape in self.graph.set_shapes.items())
            remarks.append(
                f"the file leaves lengths of its input free; it was measured at {', '.join(shapes)}"
            )
        if self.graph.against_rules:
            remarks.append(f"the ONNX checker refuses the file: {self.graph.against_rules.rstrip('.')}")
        if self.card is not None and self.card.reads is not None:
            before = " and ".join(part.title for part in self.before) or self.card.reads.card
            remarks.append(
                f"a part of a network: it reads {self.card.reads.output} of {before}, without which it"
                " decides nothing; its scores are of all parts in series, and speed and weight its own"
            )
        return tuple(remarks)


def prepared_crops(
    models: Sequence[ModelUnderTest], evaluation: Evaluation | None, progress: Progress
) -> dict[Preprocessing, Prepared]:
    """The evaluation's frames, prepared as each card asks for; every frame is decoded once."""
    if evaluation is None:
        return {}
    cards = [model.scoring_card for model in models if model.scoring_card is not None]
    return evaluation.prepared([card.preprocessing for card in cards], progress)


def file_under_test(
    model: ModelUnderTest, device: Device, crops: Mapping[Preprocessing, Prepared]
) -> FileUnderTest:
    """The model's file on the device, with the crops that its card asks for, where there are any."""
    pushed, card = model.pushed(device), model.scoring_card
    options = dict(pushed.options)
    if card is not None and card.reads is None and card.preprocessing in crops:
        samples = device.push(crops[card.preprocessing].path)
        options |= {"samples": samples, "normalise": normalise_json(card.preprocessing)}
        options |= outputs_option(card, model.graph)
    return replace(pushed, name=model.record_id, options=options)
