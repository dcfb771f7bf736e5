"""Shell scripts that keep a note of every process that we start on a phone.

A note is a file with two numbers, the process number and its start time: a process number alone may belong to
another program by the time it is used. Only processes that a note describes exactly are ever signalled.
"""

from __future__ import annotations

import shlex
from typing import Final

from swapbench.environment import QUIET

NOTE: Final = """
note() { echo "$1 ${22}"; }
read -r line < /proc/$$/stat
note $line"""
"""Prints a note of the shell that runs it: fields 1 and 22 of /proc/PID/stat (proc(5)).

The shell's own name has no spaces, so the fields can be counted by words.
"""

QUIETLY: Final = "; ".join(f"export {name}={value}" for name, value in QUIET.items())
"""A runtime on a phone reports nothing either; see swapbench.environment."""

PROGRAM: Final = f"""{NOTE} > "$1"
[ -e "$1.stop" ] && exit 143
echo "$2"
[ -n "$3" ] && export LD_LIBRARY_PATH="$3"
{QUIETLY}
shift 3
exec "$@"
"""
"""Run by `sh -c` as NAME NOTE MARK LIBRARIES PROGRAM [ARGUMENT...].

It notes the process, prints the mark and becomes the program.
"""

_FOR_EACH: Final = """
cd {notes} 2>/dev/null || exit 0
for note in {pattern}; do
  [ -f "$note" ] || continue
  pid= began= line=
  read -r pid began < "$note"
  case $pid in ''|*[!0-9]*) continue ;; esac
  {{ read -r line < "/proc/$pid/stat"; }} 2>/dev/null
  set -- ${{line##*) }}
  if [ -n "$began" ] && [ "${{20}}" = "$began" ] && [ "$1" != Z ]; then {action}; fi
done
"""


def for_noted(folder: str, action: str, pattern: str) -> str:
    """A script that acts on every living process that a note describes.

    Args:
        folder: The folder of the notes on the phone.
        action: A shell command; it sees the process as "$pid".
        pattern: Which notes, as a shell pattern of file names.
    """
    return f"({_FOR_EACH.format(notes=shlex.quote(folder), pattern=pattern, action=action)})"
