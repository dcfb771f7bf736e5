"""Expressions over a network's outputs, as a card writes them: `sum(abs(Identity) * Identity_1)`.

    expression = product, { ("+" | "-"), product } ;
    product    = signed, { ("*" | "/"), signed } ;
    signed     = "-", signed | element ;
    element    = atom, [ "[", whole number, "]" ] ;
    atom       = number | output | function, "(", expression, ")" | "(", expression, ")" ;
    output     = name | "'", any other character, "'" | '"', any other character, '"' ;

A name of letters, digits and underscores stands for the output of that name; others are quoted. An output is
the list of its numbers, in the file's order. Operators work number by number, and one number goes with a list
of any length. `sum`, `mean`, `max` and `min` make one number of a list, `x[1]` takes one from it, `softmax`
keeps its length, and so do `abs`, `exp`, `log`, `sqrt` and `sigmoid`.

Text and depth are bounded, and nothing else than this is understood: a card is data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Protocol

import numpy as np

from swapbench.errors import BadCard, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    """The numbers of one output, or of a part of an expression, for every frame: [frames, numbers]."""

MOST_CHARACTERS: Final = 1000
MOST_NESTED: Final = 30

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
           |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
           |(?P<quoted>"[^"]+"|'[^']+')
           |(?P<sign>[-+*/()\[\]]))""",
    re.VERBOSE,
)
_REMEDY = 'An expression looks like this: expression = "sum(abs(Identity) * Identity_1)".'


def sigmoid(values: Values) -> Values:
    """The logistic function, without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def softmax(values: Values) -> Values:
    """Softmax of every row of [frames, numbers], without overflow."""
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    shares: Values = raised / raised.sum(axis=1, keepdims=True)
    return shares


FUNCTIONS: Final[Mapping[str, Callable[[Values], Values]]] = {
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "sum": lambda values: values.sum(axis=1, keepdims=True),
    "mean": lambda values: values.mean(axis=1, keepdims=True),
    "max": lambda values: values.max(axis=1, keepdims=True),
    "min": lambda values: values.min(axis=1, keepdims=True),
}
_OPERATORS: Final[Mapping[str, Callable[[Values, Values], Values]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}


class _Part(Protocol):
    """A part of an expression."""

    def values(self, outputs: Mapping[str, Values]) -> Values:
        """What it is worth, [frames, numbers]; BadCard where lengths do not fit."""
        ...


@dataclass(frozen=True)
class _Number:
    number: float

    def values(self, outputs: Mapping[str, Values]) -> Values:
        del outputs
        return np.array([[self.number]])


@dataclass(frozen=True)
class _Output:
    name: str

    def values(self, outputs: Mapping[str, Values]) -> Values:
        return outputs[self.name]


@dataclass(frozen=True)
class _Element:
    of: _Part
    index: int

    def values(self, outputs: Mapping[str, Values]) -> Values:
        numbers = self.of.values(outputs)
        if self.index >= numbers.shape[1]:
            raise BadCard(
                f"the expression takes number {self.index} of {numbers.shape[1]}, which are counted from 0"
            )
        return numbers[:, self.index : self.index + 1]


@dataclass(frozen=True)
class _Applied:
    function: str
    to: _Part

    def values(self, outputs: Mapping[str, Values]) -> Values:
        return FUNCTIONS[self.function](self.to.values(outputs))


@dataclass(frozen=True)
class _Negative:
    of: _Part

    def values(self, outputs: Mapping[str, Values]) -> Values:
        return -self.of.values(outputs)


@dataclass(frozen=True)
class _Combined:
    operator: str
    left: _Part
    right: _Part

    def values(self, outputs: Mapping[str, Values]) -> Values:
        left, right = self.left.values(outputs), self.right.values(outputs)
        if 1 not in (left.shape[1], right.shape[1]) and left.shape[1] != right.shape[1]:
            raise BadCard(
                f"the expression combines {left.shape[1]} numbers with {right.shape[1]} by {self.operator!r}"
            )
        return _OPERATORS[self.operator](left, right)


@dataclass(frozen=True)
class Expression:
    """An expression that was read.

    Attributes:
        text: as the card has it.
        outputs: the names of the outputs in it, in the order of their first use.
        whole: its outermost part.
    """

    text: str
    outputs: tuple[str, ...]
    whole: _Part

    def scores(self, outputs: Mapping[str, Values]) -> Values:
        """One number for every frame, computed in double precision.

        Args:
            outputs: by name, each [frames, numbers].

        Returns:
            [frames]; not finite where the arithmetic overflows or divides by zero.

        Raises:
            BadCard: lists of different lengths are combined, an index is out of range, or a list remains.
        """
        with np.errstate(all="ignore"):
            numbers = self.whole.values(outputs)
        if numbers.shape[1] != 1:
            raise BadCard(
                f"the expression {self.text!r} gives {numbers.shape[1]} numbers per image, not one",
                remedy="Take their sum, mean, max or min, or one of them by its index.",
            )
        frames = next(iter(outputs.values())).shape[0]
        return np.ascontiguousarray(np.broadcast_to(numbers[:, 0], frames))


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        BadCard: it is too long, too deep, not of the grammar above, or it names no output.
    """
    if len(text) > MOST_CHARACTERS:
        raise BadCard(f"the expression has {len(text)} characters; at most {MOST_CHARACTERS} are read")
    parser = _Parser(text)
    whole = parser.sum_of_products()
    parser.expect_end()
    if not parser.outputs:
        raise BadCard(f"the expression {text!r} names no output", remedy=_REMEDY)
    return Expression(text, tuple(parser.outputs), whole)


class _Parser:
    """Recursive descent over the tokens of a text; a method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.outputs: dict[str, None] = {}
        self._text, self._nested, self._next = text, 0, 0
        self._tokens = self._split()

    def _split(self) -> list[_Token]:
        tokens, place, end = [], 0, len(self._text.rstrip())
        while place < end:
            match = _TOKEN.match(self._text, place)
            if match is None or match.lastgroup is None:
                start = place + len(self._text[place:]) - len(self._text[place:].lstrip())
                self._refuse(f"holds {self._text[start]!r} at character {start + 1}")
            tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            place = match.end()
        return [*tokens, _Token("end", "", end)]

    def _refuse(self, what: str) -> NoReturn:
        raise BadCard(f"the expression {self._text!r} {what}", remedy=_REMEDY)

    def _taken(self, *signs: str) -> str:
        """The next sign where it is one of `signs`, which is then passed; "" where it is not."""
        token = self._tokens[self._next]
        if token.kind != "sign" or token.text not in signs:
            return ""
        self._next += 1
        return token.text

    def _expect(self, sign: str) -> None:
        if not self._taken(sign):
            token = self._tokens[self._next]
            found = f"{token.text!r} at character {token.place + 1}" if token.text else "its end"
            self._refuse(f"needs {sign!r} in place of {found}")

    def expect_end(self) -> None:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._refuse(f"goes on with {token.text!r} at character {token.place + 1}, where it should end")

    def sum_of_products(self) -> _Part:
        self._nested += 1
        if self._nested > MOST_NESTED:
            raise BadCard(f"the expression is nested more than {MOST_NESTED} deep")
        part = self._product()
        while operator := self._taken("+", "-"):
            part = _Combined(operator, part, self._product())
        self._nested -= 1
        return part

    def _product(self) -> _Part:
        part = self._signed()
        while operator := self._taken("*", "/"):
            part = _Combined(operator, part, self._signed())
        return part

    def _signed(self) -> _Part:
        negative = False
        while self._taken("-"):
            negative = not negative
        part = self._element()
        return _Negative(part) if negative else part

    def _element(self) -> _Part:
        part = self._atom()
        if not self._taken("["):
            return part
        token = self._tokens[self._next]
        if not token.text.isdecimal():
            self._refuse("needs a whole number, counted from 0, between '[' and ']'")
        self._next += 1
        self._expect("]")
        return _Element(part, int(token.text))

    def _atom(self) -> _Part:
        token = self._tokens[self._next]
        if self._taken("("):
            part = self.sum_of_products()
            self._expect(")")
            return part
        if token.kind in {"end", "sign"}:
            where = f"{token.text!r} at character {token.place + 1}" if token.text else "its end"
            self._refuse(f"needs a number or an output in place of {where}")
        self._next += 1
        if token.kind == "number":
            return _Number(float(token.text))
        if token.kind == "name" and self._taken("("):
            return self._applied(token.text)
        name = token.text[1:-1] if token.kind == "quoted" else token.text
        self.outputs[name] = None
        return _Output(name)

    def _applied(self, function: str) -> _Part:
        if function not in FUNCTIONS:
            raise BadCard(
                f"the expression {self._text!r} calls {function!r}, which is no function",
                remedy=suggestion(function, FUNCTIONS),
            )
        part = self.sum_of_products()
        self._expect(")")
        return _Applied(function, part)
