"""What the scores of files say: scored on the device unless that was done before, then judged by an evaluation.

Outputs are kept by the digests of file, runtime and data, so that a file is scored once on a device.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench import store
from swapbench.bench.desktop_agreement import device_parity
from swapbench.bench.passes import measure_scores
from swapbench.errors import BadModelFile, NotValid, SwapbenchError
from swapbench.files import write_atomically
from swapbench.ports import Outputs
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from swapbench.bench.desktop_agreement import Desktop
    from swapbench.bench.workers import FileUnderTest
    from swapbench.data.preprocess import Prepared
    from swapbench.pad.evaluation import Evaluation
    from swapbench.pad.scores import FoldFrames
    from swapbench.ports import Device
    from swapbench.records import ModelCard, Parity, Plan, Preprocessing, Record

NO_DATA = Absent(
    absent="no data was given to score", remedy="Give a dataset with --data, or leave out --no-accuracy"
)
NO_CARD = Absent(
    absent="the file has no model card, so how to feed and read it is not known",
    remedy="Give the card with --card, or export the file with swapbench, which writes the card into it",
)


@dataclass(frozen=True)
class Judge:
    """From drafts to what their scores say."""

    device: Device
    plan: Plan
    evaluation: Evaluation | None
    crops: Mapping[Preprocessing, Prepared]
    folder: Path
    desktop: Desktop | None
    files: Mapping[str, Path]

    def accuracies(
        self, drafts: Mapping[str, Record], subjects: Mapping[str, FileUnderTest]
    ) -> Iterator[tuple[str, dict[str, Any] | SwapbenchError]]:
        """The fields of every draft that scores fill in, each as soon as they are known: first those that need no scoring."""
        to_score: list[FileUnderTest] = []
        for name, draft in drafts.items():
            if draft.card is None:
                yield name, {"accuracy": NO_CARD}
            elif self.evaluation is None:
                yield name, {"accuracy": NO_DATA}
            else:
                kept = _kept_outputs(self._path(draft, subjects[name], self.evaluation))
                if kept is None:
                    to_score.append(subjects[name])
                else:
                    yield name, self._judged(draft, subjects[name], kept, self.evaluation)
        if self.evaluation is None:
            return
        at_once = max(1, self.evaluation.processes // self.plan.threads)
        for subject, outputs in measure_scores(to_score, self.device, self.plan, at_once=at_once):
            draft = drafts[subject.name]
            if isinstance(outputs, SwapbenchError):
                yield subject.name, outputs
                continue
            _keep_outputs(self._path(draft, subject, self.evaluation), outputs)
            yield subject.name, self._judged(draft, subject, outputs, self.evaluation)

    def _judged(
        self, draft: Record, subject: FileUnderTest, outputs: Outputs, evaluation: Evaluation
    ) -> dict[str, Any] | SwapbenchError:
        """The error rates of these outputs; the scores of every frame are kept beside the records."""
        from swapbench.pad.score_files import write_score_file

        assert draft.card is not None
        try:
            folds = scored_folds(draft.artifact, draft.card, outputs, evaluation, self.crops)
            accuracy = evaluation.accuracy(
                folds, outputs, draft.card.preprocessing, confidence=self.plan.confidence, seed=self.plan.seed
            )
            write_score_file(store.scores_path(self.folder, draft.id), folds, evaluation.data)
        except NotValid as error:  # an overflowing file: its speed and weight are still worth a record
            return {"accuracy": Absent(absent=error.args[0], remedy=error.remedy)}
        except SwapbenchError as error:
            return error
        found: dict[str, Any] = {"accuracy": accuracy}
        if self.desktop is not None:
            found["device_parity"] = self._device_parity(draft, subject, folds, evaluation, self.desktop)
        return found

    def _device_parity(
        self,
        draft: Record,
        subject: FileUnderTest,
        folds: tuple[FoldFrames, ...],
        evaluation: Evaluation,
        desktop: Desktop,
    ) -> Parity | Absent:
        """How far these scores are from this computer's of the same file; Absent where it cannot score it."""
        assert draft.card is not None
        samples, normalise = self.crops[draft.card.preprocessing].path, str(subject.options["normalise"])
        runtime = draft.runtime.runtime
        try:
            key = desktop.key(draft.artifact_sha256, runtime, samples, normalise)
            path = evaluation.cache / "scores" / f"{key}.json"
            outputs = _kept_outputs(path)
            if outputs is None:
                outputs = desktop.outputs(self.files[draft.id], runtime, samples, normalise, self.plan)
                _keep_outputs(path, outputs)
            reference = scored_folds(draft.artifact, draft.card, outputs, evaluation, self.crops)
            return device_parity(reference, folds, draft.variant.precision)
        except SwapbenchError as error:
            return Absent(absent=f"this computer cannot score the file: {error.args[0]}", remedy=error.remedy)

    def _path(self, draft: Record, subject: FileUnderTest, evaluation: Evaluation) -> Path:
        """Where the outputs of this file under this runtime for these samples are kept."""
        assert draft.card is not None
        about = {
            "artifact": draft.artifact_sha256,
            "runtime": draft.runtime.model_dump(mode="json"),
            "device": draft.machine.name,
            "samples": self.crops[draft.card.preprocessing].path.name,
            "normalise": subject.options["normalise"],
        }
        if draft.machine.build is not None:  # phones of one profile are not all alike
            about["build"] = draft.machine.build
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        return evaluation.cache / "scores" / f"{key}.json"


def scored_folds(
    artifact: str,
    card: ModelCard,
    outputs: Outputs,
    evaluation: Evaluation,
    crops: Mapping[Preprocessing, Prepared],
) -> tuple[FoldFrames, ...]:
    """Scores of every frame of every fold from a scoring pass. BadModelFile where the file does not answer image by image."""
    if len(outputs.rows) != len(evaluation.samples):
        raise BadModelFile(
            f"{artifact} gave {len(outputs.rows)} scores for {len(evaluation.samples)} images",
            remedy="Its batch size must be 1: export it again",
        )
    return evaluation.fold_frames(outputs, card.output, crops[card.preprocessing].failures)


def _keep_outputs(path: Path, outputs: Outputs) -> None:
    answers = {"invoke_ns": outputs.invoke_ns, "pass_ns": outputs.pass_ns, "rows": outputs.rows}
    write_atomically(path, json.dumps(answers) + "\n")


def _kept_outputs(path: Path) -> Outputs | None:
    """Outputs of an earlier scoring pass; None where there is none or it is damaged: then the file is scored again."""
    try:
        kept = json.loads(path.read_bytes())
        return Outputs(tuple(tuple(row) for row in kept["rows"]), kept["invoke_ns"], kept["pass_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
