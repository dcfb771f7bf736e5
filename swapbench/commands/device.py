"""The commands about a phone: getting it ready, examining it, and ending what it does by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from swapbench import catalog
from swapbench.commands import place
from swapbench.commands.place import abi_of, prepare_command
from swapbench.commands.provision import kit
from swapbench.commands.provision.elf import least_alignment
from swapbench.commands.provision.sources import ARCHIVES, ARM64, PACKAGES, fetched_bundle, from_aar
from swapbench.errors import EnvironmentFailed, SwapbenchError, UserError, WorkerFailed
from swapbench.ports import DetachableDevice
from swapbench.records import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.options import DeviceOptions
    from swapbench.commands.provision.sources import Source
    from swapbench.devices.android import Android
    from swapbench.ports import Loaded, Progress, Say
    from swapbench.runtimes.native.adapter import NativeWorker


def end_detached(folders: Folders, options: DeviceOptions) -> bool:
    """End what a phone does or waits to do by itself and discard its results; whether there was anything."""
    device = catalog.device(folders, options.name, options.serial)
    if not isinstance(device, DetachableDevice):
        raise UserError(
            f"the device {options.name} is not a phone and does nothing by itself",
            remedy="List the phones with: swapbench devices",
        )
    return device.end_detached()


def phone_findings(folders: Folders, options: DeviceOptions) -> tuple[Finding, ...]:
    """Everything that a run needs of a phone, probed on it; DeviceFailed where it cannot be reached."""
    phone = cast("Android", catalog.device(folders, options.name, options.serial))
    return findings_of(folders, phone, options.name)


def findings_of(folders: Folders, phone: Android, name: str) -> tuple[Finding, ...]:
    """The same of a phone that was found already, by the name of its profile."""
    from swapbench import doctor
    from swapbench.devices.android_probe import probe

    findings = probe(phone)
    if unreachable(findings):
        return findings
    runtimes = _runtimes_finding(folders, phone, name)
    return (
        *findings,
        runtimes,
        _pages_finding(folders, phone, name),
        *doctor.energy(place.phone_meters(phone)),
    )


def unreachable(findings: Sequence[Finding]) -> bool:
    """Whether a probe ended at once, because the phone did not answer."""
    return any(finding.name == "adb" and finding.state == "missing" for finding in findings)


def _runtimes_finding(folders: Folders, phone: Android, name: str) -> Finding:
    pushed = kit.on_phone(phone, phone.adb.folder)
    try:
        here, _ = kit.at_hand(folders, name, abi_of(phone))
    except SwapbenchError as error:
        return Finding("runtimes", "missing", str(error.args[0]), error.remedy)
    runtimes: list[kit.Part | Source] = [*(pushed.parts if pushed else ()), *here.values()]
    labels = {part.runtime: f"{part.runtime} {part.version} ({part.flavour})" for part in runtimes}
    absent = [runtime for runtime in PACKAGES if runtime not in labels]
    detail = ", ".join(labels.values()) or "none"
    if not absent:
        return Finding("runtimes", "ok", detail)
    remedy = f"Run: {prepare_command(name, absent)}"
    return Finding("runtimes", "limited" if labels else "missing", detail, remedy)


def _pages_finding(folders: Folders, phone: Android, name: str) -> Finding:
    """Whether the files for a phone can be loaded into pages of its size: 4 kB, or 16 kB since Android 15."""
    said = phone.adb.query("getconf PAGE_SIZE || getprop ro.boot.hardware.cpu.pagesize").stdout.split()
    if not said or not said[-1].isdigit():
        return Finding("pages", "limited", "the phone does not tell the size of its memory pages")
    page_bytes = int(said[-1])
    detail = f"{page_bytes // 1024} kB"
    try:
        sources, _ = kit.at_hand(folders, name, abi_of(phone))
    except SwapbenchError:
        sources = {}
    files = {file for source in sources.values() for file in kit.files_of(source)}
    alignments = {file.name: least_alignment(file) for file in files}
    unfit = sorted(file for file, alignment in alignments.items() if alignment and alignment < page_bytes)
    if unfit:
        return Finding(
            "pages",
            "missing",
            f"{detail}, for which {' and '.join(unfit)} {'is' if len(unfit) == 1 else 'are'} not built",
            "Use newer Android archives: Google Play has asked for 16 kB since November 2025.",
        )
    return Finding("pages", "ok", detail)


def prepare(
    folders: Folders,
    options: DeviceOptions,
    archives: Mapping[str, Path],
    benchmark_model: Path | None,
    accelerators: Sequence[Path] = (),
    *,
    progress: Progress,
    say: Say,
) -> list[dict[str, Any]]:
    """Put everything that runs need on a phone, try it there and note it; returns a row for each runtime.

    Archives (.aar), by runtime, Google's benchmark_model and further libraries of LiteRT (`accelerators`)
    stay in use once they were given.

    Raises:
        UserError: The device is not a phone, or a file not an archive.
        EnvironmentFailed: Nothing can be had, or nothing runs.
    """
    _, kind = catalog.profile_file(folders, options.name)
    if kind != "android":
        raise UserError(
            f"the device {options.name} is not a phone and needs no preparing",
            remedy="List the phones with: swapbench devices",
        )
    phone = cast("Android", catalog.device(folders, options.name, options.serial))
    benchmark_model = benchmark_model or kit.noted(folders, options.name)[1]
    if benchmark_model is not None and not benchmark_model.is_file():
        raise UserError(f"there is no file {benchmark_model}", remedy="Check --benchmark-model")
    absent = next((path for path in accelerators if not path.is_file()), None)
    if absent is not None:
        raise UserError(f"there is no file {absent}", remedy="Check --litert-library")
    progress("gathering", 0, 1)
    sources = _with_accelerators(
        _gather(folders, options.name, abi_of(phone), archives, say),
        [path.resolve() for path in accelerators],
    )
    kit.note(folders, options.name, sources, benchmark_model)
    progress("gathering", 1, 1)
    progress("pushing", 0, 1)
    pushed, folder = kit.push(phone, folders, sources, benchmark_model)
    progress("pushing", 1, 1)
    rows = [_row(worker, kit.try_out(phone, worker, folders)) for worker in kit.workers(pushed, folder)]
    for delegate in ("gpu", "npu"):
        if (worker := kit.accelerated(pushed, folder, delegate)) is not None:
            rows += _accelerated_row(phone, worker, folders, say)
    rows += [
        {"runtime": name, "version": "", "flavour": "tool", "library": f"{folder}/{file}"}
        for name, file in pushed.tools.items()
    ]
    return rows


def _row(worker: NativeWorker, loaded: Loaded) -> dict[str, Any]:
    used = loaded.used
    return {
        "runtime": worker.name,
        "version": used.version,
        "flavour": worker.flavour,
        "package": worker.package,
        "providers": ", ".join(used.providers),
        "library": worker.library,
    }


def _accelerated_row(
    phone: Android, worker: NativeWorker, folders: Folders, say: Say
) -> list[dict[str, Any]]:
    """A row for an accelerator that runs a file there; else the reason is said, and the rest stays of use."""
    try:
        return [_row(worker, kit.try_out(phone, worker, folders))]
    except WorkerFailed as error:
        say(f"{worker.name} is of no use on this phone: {error}")
        return []


def _with_accelerators(sources: Sequence[Source], accelerators: Sequence[Path]) -> tuple[Source, ...]:
    """LiteRT with further libraries beside it, besides those of its archive."""
    if not accelerators:
        return tuple(sources)
    names = {path.name for path in accelerators}
    return tuple(
        replace(
            source,
            accelerators=(*(one for one in source.accelerators if one.name not in names), *accelerators),
        )
        if source.runtime == "litert"
        else source
        for source in sources
    )


def _gather(
    folders: Folders, profile: str, abi: str, archives: Mapping[str, Path], say: Say
) -> tuple[Source, ...]:
    """Each runtime from its archive, given now or before, else with a C library of its own."""
    if archives and abi != ARM64:
        raise UserError(
            f"Android archives serve phones of {ARM64}; this phone is {abi}",
            remedy=f"Leave {' and '.join(ARCHIVES[name] for name in archives)} out: "
            "the libraries of this computer will do.",
        )
    cache = kit.cache(folders)
    sources, errors = kit.at_hand(folders, profile, abi)
    for runtime in kit.RUNTIMES:
        try:
            if runtime in archives:
                sources[runtime] = from_aar(runtime, archives[runtime], cache)
            elif runtime in PACKAGES and runtime not in sources and abi == ARM64:
                sources[runtime] = fetched_bundle(runtime, cache)
        except EnvironmentFailed as error:
            errors[runtime] = error
    absent = {name: error for name, error in errors.items() if name not in sources}
    if not sources:
        raise next(iter(absent.values()))
    for name, why in absent.items():
        say(f"{name} is left out: {why}")
    return tuple(sources[name] for name in kit.RUNTIMES if name in sources)
