"""Energy from a phone's battery while its cable is out, measured by the phone itself.

Most phones charge over the cable that carries adb. So the energy pass of all files is left on the phone as jobs, a person
pulls the cable once, and the answers are collected when it is back. What the other passes found waits meanwhile as drafts
beside the records: an interrupt loses nothing, and the same run goes on by collecting.

A job is a serving worker whose requests are known beforehand: idle, busy and idle windows as in `passes.measure_power`, with the
files of the meters and of the cable watched in all of them.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from swapbench import store
from swapbench.bench.doubt import power_doubts
from swapbench.bench.paced import at_frame_rate
from swapbench.bench.passes import SETTLE_S as BETWEEN_S
from swapbench.bench.passes import measured
from swapbench.bench.steadiness import phone_doubts
from swapbench.bench.workers import is_answer
from swapbench.errors import DeviceFailed, EnvironmentFailed, SwapbenchError, Unreachable, WorkerFailed
from swapbench.files import write_atomically
from swapbench.ports import DetachableDevice, DetachedJob, WatchingRuntime
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Detached, Device, Progress, Runtime, SampledMeter, Samples, Say
    from swapbench.records import Plan, Power, Record

SETTLE_S: Final = 20.0
"""After the cable went a charger circuit, a gauge and a screen that lights up come to rest."""
PATIENCE_S: Final = 900.0
LOAD_S: Final = 5.0
"""What loading and warming up one file takes at most, for the time that is told."""
RETURN_S: Final = 3600.0
POLL_S: Final = 2.0
GRACE_POLLS: Final = 2
ASLEEP_NS: Final = 50_000_000
BASIS: Final = "the phone measured by itself, its cable out"
_AGAIN: Final = "Measure again, and leave the cable out until the time that is told is over."


@dataclass(frozen=True)
class Unplugged:
    """What a run without the cable needs: what makes energy of the battery's files, or why nothing can; and what tells a person."""

    meters: tuple[SampledMeter, ...] | Absent
    say: Say


@dataclass(frozen=True)
class UnpluggedEnergy:
    """The energy pass of one run. runtimes: what reads the answers about each record, by its id."""

    device: Device
    unplugged: Unplugged
    runtimes: Mapping[str, Runtime]
    plan: Plan
    folder: Path
    progress: Progress
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    # -------------------------------------------------------------------------------------- drafts

    def keep(self, record: Record) -> None:
        """A record whose energy is still to come."""
        store.save_draft(record, self.folder)

    def drafts(self) -> dict[str, Record]:
        """The records of this run whose energy is still to come, by id; those that cannot be read are measured again."""
        return {name: one for name, one in store.drafts(self.folder).items() if name in self.runtimes}

    def _finish(self, record: Record, found: tuple[Power, ...] | EnvironmentFailed) -> None:
        """The record with its energy, or with the reason why it has none; what was measured on the cable stays beside it."""
        attached = () if isinstance(record.power, Absent) else record.power
        power: tuple[Power, ...] | Absent
        if isinstance(found, tuple):
            power = (*attached, *found)
            doubts = [*record.doubts, *(doubt for one in found for doubt in power_doubts(one))]
            known = {one.code for one in doubts}
            after = self.device.describe()
            alone = after.replace(state_before=after.state, start_gate=None)
            doubts += [one for one in phone_doubts(alone) if one.code not in known]
            record = record.replace(doubts=tuple(doubts))
        else:
            power = attached or Absent(absent=str(found.args[0]), remedy=found.remedy)
        store.save(record.replace(power=power), self.folder)
        store.drop_draft(record.id, self.folder)

    # -------------------------------------------------------------------------------------- the two ways in

    def collect_earlier(self) -> list[tuple[str, SwapbenchError]]:
        """Wait for and collect what an earlier command left on the phone for this run, if it did; the failures, by files."""
        left = _Left.read(self.folder)
        if left is None:
            return []
        device = self._device()
        kept = device.detached()
        if kept is None or kept.token != left.token:
            left.forget(self.folder)  # it was ended by hand, or never began
            return []
        self.unplugged.say("Going on with what the phone measures, or has measured, by itself.")
        return self._collect(device, left)

    def measure(self, subjects: Mapping[str, FileUnderTest]) -> list[tuple[str, SwapbenchError]]:
        """Leave the energy pass of every draft on the phone, have the cable pulled, wait, collect; the failures, by files.

        Raises DeviceFailed where the phone does not come back, or keeps the work of another run.
        """
        drafts = self.drafts()
        if not drafts:
            return []
        device = self._device()
        try:
            with self.device.quiet(self.plan):
                left = self._leave(device, {name: subjects[name] for name in drafts})
                minutes = math.ceil((left.expected_s + 30) / 60)
                self.unplugged.say(
                    f"Pull the cable of {device.name} now, and plug it in again after about {minutes} "
                    f"minute{'s' * (minutes != 1)}. Leave the phone alone meanwhile. Ctrl-C loses nothing: the same command goes on."
                )
                return self._collect(device, left)
        except _Refused as refusal:
            self.device.describe()  # raises where the device is gone: then nothing is final
            for record in drafts.values():
                self._finish(record, refusal.why)
            return [(_names(drafts.values()), refusal.why)]

    def _device(self) -> DetachableDevice:
        if not isinstance(self.device, DetachableDevice):
            raise DeviceFailed(f"{self.device.name} cannot measure by itself")
        return self.device

    # -------------------------------------------------------------------------------------- leaving

    def _leave(self, device: DetachableDevice, subjects: Mapping[str, FileUnderTest]) -> _Left:
        meters = self.unplugged.meters
        if isinstance(meters, Absent):
            raise _Refused(DeviceFailed(meters.absent, remedy=meters.remedy))
        kept = device.detached()
        if kept is not None and kept.finished:
            raise DeviceFailed(
                f"{device.name} keeps what it measured by itself for another run",
                remedy=f"Collect it with the command that began it, or throw it away with: swapbench device end {device.name}",
            )
        try:
            for meter in meters:
                meter.check()
            cable = device.cable_files()
            watched = tuple(dict.fromkeys((*(file for meter in meters for file in meter.files), *cable)))
            period_ms = min(meter.period_ms for meter in meters)
            jobs = [job_of(one, watched, period_ms, self.plan) for one in subjects.values()]
            each_s = LOAD_S + 3 * (self.plan.power_window_s + BETWEEN_S)
            left = _Left(secrets.token_hex(8), watched, cable, SETTLE_S + len(jobs) * each_s)
            left.write(self.folder)
            device.detach(left.token, jobs, patience_s=PATIENCE_S, settle_s=SETTLE_S)
        except Unreachable:
            raise
        except DeviceFailed as failure:
            raise _Refused(failure) from None
        return left

    # -------------------------------------------------------------------------------------- waiting and collecting

    def _collect(self, device: DetachableDevice, left: _Left) -> list[tuple[str, SwapbenchError]]:
        """Raises DeviceFailed where the phone stays away or goes again: nothing is thrown away before all is here."""
        seen = self._wait(device, left)
        meters = self.unplugged.meters
        if isinstance(meters, Absent):
            raise DeviceFailed(meters.absent, remedy=meters.remedy)
        failures: dict[str, tuple[list[Record], EnvironmentFailed]] = {}
        for name, record in self.drafts().items():
            found: tuple[Power, ...] | EnvironmentFailed
            if name in seen.finished:
                try:
                    answers: str | WorkerFailed = device.detached_answers(name)
                except WorkerFailed as failure:
                    answers = failure
                found = self._power(name, answers, meters, left)
            else:
                found = _unfinished(seen, device.name)
            if isinstance(found, EnvironmentFailed):
                failures.setdefault(str(found), ([], found))[0].append(record)
            self._finish(record, found)
        device.end_detached()
        left.forget(self.folder)
        return [(_names(records), failure) for records, failure in failures.values()]

    def _wait(self, device: DetachableDevice, left: _Left) -> Detached:
        """Until the jobs have ended, or can no more be done. DeviceFailed where the phone stays away."""
        began_s, spoiled, trouble = self.clock(), 0, ""
        pulled_s: float | None = None
        reminded = undisturbed = False
        seen: Detached | None = None
        while True:
            try:
                # one that is reached without its cable, over Wi-Fi, is not asked while it measures
                seen = seen if undisturbed else device.detached()
            except DeviceFailed as failure:
                seen = None
                # one that is not away but does not trust us any more has to be told; a line that breaks as it is pulled has not
                if str(failure) == trouble and not isinstance(failure, Unreachable):
                    self.unplugged.say(f"{failure}")
                    trouble = "told"
                elif trouble != "told":
                    trouble = str(failure)
            else:
                if seen is None or seen.token != left.token:
                    raise DeviceFailed(
                        f"{device.name} keeps nothing any more of what it should measure by itself",
                        remedy="Run the same command again: only the energy is measured anew.",
                    )
                spoiled = spoiled + 1 if seen.begun and not seen.unplugged else 0
                if seen.ended or not seen.alive or spoiled > GRACE_POLLS:
                    return seen
            now_s = self.clock()
            if pulled_s is None and (seen is None or seen.begun):
                pulled_s = now_s
            if pulled_s is None:
                waited_s = min(now_s - began_s, PATIENCE_S)
                self.progress("waiting for the cable to be pulled", waited_s, PATIENCE_S)
            else:
                spent_s = now_s - pulled_s
                undisturbed = seen is not None and seen.unplugged and spent_s < left.expected_s
                self.progress(
                    "the phone measures without its cable", min(spent_s, left.expected_s), left.expected_s
                )
                if seen is None and spent_s > left.expected_s and not reminded:
                    self.unplugged.say(f"{device.name} should be done: plug it in again.")
                    reminded = True
            if now_s - began_s > PATIENCE_S + left.expected_s + RETURN_S:
                raise DeviceFailed(
                    f"{device.name} has not come back for {(now_s - began_s) / 60:.0f} minutes",
                    remedy="Plug it in and run the same command again: it keeps what it measured.",
                )
            self.sleep(POLL_S)

    def _power(
        self, name: str, answers: str | WorkerFailed, meters: Sequence[SampledMeter], left: _Left
    ) -> tuple[Power, ...] | EnvironmentFailed:
        if isinstance(answers, WorkerFailed):
            return answers
        try:
            windows, runs = windows_of(answers, self.runtimes[name])
            refuse_unless_unplugged(windows, [left.watched.index(file) for file in left.cable])
        except EnvironmentFailed as failure:
            return failure
        found: list[Power | DeviceFailed] = []
        for meter in meters:
            columns = [left.watched.index(file) for file in meter.files if file in left.watched]
            if len(columns) < len(meter.files):
                continue
            before, busy, after = (window.of(columns) for window in windows)
            try:
                power = meter.power(before, busy, after, runs)
                found.append(power.replace(basis=(*power.basis, BASIS)))
            except DeviceFailed as failure:
                found.append(failure)
        if not found:
            return DeviceFailed("the files that were watched are no longer those of a meter", remedy=_AGAIN)
        powers = measured(found)
        return DeviceFailed(powers.absent, remedy=powers.remedy) if isinstance(powers, Absent) else powers


class _Refused(Exception):
    """The jobs cannot be left on the phone, and trying again would not help: records are final without them."""

    def __init__(self, why: DeviceFailed) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(frozen=True)
class _Left:
    """What is noted here of the jobs on the phone, to know them again: their token, the files that they watch, how long it takes."""

    token: str
    watched: tuple[str, ...]
    cable: tuple[str, ...]
    expected_s: float

    @staticmethod
    def _path(folder: Path) -> Path:
        return store.drafts_folder(folder) / "left.txt"

    @classmethod
    def read(cls, folder: Path) -> _Left | None:
        try:
            told = json.loads(cls._path(folder).read_bytes())
            return cls(told["token"], tuple(told["watched"]), tuple(told["cable"]), float(told["expected_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        write_atomically(self._path(folder), json.dumps(vars(self), indent=1) + "\n")

    def forget(self, folder: Path) -> None:
        self._path(folder).unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------- jobs and their answers


def job_of(subject: FileUnderTest, watched: Sequence[str], period_ms: int, plan: Plan) -> DetachedJob:
    """The energy pass of one file as a program with its requests: each window after a moment of rest, whose rows nobody reads."""
    if plan.fps is not None:
        subject = at_frame_rate(subject, plan.fps)
    argv = subject.command("serve", plan, watch=",".join(watched), period_ms=period_ms)
    window_ns, rest = round(plan.power_window_s * 1e9), {"idle_ns": round(BETWEEN_S * 1e9)}
    idle, busy = {"idle_ns": window_ns}, {"slice_ns": window_ns, "wake_runs": 0}
    requests: list[Mapping[str, Any]] = [rest, idle, rest, busy, rest, idle]
    return DetachedJob(subject.name, tuple(argv), "".join(f"{json.dumps(one)}\n" for one in requests))


def windows_of(answers: str, runtime: Runtime) -> tuple[tuple[Samples, Samples, Samples], int]:
    """The idle, busy and idle window that a job of `job_of` told of, and the runs in the busy one.

    WorkerFailed where the worker failed or said less; DeviceFailed where the phone slept in between: what its battery lost
    then is in no window's time.
    """
    if not isinstance(runtime, WatchingRuntime):
        raise WorkerFailed(
            f"the worker of {runtime.name} cannot watch files", remedy="Use the native runner."
        )
    lines = [line for line in answers.splitlines() if is_answer(line)]
    for line in lines:
        if '"event":"error"' in line.replace('": "', '":"'):
            runtime.parse_loaded(line)
    if len(lines) != 8:
        raise WorkerFailed(f"the worker on the phone gave {len(lines)} of 8 answers", remedy=_AGAIN)
    runtime.parse_loaded(lines[0])
    first, before, _, busy, _, after = (runtime.parse_samples(lines[place]) for place in (1, 2, 3, 5, 6, 7))
    asleep_ns = after.asleep_ns - first.asleep_ns
    if asleep_ns > ASLEEP_NS:
        raise DeviceFailed(
            f"the phone slept for {asleep_ns / 1e9:.1f} s while it measured",
            remedy="Keep its screen on (developer options: Stay awake helps on a cable only), and measure again.",
        )
    return (before, busy, after), len(runtime.parse_slice(lines[4]).run_ns)


def refuse_unless_unplugged(windows: Sequence[Samples], columns: Sequence[int]) -> None:
    """DeviceFailed where one of the cable's files, which read 0 while it is out, showed anything else in a window."""
    for window in windows:
        for row in window.values:
            if any(row[column] not in {0, None} for column in columns):
                raise DeviceFailed("the cable was in for a moment while the phone measured", remedy=_AGAIN)


def _unfinished(seen: Detached, device: str) -> DeviceFailed:
    """Why a job has no answers."""
    if seen.ended == "waited":
        return DeviceFailed(
            f"nobody pulled the cable of {device} within {PATIENCE_S / 60:.0f} minutes",
            remedy="Measure again, and pull it when that is asked for; "
            "where it was pulled, this phone's files do not tell: use adb over Wi-Fi without --detached.",
        )
    if seen.ended == "plugged" or (seen.alive and seen.begun):
        return DeviceFailed(f"the cable of {device} came back too early", remedy=_AGAIN)
    if seen.restarted:
        return DeviceFailed(f"{device} was restarted while it measured", remedy=_AGAIN)
    return DeviceFailed(
        f"what {device} measured by itself was ended before it was done",
        remedy="Phones end what runs in the background when memory is short: close its apps, and measure again.",
    )


def _names(records: Any) -> str:
    names = [one.artifact for one in records]
    return f"energy of {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
