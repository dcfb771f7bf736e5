"""A run on the devices of a fleet: each has a run folder of its own, and a report shows all of them."""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from swapbench import catalog, store
from swapbench.bench import run_folder
from swapbench.commands.fleet_words import Packing, run_words
from swapbench.commands.run import RunResult, notes_of
from swapbench.errors import (
    BadRecord,
    DeviceFailed,
    EnvironmentFailed,
    NotValid,
    SwapbenchError,
    UserError,
)
from swapbench.files import content_of, only_one, write_atomically
from swapbench.fleet.door import door_to, needs_dask
from swapbench.fleet.parcel import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.fleet_options import FleetOptions
    from swapbench.commands.run import RunRequest
    from swapbench.fleet.client import Fleet, Standing
    from swapbench.ports import Say
    from swapbench.records import Record

POLL_S: Final = 0.5
_TABLE: Final = "fleet.json"
_WANTED: Final = ("reports/*/run.json", "reports/*/records/*.json", "reports/*/scores/*.csv.gz")


@dataclass(frozen=True)
class _Target:
    """A device, or any of a profile, with the run folder of what it measures."""

    profile: str
    host: str
    serial: str
    run: str


@dataclass(frozen=True)
class Watch:
    """Who is told of the jobs of a fleet, and how to wait for them.

    Attributes:
        listen: Hears how all jobs stand.
        say: Hears what else a person should know.
        sleep: For tests.
    """

    listen: Callable[[Sequence[Standing]], None]
    say: Say
    sleep: Callable[[float], None] = time.sleep


def run(folders: Folders, request: RunRequest, options: FleetOptions, watch: Watch) -> RunResult:
    """Measure files on every device of the named profiles, or on one of each.

    What came back before is kept: the same command goes on with the rest.

    Raises:
        UnknownName: Nothing in the fleet fits a profile.
        UserError: The run needs what only this computer has, or its name is taken.
        EnvironmentFailed: The scheduler cannot be reached, or was gone for too long.
    """
    needs_dask()
    from swapbench.fleet.client import Fleet

    assert options.where is not None
    door = door_to(options.where, folders.root)
    packing = Packing(folders)
    words = run_words(packing, request)
    description = {
        "words": words,
        "files": packing.files,
        "devices": request.device.name,
        "one_each": options.one_each,
    }
    with Fleet(door, options.wait_s, watch.say) as fleet:
        folder, table = _table(folders, request, description, lambda: _targets(fleet, request, options))
        with only_one(folder / ".lock", _taken):
            write_atomically(folder / _TABLE, store.dumps(table) + "\n")
            targets = [_Target(**target) for target in table["targets"]]
            kept = [target for target in targets if _has_come(folders, target, table)]
            jobs = {}
            for target in targets:
                if target not in kept:
                    job = _job(target, words, packing, options, table["nonce"])
                    jobs[job.id] = target
                    fleet.hand_in(job, packing.local)
            failures = _wait(fleet, folders, jobs, folder, table, watch)
            return _result(folders, request, folder, targets, failures, len(kept))


def _taken(owner: str) -> UserError:
    return UserError(
        f"this run is being measured by another process{owner}",
        remedy="Wait until it ends, or give this run another --name",
    )


def _targets(fleet: Fleet, request: RunRequest, options: FleetOptions) -> list[_Target]:
    """What is to be measured on; UnknownName where the fleet has none of a profile."""
    targets = []
    for profile in dict.fromkeys(catalog.split_commas((request.device.name,))):
        devices = fleet.devices(profile)
        if options.one_each:
            targets.append(_Target(profile, "", "", profile))
            continue
        for host, serial in devices:
            name = re.sub(r"[^A-Za-z0-9._-]+", "_", serial or host)
            # a phone is named by its serial alone: it may be found again on another host
            targets.append(_Target(profile, "" if serial else host, serial, f"{profile}-{name}"))
    return targets


def _job(target: _Target, words: Sequence[str], packing: Packing, options: FleetOptions, nonce: str) -> Job:
    files = dict(packing.files)
    begun = packing.folders.reports / target.run  # files that failed do not cost those that did not
    for path in sorted(
        [*begun.glob("run.json"), *begun.glob("records/*.json"), *begun.glob("scores/*.csv.gz")]
    ):
        place = path.relative_to(packing.folders.root).as_posix()
        files[place] = packing.digest(path)
    return Job(
        title=target.run,
        who=who(),
        words=(*words, "--device", target.profile, "--name", target.run, "--no-report"),
        files=files,
        outputs=_WANTED,
        profile=target.profile,
        serial=target.serial,
        host=target.host,
        lease_s=options.lease_s,
        nonce=nonce,
    )


def who() -> str:
    """Who sends jobs: "ann@desk"."""
    try:
        return f"{getpass.getuser()}@{os.uname().nodename}"
    except (OSError, KeyError):
        return os.uname().nodename


def _table(
    folders: Folders,
    request: RunRequest,
    description: dict[str, Any],
    targets: Callable[[], list[_Target]],
) -> tuple[Path, dict[str, Any]]:
    """The folder of a run with its table: of an unfinished one of the same description, or a new one."""
    name = request.output.name
    if name is None:
        known = sorted(
            folders.reports.glob(f"*/{_TABLE}"), key=lambda path: path.stat().st_mtime_ns, reverse=True
        )
        candidates = [path.parent for path in known]
    else:
        candidates = [folders.reports / name]
    for folder in candidates:
        table = _read(folder)
        if table is not None and table["description"] == description and not table["finished"]:
            return folder, table
    now = datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S-fleet")
    folder = folders.reports / (name or now)
    wanted = [_Target(one.profile, one.host, one.serial, f"{folder.name}-{one.run}") for one in targets()]
    old = [one.run for one in wanted if any((folders.reports / one.run / "records").glob("*.json"))]
    if old and not request.output.replace:
        raise UserError(
            f"the run {old[0]} has records already",
            remedy="Measure again with --replace, or choose another --name",
        )
    for run in old:
        for path in sorted((folders.reports / run / "records").glob("*.json")):
            path.unlink()
    table = {
        "description": description,
        "nonce": secrets.token_hex(8),
        "targets": [asdict(one) for one in wanted],
        "measured_at": run_folder.measured_at(folder).get("measured_at"),
        "came": {},
        "finished": False,
    }
    return folder, table


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        table = json.loads(content_of(folder / _TABLE))
    except (OSError, ValueError, RecursionError):
        return None
    return (
        table if isinstance(table, dict) and {"description", "targets", "finished"} <= table.keys() else None
    )


def _has_come(folders: Folders, target: _Target, table: dict[str, Any]) -> bool:
    """Whether the records of a target are here, byte for byte as they came."""
    from swapbench.files import file_sha256

    files: dict[str, str] | None = table["came"].get(target.run)
    return files is not None and all(
        (folders.root / name).is_file() and file_sha256(folders.root / name) == digest
        for name, digest in files.items()
    )


def _wait(
    fleet: Fleet,
    folders: Folders,
    jobs: dict[str, _Target],
    folder: Path,
    table: dict[str, Any],
    watch: Watch,
) -> list[tuple[str, SwapbenchError]]:
    """Fetch what comes of each job as it comes; what failed, by the run."""
    failures: list[tuple[str, SwapbenchError]] = []
    open_jobs = dict(jobs)
    try:
        while open_jobs:
            standings = fleet.standings()
            watch.listen(standings)
            for standing in standings:
                target = open_jobs.get(standing.job.id)
                if target is None or not standing.over:
                    continue
                failed = _arrived(fleet, folders, standing, table)
                del open_jobs[standing.job.id]
                failures += failed
                write_atomically(folder / _TABLE, store.dumps(table) + "\n")
            if open_jobs:
                watch.sleep(POLL_S)
    except KeyboardInterrupt:
        fleet.cancel()
        raise
    if not failures:
        write_atomically(folder / _TABLE, store.dumps({**table, "finished": True}) + "\n")
    return failures


def _arrived(
    fleet: Fleet, folders: Folders, standing: Standing, table: dict[str, Any]
) -> list[tuple[str, SwapbenchError]]:
    """Store what came of a job, once; what failed in it."""
    run, result = standing.job.title, standing.result
    if result is None:
        return [(run, DeviceFailed(standing.error))]
    own = {name: name for name in result.files if name.startswith(f"reports/{run}/")}
    fleet.fetch(result, folders.root, own)
    _say_commit(folders.reports / run, table.get("measured_at"))
    failures = failures_of(result.status, result.error, result.said)
    if not failures:
        table["came"][run] = {name: result.files[name] for name in own if not name.endswith("/run.json")}
    elif own:  # what it lacks can be measured on the same device only
        for target in table["targets"]:
            if target["run"] == run:
                target |= {"serial": result.device, "host": "" if result.device else result.host}
    where = f"{run} (host {result.host})"
    return [(where, error) for error in failures]


def _say_commit(folder: Path, at: dict[str, Any] | None) -> None:
    """Note in a run that came at which commit of the working folder here it was asked for."""
    about = run_folder.read_about(folder)
    if about is not None and at:
        write_atomically(folder / "run.json", store.dumps({**about, "measured_at": at}) + "\n")


def failures_of(status: int, error: str, said: Sequence[str]) -> list[SwapbenchError]:
    """What failed in a command, by what it told and how it ended; a doubt is no failure."""
    kind: type[SwapbenchError] = {2: UserError, 3: NotValid}.get(status, EnvironmentFailed)
    if status in {0, 3} and not error:
        return [kind(line.removeprefix("failed: ")) for line in said if line.startswith("failed: ")]
    told = [line.removeprefix("failed: ") for line in said if line.startswith("failed: ")]
    reason = error or "; ".join(told) or (said[-1] if said else "")
    return [kind(reason or f"it ended with status {status}")]


def _result(
    folders: Folders,
    request: RunRequest,
    folder: Path,
    targets: Sequence[_Target],
    failures: list[tuple[str, SwapbenchError]],
    kept: int,
) -> RunResult:
    """All records of the run, and a report over them."""
    records: list[Record] = []
    runs: dict[tuple[str, str], Path] = {}
    for target in targets:
        place = folders.reports / target.run
        try:
            loaded = store.load_run(place)
        except BadRecord:
            continue  # why it has none is one of the failures
        records += loaded
        runs |= {(record.run, record.id): place for record in loaded}
    notes = notes_of(records)
    if kept:
        notes.append(f"{kept} of {len(targets)} devices had come back already and were kept.")
    if records and request.output.report:
        from swapbench.report.writer import write_report

        report = write_report(records, folder, request.output.relative_to, runs)
        notes.append(f"Report: {os.path.relpath(folder)}/ ({', '.join(path.name for path in report.all)})")
        notes += report.remarks
    return RunResult(folder, tuple(records), tuple(failures), tuple(notes))
