"""The fakes that users' tests may use."""

from __future__ import annotations

import doctest

from swapbench import testing


def test_the_example_of_the_fakes_is_true() -> None:
    result = doctest.testmod(testing)
    assert (result.attempted, result.failed) == (10, 0)


def test_every_public_fake_is_exported() -> None:
    public = {
        name for name, value in vars(testing).items() if getattr(value, "__module__", "") == testing.__name__
    }
    assert {name for name in public if not name.startswith("_")} == set(testing.__all__)
