"""What travels: a job is the words of a command with its files by digest, and a result the files it wrote.

Both are JSON. Nothing that is executed travels but those words, which a host gives to its own `swapbench`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Self

from swapbench.errors import EnvironmentFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL: Final = "local"
"""The profile of a host's own processor."""
COMMANDS: Final = frozenset({"run", "gate", "train", "score", "judge"})
"""What a host does for others."""
VARIABLES: Final = frozenset({"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"})
"""What a job may say in the environment of its command."""
_HOSTS_OWN: Final = frozenset({"devices", "runtimes"})
"""Folders that say which programs are run and what phones are called: the host's business alone."""


@dataclass(frozen=True)
class Job:
    """What one host does on one phone, on its own processor, or on some of its cores.

    Attributes:
        title: For people.
        who: Sent it.
        words: Of the command, after `swapbench`.
        files: Where the command finds a file, below its folder -> the file's digest.
        outputs: Patterns of the files that come back.
        profile: Of the device that it measures on; "" for work that needs cores alone.
        serial: Of the phone, "" for any of its profile.
        host: That it is bound to, "" for any.
        cores: That it keeps busy, where it needs no device.
        gpu: Whether it needs a GPU.
        lease_s: How long it may have the device, or run.
        environment: Variables of the command.
        nonce: Tells it from an equal job of another time.
    """

    title: str
    who: str
    words: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    profile: str = ""
    serial: str = ""
    host: str = ""
    cores: int = 0
    gpu: bool = False
    lease_s: float = 3600.0
    environment: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""

    @property
    def id(self) -> str:
        """The digest of all of it."""
        return hashlib.sha256(self.text()).hexdigest()[:32]

    @property
    def needs(self) -> dict[str, float]:
        """Resources as Dask counts them."""
        if not self.profile:
            return {"gpu": 1.0} if self.gpu else {"cores": float(self.cores)}
        bound = {"serial": self.serial, "host": self.host}
        return {
            f"profile {self.profile}": 1.0,
            **{f"{name} {value}": 1.0 for name, value in bound.items() if value},
        }

    def text(self) -> bytes:
        """As it travels."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def read(cls, text: bytes) -> Self:
        """The job that travelled.

        Raises:
            EnvironmentFailed: It asks for what no host does for others.
        """
        values: dict[str, Any] = json.loads(text)
        values |= {name: tuple(values[name]) for name in ("words", "outputs")}
        job = cls(**values)
        if not job.words or job.words[0] not in COMMANDS:
            raise EnvironmentFailed(f"a fleet does not do {' '.join(job.words[:1]) or 'nothing'}")
        if unknown := job.environment.keys() - VARIABLES:
            raise EnvironmentFailed(f"a fleet does not set {', '.join(sorted(unknown))}")
        for name in job.files:
            if PurePosixPath(inside(name)).parts[0] in _HOSTS_OWN:
                raise EnvironmentFailed(f"{name} is the host's own")
        return job


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Attributes:
        status: Exit status of its command; minus a signal's number where that ended it.
        error: Why it did not come to an end of its own, or the last error that it told.
        said: The lines that it told, the last ones where there were many.
        printed: What it printed.
        files: The files that it wrote, below its folder -> their digests.
        host: That did it.
        device: Serial of the phone, "" for none.
        lost: Hosts that began it before and were lost.
        began: When it began, in UTC.
        seconds: That the command ran.
    """

    status: int
    error: str = ""
    said: tuple[str, ...] = ()
    printed: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    device: str = ""
    lost: tuple[str, ...] = ()
    began: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it is worth another try: it ended neither well, nor with doubts, nor as a failed gate."""
        return self.status not in {0, 1, 3}

    def text(self) -> bytes:
        """As it travels."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, text: bytes) -> Self:
        """The result that travelled."""
        values: dict[str, Any] = json.loads(text)
        values |= {name: tuple(values[name]) for name in ("said", "lost")}
        return cls(**values)


def inside(name: str) -> str:
    """A path below a folder, as it is; EnvironmentFailed for one that leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        raise EnvironmentFailed(f"{name!r} leads out of its folder")
    return name
