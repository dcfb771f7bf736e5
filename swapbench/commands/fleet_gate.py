"""A gate on a device of a fleet: a host measures both sides, and what it says and writes comes back."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swapbench.catalog import split_commas
from swapbench.commands.fleet_run import POLL_S, who
from swapbench.commands.fleet_words import Packing, data_words, many, options_words, shape_words
from swapbench.commands.sides import side
from swapbench.errors import DeviceFailed, UserError
from swapbench.fleet.door import door_to, needs_dask
from swapbench.fleet.parcel import LOCAL, Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.catalog import Folders
    from swapbench.commands.fleet_options import FleetOptions
    from swapbench.commands.fleet_run import Watch
    from swapbench.commands.gate import GateRequest
    from swapbench.fleet.parcel import Result

WRITTEN: Final = {"junit": "out/junit.xml", "markdown": "out/gate.md", "summary": "out/summary.md"}
"""What a gate may write -> where it lies on the host."""


@dataclass(frozen=True)
class GateOutputs:
    """What a gate writes beside what it prints.

    Attributes:
        files: Of WRITTEN, each with its place here.
        json: Whether it prints JSON.
        annotations: Whether it tells them as GitHub understands it.
    """

    files: dict[str, Path]
    json: bool = False
    annotations: bool = False


def gate(
    folders: Folders,
    request: GateRequest,
    outputs: GateOutputs,
    options: FleetOptions,
    watch: Watch,
) -> Result:
    """Judge on the first free device of a profile; its result has what was printed and the exit status.

    Raises:
        UnknownName: Nothing in the fleet fits the profile.
        UserError: A side does not exist, or several devices are named.
        EnvironmentFailed: The scheduler cannot be reached, or was gone for too long.
        DeviceFailed: No device of the profile was there in time.
    """
    needs_dask()
    from swapbench.fleet.client import Fleet

    assert options.where is not None
    profiles = split_commas((request.pairs.device,))
    if len(profiles) != 1:
        raise UserError("a gate judges on one device", remedy="Name one profile with --device")
    packing = Packing(folders)
    words = _words(packing, request, outputs)
    with Fleet(door_to(options.where, folders.root), options.wait_s, watch.say) as fleet:
        fleet.devices(profiles[0])  # an unknown profile is said before anything travels
        job = Job(
            title=f"gate on {profiles[0]}",
            who=who(),
            words=tuple(words),
            files=packing.files,
            outputs=("out/*",),
            profile=profiles[0],
            lease_s=options.lease_s,
            environment=_environment(outputs),
            nonce=secrets.token_hex(8),
        )
        fleet.hand_in(job, packing.local)
        try:
            while not (standing := fleet.standings()[0]).over:
                watch.listen((standing,))
                watch.sleep(POLL_S)
        except KeyboardInterrupt:
            fleet.cancel()
            raise
        watch.listen((standing,))
        if standing.result is None:
            raise DeviceFailed(standing.error)
        for name, path in outputs.files.items():
            _write(fleet.content(standing.result, WRITTEN[name]), path, append=name == "summary")
        return standing.result


def _environment(outputs: GateOutputs) -> dict[str, str]:
    variables = {"GITHUB_ACTIONS": "true"} if outputs.annotations else {}
    return variables | ({"GITHUB_STEP_SUMMARY": WRITTEN["summary"]} if "summary" in outputs.files else {})


def _write(content: bytes | None, path: Path, *, append: bool) -> None:
    from swapbench.files import disk_failure, write_atomically

    if content is None:
        return  # why it was not written is the gate's error
    if not append:
        write_atomically(path, content)
        return
    try:
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise disk_failure(error, path) from error


def _words(packing: Packing, request: GateRequest, outputs: GateOutputs) -> list[str]:
    pairs = request.pairs
    words = ["gate"]
    for option, sources in (("--baseline", request.baseline), ("--candidate", request.candidate)):
        for place in _sources(packing, sources, option.removeprefix("--")):
            words += [option, place]
    words += many("--runtime", pairs.runtimes)
    words += shape_words(pairs.shapes)
    words += options_words(
        {
            "--policy": pairs.policy and packing.tree(pairs.policy),
            "--device": pairs.device or LOCAL,
            "--threads": pairs.threads,
            "--budget-s": pairs.budget_s,
            "--card": packing.card(pairs.card) if pairs.card else None,
            "--seed": pairs.seed,
            "--history": request.history and packing.tree(request.history),
            "--history-last": request.last,
            **{f"--{name}": WRITTEN[name] for name in ("junit", "markdown") if name in outputs.files},
        }
    )
    words += data_words(packing, request.data) if request.data is not None else []
    return words + ["--json"] * outputs.json


def _sources(packing: Packing, sources: Sequence[str], role: str) -> list[str]:
    """Where the sources of a side lie on the host; of a run its files, which lie elsewhere here."""
    places = []
    for source in split_commas(sources):
        path = Path(source)
        if path.is_dir() and not (path / "records").is_dir():
            places.append(packing.tree(path))
        elif path.is_file():
            places.append(packing.model(path))
        else:
            found = side(packing.folders, (source,), role)
            places += [packing.model(file) for file in found.files]
    return places
