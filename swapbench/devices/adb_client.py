"""The adb program on this computer: where it is, how it is called, and which phones it lists."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench.devices import adb_text, android_text
from swapbench.devices.child_output import MOST_BYTES, PrintsWithoutEnd, output_of
from swapbench.errors import DeviceFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECT_S: Final = 15.0
"""How long a command may take that only concerns the connection."""


@dataclass(frozen=True)
class Printed:
    """What adb's client printed, and its exit status."""

    stdout: bytes
    stderr: bytes
    exit_code: int

    @property
    def text(self) -> str:
        """Both outputs together: adb complains on one or the other, depending on command and version."""
        return (self.stderr + b"\n" + self.stdout).decode("utf-8", "replace")


def find_adb() -> str:
    """The adb program: the one that ADB names, the one on the PATH, or the one in the package adbutils.

    Raises:
        DeviceFailed: There is none.
    """
    named = os.environ.get("ADB")
    if named:
        path = shutil.which(named)
        if path is None:
            raise DeviceFailed(
                f"ADB is set to {named}, which is not a program",
                remedy="Correct or unset the environment variable ADB.",
            )
        return path
    path = shutil.which("adb")
    if path is not None:
        return path
    try:
        import adbutils  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise DeviceFailed(
            "adb is not installed on this computer",
            remedy="Install it (sudo apt install adb, or Android's platform-tools), or set ADB to its path.",
        ) from None
    return str(adbutils.adb_path())


def list_phones(program: str) -> tuple[tuple[str, str], ...]:
    """Serial and state of every attached phone.

    Raises:
        DeviceFailed: adb does not work.
    """
    printed = call(program, ["devices"], CONNECT_S)
    if printed.exit_code != 0:
        raise adb_text.explained("(any)", printed.text, "listing phones")
    return android_text.listed_phones(printed.stdout.decode("utf-8", "replace"))


def call(program: str, args: Sequence[str], timeout_s: float) -> Printed:
    """Run adb's client to its end.

    Raises:
        TimeoutError: It did not end in time.
        DeviceFailed: It could not be started, or never stopped printing.
    """
    try:
        client = subprocess.Popen(
            [program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as problem:
        raise DeviceFailed(f"cannot start {program}: {problem.strerror or problem}") from None
    with client:
        try:
            return Printed(*output_of(client, timeout_s), client.returncode)
        except PrintsWithoutEnd:
            client.kill()
            raise DeviceFailed(f"{program} {args[0]} printed more than {MOST_BYTES / 1e6:.0f} MB") from None
        except BaseException:
            client.kill()
            raise
