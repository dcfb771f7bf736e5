"""Where and how a record was measured: what must be equal for two records to stand in one comparison.

A phone is several places. Its cores are of unlike kinds, and the libraries that ran are either the official Android ones (flavour
"aar") or those of the Linux wheels with a C library of their own ("bundle"), whose numbers say nothing about an app.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swapbench.records import CpuCluster, Machine, RuntimeUsed
    from swapbench.report.rows.summary import Row

FLAVOURS: Final = {"aar": "", "bundle": "portable libraries", "host": "libraries of a computer"}
"""What is said of the native runner's libraries; nothing of the official ones, with which TFLite's own tool shares its place."""


def fingerprint(machine: Machine, used: RuntimeUsed) -> str:
    """What must be equal for two records to stand in one comparison, as one line of text: machine, cores, flavour of the libraries.

    Load, temperature and charging are states, not identity; runtimes, their versions and their other settings stand with each row.
    """
    parts = [
        machine.name,
        machine.device,
        machine.soc,
        machine.system,
        machine.abi,
        f"{machine.logical_cores} cores",
    ]
    parts.append(f"{machine.memory_bytes / 2**30:.1f} GiB")
    if machine.governor:
        parts.append(f"governor {machine.governor}")
    if machine.emulated:
        parts.append("emulated")
    kind = cores(machine, used)
    if kind:
        parts.append(f"on {kind} cores {_joined(core_numbers(used))}".rstrip())
    parts.append(flavour_text(used.settings.get("flavour")))
    return " · ".join(dict.fromkeys(part for part in parts if part))


def flavour_text(flavour: str | None) -> str:
    """A flavour in words, "" for the official libraries and for runtimes that have none."""
    return FLAVOURS.get(flavour, f"{flavour} libraries") if flavour else ""


def core_numbers(used: RuntimeUsed) -> tuple[int, ...]:
    """The cores that a runtime was held to; () where the system chose."""
    mask = used.settings.get("affinity", "")
    try:
        bits = int(mask, 16)
    except ValueError:
        return ()
    return tuple(place for place in range(bits.bit_length()) if bits >> place & 1)


def cores(machine: Machine, used: RuntimeUsed) -> str | None:
    """The kind of these cores: "little" are the slowest, "big" the fastest, "mid" all between, "all" every one; else "chosen".

    The record's own word, else found from the cores. None where the system chose. Cores that were switched off do not count, so
    a kind may be there in part.
    """
    if named := used.settings.get("cores"):
        return named
    numbers = set(core_numbers(used))
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
    found = {"little": set(clusters[0].cores)}
    if len(clusters) > 2:
        found["mid"] = {core for cluster in clusters[1:-1] for core in cluster.cores}
    return found | {"big": set(clusters[-1].cores)}


def settings_text(used: RuntimeUsed) -> str | None:
    """The settings that were chosen, in a fixed order: 'affinity=c0; flavour=bundle'; None where there are none."""
    return "; ".join(f"{name}={value}" for name, value in sorted(used.configuration.items())) or None


def names_of(rows: Iterable[Row]) -> dict[str, str]:
    """By fingerprint: the shortest name that tells a place from the others.

    The device's own; where it has several places with its cores and libraries; where that is not enough, the fingerprint.
    """
    first = {row.machine_fingerprint: row for row in rows}
    names = {key: row.machine for key, row in first.items()}
    for longer in ({key: _with_cores(row) for key, row in first.items()}, {key: key for key in first}):
        taken = list(names.values())
        names = {key: longer[key] if taken.count(name) > 1 else name for key, name in names.items()}
    return names


def _with_cores(row: Row) -> str:
    kind = f"{row.cores} cores" if row.cores else ""
    return ", ".join(filter(None, (row.machine, kind, flavour_text(row.flavour))))


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
