"""Scoring a dataset on a fleet: in shards by digest, which together are the file that one computer writes."""

from __future__ import annotations

import csv
import gzip
import io
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench import __version__
from swapbench.commands.data import folds
from swapbench.commands.fleet_run import POLL_S, failures_of, who
from swapbench.commands.fleet_words import Packing, data_words, many, options_words, shape_words
from swapbench.commands.named_files import with_card
from swapbench.errors import DeviceFailed, EnvironmentFailed, UserError
from swapbench.files import whole_file
from swapbench.fleet.door import door_to, needs_dask
from swapbench.fleet.parcel import LOCAL, Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.fleet_options import FleetOptions
    from swapbench.commands.fleet_run import Watch
    from swapbench.commands.options import ScoreOutput, ScoringOptions
    from swapbench.data.dataset import Dataset
    from swapbench.fleet.client import Standing
    from swapbench.ports import Progress, Say

SHARDS: Final = 8
_OUT: Final = "out/scores.csv.gz"
_CHANGED: Final = "The data changed meanwhile: run the same command again"
Key = tuple[str, str, str, str]
"""Fold, split, presentation and frame of a row."""


@dataclass(frozen=True)
class Work:
    """What is scored, how, and in how many shards.

    Attributes:
        file: Model file, also with its card.
        out: The score file that is written.
    """

    file: str
    options: ScoringOptions
    out: ScoreOutput
    shards: int = SHARDS


def opened(folders: Folders, options: ScoringOptions, progress: Progress, say: Say) -> tuple[Dataset, ...]:
    """The data that a fleet is to score.

    Raises:
        UserError: The options are for one device, or the data are not named.
    """
    needs_dask()
    if options.device != LOCAL or options.shard is not None or not options.data.named:
        raise UserError(
            "a fleet scores named data in shards, on its hosts' processors",
            remedy="Name the data with --data, and leave --device and --shard out",
        )
    return folds(folders, options.data, ("dev", "test"), progress=progress, say=say)


def score(folders: Folders, work: Work, data: Sequence[Dataset], fleet: FleetOptions, watch: Watch) -> Path:
    """Score a dataset with one model file in shards, on the cores of a fleet; writes the score file.

    A shard that came back before is not scored again, for the same files, options and version.

    Raises:
        EnvironmentFailed: The scheduler cannot be reached, or a shard failed.
    """
    from swapbench.fleet.client import Fleet
    from swapbench.pad.score_files import text_into

    assert fleet.where is not None
    packing = Packing(folders)
    words, raw = _words(packing, work), work.out.raw_csv
    with Fleet(door_to(fleet.where, folders.root), fleet.wait_s, watch.say) as connected:
        for number in range(1, work.shards + 1):
            job = Job(
                title=f"shard {number} of {work.shards}",
                who=who(),
                words=(*words, "--shard", f"{number}/{work.shards}"),
                files=packing.files,
                outputs=("out/*",),
                cores=work.options.threads,
                lease_s=fleet.lease_s,
                nonce=__version__,
            )
            connected.hand_in(job, packing.local)
        try:
            while not all(one.over for one in connected.standings()):
                watch.listen(connected.standings())
                watch.sleep(POLL_S)
        except KeyboardInterrupt:
            connected.cancel()
            raise
        standings = connected.standings()
        watch.listen(standings)
        parts = [_came(connected.content(one.result, _OUT) if one.result else None, one) for one in standings]
    rows, path = merged(parts, data, raw=raw), work.out.path
    with whole_file(path) as file, text_into(file, compressed=path.suffix == ".gz") as text:
        csv.writer(text, lineterminator="\n").writerows(rows)
    return path


def _came(content: bytes | None, standing: Standing) -> str:
    """The score file of a shard; raises what failed."""
    result = standing.result
    if result is None:
        raise DeviceFailed(f"{standing.job.title}: {standing.error}")
    failed = failures_of(result.status, result.error, result.said)
    if failed or content is None:
        error = failed[0] if failed else EnvironmentFailed("it left no scores")
        raise type(error)(f"{standing.job.title} (host {result.host}): {error}")
    return gzip.decompress(content).decode()


def merged(parts: Iterable[str], data: Sequence[Dataset], *, raw: bool) -> list[list[str]]:
    """The rows of the score files of all shards in the order of the file that one computer writes.

    Raises:
        EnvironmentFailed: A frame of the data has no row, or a row is of no frame.
    """
    of_frame: dict[Key, deque[list[str]]] = {}
    rows: list[list[str]] = []
    for part in parts:
        header, *lines = csv.reader(io.StringIO(part))
        rows[:1] = [header]
        for line in lines:
            of_frame.setdefault((line[0], line[1], line[2], line[3]), deque()).append(line)
    for key in _order(data, raw=raw):
        if not of_frame.get(key):
            raise EnvironmentFailed("the shards lack a frame of the data", remedy=_CHANGED)
        rows.append(of_frame[key].popleft())
    if any(of_frame.values()):
        raise EnvironmentFailed("the shards hold a frame that is not in the data", remedy=_CHANGED)
    return rows


def _order(data: Sequence[Dataset], *, raw: bool) -> Iterator[Key]:
    """The rows of a score file in their order; see `pad.score_files.write_score_file`."""
    from swapbench.texts import quoted_cell

    cell = str if raw else quoted_cell
    for fold in data:
        for split in ("dev", "test"):
            for sample in fold.samples(split):
                yield cell(fold.fold), split, cell(sample.presentation), str(sample.frame)


def _words(packing: Packing, work: Work) -> list[str]:
    options = work.options
    path, card = with_card(work.file)
    return [
        "score",
        packing.model(path) + (f"={packing.card(card)}" if card else ""),
        *many("--runtime", options.runtimes),
        *shape_words(options.shapes),
        *options_words(
            {
                "--threads": options.threads,
                "--card": packing.card(options.card) if options.card else None,
                "--out": _OUT,
            }
        ),
        *data_words(packing, options.data),
        *["--raw-csv"] * work.out.raw_csv,
    ]
