"""What a runtime made of a file: which operators it ran, on which element types, for how much of the time."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from swapbench.records.values import Absent, Frozen


class OperatorGroup(Frozen):
    """Nodes of one operator, run by one provider, with outputs of one element type.

    Attributes:
        op: in the words of the runtime that ran it, or of the file where nodes are only placed.
        provider: the execution provider or delegate that runs them.
        output: element types of their outputs, "" where the runtime does not say.
        nodes: how many.
        share: of the time of all operators, the median over processes; None where nodes are only placed.
    """

    op: str
    provider: str
    output: str = ""
    nodes: int = Field(ge=1)
    share: float | None = None

    @classmethod
    def of(cls, kind: tuple[str, str, str], nodes: int, share: float | None = None) -> OperatorGroup:
        """The group of a kind: operator, provider and element types of the outputs."""
        op, provider, output = kind
        return cls(op=op, provider=provider, output=output, nodes=nodes, share=share)


class OperatorProfile(Frozen):
    """A pass of its own under the runtime's profiler, whose times are no one else's.

    Attributes:
        executed: what ran, the most time first; () where `untimed` says why.
        placed: the nodes of the file's graph and what runs each; a delegate may make other nodes of its own.
        processes: fresh processes that were profiled.
        runs: of each process.
        untimed: why `executed` is empty.
    """

    executed: tuple[OperatorGroup, ...] = ()
    placed: tuple[OperatorGroup, ...] = ()
    processes: int
    runs: int
    untimed: str = ""


NOT_PROFILED: Final = Absent(
    absent="its operators were not profiled", remedy="Profile them in the run: swapbench run --profile"
)
"""What a record says without a profile; so do all older ones."""
