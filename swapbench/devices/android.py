"""An Android phone over adb; implements ports.Device. No root, nothing installed, one folder of ours.

A phone does not hold still: it throttles when hot, saves its battery, turns its screen off. So a measurement
begins when its surface is cool, and everything that can change its speed is recorded before and after.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from swapbench.devices import android_text, linux_text
from swapbench.devices.adb import Adb
from swapbench.devices.adb_client import find_adb
from swapbench.devices.android_detached import (
    CABLE_FILES,
    DetachedQueue,
    QueueScript,
    cable_signs,
    no_cable_sign,
)
from swapbench.devices.android_profile import Profile, attached, phone_for
from swapbench.errors import DeviceFailed
from swapbench.ports import unseen
from swapbench.records import THERMAL_STATUSES, Machine, PhoneState, StartGate

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
        Progress,
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
    f" {_CPU}/cpu[0-9]*/cpufreq/stats/time_in_state"
)
STATE: Final[Mapping[str, str]] = {
    "battery": "dumpsys battery",
    "heat": "dumpsys thermalservice",
    "power": "dumpsys power | grep -E 'mWakefulness=|Display Power: state='",
    "saver": "settings get global low_power",
    "cpuset": "cat /proc/self/cpuset",
    "cgroup": "cat /proc/self/cgroup",
    "clamps": "grep -sH '' /dev/cpuctl/cpu.uclamp.m?? /dev/cpuctl/*/cpu.uclamp.m??",
    "cpu": CPU_FILES,
}
"""The commands that tell a phone's state, by name; run in one call."""
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
echo "$old" > "$keep" || exit 1
settings put system screen_off_timeout {SCREEN_TIMEOUT_MS} && exit
rm -f "$keep"
exit 1
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
"""The old value is kept on the phone, so that the next run can restore it if the cable is pulled."""


@dataclass(frozen=True)
class _Before:
    """The phone when a measurement began."""

    state: PhoneState
    gate: StartGate
    busy_cores: float | None


class Android:
    """One phone. Every method raises DeviceFailed, with a remedy, where the phone cannot be reached."""

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
        outputs = self.adb.ask({**_IDENTITY, **STATE})
        properties = android_text.properties(outputs["properties"].stdout)
        state = phone_state(outputs)
        clusters = state.clusters
        present = android_text.cpu_list(outputs["present"].stdout)
        governors = sorted({cluster.governor for cluster in clusters if cluster.governor})
        kernel = outputs["kernel"].stdout.strip() if outputs["kernel"].exit_code == 0 else "?"
        release = properties.get("ro.build.version.release", "?")
        api = properties.get("ro.build.version.sdk", "?")
        before = self._before
        return Machine(
            name=self.name,
            device=_joined(properties, "ro.product.manufacturer", "ro.product.model") or "unknown phone",
            system=f"Android {release} (API {api}), Linux {kernel}",
            abi=properties.get("ro.product.cpu.abi", "unknown"),
            soc=_joined(properties, "ro.soc.manufacturer", "ro.soc.model")
            or self.profile.soc
            or properties.get("ro.board.platform")
            or "unknown",
            logical_cores=len(present) or sum(len(cluster.cores) for cluster in clusters),
            memory_bytes=linux_text.memory_bytes(outputs["memory"].stdout) or 0,
            governor=", ".join(governors) or None,
            emulated=any(properties.get(name) == "1" for name in EMULATED),
            # Android's load average counts sleeping kernel threads, so it says nothing about other work
            load_1min=None,
            busy_cores=before.busy_cores if before else None,
            temperature_c=state.surface_c,
            on_battery=None if state.plugged is None else not state.plugged,
            build=properties.get("ro.build.fingerprint"),
            state=state,
            state_before=before.state if before else None,
            start_gate=before.gate if before else None,
        )

    def state(self) -> PhoneState:
        """What can change the phone's speed, now; DeviceFailed where it has been overridden by hand."""
        return phone_state(self.adb.ask(STATE))

    def core_mask(self, which: Cores) -> str:
        """The affinity mask of a cluster in hexadecimal. UserError where the phone has no such cores."""
        outputs = self.adb.ask({"cpu": CPU_FILES, "online": f"cat {_CPU}/online"})
        clusters = android_text.clusters(outputs["cpu"].stdout)
        return android_text.core_mask(clusters, which, android_text.cpu_list(outputs["online"].stdout))

    def kinds_of_cores(self) -> tuple[Cores, ...]:
        """The kinds of cores that this phone has, slowest first; ("all",) where they are alike or unknown."""
        clusters = android_text.clusters(self.adb.query(CPU_FILES).stdout)
        return tuple(android_text.named_kinds(clusters)) or ("all",)

    # ------------------------------------------------------------------------------------- files and programs

    def push(self, path: Path, *beside: Path) -> str:
        """Copy a file to the phone, executable, unless the same bytes are there; returns its path there.

        Files keep their names and lie beside each other, as programs and their libraries need it. A second
        file of the same name gets a folder of its own, as does one that comes with others `beside` it.
        """
        source = path.resolve()
        names = [other for other, pushed in self._pushed.items() if pushed == source]
        if names:
            name = names[0]
        elif beside or path.name in self._pushed:
            name = f".more/{len(self._pushed)}/{path.name}"
        else:
            name = path.name
        self._pushed[name] = source
        for other in beside:
            self.adb.push(other, str(PurePosixPath(name).with_name(other.name)))
        return self.adb.push(path, name)

    def pull(self, remote: str, path: Path) -> None:
        """Fetch a file, whole or not at all."""
        self.adb.pull(remote, path)

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in our folder to its end; see Adb.run."""
        return self.adb.run(argv, timeout_s)

    def start(self, argv: Sequence[str]) -> Conversation:
        """Start a program in our folder to talk to."""
        return self.adb.start(argv)

    def read(self, path: str) -> str:
        """The text of a file on the phone; DeviceFailed where it cannot be read."""
        return self.adb.read(path)

    # --------------------------------------------------------------------------------- while its cable is out

    def refuse_unless_detachable(self) -> None:
        """DeviceFailed for a phone that is not plugged in, or would fall asleep without its cable."""
        state = self.state()
        if state.plugged == ():
            raise DeviceFailed(
                f"phone {self.adb.serial} is not plugged in, so there is no cable to pull",
                remedy="Plug it in, or omit --detached: its battery can be measured as it is.",
            )
        if state.screen_on is False:
            raise DeviceFailed(
                f"the screen of phone {self.adb.serial} is off, and it would fall asleep without its cable",
                remedy="Wake and unlock it (adb shell input keyevent KEYCODE_WAKEUP) "
                "and run the same command again.",
            )

    def cable_files(self) -> tuple[str, ...]:
        """See ports.DetachableDevice."""
        return tuple(path for path, value in self._cable_signs() if value == "0")

    def _cable_signs(self) -> tuple[tuple[str, str], ...]:
        signs = cable_signs(self.adb.query(CABLE_FILES).stdout)
        if not signs:
            raise no_cable_sign(self.adb.serial)
        return signs

    def detach(self, token: str, jobs: Sequence[DetachedJob], *, patience_s: float, settle_s: float) -> None:
        """See ports.DetachableDevice."""
        self.refuse_unless_detachable()
        self._queue.start(
            token,
            QueueScript(
                jobs=tuple(jobs),
                signs=self._cable_signs(),
                patience_s=patience_s,
                settle_s=settle_s,
                cleanup=_RESTORE_SCREEN.format(keep=self._kept_timeout()),
            ),
        )

    def detached(self) -> Detached | None:
        """See ports.DetachableDevice."""
        return self._queue.look()

    def detached_answers(self, name: str) -> str:
        """See ports.DetachableDevice."""
        return self._queue.answers(name)

    def end_detached(self) -> bool:
        """See ports.DetachableDevice. The screen's timeout is restored."""
        ended = self._queue.end()
        self._restore_screen()
        return ended

    # -------------------------------------------------------------------------------------- holding still

    @contextlib.contextmanager
    def quiet(self, plan: Plan, progress: Progress = unseen) -> Iterator[None]:
        """A steady state: no programs of earlier runs, cool, the screen kept on if it is; changes are undone.

        A phone that does not cool down in time is measured all the same, and its start gate says so. Jobs
        that were left to run without a cable are not orphans: while they run, nothing else is measured.

        Raises:
            DeviceFailed: Such jobs wait or run, or the battery or thermal state has been overridden by hand.
        """
        del plan
        outer = self._before
        jobs = self.detached()
        if jobs is not None and jobs.alive:
            raise DeviceFailed(
                f"phone {self.adb.serial} is waiting for its cable to be pulled, or measuring without it, "
                "for another run",
                remedy="Collect that run with the command that started it, "
                f"or end it with: swapbench device end {self.name}",
            )
        self.adb.end_orphans()
        self._restore_screen()
        gate, state = self._cooled(progress)
        self._before = _Before(state, gate, self._busy_cores())
        try:
            if state.screen_on:
                state = state.replace(screen_kept_on=self._keep_screen())
                self._before = replace(self._before, state=state)
            yield
        finally:
            self._before = outer
            with contextlib.suppress(DeviceFailed):  # a phone that is gone must not hide the first error
                self.adb.end_orphans()
                jobs = self.detached()
                if jobs is None or not jobs.alive:
                    self._restore_screen()

    def _cooled(self, progress: Progress) -> tuple[StartGate, PhoneState]:
        """Wait until the surface is cool and nothing throttles, at most as long as the profile says."""
        rules, began = self.profile.steady, self._clock()
        stage = ""
        while True:
            state = self.state()
            limit_c = rules.start_below_plugged_c if state.plugged else rules.start_below_c
            surface_c, waited_s = state.surface_c, self._clock() - began
            passed = surface_c is not None and surface_c <= limit_c and not state.thermal_status
            # without a thermometer there is nothing to wait for
            hopeless = surface_c is None and not state.thermal_status
            over = passed or hopeless or waited_s >= rules.cool_down_s
            if not over:
                stage = stage or _waiting(state, limit_c, rules.cool_down_s)
                progress(stage, waited_s, rules.cool_down_s)
                self._sleep(min(POLL_S, rules.cool_down_s - waited_s))
                continue
            if stage:
                progress(stage, rules.cool_down_s, rules.cool_down_s)
            gate = StartGate(limit_c=limit_c, surface_c=surface_c, waited_s=round(waited_s, 1), passed=passed)
            return gate, state

    def _busy_cores(self) -> float | None:
        """Cores that other work keeps busy, over one second on the phone itself."""
        outputs = self.adb.ask(
            {"before": "cat /proc/stat", "wait": f"sleep {BUSY_WINDOW_S}", "after": "cat /proc/stat"}
        )
        return linux_text.busy_cores(outputs["before"].stdout, outputs["after"].stdout)

    def _keep_screen(self) -> bool:
        """Keep the screen on, if the phone allows it: going dark changes heat, power and the governor."""
        return self.adb.query(_KEEP_SCREEN.format(keep=self._kept_timeout())).exit_code == 0

    def _restore_screen(self) -> None:
        self.adb.query(_RESTORE_SCREEN.format(keep=self._kept_timeout()))

    def _kept_timeout(self) -> str:
        """The file on the phone that keeps the old timeout of the screen."""
        return shlex.quote(f"{self.adb.folder}/.run/screen_off_timeout")


def _waiting(state: PhoneState, limit_c: float, at_most_s: float) -> str:
    """What a measurement waits for, in words."""
    surface = "unknown" if state.surface_c is None else f"{state.surface_c:.1f} °C"
    throttles = ""
    if state.thermal_status:
        throttles = f", thermal status {THERMAL_STATUSES[min(state.thermal_status, 6)]}"
    return (
        f"waiting for the phone to cool down (surface {surface}{throttles}, starting at {limit_c:.1f} °C, "
        f"up to {math.ceil(at_most_s / 60)} min)"
    )


def phone_state(outputs: Mapping[str, Finished]) -> PhoneState:
    """The phone's state from the output of the commands in STATE.

    Raises:
        DeviceFailed: The battery or thermal state has been overridden by hand.
    """
    battery = android_text.battery(_stdout(outputs["battery"]))
    heat = android_text.heat(_stdout(outputs["heat"]))
    temperatures = dict(heat.temperatures_c)
    if battery.temperature_c is not None:
        temperatures.setdefault("battery (dumpsys)", battery.temperature_c)
    group = android_text.cpu_group(_stdout(outputs["cgroup"]))
    clamp_min, clamp_max = android_text.clamps(outputs["clamps"].stdout, group)
    sensors = (heat.skin_c, heat.battery_c, battery.temperature_c)
    return PhoneState(
        thermal_status=heat.status,
        temperatures_c=temperatures,
        surface_c=next((reading for reading in sensors if reading is not None), None),
        battery_percent=battery.level_percent,
        charging=battery.charging,
        plugged=battery.plugged,
        battery_saver=android_text.battery_saver(_stdout(outputs["saver"])),
        screen_on=android_text.screen_on(outputs["power"].stdout),
        thermal_headroom=heat.headroom,
        cpuset=android_text.cpuset(_stdout(outputs["cpuset"])),
        cpu_group=group,
        clamp_min_percent=clamp_min,
        clamp_max_percent=clamp_max,
        clusters=android_text.clusters(outputs["cpu"].stdout),
    )


def _stdout(done: Finished) -> str:
    """What a command printed, or nothing where it failed: an error message is not an answer."""
    return done.stdout if done.exit_code == 0 else ""


def _joined(properties: Mapping[str, str], *names: str) -> str:
    return " ".join(properties[name].strip() for name in names if properties.get(name, "").strip())


def find_android(profile: Profile, serial: str | None = None) -> Android:
    """The attached phone that a profile means; see android_profile.phone_for."""
    program = find_adb()
    phone = phone_for(profile, attached(program), serial)
    return Android(Adb(phone.serial, program), profile)


if TYPE_CHECKING:
    _keeps_the_ports: tuple[type[Device], type[DetachableDevice]] = (Android, Android)
