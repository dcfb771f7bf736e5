"""From the name of a device to what a run needs of it: the device, the runtimes that run there and the meters that read it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from swapbench import catalog
from swapbench.commands.provision import kit
from swapbench.commands.provision.sources import ARM64, PACKAGES, fetched_bundle, from_aar
from swapbench.errors import EnvironmentFailed, SwapbenchError, UserError
from swapbench.ports import DetachableDevice
from swapbench.records import Absent
from swapbench.runtimes.benchmark_model import BenchmarkModel
from swapbench.runtimes.native.adapter import NativeWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from swapbench.bench.experiment import Candidate
    from swapbench.catalog import Folders
    from swapbench.commands.provision.sources import Source
    from swapbench.devices.android import Android
    from swapbench.devices.android_text import Cores
    from swapbench.doctor import Finding
    from swapbench.ports import Device, Meter, Progress, Runtime, SampledMeter, Say, Tool
    from swapbench.records import PhoneState
    from swapbench.runtimes.benchmark_model import Delegate

CORES: Final = ("big", "mid", "little", "all")
SWEEP: Final = "sweep"
DELEGATES: Final = ("cpu", "xnnpack", "gpu", "nnapi")
ABIS: Final = (ARM64, "x86_64")


@dataclass(frozen=True)
class DeviceRequest:
    """Which device a person named, and what of it.

    serial: of several attached phones; cores: kinds of them, on each of which everything runs in turn, none for the system's
    choice; sweep: every kind that the phone has; delegates: those that TFLite's benchmark_model times, beside the runtimes;
    whole: a delegate that takes less than the whole graph is a failure; detached: it measures its battery by itself while its
    cable is out.
    """

    name: str = "local"
    serial: str | None = None
    cores: tuple[Cores, ...] = ()
    sweep: bool = False
    delegates: tuple[Delegate, ...] = ()
    whole: bool = False
    detached: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        serial: str | None = None,
        cores: str | None = None,
        delegates: Sequence[str] = (),
        *,
        whole: bool = False,
        detached: bool = False,
    ) -> DeviceRequest:
        """The same from options as they were typed; cores: "big", "big,little" or "sweep". Raises UnknownName or UserError."""
        kinds = tuple(dict.fromkeys(catalog.split_commas((cores or "",))))
        catalog.checked_names("kind of cores", kinds, (*CORES, SWEEP))
        if cores is not None and (not kinds or (SWEEP in kinds and len(kinds) > 1)):
            raise UserError(
                f"--cores {cores!r} is no choice of cores",
                remedy="Name kinds, as in --cores big,little, or --cores sweep for all that the phone has",
            )
        wanted = catalog.checked_names("delegate", catalog.split_commas(delegates), DELEGATES)
        return cls(
            name,
            serial or None,
            () if SWEEP in kinds else cast("tuple[Cores, ...]", kinds),
            sweep=SWEEP in kinds,
            delegates=cast("tuple[Delegate, ...]", wanted),
            whole=whole,
            detached=detached,
        )


@dataclass(frozen=True)
class Place:
    """A device with what runs on it. meters: what may measure its energy, by name, the best first; see `found_meters`.

    tools: what else can time .tflite files there; setup: what else tells its runs from those of others, {} for this computer;
    unplugged: meters of what shows only while its cable is out; clusters: the cores that everything runs on in turn, none for
    the system's choice.
    """

    device: Device
    runtimes: tuple[Runtime, ...]
    meters: Mapping[str, Callable[[], Meter | SampledMeter | Absent]]
    tools: tuple[Tool, ...] = ()
    setup: Mapping[str, str] = field(default_factory=dict)
    unplugged: Mapping[str, Callable[[], SampledMeter | Absent]] = field(default_factory=dict)
    clusters: tuple[Cluster, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """Cores of a phone: their kind, and their affinity mask in hexadecimal."""

    kind: Cores
    mask: str

    def pinned(self, one: Candidate) -> Candidate:
        """The same file on these cores."""
        assert isinstance(one.runtime, NativeWorker)
        runtime = replace(one.runtime, affinity=self.mask, cores=self.kind)
        tool = one.tool
        if isinstance(tool, BenchmarkModel):
            tool = replace(tool, prefix=("taskset", self.mask), cores=self.kind)
        return replace(one, runtime=runtime, tool=tool, cores=self.kind)


def open_place(folders: Folders, request: DeviceRequest, runtimes: Sequence[str]) -> Place:
    """The device with the named runtimes, or all that it can have.

    A phone gets what it lacks where everything is at hand. Raises EnvironmentFailed with the command that prepares it where
    not, DeviceFailed where it cannot be reached, UserError for cores of this computer.
    """
    catalog.checked_names("runtime", tuple(runtimes), tuple(catalog.RUNTIMES))
    _, kind = catalog.profile_file(folders, request.name)
    device = catalog.device(folders, request.name, request.serial)
    if kind != "android":
        for option, given in (
            ("--cores", request.cores or request.sweep),
            ("--delegate", request.delegates),
            ("--detached", request.detached),
        ):
            if given:
                raise UserError(
                    f"{option} is for phones", remedy="Leave it out, or name a phone with --device"
                )
        return Place(device, catalog.runtimes(runtimes), catalog.meters())
    phone = cast("Android", device)
    kinds = phone.kinds_of_cores() if request.sweep else request.cores
    clusters = tuple(Cluster(kind, phone.core_mask(kind)) for kind in kinds)
    workers, tools = _programs(folders, phone, request, runtimes)
    setup = {"serial": phone.adb.serial, **({"cores": ", ".join(kinds)} if kinds else {})}
    setup |= {one.name: f"{one.package} {one.version} {one.flavour}" for one in workers}
    if request.delegates:
        setup["delegates"] = f"{', '.join(request.delegates)}{', whole' if request.whole else ''}"
    unplugged: Mapping[str, Callable[[], SampledMeter | Absent]] = {}
    if request.detached:
        if phone.detached() is None:  # else it may be collected, whatever the phone looks like now
            phone.refuse_unless_detachable()
        setup["energy"] = "cable out"
        unplugged = unplugged_meters(phone)
    return Place(phone, workers, phone_meters(phone), tools, setup, unplugged, clusters)


def _programs(
    folders: Folders, phone: Android, request: DeviceRequest, wanted: Sequence[str]
) -> tuple[tuple[NativeWorker, ...], tuple[BenchmarkModel, ...]]:
    """What runs on the phone, brought there where it is at hand. EnvironmentFailed, with the command, where it is not."""
    sources, _ = kit.at_hand(folders, request.name, abi_of(phone))
    if sources:
        pushed, folder = kit.push(
            phone, folders, tuple(sources.values()), kit.noted(folders, request.name)[1]
        )
    else:
        folder = phone.adb.folder
        pushed = kit.on_phone(phone, folder) or kit.Kit(parts=(), files={})
    workers = kit.workers(pushed, folder)
    absent = [name for name in (wanted or PACKAGES) if name not in {one.name for one in workers}]
    if not workers or (wanted and absent):
        raise EnvironmentFailed(
            f"phone {phone.adb.serial} is not prepared for {' and '.join(absent)}",
            remedy=f"Run: {prepare_command(request.name, absent)}",
        )
    tool = pushed.tools.get("benchmark_model")
    if request.delegates and tool is None:
        raise EnvironmentFailed(
            f"phone {phone.adb.serial} has no benchmark_model, which times delegates",
            remedy=f"Run: swapbench device prepare {request.name} --benchmark-model FILE (TFLite's own program for Android)",
        )
    return (
        tuple(one for one in workers if not wanted or one.name in wanted),
        tuple(
            BenchmarkModel(
                f"{folder}/{tool}",
                delegate,
                name=f"benchmark_model-{delegate}",
                require_full=request.whole,
            )
            for delegate in request.delegates
        ),
    )


def prepare_command(name: str, runtimes: Sequence[str] = tuple(PACKAGES)) -> str:
    """What a person types to prepare a phone, with the official libraries or without them."""
    archives = " ".join(f"--{runtime}-aar FILE" for runtime in runtimes)
    return f"swapbench device prepare {name} {archives} (without archives, portable libraries are fetched)"


def abi_of(phone: Android) -> str:
    """The phone's ABI. EnvironmentFailed for one that no runtime is made for."""
    abi = phone.describe().abi
    if abi not in ABIS:
        raise EnvironmentFailed(
            f"phone {phone.adb.serial} has a system for {abi}",
            remedy=f"Use a phone with a 64-bit system ({' or '.join(ABIS)}).",
        )
    return abi


# ---------------------------------------------------------------------------------------------- meters


AnyMeter = TypeVar("AnyMeter", bound="Meter | SampledMeter")


def found_meters(finders: Mapping[str, Callable[[], AnyMeter | Absent]]) -> tuple[AnyMeter, ...] | Absent:
    """The meters that are there, in their order; why there is none where there is none."""
    found: list[AnyMeter] = []
    reasons: list[str] = []
    remedies: list[str] = []
    for name, find in finders.items():
        meter = find()
        if isinstance(meter, Absent):
            reasons.append(f"{name}: {meter.absent}")
            remedies.append(f"{name}: {meter.remedy}" if meter.remedy else "")
        else:
            found.append(meter)
    if found:
        return tuple(found)
    return Absent(absent="; ".join(reasons) or "no meter is known", remedy=" ".join(filter(None, remedies)))


def phone_meters(phone: Android) -> Mapping[str, Callable[[], Meter | SampledMeter | Absent]]:
    """Meter name -> a function that finds it on this phone, or says why it is not there; the best first."""
    from swapbench.meters.battery import find_battery_charge, find_battery_current
    from swapbench.meters.power_rails import find_power_rails

    return {
        "power-rails": lambda: find_power_rails(phone.adb.query, phone.profile.rails.summed),
        "battery-charge": lambda: find_battery_charge(phone.read, phone.state),
        "battery-current": lambda: find_battery_current(phone.read, phone.state),
    }


def unplugged_meters(phone: Android) -> Mapping[str, Callable[[], SampledMeter | Absent]]:
    """The same for what this phone's battery will show once its cable is out; only its level is checked beforehand."""
    from swapbench.meters.battery import find_battery_charge, find_battery_current

    def then() -> PhoneState:
        return phone.state().replace(plugged=(), charging=False)

    return {
        "battery-charge": lambda: find_battery_charge(phone.read, then, now=False),
        "battery-current": lambda: find_battery_current(phone.read, then, now=False),
    }


def end_detached(folders: Folders, request: DeviceRequest) -> bool:
    """End what a phone does, or waits to do, by itself, and throw away what it kept; whether there was anything."""
    device = catalog.device(folders, request.name, request.serial)
    if not isinstance(device, DetachableDevice):
        raise UserError(
            f"the device {request.name} does nothing by itself", remedy="swapbench devices lists phones"
        )
    return device.end_detached()


def phone_findings(folders: Folders, request: DeviceRequest) -> tuple[Finding, ...]:
    """Everything that a run needs of a phone, probed on it; DeviceFailed where it cannot be reached at all."""
    from swapbench import doctor
    from swapbench.devices.android_probe import probe

    phone = cast("Android", catalog.device(folders, request.name, request.serial))
    found = [doctor.Finding(one.name, one.state, one.detail, one.remedy) for one in probe(phone)]
    if any(one.name == "adb" and one.state == "missing" for one in found):
        return tuple(found)
    return (*found, _runtimes_finding(folders, phone, request.name), *doctor.energy(phone_meters(phone)))


def _runtimes_finding(folders: Folders, phone: Android, name: str) -> Finding:
    from swapbench.doctor import Finding

    pushed = kit.on_phone(phone, phone.adb.folder)
    try:
        here, _ = kit.at_hand(folders, name, abi_of(phone))
    except SwapbenchError as error:
        return Finding("runtimes", "missing", str(error.args[0]), error.remedy)
    told = (
        {part.runtime: f"{part.runtime} {part.version} ({part.flavour})" for part in pushed.parts}
        if pushed
        else {}
    )
    told |= {one.runtime: f"{one.runtime} {one.version} ({one.flavour})" for one in here.values()}
    absent = [runtime for runtime in PACKAGES if runtime not in told]
    detail = ", ".join(told.values()) or "none"
    if not absent:
        return Finding("runtimes", "ok", detail)
    state: Literal["limited", "missing"] = "limited" if told else "missing"
    return Finding("runtimes", state, detail, f"Run: {prepare_command(name, absent)}")


# ---------------------------------------------------------------------------------------------- prepare


@dataclass(frozen=True)
class Archives:
    """What a person gives for a phone: official Android archives, and Google's benchmark_model."""

    onnxruntime: Path | None = None
    litert: Path | None = None
    benchmark_model: Path | None = None


def prepare(
    folders: Folders, request: DeviceRequest, given: Archives, *, progress: Progress, say: Say
) -> list[dict[str, Any]]:
    """Put everything that runs need on a phone, try it there, and note what it is; returns one row a runtime.

    Archives that were given before stay in use. Raises UserError for a device that is no phone or a file that is no archive,
    EnvironmentFailed where nothing can be had or run.
    """
    _, kind = catalog.profile_file(folders, request.name)
    if kind != "android":
        raise UserError(
            f"the device {request.name} needs no preparing", remedy="swapbench devices lists phones"
        )
    phone = cast("Android", catalog.device(folders, request.name, request.serial))
    benchmark_model = given.benchmark_model or kit.noted(folders, request.name)[1]
    if benchmark_model is not None and not benchmark_model.is_file():
        raise UserError(f"there is no file {benchmark_model}", remedy="Correct --benchmark-model")
    progress("gathering", 0, 1)
    sources = _gathered(folders, request.name, abi_of(phone), given, say)
    kit.note(folders, request.name, sources, benchmark_model)
    progress("gathering", 1, 1)
    progress("pushing", 0, 1)
    pushed, folder = kit.push(phone, folders, sources, benchmark_model)
    progress("pushing", 1, 1)
    rows = []
    for worker in kit.workers(pushed, folder):
        used = kit.tried(phone, worker, folders).used
        rows.append(
            {
                "runtime": worker.name,
                "version": used.version,
                "flavour": worker.flavour,
                "package": worker.package,
                "providers": ", ".join(used.providers),
                "library": worker.library,
            }
        )
    rows += [
        {"runtime": name, "version": "", "flavour": "tool", "library": f"{folder}/{file}"}
        for name, file in pushed.tools.items()
    ]
    return rows


def _gathered(folders: Folders, profile: str, abi: str, given: Archives, say: Say) -> tuple[Source, ...]:
    """Each runtime from the archive that was given, now or before, else with a C library of its own, fetched where need be."""
    archives = {
        name: archive
        for name, archive in (("onnxruntime", given.onnxruntime), ("litert", given.litert))
        if archive is not None
    }
    if archives and abi != ARM64:
        raise UserError(
            f"Android archives serve phones of {ARM64}; this one is {abi}",
            remedy="Leave --onnxruntime-aar and --litert-aar out: the libraries of this computer will do.",
        )
    cache = kit.cache(folders)
    found, errors = kit.at_hand(folders, profile, abi)
    for runtime in PACKAGES:
        try:
            if runtime in archives:
                found[runtime] = from_aar(runtime, archives[runtime], cache)
            elif runtime not in found and abi == ARM64:
                found[runtime] = fetched_bundle(runtime, cache)
        except EnvironmentFailed as error:
            errors[runtime] = error
    absent: dict[str, SwapbenchError] = {name: error for name, error in errors.items() if name not in found}
    if not found:
        raise next(iter(absent.values()))
    for name, why in absent.items():
        say(f"{name} is left out: {why}")
    return tuple(found[name] for name in PACKAGES if name in found)
