"""Starts an emulated phone for a person, or for one command: `python tests/phone --help`."""

# ruff: noqa: T201 - this module is a command line
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

# Started as a folder, Python knows no package here; and other people install packages named "tests".
sys.path[0] = str(Path(__file__).parents[1])

from phone.dialects import DIALECTS  # noqa: E402
from phone.lifecycle import ABIS, Phone, Unavailable, adb_server, emulated_phone  # noqa: E402

USAGE = """
Without a command the phone stays until Ctrl-C or end of input, and takes switches from standard input:
    thermal_status=3        cable=false        charging=true        missing=["*/charge_counter"]
    reset   restart   state   truth   processes
With a command, it runs while the phone is there; adb in it finds the phone, and its exit status is passed on:
    python tests/phone --arch arm64 -- adb shell uname -m
"""


def _talk(phone: Phone) -> None:
    """Turns switches as a person types them."""
    for line in sys.stdin:
        words = line.strip()
        try:
            if words in {"reset", "restart"}:
                getattr(phone, words)()
            elif words in {"state", "truth"}:
                print(getattr(phone, words)())
            elif words == "processes":
                print("\n".join(f"{pid} {command}" for pid, command in phone.processes()))
            elif words:
                name, _, value = words.partition("=")
                phone.set(**{name: _value(value)})
        except ValueError as error:
            print(f"error: {error}")


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> int:
    """Returns the command's exit status, or 4 where there can be no phone."""
    parser = argparse.ArgumentParser(
        prog="python tests/phone",
        description="An emulated phone that the real adb finds.",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dialect", choices=sorted(DIALECTS), default="pixel")
    parser.add_argument("--arch", choices=sorted(ABIS), help="default: this machine's, at native speed")
    parser.add_argument("--applets", choices=("busybox", "toybox"), default="busybox")
    parser.add_argument("--report", type=Path, help="what swapbench doctor --bundle wrote of a real phone")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    try:
        with (
            adb_server() as adb,
            emulated_phone(
                adb,
                dialect=options.dialect,
                arch=options.arch,
                port=options.port,
                applets=options.applets,
                report=options.report,
            ) as phone,
        ):
            if command:
                environment = {
                    **os.environ,
                    "ANDROID_ADB_SERVER_PORT": str(adb.port),
                    "ANDROID_SERIAL": phone.serial,
                }
                return subprocess.run(command, env=environment, check=False).returncode
            print(f"ANDROID_ADB_SERVER_PORT={adb.port} adb -s {phone.serial} shell", flush=True)
            try:
                _talk(phone)
            except KeyboardInterrupt:
                print()
    except Unavailable as error:
        print(f"error: no emulated phone: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
