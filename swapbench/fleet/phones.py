"""The phones of a host: which are attached, what they are, and how they are."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from swapbench import catalog
from swapbench.devices import leases
from swapbench.devices.adb import Adb
from swapbench.devices.adb_client import find_adb, list_phones
from swapbench.devices.android_profile import READY, attached, fits, read_profile
from swapbench.errors import SwapbenchError

if TYPE_CHECKING:
    from pathlib import Path

BATTERY_S: Final = 60.0
"""How often the battery of a phone is asked that nobody uses."""
_LEVEL = re.compile(r"^\s*level: (\d+)", re.MULTILINE)


@dataclass
class _Seen:
    state: str
    profiles: tuple[str, ...] = ()
    model: str = ""
    boot_id: str = ""
    known: bool = False
    battery: int | None = None
    asked_s: float = -1e9


@dataclass
class Phones:
    """The phones of a host that it may offer.

    Attributes:
        folder: The working folder, whose device profiles count beside the built-in ones.
        serials: Of those that may be offered; none for all.
        note: Why phones cannot be listed.
    """

    folder: Path
    serials: tuple[str, ...] = ()
    note: str = ""
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def look(self) -> dict[str, tuple[str, ...]]:
        """Serial -> fitting profiles, of every phone that can be used now."""
        try:
            listed = dict(list_phones(find_adb()))
            self.note = ""
        except (SwapbenchError, TimeoutError) as error:
            self.note = str(error)
            listed = {}
        listed = {
            serial: state for serial, state in listed.items() if not self.serials or serial in self.serials
        }
        self._seen = {serial: seen for serial, seen in self._seen.items() if serial in listed}
        for serial, state in listed.items():
            self._seen.setdefault(serial, _Seen(state)).state = state
        new = {serial for serial, seen in self._seen.items() if seen.state == READY and not seen.known}
        if new:
            self._recognise(new)
        for serial, seen in self._seen.items():
            self._ask_battery(serial, seen)
        return {
            serial: seen.profiles
            for serial, seen in self._seen.items()
            if seen.state == READY and seen.profiles
        }

    def _recognise(self, new: set[str]) -> None:
        """Ask phones that came what they are; one over several connections is offered once."""
        folders = catalog.Folders(self.folder)
        profiles = []
        for name in catalog.device_files(folders):
            try:
                path, kind = catalog.profile_file(folders, name)
                if kind == "android":
                    profiles.append(read_profile(path))
            except SwapbenchError:
                continue
        try:
            phones = attached(only=new)
        except (SwapbenchError, TimeoutError):
            return
        boots = {seen.boot_id for seen in self._seen.values() if seen.boot_id}
        for phone in phones:
            if phone.state != READY or phone.boot_id in boots:
                continue
            names = (phone.properties.get(f"ro.product.{key}", "") for key in ("manufacturer", "model"))
            fitting = tuple(profile.name for profile in profiles if fits(profile, phone))
            model = " ".join(filter(None, names))
            self._seen[phone.serial] = _Seen(phone.state, fitting, model, phone.boot_id)
        for serial in new:
            self._seen[serial].known = True

    def _ask_battery(self, serial: str, seen: _Seen) -> None:
        """Ask a phone that nobody uses for its battery, now and then."""
        now_s = time.monotonic()
        if seen.state != READY or now_s - seen.asked_s < BATTERY_S or leases.holder_of(serial) is not None:
            return
        seen.asked_s = now_s
        try:
            level = _LEVEL.search(Adb(serial).query("dumpsys battery").stdout)
        except SwapbenchError:
            return
        seen.battery = int(level[1]) if level else None

    def about(self) -> list[dict[str, Any]]:
        """A row for each, for people."""
        rows = []
        for serial, seen in sorted(self._seen.items()):
            lease = leases.holder_of(serial)
            rows.append(
                {
                    "serial": serial,
                    "state": seen.state,
                    "model": seen.model,
                    "profiles": list(seen.profiles),
                    "battery": seen.battery,
                    "held_by": f"{lease.holder} {lease.span}" if lease else "",
                }
            )
        return rows
