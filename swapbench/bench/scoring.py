"""The scoring pass: raw outputs of files, kept from an earlier run or measured now, and their error rates.

Outputs are cached by the digests of file, runtime and data, so that a file is scored once on a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench import store
from swapbench.bench.card_fit import outputs_option
from swapbench.bench.desktop_agreement import device_parity
from swapbench.bench.output_cache import cache_key, keep_outputs, kept_outputs
from swapbench.bench.outputs import measure_scores
from swapbench.bench.series import file_to_score, read_digests
from swapbench.bench.workers import normalise_json
from swapbench.errors import BadModelFile, EnvironmentFailed, SwapbenchError, UserError
from swapbench.pad.raw_outputs import output_doubts
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
    from swapbench.ports import Outputs
    from swapbench.records import Accuracy, Doubt, ModelCard, Parity, Preprocessing

NO_DATA: Final = Absent(
    absent="there were no labelled images to score",
    remedy="Give a dataset, or a folder of live/ and spoof/ images, with --data",
)
NO_CARD: Final = Absent(
    absent="the file has no model card, so its input and output are not known",
    remedy="`swapbench inspect FILE` shows what a card must say, `swapbench card FILE --data FOLDER` finds"
    " one on labelled images; give it with --card",
)


def of_a_part(card: ModelCard) -> Absent:
    """Why a part of a network has no error rates, though its scores in series with the others are kept."""
    assert card.reads is not None
    return Absent(
        absent=f"it is a part of a network and decides nothing without {card.reads.card}",
        remedy="Let the parts decide together: swapbench system cascade PART_1 PART_2",
    )


@dataclass(frozen=True)
class ScoringResult:
    """What the scores of a file give.

    Attributes:
        accuracy: its error rates, or why it has none.
        device_parity: how far its scores are from this computer's, where they were compared.
        doubts: what the outputs say against the card.
        failure: what a person can correct where there is no accuracy for it; None otherwise.
    """

    accuracy: Accuracy | Absent
    device_parity: Parity | Absent = NOT_ELSEWHERE
    doubts: tuple[Doubt, ...] = ()
    failure: UserError | None = None


@dataclass(frozen=True)
class ScoringPass:
    """Scores every file of a run that has a card, where there is data.

    Attributes:
        setup: the run's.
        crops: the data, prepared as each card asks for.
        folder: the run's; the scores of every frame are kept there.
        models: the files, by record id.
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
        files = {
            name: file_to_score(self.models[name], files[name], self.setup.device, self.crops)
            for name in drafts
        }
        for name, draft in drafts.items():
            unscored = self.models[name].unscored
            if unscored is not None:
                yield name, ScoringResult(unscored)
            elif draft.card is None:
                yield name, ScoringResult(NO_CARD)
            elif evaluation is None:
                yield name, ScoringResult(NO_DATA)
            else:
                outputs = kept_outputs(self._path(draft, draft.card, files[name], evaluation))
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
            keep_outputs(self._path(draft, draft.card, file, evaluation), scored)
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
            if card.reads is not None:
                return ScoringResult(of_a_part(card), doubts=output_doubts(outputs.rows, card.output))
        except EnvironmentFailed as error:  # another attempt may succeed
            return error
        except SwapbenchError as error:  # its speed and weight are still worth a record
            absent = Absent(absent=error.args[0], remedy=error.remedy)
            return ScoringResult(absent, failure=error if isinstance(error, UserError) else None)
        doubts = output_doubts(outputs.rows, card.output)
        if self.setup.desktop is None:
            return ScoringResult(accuracy, doubts=doubts)
        agreement = self._device_parity(draft, card, folds, evaluation, self.setup.desktop)
        return ScoringResult(accuracy, agreement, doubts)

    def _device_parity(
        self,
        draft: Draft,
        card: ModelCard,
        folds: tuple[FoldFrames, ...],
        evaluation: Evaluation,
        desktop: Desktop,
    ) -> Parity | Absent:
        """How far these scores are from this computer's of the same file; Absent where it cannot score it."""
        samples, runtime = self.crops[card.preprocessing].path, draft.runtime.runtime
        model = self.models[draft.id]
        try:
            told = {"normalise": normalise_json(card.preprocessing), **outputs_option(card, model.graph)}
            key = desktop.key(draft.artifact_sha256, runtime, samples, told)
            path = evaluation.cache / "scores" / f"{key}.json"
            outputs = kept_outputs(path)
            if outputs is None:
                outputs = desktop.outputs(model, runtime, samples, told, self.setup.plan)
                keep_outputs(path, outputs)
            reference = scored_folds(draft.artifact, card, outputs, evaluation, self.crops)
            return device_parity(reference, folds, draft.variant.precision, card.output)
        except SwapbenchError as error:
            return Absent(absent=f"this computer cannot score the file: {error.args[0]}", remedy=error.remedy)

    def _path(self, draft: Draft, card: ModelCard, file: FileUnderTest, evaluation: Evaluation) -> Path:
        """Where the outputs of this file under this runtime for these samples are cached."""
        about: dict[str, object] = {
            "samples": self.crops[card.preprocessing].path.name,
            "normalise": file.options["normalise"],
        }
        if self.models[draft.id].before:
            about["reads"] = read_digests(self.models[draft.id])
        if "outputs" in file.options:
            about["outputs"] = file.options["outputs"]
        return evaluation.cache / "scores" / f"{cache_key(draft, about)}.json"


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
        BadCard, NotValid: as `Evaluation.fold_frames` raises them.
    """
    if len(outputs.rows) != len(evaluation.samples):
        raise BadModelFile(
            f"{artifact} gave {len(outputs.rows)} scores for {len(evaluation.samples)} images",
            remedy="Export it again with a batch size of 1",
        )
    return evaluation.fold_frames(outputs, card.output, crops[card.preprocessing].failures)
