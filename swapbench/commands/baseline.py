"""Keeping model files as the baseline that the next gate compares with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from swapbench import catalog, store
from swapbench.commands.baseline_folder import INDEX, Baseline, BaselineFile, write_baseline
from swapbench.commands.sides import side
from swapbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.modelfile import Shapes


def save(
    folders: Folders,
    sources: Sequence[str],
    out: Path | None = None,
    device: str = "local",
    shapes: Shapes | None = None,
) -> Path:
    """Keep model files as the baseline, replacing the one before.

    Args:
        folders: The working folder.
        sources: Files, folders or runs, see `sides.side`; the newest run if there are none.
        out: The folder of the baseline; None for reports/baseline.
        device: The device that is noted where the files come from no run.
        shapes: Of inputs whose lengths a file leaves free, for what is counted.

    Returns:
        The folder, which is whole or as it was before.

    Raises:
        BadModelFile: No gate could measure a file.
        UserError: Two different files have one name, or `out` is another kind of folder.
        EnvironmentFailed: The disk is full.
    """
    if not sources:
        newest = store.newest_run(folders.reports)
        if newest is None:
            raise UserError(
                "there is no run in reports/ yet", remedy="Give files, or make a run: swapbench run"
            )
        sources = [str(newest)]
    source = side(folders, sources, "file")
    paths = [source.named(name) for name in sorted({path.name for path in source.files})]
    plans = {record.plan for record in source.records}
    first = source.records[0] if source.records else None
    index = Baseline(
        time=datetime.now(UTC),
        machine=first.machine if first else catalog.device(folders, device).describe(),
        plan=next(iter(plans)) if len(plans) == 1 else None,
        run=first.run if first else None,
        files=tuple(BaselineFile.of(path, shapes or {}) for path in paths),
    )
    target = out or folders.reports / "baseline"
    if target.exists() and not (target / INDEX).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists but is not a baseline", remedy="Choose another folder with --out")
    write_baseline(target, index, paths, source.records)
    return target
