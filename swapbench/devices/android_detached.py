"""Jobs that a phone does by itself while its cable is out: left there as a shell script, looked at when it is back.

Most phones charge over the cable that carries adb, and a battery shows what its phone uses only while nothing charges it. So a
script waits on the phone until its own files say that the cable is gone, then does one job after another. Each job's answers
get their name when it has ended; where the cable is back too early the script ends there, because what follows would be wrong.

Everything lies in a folder of its own, apart from the notes of programs that a computer talks with: what is found *there* while
nobody talks is an orphan and is ended, what is found *here* was meant to be left, and is ended by `end` only. Phones end what
lost its terminal or its parent's pipes; the script has neither, and does not listen to hangups.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from swapbench.devices import adb_text
from swapbench.devices.adb import NOTE, TRANSFER_S, noted
from swapbench.errors import DeviceFailed
from swapbench.ports import Detached, Ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.devices.adb import Adb
    from swapbench.ports import DetachedJob

SUPPLIES: Final = "/sys/class/power_supply"
CABLE_FILES: Final = f"grep -sH '' {SUPPLIES}/*/type {SUPPLIES}/*/online {SUPPLIES}/*/status"
BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
"""Another one after every start of the system (random(4))."""

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
  ({farewell}
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
"""Waits, does the jobs, says how it ended. Called with `look` it only tells how things stand."""

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
  [ $waited_s -lt {patience_s} ] || {{ echo 'it does not start' >&2; exit 1; }}
  sleep 1
  waited_s=$((waited_s + 1))
done
"""
"""May be said twice, as every question: the folder is made once."""


def cable_signs(text: str) -> tuple[tuple[str, str], ...]:
    """The files that tell whether a phone's cable is in, each with what it will say when it is out; from CABLE_FILES with it in.

    `online` of the supplies from outside (power_supply class of Linux: 0 offline, 1 fixed, 2 programmable), else the battery's own
    `status`, which is "Discharging" then. A battery may have an `online` too, with a vendor's meaning: it is left out. Empty where
    nothing tells.
    """
    told: dict[str, dict[str, tuple[str, str]]] = {}
    for line in text.splitlines():
        if found := _SIGN.match(line.strip()):
            told.setdefault(found[2], {})[found[3]] = (found[1], found[4].strip())
    outside = [
        files["online"][0]
        for name, files in sorted(told.items())
        if "online" in files
        and name not in _OWN_SUPPLIES
        and files.get("type", ("", ""))[1].lower() not in _OWN_SUPPLIES
        and files["online"][1] in {"1", "2"}
    ]
    if outside:
        return tuple((path, "0") for path in outside)
    return tuple(
        (told[name]["status"][0], "Discharging")
        for name in _OWN_SUPPLIES
        if told.get(name, {}).get("status", ("", ""))[1] in {"Charging", "Full", "Not charging"}
    )


class DetachedQueue:
    """The jobs that lie on one phone. Every method raises DeviceFailed, Unreachable among them, where it cannot be reached."""

    def __init__(self, adb: Adb) -> None:
        self._adb = adb
        self.folder = f"{adb.folder}/.detached"

    def start(
        self,
        token: str,
        jobs: Sequence[DetachedJob],
        signs: Sequence[tuple[str, str]],
        *,
        patience_s: float,
        settle_s: float,
        farewell: str,
    ) -> None:
        """Leave jobs in place of what is there. signs: what the phone's files say while the cable is out; farewell: shell
        commands at the end of all.
        """
        self.end()
        script = queue_script(
            self.folder,
            self._adb.folder,
            jobs,
            signs,
            patience_s=patience_s,
            settle_s=settle_s,
            farewell=farewell,
        )
        contents = {"queue.sh": script, "token": f"{token}\n"}
        contents |= {f"{job.name}.in": job.requests for job in jobs}
        with tempfile.TemporaryDirectory() as name:
            for file, content in contents.items():
                path = Path(name) / file
                path.write_text(content, encoding="utf-8")
                self._adb.push(path, f".detached/{file}")
        words = _START.format(folder=shlex.quote(self.folder), boot_id=BOOT_ID, patience_s=_STARTED_S)
        done = self._adb.query(words, TRANSFER_S, "starting the detached measurement")
        if done.exit_code != 0:
            raise adb_text.explained(self._adb.serial, done.stderr, "starting the detached measurement")

    def look(self) -> Detached | None:
        """What is there, None for nothing."""
        folder = shlex.quote(self.folder)
        told = self._adb.ask(
            {
                "token": f"cat {folder}/token",
                # before the state: what is found dead here has said how it ended, if it could
                "alive": noted(self.folder, 'echo "$pid"', "*.note"),
                "state": f"sh {folder}/queue.sh look",
            }
        )
        if told["token"].exit_code != 0:
            return None
        lines = told["state"].stdout.splitlines()
        endings: tuple[Ending, ...] = get_args(Ending)
        return Detached(
            token=told["token"].stdout.strip(),
            alive=bool(told["alive"].stdout.strip()),
            unplugged="unplugged" in lines,
            begun="begun" in lines,
            ended=next((one for one in endings if f"ended {one}" in lines), None),
            restarted="restarted" in lines,
            finished=tuple(line.removeprefix("finished ") for line in lines if line.startswith("finished ")),
        )

    def answers(self, name: str) -> str:
        """What a finished job said. WorkerFailed for one that was killed, or said what is no text."""
        stem = f"{self.folder}/{name}"
        told = self._adb.ask(
            {
                "status": f"cat {shlex.quote(f'{stem}.status')}",
                "words": f"cat {shlex.quote(f'{stem}.err')}",
            }
        )
        status = told["status"].stdout.strip()
        if status.isdigit() and not adb_text.unknown_exit(int(status)):
            raise adb_text.ended("the runner", int(status), told["words"].stdout)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "answers"
            self._adb.pull(f"{stem}.out", path)
            content = path.read_bytes()
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise adb_text.not_text("the runner", content) from None

    def end(self) -> bool:
        """End what waits or runs, the script before what it started, and clear everything away; whether there was anything."""
        folder = shlex.quote(self.folder)
        there = self._adb.query(f"[ -d {folder} ]").exit_code == 0
        if there:
            kill = 'kill -9 "$pid"'
            self._adb.query(
                f"{noted(self.folder, kill, 'queue.note')}\n{noted(self.folder, kill, 'job.note')}\nrm -rf {folder}"
            )
        return there


def queue_script(
    folder: str,
    libraries: str,
    jobs: Sequence[DetachedJob],
    signs: Sequence[tuple[str, str]],
    *,
    patience_s: float,
    settle_s: float,
    farewell: str,
) -> str:
    """The script that a phone does by itself; everything of the caller's is quoted. libraries: where the programs' own lie."""
    if not signs:
        raise ValueError("without a file that tells of the cable the script would measure at once")
    return _QUEUE.format(
        folder=shlex.quote(folder),
        libraries=shlex.quote(libraries),
        boot_id=BOOT_ID,
        note=NOTE.strip(),
        signs="\n".join(
            f'  now=; {{ read -r now < {shlex.quote(path)}; }} 2>/dev/null; [ "$now" = {shlex.quote(value)} ] || return 1'
            for path, value in signs
        ),
        farewell=farewell,
        patience_s=round(patience_s),
        settle_s=round(settle_s),
        jobs="\n".join(f"job {shlex.join([job.name, *job.argv])}" for job in jobs),
    )


def nothing_tells(serial: str) -> DeviceFailed:
    """No file of a phone says whether its cable is in."""
    return DeviceFailed(
        f"no file of phone {serial} that may be read tells whether its cable is in, so it cannot measure by itself",
        remedy="Pull the cable and use adb over Wi-Fi, without --detached "
        "(adb tcpip 5555, then adb connect ADDRESS:5555).",
    )
