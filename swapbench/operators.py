"""Where the time of a run goes, operator by operator, and what differs between two files: pure functions of profiles.

A profiler slows down what it watches, so nothing here is an absolute time but for a hint. One file: each operator's share of the
time of all operators. Two files: everything as a share of the first file's time, so that what grew can be told
from what only takes a larger part because something else shrank.

Disturbance only adds time, so a process counts with its fastest quarter of runs. Shares within a process are steady even where all of
it is slowed down, and times are not: so how two files compare as a whole is measured without a profiler, in pairs, and given here.
A share is the median over processes, its range the lowest and the highest of them, and that of a change holds the range of the
whole as well. The range of n processes misses the true median once in 2^(n-1) times (the sign test).
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from swapbench import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from swapbench.ports import Node, Profile
    from swapbench.records import RuntimeUsed

QUIET: Final = 0.25

NOTICEABLE: Final = 0.005
"""An operator grew where every process says so and it grew by this share of the baseline's time at least."""

TOO_SMALL: Final = "the graph is too small for the profiler's clock, which counts whole microseconds"

FALLBACKS: Final = frozenset({"CPUExecutionProvider", "builtin"})
"""What runs a node that no other provider or delegate took."""


@dataclass(frozen=True)
class Spread:
    """A number over processes with its range; see the head of this module."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Part:
    """An operator type (name "") or a node, and its share of the time of all. hint_ns: a run's time in it, profiled."""

    op: str
    name: str
    output: str
    nodes: int
    providers: str
    share: Spread
    hint_ns: float


@dataclass(frozen=True)
class Breakdown:
    """Where the time of one file goes. operators, nodes: the heaviest first, () where `absent` says why.

    run_ns: a run without the profiler; operators_ns: all operators of a run with it, None where they are absent; both of the
    quietest process. A hint, no more.
    """

    used: RuntimeUsed
    processes: int
    runs: int
    run_ns: float
    operators_ns: float | None
    operators: tuple[Part, ...]
    nodes: tuple[Part, ...]
    absent: str = ""


@dataclass(frozen=True)
class Change:
    """An operator type (name "") or a node before and after, as shares of the baseline's time (above 1: longer than all of it).

    nodes: 0 where that side has none; op: both where a node of one name became another operator; change: after less before.
    """

    op: str
    name: str
    output: str
    nodes: tuple[int, int]
    providers: tuple[str, str]
    before: Spread
    after: Spread
    change: Spread

    @property
    def grew(self) -> bool:
        """Every process says that it grew, and it is enough to notice."""
        return self.change.low > 0 and self.change.median >= NOTICEABLE


@dataclass(frozen=True)
class Moved:
    """Nodes of one operator that another provider or delegate runs now. names: of all of them."""

    op: str
    before: str
    after: str
    names: tuple[str, ...]

    @property
    def fell_back(self) -> bool:
        """True where a provider or delegate no longer takes them."""
        return self.after in FALLBACKS and self.before not in FALLBACKS


@dataclass(frozen=True)
class Difference:
    """What a candidate spends its time on otherwise than its baseline.

    total: the candidate's time as a share of the baseline's, measured without a profiler; operators, nodes: the largest change
    first, () where `absent` says why.
    """

    total: Spread
    operators: tuple[Change, ...]
    nodes: tuple[Change, ...]
    moved: tuple[Moved, ...]
    absent: str = ""

    @property
    def grew(self) -> tuple[Change, ...]:
        """The operator types that grew, the most first."""
        return tuple(sorted((one for one in self.operators if one.grew), key=lambda one: -one.change.median))


@dataclass(frozen=True)
class Contents:
    """What a model file holds, whatever runs it. ops: operator -> number of nodes."""

    name: str
    file_bytes: int
    params: int
    macs: int
    ops: Mapping[str, int]


@dataclass(frozen=True)
class OperatorCount:
    """How many nodes of an operator two files hold."""

    op: str
    before: int
    after: int


# ---------------------------------------------------------------------------------------------- one file


def breakdown(profiles: Sequence[Profile]) -> Breakdown:
    """Where the time of one file goes, from at least one process. Raises ValueError where they executed different nodes."""
    first = profiles[0]
    absent = _absent(profiles)
    run_ns = min(stats.median(one.run_ns) for one in profiles)
    if absent:
        return Breakdown(first.used, len(profiles), len(first.run_ns), run_ns, None, (), (), absent)
    times = _times(profiles)
    whole = times.sum(axis=1)
    shares, operators_ns = times / whole[:, None], float(whole.min())

    def part(op: str, name: str, output: str, places: Sequence[int]) -> Part:
        nodes = [first.nodes[place] for place in places]
        share = _spread(shares[:, places].sum(axis=1))
        count = sum(node.count for node in nodes)
        return Part(op, name, output, count, _providers(nodes), share, share.median * operators_ns)

    nodes = [part(node.op, node.name, node.output, [place]) for place, node in enumerate(first.nodes)]
    operators = [part(op, "", "", places) for op, places in _by_op(first.nodes).items()]

    def weight(part: Part) -> float:
        return -part.share.median

    return Breakdown(
        used=first.used,
        processes=len(profiles),
        runs=len(first.nodes[0].run_ns),
        run_ns=run_ns,
        operators_ns=operators_ns,
        operators=tuple(sorted(operators, key=weight)),
        nodes=tuple(sorted(nodes, key=weight)),
    )


def _times(profiles: Sequence[Profile]) -> stats.Floats:
    """[process, node of the first]: the mean time of each node over the fastest quarter of the runs, in ns.

    The mean and not a median, because the profilers count in whole microseconds and many nodes take only a few.
    """
    first = identities(profiles[0].nodes)
    rows = []
    for one in profiles:
        nodes = dict(zip(identities(one.nodes), one.nodes, strict=True))
        if nodes.keys() != set(first):
            raise ValueError("two processes executed different nodes of one file")
        runs = np.array([nodes[key].run_ns for key in first], dtype=np.float64)
        sums = runs.sum(axis=0)
        rows.append(runs[:, sums <= stats.quantile(sums, QUIET)].mean(axis=1))
    return np.array(rows)


def identities(nodes: Sequence[Node]) -> list[tuple[str, str, str, int]]:
    """What tells the nodes of one file apart, whatever the order in which a process executes them: it is not always the same."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for node in nodes:
        key = (node.op, node.name, node.output)
        found.append((*key, seen[key]))
        seen[key] += 1
    return found


def _absent(profiles: Sequence[Profile]) -> str:
    """Why there are no times to share out; "" where there are."""
    reason = next((one.absent for one in profiles if one.absent), "")
    return reason or ("" if _times(profiles).sum(axis=1).all() else TOO_SMALL)


def _by_op(nodes: Sequence[Node]) -> dict[str, list[int]]:
    """Operator -> places of its nodes."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, node in enumerate(nodes):
        found[node.op].append(place)
    return dict(found)


def _providers(nodes: Iterable[Node]) -> str:
    """The provider of all nodes, or each with its number."""
    counted: Counter[str] = Counter()
    for node in nodes:
        counted[node.provider] += node.count
    if len(counted) == 1:
        return next(iter(counted))
    return ", ".join(f"{provider} {count}" for provider, count in counted.most_common())


def _spread(values: stats.Floats) -> Spread:
    return Spread(stats.median(values), float(values.min()), float(values.max()))


# ---------------------------------------------------------------------------------------------- two files


def difference(baseline: Sequence[Profile], candidate: Sequence[Profile], total: Spread) -> Difference:
    """What differs; profiles in the order of measurement, so that baseline[i] and candidate[i] ran one after the other.

    total: see Difference. Nodes are matched by name, then by operator, output and order. Raises ValueError for unequal numbers
    of processes, none, or processes of one file that executed different nodes.
    """
    if len(baseline) != len(candidate) or not baseline:
        raise ValueError(f"{len(baseline)} and {len(candidate)} processes are no pairs")
    moved = _moved(baseline[0].placed, candidate[0].placed)
    absent = _absent(baseline) or _absent(candidate)
    if absent:
        return Difference(total, (), (), moved, absent)
    old, new = baseline[0].nodes, candidate[0].nodes
    old_shares, new_shares = (
        side / side.sum(axis=1)[:, None] for side in (_times(baseline), _times(candidate))
    )

    def change(name: str, output: str, before: list[int], after: list[int]) -> Change:
        sides = ([old[place] for place in before], [new[place] for place in after])
        old_share, new_share = old_shares[:, before].sum(axis=1), new_shares[:, after].sum(axis=1)
        return Change(
            op=" → ".join(dict.fromkeys(node.op for side in sides for node in side)),
            name=name,
            output=output,
            nodes=(sum(node.count for node in sides[0]), sum(node.count for node in sides[1])),
            providers=(_providers(sides[0]), _providers(sides[1])),
            before=_spread(old_share),
            after=_spread(new_share * total.median),
            change=Spread(
                stats.median(new_share * total.median - old_share),
                float((new_share * total.low - old_share).min()),
                float((new_share * total.high - old_share).max()),
            ),
        )

    old_ops, new_ops = _by_op(old), _by_op(new)
    operators = [
        change("", "", old_ops.get(op, []), new_ops.get(op, [])) for op in dict.fromkeys([*old_ops, *new_ops])
    ]
    nodes = []
    for before, after in matched(old, new):
        places = ([] if before is None else [before], [] if after is None else [after])
        *_, node = [*(old[place] for place in places[0]), *(new[place] for place in places[1])]
        nodes.append(change(node.name, node.output, *places))

    def size(one: Change) -> float:
        return -abs(one.change.median)

    return Difference(
        total=total,
        operators=tuple(sorted(operators, key=size)),
        nodes=tuple(sorted(nodes, key=size)),
        moved=moved,
    )


def matched(old: Sequence[Node], new: Sequence[Node]) -> list[tuple[int | None, int | None]]:
    """Places of nodes that belong together, in the new order; a node without a partner has None beside it, the old ones last.

    First by a name that only one node on each side has, then by operator and output in the order of execution.
    """
    pairs: dict[int, int] = {}

    def match(key: Callable[[Node], object], *, single: bool) -> None:
        waiting: dict[object, deque[int]] = defaultdict(deque)
        taken = set(pairs.values())
        left = [place for place in range(len(new)) if place not in pairs]
        for place, node in enumerate(old):
            if place not in taken:
                waiting[key(node)].append(place)
        counted = Counter(key(new[place]) for place in left)
        for place in left:
            wanted = key(new[place])
            places = waiting.get(wanted)
            if places and wanted and (not single or (len(places) == 1 and counted[wanted] == 1)):
                pairs[place] = places.popleft()

    match(lambda node: node.name, single=True)
    match(lambda node: (node.op, node.output), single=False)
    alone = sorted(set(range(len(old))) - set(pairs.values()))
    return [(pairs.get(place), place) for place in range(len(new))] + [(place, None) for place in alone]


def _moved(old: Sequence[Node], new: Sequence[Node]) -> tuple[Moved, ...]:
    """Nodes that both sides have and that something else runs now, by operator, those that fell back first."""
    names: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for before, after in matched(old, new):
        if before is not None and after is not None and old[before].provider != new[after].provider:
            key = (new[after].op, old[before].provider, new[after].provider)
            names[key].append(new[after].name)
    found = [Moved(*key, tuple(one)) for key, one in names.items()]
    return tuple(sorted(found, key=lambda one: (not one.fell_back, -len(one.names))))


# ---------------------------------------------------------------------------------------------- without any timing


def counted(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[OperatorCount, ...]:
    """Operators by how many nodes two files hold, where that differs; what was added first, then what was removed."""
    found = [
        OperatorCount(op, before.get(op, 0), after.get(op, 0)) for op in dict.fromkeys([*before, *after])
    ]
    return tuple(
        sorted((one for one in found if one.before != one.after), key=lambda one: one.before - one.after)
    )
