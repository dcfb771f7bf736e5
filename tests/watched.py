"""A command in a folder of its own, watched: what it connects to and where it writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1]
STRACE = shutil.which("strace")
_WATCHED = ("-f", "--seccomp-bpf", "-y", "-s", "4096", "-e", "trace=%file,%network")
_OPENED = re.compile(r'\bopenat?\((?:[^",]*(?:<(?P<at>[^>]*)>)?, )?"(?P<path>[^"]*)", (?P<flags>[A-Z_|]+)')
_MADE = re.compile(r'\b(?:mkdir|mkdirat|rename|renameat2?|link|linkat|symlink|mknod)\([^"]*"(?P<path>[^"]*)"')
_SOCKET = re.compile(r"\b(?:connect|sendto|bind)\(.*sa_family=(?P<family>AF_\w+)(?P<rest>.*)")
_HOOK = """
import os, sys
def hook(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"}:
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {arguments}\\n")
sys.addaudithook(hook)
"""


@dataclass(frozen=True)
class Watched:
    """What a command did, with all processes that it started.

    Attributes:
        status: its exit status.
        said: its standard output and error.
        connections: what it connected to, looked up or listened at.
        outside: paths outside of its working and temporary folders that it created or opened for writing.
        left: what it left behind in the home folder and in the temporary folder.
    """

    status: int
    said: str
    connections: list[str]
    outside: list[str]
    left: list[str]


def watch(folder: Path, *argv: str) -> Watched:
    """Run `swapbench ARGV` in `folder`/work, with a home and a temporary folder of its own.

    System calls are watched where there is strace, so that libraries in C are seen too. Elsewhere Python's
    own sockets are watched, and what is left in the home folder tells of others.
    """
    work, home, temporary = (folder / name for name in ("work", "home", "tmp"))
    for place in (work, home, temporary):
        place.mkdir(exist_ok=True)
    log, hooks = folder / "watched.log", folder / "hooks"
    log.write_bytes(b"")
    hooks.mkdir(exist_ok=True)
    (hooks / "sitecustomize.py").write_text("" if STRACE else _HOOK, encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "ORT_"))}
    done = subprocess.run(
        [
            *([STRACE, *_WATCHED, "-o", str(log)] if STRACE else []),
            *(sys.executable, "-m", "swapbench", *argv),
        ],
        cwd=work,
        env=variables
        | {
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "ADB": "no-adb-here",
            "CI": "true",
            "WATCHED": str(log),
            "PYTHONPATH": os.pathsep.join([str(hooks), str(SOURCE)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return Watched(
        status=done.returncode,
        said=done.stdout,
        connections=_connections(lines) if STRACE else lines,
        outside=_written_outside(lines, work, (work, temporary)),
        left=sorted(
            str(path.relative_to(folder)) for place in (home, temporary) for path in place.rglob("*")
        ),
    )


def _connections(lines: list[str]) -> list[str]:
    # glibc asks the name service for the name of the user; a lookup of a host would go on with AF_INET
    matches = (_SOCKET.search(line) for line in lines if not re.search(r"/nscd/socket.* ENOENT", line))
    return [match["family"] + match["rest"] for match in matches if match and match["family"] != "AF_NETLINK"]


def _written_outside(lines: list[str], work: Path, inside: tuple[Path, ...]) -> list[str]:
    """Paths that were created or opened for writing; devices and descriptors of a process's own are none."""
    found = set()
    for line in lines:
        if re.search(r"= -1 E\w+", line):
            continue
        match = _OPENED.search(line)
        if match and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", match["flags"]):
            continue
        match = match or _MADE.search(line)
        if match is None:
            continue
        path = Path(os.path.normpath(work / (match.groupdict().get("at") or "") / match["path"]))
        if not any(path.is_relative_to(place) for place in inside):
            found.add(str(path))
    return sorted(path for path in found if not path.startswith(("/dev/", "/proc/self/")))
