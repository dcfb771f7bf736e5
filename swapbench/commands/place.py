"""From the name of a device to what a run needs of it: the device, what runs there and its meters."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar, cast, runtime_checkable

from swapbench import catalog
from swapbench.commands.provision import kit
from swapbench.commands.provision.sources import ARCHIVES, PACKAGES
from swapbench.commands.runtimes import settled
from swapbench.devices import leases
from swapbench.errors import EnvironmentFailed, UserError
from swapbench.ports import unheard
from swapbench.records import Absent
from swapbench.runtimes.benchmark_model import COMPILED_MODEL_BANNER, BenchmarkModel
from swapbench.runtimes.native.adapter import NativeWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.catalog import Folders
    from swapbench.commands.options import DeviceOptions
    from swapbench.devices.android import Android
    from swapbench.devices.android_text import Cores
    from swapbench.ports import Device, Meter, Runtime, SampledMeter, Say, Tool
    from swapbench.records import PhoneState
    from swapbench.runtimes.benchmark_model import Api


@dataclass(frozen=True)
class Place:
    """A device with what runs on it.

    Attributes:
        runtimes: Those that run files there.
        meters: What may measure its energy, by name, the best first; see `available_meters`.
        tools: What else times .tflite files there.
        setup: What tells its runs from those of others; empty for this computer.
        unplugged: Meters of what shows only while its cable is out.
        clusters: The cores that everything runs on in turn; empty leaves the choice to the system.
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

    def pinned(self, model: ModelUnderTest) -> ModelUnderTest:
        """The same file on these cores."""
        assert isinstance(model.runtime, NativeWorker)
        runtime = replace(model.runtime, affinity=self.mask, cores=self.kind)
        tool = model.tool
        if isinstance(tool, BenchmarkModel):
            tool = replace(tool, prefix=("taskset", self.mask), cores=self.kind)
        return replace(model, runtime=runtime, tool=tool, cores=self.kind)


def open_place(folders: Folders, options: DeviceOptions, runtimes: Sequence[str]) -> Place:
    """The device with the named runtimes, or all that it can have; a phone gets what it lacks.

    Raises:
        UnknownName: There is no such device or runtime.
        UserError: An option for phones was given for this computer.
        EnvironmentFailed: A phone lacks what is not at hand; says which command prepares it. Or the
            interpreter that was named for a runtime does not run it any more.
        DeviceFailed: A phone cannot be reached.
    """
    catalog.checked_names("runtime", tuple(runtimes), catalog.runtime_names())
    _, kind = catalog.profile_file(folders, options.name)
    device = catalog.device(folders, options.name, options.serial)
    if kind == "android":
        return _phone_place(folders, cast("Android", device), options, runtimes)
    for option, given in (
        ("--cores", options.cores or options.sweep),
        ("--delegate", options.delegates),
        ("--detached", options.detached),
    ):
        if given:
            raise UserError(f"{option} is for phones", remedy="Leave it out, or name a phone with --device")
    if kind != "local":
        return _package_place(device, kind, runtimes)
    found = catalog.runtimes(folders, runtimes)
    return Place(device, tuple(settled(device, runtime) for runtime in found), catalog.meters())


@runtime_checkable
class MeteredDevice(Protocol):
    """A device of an installed package that has energy counters; this computer's are not its own."""

    def meters(self) -> Mapping[str, Callable[[], Meter | SampledMeter | Absent]]:
        """Meter name -> a function that finds it there, or says why it is absent; the best first."""


def _package_place(device: Device, kind: str, runtimes: Sequence[str]) -> Place:
    """A device of a package. Interpreters that were named for runtimes are this computer's, not its."""
    names = runtimes or catalog.runtimes_by_default()
    meters = device.meters() if isinstance(device, MeteredDevice) else {}
    found = tuple(catalog.unmoved_runtime(name) for name in names)
    return Place(device, found, meters, setup={"kind": kind})


def _phone_place(folders: Folders, phone: Android, options: DeviceOptions, runtimes: Sequence[str]) -> Place:
    for name in runtimes:
        if name not in kit.RUNTIMES:
            raise UserError(
                f"{name} runs on this computer only", remedy=f"Choose {' or '.join(kit.RUNTIMES)}"
            )
    kinds = phone.kinds_of_cores() if options.sweep else options.cores
    leases.use(phone.adb.serial)
    clusters = tuple(Cluster(kind, phone.core_mask(kind)) for kind in kinds)
    workers, tools = _programs(folders, phone, options, runtimes)
    setup = {"serial": phone.adb.serial, **({"cores": ", ".join(kinds)} if kinds else {})}
    setup |= {worker.name: f"{worker.package} {worker.version} {worker.flavour}" for worker in workers}
    if options.delegates:
        whole = ", whole" if options.require_full_delegation else ""
        setup["delegates"] = f"{', '.join(options.delegates)}{whole}"
    unplugged: Mapping[str, Callable[[], SampledMeter | Absent]] = {}
    if options.detached:
        if phone.detached() is None:  # else it may be collected, whatever the phone looks like now
            phone.refuse_unless_detachable()
        setup["energy"] = "cable out"
        unplugged = unplugged_meters(phone)
    return Place(phone, workers, phone_meters(phone), tools, setup, unplugged, clusters)


def _programs(
    folders: Folders, phone: Android, options: DeviceOptions, names: Sequence[str]
) -> tuple[tuple[NativeWorker, ...], tuple[BenchmarkModel, ...]]:
    """What runs on the phone, brought there if it is at hand; EnvironmentFailed, with the command, if not."""
    sources, _ = kit.at_hand(folders, options.name, abi_of(phone))
    if sources:
        benchmark_model = kit.noted(folders, options.name)[1]
        pushed, folder = kit.push(phone, folders, tuple(sources.values()), benchmark_model)
    else:
        folder = phone.adb.folder
        pushed = kit.on_phone(phone, folder) or kit.Kit(parts=(), files={})
    workers = kit.workers(pushed, folder)
    there = {worker.name for worker in workers}
    absent = [name for name in (names or PACKAGES) if name not in there]
    if not workers or (names and absent):
        raise EnvironmentFailed(
            f"phone {phone.adb.serial} is not prepared for {' and '.join(absent)}",
            remedy=f"Run: {prepare_command(options.name, absent)}",
        )
    chosen = tuple(worker for worker in workers if not names or worker.name in names)
    accelerated = {one: kit.accelerated(pushed, folder, one) for one in options.delegates}
    chosen += tuple(worker for worker in accelerated.values() if worker is not None)
    tool = pushed.tools.get("benchmark_model")
    if tool is None:
        if all(accelerated.values()):
            return chosen, ()
        lacking = " and ".join(one for one, worker in accelerated.items() if worker is None)
        raise EnvironmentFailed(
            f"phone {phone.adb.serial} has nothing that runs files with {lacking}: "
            "neither a library of LiteRT for it nor benchmark_model, which times delegates",
            remedy=f"Run: swapbench device prepare {options.name} --benchmark-model FILE "
            "(Google's own program for Android; LiteRT's documentation links builds), or --litert-aar FILE "
            "with an accelerator inside, or --litert-library FILE for one beside it (gpu, npu)",
        )
    api = _tool_api(phone, f"{folder}/{tool}") if options.delegates else "delegates"
    tools = tuple(
        BenchmarkModel(
            f"{folder}/{tool}",
            delegate,
            name=f"benchmark_model-{delegate}",
            require_full=options.require_full_delegation,
            api=api,
        )
        for delegate in options.delegates
    )
    return chosen, tools


def _tool_api(phone: Android, program: str) -> Api:
    """Which benchmark_model this is: the two have the same name and do not tell a version."""
    search = phone.adb.query(f"grep -q {COMPILED_MODEL_BANNER} {shlex.quote(program)}")
    return "CompiledModel" if search.exit_code == 0 else "delegates"


def prepare_command(name: str, runtimes: Sequence[str] = tuple(PACKAGES)) -> str:
    """What a person types to prepare a phone, with the official libraries or without them."""
    archives = " ".join(f"{ARCHIVES[runtime]} FILE" for runtime in runtimes)
    fetched = f"without archives, portable libraries {'of the others ' * ('ncnn' in runtimes)}are fetched"
    return f"swapbench device prepare {name} {archives} ({fetched})"


def abi_of(phone: Android) -> str:
    """The phone's ABI. EnvironmentFailed for one that no runtime is made for."""
    from swapbench.devices.android_probe import ABIS

    abi = phone.describe().abi
    if abi not in ABIS:
        raise EnvironmentFailed(
            f"phone {phone.adb.serial} runs a system for {abi}",
            remedy=f"Use a phone with a 64-bit system ({' or '.join(ABIS)}).",
        )
    return abi


AnyMeter = TypeVar("AnyMeter", bound="Meter | SampledMeter")


def available_meters(
    finders: Mapping[str, Callable[[], AnyMeter | Absent]], say: Say = unheard
) -> tuple[AnyMeter, ...] | Absent:
    """The meters that are there, in their order; why there is none where there is none.

    One of a package that does not work costs a line of notice and itself.
    """
    results: list[tuple[str, AnyMeter | Absent]] = []
    for name, find in finders.items():
        try:
            results.append((name, find()))
        except EnvironmentFailed as error:
            say(f"notice: {error}")
            results.append((name, Absent(absent=str(error.args[0]), remedy=error.remedy)))
    meters = tuple(meter for _, meter in results if not isinstance(meter, Absent))
    if meters:
        return meters
    absences = [(name, result) for name, result in results if isinstance(result, Absent)]
    reasons = [f"{name}: {absence.absent}" for name, absence in absences]
    remedies = [f"{name}: {absence.remedy}" for name, absence in absences if absence.remedy]
    return Absent(absent="; ".join(reasons) or "no meter is known", remedy=" ".join(remedies))


def phone_meters(phone: Android) -> Mapping[str, Callable[[], Meter | SampledMeter | Absent]]:
    """Meter name -> a function that finds it on this phone, or says why it is not there; the best first."""
    from swapbench.meters.battery import find_battery_charge, find_battery_current
    from swapbench.meters.perfetto import find_perfetto_rails
    from swapbench.meters.power_rails import find_power_rails

    rails = phone.profile.rails.summed
    return {
        "perfetto-rails": lambda: find_perfetto_rails(phone.adb.query, phone.state, rails),
        "power-rails": lambda: find_power_rails(phone.adb.query, phone.state, rails),
        "battery-charge": lambda: find_battery_charge(phone.read, phone.state),
        "battery-current": lambda: find_battery_current(phone.read, phone.state),
    }


def unplugged_meters(phone: Android) -> Mapping[str, Callable[[], SampledMeter | Absent]]:
    """The same for when this phone's cable is out; until then only its battery's level can be checked."""
    from swapbench.meters.battery import find_battery_charge, find_battery_current

    def then() -> PhoneState:
        return phone.state().replace(plugged=(), charging=False)

    return {
        "battery-charge": lambda: find_battery_charge(phone.read, then, now=False),
        "battery-current": lambda: find_battery_current(phone.read, then, now=False),
    }
