"""The web report: one HTML file with its data, style, scripts and chart library, which works offline.

The script draws, filters and copies; it neither computes nor rounds a number (`page_data` brings values and
texts), but for the difference of two runs.

Charts are drawn by BokehJS from the installed package `bokeh`, which is never imported. Measured in November
2026 (headless Chromium 156, two shared cores, 10,000 points, 300 pairs of bars, one stepped front, under the
page's own security policy): BokehJS redraws in about a tenth of a second (96 ms after a zoom, 86 ms after a
filter). Plotly's WebGL points need eval and its SVG points take nine to eleven times as long, Apache ECharts
2.8 to 3.6 times; uPlot takes a quarter of the time, but no package on PyPI keeps a current one, and a canvas
of our own takes a third of the time but would be ours to maintain. So only a crowd of more than a thousand
points is painted by us, as a glyph that the library calls.

Data and chart library travel gzipped, as base64. As plain text the library alone would be 94 % of a page of
twelve records, and the exact numbers would be most of a page of thousands.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import __version__
from swapbench.errors import EnvironmentFailed
from swapbench.report.literature import PUBLISHED
from swapbench.report.page.data import page_data
from swapbench.report.rows.comparisons import NOT_COMPARED
from swapbench.report.tables import side_by_side
from swapbench.report.tables.html import as_fragment
from swapbench.report.tables.table import SIMULATED
from swapbench.texts import spaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swapbench.report.literature import Entry
    from swapbench.report.page.detail import Detail
    from swapbench.report.rows.comparisons import Comparisons
    from swapbench.report.tables.table import Table

ASSETS = resources.files("swapbench.report.page") / "assets"
SCRIPTS = (
    *("data.js", "fronts.js", "table.js", "chart.js", "detail.js"),
    *("view.js", "skins.js", "latex.js", "runs.js", "link.js", "page.js"),
)
"""Our own script, joined in this order; the last one starts the page."""
LIBRARY = ("bokeh.min.js", "bokeh-api.min.js")
"""The files of BokehJS that are needed, in the order in which they run."""
RUNTIMES_AT_MOST = 200
"""Rows of runtimes side by side; elements by the ten thousand slow down every redrawing of the page."""


def page_html(
    table: Table,
    details: Iterable[Detail],
    comparisons: Comparisons = NOT_COMPARED,
    literature: Sequence[Entry] = (),
    *,
    notes: Sequence[str] = (),
) -> str:
    """The whole page; the same arguments give the same text.

    Args:
        table: The records that are shown, in the order of the table.
        details: Of the records of the table, in any order.
        comparisons: What is known of the records beside others.
        literature: Published numbers, shown in a table of their own that says so.
        notes: Sentences about the runs, shown at the end.

    Raises:
        EnvironmentFailed: The chart library is not installed.
        KeyError: A row has no detail.
    """
    from jinja2 import Environment, StrictUndefined

    contents = page_data(table, details, comparisons.parities)
    text = json.dumps(contents, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    data = _packed(spaced(text))
    library = chart_library()
    # The data cannot contain the nonce, which is made from all of them.
    nonce = _digest(data)[:22].replace("+", "-").replace("/", "_")
    nonce_script = f"const STYLE_NONCE = {json.dumps(nonce)};\n{_asset('nonce.js')}"
    scripts = [nonce_script, "\n".join(map(_asset, SCRIPTS))]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in (*scripts, library))
    policy = (
        f"default-src 'none'; script-src {hashes}; "
        f"style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    every = comparisons.side_by_side(table.rows)
    sets = side_by_side.first_rows(every, RUNTIMES_AT_MOST)
    times = sorted(row.time for row in table.rows)
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(_asset("page.html")).render(
        policy=policy,
        nonce=nonce,
        style=_asset("page.css"),
        scripts=scripts,
        data=data,
        library=_packed(library),
        version=__version__,
        count=len(table.rows),
        doubtful=sum(1 for row in table.rows if row.doubts),
        runs=list(dict.fromkeys(spaced(row.run) for row in table.rows)),
        first=f"{times[0]:%Y-%m-%d}",
        last=f"{times[-1]:%Y-%m-%d}",
        machines=tuple(map(spaced, table.machines)),
        simulated=SIMULATED if table.data_simulated else "",
        only_some_simulated=any(row.data_simulated is False for row in table.rows),
        published=PUBLISHED,
        side_by_side=as_fragment(side_by_side.view(sets)) if sets else "",
        reasons=side_by_side.reasons(sets),
        more_runtimes=sum(len(one.rows) for one in every) - sum(len(one.rows) for one in sets),
        literature=literature,
        notes=notes,
    )


def page_data_of(html: str) -> object:
    """The data inside a page, as JSON values: what its script reads."""
    return json.loads(unpacked(html, "data"))


def unpacked(html: str, element: str) -> str:
    """The text that a page holds gzipped in the script element of this id."""
    opening = f'<script type="application/octet-stream" id="{element}">'
    start = html.index(opening) + len(opening)
    return gzip.decompress(base64.b64decode(html[start : html.index("<", start)])).decode()


def chart_library() -> str:
    """The source of BokehJS, as one script.

    Raises:
        EnvironmentFailed: It is not installed.
    """
    # Found without an import, which would start a web framework for nothing.
    package = importlib.util.find_spec("bokeh")
    folders = (package.submodule_search_locations if package else None) or []
    paths = [Path(folder, "server", "static", "js", name) for folder in folders for name in LIBRARY]
    missing = [path.name for path in paths if not path.is_file()]
    if missing or not paths:
        files = " and ".join(missing or LIBRARY)
        raise EnvironmentFailed(
            f"the web page needs BokehJS, but the package bokeh or its {files} is missing",
            remedy="pip install --force-reinstall bokeh",
        )
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
