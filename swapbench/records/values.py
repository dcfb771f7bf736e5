"""Values that all of a record is made of: what is absent, what is doubtful, intervals and proportions."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

LONGEST_FILE_NAME_BYTES: Final = 255
"""Of the usual file systems."""


def plain_file_name(name: str) -> str:
    """The name, if it is one of a file and no path: what others wrote must not lead out of a folder of ours.

    Raises:
        ValueError: it is empty, "." or "..", a path on any system, not in UTF-8, or too long.
    """
    leads_elsewhere = "/" in name or name.startswith("\\") or ".." in name.split("\\")
    if name in {"", "."} or leads_elsewhere or "\0" in name:
        raise ValueError(f"{name!r} is not a plain file name")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} is not a file name in UTF-8") from None
    if length > LONGEST_FILE_NAME_BYTES:
        raise ValueError(f"a name of {length} bytes; a file system takes {LONGEST_FILE_NAME_BYTES}")
    return name


FileName = Annotated[str, AfterValidator(plain_file_name)]
"""A name out of a file of someone else that becomes part of a path of ours."""


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
