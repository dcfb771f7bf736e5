"""See the head of the package."""

from __future__ import annotations

import argparse
import sys

import benchmarks.compression as package
from benchmarks.compression import findings, measuring, trainings


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compression",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=("rank", "measure", "report"))
    parser.add_argument(
        "studies", nargs="*", default=[], metavar="STUDY", help="students, unseen, rank; all if none"
    )
    parser.add_argument("--missing", action="store_true", help="leave out what is measured already")
    options = parser.parse_args()
    names = options.studies or list(trainings.STUDIES)
    if unknown := sorted(set(names) - set(trainings.STUDIES)):
        parser.error(f"there is no study {unknown[0]!r}; known: {', '.join(trainings.STUDIES)}")
    if options.step == "rank":
        try:
            print(trainings.write_rank_study())
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            return 4
        return 0
    if options.step == "measure":
        return measuring.measure(names, missing=options.missing)
    findings.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
