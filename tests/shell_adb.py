"""A fake adb program whose phone is this computer's own shell, so that quoting and processes are real.

It records every call. A fault is a piece of shell that runs once instead of, or before, the next call of a
verb; it sees the call's words as $1 (-s), $2 (the serial), $3 (the verb) and so on, and may `exit`.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SERIAL = "R58M12ABCDE"

_SCRIPT = r"""#!/bin/sh
home={home}
for word; do printf '%s\037' "$word"; done >> "$home/calls"
printf '\036' >> "$home/calls"
verb=$1
[ "$1" = -s ] && verb=$3
for fault in "$home/faults/"*."$verb"; do
  [ -f "$fault" ] || continue
  mv "$fault" "$home/fault"
  . "$home/fault"
  break
done
[ "$1" = -s ] && shift 2
PATH="$home/bin:$PATH"
cd /
case $verb in
devices) cat "$home/devices" ;;
features) printf 'cmd\nshell_v2\n' ;;
shell) shift; exec /bin/sh -c "$*" ;;
push) cp -- "$2" "$3" ;;
pull) cp -- "$2" "$3" ;;
connect) echo "connected to $2" ;;
disconnect | reconnect | wait-for-device) ;;
*) echo "adb: unknown command $verb" >&2; exit 1 ;;
esac
"""


@dataclass
class ShellAdb:
    """The program, and the folder that is ours on its phone (with a space in its name)."""

    home: Path

    def __post_init__(self) -> None:
        (self.home / "faults").mkdir()
        (self.home / "bin").mkdir()
        (self.home / "devices").write_text(f"List of devices attached\n{SERIAL}\tdevice\n\n")
        self.tool("../adb", _SCRIPT.format(home=shlex.quote(str(self.home))))

    @property
    def program(self) -> str:
        return str(self.home / "adb")

    @property
    def folder(self) -> str:
        return str(self.home / "the phone" / "ours")

    def tool(self, name: str, script: str) -> None:
        """A program that only the phone has."""
        path = self.home / "bin" / name
        path.write_text(script)
        path.chmod(0o755)

    def fault(self, verb: str, script: str) -> None:
        """Run a piece of shell at the next call of a verb that has none waiting yet."""
        number = len(list((self.home / "faults").iterdir()))
        (self.home / "faults" / f"{number:02}.{verb}").write_text(script)

    @property
    def calls(self) -> list[list[str]]:
        """The words of every call so far."""
        path = self.home / "calls"
        said = path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""
        return [call.split("\037")[:-1] for call in said.split("\036")[:-1]]

    @property
    def verbs(self) -> list[str]:
        """What was asked of adb, in order, without serials."""
        return [call[2] if call[0] == "-s" else call[0] for call in self.calls]
