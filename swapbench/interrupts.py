"""Ctrl-C and SIGTERM: both end a command in the same way, at every moment.

While modules are imported, which takes PyTorch seconds, a KeyboardInterrupt may be swallowed by the code of a
library, or turned into another error. Nothing of ours is half done then, so the process ends at once. Its
children notice that their parent is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal

TYPE_CHECKING = False  # importing typing takes longer than all that is done here
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final

STATUS: Final = 130
"""Exit status after Ctrl-C, as shells use it: 128 + SIGINT."""
SAID: Final = "Interrupted. What was finished is saved; the same command resumes from there."
_SHOW_CURSOR: Final = "\x1b[?25h"
"""To a terminal, where progress bars may have hidden it."""
_IMPORTING: Final = "<frozen importlib._bootstrap>"


def listen() -> None:
    """Handle both signals from now on, in a process that is a command of ours."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and shells without job control set it
            signal.signal(number, _interrupt)


def end_with_parent() -> None:
    """End this process as soon as its parent is gone, which holds the other end of its standard input."""
    import threading

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock would be held when the interpreter ends
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def say() -> int:
    """Say on standard error that the command was interrupted; returns its exit status."""
    with contextlib.suppress(OSError):  # nobody listens
        os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}{SAID}\n".encode())
    return STATUS


def conclude() -> None:
    """From here on neither signal ends the process: the command has said its result, and only ends.

    Its status stays that of the result, and nothing says that the same command would go on.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            os._exit(say())
        frame = frame.f_back
    raise KeyboardInterrupt
