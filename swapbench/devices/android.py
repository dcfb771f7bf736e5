"""An Android phone over adb as a device; implements ports.Device. No root, nothing installed, one folder of ours.

A phone does not hold still: it throttles by heat, saves its battery, turns its screen off. So a measurement begins when the
surface is cool, and what can change the speed is written down before and after; whoever reads the record can compare.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench.devices import android_text
from swapbench.devices.adb import Adb, find_adb
from swapbench.devices.android_detached import CABLE_FILES, DetachedQueue, cable_signs, nothing_tells
from swapbench.devices.android_profile import Profile, attached, phone_for
from swapbench.errors import DeviceFailed
from swapbench.records import Machine, PhoneState, StartGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.devices.android_text import Cores
    from swapbench.ports import (
        Conversation,
        DetachableDevice,
        Detached,
        DetachedJob,
        Device,
        Finished,
    )
    from swapbench.records import Plan

POLL_S: Final = 5.0
BUSY_WINDOW_S: Final = 1
SCREEN_TIMEOUT_MS: Final = 24 * 3600 * 1000
EMULATED: Final = ("ro.boot.qemu", "ro.kernel.qemu")
"""Properties that are "1" on emulated phones."""

_CPU: Final = "/sys/devices/system/cpu"
CPU_FILES: Final = (
    f"grep -sH '' {_CPU}/cpu[0-9]*/cpu_capacity {_CPU}/cpu[0-9]*/cpufreq/cpuinfo_max_freq"
    f" {_CPU}/cpu[0-9]*/cpufreq/scaling_max_freq {_CPU}/cpu[0-9]*/cpufreq/scaling_governor"
)
STATE: Final[Mapping[str, str]] = {
    "battery": "dumpsys battery",
    "heat": "dumpsys thermalservice",
    "power": "dumpsys power | grep -E 'mWakefulness=|Display Power: state='",
    "saver": "settings get global low_power",
    "cpu": CPU_FILES,
}
"""The questions of a phone's state, asked in one call."""
_IDENTITY: Final[Mapping[str, str]] = {
    "properties": "getprop",
    "kernel": "uname -r",
    "memory": "cat /proc/meminfo",
    "present": f"cat {_CPU}/present",
}

_KEEP_SCREEN: Final = f"""
keep={{keep}}
mkdir -p "$(dirname "$keep")"
old=$(settings get system screen_off_timeout) || exit 1
case $old in null|[0-9]*) ;; *) exit 1 ;; esac
echo "$old" > "$keep" && settings put system screen_off_timeout {SCREEN_TIMEOUT_MS}
"""
_RESTORE_SCREEN: Final = """
keep={keep}
[ -f "$keep" ] || exit 0
read -r old < "$keep"
case $old in
null) settings delete system screen_off_timeout >/dev/null ;;
*) settings put system screen_off_timeout "$old" ;;
esac && rm -f "$keep"
"""
"""The old value lies on the phone, so that the next run can put it back where the cable was pulled in this one."""


@dataclass(frozen=True)
class _Before:
    """What was seen when a measurement began."""

    state: PhoneState
    gate: StartGate
    busy_cores: float | None


class Android:
    """One phone. Every method raises DeviceFailed, with what to do, where the phone cannot be reached."""

    def __init__(
        self,
        adb: Adb,
        profile: Profile,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = profile.name
        self.adb = adb
        self.profile = profile
        self._sleep, self._clock = sleep, clock
        self._before: _Before | None = None
        self._pushed: dict[str, Path] = {}
        self._queue = DetachedQueue(adb)

    # -------------------------------------------------------------------------------------- what it is

    def describe(self) -> Machine:
        """The fingerprint, with the phone's state now and, inside `quiet`, when measuring began."""
        told = self.adb.ask({**_IDENTITY, **STATE})
        said = android_text.properties(told["properties"].stdout)
        state = phone_state(told)
        clusters = state.clusters
        present = android_text.cpu_list(told["present"].stdout)
        governors = sorted({one.governor for one in clusters if one.governor})
        kernel = told["kernel"].stdout.strip() if told["kernel"].exit_code == 0 else "?"
        release, api = said.get("ro.build.version.release", "?"), said.get("ro.build.version.sdk", "?")
        before = self._before
        return Machine(
            name=self.name,
            device=_joined(said, "ro.product.manufacturer", "ro.product.model") or "unknown phone",
            system=f"Android {release} (API {api}), Linux {kernel}",
            abi=said.get("ro.product.cpu.abi", "unknown"),
            soc=_joined(said, "ro.soc.manufacturer", "ro.soc.model")
            or self.profile.soc
            or said.get("ro.board.platform")
            or "unknown",
            logical_cores=len(present) or sum(len(one.cores) for one in clusters),
            memory_bytes=android_text.memory_bytes(told["memory"].stdout) or 0,
            governor=", ".join(governors) or None,
            emulated=any(said.get(name) == "1" for name in EMULATED),
            # Android's load average counts sleeping kernel threads, so it says nothing about other work
            load_1min=None,
            busy_cores=before.busy_cores if before else None,
            temperature_c=state.surface_c,
            on_battery=None if state.plugged is None else not state.plugged,
            build=said.get("ro.build.fingerprint"),
            state=state,
            state_before=before.state if before else None,
            start_gate=before.gate if before else None,
        )

    def state(self) -> PhoneState:
        """What can change the phone's speed, now. Raises DeviceFailed where somebody faked it."""
        return phone_state(self.adb.ask(STATE))

    def core_mask(self, which: Cores) -> str:
        """The affinity mask of a cluster in hexadecimal. UserError where the phone has no such cores."""
        told = self.adb.ask({"cpu": CPU_FILES, "online": f"cat {_CPU}/online"})
        clusters = android_text.clusters(told["cpu"].stdout)
        return android_text.core_mask(clusters, which, android_text.cpu_list(told["online"].stdout))

    def kinds_of_cores(self) -> tuple[Cores, ...]:
        """The kinds of cores that this phone has, slowest first; ("all",) where they are alike or not told."""
        clusters = android_text.clusters(self.adb.query(CPU_FILES).stdout)
        return tuple(android_text.named_kinds(clusters)) or ("all",)

    # -------------------------------------------------------------------------------------- files and programs

    def push(self, path: Path) -> str:
        """Bring a file there, executable; returns its path on the phone. Skipped where the same bytes lie there.

        Files keep their names beside each other, as programs and their libraries need it. Another file of a name that
        was pushed before gets a folder of its own.
        """
        source = path.resolve()
        name = path.name
        if self._pushed.setdefault(name, source) != source:
            others = [key for key, value in self._pushed.items() if value == source]
            name = others[0] if others else f".more/{len(self._pushed)}/{name}"
            self._pushed[name] = source
        return self.adb.push(path, name)

    def pull(self, remote: str, path: Path) -> None:
        """Fetch a file, whole or not at all."""
        self.adb.pull(remote, path)

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program to its end in our folder; WorkerFailed where it does not start, is killed or takes too long."""
        return self.adb.run(argv, timeout_s)

    def start(self, argv: Sequence[str]) -> Conversation:
        """Start a program in our folder to talk with."""
        return self.adb.start(argv)

    def read(self, path: str) -> str:
        """The text of a file on the phone; DeviceFailed where it cannot be read."""
        return self.adb.read(path)

    # -------------------------------------------------------------------------------------- while its cable is out

    def refuse_unless_detachable(self) -> None:
        """DeviceFailed for a phone that is not plugged in, or would fall asleep without its cable."""
        state = self.state()
        if state.plugged == ():
            raise DeviceFailed(
                f"phone {self.adb.serial} is not plugged in, so there is no cable to pull",
                remedy="Plug it in, or leave --detached out: its battery can be measured as it is.",
            )
        if state.screen_on is False:
            raise DeviceFailed(
                f"the screen of phone {self.adb.serial} is off, and without its cable it would fall asleep",
                remedy="Wake and unlock it (adb shell input keyevent KEYCODE_WAKEUP) and run the same command again.",
            )

    def cable_files(self) -> tuple[str, ...]:
        """See ports.DetachableDevice."""
        return tuple(path for path, value in self._cable_signs() if value == "0")

    def _cable_signs(self) -> tuple[tuple[str, str], ...]:
        signs = cable_signs(self.adb.query(CABLE_FILES).stdout)
        if not signs:
            raise nothing_tells(self.adb.serial)
        return signs

    def detach(self, token: str, jobs: Sequence[DetachedJob], *, patience_s: float, settle_s: float) -> None:
        """See ports.DetachableDevice."""
        self.refuse_unless_detachable()
        self._queue.start(
            token,
            jobs,
            self._cable_signs(),
            patience_s=patience_s,
            settle_s=settle_s,
            farewell=_RESTORE_SCREEN.format(keep=self._kept()),
        )

    def detached(self) -> Detached | None:
        """See ports.DetachableDevice."""
        return self._queue.look()

    def detached_answers(self, name: str) -> str:
        """See ports.DetachableDevice."""
        return self._queue.answers(name)

    def end_detached(self) -> bool:
        """See ports.DetachableDevice. The screen is left as the person had it."""
        ended = self._queue.end()
        self._restore_screen()
        return ended

    # -------------------------------------------------------------------------------------- holding still

    @contextlib.contextmanager
    def quiet(self, plan: Plan) -> Iterator[None]:
        """A steady state: nothing of earlier runs alive, cool, the screen as it is; what was changed is put back.

        A phone that does not cool down in time is measured all the same, and its start gate says that it did not.
        What was left to work without a cable is no orphan: while it does, nothing else is measured, and its screen stays lit.
        Raises DeviceFailed for that, and for a faked battery or thermal state.
        """
        del plan
        outer = self._before
        left = self.detached()
        if left is not None and left.alive:
            raise DeviceFailed(
                f"phone {self.adb.serial} waits for its cable to be pulled, or measures without it, for another run",
                remedy="Collect that with the command that began it, "
                f"or end it with: swapbench device end {self.name}",
            )
        self.adb.end_orphans()
        self._restore_screen()
        gate, state = self._cooled()
        self._before = _Before(state, gate, self._busy_cores())
        try:
            if state.screen_on:
                self._keep_screen()
            yield
        finally:
            self._before = outer
            with contextlib.suppress(DeviceFailed):  # a phone that is gone must not hide why it was left
                self.adb.end_orphans()
                left = self.detached()
                if left is None or not left.alive:
                    self._restore_screen()

    def _cooled(self) -> tuple[StartGate, PhoneState]:
        """Wait until the surface is cool and nothing throttles, or the patience of the profile ends."""
        rules, began = self.profile.steady, self._clock()
        while True:
            state = self.state()
            surface_c, waited_s = state.surface_c, self._clock() - began
            passed = surface_c is not None and surface_c <= rules.start_below_c and not state.thermal_status
            # without a thermometer there is nothing to wait for
            hopeless = surface_c is None and not state.thermal_status
            if passed or hopeless or waited_s >= rules.cool_down_s:
                gate = StartGate(
                    limit_c=rules.start_below_c,
                    surface_c=surface_c,
                    waited_s=round(waited_s, 1),
                    passed=passed,
                )
                return gate, state
            self._sleep(min(POLL_S, rules.cool_down_s - waited_s))

    def _busy_cores(self) -> float | None:
        """Cores that others keep busy, over one second on the phone itself."""
        told = self.adb.ask(
            {"before": "cat /proc/stat", "wait": f"sleep {BUSY_WINDOW_S}", "after": "cat /proc/stat"}
        )
        return android_text.busy_cores(told["before"].stdout, told["after"].stdout)

    def _keep_screen(self) -> None:
        """A lit screen stays lit: going dark in the middle changes heat, power and the governor."""
        self.adb.query(_KEEP_SCREEN.format(keep=self._kept()))

    def _restore_screen(self) -> None:
        self.adb.query(_RESTORE_SCREEN.format(keep=self._kept()))

    def _kept(self) -> str:
        return shlex.quote(f"{self.adb.folder}/.run/screen_off_timeout")


def phone_state(told: Mapping[str, Finished]) -> PhoneState:
    """What the answers to STATE say. Raises DeviceFailed for a battery or thermal state that somebody faked."""
    battery = android_text.battery(_answer(told["battery"]))
    heat = android_text.heat(_answer(told["heat"]))
    temperatures = dict(heat.temperatures_c)
    if battery.temperature_c is not None:
        temperatures.setdefault("battery (dumpsys)", battery.temperature_c)
    surface = next(
        (one for one in (heat.skin_c, heat.battery_c, battery.temperature_c) if one is not None), None
    )
    return PhoneState(
        thermal_status=heat.status,
        temperatures_c=temperatures,
        surface_c=surface,
        battery_percent=battery.level_percent,
        charging=battery.charging,
        plugged=battery.plugged,
        battery_saver=android_text.battery_saver(_answer(told["saver"])),
        screen_on=android_text.screen_on(told["power"].stdout),
        clusters=android_text.clusters(told["cpu"].stdout),
    )


def _answer(done: Finished) -> str:
    """What a program said, or nothing where it failed: an error message is no answer."""
    return done.stdout if done.exit_code == 0 else ""


def _joined(properties: Mapping[str, str], *names: str) -> str:
    return " ".join(properties[name].strip() for name in names if properties.get(name, "").strip())


def find_android(profile: Profile, serial: str | None = None) -> Android:
    """The attached phone that a profile means. DeviceFailed, with what is attached, where there is none or several."""
    program = find_adb()
    phone = phone_for(profile, attached(program), serial)
    return Android(Adb(phone.serial, program), profile)


if TYPE_CHECKING:
    _keeps_the_ports: tuple[type[Device], type[DetachableDevice]] = (Android, Android)
