"""The worlds that can be simulated, by their numbers, and the one that is meant where none is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.errors import UnknownName
from swapbench.simulate.world_1 import WORLD_1
from swapbench.simulate.world_2 import WORLD_2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.simulate.domains import World

WORLDS: Mapping[int, World] = {world.number: world for world in (WORLD_1, WORLD_2)}

STANDARD = WORLD_1.number
"""Of the demo, of the bundled networks and of the evidence: it changes together with them."""


def world_named(number: int) -> World:
    """The world with this number.

    Raises:
        UnknownName: there is none.
    """
    if number not in WORLDS:
        raise UnknownName("world", str(number), [str(known) for known in WORLDS])
    return WORLDS[number]
