"""Building the native runner from one source: for this computer, arm64 Linux with glibc, and Android.

The compiler is Android's NDK where the environment names one (for Android), else zig from the package
ziglang, which brings glibc's headers and link libraries in every version. It does not know bionic, Android's
C library: for Android the program is compiled against musl's headers (the types and constants that we use
have the same layout on arm64) and linked against empty stand-ins of libc.so and libdl.so, which only give
the linker the names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from swapbench.errors import EnvironmentFailed, MissingPackage, UserError
from swapbench.files import disk_failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Target = Literal["x86_64-linux", "aarch64-linux", "aarch64-android"]
TARGETS: tuple[Target, ...] = get_args(Target)

SOURCES = (
    "runner.c",
    "answers.c",
    "feed.c",
    "watch.c",
    "ort.c",
    "tflite.c",
    "litert.c",
    "ncnn.c",
    "system.c",
)
HEADERS = ("runner.h", "ort_slots.h")
START = "bionic.c"

# Without contraction: a*b+c rounded only once would feed other bits on arm64 than the Python worker does.
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-s")
GLIBC = "2.17"  # the oldest that current compilers know: every distribution since 2014
OLDEST_ANDROID = 24  # what onnxruntime's Android library asks for
ANDROID_LINK = (
    *("-pie", "-Wl,--dynamic-linker=/system/bin/linker64", "-Wl,--hash-style=both"),
    "-Wl,-z,max-page-size=16384",  # phones with pages of 16 kB
)
FREESTANDING = ("-fno-builtin", "-fno-stack-protector", "-fno-sanitize=all")
BARE = ("-nostdlib", *FREESTANDING)
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "libc.so": (
        *(
            "__errno",
            "__libc_init",
            "_exit",
            "clock_gettime",
            "clock_nanosleep",
            "close",
            "dup",
            "dup2",
            "free",
        ),
        *("fstat", "memcmp", "memcpy", "memmove", "memset", "mmap", "open", "pipe", "poll", "posix_memalign"),
        *(
            "pthread_create",
            "pthread_join",
            "qsort",
            "read",
            "realloc",
            "sched_getaffinity",
            "sched_setaffinity",
        ),
        *(
            "snprintf",
            "sscanf",
            "stat",
            "strchr",
            "strcmp",
            "strcspn",
            "strerror",
            "strlen",
            "strrchr",
            "strspn",
        ),
        *("strstr", "strtod", "strtok", "strtoll", "strtoull", "vsnprintf", "write"),
    ),
    "libdl.so": ("dlerror", "dlopen", "dlsym"),
    "libm.so": ("exp", "fabs", "fmax", "fmin", "log", "log1p", "pow"),
}
NDK_VARIABLES = ("ANDROID_NDK_HOME", "ANDROID_NDK_ROOT", "ANDROID_NDK")
COMPILE_TIMEOUT_S = 300.0


def this_computer() -> Target:
    """The target for this computer; UserError where there is none."""
    name = f"{platform.machine()}-{platform.system().lower()}"
    for target in TARGETS:
        if target == name:
            return target
    raise UserError(
        f"the native runner cannot be built for this computer ({name})",
        remedy=f"It can be built for: {', '.join(TARGETS)}",
    )


def build(target: Target, folder: Path) -> Path:
    """The runner for `target`: built into `folder`, unless one of the same source is there already.

    It is there whole or not at all, even where several processes build at the same time.

    Raises:
        MissingPackage: It must be built and there is no compiler.
        EnvironmentFailed: Compiling fails, or the folder cannot be written.
    """
    path = folder.resolve() / f"runner-{target}-{source_digest(target)[:16]}"
    if path.is_file():
        return path
    compiler = find_compiler(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".runner-", dir=folder) as scratch:
            made = _compiled(target, compiler, Path(scratch))
            made.chmod(0o755)
            os.replace(made, path)
    except OSError as error:
        raise disk_failure(error, path) from error
    return path


def source_digest(target: Target) -> str:
    """SHA-256 over the source and how it is built."""
    how = (target, FLAGS, GLIBC, OLDEST_ANDROID, ANDROID_LINK, BARE, LIBRARIES)
    digest = hashlib.sha256(repr(how).encode())
    for name in (*SOURCES, *HEADERS, START):
        digest.update((_source(name)).read_bytes())
    return digest.hexdigest()


def find_compiler(target: Target, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The command of a compiler for `target`.

    Raises:
        MissingPackage: There is none.
        EnvironmentFailed: The environment names an NDK that cannot be used.
    """
    ndk = next((environment[name] for name in NDK_VARIABLES if environment.get(name)), None)
    if target == "aarch64-android" and ndk is not None:
        compilers = sorted(
            Path(ndk).glob(f"toolchains/llvm/prebuilt/*/bin/aarch64-linux-android{OLDEST_ANDROID}-clang")
        )
        if not compilers:
            raise EnvironmentFailed(
                f"the Android NDK {ndk} has no clang for arm64 and Android API {OLDEST_ANDROID}",
                remedy=f"Correct or unset {' / '.join(NDK_VARIABLES)}",
            )
        return (str(compilers[0]),)
    if importlib.util.find_spec("ziglang") is None:
        raise MissingPackage("ziglang", "building the native runner", "phone")
    return (sys.executable, "-m", "ziglang", "cc")


def _source(name: str) -> Path:
    return Path(__file__).parent / name


def _compiled(target: Target, compiler: Sequence[str], scratch: Path) -> Path:
    made = scratch / "runner"
    sources = [str(_source(name)) for name in SOURCES]
    if target != "aarch64-android":
        triple = f"{target}-gnu.{GLIBC}"
        _run(
            [*compiler, "-target", triple, *FLAGS, *sources, "-o", str(made), "-ldl", "-lpthread", "-lm"],
            scratch,
        )
    elif len(compiler) == 1:
        _run([*compiler, *FLAGS, "-fPIE", *ANDROID_LINK, *sources, "-o", str(made), "-ldl", "-lm"], scratch)
    else:
        musl = [*compiler, "-target", "aarch64-linux-musl"]
        objects = [_object([*musl, *FREESTANDING, "-fPIE"], name, scratch) for name in (START, *SOURCES)]
        stand_ins = [_stand_in([*musl, *BARE], library, scratch) for library in LIBRARIES]
        _run([*musl, *BARE, "-s", *ANDROID_LINK, *objects, *stand_ins, "-o", str(made)], scratch)
    return made


def _object(compile_it: Sequence[str], name: str, scratch: Path) -> str:
    made = scratch / f"{name}.o"
    _run([*compile_it, *FLAGS, "-c", str(_source(name)), "-o", str(made)], scratch)
    return str(made)


def _stand_in(bare: Sequence[str], library: str, scratch: Path) -> str:
    """A shared library of empty functions, to link against."""
    source, made = scratch / f"{library}.c", scratch / library
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in LIBRARIES[library]), encoding="utf-8")
    _run([*bare, "-w", "-shared", f"-Wl,-soname,{library}", str(source), "-o", str(made)], scratch)
    return str(made)


def _run(argv: Sequence[str], scratch: Path) -> None:
    environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(scratch / "cache")}
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILE_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFailed(
            f"compiling the native runner took longer than {COMPILE_TIMEOUT_S:g} s"
        ) from None
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        reasons = [line for line in lines if "error" in line] or lines[-1:] or [f"status {done.returncode}"]
        raise EnvironmentFailed(
            f"the native runner could not be compiled: {reasons[0]}",
            remedy="Upgrade the compiler: pip install --upgrade ziglang",
        )
