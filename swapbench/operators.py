"""Where the time of a run goes, operator by operator, and what differs between two files.

Pure functions of profiles. A profiler slows down what it watches, so absolute times here are only hints. One
file: each operator's share of the time of all operators. Two files: everything as a share of the first file's
time, so that what grew can be told from what only has a larger share because something else shrank.

Disturbance only adds time, so only the fastest quarter of a process's runs counts. Shares within a process
are steady even where all of it is slowed down, and times are not: how two files compare as a whole is
therefore measured without a profiler, in pairs, and given here. A share is the median over processes, its
range the lowest and the highest of them; the range of a change includes that of the whole. The range of n
processes misses the true median once in 2^(n-1) times (the sign test).
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from swapbench import stats
from swapbench.records import OperatorGroup, OperatorProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from swapbench.ports import Node, Profile
    from swapbench.records import RuntimeUsed

QUIET: Final = 0.25
"""Share of the runs of a process that counts: its fastest."""

NOTICEABLE: Final = 0.005
"""An operator grew if it did in every process, and by at least this share of the baseline's time."""

TOO_SMALL: Final = "the graph is too small for the profiler's clock, which counts whole microseconds"

FALLBACKS: Final = frozenset({"CPUExecutionProvider", "builtin"})
"""What runs a node that no other provider or delegate took."""


@dataclass(frozen=True)
class Spread:
    """Median and range over processes; see the head of this module."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class OperatorShare:
    """An operator type or a node, and its share of the time of all.

    Attributes:
        op: operator type.
        name: of the node, "" for an operator type.
        output: types and shapes of the node's outputs.
        nodes: how many nodes this is.
        providers: what runs them, with their numbers where there are several.
        share: of the time of all operators.
        hint_ns: time of a run spent in it, with the profiler.
    """

    op: str
    name: str
    output: str
    nodes: int
    providers: str
    share: Spread
    hint_ns: float


@dataclass(frozen=True)
class Breakdown:
    """Where the time of one file goes.

    Attributes:
        used: the runtime and its settings.
        processes: how many were profiled.
        runs: of each process.
        run_ns: a run without the profiler, in the quietest process; a hint, no more.
        operators_ns: all operators of a run with the profiler, in the quietest process; None where they are
            absent.
        operators: by type, the heaviest first; () where `absent` says why.
        nodes: one by one, the heaviest first; () where `absent` says why.
        absent: why there are no shares.
    """

    used: RuntimeUsed
    processes: int
    runs: int
    run_ns: float
    operators_ns: float | None
    operators: tuple[OperatorShare, ...]
    nodes: tuple[OperatorShare, ...]
    absent: str = ""


@dataclass(frozen=True)
class Change:
    """An operator type or a node before and after.

    Attributes:
        op: operator type; both where a node of one name became another operator.
        name: of the node, "" for an operator type.
        output: types and shapes of the node's outputs.
        nodes: how many nodes before and after, 0 where that side has none.
        providers: what runs them, before and after.
        before: share of the baseline's time.
        after: share of the baseline's time; above 1 it takes longer than all of the baseline.
        change: after minus before.
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
        """It grew in every process, and by enough to notice."""
        return self.change.low > 0 and self.change.median >= NOTICEABLE


@dataclass(frozen=True)
class Moved:
    """Nodes of one operator that another provider or delegate runs now; `names` are those of the nodes."""

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
    """How a candidate spends its time differently from its baseline.

    Attributes:
        total: the candidate's time as a share of the baseline's, measured without a profiler.
        operators: by type, the largest change first; () where `absent` says why.
        nodes: one by one, the largest change first; () where `absent` says why.
        moved: nodes that another provider or delegate runs now.
        absent: why there are no changes.
    """

    total: Spread
    operators: tuple[Change, ...]
    nodes: tuple[Change, ...]
    moved: tuple[Moved, ...]
    absent: str = ""

    @property
    def grew(self) -> tuple[Change, ...]:
        """The operator types that grew, the most first."""
        return tuple(
            sorted(
                (change for change in self.operators if change.grew), key=lambda change: -change.change.median
            )
        )


@dataclass(frozen=True)
class Contents:
    """What a model file holds, whatever runs it; `ops` is operator -> number of nodes."""

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


# ------------------------------------------------------------ one file


def breakdown(profiles: Sequence[Profile]) -> Breakdown:
    """Where the time of one file goes, from at least one process.

    Raises:
        ValueError: the processes executed different nodes.
    """
    first = profiles[0]
    absent = _absent(profiles)
    run_ns = min(stats.median(profile.run_ns) for profile in profiles)
    if absent:
        return Breakdown(first.used, len(profiles), len(first.run_ns), run_ns, None, (), (), absent)
    times = _times(profiles)
    whole = times.sum(axis=1)
    shares, operators_ns = times / whole[:, None], float(whole.min())

    def shared(op: str, name: str, output: str, indices: Sequence[int]) -> OperatorShare:
        nodes = [first.nodes[index] for index in indices]
        share = _spread(shares[:, indices].sum(axis=1))
        count = sum(node.count for node in nodes)
        return OperatorShare(op, name, output, count, _providers(nodes), share, share.median * operators_ns)

    nodes = [shared(node.op, node.name, node.output, [index]) for index, node in enumerate(first.nodes)]
    operators = [shared(op, "", "", indices) for op, indices in _by_op(first.nodes).items()]

    def weight(operator: OperatorShare) -> float:
        return -operator.share.median

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
    """Mean time of each node over the fastest quarter of the runs, in ns: `[processes, nodes of the first]`.

    The mean and not the median, because the profilers count in whole microseconds and many nodes take only a
    few.
    """
    first = identities(profiles[0].nodes)
    rows = []
    for profile in profiles:
        nodes = dict(zip(identities(profile.nodes), profile.nodes, strict=True))
        if nodes.keys() != set(first):
            raise ValueError("two processes executed different nodes of one file")
        runs = np.array([nodes[key].run_ns for key in first], dtype=np.float64)
        sums = runs.sum(axis=0)
        rows.append(runs[:, sums <= stats.quantile(sums, QUIET)].mean(axis=1))
    return np.array(rows)


def identities(nodes: Sequence[Node]) -> list[tuple[str, str, str, int]]:
    """What tells the nodes of one file apart; the order in which processes execute them varies."""
    seen: Counter[tuple[str, str, str]] = Counter()
    keys = []
    for node in nodes:
        key = (node.op, node.name, node.output)
        keys.append((*key, seen[key]))
        seen[key] += 1
    return keys


def _absent(profiles: Sequence[Profile]) -> str:
    """Why there are no times to share out; "" where there are."""
    reason = next((profile.absent for profile in profiles if profile.absent), "")
    return reason or ("" if _times(profiles).sum(axis=1).all() else TOO_SMALL)


def _by_op(nodes: Sequence[Node]) -> dict[str, list[int]]:
    """Operator -> indices of its nodes."""
    indices: dict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        indices[node.op].append(index)
    return dict(indices)


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


def summary(profiles: Sequence[Profile]) -> OperatorProfile:
    """What a record keeps of the profiles of one file, from at least one process: nodes by kind.

    Raises:
        ValueError: the processes executed different nodes.
    """
    first, absent = profiles[0], _absent(profiles)
    executed: list[OperatorGroup] = []
    if not absent:
        times = _times(profiles)
        shares = times / times.sum(axis=1)[:, None]
        for kind, (nodes, places) in _by_kind(first.nodes).items():
            share = stats.median(shares[:, places].sum(axis=1))
            executed.append(OperatorGroup.of(kind, nodes, share))
    return OperatorProfile(
        executed=tuple(sorted(executed, key=lambda group: -(group.share or 0.0))),
        placed=tuple(
            OperatorGroup.of(kind, nodes)
            for kind, (nodes, _) in sorted(_by_kind(first.placed).items(), key=lambda item: -item[1][0])
        ),
        processes=len(profiles),
        runs=len(first.nodes[0].run_ns if first.nodes else first.run_ns),
        untimed=absent,
    )


def _by_kind(nodes: Sequence[Node]) -> dict[tuple[str, str, str], tuple[int, list[int]]]:
    """(operator, provider, element types) -> how many nodes, and their places."""
    kinds: dict[tuple[str, str, str], tuple[int, list[int]]] = {}
    for place, node in enumerate(nodes):
        count, places = kinds.setdefault((node.op, node.provider, element_types(node.output)), (0, []))
        kinds[node.op, node.provider, element_types(node.output)] = (count + node.count, [*places, place])
    return kinds


def element_types(output: str) -> str:
    """The element types of a node's outputs, each once: 'float 1x32x40x40, int64 4' -> 'float, int64'."""
    types = (tensor.split(maxsplit=1)[0] for tensor in output.split(", ") if tensor.strip())
    return ", ".join(dict.fromkeys(types))


# ------------------------------------------------------------ two files


def difference(baseline: Sequence[Profile], candidate: Sequence[Profile], total: Spread) -> Difference:
    """What differs between two files. Nodes are matched by name, then by operator, output and order.

    Args:
        baseline: profiles in the order of measurement.
        candidate: the same; candidate[i] ran next to baseline[i].
        total: the candidate's time as a share of the baseline's, measured without a profiler.

    Raises:
        ValueError: unequal numbers of processes, none, or processes of one file that executed different
            nodes.
    """
    if len(baseline) != len(candidate) or not baseline:
        raise ValueError(f"{len(baseline)} and {len(candidate)} processes do not form pairs")
    moved = _moved(baseline[0].placed, candidate[0].placed)
    absent = _absent(baseline) or _absent(candidate)
    if absent:
        return Difference(total, (), (), moved, absent)
    old, new = baseline[0].nodes, candidate[0].nodes
    old_shares, new_shares = (
        side / side.sum(axis=1)[:, None] for side in (_times(baseline), _times(candidate))
    )

    def change(name: str, output: str, before: list[int], after: list[int]) -> Change:
        sides = ([old[index] for index in before], [new[index] for index in after])
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
        indices = ([] if before is None else [before], [] if after is None else [after])
        *_, node = [*(old[index] for index in indices[0]), *(new[index] for index in indices[1])]
        nodes.append(change(node.name, node.output, *indices))

    def size(change: Change) -> float:
        return -abs(change.change.median)

    return Difference(
        total=total,
        operators=tuple(sorted(operators, key=size)),
        nodes=tuple(sorted(nodes, key=size)),
        moved=moved,
    )


def matched(old: Sequence[Node], new: Sequence[Node]) -> list[tuple[int | None, int | None]]:
    """Places of nodes that belong together, in the new order, then the old nodes without a partner.

    A node without a partner has None beside it. Nodes are matched first by a name that only one node on each
    side has, then by operator and output in the order of execution.
    """
    pairs: dict[int, int] = {}

    def match(key: Callable[[Node], object], *, single: bool) -> None:
        waiting: dict[object, deque[int]] = defaultdict(deque)
        taken = set(pairs.values())
        left = [index for index in range(len(new)) if index not in pairs]
        for index, node in enumerate(old):
            if index not in taken:
                waiting[key(node)].append(index)
        counted = Counter(key(new[index]) for index in left)
        for index in left:
            wanted = key(new[index])
            indices = waiting.get(wanted)
            if indices and wanted and (not single or (len(indices) == 1 and counted[wanted] == 1)):
                pairs[index] = indices.popleft()

    match(lambda node: node.name, single=True)
    match(lambda node: (node.op, node.output), single=False)
    alone = sorted(set(range(len(old))) - set(pairs.values()))
    return [(pairs.get(index), index) for index in range(len(new))] + [(index, None) for index in alone]


def _moved(old: Sequence[Node], new: Sequence[Node]) -> tuple[Moved, ...]:
    """Nodes of both sides that something else runs now, by operator, those that fell back first."""
    names: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for before, after in matched(old, new):
        if before is not None and after is not None and old[before].provider != new[after].provider:
            key = (new[after].op, old[before].provider, new[after].provider)
            names[key].append(new[after].name)
    groups = [Moved(*key, tuple(of_key)) for key, of_key in names.items()]
    return tuple(sorted(groups, key=lambda group: (not group.fell_back, -len(group.names))))


# ------------------------------------------------------------ without any timing


def counted(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[OperatorCount, ...]:
    """Operators whose number of nodes differs between two files: the added first, then the removed."""
    counts = (
        OperatorCount(op, before.get(op, 0), after.get(op, 0)) for op in dict.fromkeys([*before, *after])
    )
    changed = [count for count in counts if count.before != count.after]
    return tuple(sorted(changed, key=lambda count: count.before - count.after))
