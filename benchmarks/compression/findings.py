"""From the kept records to reports/compression/README.md: every figure in it is computed here from them."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.compression import figures
from benchmarks.compression.measuring import KEPT
from benchmarks.compression.studies import DRAWS, Arm, Study, arms, number, only, pairs, read
from benchmarks.compression.trainings import (
    DOMAINS,
    RANK_DOMAIN,
    RANKED,
    ROOT,
    STUDENT,
    TEACHER,
    UNPRUNED,
    fold,
    ranked_rows,
)
from swapbench import stats, store, units
from swapbench.cards import read_card
from swapbench.report.choose.resampling import Evidence
from swapbench.report.figures import Options as FigureOptions
from swapbench.report.figures import draw as draw_figure
from swapbench.report.tables.table import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.report.figures import Drawing

QUESTIONS = (
    ("metapruning", "uniform", "what the search brings"),
    ("metammd", "metapruning", "what the discrepancy brings"),
    ("metammd_search", "metapruning", "in the fitness"),
    ("metammd_training", "metapruning", "in the losses"),
    ("uniform_mmd", "uniform", "in the losses, without any search"),
    ("metammd", "uniform_mmd", "what the search brings, with it"),
)
"""Pairs of arms that differ in one thing."""
WRITTEN_BY = (
    "Written by `python -m benchmarks.compression report` from the records beside it. "
    "All data are **simulated**."
)
INTERVALS = (
    f"Intervals: 95 %, {DRAWS} times the people of the test set drawn again, the same for every network; "
    "seeds are averaged, not drawn."
)
METAMMD = (
    "metammd is Meta-MMD in our reading, with its control arms: "
    "of the thesis that names it only the abstract is public."
)
HISTORY = (
    KEPT / "trainings" / "unseen" / f"without-{RANK_DOMAIN}-seed1" / f"{UNPRUNED}.metapruning-40M.search.csv"
)


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def interval(draws: NDArray[np.float64], scale: float = 100.0, digits: int = 1) -> str:
    low, high = np.quantile(draws, (0.025, 0.975)) * scale
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def points(draws: NDArray[np.float64], value: float) -> str:
    return f"{100 * value:+.1f} {interval(draws)}"


# ---- a and b: students ----


def students(folders: Sequence[Path]) -> str:
    study = read(folders)
    heads = (
        "seed",
        "network",
        "file",
        "params",
        "median latency",
        "times faster",
        "ACER",
        "1 - ACER kept",
        "error ratio",
        "AUC",
    )
    lines = []
    for row in study.rows:
        ratio = row.relative
        lines.append(
            (
                row.run.rpartition("seed")[2],
                row.model,
                f"{row.precision} {row.format}, {row.runtime}",
                units.count(round(number(row, "params"))),
                f"{number(row, 'latency_p50') / 1e6:.2f} ms",
                "" if ratio is None or ratio.speed_up is None else f"{ratio.speed_up:.1f}",
                f"{percent(number(row, 'acer'))} {interval(study.draws(row))}",
                "" if ratio is None or ratio.accuracy_kept is None else percent(ratio.accuracy_kept),
                "" if ratio is None or ratio.error_ratio is None else f"{ratio.error_ratio:.2f}",
                f"{number(row, 'auc'):.4f}",
            )
        )
    return "\n\n".join(
        [table(heads, lines), distilled_against_teacher(study), distilled_against_alone(study)]
    )


def pareto(folder: Path) -> Drawing:
    """Speed and error of one run's files."""
    records = store.load_run(folder)
    evidence = Evidence.of(records, lambda record: store.scores_path(folder, record.id))
    return draw_figure("pareto", table_of(records), evidence)


def distilled_against_teacher(study: Study) -> str:
    lines = []
    for file_format, runtime in (("onnx", "onnxruntime"), ("tflite", "litert")):
        for precision in ("fp32", "int8"):
            kept_accuracy, ratios, speed_ups = [], [], []
            for run in sorted({row.run for row in study.rows}):
                mine = [
                    row
                    for row in study.rows
                    if row.run == run and row.runtime == runtime and row.format == file_format
                ]
                teacher = only(mine, net=TEACHER, precision="fp32")
                student = only(mine, net=STUDENT, recipe="distill", precision=precision)
                kept_accuracy.append((1 - study.draws(student)) / (1 - study.draws(teacher)))
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
            params = number(only(mine, net=STUDENT, recipe="distill", precision=precision), "params")
            faster = f"{min(speed_ups):.1f} to {max(speed_ups):.1f}" if speed_ups else "not measured"
            lines.append(
                (
                    f"{precision} {file_format}, {runtime}",
                    str(len(kept_accuracy)),
                    units.count(params),
                    faster,
                    f"{percent(accuracy)} {interval(np.mean(kept_accuracy, axis=0))}",
                    f"{errors:.2f}",
                )
            )
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
        alone, taught = only(mine, net=STUDENT, recipe=None), only(mine, net=STUDENT, recipe="distill")
        difference = number(taught, "acer") - number(alone, "acer")
        draws = study.draws(taught) - study.draws(alone)
        differences.append(difference)
        drawn.append(draws)
        lines.append(
            (
                run.rpartition("seed")[2],
                percent(number(alone, "acer")),
                percent(number(taught, "acer")),
                points(draws, difference),
                f"{number(alone, 'auc'):.4f}",
                f"{number(taught, 'auc'):.4f}",
            )
        )
    mean = statistics.mean(differences)
    lines.append(("mean", "", "", points(np.mean(drawn, axis=0), mean), "", ""))
    return table(
        ("seed", "ACER alone", "ACER distilled", "difference, points", "AUC alone", "AUC distilled"), lines
    )


# ---- c: domains that were never seen ----


def unseen(by_name: dict[str, Arm]) -> str:
    lines = []
    uniform = by_name.get("uniform")
    for arm in by_name.values():
        macs = [number(row, "macs") for row in arm.every]
        times = [] if uniform is None else latency_ratios(arm, uniform)
        spread = [
            statistics.variance([number(row, "acer") for row in seeds])
            for seeds in arm.rows.values()
            if len(seeds) > 1
        ]
        against = (
            ""
            if uniform is None or arm is uniform
            else points(arm.draws - uniform.draws, arm.mean() - uniform.mean())
        )
        lines.append(
            (
                arm.name,
                str(len(arm.every)),
                f"{min(macs) / 1e6:.1f} to {max(macs) / 1e6:.1f} M",
                f"{statistics.median(times):.2f} [{min(times):.2f}, {max(times):.2f}]"
                if times
                else "not measured",
                *(percent(arm.on(domain)) for domain in DOMAINS),
                f"{percent(arm.mean())} {interval(arm.draws)}",
                against,
                f"{100 * statistics.mean(spread) ** 0.5:.1f}" if spread else "",  # of the domains' variances
                f"{arm.mean('auc'):.4f}",
            )
        )
    heads = (
        "arm",
        "networks",
        "MACs",
        "latency, times uniform's",
        *(f"ACER on {domain}" for domain in DOMAINS),
        "mean",
        "against uniform, points",
        "sd over seeds, points",
        "AUC",
    )
    return table(heads, lines)


def latency_ratios(arm: Arm, uniform: Arm) -> list[float]:
    """Of every run, because how busy the machine was differs between them."""
    return [
        mine.speed.p50_ns / other.speed.p50_ns
        for mine, other in pairs(arm, uniform)
        if mine.speed is not None and other.speed is not None
    ]


def questions(by_name: dict[str, Arm]) -> str:
    """What each ingredient changes, from arms that differ in nothing else."""
    lines = []
    for first, second, what in QUESTIONS:
        if first not in by_name or second not in by_name:
            continue
        arm, other = by_name[first], by_name[second]
        both = pairs(arm, other)
        higher = sum(number(mine, "auc") > number(theirs, "auc") for mine, theirs in both)
        lines.append(
            (
                what,
                first,
                second,
                points(arm.draws - other.draws, arm.mean() - other.mean()),
                over_pairs([number(mine, "acer") - number(theirs, "acer") for mine, theirs in both]),
                f"{arm.mean('auc') - other.mean('auc'):+.3f}",
                f"{higher} of {len(both)}",
            )
        )
    heads = (
        "question",
        "arm",
        "against",
        "ACER, points, people drawn again",
        "over pairs, 95 %",
        "AUC",
        "AUC is higher in",
    )
    return table(heads, lines)


def over_pairs(differences: Sequence[float]) -> str:
    """The mean difference with what domains and seeds leave open: Student's t over the pairs."""
    if len(differences) < 2:
        return ""
    error = statistics.stdev(differences) / len(differences) ** 0.5
    reach = stats.t_quantile(0.975, len(differences) - 1) * error
    return f"{100 * statistics.mean(differences):+.1f} ± {100 * reach:.1f}"


# ---- rank ----


def rank(folder: Path) -> str:
    rows = {row.recipe: row for row in read([folder]).rows}
    lines, fitness, losses, aucs = [], [], [], []
    for place, structure in enumerate(ranked_rows(HISTORY)):
        row = rows[f"rank{place}-40M"]
        card = read_card(KEPT / "trainings" / "rank" / f"{UNPRUNED}.rank{place}-40M.toml")
        assert card.training is not None
        fitness.append(float(structure["fitness"]))
        losses.append(card.training.dev_results["loss"])
        aucs.append(number(row, "auc"))
        lines.append(
            (
                str(place),
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
    sentences = [
        f"Spearman's rank correlation of fitness with {name}: {_correlation(fitness, values)}."
        for name, values in (
            ("the loss after training", losses),
            (f"1 - AUC on {RANK_DOMAIN}", [1 - auc for auc in aucs]),
        )
    ]
    return "\n\n".join([table(heads, lines), " ".join(sentences)])


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
        training = card.training
        lines.append(
            (
                str(path.parent.relative_to(KEPT / "trainings")),
                path.stem,
                f"`{training.command}`",
                f"{training.seconds / 60:.0f} min",
                training.machine,
            )
        )
    return table(("folder", "network", "command", "time", "machine"), lines)


def write() -> None:
    """Write tables.md and the figures of reports/compression: what its README.md quotes and shows."""
    sections = [
        "# Compression: tables",
        WRITTEN_BY,
        INTERVALS,
    ]
    drawn: dict[str, Drawing] = {}
    if folders := sorted(KEPT.glob("students-seed*")):
        sections += ["## Teacher and students", students(folders)]
        drawn["pareto"] = pareto(folders[0])
    if by_name := arms(sorted(KEPT.glob("without-*"))):
        sections += [
            f"## At 40 M MACs, on a domain that was never seen (protocols {', '.join(map(fold, DOMAINS))})",
            METAMMD,
            unseen(by_name),
            questions(by_name),
        ]
        drawn["arms"] = figures.arms_figure(by_name, DOMAINS)
    if HISTORY.is_file():
        drawn["search"] = draw_figure("search", None, options=FigureOptions(history=HISTORY))
    if (KEPT / "rank").is_dir():
        sections += [
            f"## Is the PruningNet's fitness worth anything? {RANKED} structures of one search",
            rank(KEPT / "rank"),
        ]
    sections += ["## How each network was made", schedules()]
    target = KEPT / "tables.md"
    target.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print(target.relative_to(ROOT))
    for name, drawing in drawn.items():
        path = KEPT / f"{name}.png"
        path.write_bytes(drawing.files["png"])
        print(path.relative_to(ROOT))
