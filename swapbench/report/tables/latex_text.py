"""Text as LaTeX sets it: escaped into plain ASCII, broken where it may be, and how much room it takes.

Nothing in a name can become a command, whatever the paper's encoding.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from swapbench.texts import spaced

CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",  # a bare one is a command in some languages
    "'": "{'}",
    "`": r"\textasciigrave{}",
    # At the start of a line of a table these two would belong to the line break before.
    "[": "{[}",
    "*": "{*}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "µ": r"\ensuremath{\mu}",
    "μ": r"\ensuremath{\mu}",
    "·": r"\ensuremath{\cdot}",
    "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
    "†": r"\ensuremath{\dagger}",
    "…": r"\dots{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
ACCENTS = dict(
    zip(
        (0x300, 0x301, 0x302, 0x303, 0x304, 0x306, 0x307, 0x308, 0x30A, 0x30B, 0x30C, 0x327),
        ("`", "'", "^", "~", "=", "u", ".", '"', "r", "H", "v", "c"),
        strict=True,
    )
)
"""Combining characters that every font can set."""


@functools.lru_cache(maxsize=2**16)
def escaped(text: str) -> str:
    """`text` so that LaTeX sets it as it is, in ASCII; what its fonts do not have is named: 'U+7DB2'."""
    text = "".join(map(_character, unicodedata.normalize("NFC", spaced(text))))
    return re.sub(r"([-,])(?=\1)", r"\1{}", text)  # two would become one other character


def _character(char: str) -> str:
    if char in CHARACTERS:
        return CHARACTERS[char]
    if unicodedata.category(char) == "Zs":
        return " "
    if char.isascii():
        return char
    parts = unicodedata.normalize("NFD", char)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and ord(parts[1]) in ACCENTS:
        return f"\\{ACCENTS[ord(parts[1])]}{{{parts[0]}}}"
    return f"U+{ord(char):04X}"


LONG = 16
"""A word with more letters may be broken at its dots, strokes and underscores."""


def flowing(text: str) -> str:
    """Escaped text whose long words, such as names of files, may be broken."""
    return " ".join(breakable(word) if len(word) > LONG else escaped(word) for word in text.split())


def breakable(text: str) -> str:
    """Escaped text that may be broken after each dot, stroke and underscore, and within what has none."""
    parts = re.findall(r"[^._/ -]{1,12}[._/ -]?|[._/ -]", spaced(text))
    return r"\allowbreak{}".join(map(escaped, parts))


EM = (
    ("ijlI.,:;!|'[]() ", 340),
    ("frst-_", 430),
    ("acegoz", 530),
    ("0123456789", 535),
    ("mwMW%@", 1000),
)
"""Letters and how wide the widest of them is, in thousandths of an em, so that sums are exact."""


@functools.lru_cache(maxsize=2**16)
def width_pt(text: str) -> float:
    """How wide a text is at 8 pt, the footnote size of a paper at 10 pt; rather more than less.

    After the widths of Computer Modern, which is wider than the Times of most journals.
    """
    return 8 * sum(next((em for letters, em in EM if char in letters), _em(char)) for char in text) / 1000


def _em(char: str) -> int:
    return 800 if char.isupper() or not char.isascii() else 600
