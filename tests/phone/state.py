"""The state that a phone answers from: the switches that tests turn while it runs."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, field, fields

THERMAL_STATUSES = range(7)


@dataclass
class State:
    """Every switch with the value it has on a healthy phone.

    The link: `authorised` (the person allowed this computer), `answering` (else adb calls the phone
    offline), `cable` (else nothing can connect; an attached charger goes with it),
    `adbd_restarts_on_unplug` (what it started ends with it), `pull_cable_after_push_bytes` (once),
    `shell_delay_s`, `cut_shell_after_bytes` (the stream ends there, once).

    The disk: `disk_free_bytes` (None: plenty), `noexec` (nothing below /data may run).

    What can be read: `missing` and `unreadable` (shell patterns of paths under /sys), `missing_services`
    (dumpsys), `power_stats_refused` (by the system's policy, to adb's shell, as on stock builds), `traced`
    (Perfetto's service runs).

    Power: `charging`, `suspend_input_works`, `input_suspended`, `battery_faked` (field: value),
    `battery_saver`, `level_percent`, `charge_quantum_uah` (None: the dialect's).

    Heat: `thermal_status` (0 to 6; frequency caps and the skin sensor follow), `thermal_override` (faked),
    `cpu_c`, `battery_c`, `skin_c` (None: what the status means).

    The rest: `screen_on`, `stay_on`, `governor` (None: the dialect's), `properties` and `settings` that
    were set, `settings_denied` (adb may change no setting and press no key, as on Xiaomi's phones).
    """

    authorised: bool = True
    answering: bool = True
    cable: bool = True
    adbd_restarts_on_unplug: bool = False
    pull_cable_after_push_bytes: int | None = None
    shell_delay_s: float = 0.0
    cut_shell_after_bytes: int | None = None
    disk_free_bytes: int | None = None
    noexec: bool = False
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    missing_services: list[str] = field(default_factory=list)
    power_stats_refused: bool = True
    traced: bool = True
    charging: bool = False
    suspend_input_works: bool = True
    input_suspended: bool = False
    battery_faked: dict[str, str] = field(default_factory=dict)
    battery_saver: bool = False
    level_percent: float = 72.0
    charge_quantum_uah: int | None = None
    thermal_status: int = 0
    thermal_override: int | None = None
    cpu_c: float = 41.0
    battery_c: float = 29.1
    skin_c: float | None = None
    screen_on: bool = True
    stay_on: bool = False
    governor: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    settings_denied: bool = False

    def change(self, switches: dict[str, object]) -> None:
        """Turns switches; raises ValueError, and turns none, if a name or a type is wrong."""
        kinds = {item.name: item.type for item in fields(self)}
        for name, value in switches.items():
            if name not in kinds:
                near = difflib.get_close_matches(name, kinds, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(kinds)}"
                raise ValueError(f"there is no switch named {name!r}{hint}")
            if not _fits(value, str(kinds[name])):
                raise ValueError(f"{name} takes {kinds[name]}, not {value!r}")
        status = switches.get("thermal_status", self.thermal_status)
        if status not in THERMAL_STATUSES:
            raise ValueError(f"thermal_status goes from 0 to 6, not {status}")
        for name, value in switches.items():
            setattr(self, name, value)
        if not self.cable:
            self.charging = False

    def reset(self) -> None:
        """Makes the phone healthy again."""
        self.change(asdict(State()))

    @property
    def charges(self) -> bool:
        """Whether current really flows into the battery."""
        return self.charging and not self.input_suspended

    @property
    def skin(self) -> float:
        """Skin temperature in degrees C: as set, or just above the threshold of the status."""
        if self.skin_c is not None:
            return self.skin_c
        return 31.7 if self.thermal_status == 0 else SKIN_THRESHOLDS_C[self.thermal_status] + 0.4

    @property
    def frequency_share(self) -> float:
        """The part of the highest frequency that throttling and the battery saver leave."""
        share = (1.0, 0.9, 0.75, 0.6, 0.45, 0.3, 0.3)[self.thermal_status]
        return min(share, 0.7) if self.battery_saver else share


# Index: thermal status. Status 0 has no threshold.
SKIN_THRESHOLDS_C = (0.0, 39.0, 43.0, 45.0, 46.5, 52.0, 55.0)


def _fits(value: object, kind: str) -> bool:
    if value is None:
        return kind.endswith("None")
    expected = kind.split(" |", maxsplit=1)[0].split("[", maxsplit=1)[0]
    if expected == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if expected == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return type(value).__name__ == expected
