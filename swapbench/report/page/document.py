"""The web report: one HTML file that holds data, style, script and chart library, and works from disk without a network.

The script draws and filters; it neither computes nor rounds a number (`page_data` brings values and texts). Charts are drawn by
BokehJS out of the installed package `bokeh` (never imported): its canvas redraws ten thousand points in about a tenth of
a second, where SVG needs several times that, and it runs without eval, so that the page can forbid everything that it does not contain.

Data travel as gzipped JSON in base64: exact numbers of thousands of records would otherwise be most of the file.
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
from swapbench.report.tables.table import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swapbench.report.literature import Entry
    from swapbench.report.page.detail import Detail
    from swapbench.report.rows.fp32_parity import RowParity
    from swapbench.report.tables.table import Table

ASSETS = resources.files("swapbench.report.page") / "assets"
SCRIPTS = ("data.js", "table.js", "chart.js", "detail.js", "page.js")
"""Our own script, joined in this order; the last one starts the page."""
LIBRARIES = ("bokeh.min.js", "bokeh-api.min.js")


def page_html(
    table: Table,
    details: Iterable[Detail],
    parities: Sequence[RowParity] = (),
    literature: Sequence[Entry] = (),
    *,
    notes: Sequence[str] = (),
) -> str:
    """The whole page; the same arguments give the same text.

    details: of the records of the table, in any order. literature: published numbers, in a table of their own that says so.
    notes: sentences about the runs, shown at the end.
    Raises EnvironmentFailed where the chart library is not installed.
    """
    from jinja2 import Environment, StrictUndefined

    data = page_data(table, details, parities)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    packed = base64.b64encode(gzip.compress(text.encode(), 5, mtime=0)).decode()
    own = "\n".join(_asset(name) for name in SCRIPTS)
    # No name in the data can contain it: it is made from all of them.
    nonce = _digest(packed)[:22].replace("+", "-").replace("/", "_")
    first = f"const STYLE_NONCE = {json.dumps(nonce)};\n{_asset('nonce.js')}"
    scripts = [first, own, *(_library(name) for name in LIBRARIES)]
    hashes = " ".join(f"'sha256-{_digest(one)}'" for one in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; "
        f"style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    times = sorted(row.time for row in table.rows)
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(_asset("page.html")).render(
        policy=policy,
        nonce=nonce,
        style=_asset("page.css"),
        scripts=scripts,
        data=packed,
        version=__version__,
        count=len(table.rows),
        doubtful=sum(1 for row in table.rows if row.doubts),
        runs=list(dict.fromkeys(row.run for row in table.rows)),
        first=f"{times[0]:%Y-%m-%d}",
        last=f"{times[-1]:%Y-%m-%d}",
        machines=table.machines,
        simulated=SIMULATED if table.data_simulated else "",
        only_some_simulated=any(row.data_simulated is False for row in table.rows),
        published=PUBLISHED,
        literature=literature,
        notes=notes,
    )


def page_data_of(html: str) -> object:
    """The data inside a page, as JSON values: what its script reads."""
    start = html.index(_DATA_BEGINS) + len(_DATA_BEGINS)
    return json.loads(gzip.decompress(base64.b64decode(html[start : html.index("<", start)])))


_DATA_BEGINS = '<script type="application/octet-stream" id="data">'


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _library(name: str) -> str:
    """A file of BokehJS as it is, found without importing the package, which would start a web framework for nothing."""
    found = importlib.util.find_spec("bokeh")
    places = (found.submodule_search_locations if found else None) or []
    for place in places:
        path = Path(place, "server", "static", "js", name)
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise EnvironmentFailed(
        f"the web page needs {name} of the package bokeh, which is not there",
        remedy="pip install --force-reinstall bokeh",
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
