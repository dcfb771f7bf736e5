"""swapbench's own runs of what was trained; their records are kept in reports/compression."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.compression.trainings import ARMS, DOMAINS, RANK_DOMAIN, ROOT, TEACHER, Trained, fold, trained
from swapbench import store
from swapbench.cards import read_card

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KEPT = ROOT / "reports" / "compression"
_KEPT_OF_A_RUN = ("records", "scores", "parity.json", "run.json")  # the last says that all are there


@dataclass(frozen=True)
class Measurement:
    """One `swapbench run`: which cards, with which options, and the name of the folder that is kept."""

    name: str
    cards: tuple[Path, ...]
    options: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether the kept records are of exactly these checkpoints. Only finished runs are kept."""
        folder = KEPT / self.name
        if not (folder / "run.json").is_file():
            return False
        measured = {
            record.card.checkpoint_sha256 for record in store.load_run(folder) if record.card is not None
        }
        return {read_card(card).checkpoint_sha256 for card in self.cards} <= measured

    def run(self) -> int:
        """Measure, and keep the records; swapbench's exit status (3: with doubts, which the records hold)."""
        run_name = f"compression-{self.name}"
        models = [*self.beside, *(str(card.relative_to(ROOT)) for card in self.cards)]
        command = [sys.executable, "-m", "swapbench", "run", "--name", run_name, "--replace", *self.options]
        command += [text for model in models for text in ("--models", model)]
        print(*command[2:], flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status in {0, 3}:
            target = KEPT / self.name
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for name in _KEPT_OF_A_RUN:
                source = ROOT / "reports" / run_name / name
                if source.is_dir():
                    shutil.copytree(source, target / name)
                elif source.is_file():
                    shutil.copy2(source, target)
        return status


def measurements(study: str) -> Iterator[Measurement]:
    """Those of a study, of what it has trained."""
    every = list(trained(study))
    if study == "students":
        for seed in sorted({one.seed for one in every}):
            cards = tuple(one.card for one in every if one.seed == seed)
            options = ("--precision", "fp32", "--precision", "int8")
            yield Measurement(f"students-seed{seed}", cards, options, (TEACHER,))
        return
    files = ("--format", "onnx", "--precision", "fp32", "--runtime", "onnxruntime")
    if study == "rank":
        yield Measurement("rank", tuple(one.card for one in every), (*files, "--protocol", fold(RANK_DOMAIN)))
        return
    for domain in DOMAINS:
        for seed in sorted({one.seed for one in every}):
            cards = tuple(
                one.card for one in every if one.arm in ARMS and (one.domain, one.seed) == (domain, seed)
            )
            yield Measurement(f"without-{domain}-seed{seed}", cards, (*files, "--protocol", fold(domain)))


def kept_folder(study: str, one: Trained) -> Path:
    """Where the card, the curve and the search history of a training are kept."""
    kept = KEPT / "trainings" / study
    if study == "rank":
        return kept
    return kept / (f"without-{one.domain}-seed{one.seed}" if one.domain else f"seed{one.seed}")


def measure(studies: Sequence[str], *, missing: bool) -> int:
    """Run all measurements of these studies; keep curves, cards and search histories of the trainings.

    Args:
        studies: names.
        missing: leave out those whose records are kept already.

    Returns:
        The worst exit status; 4 where nothing is trained yet.
    """
    worst = 0
    for study in studies:
        every = [measurement for measurement in measurements(study) if measurement.cards]
        if not every:
            print(f"{study}: nothing is trained yet", file=sys.stderr)
            worst = 4
        for measurement in every:
            if not (missing and measurement.is_kept):
                status = measurement.run()
                worst = max(worst, status if status not in {0, 3} else 0)
        for one in trained(study):
            target = kept_folder(study, one)
            target.mkdir(parents=True, exist_ok=True)
            for suffix in (".toml", ".curve.csv", ".search.csv"):
                if one.card.with_suffix(suffix).is_file():
                    shutil.copy2(one.card.with_suffix(suffix), target)
    return worst
