"""Where the files of a kit come from: this computer, Android archives that a person gives, and pip and apt.

Two ways to a runtime's library: the official Android one out of an AAR, or the one of the Linux wheel with a
C library of its own, because no phone has glibc. Nothing is fetched but by `fetched_bundle`, and nothing of
this computer's own pip, apt or dpkg state is touched.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swapbench.errors import BadModelFile, EnvironmentFailed, MissingPackage, SwapbenchError, UserError
from swapbench.files import opened, whole_file
from swapbench.runtimes.native.adapter import Flavour, installed_library
from swapbench.runtimes.native.build import build, this_computer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGES: Final[Mapping[str, str]] = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
"""Runtime -> the Python package whose wheel holds its library."""
WHEEL_LIBRARIES: Final[Mapping[str, str]] = {
    "onnxruntime": r"onnxruntime/capi/libonnxruntime\.so[.0-9]*",
    "litert": r"ai_edge_litert/libLiteRt\.so",
}
AAR_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = {
    "onnxruntime": ("libonnxruntime.so",),
    "litert": ("libLiteRt.so", "libtensorflowlite_jni.so"),
    "ncnn": ("libncnn.so",),
}
"""LiteRT from 2.0 on, and before."""
ACCELERATOR: Final = re.compile(r"libLiteRt(\w*Accelerator|Dispatch_\w+)\.so")
"""The libraries that LiteRT loads by itself where they lie beside it: accelerators, and an NPU's dispatch."""
ARCHIVES: Final[Mapping[str, str]] = {
    "onnxruntime": "--onnxruntime-aar",
    "litert": "--litert-aar",
    "ncnn": "--ncnn-zip",
}
"""Runtime -> the option that names its official archive for Android; ncnn runs from that alone."""
KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("onnxruntime", "litert"), "an .aar file for arm64"),
    "ncnn": "ncnn-DATE-android-shared.zip of its releases",
}
"""What the official archives are."""
ARM64: Final = "arm64-v8a"
WHEEL_PLATFORMS: Final = tuple(
    f"{name}_aarch64"
    for name in ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 27, 28, 31, 34)))
)
"""pip takes these literally: a newer one does not include the older."""
DEBIAN_PACKAGES: Final = ("libc6", "libgcc-s1", "libstdc++6")
GLIBC_FILES: Final = (
    *("ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
    *("libgcc_s.so.1", "libstdc++.so.6"),
)
LARGEST_LIBRARY_BYTES: Final = 1_000_000_000
"""Of a runtime; the largest, with all of TensorFlow, has 400 MB."""
FETCH_TIMEOUT_S: Final = 600.0
LIST_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Source:
    """One runtime as files of this computer.

    Attributes:
        flavour: "aar" with the phone's C library, "bundle" with one of its own.
        package: The Python package or the archive that it comes from.
        runner: The native runner that loads the library.
        loader: Starts the runner where the phone lacks its C library; None where the phone's own linker does.
        support: Libraries that the loader finds beside it.
        accelerators: Libraries that LiteRT loads by itself, for GPUs and NPUs.
    """

    runtime: str
    flavour: Flavour
    package: str
    version: str
    runner: Path
    library: Path
    loader: Path | None = None
    support: tuple[Path, ...] = ()
    accelerators: tuple[Path, ...] = ()


def is_like_this_computer(abi: str) -> bool:
    """Whether programs of this computer run on a phone of that ABI, with their C library beside them."""
    here = {"x86_64": "x86_64", "aarch64": ARM64}.get(platform.machine())
    return platform.system() == "Linux" and platform.libc_ver()[0] == "glibc" and abi == here


def from_this_computer(runtime: str, cache: Path) -> Source:
    """The wheel that is installed here, with this computer's C library.

    Raises:
        MissingPackage: The wheel or the compiler is not installed.
        EnvironmentFailed: A library that it needs is missing.
    """
    library = installed_library(runtime)
    runner = build(this_computer(), cache / "runner")
    loader = _own_loader()
    support = {path.name: path for file in (runner, library) for path in _needed(loader, file)}
    support.pop(loader.name, None)
    package = PACKAGES[runtime]
    return Source(
        runtime=runtime,
        flavour="bundle",
        package=package,
        version=importlib.metadata.version(package),
        runner=runner,
        library=library,
        loader=loader,
        support=tuple(support[name] for name in sorted(support)),
    )


def from_aar(runtime: str, archive: Path, cache: Path) -> Source:
    """The arm64 library of an official Android archive; UserError if the file is none or lacks it."""
    try:
        library, *accelerators = _libraries_of(runtime, archive, cache / "aar" / runtime)
    except SwapbenchError:
        raise
    except Exception as problem:  # the reader raises what it likes for damaged and encrypted archives
        raise BadModelFile(
            f"{archive} cannot be read as an Android archive ({problem})", remedy="Give an .aar file."
        ) from problem
    name = re.fullmatch(r"(?P<package>.+?)-(?P<version>\d[\w.-]*)", archive.stem)
    return Source(
        runtime=runtime,
        flavour="aar",
        package=name["package"] if name else archive.stem,
        # ONNX Runtime tells its own version, whatever the file is called
        version=name["version"] if name and runtime == "litert" else "",
        runner=build("aarch64-android", cache / "runner"),
        library=library,
        accelerators=tuple(accelerators),
    )


def _libraries_of(runtime: str, archive: Path, folder: Path) -> tuple[Path, ...]:
    """The library of a runtime in an archive, and its accelerators, written to a folder.

    Raises:
        UserError: The archive has no such library.
    """
    with opened(archive) as file, zipfile.ZipFile(file) as packed:
        names = packed.namelist()
        folder_inside = f"{ARM64}/lib" if runtime == "ncnn" else f"jni/{ARM64}"
        wanted = [f"{folder_inside}/{name}" for name in AAR_LIBRARIES[runtime]]
        # the whole of a release of ncnn lies in a folder of its name
        found = (name for one in wanted for name in names if f"/{name}".endswith(f"/{one}"))
        packed_name = next(found, None)
        if packed_name is None:
            libraries = ", ".join(name for name in names if name.endswith(".so")) or "no library at all"
            raise UserError(
                f"{archive} holds no {' or '.join(wanted)}: it has {libraries}",
                remedy=f"Give the Android archive of {runtime} ({KINDS[runtime]}).",
            )
        beside = packed_name.removesuffix(packed_name.rpartition("/")[2])
        accelerators = [
            name
            for name in names
            if runtime == "litert" and name.startswith(beside) and ACCELERATOR.fullmatch(Path(name).name)
        ]
        return tuple(_unpacked(packed, name, folder) for name in (packed_name, *accelerators))


def fetched_bundle(runtime: str, cache: Path) -> Source:
    """The arm64 wheel of the version that is installed here, with Debian's C library for arm64.

    What was fetched before is not fetched again.

    Raises:
        MissingPackage: The runtime is not installed here.
        EnvironmentFailed: pip or apt cannot fetch.
    """
    package = PACKAGES[runtime]
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingPackage(package, f"knowing which version of {runtime} to fetch", "phone") from None
    loader, *support = _glibc(cache / "glibc-arm64")
    return Source(
        runtime=runtime,
        flavour="bundle",
        package=package,
        version=version,
        runner=build("aarch64-linux", cache / "runner"),
        library=_wheel_library(runtime, version, cache / "wheels-arm64"),
        loader=loader,
        support=tuple(support),
    )


def _unpacked(archive: zipfile.ZipFile, name: str, folder: Path) -> Path:
    """A file of an archive, written to a folder whole or not at all.

    Raises:
        BadModelFile: It is larger than any library, whatever the archive says of its size.
    """
    library = folder / Path(name).name
    with archive.open(name) as packed, whole_file(library) as unpacked:
        room = LARGEST_LIBRARY_BYTES
        while block := packed.read(1 << 20):
            room -= len(block)
            if room < 0:
                raise BadModelFile(
                    f"{name} in {archive.filename} unpacks to more than {LARGEST_LIBRARY_BYTES / 1e6:g} MB",
                    remedy="Give the archive as it was published",
                )
            unpacked.write(block)
    return library


# ---------------------------------------------------------------------------------------------- this computer


def _own_loader() -> Path:
    loader = Path(
        {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}[platform.machine()]
    )
    if not loader.is_file():
        raise EnvironmentFailed(
            f"this computer has no {loader}, so its C library cannot go to the phone",
            remedy="Prepare the phone on Debian, Ubuntu or the like.",
        )
    return loader


def _needed(loader: Path, file: Path) -> tuple[Path, ...]:
    """The libraries that the loader gives a program or a library."""
    done = _run(
        [str(loader), "--list", str(file)], LIST_TIMEOUT_S, f"the libraries of {file.name} cannot be listed"
    )
    lines = [line.strip() for line in done.splitlines()]
    absent = [line.split(" ")[0] for line in lines if line.endswith("=> not found")]
    if absent:
        raise EnvironmentFailed(
            f"{file.name} needs {', '.join(absent)}, which this computer lacks",
            remedy="Install it with the package manager of this computer.",
        )
    matches = (re.fullmatch(r"\S+ => (/.+) \(0x[0-9a-f]+\)", line) for line in lines)
    return tuple(Path(match[1]) for match in matches if match)


# ---------------------------------------------------------------------------------------------- pip and apt


def _wheel_library(runtime: str, version: str, folder: Path) -> Path:
    place = folder / f"{PACKAGES[runtime]}-{version}"
    pattern = WHEEL_LIBRARIES[runtime]
    file_pattern = pattern.rpartition("/")[2]
    libraries = [path for path in place.glob("*.so*") if re.fullmatch(file_pattern, path.name)]
    if libraries:
        return libraries[0]
    place.mkdir(parents=True, exist_ok=True)
    wanted = f"{PACKAGES[runtime]}=={version}"
    platforms = [word for name in WHEEL_PLATFORMS for word in ("--platform", name)]
    _run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--only-binary", ":all:", "--python-version", ".".join(map(str, sys.version_info[:2]))),
            *("--implementation", "cp", *platforms, "--dest", str(place), wanted),
        ],
        FETCH_TIMEOUT_S,
        f"pip cannot fetch {wanted} for arm64",
    )
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (name,) = [name for name in packed.namelist() if re.fullmatch(pattern, name)]
        library = _unpacked(packed, name, place)
    wheel.unlink()
    return library


def _glibc(folder: Path) -> tuple[Path, ...]:
    """GLIBC_FILES, the loader first, out of Debian's packages for arm64 through a private view of apt."""
    files = tuple(folder / name for name in GLIBC_FILES)
    if all(path.is_file() for path in files):
        return files
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise EnvironmentFailed(
                f"{program} is missing, and the C library for arm64 comes from Debian's packages",
                remedy=f"Put {', '.join(GLIBC_FILES)} for arm64 into {folder}, or give Android archives "
                "(--onnxruntime-aar, --litert-aar).",
            )
    view = folder / ".apt"
    apt = _apt(view)
    for step in (["update"], ["download", *DEBIAN_PACKAGES]):
        failure = "apt cannot fetch the C library for arm64"
        _run([*apt, *step], FETCH_TIMEOUT_S, failure, cwd=view / "files")
    unpacked = view / "unpacked"
    for package in sorted((view / "files").glob("*.deb")):
        unpack = ["dpkg-deb", "-x", str(package), str(unpacked)]
        _run(unpack, FETCH_TIMEOUT_S, f"{package.name} cannot be unpacked")
    for path in files:
        candidates = [file for file in unpacked.rglob(path.name) if file.is_file()]
        if not candidates:
            raise EnvironmentFailed(f"{path.name} is in none of the packages {', '.join(DEBIAN_PACKAGES)}")
        shutil.copyfile(candidates[0].resolve(), path)
    shutil.rmtree(view)
    return files


def _apt(view: Path) -> list[str]:
    """apt-get with state of its own, for arm64, asking the sources of this computer."""
    shutil.rmtree(view, ignore_errors=True)
    for place in ("state/lists/partial", "cache/archives/partial", "files"):
        (view / place).mkdir(parents=True)
    (view / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "root" if os.getuid() == 0 else "",
        "Dir::State": view / "state",
        "Dir::State::status": view / "status",
        "Dir::Cache": view / "cache",
        "Acquire::Languages": "none",
    }
    return ["apt-get", "-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


def _run(argv: Sequence[str], timeout_s: float, failure: str, cwd: Path | None = None) -> str:
    """What a program printed; EnvironmentFailed with its words if it fails, is too slow or is missing."""
    remedy = (
        "Is there a network, and do the sources of this computer have it? Else give Android archives (.aar)."
    )
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            cwd=cwd,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFailed(f"{failure} within {timeout_s:g} s", remedy=remedy) from None
    except OSError as problem:
        raise EnvironmentFailed(f"{failure}: {problem}", remedy=remedy) from None
    # apt-get update ends with 0 although no source answered: it only warns
    complaints = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W: Failed", "ERROR:"))]
    if done.returncode or (argv[0] == "apt-get" and complaints):
        last_line = (done.stderr or done.stdout).strip().splitlines()[-1:]
        words = [*complaints, *last_line, "it printed nothing"][0]
        raise EnvironmentFailed(f"{failure}: {words}", remedy=remedy)
    return done.stdout
