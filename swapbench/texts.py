r"""What is shown of texts that others wrote: names of files, messages of libraries, cells of manifests.

A terminal obeys escape sequences, a bidirectional mark turns what follows it around, and a spreadsheet
computes a cell that begins like a formula. Here such text becomes text.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Final

_JOINERS: Final = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
"""Letters of some scripts need them, and they move nothing."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode that steer instead of showing: controls, marks, surrogates, ends of lines."""
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FORMULA: Final = frozenset("=+-@\t\n\r＝＋－＠")
"""What a cell begins with that a spreadsheet computes, or skips to find such a one."""


def visible(text: str, keep: str = "") -> str:
    r"""The text with every character that steers a terminal as an escape: "\x1b[2J" is shown as `\u001b[2J`.

    The escapes are JSON's, so that JSON stays the same value.

    Args:
        text: on one line, or on several where `keep` has a newline.
        keep: characters that stay as they are.
    """
    return text if text.isprintable() else "".join(c if c in keep else _shown(c) for c in text)


def spaced(text: str) -> str:
    """The text with a space for every such character: for documents, which nothing can steer."""
    return text if text.isprintable() else "".join(" " if _steers(char) else char for char in text)


def inert_cell(text: str) -> str:
    """A cell of a CSV file that a spreadsheet and a terminal show as text: an apostrophe before a formula.

    Source: OWASP, CSV Injection.
    """
    return quoted_cell(visible(text, keep="\n\t"))


def quoted_cell(text: str) -> str:
    """The text with an apostrophe before a formula; `unquoted_cell` gives it back, also where it had one."""
    return f"'{text}" if _is_formula(text) else text


def unquoted_cell(text: str) -> str:
    """What `quoted_cell` made the text of."""
    return text[1:] if text[:1] == "'" and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet computes it, or would but for apostrophes."""
    return text[:1] in _FORMULA or (text[:1] == "'" and text.lstrip("'")[:1] in _FORMULA)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in _UNSEEN and char not in _JOINERS


@functools.cache
def _shown(char: str) -> str:
    if not _steers(char):
        return char
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return _SHORT.get(char) or "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
