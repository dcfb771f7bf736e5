"""The files of a report: the table's skins, the figures and the page, written whole into one folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swapbench import store
from swapbench.errors import EnvironmentFailed, UserError
from swapbench.files import write_atomically
from swapbench.report import figures, paper
from swapbench.report.choose.resampling import Evidence
from swapbench.report.literature import as_markdown as literature_markdown
from swapbench.report.page.detail import detail_of
from swapbench.report.page.document import page_html
from swapbench.report.rows.comparisons import comparisons_of
from swapbench.report.tables import html, latex
from swapbench.report.tables.sections import as_markdown
from swapbench.report.tables.table import as_csv, as_json, table_of
from swapbench.report.tables.view import Query, view_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.records import Record
    from swapbench.report.figures import Drawing
    from swapbench.report.literature import Entry
    from swapbench.report.tables.table import Table


EVERY_FIGURE = tuple(kind for kind in figures.KINDS if kind != "search")
"""All that are drawn from records alone."""


@dataclass(frozen=True)
class ReportFiles:
    """What was written.

    Attributes:
        no_figure: why there are no figures, or not all; "" where all were drawn.
        left_out_of_figure: labels of the rows that a figure lacks.
        fails_on: sentences about files that accept an attack species clearly more often than their fp32 file.
        no_page: why there is no page.
    """

    tables: tuple[Path, ...]
    figure: tuple[Path, ...]
    no_figure: str
    left_out_of_figure: tuple[str, ...]
    fails_on: tuple[str, ...]
    page: tuple[Path, ...] = ()
    no_page: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is missing, and what a person should know who reads nothing else."""
        absent = (("figure", self.no_figure), ("page", self.no_page))
        return (
            *(f"Attention: {text}" for text in self.fails_on),
            *(f"No {thing}: {why}" for thing, why in absent if why),
        )

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file of the report."""
        return (*self.tables, *self.figure, *self.page)


def write_report(
    records: Sequence[Record],
    folder: Path,
    relative_to: str | None = None,
    run_folders: Mapping[tuple[str, str], Path] | None = None,
    *,
    table: Table | None = None,
    kinds: Sequence[str] = ("pareto",),
    literature: Sequence[Entry] = (),
) -> ReportFiles:
    """Write the tables, the figures of some kinds and the page into a folder; a pure function of the runs.

    A figure of an earlier report that can no longer be drawn is removed.

    Args:
        records: of all runs.
        folder: made where it does not exist.
        relative_to: the network that ratios refer to; see references.compared_rows.
        run_folders: (run, record id) -> its run's folder, `folder` for those that are not named: where the
            scores are kept that the section on score parity compares, which parity.json holds in full.
        table: of these records and this reference, where it is known already.
        kinds: of the figures.
        literature: published numbers, for the page and literature.md.

    Raises:
        BadRecord: there are no records.
        UnknownName: no record is of the network `relative_to`.
        EnvironmentFailed: the folder cannot be written.
    """
    table = table or table_of(records, relative_to)
    folder_of = {(record.run, record.id): folder for record in records} | dict(run_folders or {})
    evidence = evidence_of(records, folder_of)
    drawings = {kind: figures.draw(kind, table, evidence) for kind in kinds}
    comparisons = comparisons_of(table.rows, records, folder_of)
    parities = comparisons.parities
    texts = {
        "table.md": as_markdown(table, comparisons),
        "table.csv": as_csv(table),
        "table.json": as_json(table) + "\n",
        "table.tex": latex.latex_of(table, Query()),
        "table.html": html.as_html(view_of(table)),
    }
    if literature:
        texts["literature.md"] = literature_markdown(literature)
    if parities:
        texts["parity.json"] = store.dumps([parity.as_json() for parity in parities]) + "\n"
    else:
        (folder / "parity.json").unlink(missing_ok=True)
    for name, text in texts.items():
        write_atomically(folder / name, text)
    written = [path for kind, drawing in drawings.items() for path in write_drawing(drawing, kind, folder)]
    why_not = [f"{kind}: {drawing.reason}" for kind, drawing in drawings.items() if not drawing.files]
    page, no_page = folder / "index.html", ""
    try:
        text = page_html(table, map(detail_of, records), comparisons, literature)
    except EnvironmentFailed as error:
        no_page = str(error)
        page.unlink(missing_ok=True)
    else:
        write_atomically(page, text)
    return ReportFiles(
        tables=tuple(folder / name for name in texts),
        figure=tuple(written),
        no_figure="; ".join(why_not),
        left_out_of_figure=tuple(
            dict.fromkeys(label for drawing in drawings.values() for label in drawing.left_out)
        ),
        fails_on=tuple(
            f"{parity.name} against {parity.reference}: {parity.found.sentence}"
            for parity in parities
            if parity.found.flag
        ),
        page=() if no_page else (page,),
        no_page=no_page,
    )


def write_figure(
    kind: str,
    table: Table | None,
    records: Sequence[Record],
    run_folders: Mapping[tuple[str, str], Path],
    folder: Path,
    options: figures.Options,
) -> tuple[Path, ...]:
    """Write one figure with its data.

    Args:
        kind: as in figures.draw, as are the table and the options.
        table: the rows to draw.
        records: of these rows.
        run_folders: (run, record id) -> its run's folder.
        folder: where the files go.
        options: how the figure is drawn.

    Raises:
        UserError: there is nothing to draw.
    """
    drawing = figures.draw(kind, table, evidence_of(records, run_folders), options)
    if not drawing.files:
        raise UserError(f"cannot draw the figure {kind}: {drawing.reason}")
    return write_drawing(drawing, kind, folder)


def write_paper(
    table: Table,
    query: Query,
    records: Sequence[Record],
    run_folders: Mapping[tuple[str, str], Path],
    folder: Path,
    options: figures.Options,
) -> tuple[Path, ...]:
    """Write an example paper with every table and figure of the rows that were asked for; see report.paper.

    Args:
        table: of all rows.
        query: which of them, and the columns of the first table.
        records: of these rows.
        run_folders: (run, record id) -> its run's folder.
        folder: where the files go.
        options: how the figures are drawn.
    """
    chosen = replace(table, rows=view_of(table, query).rows)
    evidence = evidence_of(records, run_folders)
    drawings = {kind: figures.draw(kind, chosen, evidence, options) for kind in EVERY_FIGURE}
    shown = {(row.run, row.record_id) for row in chosen.rows}
    comparisons = comparisons_of(
        chosen.rows, [record for record in records if (record.run, record.id) in shown], run_folders
    )
    wide = figures.page_of(options.style, options.width).wide
    return paper.write_paper(paper.Contents(chosen, query, comparisons, drawings, wide), folder)


def evidence_of(records: Sequence[Record], folder_of: Mapping[tuple[str, str], Path]) -> Evidence:
    """What figures and fronts are drawn from; folder_of: (run, record id) -> its run's folder."""
    return Evidence.of(records, lambda record: store.scores_path(folder_of[record.run, record.id], record.id))


def write_drawing(drawing: Drawing, kind: str, folder: Path) -> tuple[Path, ...]:
    """Write the files of a drawing as `<kind>.<suffix>`, and remove earlier ones that it does not have."""
    written = tuple(folder / f"{kind}.{suffix}" for suffix in drawing.files)
    for suffix in figures.SUFFIXES:
        for old in (folder / f"{kind}.{suffix}", *folder.glob(f"{kind}.[0-9]*.{suffix}")):
            if old not in written:
                old.unlink(missing_ok=True)
    for path, content in zip(written, drawing.files.values(), strict=True):
        write_atomically(path, content)
    return written
