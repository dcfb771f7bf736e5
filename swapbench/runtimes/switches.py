"""Options of a runtime that a worker is told to turn on or off; imported by a worker that is told any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from swapbench.runtimes.feed import Unusable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.runtimes.worker import Backend


@runtime_checkable
class Switchable(Protocol):
    """A Backend with options that change results and times; others refuse to be told any."""

    def switch(self, switches: Mapping[str, bool]) -> None:
        """Turn options on or off for every file that is loaded from now on; Unusable where it has no such."""
        ...


def set_switches(backend: Backend, text: str) -> None:
    """Turn a runtime's options on or off, as in "winograd=off,sgemm=on"; Unusable where that cannot be."""
    if not isinstance(backend, Switchable):
        raise Unusable(f"{backend.runtime} has no switches")
    pairs = [one.partition("=") for one in text.split(",")]
    if any(state not in {"on", "off"} for _, _, state in pairs):
        raise Unusable(f"--switches must be as in NAME=off, not {text[:100]!r}")
    backend.switch({name: state == "on" for name, _, state in pairs})
