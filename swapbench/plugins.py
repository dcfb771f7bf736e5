"""What installed packages add: runtimes, meters, kinds of devices and file formats, by their entry points.

Reading the list imports no package; an entry is imported when somebody asks for it, and what it then raises
is an error of that entry alone. Built-in names are not for packages: one that takes such a name is refused.
See https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from swapbench.errors import EnvironmentFailed, SwapbenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from importlib.metadata import EntryPoint

Kind = Literal["runtime", "meter", "device", "format"]
_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Plugin:
    """A thing that an installed package adds.

    Attributes:
        kind: What it is.
        name: That people type.
        package: The distribution and its version.
        entry: Where its function or class stands.
    """

    kind: Kind
    name: str
    package: str
    entry: EntryPoint

    def made(self, *given: Any) -> Any:
        """Import the function or class, and call it.

        Raises:
            SwapbenchError: It raises one.
            EnvironmentFailed: It raises anything else, or cannot be imported.
        """
        try:
            return self.entry.load()(*given)
        except SwapbenchError:
            raise
        except (Exception, SystemExit) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise self.broken(": ".join([type(error).__name__, *lines[:1]])) from error

    def checked(self, made: Any, *members: str, named: str = "") -> Any:
        """What was made, if it has these members and the name of the entry, or the one given.

        Raises:
            EnvironmentFailed: It does not; records would tell of something else.
        """
        lacking = [member for member in ("name", *members) if not hasattr(made, member)]
        if lacking:
            raise self.broken(f"it has no {' and no '.join(lacking)}")
        if made.name != (named or self.name):
            raise self.broken(f"it calls itself {made.name!r}")
        return made

    def broken(self, reason: str) -> EnvironmentFailed:
        """The error that says why this does not work, and whose it is."""
        name = self.package.partition(" ")[0]
        return EnvironmentFailed(
            f"the {self.kind} {self.name} of the package {self.package} does not work ({reason[:200]})",
            remedy=f"Update the package, or: pip uninstall {name}",
        )


@dataclass(frozen=True)
class Plugins:
    """What the installed packages add of one kind, by name, and a line for each that is refused."""

    by_name: Mapping[str, Plugin]
    refused: tuple[str, ...]


def plugins(kind: Kind, builtin: Collection[str]) -> Plugins:
    """What the installed packages add of one kind.

    Args:
        kind: What is looked for, in the group `swapbench.<kind>s`.
        builtin: Names that packages may not take.
    """
    from importlib.metadata import entry_points

    found: dict[str, list[Plugin]] = {}
    for entry in entry_points(group=f"swapbench.{kind}s"):
        found.setdefault(entry.name, []).append(Plugin(kind, entry.name, _package(entry), entry))
    accepted: dict[str, Plugin] = {}
    refused = []
    for name, ones in sorted(found.items()):
        packages = " and ".join(sorted(one.package for one in ones))
        if name in builtin:
            refused.append(f"the {kind} {name} of {packages} is ignored: swapbench has its own of that name")
        elif not _PLAIN.fullmatch(name):
            refused.append(f"the {kind} {name!r} of {packages} is ignored: that is no plain name")
        elif len(ones) > 1:
            refused.append(f"the {kind} {name} is ignored: {packages} both bring one")
        else:
            accepted[name] = ones[0]
    return Plugins(accepted, tuple(refused))


def _package(entry: EntryPoint) -> str:
    """The distribution of an entry and its version, as far as they can be read."""
    try:
        return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"
    except Exception:  # noqa: BLE001 - what is left of a damaged installation raises anything
        return "unknown"
