"""The public Python face: what a notebook or a script needs of swapbench, documented and stable.

    import swapbench as sb

    run = sb.load("reports/demo")                        # a notebook shows its table
    run.frame()                                          # a pandas DataFrame: a row a record
    run.pareto(x="latency_p50", y="acer")                # which files are worth considering, how surely
    run.figure("pareto", x="latency_p50", y="acer")      # as in a paper
    sb.measure(["net.onnx", "net.tflite"], budget_s=10)  # the engine of `swapbench run`
    sb.compare("old.tflite", "new.tflite").verdict       # the engine of `swapbench compare`
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

from swapbench import store
from swapbench.catalog import Folders
from swapbench.errors import SwapbenchError, UserError
from swapbench.ports import unheard, unseen

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from swapbench.gate.comparison import GateResult
    from swapbench.pad.metrics import ErrorRates, TargetRates
    from swapbench.pad.scores import Scored
    from swapbench.ports import Progress
    from swapbench.records import Interval, Proportion, Record
    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.summary import Row
    from swapbench.report.tables.table import Table

    AnyPath = str | Path

__all__ = ["Errors", "Figure", "Run", "compare", "load", "measure", "metrics"]


# ---- Runs ----


@dataclass(frozen=True)
class Figure:
    """A figure, shown by a notebook as it is.

    Attributes:
        kind: "pareto", "latency", ...
        files: Suffix -> bytes: png, svg, pdf, and csv with the data behind it.
    """

    kind: str
    files: dict[str, bytes] = field(repr=False)

    def save(self, folder: AnyPath) -> tuple[Path, ...]:
        """Write `<kind>.png`, `.svg`, `.pdf` and `.csv` into a folder, which is created if need be."""
        from swapbench.files import write_atomically

        paths = []
        for suffix, content in self.files.items():
            paths.append(Path(folder) / f"{self.kind}.{suffix}")
            write_atomically(paths[-1], content)
        return tuple(paths)

    def _repr_png_(self) -> bytes:
        return self.files["png"]

    def _repr_svg_(self) -> str:
        return self.files["svg"].decode("utf-8")


@dataclass(frozen=True)
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
        return tuple(record for folder in self.folders for record in store.load_run(folder))

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
            (NA), and `missing` says why; `doubts` lists the reasons to distrust a record.
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
            width: "column" or "page".

        Raises:
            UnknownName: There is no such figure, column, style or width.
            UserError: These records hold nothing to draw; the message says why.
        """
        from swapbench.report import figures

        drawing = figures.draw(kind, self.table, self._evidence, x=x, y=y, style=style, width=width)
        if not drawing.files:
            raise UserError(f"no {kind} figure: {drawing.reason}")
        return Figure(kind, dict(drawing.files))

    @cached_property
    def _evidence(self) -> Evidence:
        from swapbench.report.choose.resampling import Evidence

        folder_of = {
            (record.run, record.id): folder for folder in self.folders for record in store.load_run(folder)
        }
        return Evidence.of(
            self.records, lambda record: store.scores_path(folder_of[record.run, record.id], record.id)
        )

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
    progress: Progress = unseen,
) -> Run:
    """Measure model files as `swapbench run` does, into `reports/<name>/` of the working folder.

    Args:
        files: ONNX and TFLite files; one that cannot be measured is among the run's `failures`, the others go
            on.
        budget_s: Time for the speed phase of all files together; None takes 5 s a file.
        device: The name of a device, as `swapbench devices` lists them.
        data: A dataset to score the files on; None measures no accuracy.
        card: The model card (name or file) of files that carry none of their own.
        name: Of the run; None takes the time. A run of that name that was interrupted goes on.
        progress: Called with (stage, done, total).

    Raises:
        SwapbenchError: What went wrong with the first file, where none could be measured.
    """
    from swapbench.commands.options import DataOptions, DeviceOptions, RunFolder, TimingOptions
    from swapbench.commands.run import RunRequest, run

    paths = [files] if isinstance(files, (str, Path)) else list(files)
    request = RunRequest(
        files=tuple(Path(path) for path in paths),
        device=DeviceOptions(device),
        data=DataOptions(None if data is None else Path(data)),
        card=card,
        accuracy=data is not None,
        timing=TimingOptions(budget_s=budget_s),
        output=RunFolder(name),
    )
    if not paths:
        raise UserError("no files were named", remedy='Name ONNX or TFLite files, e.g. measure(["net.onnx"])')
    notes: list[str] = []
    result = run(Folders(Path.cwd()), request, progress=progress, say=notes.append)
    if not result.records:
        raise result.failures[0][1]
    return Run((result.folder,), notes=(*notes, *result.notes), failures=result.failures)


def compare(
    baseline: AnyPath,
    candidate: AnyPath,
    *,
    budget_s: float | None = None,
    device: str = "local",
    data: AnyPath | None = None,
    policy: AnyPath | None = None,
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
    from swapbench.commands.options import GATE_BUDGET_S, DataOptions, PairOptions

    request = GateRequest(
        (str(baseline),),
        (str(candidate),),
        PairOptions(
            policy=None if policy is None else Path(policy),
            device=device,
            budget_s=GATE_BUDGET_S if budget_s is None else budget_s,
        ),
        None if data is None else DataOptions(Path(data)),
    )
    return compare_files(Folders(Path.cwd()), request, progress=progress, say=unheard)


# ---- Error rates ----


@dataclass(frozen=True)
class Errors:
    """Error rates of ISO/IEC 30107-3 with their intervals; see `swapbench.pad.metrics` for each definition.

    Attributes:
        rates: All that was computed: ErrorRates at a threshold frozen on development scores, else
            TargetRates.
        remarks: What weakens these numbers, one sentence each.
    """

    rates: ErrorRates | TargetRates
    remarks: tuple[str, ...] = ()

    @property
    def threshold(self) -> float | None:
        """The frozen or given threshold; None where there is none."""
        return None if self._decided is None else self._decided.threshold

    @property
    def apcer(self) -> float | None:
        """APCER of the worst species at the threshold; None without one."""
        return None if self._decided is None else self._decided.apcer

    @property
    def apcer_by_species(self) -> dict[str, Proportion]:
        """Species -> APCER with its interval; empty without a threshold."""
        return {} if self._decided is None else dict(self._decided.apcer_by_species)

    @property
    def bpcer(self) -> Proportion | None:
        """BPCER with its interval; None without a threshold."""
        return None if self._decided is None else self._decided.bpcer

    @property
    def acer(self) -> float | None:
        """(APCER + BPCER) / 2 at the threshold; None without one."""
        return None if self._decided is None else self._decided.acer

    @property
    def acer_interval(self) -> Interval | None:
        """Of a bootstrap over subjects; None with fewer than two, or without a threshold."""
        return self.rates.acer_interval

    @property
    def eer(self) -> float:
        """EER of the scores themselves: what the literature calls HTER at the target's EER."""
        return self.rates.eer

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return self.rates.auc

    def frame(self) -> pd.DataFrame:
        """Every rate as a row: name, value, unit, low, high, note."""
        import pandas as pd

        from swapbench.pad.error_lines import lines_of_rates

        return pd.DataFrame(
            [
                {
                    "name": line.name,
                    "value": line.number,
                    "unit": line.unit,
                    "low": None if line.bounds is None else line.bounds.low,
                    "high": None if line.bounds is None else line.bounds.high,
                    "note": line.note,
                }
                for line in lines_of_rates(self.rates)
            ]
        )

    @property
    def _decided(self) -> Any:
        from swapbench.pad.metrics import ErrorRates

        return self.rates if isinstance(self.rates, ErrorRates) else self.rates.at_threshold

    def _repr_html_(self) -> str:
        html: str = self.frame().to_html(index=False)
        return html

    def __str__(self) -> str:
        from swapbench.pad.error_lines import lines_of_rates

        lines = [
            f"{line.name}: {line.value}" + (f" [{line.interval}]" if line.interval else "")
            for line in lines_of_rates(self.rates)
        ]
        return "\n".join([*lines, *(f"note: {remark}" for remark in self.remarks)])


def metrics(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    species: ArrayLike | None = None,
    subjects: ArrayLike | None = None,
    presentations: ArrayLike | None = None,
    dev: tuple[ArrayLike, ArrayLike] | None = None,
    threshold: float | None = None,
) -> Errors:
    """Error rates of scores, as `swapbench metrics` computes them of a score file.

    A presentation is accepted as bona fide iff its score >= the threshold. The threshold is frozen at the EER
    of the development scores, or given; without either there are only the rates that need none (EER, AUC,
    BPCER at APCER).

    Args:
        scores: [n] numbers that rise with bona fide; NaN is a failure to acquire.
        labels: [n], True or 1 for bona fide, False or 0 for an attack; or the words "bona_fide" and "attack".
        species: [n], the attack instrument species of every attack (ignored for bona fide): APCER is that of
            the worst. None counts all attacks as one species.
        subjects: [n], who is shown: intervals come from a bootstrap over subjects. None counts every
            presentation as a person of its own, and a remark says that the intervals are too narrow.
        presentations: [n], which presentation a frame belongs to; its frames are averaged. None: each row is
            one.
        dev: (scores, labels) of a development split that shares nobody with the test split.
        threshold: One that was frozen elsewhere; not together with `dev`.

    Raises:
        BadDataset: A class is missing, lengths differ, or an attack has no species.
        UserError: A label is neither bona fide nor an attack, or both `dev` and `threshold` are given.
    """
    from swapbench.pad import metrics as rates_of

    if dev is not None and threshold is not None:
        raise UserError("dev and threshold exclude each other", remedy="Give one of them")
    remarks = []
    if subjects is None:
        remarks.append("no subjects: every presentation counts as a person, so intervals are too narrow")
    if species is None:
        remarks.append("no species: all attacks count as one, so APCER is an average over species")
    test = _scored("test", scores, labels, (species, subjects, presentations))
    if dev is None:
        return Errors(rates_of.describe_without_dev(test, threshold), tuple(remarks))
    return Errors(rates_of.evaluate(_scored("dev", *dev, (None, None, None)), test), tuple(remarks))


def _scored(split: str, scores: ArrayLike, labels: ArrayLike, known: tuple[ArrayLike | None, ...]) -> Scored:
    """Arrays of one split as a table with a row a presentation."""
    import numpy as np

    from swapbench.errors import BadDataset
    from swapbench.pad.scores import Scored, mean_by_presentation

    numbers = np.asarray(scores, dtype=np.float64)
    is_bona_fide = _bona_fide(np.asarray(labels))
    columns = [None if column is None else np.asarray(column).astype(str) for column in known]
    shapes = {array.shape for array in (numbers, is_bona_fide, *columns) if array is not None}
    if len(shapes) > 1 or numbers.ndim != 1:
        raise BadDataset(
            f"the {split} arrays have the shapes {', '.join(map(str, sorted(shapes)))}",
            remedy="Give one-dimensional arrays of one length",
        )
    species, subjects, presentations = columns
    if presentations is None:
        presentations = np.array([f"{split} {row}" for row in range(numbers.size)], dtype=np.object_)
    attacks = np.full(numbers.shape, "attack") if species is None else species
    frames = Scored(
        presentations.astype(np.object_),
        (presentations if subjects is None else subjects).astype(np.object_),
        is_bona_fide,
        np.where(is_bona_fide, "", attacks).astype(np.object_),
        numbers,
    )
    return mean_by_presentation(frames)[0]


def _bona_fide(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Labels as booleans: True for bona fide."""
    import numpy as np

    words = {"True": True, "1": True, "1.0": True, "bona_fide": True}
    words |= {"False": False, "0": False, "0.0": False, "attack": False}
    texts = labels.astype(str).ravel()
    unknown = sorted(set(texts.tolist()) - set(words))
    if unknown:
        raise UserError(
            f"{unknown[0]!r} is not a label",
            remedy='Label bona fide presentations 1 or "bona_fide" and attacks 0 or "attack"',
        )
    return np.array([words[text] for text in texts.tolist()], dtype=np.bool_).reshape(labels.shape)
