"""The public Python face: what a notebook or a script needs of swapbench, documented and stable.

    import swapbench as sb

    run = sb.load("reports/demo")                        # a notebook shows its table
    run.frame()                                          # a pandas DataFrame: a row a record
    run.pareto(x="latency_p50", y="acer")                # which files are worth considering, how surely
    run.figure("pareto", x="latency_p50", y="acer")      # as in a paper
    sb.measure(["net.onnx", "net.tflite"], budget_s=10)  # the engine of `swapbench run`
    sb.compare("old.tflite", "new.tflite").verdict       # the engine of `swapbench compare`
    sb.side_by_side(["net.onnx", "net.tflite"])          # one network under several runtimes
    sb.metrics(scores, labels, species=species)          # ISO/IEC 30107-3 with intervals

Every function does what the command of the same purpose does, by the same code, and raises
`swapbench.errors.SwapbenchError` with one sentence that says what is wrong and what to do. Heavy packages
(pandas, matplotlib, the runtimes) are imported when they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench.catalog import Folders
from swapbench.errors import SwapbenchError, UserError
from swapbench.pad.arrays import Errors, metrics
from swapbench.ports import unheard, unseen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from swapbench.commands.side_by_side import RuntimesCompared
    from swapbench.gate.comparison import GateResult
    from swapbench.ports import Progress
    from swapbench.records import Record
    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table

    AnyPath = str | Path

__all__ = ["Errors", "Figure", "Run", "compare", "load", "measure", "metrics", "side_by_side"]


@dataclass(frozen=True)
class Figure:
    """A figure, shown by a notebook as it is.

    Attributes:
        kind: "pareto", "latency", ...
        files: Suffix -> bytes: png, svg, pdf, csv with the data behind it, and the caption as txt and tex; a
            further page has its number before the suffix, as in "2.png".
    """

    kind: str
    files: dict[str, bytes] = field(repr=False)

    def save(self, folder: AnyPath) -> tuple[Path, ...]:
        """Write `<kind>.png` and its kin into a folder, which is created if need be."""
        from swapbench.report.figures import Drawing
        from swapbench.report.writer import write_drawing

        return write_drawing(Drawing(self.files), self.kind, Path(folder))

    def _repr_png_(self) -> bytes:
        return self.files["png"]

    def _repr_svg_(self) -> str:
        return self.files["svg"].decode("utf-8")


@dataclass(frozen=True, repr=False)
class Run:
    """The records of one or several runs, with their tables, figures and fronts.

    Attributes:
        folders: Where the records lie.
        relative_to: The network that ratios refer to; None takes the one with the most MACs.
        notes: What the measurement had to say, one sentence each.
        failures: (file, error) of what could not be measured.
    """

    folders: tuple[Path, ...]
    relative_to: str | None = None
    notes: tuple[str, ...] = ()
    failures: tuple[tuple[str, SwapbenchError], ...] = ()

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """Every record as it lies on disk, with all raw samples."""
        return self._kept[0]

    @cached_property
    def _kept(self) -> tuple[tuple[Record, ...], dict[tuple[str, str], Path]]:
        from swapbench.commands.report import records_of

        return records_of(self.folders)

    @cached_property
    def table(self) -> Table:
        """The rows of the report: one a record, each compared with its reference."""
        from swapbench.report.rows.row_cache import rows_of_run
        from swapbench.report.tables.table import table_of_rows

        rows = [row for folder in self.folders for row in rows_of_run(folder)]
        return table_of_rows(rows, self.relative_to)

    def frame(self, columns: str | Sequence[str] = ()) -> pd.DataFrame:
        """All numbers as a pandas DataFrame, a row a record, in the order of the report's table.

        Args:
            columns: Columns of the report, e.g. "latency_p50,acer", each with its interval; none means all.

        Returns:
            Columns carry their units (`latency_p50_ns`, `file_bytes`, `energy_above_idle_uj`; rates are
            fractions) and their intervals (`..._low`, `..._high`). A number that was not measured is missing
            (`isna`), and `missing` says why; `doubts` lists the reasons to distrust a record.
        """
        from swapbench.report.tables.frame import to_frame

        return to_frame(self.table, columns)

    def pareto(self, x: str = "latency_p50", y: str = "acer") -> pd.DataFrame:
        """Which files are worth considering: nothing comparable is better in both columns.

        Args:
            x: A column of the report, e.g. "latency_p50", "energy", "file_bytes".
            y: Another one, e.g. "acer".

        Returns:
            A row a record: `file`, `place`, `data`, both columns in their base units, `on_front` (NA where a
            number is missing), `share_on_front` (how sure: the share of bootstrap draws with the file on the
            front; NA where nothing was drawn), and `missing`, the reason why a file could not be judged.

        Raises:
            UnknownName: There is no such column.
            UserError: A column is text, or neither more nor less of it is better.
        """
        import pandas as pd

        from swapbench.report.choose.fronts import comparisons
        from swapbench.report.tables.columns import numeric_column

        columns = [numeric_column(name, self.table.rows) for name in (x, y)]
        names = [column.fields[0] for column in columns]
        lines: list[dict[str, Any]] = []
        for comparison in comparisons(self.table.rows, columns, self._evidence):
            judged: list[tuple[Row, bool | None, float | None, str]] = [
                (standing.row, standing.on_front, standing.share, "") for standing in comparison.standings
            ]
            judged += [(lacking.row, None, None, lacking.reason) for lacking in comparison.not_judged]
            for row, on_front, share, missing in judged:
                group = {"file": row.label, "place": comparison.machine, "data": comparison.data}
                numbers = {name: column.number(row) for name, column in zip(names, columns, strict=True)}
                standing = {"on_front": on_front, "share_on_front": share, "missing": missing}
                lines.append(group | {"data_simulated": row.data_simulated} | numbers | standing)
        types = dict.fromkeys((*names, "share_on_front"), "Float64")
        return pd.DataFrame(lines).astype(types | dict.fromkeys(("on_front", "data_simulated"), "boolean"))

    def figure(
        self,
        kind: str = "pareto",
        *,
        x: str = "latency_p50",
        y: str = "acer",
        style: str = "screen",
        width: str = "column",
    ) -> Figure:
        """Draw a figure of the report.

        Args:
            kind: pareto, swap, latency, species, det, sustained or fps.
            x: The horizontal axis of a Pareto figure: a column of the report.
            y: Its vertical axis.
            style: "screen" or "paper".
            width: "column", "page", or inches as text.

        Raises:
            UnknownName: There is no such figure, column, style or width.
            UserError: These records hold nothing to draw; the message says why.
        """
        from swapbench.report import figures

        options = figures.Options(x, y, style, width)
        drawing = figures.draw(kind, self.table, self._evidence, options)
        if not drawing.files:
            raise UserError(f"no {kind} figure: {drawing.reason}")
        return Figure(kind, dict(drawing.files))

    @cached_property
    def _evidence(self) -> Evidence:
        from swapbench.report.writer import evidence_of

        return evidence_of(*self._kept)

    def __repr__(self) -> str:
        return f"<Run of {len(self.table.rows)} records: {', '.join(map(str, self.folders))}>"

    def _repr_html_(self) -> str:
        from swapbench.report.tables.html import as_fragment
        from swapbench.report.tables.view import view_of

        return as_fragment(view_of(self.table))

    def __str__(self) -> str:
        from swapbench.report.tables.sections import as_markdown

        return as_markdown(self.table)


def load(*folders: AnyPath, relative_to: str | None = None) -> Run:
    """The records of one or several runs.

    Args:
        folders: Run folders, e.g. "reports/demo".
        relative_to: The network that ratios refer to; None takes the one with the most MACs.

    Raises:
        BadRecord: A folder holds no records, or one that cannot be read.
        UnknownName: No record is of the network `relative_to`.
    """
    if not folders:
        raise UserError("no run was named", remedy='Name a run folder, e.g. load("reports/demo")')
    run = Run(tuple(Path(folder) for folder in folders), relative_to)
    _ = run.table  # a folder that cannot be read is told of here, not at the first use
    return run


def measure(
    files: AnyPath | Sequence[AnyPath],
    *,
    budget_s: float | None = None,
    device: str = "local",
    data: AnyPath | None = None,
    card: str | None = None,
    name: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = unseen,
) -> Run:
    """Measure model files as `swapbench run` does, into `reports/<name>/` of the working folder.

    Args:
        files: Model files; one that cannot be measured is among the run's `failures`, the others go
            on.
        budget_s: Time for the speed phase of all files together; None takes 5 s a file.
        device: The name of a device, as `swapbench devices` lists them.
        data: A dataset to score the files on; None measures no accuracy.
        card: The model card (name or file) of files that carry none of their own.
        name: Of the run; None takes the time. A run of that name that was interrupted goes on.
        shapes: By name, the shapes of inputs whose lengths a file leaves free; None leaves the batch at 1.
        progress: Called with (stage, done, total).

    Raises:
        SwapbenchError: What went wrong with the first file, where none could be measured.
    """
    from swapbench.commands.options import DeviceOptions, JudgedData, RunFolder, TimingOptions
    from swapbench.commands.run import RunRequest, finish, run
    from swapbench.devices.leases import only_meanwhile

    paths = [files] if isinstance(files, (str, Path)) else list(files)
    request = RunRequest(
        files=tuple(str(path) for path in paths),
        device=DeviceOptions(device),
        data=JudgedData(None if data is None else Path(data)),
        card=card,
        accuracy=data is not None,
        timing=TimingOptions(budget_s=budget_s),
        output=RunFolder(name),
        shapes=_whole(shapes),
    )
    if budget_s is not None and not budget_s > 0:
        raise UserError(f"a budget of {budget_s} s is no time to measure in", remedy="Give seconds above 0")
    if not paths:
        raise UserError("no files were named", remedy='Name model files, e.g. measure(["net.onnx"])')
    notes: list[str] = []
    with only_meanwhile():
        result = run(Folders(Path.cwd()), request, progress=progress, say=notes.append)
    if not result.records:
        raise result.failures[0][1]
    finish(result)
    return Run((result.folder,), notes=(*notes, *result.notes), failures=result.failures)


def compare(
    baseline: AnyPath,
    candidate: AnyPath,
    *,
    budget_s: float | None = None,
    device: str = "local",
    data: AnyPath | None = None,
    policy: AnyPath | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = unseen,
) -> GateResult:
    """Compare two model files, folders or runs: measured again, in turns, with a control.

    The engine of `swapbench compare`.

    Args:
        baseline: A model file, a folder of them, or a run.
        candidate: The same; files are matched by name, a single file on each side is a pair.
        budget_s: Time for the rounds of one model; None takes 20 s.
        device: The name of a device, as `swapbench devices` lists them.
        data: A dataset to score both sides on; None compares no accuracy.
        policy: A policy file with budgets; None takes the default ones.
        shapes: By name, the shapes of inputs whose lengths a file leaves free; None leaves the batch at 1.
        progress: Called with (stage, done, total).

    Returns:
        Its `verdict` is PASS, FAIL, INCONCLUSIVE or INVALID; `checks` holds every comparison with its
        numbers.

    Raises:
        UserError: Nothing matches, or the policy cannot be used.
        EnvironmentFailed: The baseline does not run.
    """
    from swapbench.commands.gate import GateRequest
    from swapbench.commands.gate import compare as compare_files
    from swapbench.commands.options import GATE_BUDGET_S, JudgedData, PairOptions
    from swapbench.devices.leases import only_meanwhile

    request = GateRequest(
        (str(baseline),),
        (str(candidate),),
        PairOptions(
            policy=None if policy is None else Path(policy),
            device=device,
            budget_s=GATE_BUDGET_S if budget_s is None else budget_s,
            shapes=_whole(shapes),
        ),
        None if data is None else JudgedData(Path(data)),
    )
    with only_meanwhile():
        return compare_files(Folders(Path.cwd()), request, progress=progress, say=unheard)


def side_by_side(
    files: AnyPath | Sequence[AnyPath],
    runtimes: Sequence[str] = (),
    *,
    budget_s: float | None = None,
    device: str = "local",
    data: AnyPath | None = None,
    card: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = unseen,
) -> RuntimesCompared:
    """One network under several runtimes: measured together, in turns, without a verdict.

    The engine of `swapbench compare` with several runtimes.

    Args:
        files: The model files of one network, or of several: matched by their names or cards, and precision.
        runtimes: By name, the first of which the others are compared with; none means all.
        budget_s: Time to time each network; None takes 20 s.
        device: The name of a device, as `swapbench devices` lists them.
        data: A dataset to score the files on; None compares their outputs on built-in patterns.
        card: The model card (name or file) of files that carry none of their own.
        shapes: By name, the shapes of inputs whose lengths a file leaves free; None leaves the batch at 1.
        progress: Called with (stage, done, total).

    Returns:
        Its `networks` hold the rows that stand side by side, each with its ratios to the `reference`, and how
        far their scores are apart; `failures` and `notes` say the rest.

    Raises:
        UserError: No network is there for two of the runtimes.
        SwapbenchError: What went wrong with the first file, where none could be measured.
    """
    from swapbench.commands.options import GATE_BUDGET_S, JudgedData, PairOptions
    from swapbench.commands.side_by_side import SideBySideRequest, compare_runtimes
    from swapbench.devices.leases import only_meanwhile

    paths = [files] if isinstance(files, (str, Path)) else list(files)
    options = PairOptions(
        runtimes=tuple(runtimes),
        device=device,
        budget_s=GATE_BUDGET_S if budget_s is None else budget_s,
        card=card,
        shapes=_whole(shapes),
    )
    judged = None if data is None else JudgedData(Path(data))
    request = SideBySideRequest(tuple(map(str, paths)), options, judged)
    with only_meanwhile():
        return compare_runtimes(Folders(Path.cwd()), request, progress=progress, say=unheard)


def _whole(shapes: Mapping[str, Sequence[int]] | None) -> dict[str, tuple[int, ...]]:
    """The shapes with lengths of Python's own; UserError where one is not a whole number above 0."""
    whole = {name: tuple(int(length) for length in shape) for name, shape in (shapes or {}).items()}
    for name, shape in whole.items():
        if any(length < 1 for length in shape) or list(shape) != list((shapes or {})[name]):
            raise UserError(f"the shape of {name} is not made of whole numbers above 0")
    return whole
