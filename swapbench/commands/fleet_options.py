"""The options of a command that a fleet does.

This module is imported for `--help`, so it imports nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FleetOptions:
    """The fleet that does a command, and how long it may take over it.

    Attributes:
        where: Address of its scheduler, or a join file; None for this computer alone.
        one_each: One device of each profile, whichever is free first, instead of all.
        wait_s: How long a device is waited for that nobody offers.
        lease_s: How long a job may have its device.

    Raises:
        UserError: Something is said of a fleet, but none is named.
    """

    where: str | None = None
    one_each: bool = False
    wait_s: float = 600.0
    lease_s: float = 3600.0

    @classmethod
    def of(
        cls, where: str | None, wait: str | None = None, lease: str | None = None, *, one_each: bool = False
    ) -> FleetOptions:
        """The same from options as they were typed: times are "10min"."""
        from swapbench import units
        from swapbench.errors import UserError

        given = {"--one-each": one_each, "--wait": wait, "--lease": lease}
        if where is None and (named := next((name for name, value in given.items() if value), None)):
            raise UserError(
                f"{named} is for a fleet", remedy="Name its scheduler with --fleet, or leave it out"
            )
        times = {
            f"{name[2:]}_s": units.amount(str(given[name]), "time", name) / 1e9
            for name in ("--wait", "--lease")
            if given[name]
        }
        return cls(where, one_each, **times)


def shard_numbers(text: str | None) -> tuple[int, int] | None:
    """Which of how many shards, as it was typed, "2/8".

    Raises:
        UserError: It is none.
    """
    from swapbench.errors import UserError

    if text is None:
        return None
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 10_000):
        raise UserError(f"--shard {text!r} is no shard", remedy="Write which of how many: --shard 2/8")
    return int(number), int(of)
