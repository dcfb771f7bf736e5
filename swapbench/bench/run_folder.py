"""A run's folder: its records, and `run.json`, which says what was asked for and whether it is finished."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from swapbench import store
from swapbench.files import content_of, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.bench.setup import Setup


def description(models: Sequence[ModelUnderTest], setup: Setup) -> dict[str, Any]:
    """What makes two runs the same: the files by content and shapes, the plan, the device and the data."""
    shapes = {model.record_id: model.graph.set_shapes for model in models if model.graph.set_shapes}
    return {
        "artifacts": sorted(f"{model.record_id} {model.sha256}" for model in models),
        "plan": setup.plan.model_dump(mode="json"),
        "device": setup.device.name,
        "data": setup.evaluation.digest if setup.evaluation else None,
        **({"setup": dict(setup.settings)} if setup.settings else {}),
        **({"shapes": shapes} if shapes else {}),
    }


def write_about(folder: Path, about: dict[str, Any], *, finished: bool) -> None:
    """Write `run.json`.

    Args:
        folder: the run's folder.
        about: the run's description and when it began.
        finished: whether every model has its record.
    """
    write_atomically(folder / "run.json", store.dumps({**about, "finished": finished}) + "\n")


def read_about(folder: Path) -> dict[str, Any] | None:
    """The content of `run.json`, or None where there is none that can be read."""
    try:
        about = json.loads(content_of(folder / "run.json"))
    except (OSError, ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) and {"description", "finished"} <= about.keys() else None


def unfinished(folder: Path, wanted: dict[str, Any]) -> bool:
    """True where `folder` holds an unfinished run of the description `wanted`."""
    about = read_about(folder)
    return about is not None and not about["finished"] and about["description"] == wanted


def record_ids(folder: Path) -> set[str]:
    """The ids of the records that a run has so far."""
    return {path.stem for path in (folder / "records").glob("*.json")}
