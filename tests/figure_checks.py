"""What must hold of the text of every figure: it is on the page, and no two pieces cover each other."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure
    from matplotlib.text import Text


def texts_of(figure: Figure) -> Iterator[Text]:
    """Every piece of text that is drawn; ticks outside the limits of their axis are not."""
    for axes in figure.axes:
        yield from (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts)  # type: ignore[attr-defined]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high and tick.label1.get_visible():
                    yield tick.label1
    for legend in figure.legends:
        yield from (legend.get_title(), *legend.get_texts())
    yield from figure.texts


def assert_legible(figure: Figure) -> None:
    """Draw the figure and check where its text is."""
    figure.canvas.draw()
    found = [(text, text.get_window_extent()) for text in texts_of(figure) if text.get_text().strip()]
    assert found
    page = figure.bbox.padded(0.01 * figure.dpi)
    for text, box in found:
        inside = page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1)
        assert inside, f"{text.get_text()!r} is cut off"
    for (one, here), (other, there) in itertools.combinations(found, 2):
        wide = min(here.x1, there.x1) - max(here.x0, there.x0)
        high = min(here.y1, there.y1) - max(here.y0, there.y0)
        covered = max(wide, 0.0) * max(high, 0.0)
        smaller = min(here.width * here.height, there.width * there.height)
        assert covered <= 0.03 * smaller, f"{one.get_text()!r} and {other.get_text()!r} cover each other"
