"""Energy from a phone's battery while its cable is unplugged, measured by the phone itself.

Most phones charge over the cable that carries adb. So the energy pass of all files is left on the phone as
jobs, a person unplugs the cable once, and the answers are collected when it is back. What the other passes
have measured is set aside meanwhile as drafts: an interrupt loses nothing, and the same command goes on by
collecting.

A job is a serving worker whose requests are known beforehand: idle, busy and idle windows as in
`energy.measure_power`, with the files of the meters and of the cable sampled in all of them.
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
from swapbench.bench.draft import set_aside_drafts
from swapbench.bench.energy import SETTLE_S as REST_S
from swapbench.bench.energy import readable_powers
from swapbench.bench.paced import at_frame_rate
from swapbench.bench.steadiness import phone_doubts
from swapbench.bench.workers import is_answer
from swapbench.errors import DeviceFailed, EnvironmentFailed, SwapbenchError, Unreachable, WorkerFailed
from swapbench.files import write_atomically
from swapbench.ports import DetachableDevice, DetachedJob, WatchingRuntime
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from swapbench.bench.draft import Draft
    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Detached, Device, Progress, Runtime, SampledMeter, Samples, Say
    from swapbench.records import Plan, Power

SETTLE_S: Final = 20.0
"""Once the cable is out, the charging circuit, fuel gauge and screen need so long to settle."""
PATIENCE_S: Final = 900.0
"""How long the phone waits for its cable to be unplugged."""
LOAD_S: Final = 5.0
"""What loading and warming up one file takes at most, for the time that the person is told."""
RETURN_S: Final = 3600.0
"""How long after the last window the phone may come back."""
POLL_S: Final = 2.0
GRACE_POLLS: Final = 2
"""How many looks in a row may find the cable plugged in before the jobs count as spoiled."""
ASLEEP_NS: Final = 50_000_000
BASIS: Final = "the phone measured by itself, its cable unplugged"
_AGAIN: Final = "Measure again, and leave the cable unplugged until the announced time is over."
_ANSWERS: Final = 8
"""Of one job: loaded, one slice, and the samples of three rests and three windows."""


@dataclass(frozen=True)
class Unplugged:
    """What a run without the cable needs.

    Attributes:
        meters: what makes energy of the battery's files, or why nothing can.
        say: what tells the person what to do.
    """

    meters: tuple[SampledMeter, ...] | Absent
    say: Say


@dataclass(frozen=True)
class UnpluggedEnergy:
    """The energy pass of one run.

    Attributes:
        device: the phone.
        unplugged: its meters, and what tells the person what to do.
        runtimes: what reads the answers about each record, by its id.
        plan: how to measure.
        folder: the run's folder.
        progress: told how far it is.
        sleep: waits some seconds.
        clock: in seconds.
    """

    device: Device
    unplugged: Unplugged
    runtimes: Mapping[str, Runtime]
    plan: Plan
    folder: Path
    progress: Progress
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    # -------------------------------------------------------------------------------------- drafts

    def drafts(self) -> dict[str, Draft]:
        """The drafts of this run whose energy is still to come, by id; unreadable ones are measured again."""
        drafts = set_aside_drafts(self.folder)
        return {name: draft for name, draft in drafts.items() if name in self.runtimes}

    def _finish(self, draft: Draft, outcome: tuple[Power, ...] | EnvironmentFailed) -> None:
        """Save with its energy, or why it has none, beside what was measured with the cable plugged in."""
        attached = () if isinstance(draft.power, Absent) else draft.power
        if isinstance(outcome, tuple):
            draft.power = (*attached, *outcome)
            doubts = [*draft.doubts, *(doubt for power in outcome for doubt in power_doubts(power))]
            codes = {doubt.code for doubt in doubts}
            machine = self.device.describe()
            now = machine.replace(state_before=machine.state, start_gate=None)
            doubts += [doubt for doubt in phone_doubts(now) if doubt.code not in codes]
            draft.doubts = tuple(doubts)
        else:
            draft.power = attached or Absent(absent=str(outcome.args[0]), remedy=outcome.remedy)
        draft.save(self.folder)

    # -------------------------------------------------------------------------------------- the two ways in

    def collect_earlier(self) -> list[tuple[str, SwapbenchError]]:
        """Wait for and collect what an earlier command left on the phone for this run; the failures."""
        note = _JobsNote.read(self.folder)
        if note is None:
            return []
        device = self._device()
        detached = device.detached()
        if detached is None or detached.token != note.token:
            note.delete(self.folder)  # it was ended by hand, or never began
            return []
        self.unplugged.say("Going on with what the phone measures, or has measured, by itself.")
        return self._collect(device, note)

    def measure(self, files: Mapping[str, FileUnderTest]) -> list[tuple[str, SwapbenchError]]:
        """Leave the energy pass of every draft on the phone, have the cable unplugged, wait and collect.

        Args:
            files: the file of every draft, by record id.

        Returns:
            The failures, by files.

        Raises:
            DeviceFailed: the phone does not come back, or keeps the results of another run.
        """
        drafts = self.drafts()
        if not drafts:
            return []
        device = self._device()
        try:
            with self.device.quiet(self.plan, self.progress):
                note = self._leave(device, [files[name] for name in drafts])
                minutes = math.ceil((note.expected_s + 30) / 60)
                self.unplugged.say(
                    f"Unplug the cable of {device.name} now, and plug it in again after about {minutes} "
                    f"minute{'s' * (minutes != 1)}. Do not touch the phone meanwhile. "
                    "Ctrl-C loses nothing: run the same command again to go on."
                )
                return self._collect(device, note)
        except _CannotDetach as refusal:
            self.device.describe()  # raises where the device is gone: then nothing is final
            for draft in drafts.values():
                self._finish(draft, refusal.reason)
            return [(_names(drafts.values()), refusal.reason)]

    def _device(self) -> DetachableDevice:
        if not isinstance(self.device, DetachableDevice):
            raise DeviceFailed(f"{self.device.name} cannot measure by itself")
        return self.device

    # -------------------------------------------------------------------------------------- leaving

    def _leave(self, device: DetachableDevice, files: Sequence[FileUnderTest]) -> _JobsNote:
        meters = self.unplugged.meters
        if isinstance(meters, Absent):
            raise _CannotDetach(DeviceFailed(meters.absent, remedy=meters.remedy))
        detached = device.detached()
        if detached is not None and detached.finished:
            raise DeviceFailed(
                f"{device.name} still holds results that it measured by itself for another run",
                remedy="Collect them with the command that began that run, "
                f"or delete them with: swapbench device end {device.name}",
            )
        try:
            for meter in meters:
                meter.check()
            cable = device.cable_files()
            watched = tuple(dict.fromkeys((*(file for meter in meters for file in meter.files), *cable)))
            period_ms = min(meter.period_ms for meter in meters)
            jobs = [job_of(file, watched, period_ms, self.plan) for file in files]
            each_s = LOAD_S + 3 * (self.plan.power_window_s + REST_S)
            note = _JobsNote(secrets.token_hex(8), watched, cable, SETTLE_S + len(jobs) * each_s)
            note.write(self.folder)
            device.detach(note.token, jobs, patience_s=PATIENCE_S, settle_s=SETTLE_S)
        except Unreachable:
            raise
        except DeviceFailed as failure:
            raise _CannotDetach(failure) from None
        return note

    # --------------------------------------------------------------------------------- waiting and collecting

    def _collect(self, device: DetachableDevice, note: _JobsNote) -> list[tuple[str, SwapbenchError]]:
        """Finish all drafts with what the phone measured. Nothing there is deleted before all of it is here.

        Raises:
            DeviceFailed: the phone stays away or goes again.
        """
        detached = self._wait(device, note)
        meters = self.unplugged.meters
        if isinstance(meters, Absent):
            raise DeviceFailed(meters.absent, remedy=meters.remedy)
        failures: dict[str, tuple[list[Draft], EnvironmentFailed]] = {}
        for name, draft in self.drafts().items():
            outcome: tuple[Power, ...] | EnvironmentFailed
            if name in detached.finished:
                try:
                    answers: str | WorkerFailed = device.detached_answers(name)
                except WorkerFailed as failure:
                    answers = failure
                outcome = self._power(name, answers, meters, note)
            else:
                outcome = _unfinished(detached, device.name)
            if isinstance(outcome, EnvironmentFailed):
                failures.setdefault(str(outcome), ([], outcome))[0].append(draft)
            self._finish(draft, outcome)
        device.end_detached()
        note.delete(self.folder)
        return [(_names(drafts), failure) for drafts, failure in failures.values()]

    def _wait(self, device: DetachableDevice, note: _JobsNote) -> Detached:
        """Wait until the jobs have ended, or can no longer be done.

        Raises:
            DeviceFailed: the phone stays away.
        """
        began_s, plugged_looks, trouble = self.clock(), 0, ""
        unplugged_s: float | None = None
        reminded = undisturbed = False
        seen: Detached | None = None
        while True:
            try:
                # one that is reached without its cable, over Wi-Fi, is not asked while it measures
                seen = seen if undisturbed else device.detached()
            except DeviceFailed as failure:
                seen = None
                # a phone that is there but no longer trusts this computer has to be reported,
                # a connection that breaks as the cable is unplugged has not
                if str(failure) == trouble and not isinstance(failure, Unreachable):
                    self.unplugged.say(f"{failure}")
                    trouble = "reported"
                elif trouble != "reported":
                    trouble = str(failure)
            else:
                if seen is None or seen.token != note.token:
                    raise DeviceFailed(
                        f"the jobs that {device.name} was to run by itself are gone",
                        remedy="Run the same command again: only the energy is measured anew.",
                    )
                plugged_looks = plugged_looks + 1 if seen.begun and not seen.unplugged else 0
                if seen.ended or not seen.alive or plugged_looks > GRACE_POLLS:
                    return seen
            now_s = self.clock()
            if unplugged_s is None and (seen is None or seen.begun):
                unplugged_s = now_s
            if unplugged_s is None:
                waited_s = min(now_s - began_s, PATIENCE_S)
                self.progress("waiting for the cable to be unplugged", waited_s, PATIENCE_S)
            else:
                spent_s = now_s - unplugged_s
                undisturbed = seen is not None and seen.unplugged and spent_s < note.expected_s
                self.progress(
                    "the phone measures without its cable", min(spent_s, note.expected_s), note.expected_s
                )
                if seen is None and spent_s > note.expected_s and not reminded:
                    self.unplugged.say(f"{device.name} should be done: plug it in again.")
                    reminded = True
            if now_s - began_s > PATIENCE_S + note.expected_s + RETURN_S:
                raise DeviceFailed(
                    f"{device.name} has not come back for {(now_s - began_s) / 60:.0f} minutes",
                    remedy="Plug it in and run the same command again: it keeps what it measured.",
                )
            self.sleep(POLL_S)

    def _power(
        self, name: str, answers: str | WorkerFailed, meters: Sequence[SampledMeter], note: _JobsNote
    ) -> tuple[Power, ...] | EnvironmentFailed:
        if isinstance(answers, WorkerFailed):
            return answers
        try:
            windows, runs = windows_of(answers, self.runtimes[name])
            refuse_unless_unplugged(windows, [note.watched.index(file) for file in note.cable])
        except EnvironmentFailed as failure:
            return failure
        outcomes: list[Power | DeviceFailed] = []
        for meter in meters:
            columns = [note.watched.index(file) for file in meter.files if file in note.watched]
            if len(columns) < len(meter.files):
                continue
            before, busy, after = (window.of(columns) for window in windows)
            try:
                power = meter.power(before, busy, after, runs)
                outcomes.append(power.replace(basis=(*power.basis, BASIS)))
            except DeviceFailed as failure:
                outcomes.append(failure)
        if not outcomes:
            return DeviceFailed("none of the phone's meters reads the files that were sampled", remedy=_AGAIN)
        powers = readable_powers(outcomes)
        return DeviceFailed(powers.absent, remedy=powers.remedy) if isinstance(powers, Absent) else powers


class _CannotDetach(Exception):
    """The jobs cannot be left on the phone, and a retry would not help: records are final without them."""

    def __init__(self, reason: DeviceFailed) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True)
class _JobsNote:
    """What this computer notes about the jobs on the phone, to recognise them later.

    Attributes:
        token: of the jobs.
        watched: the files that they sample, in the order of the columns.
        cable: those of them that tell whether the cable is plugged in.
        expected_s: how long the jobs take once the cable is out.
    """

    token: str
    watched: tuple[str, ...]
    cable: tuple[str, ...]
    expected_s: float

    @staticmethod
    def _path(folder: Path) -> Path:
        return store.drafts_folder(folder) / "left.txt"

    @classmethod
    def read(cls, folder: Path) -> _JobsNote | None:
        try:
            note = json.loads(cls._path(folder).read_bytes())
            return cls(note["token"], tuple(note["watched"]), tuple(note["cable"]), float(note["expected_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        write_atomically(self._path(folder), json.dumps(vars(self), indent=1) + "\n")

    def delete(self, folder: Path) -> None:
        self._path(folder).unlink(missing_ok=True)


# ------------------------------------------------------------------------------------- jobs and their answers


def job_of(file: FileUnderTest, watched: Sequence[str], period_ms: int, plan: Plan) -> DetachedJob:
    """The energy pass of one file as a program with its requests.

    Before each window it rests for a moment, whose samples are not used.

    Args:
        file: what to run.
        watched: the files to sample.
        period_ms: how often.
        plan: how long the windows are, and at which frame rate the file runs.
    """
    if plan.fps is not None:
        file = at_frame_rate(file, plan.fps)
    argv = file.command("serve", plan, watch=",".join(watched), period_ms=period_ms)
    window_ns, rest = round(plan.power_window_s * 1e9), {"idle_ns": round(REST_S * 1e9)}
    idle, busy = {"idle_ns": window_ns}, {"slice_ns": window_ns, "wake_runs": 0}
    requests: list[Mapping[str, Any]] = [rest, idle, rest, busy, rest, idle]
    lines = "".join(f"{json.dumps(request)}\n" for request in requests)
    return DetachedJob(file.name, tuple(argv), lines)


def windows_of(answers: str, runtime: Runtime) -> tuple[tuple[Samples, Samples, Samples], int]:
    """The idle, busy and idle window of a job's answers (see `job_of`), and the runs in the busy one.

    Raises:
        WorkerFailed: the worker failed or gave fewer answers.
        DeviceFailed: the phone slept in between; what its battery lost then is in no window's time.
    """
    if not isinstance(runtime, WatchingRuntime):
        raise WorkerFailed(f"the {runtime.name} worker cannot sample files", remedy="Use the native runner.")
    lines = [line for line in answers.splitlines() if is_answer(line)]
    for line in lines:
        if '"event":"error"' in line.replace('": "', '":"'):
            runtime.parse_loaded(line)
    if len(lines) != _ANSWERS:
        raise WorkerFailed(f"the worker on the phone gave {len(lines)} of {_ANSWERS} answers", remedy=_AGAIN)
    runtime.parse_loaded(lines[0])
    first, before, _, busy, _, after = (runtime.parse_samples(lines[place]) for place in (1, 2, 3, 5, 6, 7))
    asleep_ns = after.asleep_ns - first.asleep_ns
    if asleep_ns > ASLEEP_NS:
        raise DeviceFailed(
            f"the phone slept for {asleep_ns / 1e9:.1f} s during the measurement",
            remedy="Keep its screen on (the developer option Stay awake works only while it is plugged in), "
            "and measure again.",
        )
    return (before, busy, after), len(runtime.parse_slice(lines[4]).run_ns)


def refuse_unless_unplugged(windows: Sequence[Samples], columns: Sequence[int]) -> None:
    """Refuse windows in which the cable was plugged in.

    Args:
        windows: the samples.
        columns: of the cable's files, which read 0 while it is unplugged.

    Raises:
        DeviceFailed: one of the files read anything else.
    """
    for window in windows:
        for row in window.values:
            if any(row[column] not in {0, None} for column in columns):
                raise DeviceFailed("the cable was plugged in during the measurement", remedy=_AGAIN)


def _unfinished(detached: Detached, device: str) -> DeviceFailed:
    """Why a job has no answers."""
    if detached.ended == "waited":
        return DeviceFailed(
            f"nobody unplugged the cable of {device} within {PATIENCE_S / 60:.0f} minutes",
            remedy="Measure again, and unplug it when you are asked to. If you did, the phone does not "
            "report its cable: use adb over Wi-Fi without --detached.",
        )
    if detached.ended == "plugged" or (detached.alive and detached.begun):
        return DeviceFailed(f"the cable of {device} was plugged in again too early", remedy=_AGAIN)
    if detached.restarted:
        return DeviceFailed(f"{device} was restarted during the measurement", remedy=_AGAIN)
    if not detached.begun:
        return DeviceFailed(
            f"{device} ended what it was to measure by itself before it began, probably as its cable went",
            remedy="Some phones restart adb's daemon then, which ends what it started: measure without "
            "--detached, the cable out, with adb over Wi-Fi (adb tcpip 5555, then adb connect ADDRESS:5555).",
        )
    return DeviceFailed(
        f"the measurement that {device} made by itself was killed before it was done",
        remedy="Phones kill background work when memory is short: close the apps on it, and measure again.",
    )


def _names(drafts: Iterable[Draft]) -> str:
    names = [draft.artifact for draft in drafts]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"energy of {', '.join(names[:3])}{more}"
