"""Face boxes that do not come with the dataset: from a table of their own, or from another detector.

A table has a row a picture or a frame, as in `--boxes boxes.csv`:

    path            of the file, or an end of it that no other file of the data has, such as its name
    frame           its number in a video, where boxes are of frames
    x y width height, or left top right bottom         in pixels of the upright frame

Names may have the prefixes box, bbox and face, and be shortened: bbox_x, w, h, xmin, ymin, x1, y1, x2, y2.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench.data.dataset import RowFault, grouped, raise_first
from swapbench.data.facebox import detector_name
from swapbench.data.manifests import box_of
from swapbench.data.tables import column_name, read_table
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from swapbench.data.dataset import Dataset
    from swapbench.data.samples import Box, Detector, Sample
    from swapbench.data.tables import TextTable

    Key = tuple[str, int]
    """Name of a file and number of a frame."""

_NAMES: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "image", "image_path", "name", "video"),
    "frame": ("frame", "frame_id", "frame_number", "frame_index"),
    "x": ("x", "left", "xmin", "x_min", "x0", "x1"),
    "y": ("y", "top", "ymin", "y_min", "y0", "y1"),
    "width": ("width", "w"),
    "height": ("height", "h"),
    "right": ("right", "xmax", "x_max", "x2", "x1"),
    "bottom": ("bottom", "ymax", "y_max", "y2", "y1"),
}
_PREFIXES = ("", "box_", "bbox_", "face_")
_KNOWN = frozenset(f"{prefix}{name}" for names in _NAMES.values() for name in names for prefix in _PREFIXES)


def read_boxes(path: Path) -> dict[Key, Box | None]:
    """File and frame -> its box; None where the row says that there is no face.

    Raises:
        BadDataset: the file cannot be read, lacks a column, or rows are wrong, equal ones counted together
    """
    try:
        table = read_table(path, _KNOWN, ())
    except OSError as error:
        raise BadDataset(f"cannot read {path}: {error.strerror}") from error
    columns = _columns(table)
    boxes: dict[Key, Box | None] = {}
    faults: list[BadDataset] = []
    for number, line in enumerate(table.lines):
        row = {ours: table.columns[column][number].strip() for ours, column in columns.items()}
        frame = row.get("frame") or "0"
        key = row["path"].replace("\\", "/"), int(frame) if frame.isdecimal() else -1
        place = f"line {line}"
        try:
            box = _box(row)
        except BadDataset as error:
            faults.append(RowFault(path, place, error.args[0], error.remedy))
            continue
        if key[1] < 0:
            faults.append(RowFault(path, place, f"frame {frame!r} is not a non-negative integer"))
        elif boxes.setdefault(key, box) != box:
            faults.append(RowFault(path, place, f"{key[0]} has another box in an earlier line"))
    raise_first(grouped(faults))
    return boxes


def _columns(table: TextTable) -> dict[str, int]:
    """Our name -> the place of the column; corners where there is no width and height."""
    header = [column_name(name) for name in table.header]
    places: dict[str, int] = {}
    for ours, names in _NAMES.items():
        usual = (f"{prefix}{name}" for name in names for prefix in _PREFIXES)
        place = next((header.index(name) for name in usual if name in header), None)
        if place is not None and place not in places.values():
            places[ours] = place
    if table.headless:
        raise BadDataset(f"{table.path} has no header", remedy="Begin it with: path,x,y,width,height")
    sides = ("width", "height") if "width" in places else ("right", "bottom")
    missing = [ours for ours in ("path", "x", "y", *sides) if ours not in places]
    if missing:
        raise BadDataset(
            f"{table.path} lacks the columns {', '.join(missing)}",
            remedy=f"It needs path, x, y, width and height; it has {', '.join(table.header)}.",
        )
    return {ours: place for ours, place in places.items() if ours in {"path", "frame", "x", "y", *sides}}


def _box(row: Mapping[str, str]) -> Box | None:
    if "width" in row:
        return box_of([row["x"], row["y"], row["width"], row["height"]])
    edges = [row["x"], row["y"], row["right"], row["bottom"]]
    try:
        left, top, right, bottom = map(float, edges if any(edges) else ("nan",) * 4)
    except ValueError:
        raise BadDataset(f"box {', '.join(edges)} is not four numbers") from None
    return box_of([row["x"], row["y"], str(right - left), str(bottom - top)]) if any(edges) else None


def with_boxes(datasets: Sequence[Dataset], path: Path) -> tuple[Dataset, ...]:
    """The same folds with the boxes of a table in place of the dataset's own; the basis counts them.

    Whole videos, of which frames are spread evenly, keep what the dataset says.

    Raises:
        BadDataset: the table cannot be used, or none of its rows is of a sample
    """
    boxes = read_boxes(path)
    places = {sample.path for dataset in datasets for split in dataset.splits.values() for sample in split}
    name_of = _names(places, {name for name, _ in boxes})

    def found(sample: Sample) -> Box | None:
        return None if sample.spread else boxes.get((name_of.get(sample.path, ""), sample.frame))

    changed = []
    for dataset in datasets:
        splits = {
            split: tuple(
                sample if (box := found(sample)) is None else replace(sample, box=box) for sample in samples
            )
            for split, samples in dataset.splits.items()
        }
        every = [sample for samples in dataset.splits.values() for sample in samples]
        given = sum(found(sample) is not None for sample in every)
        if not given:
            raise BadDataset(
                f"no row of {path} is of a file of {dataset.name}",
                remedy=f"Name files as the dataset does, such as {every[0].name if every else 'a.jpg'}.",
            )
        basis = (*dataset.basis, f"{path.name} gives the face boxes of {given} of {len(every)} frames")
        changed.append(replace(dataset, splits=splits, basis=basis))
    return tuple(changed)


def with_detector(datasets: Sequence[Dataset], detector: Detector) -> tuple[Dataset, ...]:
    """The same folds with another detector, which the basis names where a frame needs one."""
    changed = []
    for dataset in datasets:
        splits = {
            split: tuple(replace(sample, detector=detector) for sample in samples)
            for split, samples in dataset.splits.items()
        }
        basis = (
            *dataset.basis,
            f"faces that the dataset gives no box for are found by {detector_name(detector)}",
        )
        changed.append(replace(dataset, splits=splits, basis=basis))
    return tuple(changed)


def _names(files: Iterable[Path], named: Container[str]) -> dict[Path, str]:
    """File -> the longest end of its path that a row names and that is the end of no other file's."""
    ends: dict[Path, list[str]] = {}
    for file in files:
        parts = file.absolute().as_posix().split("/")
        wholes = ("/".join(parts[start:]) for start in range(len(parts)))
        ends[file] = [end for end in wholes if end in named]
    files_with = Counter(end for of_file in ends.values() for end in of_file)
    chosen = {
        file: next((end for end in of_file if files_with[end] == 1), "") for file, of_file in ends.items()
    }
    return {file: end for file, end in chosen.items() if end}
