"""A report of a phone that a person can send, and what swapbench makes of such a report."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from swapbench import catalog, doctor, units
from swapbench.commands import place
from swapbench.commands.device import findings_of, unreachable
from swapbench.devices.android_probe import probe
from swapbench.devices.phone_collect import collected
from swapbench.devices.phone_replay import ONCE, ReplayedAdb, replayed
from swapbench.devices.phone_report import TRACE, Answer, PhoneReport, read_report
from swapbench.errors import DeviceFailed, UserError
from swapbench.meters.perfetto import COMMAND, printed_trace
from swapbench.meters.perfetto_trace import only_rails, traced_rails

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.options import DeviceOptions
    from swapbench.devices.android import Android
    from swapbench.records import Finding


@dataclass(frozen=True)
class Replay:
    """What swapbench makes of a report.

    Attributes:
        report: What was asked then.
        findings: Of the doctor of today.
        changed: Those that differ from what it found then, as (name, then, now); None where there was none.
        unanswered: Command lines that the report has no answer to.
    """

    report: PhoneReport
    findings: tuple[Finding, ...]
    changed: tuple[tuple[str, Finding | None, Finding | None], ...]
    unanswered: tuple[str, ...]


def make_report(folders: Folders, options: DeviceOptions) -> PhoneReport:
    """Everything that a person can send of a phone, without what is its owner's. Nothing is written.

    Raises:
        UserError: The device is not a phone.
        DeviceFailed: It cannot be reached.
    """
    if catalog.profile_file(folders, options.name)[1] != "android":
        raise UserError(
            f"--bundle is for phones, and the device {options.name} is none",
            remedy="Name a phone with --device; swapbench devices lists them.",
        )
    phone = cast("Android", catalog.device(folders, options.name, options.serial))
    findings = findings_of(folders, phone, options.name)
    if unreachable(findings):
        raise DeviceFailed(findings[0].detail, remedy=findings[0].remedy)
    return collected(phone, findings, _traced(phone))


def _traced(phone: Android) -> tuple[Answer, ...]:
    """What Perfetto traces of power rails: as it is for a replay, and to be read."""
    done = phone.adb.query(COMMAND)
    try:
        trace = only_rails(printed_trace(done))
        rails = traced_rails(trace)
    except DeviceFailed as failure:
        status = done.exit_code or 1
        return (
            Answer(
                words=TRACE,
                status=status,
                text="",
                errors=done.stderr or str(failure),
                begins=True,
            ),
        )
    lines = [
        f"{rail.text}: {units.energy(rail.energy_uj)}" for reading in rails[:1] for rail in reading.rails
    ]
    return (
        Answer(words=TRACE, status=0, text=base64.b64encode(trace).decode(), begins=True),
        Answer(words="rails in the trace", status=0, text="\n".join(lines) + "\n"),
    )


def gist(finding: Finding | None) -> tuple[str, ...]:
    """What a finding says, to be compared.

    Memory, heat and load differ from one moment to the next, and programs complain in words of their own.
    """
    said = ("", "", "") if finding is None else (finding.state, finding.detail, finding.remedy)
    return tuple(re.sub(r"[\d.,]+|: cat: .*", "", text) for text in said)


def replay(path: Path) -> Replay:
    """What the doctor of today makes of a report, and what it found then.

    Raises:
        UserError: The file is no report.
    """
    report = read_report(path)
    then = {finding.name: finding for finding in report.findings}
    with replayed(report) as phone:
        asked = [*probe(phone), *doctor.energy(place.phone_meters(phone))]
        unanswered = cast("ReplayedAdb", phone.adb).unanswered()
    now = {finding.name: finding for finding in asked}
    findings = [then.get(name, finding) if name in ONCE else finding for name, finding in now.items()]
    names = [name for name in dict.fromkeys((*then, *now)) if name not in ONCE]
    pairs = [(name, then.get(name), now.get(name)) for name in names]
    changed = tuple((name, old, new) for name, old, new in pairs if gist(old) != gist(new))
    return Replay(report, tuple(findings), changed, unanswered)
