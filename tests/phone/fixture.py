"""The emulated phone as pytest fixtures.

A test file says `pytest_plugins = ["phone.fixture"]` and takes

    phone           an emulated phone of this machine's architecture, Pixel dialect, fresh for every test
    start_phone     start_phone(dialect="xiaomi", arch="arm64"): further phones, which end with the test

While a test has one of them, ANDROID_ADB_SERVER_PORT points every adb that it starts to a private server.
Where the machine cannot have a phone, the test is skipped with the reason.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from swapbench.devices import leases

from .lifecycle import AdbServer, Phone, Unavailable, adb_server, emulated_phone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Started = TypeVar("Started")


@pytest.fixture(scope="session")
def private_adb() -> Iterator[AdbServer]:
    """The adb server of this test run."""
    with contextlib.ExitStack() as stack:
        yield _or_skip(lambda: stack.enter_context(adb_server()))


@pytest.fixture(scope="session")
def _session_phone(private_adb: AdbServer) -> Iterator[Phone]:
    with contextlib.ExitStack() as stack:
        yield _or_skip(lambda: stack.enter_context(emulated_phone(private_adb)))


@pytest.fixture
def phone(_session_phone: Phone, monkeypatch: pytest.MonkeyPatch) -> Phone:
    """An emulated phone, healthy and empty."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(_session_phone.adb_server.port))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    _session_phone.reset()
    leases.end_own()  # of a command that the test before called in this process
    return _session_phone


@pytest.fixture
def start_phone(private_adb: AdbServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Phone]]:
    """Starts further phones: start_phone(dialect="samsung", arch="arm64")."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(private_adb.port))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Phone:
            return _or_skip(lambda: stack.enter_context(emulated_phone(private_adb, **options)))

        yield start


def _or_skip(start: Callable[[], Started]) -> Started:
    try:
        return start()
    except Unavailable as error:
        pytest.skip(f"no emulated phone: {error}")
