"""What reaches the terminal: remarks and progress on standard error, tables and JSON on standard output."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from swapbench import interrupts, units
from swapbench.environment import CHILD
from swapbench.files import disk_failure
from swapbench.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from swapbench.catalog import Folders
    from swapbench.errors import SwapbenchError
    from swapbench.records import Record


class _Output(io.FileIO):
    """A standard stream, whose reader may leave (`swapbench gate ... | head`).

    What is written after that is dropped, so that the command ends with its own exit status.
    """

    def __init__(self, stream: TextIO, title: str) -> None:
        super().__init__(stream.fileno(), "wb", closefd=False)
        self._title = title

    def write(self, content: Any, /) -> int:
        """Write bytes; EnvironmentFailed where the disk that they go to is full."""
        try:
            return super().write(content)
        except BrokenPipeError:
            return memoryview(content).nbytes
        except OSError as error:
            raise disk_failure(error, Path(self._title)) from error


def _tolerant(stream: TextIO | None, title: str) -> TextIO:
    if stream is None:  # it was closed before this process began
        return open(os.devnull, "w", encoding="utf-8")
    stream.flush()
    raw = _Output(stream, title)
    unbuffered = bool(getattr(stream, "write_through", False))
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=bool(stream.line_buffering),
        write_through=unbuffered,
    )


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Standard output and error for the time of a command, whatever they are connected to.

    A character that their encoding lacks becomes a question mark. Streams that someone has put in the place
    of the process's own are left alone.
    """
    with contextlib.ExitStack() as streams:
        if sys.stdout is sys.__stdout__:
            streams.enter_context(contextlib.redirect_stdout(_tolerant(sys.stdout, "standard output")))
        if sys.stderr is sys.__stderr__:
            streams.enter_context(contextlib.redirect_stderr(_tolerant(sys.stderr, "standard error")))
        yield


def say(text: str) -> None:
    """One line for a person, on standard error, so that standard output stays a result.

    What would steer a terminal is shown as an escape: names and messages come from elsewhere.
    """
    print(visible(text), file=sys.stderr, flush=True)


def show(text: object, end: str = "\n") -> None:
    """A result on standard output, of one or more lines; otherwise as `say`."""
    print(visible(str(text), keep="\n"), end=end)


def columns() -> int:
    """How many letters fit on a line of the terminal."""
    return shutil.get_terminal_size().columns


def conclude() -> None:
    """All was said: what waits for its reader is written, and no signal ends the command from here on."""
    sys.stdout.flush()
    interrupts.conclude()


def print_table(table: RenderableType, width: int = 140) -> None:
    """A table on standard output, as wide as the terminal, or `width` where there is none."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else width).print(_Shown(table))


def print_lists(lists: Iterable[tuple[str, Sequence[str]]], width: int = 140) -> None:
    """Sentences on standard output, each list below its title, as wide as the terminal or as `width`."""
    import shutil
    import textwrap

    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else width
    for title, sentences in lists:
        show("\n".join(textwrap.wrap(f"{title}:", wide)))
        for text in sentences:
            show("\n".join(textwrap.wrap(text, wide, initial_indent="- ", subsequent_indent="  ")))


class _Shown:
    """A table of rich whose texts cannot steer the terminal; its own colours still do."""

    def __init__(self, table: RenderableType) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for part in console.render(self._table, options):
            yield part if part.control else Segment(visible(part.text, keep="\n"), part.style)


class PlainProgress:
    """Progress as plain lines, for CI and files: a line when a stage begins, ends, and every 15 seconds."""

    def __init__(self) -> None:
        self._stage = ""
        self._finished = False
        self._began_s = self._said_s = time.monotonic()

    def __call__(self, stage: str, done: float, total: float) -> None:
        """See ports.Progress."""
        now_s = time.monotonic()
        new = stage != self._stage
        if new:
            self._stage, self._began_s, self._finished = stage, now_s, False
        if self._finished:
            return
        self._finished = done >= total
        if new or self._finished or now_s - self._said_s >= 15:
            self._said_s = now_s
            left = ""
            if 0 < done < total and now_s > self._began_s + 1:  # too early to tell before
                left = f", about {(now_s - self._began_s) / done * (total - done):.0f} s left"
            share = f" {100 * done / total:.0f} %" if total else ""
            say(f"{stage}{share}{left}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class ToldProgress:
    """Progress for the command that started this one, at most twice a second."""

    def __init__(self) -> None:
        self._stage = ""
        self._said_s = 0.0

    def __call__(self, stage: str, done: float, total: float) -> None:
        """See ports.Progress."""
        from swapbench.study.executor import progress_line

        now_s = time.monotonic()
        if stage != self._stage or done >= total or now_s - self._said_s >= 0.5:
            self._stage, self._said_s = stage, now_s
            print(progress_line(stage, done, total), file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class LiveProgress:
    """Progress bars with remaining time, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=2,  # the thing under test must not feel us
        )
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: float, total: float) -> None:
        """See ports.Progress."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(plain(stage), total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


def progress() -> PlainProgress | LiveProgress | ToldProgress:
    """Bars on a terminal, plain lines elsewhere, and for a command that listens what it understands."""
    if os.environ.get(CHILD):
        return ToldProgress()
    return LiveProgress() if sys.stderr.isatty() and not os.environ.get("CI") else PlainProgress()


def folders() -> Folders:
    """The working folder is where the command was typed."""
    from swapbench.catalog import Folders

    return Folders(Path.cwd())


def plain(text: str) -> str:
    """Text that rich prints as it is, on one line."""
    from rich.markup import escape

    return escape(visible(text))


def print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], empty: str, width: int = 140) -> None:
    """A table of the named columns on standard output, or what to say instead.

    The first column holds names that people type, so it is never broken. It is as wide as the terminal, or
    `width` where there is none.
    """
    if not rows:
        show(empty)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(plain(str(row.get(column, ""))) for column in columns))
    print_table(table, width)


def print_result(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], empty: str, *, json_out: bool
) -> None:
    """All of the rows as JSON for a program, or a table of the named columns."""
    if json_out:
        show(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        print_rows(rows, columns, empty)


def print_records(records: Sequence[Record], relative_to: str | None, *, every_doubt: bool) -> None:
    """The compact table of a run, with its doubts."""
    from swapbench.report.tables.terminal import terminal_table

    if records:
        print_table(terminal_table(records, relative_to, every_doubt=every_doubt))


def say_doubts(records: Sequence[Record]) -> None:
    """One line a kind of doubt, with how many files have it, where no table says so."""
    from swapbench.report.tables.doubts import doubt_kinds
    from swapbench.report.tables.table import table_of

    for kind in doubt_kinds(table_of(records).rows):
        say(f"doubt: {kind.count}")


def report_failures(failures: Sequence[tuple[str, SwapbenchError]]) -> int:
    """Say what failed, once what failed alike; the exit status is the worst of them, 0 for none."""
    alike: dict[str, list[str]] = {}
    for subject, error in failures:
        said = str(error).removeprefix(f"{subject}: ").removeprefix(f"{subject} ")
        alike.setdefault(said, []).append(subject)
    for message, subjects in alike.items():
        say(f"failed: {units.some(subjects)}: {message}")
    return max((error.exit_status for _, error in failures), default=0)
