"""What there is: model cards, devices, and what can be measured here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench import catalog, units
from swapbench.errors import SwapbenchError
from swapbench.files import toml_table
from swapbench.records import Finding

if TYPE_CHECKING:
    from swapbench.catalog import Folders
    from swapbench.commands.options import DeviceOptions


def list_models(folders: Folders) -> tuple[list[dict[str, Any]], tuple[SwapbenchError, ...]]:
    """One row a model card, by the name that can be typed, and the errors of cards that cannot be read."""
    models, failures = catalog.models(folders)
    rows = []
    for model in models:
        card = model.card
        made, error_rate = "from elsewhere", units.NOT_MEASURED
        if card.training is not None:
            data = "simulated" if card.training.simulated_data else card.training.data
            made = f"{card.training.time[:10]} on {data} data"
            if "eer" in card.training.dev_results:
                error_rate = units.percent(card.training.dev_results["eer"])
        rows.append(
            {
                "name": model.path.stem,
                "family": card.family,
                "input": f"{card.preprocessing.width_px}×{card.preprocessing.height_px}",
                "made": made,
                "dev EER": error_rate,
                "summary": card.summary,
                "licence": card.licence,
                "card": str(model.path),
            }
        )
    return rows, tuple(error for _, error in failures)


@dataclass(frozen=True)
class DeviceList:
    """Profiles, and attached phones with the profiles that fit them; a note where phones cannot be listed."""

    profiles: tuple[dict[str, str], ...]
    phones: tuple[dict[str, str], ...]
    note: str = ""


def list_devices(folders: Folders) -> DeviceList:
    """What a person can name with --device, and which phone is meant by it."""
    from swapbench.devices.android_profile import Phone, Profile, attached, fits, read_profile

    note = ""
    phones: tuple[Phone, ...] = ()
    try:
        phones = attached()
    except SwapbenchError as error:
        note = str(error)
    profiles: list[dict[str, str]] = []
    fitting: dict[str, list[str]] = {phone.serial: [] for phone in phones}
    for name in catalog.device_files(folders):
        row = {"name": name, "kind": "", "summary": "", "attached": ""}
        try:
            path, row["kind"] = catalog.profile_file(folders, name)
            if row["kind"] == "android":
                profile: Profile = read_profile(path)
                serials = [phone.serial for phone in phones if fits(profile, phone)]
                for serial in serials:
                    fitting[serial].append(name)
                row |= {"summary": profile.summary, "attached": ", ".join(serials)}
            else:
                summary = str(toml_table(path, "device profile").get("summary", ""))
                row |= {"summary": summary, "attached": "here" if row["kind"] == "local" else ""}
        except SwapbenchError as error:
            row |= {"kind": "damaged", "summary": str(error)}
        profiles.append(row)
    rows = []
    for phone in phones:
        names = (phone.properties.get(f"ro.product.{key}") for key in ("manufacturer", "model"))
        rows.append(
            {
                "serial": phone.serial,
                "state": phone.state,
                "model": " ".join(filter(None, names)),
                "profiles": ", ".join(fitting[phone.serial]),
            }
        )
    return DeviceList(tuple(profiles), tuple(rows), note)


def examine(folders: Folders, options: DeviceOptions | None = None) -> tuple[Finding, ...]:
    """What can be measured on a device, this computer if none is named, and why the rest cannot.

    Raises:
        UnknownName: There is no such device.
        DeviceFailed: The phone cannot be reached at all.
    """
    from swapbench import doctor

    kind = "local" if options is None else catalog.profile_file(folders, options.name)[1]
    if options is None or kind == "local":
        found = [*doctor.examine(meters=catalog.meters(), folder=folders.root)]
        for name in catalog.RUNTIMES:
            if (python := catalog.interpreter(folders, name)) is not None:
                detail = (
                    f"{name} does not run with this Python, but with {python}; swapbench runtimes asks it"
                )
                found.append(Finding(f"Python of {name}", "ok", detail))
        found += [Finding("installed package", "limited", line) for line in catalog.plugin_notices()]
        return tuple(found)
    if kind != "android":
        return _package_findings(folders, options)
    from swapbench.commands.device import phone_findings

    return phone_findings(folders, options)


def _package_findings(folders: Folders, options: DeviceOptions) -> tuple[Finding, ...]:
    """What a device of an installed package says of itself."""
    from swapbench import doctor
    from swapbench.commands.place import open_place

    place = open_place(folders, options, ())
    machine = place.device.describe()
    about = f"{machine.device}, {machine.soc}, {machine.system}, {machine.logical_cores} cores"
    return (Finding("device", "ok", about), *doctor.energy(place.meters))
