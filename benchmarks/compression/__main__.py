"""See the head of the package."""

from __future__ import annotations

import argparse
import os
import sys

import benchmarks.compression as package
from benchmarks.compression import findings, measuring, trainings


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compression",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=("train", "measure", "report"))
    parser.add_argument(
        "studies", nargs="*", default=[], metavar="STUDY", help="students, unseen, rank; all if none"
    )
    parser.add_argument("--schedule", default="small", help="full, or a file of models/recipes/schedules")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1, help="trainings side by side")
    parser.add_argument("--missing", action="store_true", help="leave out what is measured already")
    options = parser.parse_args()
    names = options.studies or list(trainings.STUDIES)
    if unknown := sorted(set(names) - set(trainings.STUDIES)):
        parser.error(f"there is no study {unknown[0]!r}; known: {', '.join(trainings.STUDIES)}")
    if options.step == "train":
        chosen = [training for name in names for training in trainings.STUDIES[name](options.seeds)]
        failed = trainings.run_all(chosen, options.schedule, options.lanes)
        for card in failed:
            print(f"not trained: {card}; see {trainings.WORK / 'logs'}", file=sys.stderr)
        return 4 if failed else 0
    if options.step == "measure":
        return measuring.measure(names, options.seeds, missing=options.missing)
    findings.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
