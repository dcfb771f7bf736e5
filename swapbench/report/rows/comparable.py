"""What may be compared with what: decided here alone, for tables, figures, fronts, ratios, page and gate.

A number depends on some of the conditions under which it was measured. Two rows may be compared in a column
where the conditions of that column are the same. A runtime's version and settings are asked only of rows
under one runtime: two runtimes on one machine may be compared, two versions of one runtime may not. So the
relation is symmetric and not transitive, and a front or a best row is found by comparing each row with those
that it may be compared with.

A phone is several places. Its cores are of unlike kinds, and the libraries that ran are either the official
Android ones (flavour "aar") or those of the Linux wheels with a C library of their own ("bundle"), whose
numbers say nothing about an app.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

from swapbench.records import OUTCOMES, Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from swapbench.records import CpuCluster, Machine, Record, RuntimeUsed

Condition = Literal[
    "machine",
    "cores",
    "libraries",
    "threads",
    "version",
    "settings",
    "data",
    "protocol",
    "threshold",
    "frame_rate",
    "meter",
    "scope",
    "reference",
]
CONDITIONS: Final[tuple[Condition, ...]] = get_args(Condition)
SAME_FILE: Final[frozenset[Condition]] = frozenset()
"""Of what is counted in the file itself."""
SAME_SETUP: Final[frozenset[Condition]] = frozenset(
    ("machine", "cores", "libraries", "threads", "version", "settings")
)
"""Of latencies and memory."""
SAME_DATA: Final[frozenset[Condition]] = frozenset(("data", "protocol"))
"""Of scores."""
SAME_THRESHOLD: Final[frozenset[Condition]] = SAME_DATA | {"threshold"}
"""Of error rates at a threshold."""
SAME_RATE: Final[frozenset[Condition]] = SAME_SETUP | {"frame_rate"}
"""Of what is measured at a camera's frame rate."""
SAME_METER: Final[frozenset[Condition]] = SAME_RATE | {"meter", "scope"}
"""Of energy."""
SAME_DECISION: Final[frozenset[Condition]] = SAME_SETUP | SAME_DATA
"""Of what decisions cost, which depends on whom they are about."""
OF_ONE_RUNTIME: Final[tuple[Condition, ...]] = ("version", "settings")
"""Asked only of rows under one runtime."""
_ATTRIBUTES: Final = {"cores": "held_to"}
WORDS: Final[dict[str, str]] = {"data": "digest of the data", "frame_rate": "frame rate"}
"""Conditions whose names are no words for a reader."""

MACHINE_IDENTITY: Final = (
    "name",
    "device",
    "soc",
    "system",
    "abi",
    "logical_cores",
    "memory_bytes",
    "governor",
    "emulated",
)
"""The fields of a Machine that say which machine it is; load, temperature and charging are states."""
RUNTIME_IDENTITY: Final = ("runtime", "package", "providers", "threads", "settings")
"""The fields of a RuntimeUsed that a gate holds fixed; it is there to judge a new version."""
FLAVOURS: Final = {"aar": "", "bundle": "portable libraries", "host": "libraries of a computer"}
"""What is said of the native runner's libraries.

Nothing of the official ones, with which TFLite's own tool shares its place.
"""
_STATED_APART: Final = OUTCOMES | {"cores", "affinity", "flavour"}


@dataclass(frozen=True)
class Conditions:
    """Under which conditions the numbers of a record were measured.

    Attributes:
        device: the machine's own name.
        machine: its identity in one line of text.
        cores: kind of the cores that a runtime was held to; None where the system chose.
        held_to: the same with the numbers of the cores, in words; "" where the system chose.
        libraries: in words; "" for the official ones and for runtimes that have one kind only.
        settings: what else was chosen for the runtime, such as a delegate.
        data: digest of the data set; None where nothing was scored.
        threshold: how it was chosen; None where nothing was scored.
        frame_rate: frames a second of a camera; None for back to back.
        meter: the first meter of the record; None where no energy was measured.
        scope: what that meter sees.
        reference: label of the row that ratios refer to; None where a row has none, or is alone.
    """

    device: str
    machine: str
    cores: str | None
    held_to: str
    libraries: str
    runtime: str
    version: str
    settings: str
    threads: int
    data: str | None
    protocol: str | None
    threshold: str | None
    frame_rate: float | None
    meter: str | None
    scope: str | None
    reference: str | None = None

    @property
    def place(self) -> str:
        """Machine, cores and libraries as one line of text: what one device's table is about."""
        return " · ".join(filter(None, (self.machine, self.held_to and f"on {self.held_to}", self.libraries)))

    @property
    def device_with_cores(self) -> str:
        """The device's own name, its cores and libraries where these are not the usual ones."""
        kind = self.cores and f"{self.cores} cores"
        return ", ".join(filter(None, (self.device, kind, self.libraries)))


def conditions_of(record: Record) -> Conditions:
    """The conditions of a record."""
    machine, used = record.machine, record.runtime
    accuracy = None if isinstance(record.accuracy, Absent) else record.accuracy
    power = None if isinstance(record.power, Absent) or not record.power else record.power[0]
    kind = cores(machine, used)
    return Conditions(
        device=machine.name,
        machine=machine_text(machine),
        cores=kind,
        held_to=f"{kind} cores {','.join(map(str, used.core_numbers))}".rstrip() if kind else "",
        libraries=flavour_text(used.settings.get("flavour")),
        runtime=used.runtime,
        version=used.version,
        settings=_text_of({name: text for name, text in used.settings.items() if name not in _STATED_APART}),
        threads=used.threads,
        data=accuracy.dataset_digest if accuracy else None,
        protocol=accuracy.protocol if accuracy else None,
        threshold=accuracy.threshold_rule if accuracy else None,
        frame_rate=record.plan.fps,
        meter=power.meter if power else None,
        scope=power.scope if power else None,
    )


# ---- The relation ----


class Measured(Protocol):
    """A row."""

    @property
    def conditions(self) -> Conditions:
        """Under which its numbers were measured."""


class Depends(Protocol):
    """A column, or whatever else knows on which conditions its numbers depend."""

    @property
    def conditions(self) -> frozenset[Condition]:
        """What must be equal for two of its numbers to be compared."""


def comparable(row: Measured, other: Measured, column: Depends) -> bool:
    """Whether the numbers of two rows in a column may be compared."""
    return not any(differing(row, other, column.conditions))


def why_not(row: Measured, other: Measured, column: Depends) -> str:
    """The conditions that differ, as one phrase: 'threads: 1 and 2; meter: rapl and nvml'; "" for none."""
    return "; ".join(
        f"{WORDS.get(name, name)}: {value_of(row, name) or 'none'} and {value_of(other, name) or 'none'}"
        for name in differing(row, other, column.conditions)
    )


def differing(row: Measured, other: Measured, conditions: frozenset[Condition]) -> Iterator[Condition]:
    """Those of some conditions in which two rows differ, in the order of `Condition`."""
    same_runtime = row.conditions.runtime == other.conditions.runtime
    for name in CONDITIONS:
        asked = name in conditions and (same_runtime or name not in OF_ONE_RUNTIME)
        if asked and value_of(row, name) != value_of(other, name):
            yield name


def value_of(row: Measured, name: str) -> Any:
    """What a row has for a `Condition`, or for "runtime"."""
    return getattr(row.conditions, _ATTRIBUTES.get(name, name))


@dataclass(frozen=True)
class Rivals:
    """Rows under the very same conditions, and all rows that they may be compared with, themselves included.

    Both by their places among the rows that were asked about, ascending.
    """

    members: tuple[int, ...]
    rivals: tuple[int, ...]


def asked_by(columns: Iterable[Depends]) -> frozenset[Condition]:
    """The conditions on which any of the columns depends."""
    return SAME_FILE.union(*(column.conditions for column in columns))


def rivals(rows: Sequence[Measured], columns: Iterable[Depends]) -> Iterator[Rivals]:
    """Every row once, among the members of one `Rivals`; comparable means in each of the columns."""
    for kinds in _kinds_of(rows, columns).values():
        for (runtime, kind), members in kinds.items():
            may = [
                place
                for (other, other_kind), places in kinds.items()
                if other != runtime or other_kind == kind
                for place in places
            ]
            yield Rivals(tuple(members), tuple(sorted(may)))


def sets_of(rows: Sequence[Measured], columns: Iterable[Depends]) -> tuple[tuple[int, ...], ...]:
    """The rows, by place, in sets whose members may all be compared with each other in each of the columns.

    Each row is in one set. Where a runtime ran in several versions or settings, the first of them shares a
    set with the other runtimes.
    """
    sets: list[list[int]] = []
    for kinds in _kinds_of(rows, columns).values():
        turn: dict[str, int] = {}
        joined: list[list[int]] = []
        for (runtime, _), members in kinds.items():
            turn[runtime] = place = turn.get(runtime, -1) + 1
            if place == len(joined):
                joined.append([])
            joined[place] += members
        sets += joined
    return tuple(sorted(tuple(sorted(members)) for members in sets))


_Kind = tuple[str, tuple[Any, ...]]


def _kinds_of(
    rows: Sequence[Measured], columns: Iterable[Depends]
) -> dict[tuple[Any, ...], dict[_Kind, list[int]]]:
    """Places of rows: by the conditions that do not hang on the runtime, then by (runtime, the others)."""
    asked = asked_by(columns)
    always = _values_of([name for name in CONDITIONS if name in asked and name not in OF_ONE_RUNTIME])
    of_runtime = _values_of(["runtime", *OF_ONE_RUNTIME] if asked & set(OF_ONE_RUNTIME) else [])
    kinds: dict[tuple[Any, ...], dict[_Kind, list[int]]] = {}
    for place, row in enumerate(rows):
        runtime, *others = of_runtime(row.conditions) or ("",)
        kind = (runtime, tuple(others))
        kinds.setdefault(always(row.conditions), {}).setdefault(kind, []).append(place)
    return kinds


def _values_of(names: Sequence[str]) -> Callable[[Conditions], tuple[Any, ...]]:
    """From conditions to the values of some of them."""
    attributes = [_ATTRIBUTES.get(name, name) for name in names]
    if len(attributes) > 1:
        return attrgetter(*attributes)
    return lambda conditions: tuple(getattr(conditions, attribute) for attribute in attributes)


# ---- What a gate asks of two records ----


class Ran(Protocol):
    """A record, or whatever else says what ran where."""

    @property
    def machine(self) -> Machine:
        """Where."""

    @property
    def runtime(self) -> RuntimeUsed:
        """What."""


def differences(baseline: Ran, candidate: Ran) -> tuple[str, ...]:
    """Where two were not measured in the same place, field by field: machine, runtime, settings.

    Stricter than `comparable`, which takes two runtimes on one machine, and without the version, which a gate
    judges.
    """
    return (
        *fields_differing("machine", baseline.machine, candidate.machine, MACHINE_IDENTITY),
        *fields_differing("runtime", baseline.runtime, candidate.runtime, RUNTIME_IDENTITY),
    )


def fields_differing(what: str, one: object, other: object, names: Iterable[str]) -> Iterator[str]:
    """One line a field that differs: 'machine.governor: performance and powersave'."""
    for field in names:
        ours, theirs = (_compared_part(getattr(side, field), field) for side in (one, other))
        if ours != theirs:
            yield f"{what}.{field}: {_shown(ours)} and {_shown(theirs)}"


def _compared_part(value: Any, field: str) -> object:
    """Of the providers the first one.

    Of the settings those that were chosen, not how much a delegate took.
    """
    if field == "settings":
        return {name: text for name, text in value.items() if name not in OUTCOMES}
    return value[:1] if field == "providers" else value


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in sorted(value.items())) or "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


# ---- Places and their names ----


def machine_text(machine: Machine) -> str:
    """The identity of a machine as one line of text."""
    parts = [
        machine.name,
        machine.device,
        machine.soc,
        machine.system,
        machine.abi,
        f"{machine.logical_cores} cores",
        f"{machine.memory_bytes / 2**30:.1f} GiB",
        f"governor {machine.governor}" if machine.governor else "",
        "emulated" if machine.emulated else "",
    ]
    return " · ".join(dict.fromkeys(filter(None, parts)))


def flavour_text(flavour: str | None) -> str:
    """A flavour in words, "" for the official libraries and for runtimes that have none."""
    return FLAVOURS.get(flavour, f"{flavour} libraries") if flavour else ""


def cores(machine: Machine, used: RuntimeUsed) -> str | None:
    """The kind of these cores: "little", "mid", "big", "all"; "chosen" for a mixture of kinds.

    The record's own word, else found from the cores. None where the system chose. Cores that were switched
    off do not count, so a kind may be there in part.
    """
    if named := used.settings.get("cores"):
        return named
    numbers = set(used.core_numbers)
    if not numbers:
        return None
    clusters = machine.state.clusters if machine.state is not None else ()
    kinds = _kinds(clusters)
    touched = [name for name, members in kinds.items() if numbers & members]
    if len(touched) == 1 and len(kinds) > 1 and numbers <= kinds[touched[0]]:
        return touched[0]
    everything = {core for cluster in clusters for core in cluster.cores}
    if everything and (numbers == everything or (len(kinds) > 1 and touched == list(kinds))):
        return "all"
    return "chosen"


def _kinds(clusters: Sequence[CpuCluster]) -> dict[str, set[int]]:
    """Names and cores of the clusters, which are sorted with the slowest first."""
    if len(clusters) < 2:
        return {"all": set(clusters[0].cores)} if clusters else {}
    kinds = {"little": set(clusters[0].cores)}
    if len(clusters) > 2:
        kinds["mid"] = {core for cluster in clusters[1:-1] for core in cluster.cores}
    return kinds | {"big": set(clusters[-1].cores)}


def settings_text(used: RuntimeUsed) -> str | None:
    """The settings that were chosen, in a fixed order: 'affinity=c0.

    Flavour=bundle'; None where there are none.
    """
    return _text_of(used.configuration) or None


def _text_of(settings: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in sorted(settings.items()))


def names_of(rows: Iterable[Measured]) -> dict[str, str]:
    """By place: the shortest name that tells it from the others.

    The device's own; where it has several places with its cores and libraries; where that is not enough, all
    of it.
    """
    places = {row.conditions.place: row.conditions for row in rows}
    names = {key: conditions.device for key, conditions in places.items()}
    with_cores = {key: conditions.device_with_cores for key, conditions in places.items()}
    for longer in (with_cores, {key: key for key in places}):
        taken = list(names.values())
        names = {key: longer[key] if taken.count(name) > 1 else name for key, name in names.items()}
    return names
