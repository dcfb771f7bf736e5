"""The power rails of a phone through Perfetto, Android's tracing service: no root, plugged in or not.

Stock builds refuse the dump of the power stats HAL to adb's shell, but let it start traces, and the tracing
service may read the HAL (Pixel 6, Android 16: rules of plat_sepolicy.cil for shell and traced_probes). Every
reading is a short trace of its own, whose first packet holds all rails. It tells when the chips were read, so
that a reading is exact however long the call takes; but the call lengthens a window by some tenths of a
second in which the model does not run, which the gross energy holds.
"""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING, Final

from swapbench.errors import DeviceFailed
from swapbench.meters.perfetto_trace import damaged, traced_rails
from swapbench.meters.power_rails import NO_RAILS, PowerRails, RailReading, found_rails, last_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.ports import Finished
    from swapbench.records import Absent, PhoneState

NAME: Final = "perfetto-rails"
FOLDER: Final = "/data/misc/perfetto-traces"
"""Where Perfetto may write and adb's shell may read and remove."""
CONFIG: Final = (
    "buffers { size_kb: 256 fill_policy: DISCARD } "
    'data_sources { config { name: "android.power" '
    "android_power_config { battery_poll_ms: 100 collect_power_rails: true } } } "
    "duration_ms: 300"
)
"""The service polls at most every 100 ms, and once when it starts (android_power_data_source.cc)."""
COMMAND: Final = (
    f"rm -f {FOLDER}/swapbench-*; trace={FOLDER}/swapbench-$$; "
    f'echo {shlex.quote(CONFIG)} | perfetto --txt -c - -o "$trace" >&2 && base64 "$trace"; '
    'status=$?; rm -f "$trace"; exit $status'
)
LARGEST_TRACE: Final = 4_000_000
"""Characters of base64 that are looked at; a trace of some packets has a few thousand."""


def find_perfetto_rails(
    ask: Callable[[str], Finished], state: Callable[[], PhoneState], summed: Sequence[str] = ()
) -> PowerRails | Absent:
    """The rails to add up on this phone, or why there are none.

    Args:
        ask: Runs a shell command on the phone; DeviceFailed where it cannot be reached.
        state: The phone's state.
        summed: The rails that the phone's profile names; without them, only the whole battery's rail is used.
    """
    return found_rails(NAME, lambda: _rails(ask(COMMAND)), state, summed)


def printed_trace(done: Finished) -> bytes:
    """The trace that COMMAND printed; DeviceFailed where it printed none."""
    if done.exit_code != 0:
        raise DeviceFailed(f"Perfetto does not trace on this phone ({last_line(done)})", remedy=NO_RAILS)
    try:
        return base64.b64decode("".join(done.stdout[:LARGEST_TRACE].split()), validate=True)
    except ValueError:
        raise damaged() from None


def _rails(done: Finished) -> RailReading:
    """The first reading of the trace that the phone printed.

    Raises:
        DeviceFailed: It printed none, or one without rails.
    """
    readings = traced_rails(printed_trace(done))
    if not readings:
        raise DeviceFailed("Perfetto traces no power rails on this phone", remedy=NO_RAILS)
    return readings[0]
