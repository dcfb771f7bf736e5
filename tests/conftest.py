"""What every test file may use."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
from pathlib import Path

import hypothesis
import pytest

# Before NumPy and PyTorch are imported: the suite runs a process per core, where a second thread only waits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has what it starts with & ignore Ctrl-C, and nohup a hang-up. Every process that a test starts would
# inherit that, and not hear the signals that the test sends.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)

# shared machines pause at will: a slow example is no failure
hypothesis.settings.register_profile("swapbench", deadline=None)
hypothesis.settings.load_profile("swapbench")

REPOSITORY = Path(__file__).parents[1]
PRETRAINED = REPOSITORY.parent / "shared" / "pretrained" / "minivision"
LONGEST = "test_nets_export.py"
"""An eighth of the whole time. A file is one process's: begun last, it keeps the others waiting."""


def skip_without(package: str) -> None:
    """Skip where a package is not installed, without importing it: litert_torch takes seconds."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}", allow_module_level=True)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated set that `make demo` measures on, its splits dev and test; to be read only.

    It is made once for all processes, where a run in a checkout looks for it, and kept. One that the present
    code would draw otherwise stays as it is, and another is made.
    """
    pytest.importorskip("cv2")
    from filelock import FileLock

    from swapbench.simulate.dataset import Recipe, simulate

    folder = tmp_path_factory.mktemp("one-person")
    one = simulate(folder, Recipe(dev_identities=1), ("dev",), processes=1)
    (REPOSITORY / "build").mkdir(exist_ok=True)
    with FileLock(REPOSITORY / "build" / "simulated.lock"):
        made = simulate(REPOSITORY / "data", splits=("dev", "test"))
    images = [path.relative_to(one) for path in one.rglob("*.jpg")]
    if all((made / path).read_bytes() == (one / path).read_bytes() for path in images):
        return made
    return simulate(folder, splits=("dev", "test"))


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `swapbench run` of this process has two rounds: for tests of all that is around its timing."""
    from swapbench.commands import run
    from swapbench.records import Plan

    monkeypatch.setattr(run, "Plan", functools.partial(Plan, min_rounds=2, max_rounds=2))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: one more than the CPUs, since the tests of phones and browsers wait most of their time.

    xdist itself counts cores, of which two CPUs of a virtual machine are often only one.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cpus + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no core idles at the end; hardware tests only when asked for."""
    slow_files = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: (item.path.name != LONGEST, item.path not in slow_files))
    if "hardware" in (config.option.markexpr or "") and "not hardware" not in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="needs hardware: run with -m hardware")
    for item in items:
        if "hardware" in item.keywords:
            item.add_marker(skip)
