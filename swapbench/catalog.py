"""From the names that people type to model cards, devices, runtimes and meters. The composition root.

Concrete classes are named by strings and loaded when they are needed, so that reading the catalogue imports
nothing. A user's working folder adds to the built-in `models/` and `devices/` or overrides them, by name.
Installed packages add runtimes, meters and kinds of devices, which must not take a built-in name; see
`plugins`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from swapbench.errors import BadCard, SwapbenchError, UnknownName, UserError
from swapbench.files import toml_table
from swapbench.plugins import plugins
from swapbench.records import (
    FORMATS,
    PRECISIONS,
    PRECISIONS_OF,
    Absent,
    Format,
    ModelCard,
    Precision,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from swapbench.plugins import Plugin, Plugins
    from swapbench.ports import Device, Meter, Runtime

RUNTIMES: Mapping[str, str] = {
    "onnxruntime": "swapbench.runtimes.ort:OnnxRuntime",
    "litert": "swapbench.runtimes.litert:LiteRT",
    "tflite-runtime": "swapbench.runtimes.tflite_runtime:TFLiteRuntime",
    "ncnn": "swapbench.runtimes.ncnn:Ncnn",
    "executorch": "swapbench.runtimes.executorch:ExecuTorch",
}
ON_REQUEST = frozenset({"tflite-runtime"})
"""Runtimes that only run where they are named."""
DEVICE_KINDS: Mapping[str, str] = {
    "local": "swapbench.devices.local:Local",
    "android": "swapbench.devices.android:find_android",
}
METERS: Mapping[str, str] = {
    "rapl": "swapbench.meters.rapl:find_rapl",
    "psys": "swapbench.meters.rapl:find_psys",  # the whole platform: beside rapl, never added to it
    "pyrapl": "swapbench.meters.pyrapl:find_pyrapl",
    "nvml": "swapbench.meters.nvml:find_nvml",
}
_RUNTIME = ("formats", "command", "parse_loaded", "parse_slice", "parse_outputs", "parse_profile")
_METER = ("scope", "resolution_uj", "update_ns", "read")
_DEVICE = ("describe", "push", "pull", "run", "start", "read", "quiet")
"""What the things of packages must have, beside a name; see `ports`."""


@dataclass(frozen=True)
class Folders:
    """Where things lie in a working folder.

    Attributes:
        root: the working folder
        temporary: a folder elsewhere that keeps crops and scores until it is deleted; None for build/
    """

    root: Path
    temporary: Path | None = None

    @property
    def models(self) -> Path:
        """The user's own model cards."""
        return self.root / "models"

    @property
    def devices(self) -> Path:
        """The user's own device profiles."""
        return self.root / "devices"

    @property
    def runtimes(self) -> Path:
        """Runtimes that have an interpreter of their own, a file each."""
        return self.root / "runtimes"

    @property
    def data(self) -> Path:
        """Simulated datasets."""
        return self.root / "data"

    @property
    def build(self) -> Path:
        """Everything that can be made again: exported files, preprocessed samples, scores."""
        return self.root / "build"

    @property
    def cache(self) -> Path:
        """Crops of faces, and scores computed from them."""
        return self.temporary or self.build

    @property
    def reports(self) -> Path:
        """One folder a run."""
        return self.root / "reports"


@dataclass(frozen=True)
class Carded:
    """A model card and the file that it came from (its checkpoint lies beside it)."""

    card: ModelCard
    path: Path


def load(reference: str) -> Any:
    """The object that 'module:name' names."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def builtin_folder(name: str) -> Path:
    """The built-in `models` or `devices`: under the package in a wheel, beside it in a source tree."""
    inside = Path(__file__).parent / "builtin" / name
    return inside if inside.is_dir() else Path(__file__).parents[1] / name


def card_files(folders: Folders) -> dict[str, Path]:
    """Card name -> file, for the built-in cards and the user's own, which win."""
    return _toml_files(builtin_folder("models"), folders.models)


def zoo_files(folders: Folders) -> dict[str, Path]:
    """Name -> file of the public networks, for the built-in ones and the user's own, which win."""
    return _toml_files(*(place / "zoo" for place in (builtin_folder("models"), folders.models)))


def recipe_files(folders: Folders, kind: str = "") -> dict[str, Path]:
    """Name -> file of the training recipes, or of their `methods` or `schedules`; the user's own win."""
    return _toml_files(*(place / "recipes" / kind for place in (builtin_folder("models"), folders.models)))


def model(folders: Folders, name: str) -> Carded:
    """The model card of that name, or in the file of that path.

    Raises:
        UnknownName: there is no such card.
        BadCard: the file is missing or malformed.
    """
    from swapbench.cards import read_card

    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BadCard(
                f"there is no model card {name}", remedy="List the known ones with: swapbench models"
            )
        return Carded(read_card(path), path)
    files = card_files(folders)
    if name not in files:
        raise UnknownName("model", name, files)
    return Carded(read_card(files[name]), files[name])


def models(
    folders: Folders, names: Sequence[str] = ()
) -> tuple[list[Carded], list[tuple[str, SwapbenchError]]]:
    """The named models, or all, and those whose card cannot be read, each with its error.

    Raises:
        UnknownName: a name is misspelt.
    """
    files = card_files(folders)
    for name in names:
        if name not in files and not name.endswith(".toml"):
            raise UnknownName("model", name, files)
    cards: list[Carded] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for name in names or files:
        try:
            cards.append(model(folders, name))
        except SwapbenchError as error:
            failures.append((name, error))
    return cards, failures


def networks(
    folders: Folders, names: Sequence[str] = ()
) -> tuple[list[Carded], list[tuple[str, SwapbenchError]]]:
    """The named models, or all that files can be made of: other cards describe files from elsewhere."""
    carded, failures = models(folders, names)
    return [model for model in carded if names or model.card.family], failures


def named_file(kind: str, name: str, files: Mapping[str, Path]) -> Path:
    """A TOML file by its path, or by its name among `files`.

    Raises:
        UnknownName: neither is there; the message names the nearest ones.
    """
    path = Path(name) if name.endswith(".toml") else files.get(name)
    if path is None:
        raise UnknownName(kind, name, files)
    return path


def runtime(folders: Folders, name: str) -> Runtime:
    """The runtime of that name, with the interpreter that the user has named for it.

    Raises:
        UnknownName: There is no such runtime.
        UserError: The file that names its interpreter is malformed.
        EnvironmentFailed: It belongs to a package, and does not work.
    """
    found = unmoved_runtime(name)
    python = interpreter(folders, name)
    return found if python is None else with_interpreter(found, python)


def added_runtimes() -> Plugins:
    """The runtimes of installed packages."""
    return plugins("runtime", RUNTIMES)


def runtime_names() -> tuple[str, ...]:
    """The built-in runtimes, then those of installed packages."""
    return (*RUNTIMES, *added_runtimes().by_name)


def unmoved_runtime(name: str) -> Runtime:
    """The runtime of that name, with our own interpreter.

    Raises:
        UnknownName: There is none.
        EnvironmentFailed: It belongs to a package, and does not work.
    """
    if name in RUNTIMES:
        return cast("Runtime", load(RUNTIMES[name])())
    added = added_runtimes().by_name
    if name not in added:
        raise UnknownName("runtime", name, (*RUNTIMES, *added))
    return cast("Runtime", added[name].checked(added[name].made(), *_RUNTIME))


def runtimes(folders: Folders, names: Sequence[str] = ()) -> tuple[Runtime, ...]:
    """The named runtimes, or those that run by default."""
    return tuple(runtime(folders, name) for name in (names or runtimes_by_default()))


def runtimes_by_default() -> tuple[str, ...]:
    """The runtimes that do not have to be named; those of packages have to."""
    return tuple(name for name in RUNTIMES if name not in ON_REQUEST)


def interpreter_file(folders: Folders, name: str) -> Path:
    """Where the user's choice of an interpreter for a runtime stands."""
    return folders.runtimes / f"{name}.toml"


def interpreter(folders: Folders, name: str) -> Path | None:
    """The interpreter that the user has named for a runtime, None for swapbench's own.

    A relative path starts from the working folder. Links are kept: that of an environment leads to the
    interpreter that it was made with, which does not know its packages.

    Raises:
        UserError: The file is malformed.
    """
    path = interpreter_file(folders, name)
    if not path.is_file():
        return None
    table = toml_table(path, "choice of an interpreter")
    python = table.get("python")
    if table.keys() != {"python"} or not isinstance(python, str) or not python:
        raise UserError(
            f"{path} does not name an interpreter", remedy=f"Run: swapbench runtimes add {name} --python PATH"
        )
    return folders.root / python


def with_interpreter(found: Runtime, python: Path) -> Runtime:
    """The runtime with another interpreter; UserError where its worker is no Python program."""
    from swapbench.runtimes.contract import PythonWorker

    if not isinstance(found, PythonWorker):
        raise UserError(f"{found.name} does not run in a Python interpreter", remedy="Leave --python out")
    return replace(found, python=str(python))


def device_files(folders: Folders) -> dict[str, Path]:
    """Device profile name -> file, built-in and the user's own, which win."""
    return _toml_files(builtin_folder("devices"), folders.devices)


def _toml_files(*folders: Path) -> dict[str, Path]:
    """Stem -> file, by name; a later folder wins over an earlier one."""
    files = {path.stem: path for folder in folders for path in folder.glob("*.toml")}
    return dict(sorted(files.items()))


def device(folders: Folders, name: str, serial: str | None = None) -> Device:
    """The device of that name.

    Args:
        folders: of the working folder.
        name: of the device profile.
        serial: tells one of several attached phones; None takes that of ANDROID_SERIAL.

    Raises:
        UnknownName: there is no such profile.
        UserError: the profile is malformed, or its kind of device has no serial.
        DeviceFailed: no phone, or more than one, fits; the message lists what is attached.
    """
    path, kind = profile_file(folders, name)
    if kind == "android":
        profile = load("swapbench.devices.android_profile:read_profile")(path)
        return cast(
            "Device", load(DEVICE_KINDS[kind])(profile, serial or os.environ.get("ANDROID_SERIAL") or None)
        )
    if kind not in DEVICE_KINDS:
        plugin = plugins("device", DEVICE_KINDS).by_name[kind]
        made = plugin.made(toml_table(path, "device profile"), serial)
        return cast("Device", plugin.checked(made, *_DEVICE, named=name))
    if serial is not None:
        raise UserError(f"the device {name} has no serial number", remedy="Omit --serial, or name a phone")
    return cast("Device", load(DEVICE_KINDS[kind])())


def profile_file(folders: Folders, name: str) -> tuple[Path, str]:
    """The file of a device profile and its kind.

    Raises:
        UnknownName: there is no such profile.
        UserError: it is malformed.
    """
    files = device_files(folders)
    if name not in files:
        raise UnknownName("device", name, files)
    kind = toml_table(files[name], "device profile").get("kind")
    if isinstance(kind, str) and kind in DEVICE_KINDS:
        return files[name], kind
    added = plugins("device", DEVICE_KINDS).by_name
    if not isinstance(kind, str) or kind not in added:
        raise UserError(
            f"the device profile {files[name]} has the unknown kind {kind!r}",
            remedy=f"Known kinds: {', '.join((*DEVICE_KINDS, *added))}",
        )
    return files[name], kind


def plugin_notices() -> tuple[str, ...]:
    """A line for each thing of an installed package that is ignored, and why."""
    from swapbench.modelfile import added_formats

    found = [plugins("meter", METERS), plugins("device", DEVICE_KINDS), added_formats()]
    return tuple(line for one in (added_runtimes(), *found) for line in one.refused)


def meters() -> Mapping[str, Callable[[], Meter | Absent]]:
    """Meter name -> a function that finds it on this computer, or says why it is absent.

    That of a package's meter raises EnvironmentFailed where the meter does not work.
    """

    def finder(reference: str) -> Callable[[], Meter | Absent]:
        return lambda: cast("Meter | Absent", load(reference)())

    def found(plugin: Plugin) -> Meter | Absent:
        meter = plugin.made()
        return meter if isinstance(meter, Absent) else cast("Meter", plugin.checked(meter, *_METER))

    added = plugins("meter", METERS).by_name
    return {
        **{name: finder(reference) for name, reference in METERS.items()},
        **{name: partial(found, plugin) for name, plugin in added.items()},
    }


def variants(
    card: ModelCard, formats: Sequence[Format] = (), precisions: Sequence[Precision] = ()
) -> tuple[Variant, ...]:
    """Every file that a card can become, or those asked for."""
    return tuple(
        Variant(net=card.name, recipe=card.recipe, precision=precision, format=file_format)
        for file_format in (formats or FORMATS)
        for precision in (precisions or PRECISIONS_OF.get(file_format, PRECISIONS))
    )


def split_commas(values: Iterable[str]) -> tuple[str, ...]:
    """'a,b' and repeated options mean the same."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def checked_names(kind: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The names themselves.

    Raises:
        UnknownName: one of them is not among `known`.
    """
    for name in names:
        if name not in known:
            raise UnknownName(kind, name, known)
    return tuple(names)
