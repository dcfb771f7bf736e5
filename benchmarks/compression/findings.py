"""From the kept records to reports/compression/README.md: every figure in it is computed here from them."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.compression import figures
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
from swapbench.report.choose.resampling import Evidence, draws_of
from swapbench.report.figures import draw as draw_figure
from swapbench.report.rows.references import compared_rows
from swapbench.report.rows.summary import Row, summary
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.table import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.report.figures import Drawing

DRAWS, SEED = 10_000, 0
QUESTIONS = (
    ("metapruning", "uniform", "what the search brings"),
    ("metammd", "metapruning", "what the discrepancy brings"),
    ("metammd_search", "metapruning", "in the fitness"),
    ("metammd_training", "metapruning", "in the losses"),
    ("uniform_mmd", "uniform", "in the losses, without any search"),
    ("metammd", "uniform_mmd", "what the search brings, with it"),
)
"""Pairs of arms that differ in one thing."""
HISTORY = (
    KEPT / "trainings" / "unseen" / f"without-{RANK_DOMAIN}-seed1" / f"{UNPRUNED}.metapruning-40M.search.csv"
)


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


def number(row: Row, column: str) -> float:
    """Its number in a column, 0 where there is none."""
    return COLUMNS[column].number(row) or 0.0


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
            row.run.rpartition("seed")[2], row.model, f"{row.precision} {row.format}, {row.runtime}", units.count(number(row, "params")),
            f"{number(row, 'latency_p50') / 1e6:.2f} ms",
            "" if ratio is None or ratio.speed_up is None else f"{ratio.speed_up:.1f}",
            f"{percent(number(row, 'acer'))} {interval(study.draws(row))}",
            "" if ratio is None or ratio.accuracy_kept is None else percent(ratio.accuracy_kept),
            "" if ratio is None or ratio.error_ratio is None else f"{ratio.error_ratio:.2f}",
            f"{number(row, 'auc'):.4f}",
        ))  # fmt: skip
    return "\n\n".join(
        [table(heads, lines), distilled_against_teacher(study), distilled_against_alone(study)]
    )


def pareto(folder: Path) -> Drawing:
    """Speed and error of one run's files."""
    records = store.load_run(folder)
    evidence = Evidence.of(records, lambda one: store.scores_path(folder, one.id))
    return draw_figure("pareto", table_of(records), evidence)


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
                        (1 - number(student, "acer")) / (1 - number(teacher, "acer")),
                        number(student, "acer") / (number(teacher, "acer") or 1),
                    )
                )
                if student.relative is not None and student.relative.speed_up is not None:
                    speed_ups.append(student.relative.speed_up)
            accuracy = statistics.mean(value for value, _ in ratios)
            errors = statistics.mean(value for _, value in ratios)
            params = number(one(mine, net=STUDENT, recipe="distill", precision=precision), "params")
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
        difference = number(taught, "acer") - number(alone, "acer")
        draws = study.draws(taught) - study.draws(alone)
        differences.append(difference)
        drawn.append(draws)
        lines.append((
            run.rpartition("seed")[2], percent(number(alone, "acer")), percent(number(taught, "acer")), points(draws, difference),
            f"{number(alone, 'auc'):.4f}", f"{number(taught, 'auc'):.4f}",
        ))  # fmt: skip
    mean = statistics.mean(differences)
    lines.append(("mean", "", "", points(np.mean(drawn, axis=0), mean), "", ""))
    return table(
        ("seed", "ACER alone", "ACER distilled", "difference, points", "AUC alone", "AUC distilled"), lines
    )


# ---- c: domains that were never seen ----


@dataclass(frozen=True)
class Arm:
    """One way to 40 M MACs: its networks by the domain that they never saw; draws of its ACER, meaned over seeds and domains."""

    name: str
    rows: dict[str, list[Row]]
    draws: NDArray[np.float64]

    @property
    def every(self) -> list[Row]:
        """All its networks."""
        return list(itertools.chain.from_iterable(self.rows.values()))

    def on(self, domain: str, column: str = "acer") -> float:
        """Mean of the seeds on one domain."""
        return statistics.mean(number(row, column) for row in self.rows[domain])

    def mean(self, column: str = "acer") -> float:
        """Mean of the domains' means."""
        return statistics.mean(self.on(domain, column) for domain in self.rows)


def arms(folders: Sequence[Path]) -> dict[str, Arm]:
    """Those that have a network for every domain, in the order of ARMS."""
    study = read(folders)
    found: dict[str, dict[str, list[Row]]] = {arm: {domain: [] for domain in DOMAINS} for arm in ARMS}
    for row in study.rows:
        unseen_domain = (row.conditions.protocol or "").rpartition(" ")[2]  # of "A+B+C to D"
        found[(row.recipe or "").removesuffix("-40M")][unseen_domain].append(row)
    return {
        name: Arm(
            name,
            rows,
            np.mean([np.mean([study.draws(row) for row in same], axis=0) for same in rows.values()], axis=0),
        )
        for name, rows in found.items()
        if all(rows.values())
    }


def unseen(found: dict[str, Arm]) -> str:
    lines = []
    uniform = found.get("uniform")
    for arm in found.values():
        macs = [number(row, "macs") for row in arm.every]
        times = [] if uniform is None else latency_ratios(arm, uniform)
        spread = [
            statistics.stdev([number(row, "acer") for row in same])
            for same in arm.rows.values()
            if len(same) > 1
        ]
        against = (
            ""
            if uniform is None or arm is uniform
            else points(arm.draws - uniform.draws, arm.mean() - uniform.mean())
        )
        lines.append((
            arm.name, str(len(arm.every)), f"{min(macs) / 1e6:.1f} to {max(macs) / 1e6:.1f} M",
            f"{statistics.median(times):.2f} [{min(times):.2f}, {max(times):.2f}]" if times else "not measured",
            *(percent(arm.on(domain)) for domain in DOMAINS),
            f"{percent(arm.mean())} {interval(arm.draws)}", against,
            f"{100 * statistics.mean(spread):.1f}" if spread else "", f"{arm.mean('auc'):.4f}",
        ))  # fmt: skip
    heads = (
        "arm", "networks", "MACs", "latency, times uniform's", *(f"ACER on {domain}" for domain in DOMAINS), "mean", "against uniform, points",
        "sd over seeds, points", "AUC",
    )  # fmt: skip
    return table(heads, lines)


def pairs(first: Arm, second: Arm) -> list[tuple[Row, Row]]:
    """Their networks of the same run: the same unseen domain, seed and sitting."""
    others = {row.run: row for row in second.every}
    return [(row, others[row.run]) for row in first.every if row.run in others]


def latency_ratios(arm: Arm, uniform: Arm) -> list[float]:
    """Of every run, because how busy the machine was differs between them."""
    return [
        mine.speed.p50_ns / other.speed.p50_ns
        for mine, other in pairs(arm, uniform)
        if mine.speed is not None and other.speed is not None
    ]


def questions(found: dict[str, Arm]) -> str:
    """What each ingredient changes, from arms that differ in nothing else."""
    lines = []
    for first, second, what in QUESTIONS:
        if first not in found or second not in found:
            continue
        arm, other = found[first], found[second]
        both = pairs(arm, other)
        higher = sum(number(mine, "auc") > number(theirs, "auc") for mine, theirs in both)
        lines.append((
            what, first, second, points(arm.draws - other.draws, arm.mean() - other.mean()),
            f"{arm.mean('auc') - other.mean('auc'):+.3f}", f"{higher} of {len(both)}",
        ))  # fmt: skip
    heads = ("question", "arm", "against", "ACER, points", "AUC", "AUC is higher in")
    return table(heads, lines)


# ---- rank ----


def rank(folder: Path) -> str:
    rows = {row.recipe: row for row in read([folder]).rows}
    lines, fitness, losses, aucs = [], [], [], []
    for number, structure in enumerate(ranked_rows(HISTORY)):
        row = rows[f"rank{number}-40M"]
        card = read_card(KEPT / "trainings" / "rank" / f"{UNPRUNED}.rank{number}-40M.toml")
        assert card.training is not None
        fitness.append(float(structure["fitness"]))
        losses.append(card.training.dev_results["loss"])
        aucs.append(number(row, "auc"))
        lines.append(
            (
                str(number),
                f"{fitness[-1]:.4f}",
                f"{losses[-1]:.4f}",
                percent(number(row, "acer")),
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
    """Write tables.md and the figures of reports/compression: what its README.md quotes and shows."""
    parts = [
        "# Compression: tables",
        "Written by `python -m benchmarks.compression report` from the records beside it. All data are **simulated**.",
        f"Intervals: 95 %, {DRAWS} times the people of the test set drawn again, the same for every network; seeds are averaged, not drawn.",
    ]
    drawn: dict[str, Drawing] = {}
    if found := sorted(KEPT.glob("students-seed*")):
        parts += ["## Teacher and students", students(found)]
        drawn["pareto"] = pareto(found[0])
    if found := arms(sorted(KEPT.glob("without-*"))):
        parts += [
            f"## At 40 M MACs, on a domain that was never seen (protocols {', '.join(map(fold, DOMAINS))})",
            "metammd is Meta-MMD in our reading, with its control arms: of the thesis that names it only the abstract is public.",
            unseen(found),
            questions(found),
        ]
        drawn["arms"] = figures.arms_figure(found, DOMAINS)
    if HISTORY.is_file():
        drawn["search"] = draw_figure("search", None, history=HISTORY)
    if (KEPT / "rank").is_dir():
        parts += [
            f"## Is the PruningNet's fitness worth anything? {RANKED} structures of one search",
            rank(KEPT / "rank"),
        ]
    parts += ["## How each network was made", schedules()]
    target = KEPT / "tables.md"
    target.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(target.relative_to(ROOT))
    for name, drawing in drawn.items():
        path = KEPT / f"{name}.png"
        path.write_bytes(drawing.files["png"])
        print(path.relative_to(ROOT))
