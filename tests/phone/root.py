"""The phone's root file system: how it is built, and how a process moves into it.

Everything lies in a tmpfs that only the phone's mount namespace sees: it goes away with the phone.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from .programs import NAMES

ASK = Path("/dev/socket/ask")
BOOT_ID = "/proc/sys/kernel/random/boot_id"
DATA_BYTES = 4 << 30
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 2, 4, 8, 32, 4096
PR_SET_SECUREBITS, SECBIT_NOROOT = 28, 1
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, CAP_SYS_ADMIN = 47, 4, 21
SHELL_UID = 2000

# What toybox gives a phone, as far as busybox has it.
APPLETS = (  # noqa: SIM905 - a list of 100 names would take 100 lines
    "[ awk base64 basename cal cat chgrp chmod chown cksum clear cmp cp cut date dd df diff dirname dmesg "
    "du echo egrep env expr false fgrep find fold free getopt grep groups gunzip gzip head hexdump "
    "hostname id ionice kill killall ln logname ls md5sum mkdir mkfifo mknod mktemp more mount mv nc "
    "netstat nice nl nohup nproc od paste patch pidof printenv printf ps pwd readlink realpath renice rev "
    "rm rmdir sed seq setsid sha1sum sha256sum sha512sum sleep sort split stat strings stty sync tail tar "
    "taskset tee test time timeout top touch tr true truncate tty umount uname uniq unlink unzip uptime "
    "usleep uudecode uuencode vi watch wc which who whoami xargs xxd xz yes zcat"
).split()

# One script is all of Android's programs: it asks the daemon, which alone knows the phone's state, and
# prints what it is told. A named pipe for every question, since a shell has no sockets.
_ASK = f"""#!/system/bin/sh
reply={ASK.parent}/reply.$$
rm -f "$reply"
mkfifo "$reply" || exit 1
name=${{0##*/}}
IFS=$'\\037'
print -r -- "$$$IFS$name$IFS$*" > {ASK}
unset IFS
{{
    read -r status stream
    if [[ $stream = 2 ]]; then cat >&2; else cat; fi
}} < "$reply"
rm -f "$reply"
exit $status
"""

# Perfetto's client, as far as a configuration as text on standard input and a file for the trace.
_PERFETTO = """#!/system/bin/sh
trace=
while [ $# -gt 0 ]; do
  case $1 in
  --txt) ;;
  -c) [ "$2" = - ] || { echo "this phone reads no configuration of a file" >&2; exit 1; }; shift ;;
  -o) trace=$2; shift ;;
  *) echo "perfetto: unknown option $1" >&2; exit 1 ;;
  esac
  shift
done
case $trace in
/data/misc/perfetto-traces/?*) ;;
*) echo "Failed to open $trace (errno: 13, Permission denied)" >&2; exit 1 ;;
esac
config=$(tr '\\n' ' ')
first=$(traced_probes first "$config") || exit 1
duration_ms=${config##*duration_ms: }
usleep $(( ${duration_ms%%[!0-9]*} * 1000 ))
next=$(traced_probes next "$config") || exit 1
{ echo "$first" | base64 -d; echo "$next" | base64 -d; } > "$trace"
echo "Wrote $(wc -c < "$trace") bytes into $trace" >&2
"""


class Refused(Exception):
    """The kernel does not let a phone be made here; the message says what it refused."""


@dataclass(frozen=True)
class Toybox:
    """Android's applets in busybox's place, with the C library that Debian's build of them needs.

    Their loader has a name of its own, so that a program that looks for glibc's finds none, as on a phone.
    """

    program: Path
    libraries: tuple[Path, ...]
    loader: Path
    applets: frozenset[str]

    def install(self, root: Path) -> None:
        """Puts them into a root."""
        inside = b"/system/tb/ld.so"
        named = str(self.loader).encode()
        program = self.program.read_bytes()
        assert program.count(named + b"\0") == 1
        assert len(inside) <= len(named)
        patched = program.replace(named, inside.ljust(len(named), b"\0"), 1)
        (root / "system/tb").mkdir()
        (root / "system/tb/ld.so").write_bytes(self.loader.read_bytes())
        (root / "system/tb/ld.so").chmod(0o755)
        for library in self.libraries:
            folder = root / str(library.parent).lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / library.name).write_bytes(library.read_bytes())
        programs = root / "system/bin"
        (programs / "toybox").unlink()
        (programs / "toybox").write_bytes(patched)
        (programs / "toybox").chmod(0o755)
        for name in self.applets.intersection(APPLETS):
            (programs / name).unlink()
            (programs / name).symlink_to("toybox")


def find_toybox(program: Path) -> Toybox:
    """Toybox of this machine with what it needs."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"=> (/\S+)", listed)
    (loader,) = re.findall(r"^\s*(/\S+ld-\S+)", listed, re.MULTILINE)
    applets = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.split()
    return Toybox(program, tuple(map(Path, libraries)), Path(loader), frozenset(applets))


def build(root: Path, shell: Path, busybox: Path, toybox: Toybox | None = None) -> None:
    """Fills an empty folder: programs, folders of Android. /proc, /dev, /data and /sdcard stay empty."""
    for folder in ("system/bin", "vendor/bin", "data", "sdcard", "proc", "dev", "sys", "mnt", "apex"):
        (root / folder).mkdir(parents=True)
    programs = root / "system/bin"
    (programs / "sh").write_bytes(shell.read_bytes())
    (programs / "busybox").write_bytes(busybox.read_bytes())
    (programs / "ask").write_text(_ASK)
    (programs / "toybox").write_text('#!/system/bin/sh\nexec /system/bin/busybox "$@"\n')
    (programs / "perfetto").write_text(_PERFETTO)
    for name in ("sh", "busybox", "ask", "toybox", "perfetto"):
        (programs / name).chmod(0o755)
    for name in APPLETS:
        (programs / name).symlink_to("busybox")
    if toybox is not None:
        toybox.install(root)
    for name in NAMES:
        (programs / name).symlink_to("ask")
    (root / "bin").symlink_to("system/bin")
    (root / "system/etc").mkdir()
    (root / "etc").symlink_to("system/etc")
    (root / "system/etc/passwd").write_text(
        f"root:x:0:0::/:/system/bin/sh\nshell:x:{SHELL_UID}:{SHELL_UID}::/:/system/bin/sh\n"
    )
    (root / "system/etc/group").write_text(f"shell:x:{SHELL_UID}:\n")


def enter(
    root: Path,
    shell: Path,
    busybox: Path,
    *,
    cpuinfo: str | None,
    qemu: Path | None,
    toybox: Toybox | None = None,
) -> None:
    """Builds the phone over the folder and makes it this process's root, in fresh namespaces.

    Afterwards this process keeps only the right to remount; what it starts has no rights but those of the
    shell user. Raises Refused where the kernel does not allow a mount.
    """
    _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=128m,mode=755")
    build(root, shell, busybox, toybox)
    _mount("tmpfs", root / "data", "tmpfs", MS_NOSUID | MS_NODEV, f"size={DATA_BYTES},mode=771")
    # Nothing runs from /sdcard, as on a phone.
    _mount("tmpfs", root / "sdcard", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"size={DATA_BYTES},mode=770")
    (root / "data/local/tmp").mkdir(parents=True)
    (root / "data/misc/perfetto-traces").mkdir(parents=True)
    _mount("proc", root / "proc", "proc")
    for name in ("null", "zero", "random", "urandom"):
        (root / "dev" / name).touch()
        _mount(f"/dev/{name}", root / "dev" / name, None, MS_BIND)
    (root / "dev/socket").mkdir()
    os.mkfifo(root / str(ASK).lstrip("/"))
    # The machine's own load is none of the phone's.
    (root / "mnt/stat").touch()
    _mount(str(root / "mnt/stat"), root / "proc/stat", None, MS_BIND)
    # A phone that starts again has another one, though the kernel under it stays.
    (root / "mnt/boot_id").write_text(f"{uuid.uuid4()}\n")
    _mount(str(root / "mnt/boot_id"), root / BOOT_ID.lstrip("/"), None, MS_BIND)
    if cpuinfo is not None:
        (root / "mnt/cpuinfo").write_text(cpuinfo)
        _mount(str(root / "mnt/cpuinfo"), root / "proc/cpuinfo", None, MS_BIND)
    if qemu is not None:
        _register(qemu, root / "mnt")
    for folder in (root / "system/bin", root / "system", root):
        folder.chmod(0o555)
    os.chroot(root)
    os.chdir("/")
    os.umask(0)
    _give_up_rights()


def _register(qemu: Path, folder: Path) -> None:
    """Lets the kernel hand arm64 ELF files to qemu, in this user namespace only."""
    magic = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"
    mask = b"\xff" * 7 + bytes(9) + b"\xfe\xff\xff\xff"
    escaped = ("".join(f"\\x{byte:02x}" for byte in text) for text in (magic, mask))
    try:
        _mount("binfmt_misc", folder, "binfmt_misc")
    except Refused as error:
        raise Refused(f"{error}; arm64 programs need Linux 6.7 or later with binfmt_misc") from None
    # F: the kernel opens qemu now, so the phone's root need not hold it
    rule = ":phone:M::{}:{}:{}:FP".format(*escaped, qemu)
    (folder / "register").write_bytes(rule.encode())


def _mount(source: str | None, target: Path, kind: str | None, flags: int = 0, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) if word is not None else None for word in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), options.encode()) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise Refused(f"the kernel refuses to mount {kind or source} for an ordinary user: {reason}")


def _give_up_rights() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # Either would give every program of the phone all rights: user id 0, or ambient rights.
    libc.prctl(PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)(1 << CAP_SYS_ADMIN, 1 << CAP_SYS_ADMIN, 0, 0, 0, 0)
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


def limit_data(free_bytes: int | None) -> None:
    """Leaves so much room on /data; None gives it all back."""
    size = DATA_BYTES
    if free_bytes is not None:
        disk = os.statvfs("/data")
        # A tmpfs of size 0 has no limit at all.
        size = max((disk.f_blocks - disk.f_bfree) * disk.f_frsize + free_bytes, disk.f_frsize)
    _mount(None, Path("/data"), None, MS_REMOUNT | MS_NOSUID | MS_NODEV, f"size={size}")


def forbid_programs_on_data(*, forbidden: bool) -> None:
    """Mounts /data noexec, or not."""
    flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | (MS_NOEXEC if forbidden else 0)
    _mount(None, Path("/data"), None, flags)
