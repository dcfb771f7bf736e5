r"""The LaTeX skin of a view: one file that compiles as it is and that a paper can \input as it is.

Numbers stand alone in siunitx `S` columns, so that they align and a paper's own number style applies;
intervals follow in a column of their own. Every text is escaped into plain ASCII: nothing in a name can
become a command, whatever the paper's encoding.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.report.tables.column import Cell, Column
    from swapbench.report.tables.view import Line, View

# \@nodocument becomes \relax at \begin{document}: inside a paper the preamble is skipped.
_HEAD = r"""% Made by swapbench. It compiles as it is; in a paper: \input it, and load booktabs and siunitx.
\expandafter\ifx\csname @nodocument\endcsname\relax\else
\documentclass{article}
\usepackage[a3paper,landscape,margin=15mm]{geometry}
\usepackage{booktabs,siunitx}
\pagestyle{empty}
\def\swapbenchend{\end{document}}
\begin{document}
\fi
"""
_TAIL = "\\csname swapbenchend\\endcsname\n"

_CHARACTERS = {
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
_ACCENTS = dict(
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
    text = "".join(map(_character, unicodedata.normalize("NFC", text)))
    return re.sub(r"([-,])(?=\1)", r"\1{}", text)  # two would become one other character


def _character(char: str) -> str:
    if char in _CHARACTERS:
        return _CHARACTERS[char]
    if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Zs"}:
        return " "
    if char.isascii():
        return char
    parts = unicodedata.normalize("NFD", char)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and ord(parts[1]) in _ACCENTS:
        return f"\\{_ACCENTS[ord(parts[1])]}{{{parts[0]}}}"
    return f"U+{ord(char):04X}"


def as_latex(view: View) -> str:
    """The view as a `table` with booktabs rules, siunitx columns, best in bold, and its notes below."""
    asides = _asides(view)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        r"\sisetup{detect-weight,mode=text}% so that bold digits are bold",
        rf"\caption{{{' '.join(map(escaped, (view.caption, *_urgent(view))))}}}",
        rf"\begin{{tabular}}{{{' '.join(_specifications(view, asides))}}}",
        r"\toprule",
        " & ".join(map(_heading, view.columns, asides)) + r" \\",
    ]
    for group in view.groups:
        lines.append(r"\midrule")
        if group.title:
            width = len(asides) + sum(asides)
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escaped(group.title)}}}}} \\")
        lines += [_line(line, view, asides) for line in group.lines]
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip\raggedright\footnotesize"]
    lines += _notes(view)
    return _HEAD + "\n".join([*lines, r"\end{table}"]) + "\n" + _TAIL


def _urgent(view: View) -> Sequence[str]:
    """What must not be cut off with the notes."""
    return view.remarks[:1] if view.data_simulated else ()


def _asides(view: View) -> list[bool]:
    """Whether each column needs one more for what stands beside its numbers."""
    return [
        any(line.cells[place].aside for group in view.groups for line in group.lines)
        for place in range(len(view.columns))
    ]


def _specifications(view: View, asides: Sequence[bool]) -> list[str]:
    formats = []
    for place, (column, aside) in enumerate(zip(view.columns, asides, strict=True)):
        digits = [line.cells[place].digits for group in view.groups for line in group.lines]
        formats.append((_number_format(digits) if column.numeric else "l") + (r"@{\,}l" if aside else ""))
    return formats


def _number_format(digits: Sequence[str]) -> str:
    """An S column as wide as its widest number: 'S[table-format=2.3]'."""
    whole, fraction, sign = 1, 0, ""
    for text in digits:
        before, _, after = text.lstrip("-").partition(".")
        whole, fraction = max(whole, len(before)), max(fraction, len(after))
        sign = "-" if text.startswith("-") else sign
    return f"S[table-format={sign}{whole}.{fraction}]"


def _heading(column: Column, wide: bool) -> str:
    text = escaped(f"{column.title} ({column.unit})" if column.unit else column.title)
    return rf"\multicolumn{{2}}{{c}}{{{text}}}" if wide else f"{{{text}}}"


def _line(line: Line, view: View, asides: Sequence[bool]) -> str:
    cells = []
    for place, (cell, column, aside) in enumerate(zip(line.cells, view.columns, asides, strict=True)):
        dagger = r"\,\ensuremath{\dagger}" if line.doubtful and place == view.naming else ""
        cells.append(_cell(cell, column) + dagger)
        if aside:
            cells.append(rf"\footnotesize {escaped(cell.aside)}" if cell.aside else "")
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, column: Column) -> str:
    if cell.digits:
        return rf"\bfseries {cell.digits}" if cell.best else cell.digits
    mark = rf"\textsuperscript{{{cell.note}}}" if cell.note else ""
    text = escaped(cell.text) + mark
    return f"{{{text}}}" if column.numeric else text


def _notes(view: View) -> list[str]:
    remarks = view.remarks[len(_urgent(view)) :]
    lines = [" ".join(map(escaped, remarks))] if remarks else []
    lines += [rf"\ensuremath{{\dagger}} {escaped(text)}" for text in view.doubts]
    lines += [rf"\textsuperscript{{{number}}} {escaped(text)}" for number, text in enumerate(view.notes, 1)]
    return [rf"{line}\par" for line in lines]
