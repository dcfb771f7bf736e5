"""The scoring pass: raw outputs of files, kept from an earlier run or measured now, and their error rates.

Outputs are cached by the digests of file, runtime and data, so that a file is scored once on a device.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench import store
from swapbench.bench.desktop_agreement import device_parity
from swapbench.bench.outputs import measure_scores
from swapbench.bench.workers import normalise_json
from swapbench.errors import BadModelFile, NotValid, SwapbenchError
from swapbench.files import write_atomically
from swapbench.ports import Outputs
from swapbench.records import NOT_ELSEWHERE, Absent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from swapbench.bench.desktop_agreement import Desktop
    from swapbench.bench.draft import Draft
    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.bench.setup import Setup
    from swapbench.bench.workers import FileUnderTest
    from swapbench.data.preprocess import Prepared
    from swapbench.pad.evaluation import Evaluation
    from swapbench.pad.scores import FoldFrames
    from swapbench.records import Accuracy, ModelCard, Parity, Preprocessing

NO_DATA: Final = Absent(
    absent="there were no labelled images to score",
    remedy="Give a dataset, or a folder of live/ and spoof/ images, with --data",
)
NO_CARD: Final = Absent(
    absent="the file has no model card, so its input and output are not known",
    remedy="Give the card with --card, or export the file with swapbench, which writes the card into it",
)


@dataclass(frozen=True)
class ScoringResult:
    """What the scores of a file give.

    Attributes:
        accuracy: its error rates, or why it has none.
        device_parity: how far its scores are from this computer's, where they were compared.
    """

    accuracy: Accuracy | Absent
    device_parity: Parity | Absent = NOT_ELSEWHERE


@dataclass(frozen=True)
class ScoringPass:
    """Scores every file of a run that has a card, where there is data.

    Attributes:
        setup: the run's.
        crops: the data, prepared as each card asks for.
        folder: the run's; the scores of every frame are kept there.
        models: what is scored, by record id.
    """

    setup: Setup
    crops: Mapping[Preprocessing, Prepared]
    folder: Path
    models: Mapping[str, ModelUnderTest]

    def results(
        self, drafts: Mapping[str, Draft], files: Mapping[str, FileUnderTest]
    ) -> Iterator[tuple[str, ScoringResult | SwapbenchError]]:
        """The result of every draft by record id, as soon as it is known: first those that need no worker."""
        evaluation = self.setup.evaluation
        to_score: list[FileUnderTest] = []
        for name, draft in drafts.items():
            unscored = self.models[name].unscored
            if unscored is not None:
                yield name, ScoringResult(unscored)
            elif draft.card is None:
                yield name, ScoringResult(NO_CARD)
            elif evaluation is None:
                yield name, ScoringResult(NO_DATA)
            else:
                outputs = _cached_outputs(self._path(draft, draft.card, files[name], evaluation))
                if outputs is None:
                    to_score.append(files[name])
                else:
                    yield name, self._result(draft, draft.card, outputs, evaluation)
        if evaluation is None:
            return
        plan = self.setup.plan
        at_once = max(1, evaluation.processes // plan.threads)
        for file, scored in measure_scores(to_score, self.setup.device, plan, at_once=at_once):
            draft = drafts[file.name]
            assert draft.card is not None
            if isinstance(scored, SwapbenchError):
                yield file.name, scored
                continue
            _cache_outputs(self._path(draft, draft.card, file, evaluation), scored)
            yield file.name, self._result(draft, draft.card, scored, evaluation)

    def _result(
        self, draft: Draft, card: ModelCard, outputs: Outputs, evaluation: Evaluation
    ) -> ScoringResult | SwapbenchError:
        """The error rates of these outputs; the scores of every frame are kept beside the records."""
        from swapbench.pad.score_files import write_score_file

        plan = self.setup.plan
        try:
            folds = scored_folds(draft.artifact, card, outputs, evaluation, self.crops)
            accuracy = evaluation.accuracy(
                folds,
                outputs,
                card.preprocessing,
                self.crops[card.preprocessing],
                confidence=plan.confidence,
                seed=plan.seed,
            )
            write_score_file(store.scores_path(self.folder, draft.id), folds, evaluation.data)
        except NotValid as error:  # an overflowing file: its speed and weight are still worth a record
            return ScoringResult(Absent(absent=error.args[0], remedy=error.remedy))
        except SwapbenchError as error:
            return error
        if self.setup.desktop is None:
            return ScoringResult(accuracy)
        return ScoringResult(
            accuracy, self._device_parity(draft, card, folds, evaluation, self.setup.desktop)
        )

    def _device_parity(
        self,
        draft: Draft,
        card: ModelCard,
        folds: tuple[FoldFrames, ...],
        evaluation: Evaluation,
        desktop: Desktop,
    ) -> Parity | Absent:
        """How far these scores are from this computer's of the same file; Absent where it cannot score it."""
        samples, normalise = self.crops[card.preprocessing].path, normalise_json(card.preprocessing)
        runtime = draft.runtime.runtime
        try:
            key = desktop.key(draft.artifact_sha256, runtime, samples, normalise)
            path = evaluation.cache / "scores" / f"{key}.json"
            outputs = _cached_outputs(path)
            if outputs is None:
                file = self.models[draft.id].path
                outputs = desktop.outputs(file, runtime, samples, normalise, self.setup.plan)
                _cache_outputs(path, outputs)
            reference = scored_folds(draft.artifact, card, outputs, evaluation, self.crops)
            return device_parity(reference, folds, draft.variant.precision)
        except SwapbenchError as error:
            return Absent(absent=f"this computer cannot score the file: {error.args[0]}", remedy=error.remedy)

    def _path(self, draft: Draft, card: ModelCard, file: FileUnderTest, evaluation: Evaluation) -> Path:
        """Where the outputs of this file under this runtime for these samples are cached."""
        about = {
            "artifact": draft.artifact_sha256,
            "runtime": draft.runtime.model_dump(mode="json"),
            "device": draft.machine.name,
            "samples": self.crops[card.preprocessing].path.name,
            "normalise": file.options["normalise"],
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
    """Scores of every frame of every fold, from the raw outputs of a file.

    Raises:
        BadModelFile: the file does not give one output for each image.
        BadDataset, NotValid: as `Evaluation.fold_frames` raises them.
    """
    if len(outputs.rows) != len(evaluation.samples):
        raise BadModelFile(
            f"{artifact} gave {len(outputs.rows)} scores for {len(evaluation.samples)} images",
            remedy="Export it again with a batch size of 1",
        )
    return evaluation.fold_frames(outputs, card.output, crops[card.preprocessing].failures)


def _cache_outputs(path: Path, outputs: Outputs) -> None:
    content = {"invoke_ns": outputs.invoke_ns, "pass_ns": outputs.pass_ns, "rows": outputs.rows}
    write_atomically(path, json.dumps(content) + "\n")


def _cached_outputs(path: Path) -> Outputs | None:
    """Outputs of an earlier scoring pass; None where there are none, or they are damaged."""
    try:
        content = json.loads(path.read_bytes())
        rows = tuple(tuple(row) for row in content["rows"])
        return Outputs(rows, content["invoke_ns"], content["pass_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
