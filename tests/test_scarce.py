"""Commands that do not get what they need of the machine: they say what, and the same command then goes on.

Full disks and read-only folders are real ones, in a mount namespace of their own.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from small_commands import COMMANDS, KILLS, NEEDS_TORCH, argv, begun, is_done, prepared, require, result

from swapbench import store
from swapbench.records import Speed

if TYPE_CHECKING:
    from pathlib import Path

SCARCE = {
    "files of 1 kB": (resource.RLIMIT_FSIZE, 1 << 10),
    "files of 10 kB": (resource.RLIMIT_FSIZE, 10 << 10),
    "files of 200 kB": (resource.RLIMIT_FSIZE, 200 << 10),
    "8 descriptors": (resource.RLIMIT_NOFILE, 8),
    "12 descriptors": (resource.RLIMIT_NOFILE, 12),
    "64 MB of memory": (resource.RLIMIT_AS, 64 << 20),
    "512 MB of memory": (resource.RLIMIT_AS, 512 << 20),
}
FIRST = {
    ("files of 10 kB", "run"),
    ("8 descriptors", "report"),
    ("64 MB of memory", "run"),
    ("files of 1 kB", "gate"),
}
"""What is tried of these at all times; all of it takes minutes."""
FREE_KB = (0, 4, 16, 64, 200, 600, 1500, 4000) if KILLS else (200,)
"""What is free on the disk beside the files that a command reads."""
READ_ONLY = (".", "reports", "build", "build/cache")


def judged(name: str, status: int, said: str) -> None:
    """A command ends well, or with a sentence that says what it lacked."""
    assert "Traceback" not in said, said
    assert "bug in swapbench" not in said, said
    if name in NEEDS_TORCH and status == -signal.SIGABRT:
        assert "std::bad_alloc" in said, said  # PyTorch ends the process where it finds no memory
        return
    assert is_done(name, status) or status in {2, 4}, said
    if not is_done(name, status):
        assert "error: " in said or "failed: " in said, said


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("scarce", SCARCE)
def test_what_the_machine_cannot_give_is_said_and_the_same_command_then_goes_on(
    tmp_path: Path, name: str, scarce: str
) -> None:
    require(name)
    if not KILLS and (scarce, name) not in FIRST:
        pytest.skip("tried where SWAPBENCH_KILLS names a number of kills")
    folder = prepared(tmp_path / "one")
    which, most = SCARCE[scarce]
    starve = f"import resource; resource.setrlimit({which}, ({most}, {most}))"
    starved = begun(
        [sys.executable, "-c", f"{starve}; import os, sys; os.execv(sys.argv[1], sys.argv[1:])", *argv(name)],
        folder,
        PYTHONDONTWRITEBYTECODE="1",  # it would leave compiled modules that are cut short
    )
    _, said = starved.communicate(timeout=300)
    judged(name, starved.returncode, said)
    if not is_done(name, starved.returncode):
        last = begun(argv(name), folder)
        _, said = last.communicate()
        assert is_done(name, last.returncode), said
    assert result(name, folder) or name == "gate"


@pytest.mark.parametrize("module", ["cli/listing", "commands/listing"])
def test_a_compiled_module_that_a_full_disk_cut_short_is_named(tmp_path: Path, module: str) -> None:
    """Python writes what there is room for, keeps it, and says "marshal data too short" ever after."""
    command = [sys.executable, "-m", "swapbench", "models"]
    compiled = tmp_path / "compiled"
    for shorten in (False, True, False):
        if shorten:
            [path] = compiled.glob(f"**/swapbench/{module}.*.pyc")
            os.truncate(path, 100)
        done = begun(command, tmp_path, PYTHONPYCACHEPREFIX=str(compiled), PYTHONDONTWRITEBYTECODE="")
        _, said = done.communicate()
        assert done.returncode == (4 if shorten else 0), said
        if shorten:
            assert "\n" not in said.strip()  # typer puts an empty line before it
            assert f"{path}, which Python compiled, is cut short" in said
            assert f"rm -r '{path.parent}'" in said
            shutil.rmtree(path.parent)


@functools.cache
def has_namespaces() -> bool:
    """Whether this person may mount in a namespace of their own."""
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "-rm", "true"], check=False).returncode == 0


Ended = tuple[int, str]


def in_a_namespace(name: str, folder: Path, worse: str, better: str) -> tuple[Ended, Ended]:
    """Status and words of a command after the shell commands `worse`, and again after `better`."""
    if not has_namespaces():
        pytest.skip("needs a mount namespace of its own")
    script = f"""
        set -e
        {worse}
        cd "$FOLDER"
        "$@" 2>../first.txt && echo 0 >../first || echo $? >../first
        cd /
        {better}
        cd "$FOLDER"
        "$@" 2>../second.txt && echo 0 >../second || echo $? >../second
        mkdir ../left
        for place in reports page base tree trained files; do
            if [ -e $place ]; then cp -a $place ../left; fi
        done
    """
    both = begun(
        ["unshare", "-rm", "sh", "-c", script, "sh", *argv(name)],
        folder.parent,
        FOLDER=str(folder),
        TMPDIR=str(folder.parent),
    )
    _, said = both.communicate(timeout=300)
    assert both.returncode == 0, said
    one, two = (
        (int((folder.parent / tried).read_text()), (folder.parent / f"{tried}.txt").read_text())
        for tried in ("first", "second")
    )
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("free_kb", FREE_KB)
def test_a_full_disk_is_said_and_the_same_command_goes_on_when_there_is_room(
    tmp_path: Path, name: str, free_kb: int
) -> None:
    require(name)
    if not KILLS and name != "run":
        pytest.skip("tried where SWAPBENCH_KILLS names a number of kills")
    files = prepared(tmp_path / "files")
    pages = sum(-(-path.stat().st_size // 4096) for path in files.iterdir())
    worse = f"""mkdir "$FOLDER"
        mount -t tmpfs -o size={pages * 4 + free_kb}k none "$FOLDER"
        cp files/* "$FOLDER"
        """
    (status, said), (then, said_then) = in_a_namespace(
        name, tmp_path / "full", worse, 'mount -o remount,size=4g "$FOLDER"'
    )
    judged(name, status, said)
    assert is_done(name, then) or (is_done(name, status) and "records already" in said_then), said_then
    assert result(name, tmp_path / "left") or name == "gate"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("place", READ_ONLY)
def test_a_folder_that_cannot_be_written_is_said_and_the_same_command_goes_on_when_it_can(
    tmp_path: Path, name: str, place: str
) -> None:
    require(name)
    if not KILLS and (name, place) != ("run", "reports"):
        pytest.skip("tried where SWAPBENCH_KILLS names a number of kills")
    folder = prepared(tmp_path / "one")
    worse = f"""cd "$FOLDER"; mkdir -p {place}
        mount --bind {place} {place}
        mount -o remount,bind,ro {place}"""
    (status, said), (then, said_then) = in_a_namespace(name, folder, worse, f'umount "$FOLDER"/{place}')
    judged(name, status, said)
    assert is_done(name, then) or (is_done(name, status) and "records already" in said_then), said_then
    assert result(name, tmp_path / "left") or name == "gate"


JUMPING = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long jump(void) {  /* a day ahead and a day behind, ten times a second */
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_nsec / 100000000 % 2 ? 86400 : -86400;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += jump();
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, now, zone);
    if (!failed) now->tv_sec += jump();
    return failed;
}
time_t time(time_t *now) {
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    if (now) *now = real.tv_sec;
    return real.tv_sec;
}
"""
DAYS = """
import sys, time
days = set()
for _ in range(20):
    days.add(time.time() // 86400)
    time.sleep(0.1)
print(len(days), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_clock_that_jumps_a_day_changes_no_duration_and_ends_no_wait(tmp_path: Path, name: str) -> None:
    require(name)
    if not KILLS and name != "run":
        pytest.skip("tried where SWAPBENCH_KILLS names a number of kills")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "jumping.c").write_text(JUMPING)
    shim = tmp_path / "jumping.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, tmp_path / "jumping.c"], check=True)
    jumps = {"LD_PRELOAD": str(shim)}
    _, days = begun([sys.executable, "-c", DAYS], tmp_path, **jumps).communicate()
    assert int(days) > 1
    folder = prepared(tmp_path / "one")
    done = begun(argv(name), folder, **jumps)
    _, said = done.communicate(timeout=600)
    assert is_done(name, done.returncode), said
    assert "days" not in said
    assert result(name, folder) or name == "gate"
    if name == "run":
        for record in store.load_run(folder / "reports" / "r"):
            assert isinstance(record.speed, Speed)
            assert 0 < min(record.speed.runs_ns) <= max(record.speed.runs_ns) < 60e9
