"""Work that several processes of ours share. They leave Ctrl-C to their parent, and end with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING, TypeVar

from swapbench.errors import EnvironmentFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.connection import Connection

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def results(
    work: Callable[[_Job], _Result],
    jobs: Iterable[_Job],
    processes: int,
    begin: Callable[[], None] | None = None,
) -> Iterator[_Result]:
    """What `work` gives for each job, as each ends; what it raises is raised here, and ends the others.

    Args:
        work: a function of a module, like everything that goes to another process.
        jobs: what it is called with.
        processes: how many work at a time.
        begin: called once in each process.

    Raises:
        EnvironmentFailed: a process died, as it does where the system has no memory for it.
    """
    context = multiprocessing.get_context("spawn")
    parent_lives, alive = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, context, _begin, (parent_lives, begin))
    try:
        with _no_interrupts_for_children():
            futures = [pool.submit(work, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenExecutor as error:
        raise EnvironmentFailed(
            "a process that shares the work died",
            remedy="There may be too little memory: end other programs and run the same command again",
        ) from error
    except BaseException:
        alive.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        alive.close()
        parent_lives.close()


@contextlib.contextmanager
def _no_interrupts_for_children() -> Iterator[None]:
    """Processes that are started now never see Ctrl-C, not while they import either; ours comes later."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parent_lives: Connection, begin: Callable[[], None] | None) -> None:
    threading.Thread(target=_end_with_parent, args=(parent_lives,), daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent(parent_lives: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):  # nothing is ever sent
        parent_lives.recv_bytes()
    os._exit(1)
