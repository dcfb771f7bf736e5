r"""An example paper: every table and every figure of some records on a page of two columns, ready to compile.

`paper.tex` holds the page; each table is a file that a paper can \input as it is, each figure a PDF at the
size at which it prints, with its caption in a file beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.files import write_atomically
from swapbench.report.tables.latex import PACKAGES, PAGE, as_latex, latex_of
from swapbench.report.tables.sections import sections_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from swapbench.report.figures import Drawing
    from swapbench.report.rows.comparisons import Comparisons
    from swapbench.report.tables.table import Table
    from swapbench.report.tables.view import Query

_PAPER = rf"""% Made by swapbench: pdflatex paper.tex, twice.
\documentclass[10pt,twocolumn]{{article}}
\usepackage[{PAGE}]{{geometry}}
\usepackage{{graphicx,{PACKAGES}}}
\title{{Tables and figures}}
\author{{}}
\date{{}}
\begin{{document}}
\maketitle
\sloppy
"""


@dataclass(frozen=True)
class Contents:
    """What a paper shows.

    Attributes:
        table: whose rows it tells of.
        query: what was asked of the first table.
        comparisons: what is known of its rows beside others.
        drawings: figures by kind.
        wide: whether they are as wide as the page.
    """

    table: Table
    query: Query
    comparisons: Comparisons
    drawings: Mapping[str, Drawing]
    wide: bool


def write_paper(contents: Contents, folder: Path) -> tuple[Path, ...]:
    """Write the paper and what it includes into a folder; `paper.tex` comes first.

    Raises:
        EnvironmentFailed: the folder cannot be written.
    """
    files: dict[str, str | bytes] = {}
    body = [_PAPER]
    for name, text in _tables(contents):
        files[f"tables/{name}.tex"] = text
        body.append(rf"\input{{tables/{name}}}")
    body.append(r"\clearpage")
    environment = "figure*" if contents.wide else "figure"
    for kind, drawing in contents.drawings.items():
        for page, picture in drawing.pages("pdf").items():
            name = f"{kind}{page}"
            files[f"figures/{name}.pdf"] = picture
            caption = rf"\input{{figures/{kind}.tex}}" if not page else r"\par\footnotesize(continued)"
            body += [
                rf"\begin{{{environment}}}[!t]",
                r"\centering",
                rf"\includegraphics{{figures/{name}.pdf}}",
                caption,
                rf"\end{{{environment}}}",
            ]
        if drawing.files:
            files[f"figures/{kind}.tex"] = drawing.files["tex"]
    paper = "\n".join([*body, r"\end{document}", ""])
    for name, content in files.items():
        write_atomically(folder / name, content)
    write_atomically(folder / "paper.tex", paper)
    return (folder / "paper.tex", *(folder / name for name in files))


def _tables(contents: Contents) -> Iterator[tuple[str, str]]:
    """Each table with the stem of its file."""
    yield "chosen", latex_of(contents.table, contents.query)
    for section in sections_of(contents.table, contents.comparisons):
        if section.rows:
            name = re.sub(r"\W+", "-", section.title.lower()).strip("-")
            selection = section.selection(contents.table)
            yield name, as_latex(selection, contents.query.notes, f"{section.title}.")
