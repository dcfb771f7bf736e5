"""Who sends jobs: hands them in with their files, hears how they stand, and fetches what came of them.

Every question goes to the scheduler. One that is gone is waited for, and what had not come back is handed in
again: a host that is still at it goes on, and a result that is there is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from swapbench.errors import EnvironmentFailed, SwapbenchError, UnknownName
from swapbench.files import file_sha256, whole_file
from swapbench.fleet import engine
from swapbench.fleet.content import CHUNK_BYTES
from swapbench.fleet.door import cannot_connect
from swapbench.fleet.parcel import Result, inside
from swapbench.fleet.slots import can_do, offers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.fleet.door import Door
    from swapbench.fleet.parcel import Job

WAIT_S: Final = 600.0
"""How long a job waits for a phone or host that is not there, before that is its end."""
PATIENCE_S: Final = 300.0
"""How long a scheduler that is gone is waited for."""
SILENT_S: Final = 20.0
"""A job of which its host has said nothing for so long does not run any more."""
_NO_JOB: Final = ["none"]
State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class Standing:
    """How a job stands.

    Attributes:
        state: Whether it waits, runs, is done (well or not), or can never be done.
        stage: What it does.
        share: Of its stage, from 0 to 1.
        host: Where it runs.
        device: On what.
        error: Why it can never be done.
        result: What came of it.
    """

    job: Job
    state: State = "waiting"
    stage: str = ""
    share: float = 0.0
    host: str = ""
    device: str = ""
    error: str = ""
    result: Result | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in {"done", "failed"}


@dataclass
class _Sent:
    """A job that was handed in."""

    job: Job
    future: Any = None
    missing_since_s: float | None = None
    standing: Standing | None = None


@dataclass
class Fleet:
    """A scheduler that we talk to; use it in a `with` block.

    Attributes:
        door: Of the scheduler.
        wait_s: See WAIT_S.
        say: Hears what a person should know.
    """

    door: Door
    wait_s: float = WAIT_S
    say: Callable[[str], None] = lambda _: None
    patience_s: float = PATIENCE_S
    clock: Callable[[], float] = time.monotonic
    _client: Any = None
    _instance: str = ""
    _sent: dict[str, _Sent] = field(default_factory=dict)
    _local: dict[str, Path] = field(default_factory=dict)
    _gone_since_s: float | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            EnvironmentFailed: There is no scheduler, or it does not let us in.
            UserError: It has another version.
        """
        engine.set_up()
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def _connect(self) -> None:
        from distributed import Client

        try:
            there = asyncio.run(engine.ask(self.door, "hello"))
        except OSError as error:
            raise cannot_connect(self.door, error) from error
        engine.refuse_other(there, "computer")
        try:
            self._client = Client(
                self.door.address,
                security=self.door.security(),
                set_as_default=False,
                direct_to_workers=False,
                timeout=5,
            )
            self._instance = self._ask("state", jobs=_NO_JOB)["instance"]
        except (OSError, RuntimeError) as error:
            self._disconnect()
            raise cannot_connect(self.door, error) from error

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # whatever Dask raises where the scheduler is gone
                client.close(timeout=2)

    def _ask(self, question: str, **values: Any) -> Any:
        if self._client is None or self._client.scheduler is None:
            raise OSError("the scheduler is gone")
        try:
            return self._client.sync(getattr(self._client.scheduler, f"fleet_{question}"), **values)
        except RuntimeError as error:  # Dask is closing its client meanwhile
            raise OSError("the scheduler is gone") from error

    # ------------------------------------------------------------------------------------------ jobs

    def hosts(self) -> dict[str, dict[str, Any]]:
        """What every host announced, by name."""
        return dict(self._ask("state", jobs=_NO_JOB)["hosts"])

    def overview(self) -> dict[str, Any]:
        """Hosts, and the jobs of all people that are not done."""
        return dict(self._ask("state", jobs=[]))

    def devices(self, profile: str) -> list[tuple[str, str]]:
        """Host and serial ("" for a processor) of everything that fits a profile.

        Raises:
            UnknownName: Nothing in the fleet does; the message names what there is.
        """
        wanted = f"profile {profile}"
        known: set[str] = set()
        found = []
        for host, about in sorted(self.hosts().items()):
            known |= {name.removeprefix("profile ") for name in offers(about) if name.startswith("profile ")}
            for resources in about["slots"].values():
                if wanted in resources:
                    serials = [
                        name.removeprefix("serial ") for name in resources if name.startswith("serial ")
                    ]
                    found.append((host, serials[0] if serials else ""))
        if not found:
            raise UnknownName("device in the fleet", profile, known)
        return found

    def hand_in(self, job: Job, files: Mapping[str, Path]) -> None:
        """Hand a job in with the files (by digest) that the scheduler lacks; where it is gone, later.

        Raises:
            EnvironmentFailed: The scheduler has been gone for too long.
            UserError: A host has another version, or other code of the same one.
        """
        self._local |= files
        try:
            for host, about in sorted(self.hosts().items()):
                engine.refuse_other(about.get("versions", {}), "computer", f"the host {host}")
            self._sent[job.id] = _Sent(job)
            self._send(self._sent[job.id])
        except OSError as error:
            self._is_gone(error)

    def _send(self, sent: _Sent) -> None:
        job = sent.job
        self._put(list(job.files.values()))
        about = {"title": job.title, "who": job.who, "needs": job.needs}
        if self._ask("hand_in", job=job.id, about=about):
            return
        from swapbench.fleet import host

        sent.future = self._client.submit(
            host.do,
            job.text(),
            key=f"{job.id}-{secrets.token_hex(4)}",
            resources=job.needs,
            pure=False,
            retries=0,
        )

    def _put(self, digests: Sequence[str]) -> None:
        sender = secrets.token_hex(8)
        for digest in self._ask("lacks", digests=list(digests)):
            path = self._local[digest]
            with path.open("rb") as file:
                offset, last = 0, False
                while not last:
                    data = file.read(CHUNK_BYTES)
                    last = len(data) < CHUNK_BYTES
                    self._ask("put", digest=digest, sender=sender, offset=offset, data=data, last=last)
                    offset += len(data)

    def cancel(self, jobs: Sequence[Job] | None = None) -> None:
        """Say that nobody wants some jobs any more, or any of ours: hosts end them."""
        wanted = set(self._sent) if jobs is None else {job.id for job in jobs}
        for name, sent in self._sent.items():
            if name not in wanted or (sent.standing is not None and sent.standing.over):
                continue
            try:
                self._ask("cancel", job=name)
                if sent.future is not None:
                    sent.future.cancel()
            except (OSError, RuntimeError):
                return  # a scheduler that is gone has nobody to tell

    def standings(self) -> tuple[Standing, ...]:
        """How all of our jobs stand, in the order in which they were handed in.

        Raises:
            EnvironmentFailed: The scheduler has been gone for too long.
        """
        try:
            if self._gone_since_s is not None:
                self._again()
            state = self._ask("state", jobs=list(self._sent) or _NO_JOB)
            if state["instance"] != self._instance:  # it was started again before we noticed
                self._again()
                state = self._ask("state", jobs=list(self._sent) or _NO_JOB)
            for sent in self._sent.values():
                if sent.standing is None or not sent.standing.over:
                    sent.standing = self._standing(sent, state)
        except (OSError, EnvironmentFailed) as error:
            self._is_gone(error)
        return tuple(sent.standing or Standing(sent.job) for sent in self._sent.values())

    def _again(self) -> None:
        """Connect again, and hand in again what has not come back."""
        self._disconnect()
        self._connect()
        self._gone_since_s = None
        self.say(f"The scheduler {self.door.place} is back; what had not come back is handed in again.")
        for sent in self._sent.values():
            if sent.standing is None or not sent.standing.over:
                self._send(sent)

    def _is_gone(self, error: Exception) -> None:
        now_s = self.clock()
        if self._gone_since_s is None:
            self._gone_since_s = now_s
            self.say(f"The scheduler {self.door.place} is gone; waiting for it.")
        if now_s - self._gone_since_s > self.patience_s:
            raise EnvironmentFailed(
                f"the scheduler {self.door.place} has been gone for {now_s - self._gone_since_s:.0f} s",
                remedy="Start it again, then run the same command: it goes on from what came back",
            ) from error

    def _standing(self, sent: _Sent, state: Mapping[str, Any]) -> Standing:
        job, hosts, now_s = sent.job, state["hosts"], float(state["now_s"])
        told: Mapping[str, Any] = state["jobs"].get(job.id, {})
        if told.get("state") == "done":
            result = Result.read(str(told["result"]).encode())
            sent.future = None  # one that was handed in again need not be done again
            return Standing(job, "done", host=result.host, device=result.device, result=result)
        if sent.future is not None and sent.future.status in {"lost", "cancelled"}:
            self._send(sent)
        if sent.future is not None and sent.future.status == "error":
            error = sent.future.exception(timeout=5)
            said = str(error) if isinstance(error, SwapbenchError) else f"{type(error).__name__}: {error}"
            return Standing(job, "failed", error=said)
        heard_s = max(float(told.get(name, 0.0)) for name in ("told_s", "begun_s"))
        running = told.get("state") == "running" and now_s - heard_s < SILENT_S
        if any(can_do(about, job.needs) for about in hosts.values()):
            sent.missing_since_s = None
        else:
            since_s = sent.missing_since_s = sent.missing_since_s or self.clock()
            if self.clock() - since_s > self.wait_s and not running:
                return self._given_up(sent, told)
            if not running:
                return Standing(job, stage=f"waits: nobody offers {needed(job)}")
        return Standing(
            job,
            "running" if running else "waiting",
            str(told.get("stage", "")) if running or str(told.get("stage")).startswith("waits") else "",
            float(told.get("share", 0.0)) if running else 0.0,
            str(told.get("host", "")) if running else "",
            str(told.get("device", "")) if running else "",
        )

    def _given_up(self, sent: _Sent, told: Mapping[str, Any]) -> Standing:
        begun = [str(host) for host in told.get("begun", ())]
        last = f"; it was begun on {begun[-1]}, which was lost" if begun else ""
        self.cancel([sent.job])
        error = f"no host of the fleet has offered {needed(sent.job)} for {self.wait_s:g} s{last}"
        return Standing(sent.job, "failed", error=error)

    # ------------------------------------------------------------------------------------------ files

    def fetch(self, result: Result, folder: Path, names: Mapping[str, str] | None = None) -> list[Path]:
        """Write the files of a result into a folder, each whole and with its digest, and no file twice.

        Args:
            result: Of a job.
            folder: Below which they lie.
            names: Where a file is to lie, by its name in the result; None for all, under their names.

        Raises:
            EnvironmentFailed: The scheduler is gone, or a file arrived damaged.
        """
        written = []
        for name, digest in result.files.items():
            target = name if names is None else names.get(name)
            if target is None:
                continue
            path = folder / inside(target)
            if not (path.is_file() and file_sha256(path) == digest):
                self._get(digest, path)
            written.append(path)
        return written

    def content(self, result: Result, name: str) -> bytes | None:
        """A small file of a result; None where it has none of that name."""
        from tempfile import TemporaryDirectory

        if name not in result.files:
            return None
        with TemporaryDirectory(prefix="swapbench-") as folder:
            (path,) = self.fetch(result, Path(folder), {name: "file"})
            return path.read_bytes()

    def _get(self, digest: str, path: Path) -> None:
        import hashlib

        seen = hashlib.sha256()
        with whole_file(path) as file:
            offset, last = 0, False
            while not last:
                try:
                    data = bytes(self._ask("get", digest=digest, offset=offset))
                except OSError as error:
                    raise cannot_connect(self.door, error) from error
                last = len(data) < CHUNK_BYTES
                file.write(data)
                seen.update(data)
                offset += len(data)
            if seen.hexdigest() != digest:
                raise EnvironmentFailed(f"{path.name} arrived damaged", remedy="Run the same command again")


def needed(job: Job) -> str:
    """What a job needs, for people."""
    if job.serial:
        return f"the phone {job.serial} ({job.profile})"
    if job.profile:
        where = f" of the host {job.host}" if job.host else ""
        return (
            f"a {job.profile}{where}" if job.profile != "local" else f"the processor{where or ' of a host'}"
        )
    return "a GPU" if job.gpu else f"{job.cores} core{'s' * (job.cores != 1)}"
