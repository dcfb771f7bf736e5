"""A fleet as the place where the trainings of a study run; see `study.executor.Executor`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swapbench.errors import EnvironmentFailed
from swapbench.files import write_atomically
from swapbench.fleet.parcel import Job as Parcel
from swapbench.fleet.slots import offers
from swapbench.study.executor import Ended, HowFar, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from swapbench.fleet.client import Fleet, Standing
    from swapbench.study.jobs import Job

_LOOK_S: Final = 0.4
"""How often the scheduler is asked how all trainings stand."""


@dataclass
class OnFleet:
    """The cores of a fleet's hosts, or their GPUs, as one place.

    Attributes:
        fleet: That is connected.
        root: The working folder, below which trainings leave their files.
        pack: The words of a training's command, its files (place there -> digest) and where they are here.
        who: Sends the trainings.
        gpu: Whether each training has a GPU to itself.
        lease_s: How long a training may take.
        listen: Hears how those that were handed in stand.
    """

    fleet: Fleet
    root: Path
    pack: Callable[[Job], tuple[tuple[str, ...], Mapping[str, str], Mapping[str, Path]]]
    who: str
    gpu: bool = False
    lease_s: float = 3600.0
    cores: int = 0
    clock: Callable[[], float] = time.monotonic
    _largest: int = 0
    _standings: dict[str, Standing] = field(default_factory=dict)
    _looked_s: float = -1e9

    def __post_init__(self) -> None:
        self._count()
        if not self.cores:
            raise EnvironmentFailed(
                f"no host of the fleet offers {'GPUs' if self.gpu else 'cores'} for trainings",
                remedy="Let one join: swapbench fleet join, without --cores 0"
                + (" and with --gpus 0" if self.gpu else ""),
            )

    def _count(self) -> None:
        """What the hosts have now, together and at the most."""
        name = "gpu" if self.gpu else "cores"
        each = [int(offers(about).get(name, 0)) for about in self.fleet.hosts().values()]
        self.cores, self._largest = sum(each), max(each, default=0)

    def start(self, job: Job) -> Running:
        """See Executor.start."""
        words, files, local = self.pack(job)
        folder = job.folder.as_posix()
        parcel = Parcel(
            title=job.name,
            who=self.who,
            words=words,
            files=files,
            outputs=(f"{folder}/*",),
            cores=max(1, min(job.cores, self._largest)),
            gpu=self.gpu,
            lease_s=self.lease_s,
            nonce=job.key,
        )
        self.fleet.hand_in(parcel, local)
        return _OnFleet(self, job, parcel)

    def standing(self, parcel: Parcel) -> Standing | None:
        """How a training stands; None where nobody has said it yet."""
        if self.clock() - self._looked_s >= _LOOK_S:
            self._standings = {one.job.id: one for one in self.fleet.standings()}
            self._looked_s = self.clock()
        return self._standings.get(parcel.id)


@dataclass
class _OnFleet:
    """One training that was handed in."""

    place: OnFleet
    job: Job
    parcel: Parcel

    def how_far(self) -> HowFar:
        standing = self.place.standing(self.parcel)
        if standing is None or standing.state == "waiting":
            return HowFar(standing.stage if standing is not None and standing.stage else "waits for a host")
        stage = (
            f"{standing.stage} (host {standing.host})" if standing.stage else f"begins (host {standing.host})"
        )
        return HowFar(stage, standing.share, 1.0)

    def ended(self) -> Ended | None:
        standing = self.place.standing(self.parcel)
        if standing is None or not standing.over:
            return None
        result = standing.result
        if result is None:
            return Ended(4, standing.error)
        log = self.job.log.relative_to(self.place.root) if self.job.log.is_absolute() else self.job.log
        files = {name: name for name in result.files if name != log.as_posix()}
        self.place.fleet.fetch(result, self.place.root, files)
        lost = [f"{host} began it before and was lost" for host in result.lost]
        text = "\n".join([f"done by host {result.host}", *lost, *result.said, result.printed])
        write_atomically(self.place.root / log, text)
        return Ended(result.status, result.error)

    def end(self) -> None:
        self.place.fleet.cancel([self.parcel])
