"""What a simulated world consists of: sites with their sessions, cameras, lights, printers and displays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.simulate.faces import Scene
from swapbench.simulate.instruments import Sheets, Showings
from swapbench.simulate.recapture import Framings

if TYPE_CHECKING:
    import numpy as np

    from swapbench.simulate.camera import Camera
    from swapbench.simulate.instruments import Display, Printer


ORDINARY_FRAMINGS, ORDINARY_SHEETS, ORDINARY_SHOWINGS = Framings(), Sheets(), Showings()


@dataclass(frozen=True)
class Light:
    """Light of one session: ranges from which each scene draws.

    Attributes:
        name: of the session.
        azimuth_deg: direction of the main light.
        elevation_deg: its height over the horizon.
        ambient: share of the light that has no direction.
        kelvin: colour temperature.
    """

    name: str
    azimuth_deg: tuple[float, float]
    elevation_deg: tuple[float, float]
    ambient: tuple[float, float]
    kelvin: tuple[float, float]

    def scene(self, rng: np.random.Generator) -> Scene:
        """A scene under this light."""
        return Scene.draw(rng, self.azimuth_deg, self.elevation_deg, self.ambient, self.kelvin)


@dataclass(frozen=True)
class Session:
    """What was used together: a light, and the cameras and instruments that were at hand under it.

    The last printer and the last display are for the test split only.
    """

    light: Light
    cameras: tuple[Camera, ...]
    printers: tuple[Printer, ...]
    displays: tuple[Display, ...]


@dataclass(frozen=True)
class Domain:
    """A site where data was collected.

    Attributes:
        name: of the site.
        sessions: one of which each capture belongs to.
        framings: how far faces are away.
        sheets: how prints are held.
        showings: how displays are held.
    """

    name: str
    sessions: tuple[Session, ...]
    framings: Framings = ORDINARY_FRAMINGS
    sheets: Sheets = ORDINARY_SHEETS
    showings: Showings = ORDINARY_SHOWINGS

    @staticmethod
    def mixed(
        name: str,
        cameras: tuple[Camera, ...],
        lights: tuple[Light, ...],
        printers: tuple[Printer, ...],
        displays: tuple[Display, ...],
    ) -> Domain:
        """A site where every camera and every instrument is used under every light."""
        return Domain(name, tuple(Session(light, cameras, printers, displays) for light in lights))


@dataclass(frozen=True)
class Crowd:
    """Who is in a split, and how often each is captured.

    Attributes:
        people: over all domains.
        captures: bona fide, print and replay images of each.
    """

    people: int
    captures: tuple[int, int, int]


@dataclass(frozen=True)
class World:
    """All that decides what a simulated data set is like, but for its seed and its size in pixels.

    Attributes:
        number: of this version.
        domains: its sites.
        crowds: of the splits train, dev and test.
        revision: raised when a number of the world changes, so that its folders have other names.
    """

    number: int
    domains: tuple[Domain, ...]
    crowds: tuple[Crowd, Crowd, Crowd]
    revision: int = 1
