"""What goes wrong between a computer and a phone, with a remedy: pure functions of adb's own messages.

Messages of adb 29 to 36, and exit statuses of POSIX shells (128 + n: killed by signal n).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from swapbench.errors import DeviceFailed, Unreachable, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

TAIL_CHARACTERS: Final = 200


_UNREACHABLE: Final = (
    (
        r"device offline|device (still )?connecting|does not answer",
        "phone {serial} is attached but does not answer (offline)",
        "Unplug the cable, plug it in again and unlock the phone; then run the same command again.",
    ),
    (
        r"device '.*' not found|no devices/emulators found|no such device",
        "phone {serial} is not attached",
        "Check the cable and that USB debugging is on; swapbench devices lists the attached phones.",
    ),
)
_REFUSED: Final = (
    (
        r"unauthorized|device (still )?authorizing|failed to authenticate",
        "phone {serial} does not trust this computer (unauthorized)",
        "Unlock the phone, accept 'Allow USB debugging?' and run the same command again.",
    ),
    (
        r"no permissions|insufficient permissions",
        "this user may not access phone {serial} over USB",
        (
            "On Debian or Ubuntu: sudo apt install android-sdk-platform-tools-common, "
            "join the group plugdev and log in again."
        ),
    ),
    (
        r"device (recovery|sideload|rescue|bootloader)",
        "phone {serial} has not started Android",
        "Restart the phone: adb reboot",
    ),
    (
        r"more than one device",
        "several phones are attached",
        "Choose one with --serial; swapbench devices lists them.",
    ),
    (
        r"no space left on device",
        "the storage of phone {serial} is full",
        (
            "Free some space on the phone (adb shell rm -r /data/local/tmp/swapbench removes our files) "
            "and run the same command again."
        ),
    ),
    (
        r"read-only file system",
        "swapbench's folder on phone {serial} is on a read-only file system",
        "Restart the phone; swapbench doctor --device shows what it allows.",
    ),
    (
        r"cannot connect to daemon|failed to start daemon|failed to check server version",
        "the adb server on this computer does not start",
        "Run: adb kill-server && adb start-server",
    ),
)
_BROKEN: Final = r"couldn't read from device|closed|protocol fault|connection reset|broken pipe|\beof\b"

_EXITS: Final = {
    126: (
        "cannot be executed (no permission, or its folder is mounted noexec)",
        "Programs can only run below /data/local/tmp; swapbench doctor --device shows what is allowed.",
    ),
    127: (
        "was not found, or its dynamic loader is not on this phone",
        "Prepare the phone again: swapbench device prepare",
    ),
    132: (
        "was killed by SIGILL: it uses an instruction that this processor does not have",
        "Use a library built for this processor, or another version of the runtime.",
    ),
    134: (
        "aborted (SIGABRT)",
        "The end of its output names the reason; the model file or an option may be at fault.",
    ),
    135: ("was killed by SIGBUS", "The file that it read may be damaged: push it again."),
    137: (
        "was killed (SIGKILL), most likely because the phone ran out of memory",
        "Close the apps on the phone and run the same command again, or measure a smaller model.",
    ),
    139: (
        "crashed (SIGSEGV)",
        "Try another version of the runtime, or without a delegate.",
    ),
    143: ("was terminated (SIGTERM)", "Something on the phone ended it; run the same command again."),
    159: (
        "was killed by SIGSYS: the phone blocks a system call that it makes",
        "Use the official Android library instead of the portable bundle.",
    ),
}


def explained(serial: str, complaint: str, doing: str) -> DeviceFailed:
    """The reason why adb could not do something; Unreachable where connecting again may help.

    Args:
        serial: Of the phone.
        complaint: What adb or the phone's shell printed; empty where the connection broke.
        doing: What was being done, e.g. "pushing model.onnx".
    """
    for kind, table in ((Unreachable, _UNREACHABLE), (DeviceFailed, _REFUSED)):
        for pattern, message, remedy in table:
            if re.search(pattern, complaint, re.IGNORECASE):
                return kind(message.format(serial=serial), remedy=remedy)
    if not complaint.strip() or re.search(_BROKEN, complaint, re.IGNORECASE):
        return lost(serial, doing)
    return DeviceFailed(f"{doing} failed on phone {serial}: {tail(complaint)}")


def lost(serial: str, doing: str) -> DeviceFailed:
    """The connection broke in the middle of something."""
    return DeviceFailed(
        f"the connection to phone {serial} broke while {doing}",
        remedy="Check the cable (a hub can be at fault) and run the same command again; "
        "what was finished is kept.",
    )


def is_own_exit(code: int) -> bool:
    """True for an exit status of the program's own, False for one that a shell or a signal set."""
    return code not in _EXITS


def program_name(argv: Sequence[str]) -> str:
    """What messages call a program: its file name, or that of the runner where a loader starts it."""
    runners = [word for word in argv if PurePosixPath(word).name.startswith("runner")]
    by_loader = PurePosixPath(argv[0]).name.startswith("ld-linux")
    return PurePosixPath(runners[0] if by_loader and runners else argv[0]).name


def ended(program: str, code: int, complaint: str) -> WorkerFailed:
    """How a program on the phone ended, by its exit status, with the end of its standard error."""
    how, remedy = _EXITS.get(code, (f"ended with {code}", ""))
    reason = tail(complaint)
    return WorkerFailed(f"{program} {how}{': ' + reason if reason else ''}", remedy=remedy)


def cut_off(program: str, text: str) -> WorkerFailed:
    """The output of a program stops in the middle."""
    return WorkerFailed(
        f"the output of {program} is cut off after {len(text)} characters: ...{tail(text)!r}",
        remedy="The connection broke or the program was killed; "
        "check the cable and run the same command again.",
    )


def not_text(program: str, output: bytes) -> WorkerFailed:
    """The output of a program is not UTF-8."""
    return WorkerFailed(
        f"the output of {program} is not text: ...{tail(output.decode('utf-8', 'backslashreplace'))!r}",
        remedy="The program or the connection is damaged: push it again and use another cable.",
    )


def tail(text: str) -> str:
    """The end of a text on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-TAIL_CHARACTERS:]
