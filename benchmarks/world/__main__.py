"""See the head of the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import benchmarks.world as package
from benchmarks.world import acceptance, trainings
from swapbench.cards import read_network
from swapbench.data.dataset import SPLITS
from swapbench.errors import SwapbenchError
from swapbench.simulate.dataset import Recipe, simulate
from swapbench.simulate.worlds import STANDARD

ZOO = Path(__file__).parents[2] / "models" / "zoo"
NOTICE = "Simulated data; not PAD performance."


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.world",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=("make", "train", "table"))
    parser.add_argument(
        "data", type=Path, help="folder of the simulated data; of what is made, the one above"
    )
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="what to train; all if none")
    parser.add_argument("--schedule", default="full", help="full, or a file of models/recipes/schedules")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--world", type=int, default=STANDARD)
    parser.add_argument(
        "--people", type=int, nargs=3, metavar="N", help="train, dev, test; the world's own if none"
    )
    parser.add_argument("--trained", type=Path, help="folder of the networks; DATA-networks if none")
    parser.add_argument(
        "--detector",
        action="append",
        default=[],
        metavar="FILE=CARD",
        help="an ONNX file and its card in models/zoo",
    )
    options = parser.parse_args()
    out = options.trained or options.data.with_name(f"{options.data.name}-networks")
    if unknown := sorted(set(options.names) - set(trainings.TRAINEES)):
        parser.error(f"nothing is called {unknown[0]!r}; known: {', '.join(trainings.TRAINEES)}")
    try:
        if options.step == "make":
            print(_made(options))
            return 0
        if options.step == "train":
            names = options.names or list(trainings.TRAINEES)
            return trainings.train(names, options.data, out, options.schedule, options.seeds)
        return _table(options, out)
    except SwapbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_status


def _made(options: argparse.Namespace) -> Path:
    counts = zip(SPLITS, options.people or (), strict=False)
    recipe = Recipe.of_world(options.world, **{f"{split}_identities": count for split, count in counts})
    return simulate(options.data, recipe)


def _table(options: argparse.Namespace, out: Path) -> int:
    world = acceptance.World(options.data, out, out / "crops", options.seeds)
    lines = acceptance.of_classical(world)
    for named in options.detector:
        file, _, card = named.partition("=")
        lines += acceptance.of_detector(world, Path(file), read_network(ZOO / f"{card}.toml").card)
    if not options.detector:
        lines.append(
            acceptance.Line(
                "a public network",
                f"AUC at least {acceptance.REAL_AUC:.2f}",
                "absent: no file was named; --detector",
            )
        )
    lines += acceptance.of_networks(world)
    print(f"{NOTICE} {options.data.name}\n\n{acceptance.as_markdown(lines)}")
    return 0 if all(line.holds for line in lines) else 3


if __name__ == "__main__":
    sys.exit(main())
