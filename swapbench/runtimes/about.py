"""What a worker says of its runtime without a file: versions, and what it could run on.

Imported by a worker that is asked, never by one that times: only the standard library and numpy are imported.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.runtimes.worker import Backend


@runtime_checkable
class TellsProviders(Protocol):
    """A worker.Backend that can say what it could run on; others are not asked."""

    def available_providers(self) -> Sequence[str]:
        """The execution providers, delegates or devices that `--provider` may name here, in order."""
        ...


def about(backend: Backend) -> dict[str, object]:
    """The answer of the mode *about*; see `runtimes.contract`."""
    providers = backend.available_providers() if isinstance(backend, TellsProviders) else ()
    return {
        "event": "about",
        "runtime": backend.runtime,
        "version": backend.version,
        "package": backend.package,
        "providers": list(providers),
        "packages": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            backend.package: backend.version,
        },
    }
