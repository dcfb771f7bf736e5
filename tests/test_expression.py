"""Expressions of cards on numbers that are worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.errors import BadCard
from swapbench.pad.expression import MOST_CHARACTERS, MOST_NESTED, parse

A = np.array([[1.0, -2.0, 3.0], [0.0, 4.0, -5.0]])
B = np.array([[2.0], [10.0]])
ODD = "StatefulPartitionedCall:0"
OUTPUTS = {"a": A, "b": B, "sum": B, ODD: A}


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("sum(a)", 2, -1),
        ("sum(abs(a))", 6, 9),
        ("sum(abs(a) * a)", 1 - 4 + 9, 16 - 25),
        ("mean(a) + b", 2 / 3 + 2, -1 / 3 + 10),
        ("max(a) - min(a)", 5, 9),
        ("a[1]", -2, 4),
        ("-a[0] - -b", 1, 10),
        ("--b", 2, 10),
        ("2 + 3 * b", 8, 32),
        ("(2 + 3) * b", 10, 50),
        ("12 / 2 / b - 1 - 1", 1, -1.4),
        ("b * 1.5e1", 30, 150),
        (".5 * b + 1.", 2, 6),
        ("sum", 2, 10),  # an output may be called what a function is called
        ("sum(sum)", 2, 10),
        (f"sum('{ODD}')", 2, -1),
        (f'sum("{ODD}") ', 2, -1),
        ("exp(b - b)", 1, 1),
        ("log(b)", math.log(2), math.log(10)),
        ("sqrt(b + 2)", 2, math.sqrt(12)),
        ("sigmoid(b)", 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-10))),
        (
            "softmax(a)[1]",
            math.exp(-2) / sum(map(math.exp, (1, -2, 3))),
            1 / (1 + math.exp(-4) + math.exp(-9)),
        ),
        ("(a * b)[2]", 6, -50),
        ("abs(a)[1]", 2, 4),
        ("0 * b + 7", 7, 7),
    ],
)
def test_an_expression_is_worth_what_it_says(text: str, first: float, second: float) -> None:
    assert parse(text).scores(OUTPUTS).tolist() == pytest.approx([first, second])


def test_the_outputs_are_known_before_anything_is_computed() -> None:
    assert parse("sum(abs(Identity) * Identity_1) + Identity[0]").outputs == ("Identity", "Identity_1")


def test_what_is_larger_than_a_float_does_not_overflow_in_sigmoid_and_softmax() -> None:
    large = {"a": np.array([[1e4, -1e4]])}
    assert parse("sigmoid(a)[0] + sigmoid(a)[1] + softmax(a)[0]").scores(large).tolist() == [2.0]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "needs a number or an output in place of its end"),
        ("a +", "needs a number or an output in place of its end"),
        ("a b", "goes on with 'b' at character 3"),
        ("(a", "needs ')' in place of its end"),
        ("a)", "goes on with ')' at character 2"),
        ("a[-1]", "needs a whole number"),
        ("a[1.5]", "needs a whole number"),
        ("a[1", "needs ']' in place of its end"),
        ("a ** b", "needs a number or an output in place of '*' at character 4"),
        ("a.sum", "holds '.' at character 2"),
        ("a; b", "holds ';' at character 2"),
        ("'a", 'holds "\'" at character 1'),
        ("a\n% 2", "holds '%'"),
        ("__import__('os')", "calls '__import__', which is no function"),
        ("eval(a)", "calls 'eval', which is no function"),
        ("summ(a)", "calls 'summ'"),
        ("1 + 2", "names no output"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(text: str, part: str) -> None:
    with pytest.raises(BadCard) as caught:
        parse(text)
    assert part in caught.value.args[0]


def test_a_function_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(BadCard) as caught:
        parse("summ(a)")
    assert caught.value.remedy == "Did you mean sum?"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a", "gives 3 numbers per image, not one"),
        ("a + b", "gives 3 numbers"),
        ("a[3]", "takes number 3 of 3"),
        ("sum(a)[1]", "takes number 1 of 1"),
        ("sum(a + softmax(two))", "combines 3 numbers with 2 by '+'"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(text: str, part: str) -> None:
    with pytest.raises(BadCard) as caught:
        parse(text).scores({**OUTPUTS, "two": np.ones((2, 2))})
    assert part in caught.value.args[0]


def test_length_and_depth_are_bounded() -> None:
    with pytest.raises(BadCard, match="characters; at most 1000"):
        parse("a" * (MOST_CHARACTERS + 1))
    deepest = "(" * (MOST_NESTED - 1) + "b" + ")" * (MOST_NESTED - 1)
    assert parse(deepest).scores(OUTPUTS).tolist() == [2, 10]
    with pytest.raises(BadCard, match="nested more than 30 deep"):
        parse(f"({deepest})")
    longest = "-" * 200 + "+".join(["b"] * 400)
    assert parse(longest).scores(OUTPUTS).tolist() == [800, 4000]


@given(st.text(alphabet="ab12 .+-*/()[]\"'sumexp,e\u0663\n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except BadCard:
        pass
