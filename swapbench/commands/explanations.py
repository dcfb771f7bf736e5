"""Why a gate failed: a profile of both files says which operators grew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swapbench import bench, operators
from swapbench.commands.options import PROFILE_PROCESSES
from swapbench.errors import SwapbenchError
from swapbench.gate.comparison import Explanation, explanation
from swapbench.operators import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.commands.paired_runs import Judged, Session

LEAST_PROCESSES: Final = 3
"""Of each file: the range of three misses the median once in four times."""

BUDGET_S: Final = 8.0
"""Time for explaining one model."""


def explain(judged: Sequence[Judged], session: Session) -> tuple[Explanation, ...]:
    """Which operators grew in every model with a hard latency that failed; errors become reasons."""
    return tuple(
        _explanation(result, session)
        for result in judged
        if any(
            verdict.outcome == "FAIL" and session.hard(metric, result.pair.model)
            for metric, verdict in result.verdicts.items()
            if metric.startswith("latency_")
        )
        and result.times.failure is None
    )


def _explanation(result: Judged, session: Session) -> Explanation:
    model = result.pair.model
    try:
        baseline, candidate = bench.measure_operators(
            [file.pushed(session.device) for file in (result.pair.baseline, result.pair.candidate)],
            session.device,
            session.plan,
            PROFILE_PROCESSES,
            budget_s=BUDGET_S,
            progress=lambda stage, done, total: session.progress(f"{stage} {model}", done, total),
            clock=session.clock,
        )
        if len(baseline) < LEAST_PROCESSES:
            reason = f"{LEAST_PROCESSES} processes of each file did not fit into {BUDGET_S:g} s"
            return Explanation(model, reason=reason)
        p05 = result.verdicts["latency_p05"]
        total = Spread(1 + p05.change, 1 + p05.low, 1 + p05.high)
        return explanation(model, operators.difference(baseline, candidate, total))
    except SwapbenchError as error:
        return Explanation(model, reason=error.args[0])
    except Exception as error:  # noqa: BLE001 - a verdict stands whatever happens to its explanation
        return Explanation(model, reason=f"{type(error).__name__}: {' '.join(str(error).split())}")
