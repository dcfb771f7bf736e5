"""What a host offers: each of its phones, its processor as a thing to measure, and its cores to work with.

A slot does one job at a time (the cores as many as there are). Everything may go on side by side, except that
nothing else of ours runs while the host's own processor is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swapbench.fleet.parcel import LOCAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True)
class Slot:
    """A place for jobs on a host.

    Attributes:
        name: "processor", "cores", or a phone's serial.
        resources: What Dask counts there.
        threads: How many jobs at a time.
        serial: Of a phone.
    """

    name: str
    resources: dict[str, float]
    threads: int = 1
    serial: str = ""


def processor_slot(host: str) -> Slot:
    """The host's own processor as what is measured."""
    return Slot("processor", {f"profile {LOCAL}": 1.0, f"host {host}": 1.0})


def cores_slot(cores: int, gpus: int) -> Slot:
    """The host's cores and GPUs as what works."""
    return Slot("cores", {"cores": float(cores), "gpu": float(gpus)}, max(cores, gpus))


def phone_slot(host: str, serial: str, profiles: tuple[str, ...]) -> Slot:
    """A phone under every profile that fits it."""
    fitting = {f"profile {name}": 1.0 for name in profiles}
    return Slot(serial, {**fitting, f"serial {serial}": 1.0, f"host {host}": 1.0}, serial=serial)


@dataclass
class Quiet:
    """Lets many in, or one alone; who waits to be alone is not overtaken."""

    _inside: int = 0
    _alone: bool = False
    _waiting: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @contextlib.asynccontextmanager
    async def held(self, *, alone: bool) -> AsyncIterator[None]:
        """Be inside, alone or with others."""
        async with self._changed:
            if alone:
                self._waiting += 1
                try:
                    await self._changed.wait_for(lambda: not self._alone and self._inside == 0)
                finally:
                    self._waiting -= 1
                    self._changed.notify_all()
                self._alone = True
            else:
                await self._changed.wait_for(lambda: not self._alone and self._waiting == 0)
            self._inside += 1
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._alone = False if alone else self._alone
                self._changed.notify_all()

    @property
    def alone(self) -> bool:
        """Whether one is inside alone."""
        return self._alone


def offers(about: dict[str, Any]) -> dict[str, float]:
    """All resources that a host announced together, by name, the most of each."""
    most: dict[str, float] = {}
    for slot in about.get("slots", {}).values():
        for name, count in slot.items():
            most[name] = max(most.get(name, 0.0), float(count))
    return most


def can_do(about: dict[str, Any], needs: dict[str, float]) -> bool:
    """Whether one slot of a host has all that a job needs."""
    return any(
        all(float(slot.get(name, 0.0)) >= count for name, count in needs.items())
        for slot in about.get("slots", {}).values()
    )
