"""What runs files on this computer, and runtimes that have a Python environment of their own."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tomli_w

from swapbench import catalog
from swapbench.errors import EnvironmentFailed, SwapbenchError, UserError, WorkerFailed
from swapbench.files import disk_failure, write_atomically
from swapbench.runtimes.contract import PythonWorker, parse_about

if TYPE_CHECKING:
    from swapbench.catalog import Folders
    from swapbench.ports import Device, Runtime
    from swapbench.runtimes.contract import About

PATIENCE_S: Final = 60.0
"""How long a worker may take to import its runtime."""
NO_WORKER: Final = "it is no Python program, so it cannot be asked what it is"


@dataclass(frozen=True)
class RuntimeList:
    """A row a runtime, and a line for each of an installed package that is ignored."""

    rows: list[dict[str, Any]]
    notices: tuple[str, ...]


def list_runtimes(folders: Folders) -> RuntimeList:
    """Every runtime, asked in a process of its own what it is and what it could run on."""
    added = catalog.added_runtimes()
    names = (*catalog.RUNTIMES, *added.by_name)
    with ThreadPoolExecutor() as processes:
        rows = list(processes.map(lambda name: _row(folders, name), names))
    for row in rows:
        row["added_by"] = added.by_name[row["name"]].package if row["name"] in added.by_name else ""
    return RuntimeList(rows, added.refused)


def add(folders: Folders, name: str, python: Path) -> About:
    """Have a runtime run with another interpreter from now on in this working folder; it is tried first.

    Args:
        folders: Of the working folder.
        name: Of the runtime.
        python: The interpreter, or the folder of its environment.

    Returns:
        What the runtime says of itself there.

    Raises:
        UnknownName: There is no such runtime.
        UserError: The interpreter does not run it; the message says why.
    """
    found = catalog.unmoved_runtime(name)
    interpreter = _interpreter(folders, python)
    moved = catalog.with_interpreter(found, folders.root / interpreter)
    assert isinstance(moved, PythonWorker)
    try:
        about = _asked(catalog.device(folders, "local"), moved)
    except WorkerFailed as error:
        remedy = "Name the Python of an environment that has it, as in --python build/env/bin/python"
        if "is not installed" in str(error) or "has no module" in str(error):
            packages = " ".join(["numpy", *moved.distributions[:1]])
            remedy = f"Install it there: {interpreter} -m pip install {packages}"
        raise UserError(f"{interpreter} does not run {name}: {_reason(error)}", remedy=remedy) from error
    content = tomli_w.dumps({"python": str(interpreter)})
    write_atomically(catalog.interpreter_file(folders, name), content)
    return about


def remove(folders: Folders, name: str) -> None:
    """Have a runtime run with swapbench's own interpreter again.

    Raises:
        UnknownName: There is no such runtime.
        UserError: It has no other interpreter.
        EnvironmentFailed: The file cannot be deleted.
    """
    catalog.unmoved_runtime(name)
    path = catalog.interpreter_file(folders, name)
    try:
        path.unlink()
    except FileNotFoundError:
        raise UserError(
            f"{name} runs with swapbench's own Python already",
            remedy="List what there is: swapbench runtimes",
        ) from None
    except OSError as error:
        raise disk_failure(error, path) from error


def settled(device: Device, runtime: Runtime) -> Runtime:
    """The runtime; one with an interpreter of its own knows the packages there, which records hold.

    Raises:
        EnvironmentFailed: That interpreter does not run it any more.
    """
    if not isinstance(runtime, PythonWorker) or not runtime.is_elsewhere:
        return runtime
    try:
        return replace(runtime, installed=_asked(device, runtime).packages)
    except WorkerFailed as error:
        raise EnvironmentFailed(
            f"{runtime.python} does not run {runtime.name}: {_reason(error)}",
            remedy=f"Name another: swapbench runtimes add {runtime.name} --python PATH; "
            f"or forget it: swapbench runtimes remove {runtime.name}",
        ) from error


def _row(folders: Folders, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "state": "missing",
        "formats": [],
        "package": "",
        "version": "",
        "threads": "",
        "accelerators": [],
        "interpreter": "",
        "packages": {},
        "detail": "",
        "remedy": "",
    }
    try:
        runtime = catalog.runtime(folders, name)
        row["formats"] = list(runtime.formats)
        if not isinstance(runtime, PythonWorker):
            return row | {"state": "unknown", "detail": NO_WORKER}
        row["interpreter"] = runtime.python if runtime.is_elsewhere else ""
        row["remedy"] = (
            runtime.advice or f"Install it with: pip install {' '.join(runtime.distributions[:1])}"
        )
        about = _asked(catalog.device(folders, "local"), runtime)
    except SwapbenchError as error:
        return row | {"detail": _reason(error), "remedy": error.remedy or row["remedy"]}
    return row | {
        "state": "ok",
        "package": about.package,
        "version": about.version,
        "threads": "any" if runtime.most_threads is None else runtime.most_threads,
        "accelerators": list(about.providers),
        "packages": dict(about.packages),
        "remedy": "",
    }


def _asked(device: Device, runtime: PythonWorker) -> About:
    """What a runtime's worker says of it; WorkerFailed, with the reason, where it says nothing."""
    finished = device.run(runtime.about(), PATIENCE_S)
    try:
        return parse_about(finished.stdout)
    except WorkerFailed as error:
        last = [line for line in finished.stderr.splitlines() if line.strip()][-1:]
        if finished.stdout.strip() or not last:
            raise
        raise WorkerFailed(f"{error.args[0]} ({last[0].strip()[:200]})") from None


def _reason(error: SwapbenchError) -> str:
    """Why a runtime does not work; what to install is said better by who knows where."""
    reason = str(error.args[0]).partition("; install it with:")[0]
    if os.strerror(errno.ENOEXEC) in reason:
        return "it is no program for this computer's processor"
    return reason


def _interpreter(folders: Folders, given: Path) -> Path:
    """The interpreter that was meant, as it is written down: a relative path starts from the working folder.

    Raises:
        UserError: There is none.
    """
    found = folders.root / given
    if given.name == str(given) and not found.exists() and (on_path := shutil.which(str(given))) is not None:
        return Path(on_path)
    if found.is_dir():
        given, found = given / "bin" / "python", found / "bin" / "python"
    if not found.is_file():
        raise UserError(
            f"there is no interpreter {given}",
            remedy="Name the Python of an environment, as in --python build/env/bin/python",
        )
    return given
