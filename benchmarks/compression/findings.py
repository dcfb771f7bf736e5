"""From the kept records to reports/compression/README.md: every figure in it is computed here from them."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.compression.measuring import KEPT
from benchmarks.compression.trainings import (
    ARMS,
    DOMAINS,
    RANK_DOMAIN,
    RANKED,
    ROOT,
    STUDENT,
    TEACHER,
    UNPRUNED,
    fold,
    ranked_rows,
)  # fmt: skip
from swapbench import stats, store, units
from swapbench.cards import read_card
from swapbench.report.columns import COLUMNS
from swapbench.report.draws import Evidence, draws_of
from swapbench.report.references import compared_rows
from swapbench.report.summary import Row, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DRAWS, SEED = 10_000, 0


@dataclass(frozen=True)
class Study:
    """Rows of some kept runs with draws of their ACER (people of the test set drawn again, the same for every row)."""

    rows: tuple[Row, ...]
    acer: dict[tuple[str, str], NDArray[np.float64]]

    def draws(self, row: Row) -> NDArray[np.float64]:
        return self.acer[row.run, row.record_id]


def read(folders: Iterable[Path]) -> Study:
    found, where, rows = [], {}, []
    for folder in folders:
        records = store.load_run(folder)
        found += records
        where |= {(one.run, one.id): folder for one in records}
        rows += compared_rows([summary(one) for one in records])[0]
    evidence = Evidence.of(found, lambda one: store.scores_path(where[one.run, one.id], one.id))
    drawn = draws_of(rows, COLUMNS["acer"], evidence, draws=DRAWS, seed=SEED)
    return Study(
        tuple(rows),
        {(row.run, row.record_id): values for row, values in zip(rows, drawn.values, strict=True)},
    )


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    said = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in said)


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def interval(draws: NDArray[np.float64], scale: float = 100.0, digits: int = 1) -> str:
    low, high = np.quantile(draws, (0.025, 0.975)) * scale
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def points(draws: NDArray[np.float64], value: float) -> str:
    return f"{100 * value:+.1f} {interval(draws)}"


def one(rows: Iterable[Row], **wanted: str | None) -> Row:
    (found,) = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    return found


# ---- a and b: students ----


def students(folders: Sequence[Path]) -> str:
    study = read(folders)
    heads = (
        "seed", "network", "file", "params", "median latency", "times faster", "ACER", "1 - ACER kept", "error ratio", "AUC",
    )  # fmt: skip
    lines = []
    for row in study.rows:
        ratio = row.relative
        lines.append((
            row.run.rpartition("seed")[2], row.model, f"{row.precision} {row.format}, {row.runtime}", units.count(row.params or 0),
            f"{(row.latency_p50_ns or 0) / 1e6:.2f} ms",
            "" if ratio is None or ratio.speed_up is None else f"{ratio.speed_up:.1f}",
            f"{percent(row.acer or 0)} {interval(study.draws(row))}",
            "" if ratio is None or ratio.accuracy_kept is None else percent(ratio.accuracy_kept),
            "" if ratio is None or ratio.error_ratio is None else f"{ratio.error_ratio:.2f}",
            f"{row.auc or 0:.4f}",
        ))  # fmt: skip
    return "\n\n".join(
        [table(heads, lines), distilled_against_teacher(study), distilled_against_alone(study)]
    )


def distilled_against_teacher(study: Study) -> str:
    lines = []
    for file_format, runtime in (("onnx", "onnxruntime"), ("tflite", "litert")):
        for precision in ("fp32", "int8"):
            kept, ratios, speed_ups = [], [], []
            for run in sorted({row.run for row in study.rows}):
                mine = [
                    row
                    for row in study.rows
                    if row.run == run and row.runtime == runtime and row.format == file_format
                ]
                teacher = one(mine, net=TEACHER, precision="fp32")
                student = one(mine, net=STUDENT, recipe="distill", precision=precision)
                kept.append((1 - study.draws(student)) / (1 - study.draws(teacher)))
                ratios.append(
                    (
                        (1 - (student.acer or 0)) / (1 - (teacher.acer or 0)),
                        (student.acer or 0) / (teacher.acer or 1),
                    )
                )
                if student.relative is not None and student.relative.speed_up is not None:
                    speed_ups.append(student.relative.speed_up)
            accuracy = statistics.mean(value for value, _ in ratios)
            errors = statistics.mean(value for _, value in ratios)
            params = one(mine, net=STUDENT, recipe="distill", precision=precision).params or 0
            faster = f"{min(speed_ups):.1f} to {max(speed_ups):.1f}" if speed_ups else "not measured"
            lines.append((
                f"{precision} {file_format}, {runtime}", str(len(kept)), units.count(params), faster,
                f"{percent(accuracy)} {interval(np.mean(kept, axis=0))}", f"{errors:.2f}",
            ))  # fmt: skip
    heads = (
        "distilled student",
        "seeds",
        "params",
        "times faster than the fp32 teacher",
        "1 - ACER kept, mean of the seeds",
        "error ratio",
    )
    return table(heads, lines)


def distilled_against_alone(study: Study) -> str:
    lines, differences, drawn = [], [], []
    for run in sorted({row.run for row in study.rows}):
        mine = [
            row
            for row in study.rows
            if row.run == run and row.runtime == "onnxruntime" and row.precision == "fp32"
        ]
        alone, taught = one(mine, net=STUDENT, recipe=None), one(mine, net=STUDENT, recipe="distill")
        difference = (taught.acer or 0) - (alone.acer or 0)
        draws = study.draws(taught) - study.draws(alone)
        differences.append(difference)
        drawn.append(draws)
        lines.append((
            run.rpartition("seed")[2], percent(alone.acer or 0), percent(taught.acer or 0), points(draws, difference),
            f"{alone.auc or 0:.4f}", f"{taught.auc or 0:.4f}",
        ))  # fmt: skip
    mean = statistics.mean(differences)
    lines.append(("mean", "", "", points(np.mean(drawn, axis=0), mean), "", ""))
    return table(
        ("seed", "ACER alone", "ACER distilled", "difference, points", "AUC alone", "AUC distilled"), lines
    )


# ---- c: domains that were never seen ----


def unseen(folders: Sequence[Path]) -> str:
    study = read(folders)
    by_arm: dict[str, dict[str, list[Row]]] = {arm: {domain: [] for domain in DOMAINS} for arm in ARMS}
    for row in study.rows:
        domain = (row.protocol or "").rpartition(":")[2]
        by_arm[(row.recipe or "").removesuffix("-40M")][domain].append(row)
    whole = {arm: found for arm, found in by_arm.items() if all(found.values())}
    means = {arm: _mean_draws(study, found) for arm, found in whole.items()}
    values = {arm: _mean(found, "acer") for arm, found in whole.items()}
    lines = []
    for arm, found in whole.items():
        rows = list(itertools.chain.from_iterable(found.values()))
        spread = [
            statistics.stdev([row.acer or 0 for row in same]) for same in found.values() if len(same) > 1
        ]
        against = (
            ""
            if arm == "uniform" or "uniform" not in whole
            else points(means[arm] - means["uniform"], values[arm] - values["uniform"])
        )
        lines.append((
            arm, str(len(rows)), f"{min(row.macs or 0 for row in rows) / 1e6:.1f} to {max(row.macs or 0 for row in rows) / 1e6:.1f} M",
            *(percent(statistics.mean(row.acer or 0 for row in found[domain])) for domain in DOMAINS),
            f"{percent(values[arm])} {interval(means[arm])}", against,
            f"{100 * statistics.mean(spread):.1f}" if spread else "", f"{_mean(found, 'auc'):.4f}",
        ))  # fmt: skip
    heads = (
        "arm", "networks", "MACs", *(f"ACER on {domain}" for domain in DOMAINS), "mean", "against uniform, points",
        "sd over seeds, points", "AUC",
    )  # fmt: skip
    return table(heads, lines)


def _mean(found: dict[str, list[Row]], name: str) -> float:
    return statistics.mean(
        statistics.mean(getattr(row, name) or 0.0 for row in rows) for rows in found.values()
    )


def _mean_draws(study: Study, found: dict[str, list[Row]]) -> NDArray[np.float64]:
    return np.mean([np.mean([study.draws(row) for row in rows], axis=0) for rows in found.values()], axis=0)


# ---- rank ----


def rank(folder: Path) -> str:
    rows = {row.recipe: row for row in read([folder]).rows}
    history = (
        KEPT
        / "trainings"
        / "unseen"
        / f"without-{RANK_DOMAIN}-seed1"
        / f"{UNPRUNED}.metapruning-40M.search.csv"
    )
    lines, fitness, losses, aucs = [], [], [], []
    for number, structure in enumerate(ranked_rows(history)):
        row = rows[f"rank{number}-40M"]
        card = read_card(KEPT / "trainings" / "rank" / f"{UNPRUNED}.rank{number}-40M.toml")
        assert card.training is not None
        fitness.append(float(structure["fitness"]))
        losses.append(card.training.dev_results["loss"])
        aucs.append(row.auc or 0.0)
        lines.append(
            (
                str(number),
                f"{fitness[-1]:.4f}",
                f"{losses[-1]:.4f}",
                percent(row.acer or 0),
                f"{aucs[-1]:.4f}",
            )
        )
    heads = (
        "structure",
        "fitness (loss with generated weights)",
        "loss after training, development",
        f"ACER on {RANK_DOMAIN}",
        f"AUC on {RANK_DOMAIN}",
    )
    said = [
        f"Spearman's rank correlation of fitness with {name}: {_correlation(fitness, values)}."
        for name, values in (
            ("the loss after training", losses),
            (f"1 - AUC on {RANK_DOMAIN}", [1 - auc for auc in aucs]),
        )
    ]
    return "\n\n".join([table(heads, lines), " ".join(said)])


def _correlation(first: Sequence[float], second: Sequence[float]) -> str:
    rho = stats.spearman(first, second)
    if rho is None:
        return "not defined"
    others = [stats.spearman(first, again) or 0.0 for again in itertools.permutations(second)]
    p = sum(abs(other) >= abs(rho) - 1e-12 for other in others) / len(others)
    return f"{rho:+.2f} (n = {len(first)}, exact permutation p = {p:.2f})"


# ---- the report ----


def schedules() -> str:
    """Which commands made the networks, from their cards."""
    lines = []
    for path in sorted((KEPT / "trainings").rglob("*.toml")):
        card = read_card(path)
        assert card.training is not None
        done = card.training
        lines.append(
            (
                str(path.parent.relative_to(KEPT / "trainings")),
                path.stem,
                f"`{done.command}`",
                f"{done.seconds / 60:.0f} min",
                done.machine,
            )
        )
    return table(("folder", "network", "command", "time", "machine"), lines)


def write() -> None:
    """Write reports/compression/tables.md: what reports/compression/README.md quotes."""
    parts = [
        "# Compression: tables",
        "Written by `python -m benchmarks.compression report` from the records beside it. All data are **simulated**.",
        f"Intervals: 95 %, {DRAWS} times the people of the test set drawn again, the same for every network; seeds are averaged, not drawn.",
    ]
    if found := sorted(KEPT.glob("students-seed*")):
        parts += ["## Teacher and students", students(found)]
    if found := sorted(KEPT.glob("without-*")):
        parts += [
            f"## At 40 M MACs, on a domain that was never seen (protocols {', '.join(map(fold, DOMAINS))})",
            unseen(found),
        ]
    if (KEPT / "rank").is_dir():
        parts += [
            f"## Is the PruningNet's fitness worth anything? {RANKED} structures of one search",
            rank(KEPT / "rank"),
        ]
    parts += ["## How each network was made", schedules()]
    target = KEPT / "tables.md"
    target.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(target.relative_to(ROOT))
