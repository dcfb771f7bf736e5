"""Values that all of a record is made of: what is absent, what is doubtful, intervals and proportions."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: immutable, equal by content, refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, which is validated; pydantic's `model_copy` would not do that.

        Fields left to their defaults stay unset in the copy.

        Raises:
            pydantic.ValidationError: a changed value is not valid, or there is no such field.
        """
        return type(self)(**{**{name: getattr(self, name) for name in self.model_fields_set}, **changes})


class Absent(Frozen):
    """A quantity that was not measured: why, and what would make it measurable.

    Attributes:
        absent: the reason, in one sentence.
        remedy: the exact command, permission or hardware that would help.
    """

    absent: str
    remedy: str = ""


class Doubt(Frozen):
    """A reason to distrust a record, with what to do about it.

    Attributes:
        code: a stable word that a program can match, e.g. "wide_interval".
        quantity: what it touches; "run" touches everything.
        message: the reason, in one sentence.
        remedy: what to do about it.
    """

    code: str
    quantity: Literal["speed", "weight", "accuracy", "power", "run"]
    message: str
    remedy: str = ""


class Interval(Frozen):
    """A two-sided interval and how it was made."""

    low: float
    high: float
    confidence: float = 0.95
    method: str


class Proportion(Frozen):
    """Errors out of trials, with an exact interval."""

    errors: int
    trials: int
    interval: Interval

    @property
    def rate(self) -> float:
        """The point estimate."""
        return self.errors / self.trials
