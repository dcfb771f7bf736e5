"""Which attached phone a profile means: profiles are files, phones are told apart by properties, never picked silently."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator

from swapbench.devices import adb_text, android_text
from swapbench.devices.adb import Adb, find_adb, listed
from swapbench.errors import DeviceFailed, UserError
from swapbench.records import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY = "device"
TRY_EMULATED = "Without a phone, try the emulated one: make phone"


class SteadyRules(Frozen):
    """When a phone is cool enough to begin: its surface at most `start_below_c`, waited for at most `cool_down_s`."""

    start_below_c: float = Field(default=35.0, ge=15.0, le=60.0)
    cool_down_s: float = Field(default=600.0, ge=0.0)


class Rails(Frozen):
    """Power rails that are disjoint and are added up, in the names of the phone's power stats."""

    summed: tuple[str, ...] = ()

    @field_validator("summed")
    @classmethod
    def _each_once(cls, summed: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in summed if summed.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} would be added up twice")
        return summed


class Profile(Frozen):
    """A kind of phone, as a file in `devices/` tells it.

    match: property -> patterns (* and ? as in a shell), of which one must fit, for every property.
    soc: its usual name, for phones that do not tell; cores: how many there are of each kind, checked by the doctor.
    """

    name: str
    kind: Literal["android"]
    summary: str = ""
    match: dict[str, tuple[str, ...]] = Field(min_length=1)
    soc: str = ""
    cores: dict[Literal["big", "mid", "little"], int] = Field(default_factory=dict)
    rails: Rails = Rails()
    steady: SteadyRules = SteadyRules()


@dataclass(frozen=True)
class Phone:
    """An attached phone: its state as adb says it ("device" is ready), and its properties where it is ready."""

    serial: str
    state: str
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """How a phone is called in messages."""
        if self.state != READY:
            return f"{self.serial} ({self.state})"
        maker, model = (
            self.properties.get(f"ro.product.{key}", "").strip() for key in ("manufacturer", "model")
        )
        return f"{self.serial} ({f'{maker} {model}'.strip() or 'unknown model'})"


def read_profile(path: Path) -> Profile:
    """A device profile. UserError, with the file and the field, where it is malformed."""
    try:
        told: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Profile.model_validate(told)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise UserError(f"the device profile {path} cannot be read ({problem})") from None
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"the device profile {path} is wrong at {where}: {first['msg']}",
            remedy="Compare it with a built-in one, e.g. devices/pixel7.toml",
        ) from None


def attached(program: str | None = None) -> tuple[Phone, ...]:
    """Every phone that adb lists, with the properties of those that answer. DeviceFailed where adb itself does not work."""
    program = program or find_adb()
    phones = []
    for serial, state in listed(program):
        told: Mapping[str, str] = {}
        if state == READY:
            try:
                told = android_text.properties(Adb(serial, program).query("getprop").stdout)
            except DeviceFailed:
                state = "does not answer"  # noqa: PLW2901 - one that goes away must not hide the others
        phones.append(Phone(serial, state, told))
    return tuple(phones)


def fits(profile: Profile, phone: Phone) -> bool:
    """Whether a phone's properties are those of a profile."""
    return phone.state == READY and all(
        any(fnmatchcase(phone.properties.get(name, ""), pattern) for pattern in patterns)
        for name, patterns in profile.match.items()
    )


def phone_for(profile: Profile, phones: Sequence[Phone], serial: str | None = None) -> Phone:
    """The one phone that a profile means, or the one of that serial.

    DeviceFailed, with what is attached, where there is none, where there are several, where the phone is not ready, or
    where the serial is of a phone that is something else than the profile says: its records would carry a wrong name.
    """
    here = f"Attached: {', '.join(phone.text for phone in phones)}." if phones else "No phone is attached."
    if serial is not None:
        return _with_serial(profile, phones, serial, here)
    fitting = [phone for phone in phones if fits(profile, phone)]
    if len(fitting) > 1:
        raise DeviceFailed(
            f"{len(fitting)} attached phones fit the profile {profile.name}: {', '.join(one.text for one in fitting)}",
            remedy=f"Say which one, e.g. --serial {fitting[0].serial}",
        )
    if fitting:
        return fitting[0]
    waiting = [phone for phone in phones if phone.state != READY]
    if len(waiting) == 1 and len(phones) == 1:
        raise adb_text.explained(waiting[0].serial, f"device {waiting[0].state}", "looking for phones")
    remedy = f"Connect it and allow USB debugging. {TRY_EMULATED}"
    if any(phone.state == READY for phone in phones):
        remedy = f"Name the profile of an attached phone, or --device generic-arm64 for any. {TRY_EMULATED}"
    raise DeviceFailed(f"no attached phone fits the profile {profile.name}. {here}", remedy=remedy)


def _with_serial(profile: Profile, phones: Sequence[Phone], serial: str, here: str) -> Phone:
    phone = next((phone for phone in phones if phone.serial == serial), None)
    if phone is None:
        raise DeviceFailed(
            f"there is no phone with the serial {serial}. {here}",
            remedy="Connect it, or correct --serial; swapbench devices lists what is attached.",
        )
    if phone.state != READY:
        raise adb_text.explained(serial, f"device {phone.state}", "looking for phones")
    if not fits(profile, phone):
        told = ", ".join(
            f"{name} {phone.properties.get(name, '(none)')!r} is not {' or '.join(patterns)}"
            for name, patterns in profile.match.items()
        )
        raise DeviceFailed(
            f"phone {phone.text} is not a {profile.name}: {told}",
            remedy="Use the profile that fits it, or --device generic-arm64",
        )
    return phone
