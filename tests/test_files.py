"""Files that are whole or not there, and the TOML that people write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from swapbench import files
from swapbench.errors import BadCard, BadModelFile, EnvironmentFailed, UserError, of_one_file
from swapbench.files import content_of, file_sha256, toml_table, toml_text, write_atomically


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


# ---- What people write ----


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_toml_file(tmp_path: Path, newline: str) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(b"\xef\xbb\xbf" + newline.join(["[a]", 'b = "\u00e9"', ""]).encode())
    assert toml_table(path, "card") == {"a": {"b": "\u00e9"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the card .*any.toml: No such file"),
        (b"a = ", "any.toml is not TOML: Invalid value"),
        ("a = 1".encode("utf-16"), r"any.toml is not TOML: .*decode.*\. Save it as UTF-8"),
        (b"a = " + b"[" * 100_000, "any.toml is not TOML"),
        (b"#" * 4_000_001, "the card .*any.toml is larger than 4 MB"),
    ],
)
def test_what_is_not_toml_is_an_error_of_the_kind_that_was_asked_for(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "any.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadCard, match=message):
        toml_table(path, "card", BadCard)


def test_toml_of_people_is_read_in_one_place() -> None:
    package = Path(__file__).parents[1] / "swapbench"
    reading = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "import tomllib" in path.read_text(encoding="utf-8")
    }
    assert reading == {"files.py", "report/literature.py"}  # our own literature.toml, inside the package


# -------------------------------------------------------------------------------------- files of other people


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_regular_files_are_opened_and_nothing_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "link", "folder"):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            content_of(tmp_path / name)
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            file_sha256(tmp_path / name)
        with pytest.raises(UserError, match="cannot read the card"):
            toml_text(tmp_path / name, "card")
    (tmp_path / "real").write_bytes(b"12345")
    (tmp_path / "link to real").symlink_to("real")
    assert content_of(tmp_path / "link to real", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4e-06 MB"):
        content_of(tmp_path / "real", 4)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000, "a = " + "[" * 100 + "]" * 100, ".".join("a" * 20_000) + " = 1"]
)
def test_toml_that_is_nested_without_end_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(UserError, match="is not TOML: it is nested more than 64 levels deep"):
        toml_table(tmp_path / "card.toml", "card")


def test_toml_of_64_levels_is_read(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text("a = " + "[" * 62 + "1" + "]" * 62)
    assert toml_table(tmp_path / "card.toml", "card")["a"]


def test_a_file_of_the_longest_name_is_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), "x")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 255]


@pytest.mark.parametrize(
    "error", [RecursionError(), MemoryError(), RuntimeError("first\nsecond"), OverflowError("x")]
)
def test_whatever_reading_a_file_raises_is_an_error_of_that_file(error: Exception) -> None:
    said = rf"net.onnx cannot be read \({type(error).__name__}[^\n]*\)"
    with pytest.raises(BadModelFile, match=said) as caught, of_one_file("net.onnx", BadModelFile):
        raise error
    assert "second" not in str(caught.value)


def test_our_own_errors_pass_as_they_are() -> None:
    with pytest.raises(BadCard, match=r"^as it was$"), of_one_file("net.onnx", BadModelFile):
        raise BadCard("as it was")
