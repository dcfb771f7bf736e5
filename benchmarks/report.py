"""How long does a table of very many records take?

    python benchmarks/report.py [--records N]

Writes N record files (800 timed runs each, hand-made, as the tests make them), then prints the wall time of
`swapbench report` in every format, each in a fresh process: once when nothing was summed up before, then with
what the first call kept. Then the CPU time of drawing each figure of them, without reading the records. Exits
with 1 where a table of named columns takes more than the limit once rows are kept, in CPU time where other
work made it wait, or all figures together take more than theirs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from made_records import demo

from swapbench import store
from swapbench.report import figures
from swapbench.report.tables.table import table_of
from swapbench.report.writer import EVERY_FIGURE, evidence_of

LIMIT_S = 3.0
FIGURES_LIMIT_S = 60.0
COLUMNS = ("--columns", "latency_p50,params,acer,energy", "--relative-to", "resnet18_map")


def write_records(folder: Path, count: int) -> None:
    """`count` records: twelve files a recipe, as many recipes as it takes."""
    (folder / "records").mkdir(parents=True)
    made = demo()
    for number in range(count):
        record = made[number % len(made)]
        recipe = f"r{number // len(made)}" if number >= len(made) else None
        variant = record.variant.model_copy(update={"recipe": recipe})
        record = record.model_copy(update={"id": f"{record.id}-{number}", "variant": variant})
        (folder / "records" / f"{record.id}.json").write_text(store.record_text(record), encoding="utf-8")


def seconds(folder: Path, *options: str) -> tuple[float, float]:
    """Wall and CPU time of one `swapbench report` in a fresh process, its output thrown away."""
    argv = [sys.executable, "-m", "swapbench", "report", str(folder / "run"), *options]
    began_s, cpu_s = time.perf_counter(), _children_s()
    subprocess.run(argv, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began_s, _children_s() - cpu_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures_s(folder: Path) -> dict[str, float]:
    """CPU time of each figure of a run."""
    records = store.load_run(folder)
    evidence = evidence_of(records, {(record.run, record.id): folder for record in records})
    table = table_of(records)
    times = {}
    for kind in EVERY_FIGURE:
        began_s = time.process_time()
        figures.draw(kind, table, evidence)
        times[kind] = time.process_time() - began_s
    return times


def in_words(times: tuple[float, float]) -> str:
    return f"{times[0]:.1f} s ({times[1]:.1f} s of CPU)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--records", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "run", options.records)
        first = seconds(folder, *COLUMNS, "--format", "csv")
        print(f"{options.records} records, nothing summed up: {in_words(first)}")
        slowest_s = 0.0
        for skin in ("terminal", "markdown", "latex", "csv", "json", "html"):
            form = () if skin == "terminal" else ("--format", skin)
            named = seconds(folder, *COLUMNS, *form)
            slowest_s = max(slowest_s, min(named))
            everything = f", all columns {in_words(seconds(folder, *form))}" if form else ""
            print(f"{skin:>9}: named columns {in_words(named)}{everything}")
        drawn = figures_s(folder / "run")
        for kind, taken_s in drawn.items():
            print(f"{kind:>9}: drawn in {taken_s:.1f} s of CPU")
    if slowest_s > LIMIT_S or sum(drawn.values()) > FIGURES_LIMIT_S:
        print(f"limit: {LIMIT_S:.0f} s for named columns, {FIGURES_LIMIT_S:.0f} s of CPU for all figures")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
