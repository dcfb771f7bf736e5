"""A phone out of a report: the commands of today get the answers that a phone gave then.

The commands are run by this computer's shell. Programs of a phone are small scripts that print what the phone
printed, and /sys, /proc, /dev and /data are folders of the report. Nothing of the report is run: its texts
lie in files, and its words are quoted. What was tried on the phone then, such as running a program, cannot be
tried again; those findings are taken from the report.
"""

from __future__ import annotations

import base64
import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swapbench.devices.adb import FOLDER, Adb
from swapbench.devices.adb_client import Printed
from swapbench.devices.android import Android
from swapbench.devices.linux_text import BOOT_ID
from swapbench.devices.phone_report import TRACE
from swapbench.errors import DeviceFailed, EnvironmentFailed, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swapbench.devices.phone_report import PhoneReport

SERIAL: Final = "<serial>"
PROGRAMS: Final = (
    *("getprop", "dumpsys", "settings", "cmd", "perfetto", "getconf", "uname", "df", "id", "getenforce"),
    *("toybox", "am", "pm", "svc", "input", "setprop"),
)
"""Programs of the phone: what a report does not answer is refused, never asked of this computer."""
ONCE: Final = frozenset({"adb", "folder", "programs", "sha256sum", "left over", "runtimes", "pages"})
"""Findings of what was tried on the phone, or that are about this computer's files."""
_PATHS: Final = re.compile(r"(?<![\w/.])/(?=(?:sys|proc|data|dev/cpuset|dev/cpuctl)\b)")
_UNKNOWN: Final = "unanswered"


class ReplayedAdb(Adb):
    """The connection to a phone that is a folder; see `replayed`."""

    def __init__(self, root: Path, features: Sequence[str]) -> None:
        super().__init__(SERIAL, "sh", folder=FOLDER)
        self._root, self._told = root, tuple(features)

    def _call(self, args: Sequence[str], timeout_s: float) -> Printed:
        """What adb's client would print."""
        match args:
            case ["shell", script]:
                return self._run(script, timeout_s)
            case ["features"]:
                return Printed("\n".join(self._told).encode() + b"\n", b"", 0)
        raise DeviceFailed(f"a replayed phone has no {args[0]}", remedy="Attach the phone itself.")

    def _run(self, script: str, timeout_s: float) -> Printed:
        root = str(self._root)
        try:
            done = subprocess.run(
                ["sh", "-c", _PATHS.sub(f"{root}/", script)],
                cwd=self._root,
                env={"PATH": f"{root}/bin:/usr/bin:/bin", "TMPDIR": root, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        here = root.encode()
        return Printed(done.stdout.replace(here, b""), done.stderr.replace(here, b""), done.returncode)

    def unanswered(self) -> tuple[str, ...]:
        """Command lines that the report has no answer to, each once."""
        path = self._root / _UNKNOWN
        return tuple(dict.fromkeys(path.read_text().splitlines())) if path.exists() else ()


@contextlib.contextmanager
def replayed(report: PhoneReport) -> Iterator[Android]:
    """The phone of a report, while its folder is there.

    Raises:
        EnvironmentFailed: This computer has no POSIX shell.
        UserError: The report holds what no phone says.
    """
    if shutil.which("sh") is None:
        raise EnvironmentFailed(
            "replaying a report needs a POSIX shell (sh)", remedy="Replay it on Linux or macOS, or in WSL."
        )
    with tempfile.TemporaryDirectory(prefix="swapbench-phone-") as name:
        root = Path(name).resolve()
        try:
            _lay_out(root, report)
        except (OSError, ValueError) as problem:  # a file where a folder must be, a trace that is no base64
            raise UserError(
                f"the report cannot be replayed ({problem})", remedy="Ask for another one: it is damaged."
            ) from None
        yield Android(ReplayedAdb(root, report.features), report.profile)


def _lay_out(root: Path, report: PhoneReport) -> None:
    made = {BOOT_ID: "00000000-0000-4000-8000-000000000000\n"}
    for path, text in {**made, **report.files}.items():
        file = _inside(root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for path in report.unreadable:  # a folder in its place cannot be read either, whoever asks
        _inside(root, path).mkdir(parents=True, exist_ok=True)
    (root / FOLDER.lstrip("/")).mkdir(parents=True, exist_ok=True)
    (root / "data/misc/perfetto-traces").mkdir(parents=True)
    answers, programs = root / "answers", root / "bin"
    answers.mkdir()
    programs.mkdir()
    cases: dict[str, list[str]] = {program: [] for program in PROGRAMS}
    for place, answer in enumerate(report.answers):
        if answer.program not in cases:
            continue
        (answers / str(place)).write_text(answer.text)
        rest = answer.words.removeprefix(answer.program).strip()
        pattern = f"{shlex.quote(f'{rest} '.lstrip())}*" if answer.begins else shlex.quote(rest)
        (answers / f"{place}.err").write_text(answer.errors)
        print_it = (
            f"cat {shlex.quote(str(answers / str(place)))}; "
            f"cat {shlex.quote(str(answers / f'{place}.err'))} >&2"
        )
        if answer.words == TRACE and answer.status == 0:
            (answers / str(place)).write_bytes(base64.b64decode(answer.text, validate=True))
            print_it = f'cat >/dev/null; cp {shlex.quote(str(answers / str(place)))} "$5"'
        cases[answer.program].append(f"{pattern}) {print_it}; exit {answer.status % 256} ;;")
    if report.properties:
        lines = "".join(f"[{name}]: [{value}]\n" for name, value in report.properties.items())
        (answers / "properties").write_text(lines)
        cases["getprop"] = [f"'') cat {shlex.quote(str(answers / 'properties'))}; exit ;;"]
        cases["getprop"] += [
            f"{shlex.quote(name)}) printf '%s\\n' {shlex.quote(value)}; exit ;;"
            for name, value in report.properties.items()
        ]
        cases["getprop"].append("*) echo; exit ;;")
    for program, lines_of in cases.items():
        _program(programs / program, lines_of, root / _UNKNOWN)


def _inside(root: Path, path: str) -> Path:
    """A path of the phone in its folder; ValueError where it leads out of it."""
    inside = root / path.lstrip("/")
    if not inside.resolve().is_relative_to(root):
        raise ValueError(f"{path} is no path of a phone")
    return inside


def _program(path: Path, cases: Sequence[str], unknown: Path) -> None:
    """A script that prints the answer to its command line, or refuses and notes what was asked."""
    note = shlex.quote(str(unknown))
    script = [
        "#!/bin/sh",
        'case "$*" in',
        *cases,
        "esac",
        f'echo "{path.name} $*" >> {note}',
        f'echo "{path.name} $*: not in this report" >&2',
        "exit 1",
    ]
    path.write_text("\n".join(script) + "\n")
    path.chmod(0o755)
