"""Jobs that a phone runs by itself while its cable is out: left as a shell script, collected afterwards.

Most phones charge over the cable that carries adb, and a battery shows what its phone uses only while
nothing charges it. So a script waits on the phone until the phone's own files say that the cable is out,
then runs one job after another. The output of a job gets its final name when the job has ended; where the
cable is plugged in too early, the script ends there, because what follows would be wrong.

Everything lies in a folder of its own, apart from the notes of programs that a computer talks to: a process
noted *there* while no run is active is an orphan and is killed; one noted *here* was meant to stay and is
only killed by `end`. Android kills what lost its terminal or its parent's pipes; the script has neither, and
ignores hangups.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from swapbench.devices import adb_text
from swapbench.devices.adb import TRANSFER_S
from swapbench.devices.linux_text import BOOT_ID
from swapbench.devices.process_notes import NOTE, QUIETLY, for_noted
from swapbench.errors import DeviceFailed
from swapbench.ports import Detached, Ending

if TYPE_CHECKING:
    from swapbench.devices.adb import Adb
    from swapbench.ports import DetachedJob

SUPPLIES: Final = "/sys/class/power_supply"
CABLE_FILES: Final = f"grep -sH '' {SUPPLIES}/*/type {SUPPLIES}/*/online {SUPPLIES}/*/status"

_SIGN = re.compile(rf"^({SUPPLIES}/([^/]+)/(type|online|status)):(.*)$")
_OWN_SUPPLIES: Final = ("battery", "bms")
_STARTED_S: Final = 20

_QUEUE: Final = """#!/system/bin/sh
cd {folder} || exit 1
unplugged() {{
{signs}
}}
if [ "$1" = look ]; then
  unplugged && echo unplugged
  [ -e begun ] && echo begun
  [ -e ended ] && echo "ended $(cat ended)"
  [ "$(cat boot 2>/dev/null)" = "$(cat {boot_id} 2>/dev/null)" ] || echo restarted
  for file in *.out; do [ -e "$file" ] && echo "finished ${{file%.out}}"; done
  exit 0
fi
trap '' HUP
({note}) > queue.part && mv queue.part queue.note
finish() {{
  ({cleanup}
  ) >/dev/null 2>&1
  echo "$1" > ended.part && mv ended.part ended
  exit 0
}}
job() {{
  unplugged || finish plugged
  name=$1
  shift
  sh -c '{note} > job.note
    export LD_LIBRARY_PATH="$1"
    {quietly}
    shift
    exec "$@"' job {libraries} "$@" < "$name.in" > "$name.part" 2> "$name.err"
  echo $? > "$name.status"
  unplugged || finish plugged
  mv "$name.part" "$name.out"
}}
export TMPDIR={folder}
unset LD_PRELOAD
waited_s=0
until unplugged; do
  [ $waited_s -lt {patience_s} ] || finish waited
  sleep 1
  waited_s=$((waited_s + 1))
done
echo > begun
sleep {settle_s}
{jobs}
finish done
"""
"""Waits, runs the jobs and writes down how it ended. Called with `look`, it only reports how things stand."""

_SIGN_CHECK: Final = (
    '  now=; {{ read -r now < {}; }} 2>/dev/null; [ "$now" = {} ] || return 1'  # path, content
)

_START: Final = """
cd {folder} || exit
if mkdir started 2>/dev/null; then
  cat {boot_id} > boot 2>/dev/null
  alone=setsid
  command -v setsid >/dev/null 2>&1 || alone=
  $alone sh ./queue.sh </dev/null >/dev/null 2>&1 &
fi
waited_s=0
until [ -s queue.note ]; do
  [ $waited_s -lt {patience_s} ] || {{ echo 'the script does not start' >&2; exit 1; }}
  sleep 1
  waited_s=$((waited_s + 1))
done
"""
"""May run twice, as every command: the folder is made once."""


def cable_signs(text: str) -> tuple[tuple[str, str], ...]:
    """The files that show whether a phone's cable is in, each with its content once the cable is out.

    These are `online` of the external supplies (power_supply class of Linux: 0 offline, 1 fixed, 2
    programmable), else the battery's own `status`, which is "Discharging" then. A battery may have an
    `online` too, whose meaning is the vendor's: it is ignored.

    Args:
        text: The output of CABLE_FILES while the cable is in.

    Returns:
        (path, content) pairs; empty where no file shows it.
    """
    supplies: dict[str, dict[str, tuple[str, str]]] = {}  # name -> file -> (path, content)
    for line in text.splitlines():
        if sign := _SIGN.match(line.strip()):
            supplies.setdefault(sign[2], {})[sign[3]] = (sign[1], sign[4].strip())
    external = [
        files["online"][0]
        for name, files in sorted(supplies.items())
        if "online" in files
        and name not in _OWN_SUPPLIES
        and files.get("type", ("", ""))[1].lower() not in _OWN_SUPPLIES
        and files["online"][1] in {"1", "2"}
    ]
    if external:
        return tuple((path, "0") for path in external)
    return tuple(
        (supplies[name]["status"][0], "Discharging")
        for name in _OWN_SUPPLIES
        if supplies.get(name, {}).get("status", ("", ""))[1] in {"Charging", "Full", "Not charging"}
    )


@dataclass(frozen=True)
class QueueScript:
    """What a phone does by itself: waits, runs jobs, cleans up.

    Attributes:
        jobs: Run one after another.
        signs: What the phone's files contain while the cable is out, as (path, content) pairs.
        patience_s: How long to wait for the cable to be pulled.
        settle_s: How long to wait after that.
        cleanup: Shell commands to run at the end.
    """

    jobs: tuple[DetachedJob, ...]
    signs: tuple[tuple[str, str], ...]
    patience_s: float
    settle_s: float
    cleanup: str

    def text(self, folder: str, libraries: str) -> str:
        """The shell script; everything from outside is quoted.

        Args:
            folder: Where it runs, on the phone.
            libraries: The folder of the shared libraries that the programs need.
        """
        if not self.signs:
            raise ValueError("without a file that shows the cable the script would measure at once")
        return _QUEUE.format(
            folder=shlex.quote(folder),
            libraries=shlex.quote(libraries),
            boot_id=BOOT_ID,
            note=NOTE.strip(),
            quietly=QUIETLY,
            signs="\n".join(
                _SIGN_CHECK.format(shlex.quote(path), shlex.quote(value)) for path, value in self.signs
            ),
            cleanup=self.cleanup,
            patience_s=round(self.patience_s),
            settle_s=round(self.settle_s),
            jobs="\n".join(f"job {shlex.join([job.name, *job.argv])}" for job in self.jobs),
        )


class DetachedQueue:
    """The jobs on one phone. Every method raises DeviceFailed where the phone cannot be reached."""

    def __init__(self, adb: Adb) -> None:
        self._adb = adb
        self.folder = f"{adb.folder}/.detached"

    def start(self, token: str, script: QueueScript) -> None:
        """Leave jobs on the phone, in place of those that are there.

        Args:
            token: Identifies who left them.
            script: What the phone is to do.
        """
        text = script.text(self.folder, self._adb.folder)
        self.end()
        contents = {"queue.sh": text, "token": f"{token}\n"}
        contents |= {f"{job.name}.in": job.requests for job in script.jobs}
        with tempfile.TemporaryDirectory() as name:
            for file, content in contents.items():
                path = Path(name) / file
                path.write_text(content, encoding="utf-8")
                self._adb.push(path, f".detached/{file}")
        command = _START.format(folder=shlex.quote(self.folder), boot_id=BOOT_ID, patience_s=_STARTED_S)
        doing = "starting the detached measurement"
        done = self._adb.query(command, TRANSFER_S, doing)
        if done.exit_code != 0:
            raise adb_text.explained(self._adb.serial, done.stderr, doing)

    def look(self) -> Detached | None:
        """How the jobs on the phone stand; None where there are none."""
        folder = shlex.quote(self.folder)
        outputs = self._adb.ask(
            {
                "token": f"cat {folder}/token",
                # before the state: a script that is dead here has written down how it ended, if it could
                "alive": for_noted(self.folder, 'echo "$pid"', "*.note"),
                "state": f"sh {folder}/queue.sh look",
            }
        )
        if outputs["token"].exit_code != 0:
            return None
        lines = outputs["state"].stdout.splitlines()
        endings: tuple[Ending, ...] = get_args(Ending)
        return Detached(
            token=outputs["token"].stdout.strip(),
            alive=bool(outputs["alive"].stdout.strip()),
            unplugged="unplugged" in lines,
            begun="begun" in lines,
            ended=next((ending for ending in endings if f"ended {ending}" in lines), None),
            restarted="restarted" in lines,
            finished=tuple(line.removeprefix("finished ") for line in lines if line.startswith("finished ")),
        )

    def answers(self, name: str) -> str:
        """The output of a finished job; WorkerFailed where the job was killed or its output is not text."""
        stem = f"{self.folder}/{name}"
        outputs = self._adb.ask(
            {
                "status": f"cat {shlex.quote(f'{stem}.status')}",
                "stderr": f"cat {shlex.quote(f'{stem}.err')}",
            }
        )
        status = outputs["status"].stdout.strip()
        if status.isdigit() and not adb_text.is_own_exit(int(status)):
            raise adb_text.ended("the runner", int(status), outputs["stderr"].stdout)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "answers"
            self._adb.pull(f"{stem}.out", path)
            content = path.read_bytes()
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise adb_text.not_text("the runner", content) from None

    def end(self) -> bool:
        """Kill what waits or runs, the script before its job, and remove everything.

        Returns:
            Whether there was anything.
        """
        folder = shlex.quote(self.folder)
        exists = self._adb.query(f"[ -d {folder} ]").exit_code == 0
        if exists:
            kills = [for_noted(self.folder, 'kill -9 "$pid"', note) for note in ("queue.note", "job.note")]
            self._adb.query("\n".join([*kills, f"rm -rf {folder}"]))
        return exists


def no_cable_sign(serial: str) -> DeviceFailed:
    """No readable file of a phone shows whether its cable is in."""
    return DeviceFailed(
        f"no readable file of phone {serial} shows whether its cable is in, so it cannot measure by itself",
        remedy="Pull the cable and use adb over Wi-Fi, without --detached "
        "(adb tcpip 5555, then adb connect ADDRESS:5555).",
    )
