"""A browser and pages in it, for the tests of the web page: fixtures that a test file imports by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import made_records as made
import pytest

from swapbench.report.literature import literature
from swapbench.report.page.detail import detail_of
from swapbench.report.page.document import page_html
from swapbench.report.tables.table import table_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def records():
    """Twelve records, half with energy (the first at idle level), and one without speed and accuracy."""
    twelve = [
        one.model_copy(update={"power": made.power(10_000_000 + 400_000 * place, 1000 + 100 * place)})
        if place % 2 == 0
        else one
        for place, one in enumerate(made.demo())
    ]
    return [*twelve, made.record("empty", speed=made.NOT_SCORED, accuracy=made.NOT_SCORED, minute=5)]


@pytest.fixture(scope="module")
def browser():
    """Chromium, for the tests of one file."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The page of `records()`."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(
        page_html(table_of(records()), map(detail_of, records()), literature=literature()), encoding="utf-8"
    )
    return path


@pytest.fixture
def open_page(browser):
    """Opens a file; at the end nothing may have gone wrong in it, and no other address been asked."""
    contexts, wrong = [], []

    def open_file(path: Path, fragment: str = "", **options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None,
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: (
                wrong.append(request.url) if request.url.partition("#")[0] != path.as_uri() else None
            ),
        )
        page.goto(path.as_uri() + fragment)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert wrong == []
