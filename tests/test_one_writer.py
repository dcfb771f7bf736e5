"""Two commands at once in one folder: one writes at a time, and both leave what one alone would."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from small_commands import KILLS, argv, begun, is_done, prepared, require, result

from swapbench import cli
from swapbench.errors import UserError
from swapbench.files import lock_of, only_one

if TYPE_CHECKING:
    from pathlib import Path

    from small_commands import Process

HOLDING = """
import sys, time
from pathlib import Path
from swapbench.files import only_one
with only_one(Path("made/.lock")):
    print("mine", file=sys.stderr, flush=True)
    while not Path("enough").exists():
        time.sleep(0.05)
"""
PEOPLE = (
    "from pathlib import Path; from swapbench.simulate.dataset import Recipe, simulate\n"
    "simulate(Path({out!r}), Recipe(dev_identities=2), ('dev',), processes=1)"
)


def holding(folder: Path) -> Process:
    return begun([sys.executable, "-c", HOLDING], folder)


def test_the_second_waits_with_a_line_of_notice_and_no_lock_stays(tmp_path: Path) -> None:
    first = holding(tmp_path)
    assert first.stderr is not None
    assert first.stderr.readline() == "mine\n"
    second = holding(tmp_path)
    assert second.stderr is not None
    notice = second.stderr.readline()
    assert notice == f"note: waiting for another process that writes to made (process {first.pid})\n"
    (tmp_path / "enough").touch()
    _, said = second.communicate(timeout=60)
    assert said == "mine\n"
    assert first.wait() == 0
    first.stderr.close()
    assert list((tmp_path / "made").iterdir()) == []


def test_one_that_does_not_wait_is_refused_until_the_other_was_killed(tmp_path: Path) -> None:
    owner = holding(tmp_path)
    assert owner.stderr is not None
    assert owner.stderr.readline() == "mine\n"
    lock = tmp_path / "made" / ".lock"
    with pytest.raises(UserError, match=rf"no: \(process {owner.pid}\)"):
        only_one(lock, lambda who: UserError(f"no:{who}")).__enter__()
    owner.kill()
    owner.wait()
    owner.stderr.close()
    assert lock.is_file()
    with only_one(lock, lambda who: UserError(f"no:{who}")):
        assert lock.is_file()
    assert not lock.exists()


@pytest.mark.parametrize("names", [("tree", "tree"), ("tree", "other")])
def test_two_simulations_leave_what_one_alone_does(tmp_path: Path, names: tuple[str, str]) -> None:
    pytest.importorskip("cv2")
    folder = tmp_path / "both"
    folder.mkdir()
    alone = begun([sys.executable, "-c", PEOPLE.format(out="tree")], tmp_path)
    both = [begun([sys.executable, "-c", PEOPLE.format(out=name)], folder) for name in names]
    for process in (alone, *both):
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    wanted = result("simulate", tmp_path)
    assert len(wanted) == 10  # eight images, their list and the description
    assert result("simulate", folder) == wanted
    assert {path.name for path in folder.rglob(".*")} == set()


@pytest.mark.slow
def test_a_second_training_of_a_network_to_one_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    folder = prepared(tmp_path / "one")
    monkeypatch.chdir(folder)
    with only_one(lock_of(folder / "trained", "minifasnet_v2")):
        assert cli.main(argv("train")[3:]) == 2
    said = capsys.readouterr().err
    assert "minifasnet_v2 is being trained to trained by another process (process " in said
    assert "Wait until it ends, or name another folder with --out" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["export", "train", "simulate", "baseline"])
def test_two_commands_of_one_name_leave_what_one_alone_does(tmp_path: Path, name: str) -> None:
    require(name)
    if not KILLS:
        pytest.skip("takes a minute: tried where SWAPBENCH_KILLS names a number of kills")
    undisturbed, folder = prepared(tmp_path / "undisturbed"), prepared(tmp_path / "both")
    alone = begun(argv(name), undisturbed)
    _, said = alone.communicate()
    assert is_done(name, alone.returncode), said
    both = [begun(argv(name), folder) for _ in range(2)]
    ends = [(process.communicate(timeout=600)[1], process.returncode) for process in both]
    refused = [said for said, status in ends if not is_done(name, status)]
    assert len(refused) <= (name in {"train", "baseline"}), ends
    assert all("by another process (process" in said for said in refused), ends
    assert result(name, folder) == result(name, undisturbed)


@pytest.mark.slow
def test_two_networks_are_exported_side_by_side(tmp_path: Path) -> None:
    require("export")
    if not KILLS:
        pytest.skip("takes a minute: tried where SWAPBENCH_KILLS names a number of kills")
    folder = prepared(tmp_path / "both")
    names = ("minifasnet_v2", "mobilefacenet.uniform-40M")
    both = [
        begun([name if word == "minifasnet_v2" else word for word in argv("export")], folder)
        for name in names
    ]
    for process in both:
        _, said = process.communicate(timeout=600)
        assert is_done("export", process.returncode), said
        assert "waiting" not in said
    assert {path.name for path in (folder / "files").iterdir()} == {f"{name}.fp32.onnx" for name in names}
