"""Records in the making: what has been measured of a file so far, and the one way from there to the disk."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from pydantic import ValidationError

from swapbench import store
from swapbench.errors import NotValid
from swapbench.records import NOT_ELSEWHERE, NOT_PACED, NOT_PROFILED, NOT_SUSTAINED, Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from swapbench.records import (
        Absent,
        Accuracy,
        Doubt,
        Machine,
        ModelCard,
        OperatorProfile,
        Parity,
        Plan,
        Power,
        RuntimeUsed,
        Speed,
        Sustained,
        Variant,
        Weight,
    )


@dataclass
class Draft:
    """The fields of a `Record`, filled in pass by pass; they are validated when the record is made."""

    id: str
    time: datetime
    run: str
    variant: Variant
    artifact: str
    artifact_sha256: str
    card: ModelCard | None
    runtime: RuntimeUsed
    plan: Plan
    machine: Machine
    speed: Speed | Absent
    weight: Weight | Absent
    accuracy: Accuracy | Absent
    power: tuple[Power, ...] | Absent
    parity: Parity | Absent
    sustained: Sustained | Absent = NOT_SUSTAINED
    paced: Speed | Absent = NOT_PACED
    device_parity: Parity | Absent = NOT_ELSEWHERE
    operators: OperatorProfile | Absent = NOT_PROFILED
    doubts: tuple[Doubt, ...] = ()
    named: str = ""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    lost_hosts: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What messages and tables call the file."""
        return self.named or self.artifact

    def record(self) -> Record:
        """The record of what has been measured.

        Raises:
            NotValid: a field holds what no record may hold.
        """
        try:
            return Record.model_validate(vars(self))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise NotValid(
                f"the record of {self.artifact} is not valid at {where}: {first['msg']}",
                remedy="Report it as a bug, with the command that you ran.",
            ) from error

    def save(self, folder: Path) -> None:
        """Write the finished record to a run's folder; a draft that was set aside there goes.

        Raises:
            NotValid: a field holds what no record may hold.
            EnvironmentFailed: there is such a record already, or the folder cannot be written.
        """
        store.save(self.record(), folder)
        store.drop_draft(self.id, folder)

    def set_aside(self, folder: Path) -> None:
        """Keep the draft in a run's folder until its last quantity has been measured."""
        store.save_draft(self.record(), folder)


def set_aside_drafts(folder: Path) -> dict[str, Draft]:
    """The drafts that were set aside in a run's folder, by id, without those that cannot be read."""
    names = [kept.name for kept in fields(Draft)]
    return {
        name: Draft(**{kept: getattr(record, kept) for kept in names})
        for name, record in store.drafts(folder).items()
    }
