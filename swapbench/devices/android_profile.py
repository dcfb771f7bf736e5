"""Which attached phone a profile means: phones are told apart by properties and never picked silently."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError, field_validator

from swapbench.cards import first_problem
from swapbench.devices import adb_text, android_text
from swapbench.devices.adb import Adb
from swapbench.devices.adb_client import find_adb, list_phones
from swapbench.devices.linux_text import BOOT_ID
from swapbench.errors import DeviceFailed, UserError
from swapbench.files import toml_table
from swapbench.records import FileName, Frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

READY = "device"
_OVER_NETWORK = re.compile(r":\d+$|\._adb(-tls-connect)?\._tcp\.?$")
"""Serials of phones that are reached over TCP: an address, or the mDNS name of wireless debugging."""
TRY_EMULATED = "Without a phone, try the emulated one: make phone"


class SteadyRules(Frozen):
    """When a phone is cool enough to begin: its surface at the limit or less, or `cool_down_s` over.

    Attributes:
        start_below_c: The limit on battery.
        start_below_plugged_c: The limit with a cable in, whose current warms the phone: with its screen lit
            it stays at some 36 degrees, however long one waits.
        cool_down_s: How long to wait.
    """

    start_below_c: float = Field(default=35.0, ge=15.0, le=60.0)
    start_below_plugged_c: float = Field(default=37.0, ge=15.0, le=60.0)
    cool_down_s: float = Field(default=600.0, ge=0.0)


class Rails(Frozen):
    """Disjoint power rails that are added up, by their names in the phone's power stats."""

    summed: tuple[str, ...] = ()

    @field_validator("summed")
    @classmethod
    def _each_once(cls, summed: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in summed if summed.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} would be counted twice")
        return summed


class Profile(Frozen):
    """A kind of phone, as described by a file in `devices/`.

    Attributes:
        name: In records and on the command line.
        kind: What describes it; "android" is the only kind.
        summary: For people.
        match: Android property -> shell patterns; for every property one pattern must match.
        soc: The usual name of the system on chip, for phones that do not report it.
        cores: How many there are of each kind; the doctor checks them.
        rails: What adds up to its power.
        steady: When it is cool enough to measure.
    """

    name: FileName
    kind: Literal["android"]
    summary: str = ""
    match: dict[str, tuple[str, ...]] = Field(min_length=1)
    soc: str = ""
    cores: dict[Literal["big", "mid", "little"], int] = Field(default_factory=dict)
    rails: Rails = Rails()
    steady: SteadyRules = SteadyRules()


@dataclass(frozen=True)
class Phone:
    """An attached phone.

    Attributes:
        serial: As adb prints it.
        state: As adb prints it; "device" means ready.
        properties: Of Android; empty where the phone is not ready.
        boot_id: Of the system that runs on it, the same over every connection; empty where it is unknown.
        others: Serials of the same phone over further connections.
    """

    serial: str
    state: str
    properties: Mapping[str, str] = field(default_factory=dict)
    boot_id: str = ""
    others: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What messages call the phone."""
        if self.state != READY:
            return f"{self.serial} ({self.state})"
        maker, model = (
            self.properties.get(f"ro.product.{key}", "").strip() for key in ("manufacturer", "model")
        )
        return f"{self.serial} ({f'{maker} {model}'.strip() or 'unknown model'})"


def read_profile(path: Path) -> Profile:
    """Read a device profile; UserError, with the file and the field, where it is malformed."""
    try:
        return Profile.model_validate(toml_table(path, "device profile"))
    except ValidationError as problem:
        raise UserError(
            f"the device profile {path} is invalid: {first_problem(problem, Profile)}",
            remedy="Compare it with a built-in one, e.g. devices/pixel7.toml",
        ) from None


def attached(program: str | None = None, only: Collection[str] | None = None) -> tuple[Phone, ...]:
    """Every phone that adb lists, with the properties of those that answer.

    A phone that is reached over several connections is one phone: a cable before the network.

    Args:
        program: adb; None for the one that is found.
        only: Serials of phones; the others are not asked anything.

    Raises:
        DeviceFailed: adb itself does not work.
    """
    program = program or find_adb()
    phones = []
    for serial, state in list_phones(program):
        if only is not None and serial not in only:
            continue
        properties: Mapping[str, str] = {}
        boot_id = ""
        if state == READY:
            try:
                outputs = Adb(serial, program).ask({"properties": "getprop", "boot": f"cat {BOOT_ID}"})
                properties = android_text.properties(outputs["properties"].stdout)
                boot_id = outputs["boot"].stdout.strip() if outputs["boot"].exit_code == 0 else ""
            except DeviceFailed:
                state = "does not answer"  # noqa: PLW2901 - one that goes away must not hide the others
        phones.append(Phone(serial, state, properties, boot_id))
    return _each_once(phones)


def _each_once(phones: Sequence[Phone]) -> tuple[Phone, ...]:
    """Phones of one boot are one phone, under the serial of its cable if it has one.

    Serials cannot tell: over the network they are addresses or names that adb makes.
    """
    connections: dict[str, list[Phone]] = {}
    for phone in phones:
        connections.setdefault(phone.boot_id or phone.serial, []).append(phone)
    once = []
    for same in connections.values():
        best, *rest = sorted(same, key=lambda phone: _OVER_NETWORK.search(phone.serial) is not None)
        once.append(replace(best, others=tuple(phone.serial for phone in rest)))
    return tuple(once)


def fits(profile: Profile, phone: Phone) -> bool:
    """Whether a phone is of the kind that a profile describes."""
    return phone.state == READY and all(
        any(fnmatchcase(phone.properties.get(name, ""), pattern) for pattern in patterns)
        for name, patterns in profile.match.items()
    )


def phone_for(profile: Profile, phones: Sequence[Phone], serial: str | None = None) -> Phone:
    """The one phone that a profile means, or the one with that serial.

    Raises:
        DeviceFailed: There is none, there are several, it is not ready, or the phone with that serial does
            not fit the profile: its records would carry a wrong name. The message lists what is attached.
    """
    here = f"Attached: {', '.join(phone.text for phone in phones)}." if phones else "No phone is attached."
    if serial is not None:
        return _with_serial(profile, phones, serial, here)
    fitting = [phone for phone in phones if fits(profile, phone)]
    if len(fitting) > 1:
        raise DeviceFailed(
            f"{len(fitting)} attached phones fit the profile {profile.name}: "
            f"{', '.join(phone.text for phone in fitting)}",
            remedy=f"Choose one, e.g. --serial {shlex.quote(fitting[0].serial)}",
        )
    if fitting:
        return fitting[0]
    waiting = [phone for phone in phones if phone.state != READY]
    if len(waiting) == 1 and len(phones) == 1:
        raise adb_text.explained(waiting[0].serial, f"device {waiting[0].state}", "looking for phones")
    remedy = f"Connect it and allow USB debugging. {TRY_EMULATED}"
    ready = [phone for phone in phones if phone.state == READY]
    if ready:
        ways = dict.fromkeys(_usable_profile(phone) for phone in ready)
        remedy = f"Use the profile of an attached phone: {'; '.join(ways)}. {TRY_EMULATED}"
    raise DeviceFailed(f"no attached phone fits the profile {profile.name}. {here}", remedy=remedy)


def _usable_profile(phone: Phone) -> str:
    """Which profile takes a phone, whatever its model."""
    abi = phone.properties.get("ro.product.cpu.abi", "")
    if abi == "arm64-v8a":
        return "--device generic-arm64"
    if abi == "x86_64" and phone.properties.get("ro.boot.qemu") == "1":
        return "--device emulated-x86"
    return f"a profile of your own in devices/ that matches {phone.text} ({abi or 'of unknown ABI'})"


def _with_serial(profile: Profile, phones: Sequence[Phone], serial: str, here: str) -> Phone:
    phone = next((phone for phone in phones if serial in {phone.serial, *phone.others}), None)
    if phone is None:
        raise DeviceFailed(
            f"no phone has the serial {serial}. {here}",
            remedy="Connect it, or correct --serial; swapbench devices lists the attached phones.",
        )
    if phone.state != READY:
        raise adb_text.explained(serial, f"device {phone.state}", "looking for phones")
    if not fits(profile, phone):
        mismatch = ", ".join(
            f"{name} {phone.properties.get(name, '(none)')!r} is not {' or '.join(patterns)}"
            for name, patterns in profile.match.items()
        )
        raise DeviceFailed(
            f"phone {phone.text} is not a {profile.name}: {mismatch}",
            remedy=f"Use the profile that fits it, or {_usable_profile(phone)}",
        )
    return replace(phone, serial=serial)  # over the connection that was asked for
