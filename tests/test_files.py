"""Files that are whole or not there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from swapbench import files
from swapbench.errors import EnvironmentFailed


def test_an_unfinished_write_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(EnvironmentFailed, match="could not be written"):
        files.write_atomically(target, "text")  # a folder of that name is in the way
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_is_said_in_plain_words() -> None:
    error = files.disk_failure(OSError(errno.ENOSPC, "No space left on device"), Path("x.json"))
    assert "disk is full" in str(error)
    assert error.exit_status == 4


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    path = tmp_path / "result.json"
    files.write_atomically(path, "old")

    def half() -> None:
        with files.whole_file(path) as file:
            file.write(b"half of the ne")
            raise interruption

    with pytest.raises(interruption):
        half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_whole_file_takes_its_place_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "result.json"
    files.write_atomically(path, "ä")
    assert path.read_bytes() == "ä".encode()
    assert path.stat().st_mode & 0o777 == 0o644
