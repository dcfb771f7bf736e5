"""Gets the Debian packages that phones are made of into a cache folder, through a private view of apt.

The machine's own sources are asked, for any architecture; nothing of its apt or dpkg state is touched and
nothing is installed. What came is noted with its sha256 in `<cache>/<architecture>/fetched.json`; a second
call changes nothing.

    python tests/phone/fetch.py                        # the shell and busybox, for this machine and for arm64
    python tests/phone/fetch.py --arch arm64 libc6     # further packages, unpacked beside them
"""

# ruff: noqa: T201 - this module is a command line
from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parents[2] / "build" / "phone"
PACKAGES = ("mksh", "busybox-static", "toybox")
# A shell that needs no C library, as there is none of Debian's on a phone; and the applets.
PROGRAMS = {"shell": "mksh/usr/lib/klibc/bin/mksh", "busybox": "busybox-static/bin/busybox"}
# Android's own applets, for phones of this machine's architecture that are to have them in busybox's place.
TOYBOX = "toybox/bin/toybox"
NOTE = "fetched.json"
APT_TIMEOUT_S = 300


class FetchFailed(Exception):
    """The packages cannot be had; the message says why and what to do."""


def native_arch() -> str:
    """This machine's architecture as Debian calls it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def programs(arch: str, cache: Path = CACHE) -> dict[str, Path]:
    """Paths of `shell` and `busybox` as fetched; raises FetchFailed where they were not."""
    found = {name: cache / arch / path for name, path in PROGRAMS.items()}
    absent = [str(path) for path in found.values() if not path.is_file()]
    if absent:
        raise FetchFailed(
            f"the programs of a {arch} phone are not there ({', '.join(absent)}). "
            "Fetch them with: python tests/phone/fetch.py"
        )
    return found


def toybox(cache: Path = CACHE) -> Path:
    """Android's applets for this machine as fetched; raises FetchFailed where they were not."""
    path = cache / native_arch() / TOYBOX
    if not path.is_file():
        raise FetchFailed(f"there is no {path}. Fetch it with: python tests/phone/fetch.py")
    return path


def fetch(arch: str, packages: tuple[str, ...] = PACKAGES, cache: Path = CACHE) -> dict[str, Path]:
    """Folders of the unpacked packages by name; only what is not there yet is fetched.

    Raises FetchFailed where apt is absent, its sources cannot be reached, or they lack a package.
    """
    home = cache / arch
    notes = _notes(home)
    absent = [name for name in packages if name not in notes or not (home / name).is_dir()]
    if absent:
        apt = _apt(arch, cache)
        view = cache / ".apt" / arch
        # The lists are fetched anew: an older view may name files that the sources no longer have.
        _run([*apt, "update"], view, f"no list of {arch} packages could be fetched")
        for name in absent:
            notes[name] = _unpack(apt, view, home, name)
            (home / NOTE).write_text(json.dumps(notes, indent=1, sort_keys=True) + "\n")
        shutil.rmtree(view)
    return {name: home / name for name in packages}


def _notes(home: Path) -> dict[str, dict[str, str]]:
    try:
        return dict(json.loads((home / NOTE).read_text()))
    except (OSError, ValueError):
        return {}


def _apt(arch: str, cache: Path) -> list[str]:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise FetchFailed(
                f"{program} is not on this machine: the programs of a phone come from Debian's packages "
                f"{' and '.join(PACKAGES)}, which can also be unpacked by hand into {cache}/{arch}/NAME"
            )
    view = cache / ".apt" / arch
    for folder in ("state/lists/partial", "cache/archives/partial", "files"):
        (view / folder).mkdir(parents=True, exist_ok=True)
    (view / "status").touch()
    options = {
        "APT::Architecture": arch,
        "APT::Architectures::": arch,
        "APT::Sandbox::User": "root" if os.getuid() == 0 else "",
        "Dir::State": view / "state",
        "Dir::State::status": view / "status",
        "Dir::Cache": view / "cache",
        "Acquire::Languages": "none",
    }
    return ["apt-get", "-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


def _run(argv: list[str], folder: Path, what: str) -> None:
    try:
        done = subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, timeout=APT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"{what} within {APT_TIMEOUT_S} s. Is there a network?") from None
    # apt-get update ends with 0 although no source answered; it only warns.
    complaints = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W: Failed", "Err:"))]
    if done.returncode or complaints:
        said = complaints[0] if complaints else (done.stderr or done.stdout).strip()[-300:]
        raise FetchFailed(f"{what} ({said}). Is there a network, and do the machine's apt sources have it?")


def _unpack(apt: list[str], view: Path, home: Path, name: str) -> dict[str, str]:
    files = view / "files"
    for old in files.iterdir():
        old.unlink()
    _run([*apt, "download", name], files, f"the package {name} could not be fetched")
    (package,) = files.glob("*.deb")
    unpacking = home / f".{name}"
    shutil.rmtree(unpacking, ignore_errors=True)
    unpacking.mkdir(parents=True)
    _run(["dpkg-deb", "-x", str(package), str(unpacking)], files, f"{package.name} cannot be unpacked")
    # Half an unpacked package must never look like a whole one.
    shutil.rmtree(home / name, ignore_errors=True)
    unpacking.rename(home / name)
    return {"file": package.name, "sha256": hashlib.sha256(package.read_bytes()).hexdigest()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Get the programs that emulated phones are made of.")
    parser.add_argument("packages", nargs="*", default=PACKAGES, metavar="PACKAGE")
    parser.add_argument("--arch", action="append", help="Debian's name; this machine's and arm64 unless told")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    try:
        for arch in options.arch or dict.fromkeys((native_arch(), "arm64")):
            for name, folder in fetch(arch, tuple(options.packages), options.cache).items():
                note = _notes(options.cache / arch)[name]
                print(f"{arch} {name}: {folder} ({note['file']}, sha256 {note['sha256']})")
    except FetchFailed as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
