"""Ctrl-C and SIGTERM: both end a command in the same way, at every moment.

While modules are imported, which takes PyTorch seconds, a KeyboardInterrupt may be swallowed by the code of a
library, or turned into another error. Nothing of ours is half done then, so the process ends at once. Its
children notice that their parent is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

STATUS: Final = 130
"""Exit status after Ctrl-C, as shells use it: 128 + SIGINT."""
SAID: Final = "Interrupted. What was finished is saved; the same command resumes from there."
_IMPORTING: Final = "<frozen importlib._bootstrap>"


def listen() -> None:
    """Handle both signals from now on, in a process that is a command of ours."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and shells without job control set it
            signal.signal(number, _interrupt)


def end_with_parent() -> None:
    """End this process as soon as its parent is gone, which holds the other end of its standard input."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock would be held when the interpreter ends
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{SAID}\n".encode())
            os._exit(STATUS)
        frame = frame.f_back
    raise KeyboardInterrupt
