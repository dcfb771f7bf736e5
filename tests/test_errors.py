"""Errors: one line, a remedy, an exit status."""

from __future__ import annotations

import errno
import inspect

import pytest

from swapbench import errors


def test_an_unknown_name_suggests_the_nearest() -> None:
    error = errors.UnknownName("model", "minifasnet_v3", ["minifasnet_v2", "resnet18_map"])
    assert str(error) == "there is no model named 'minifasnet_v3'. Did you mean minifasnet_v2?"
    assert error.exit_status == 2


def test_an_unknown_name_with_nothing_near_lists_what_there_is() -> None:
    error = errors.UnknownName("device", "toaster", ["local", "pixel7"])
    assert str(error) == "there is no device named 'toaster'. Known: local, pixel7."


def test_a_message_is_one_line_whatever_it_is_made_of() -> None:
    assert "\n" not in str(errors.WorkerFailed("first\nsecond\n  third", remedy="Do this"))
    assert str(errors.BadCard("no such key; did you mean key?", remedy="Do this")).endswith("key? Do this")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "the memory does not suffice"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory does not suffice"),
        (ImportError("libx.so: failed to map segment from shared object"), "the memory does not suffice"),
        (ImportError("libx.so: cannot allocate memory in static TLS block"), "the memory does not suffice"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open"),
        (OSError(errno.ENFILE, "File table overflow"), "too many files are open"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "a/b cannot be used (Read-only file system)"),
        (PermissionError(errno.EACCES, "Permission denied", "c"), "c cannot be used (Permission denied)"),
    ],
)
def test_what_a_machine_has_too_little_of_is_no_bug_and_has_a_remedy(error: Exception, said: str) -> None:
    scarce = errors.scarcity(error)
    assert isinstance(scarce, errors.EnvironmentFailed)
    assert str(scarce).startswith(f"{said}. ")
    assert scarce.remedy


@pytest.mark.parametrize(
    "error", [ValueError("Cannot allocate memory"), ImportError("no module"), OSError(errno.ENOENT, "none")]
)
def test_other_errors_are_no_scarcity(error: Exception) -> None:
    assert errors.scarcity(error) is None


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    assert "pip install 'swapbench[export]'" in str(errors.MissingPackage("torch", "exporting", "export"))


@pytest.mark.parametrize(
    "kind",
    [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.SwapbenchError)],
)
def test_every_error_stands_in_the_tree_and_has_a_status_of_the_design(
    kind: type[errors.SwapbenchError],
) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.exit_status in {2, 3, 4}
