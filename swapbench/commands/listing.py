"""What there is: model cards, devices, and what can be measured here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench import catalog, units
from swapbench.errors import SwapbenchError

if TYPE_CHECKING:
    from swapbench.catalog import Folders
    from swapbench.commands.device import DeviceRequest
    from swapbench.doctor import Finding


def list_models(folders: Folders) -> tuple[list[dict[str, Any]], tuple[SwapbenchError, ...]]:
    """One row a model card, and the errors of cards that cannot be read."""
    good, bad = catalog.models(folders)
    rows = []
    for one in good:
        card = one.card
        made = "from elsewhere"
        if card.training is not None:
            made = f"{card.training.time[:10]} on {'simulated' if card.training.simulated_data else card.training.data} data"
        rows.append(
            {
                "name": card.name,
                "family": card.family,
                "input": f"{card.preprocessing.width_px}×{card.preprocessing.height_px}",
                "made": made,
                "dev EER": units.percent(card.training.dev_results["eer"])
                if card.training and "eer" in card.training.dev_results
                else units.NOT_MEASURED,
                "summary": card.summary,
                "licence": card.licence,
                "card": str(one.path),
            }
        )
    return rows, bad


@dataclass(frozen=True)
class DeviceList:
    """Profiles, attached phones with the profiles that fit them, and why phones could not be looked for ("" where they could)."""

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
                found = [phone.serial for phone in phones if fits(profile, phone)]
                for serial in found:
                    fitting[serial].append(name)
                row |= {"summary": profile.summary, "attached": ", ".join(found)}
            else:
                told = tomllib.loads(path.read_text(encoding="utf-8"))
                row |= {"summary": str(told.get("summary", "")), "attached": "here"}
        except SwapbenchError as error:
            row |= {"kind": "damaged", "summary": str(error)}
        profiles.append(row)
    return DeviceList(
        tuple(profiles),
        tuple(
            {
                "serial": phone.serial,
                "state": phone.state,
                "model": " ".join(
                    filter(
                        None, (phone.properties.get(f"ro.product.{key}") for key in ("manufacturer", "model"))
                    )
                ),
                "profiles": ", ".join(fitting[phone.serial]),
            }
            for phone in phones
        ),
        note,
    )


def examine(folders: Folders, request: DeviceRequest | None = None) -> tuple[Finding, ...]:
    """What can be measured on a device (this computer if none is named), and why the rest cannot.

    Raises UnknownName, and DeviceFailed where the phone cannot be reached at all.
    """
    from swapbench import doctor

    if request is None or catalog.profile_file(folders, request.name)[1] != "android":
        return doctor.examine(meters=catalog.meters(), folder=folders.root)
    from swapbench.commands.device import phone_findings

    return phone_findings(folders, request)
