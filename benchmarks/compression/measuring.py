"""swapbench's own runs of what was trained; their records are kept in reports/compression."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.compression.trainings import (
    ARMS,
    DOMAINS,
    RANK_DOMAIN,
    ROOT,
    STUDENT,
    TEACHER,
    UNPRUNED,
    WORK,
    fold,
    rank,
    students_folder,
    unseen_folder,
)
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


def measurements(study: str, seeds: int) -> Iterator[Measurement]:
    """Those of a study, of the cards that are there."""
    if study == "students":
        for seed in range(1, seeds + 1):
            cards = [students_folder(seed) / f"{stem}.toml" for stem in (STUDENT, f"{STUDENT}.distill")]
            options = ("--precision", "fp32", "--precision", "int8")
            yield Measurement(f"students-seed{seed}", _there(cards), options, (TEACHER,))
        return
    files = ("--format", "onnx", "--precision", "fp32", "--runtime", "onnxruntime")
    if study == "rank":
        options = (*files, "--protocol", fold(RANK_DOMAIN))
        yield Measurement("rank", _there([training.card for training in rank(1)]), options)
        return
    for domain in DOMAINS:
        for seed in range(1, seeds + 1):
            cards = [unseen_folder(domain, seed) / f"{UNPRUNED}.{arm}-40M.toml" for arm in ARMS]
            yield Measurement(
                f"without-{domain}-seed{seed}", _there(cards), (*files, "--protocol", fold(domain))
            )


def _there(cards: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(card for card in cards if card.is_file())


def measure(studies: Sequence[str], seeds: int, *, missing: bool) -> int:
    """Run all measurements of these studies; keep curves, cards and search histories of the trainings.

    Args:
        studies: names.
        seeds: how many.
        missing: leave out those whose records are kept already.

    Returns:
        The worst exit status; 4 where nothing is trained yet.
    """
    worst = 0
    for study in studies:
        for measurement in measurements(study, seeds):
            if not measurement.cards:
                print(f"{measurement.name}: nothing is trained yet", file=sys.stderr)
                worst = 4
                continue
            if not (missing and measurement.is_kept):
                status = measurement.run()
                worst = max(worst, status if status not in {0, 3} else 0)
            for card in measurement.cards:
                target = KEPT / "trainings" / card.parent.relative_to(WORK)
                target.mkdir(parents=True, exist_ok=True)
                for suffix in (".toml", ".curve.csv", ".search.csv"):
                    if card.with_suffix(suffix).is_file():
                        shutil.copy2(card.with_suffix(suffix), target)
    return worst
