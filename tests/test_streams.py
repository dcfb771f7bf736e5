"""Standard output and error, whatever they are connected to: pipes, disks and encodings of others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_files import small_onnx

from swapbench.cli import FAMILIES, PANELS

SWAPBENCH = [sys.executable, "-m", "swapbench"]
SCORES = "video,label,score\n" + "".join(
    f"v{number},{'live' if number % 2 else 'spoof'},{(number * 7 % 20) / 20}\n" for number in range(20)
)
COMMANDS = [
    *([command.__name__.replace("_", "-")] for commands in PANELS.values() for command in commands),
    *(
        [family, command.__name__.replace("_", "-")]
        for family, (_, _, commands) in FAMILIES.items()
        for command in commands
    ),
]


@pytest.fixture(autouse=True)
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scores.csv").write_text(SCORES)


def plain_locale(encoding: str) -> dict[str, str]:
    """An environment in which nothing but this encoding is known."""
    return os.environ | {
        "PYTHONIOENCODING": encoding,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }


def unread(*words: str, **environment: str) -> int:
    """The exit status of a command whose output and remarks nobody reads."""
    process = subprocess.Popen(
        [*SWAPBENCH, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    return process.wait()


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["metrics", "scores.csv"], 0),
        (["metrics", "scores.csv", "--json"], 0),
        (["models"], 0),
        (["--help"], 0),
        (["metrics", "none.csv"], 2),
        (["nonsense"], 2),
    ],
)
def test_a_reader_who_leaves_does_not_change_the_exit_status(
    words: list[str], status: int, environment: dict[str, str]
) -> None:
    assert unread(*words, **environment) == status


@pytest.mark.slow
def test_a_verdict_that_nobody_reads_is_still_the_exit_status() -> None:
    for folder in ("old", "new"):
        Path(folder).mkdir()
        Path(folder, "net.onnx").write_bytes(small_onnx())
    policy = '[[ceiling]]\nmetric = "latency_p90"\nat_most = "{}"\nhard = true\n'
    metrics = ("latency_p05", "latency_p50", "latency_p90")
    lenient = "".join(f'[[budget]]\nmetric = "{metric}"\nrelative = "900 %"\n' for metric in metrics)
    words = ["gate", "--baseline", "old", "--candidate", "new", "--budget-s", "1", "--policy", "gate.toml"]
    Path("gate.toml").write_text(lenient + policy.format("60 s"))
    assert unread(*words) in {0, 3}  # 3: too noisy to tell
    Path("gate.toml").write_text(lenient + policy.format("1 ns"))
    assert unread(*words) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_and_no_success() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*SWAPBENCH, "metrics", "scores.csv"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 4
    assert "the disk is full: standard output could not be written" in done.stderr


def test_closed_streams_are_no_fault() -> None:
    words = [*SWAPBENCH, "metrics", "scores.csv"]
    assert subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *words], check=False).returncode == 0


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_a_character_that_an_encoding_lacks_is_replaced_and_files_stay_utf_8(encoding: str) -> None:
    """The en dash of an absent value is in neither Latin-1 nor ASCII."""
    words = [*SWAPBENCH, "metrics", "scores.csv"]
    done = subprocess.run(words, env=plain_locale(encoding), capture_output=True, check=True)
    absent = "\N{EN DASH}".encode(encoding, "replace")
    assert b"HTER @ source dev" in done.stdout
    assert absent in done.stdout
    assert b"Traceback" not in done.stderr
    subprocess.run([*SWAPBENCH, "init", "here"], env=plain_locale(encoding), capture_output=True, check=True)
    for path in Path("here").rglob("*.*"):
        path.read_text(encoding="utf-8")


HELPS = """
import json, sys
from swapbench import cli
for words in json.load(sys.stdin):
    status = cli.main([*words, "--help"])
    print(f"\\0{status}", end="\\0", flush=True)
    print("\\0", end="", file=sys.stderr, flush=True)
"""
"""Prints the help of every command that it is told of in one process, which takes 0.3 s to begin."""


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[str, str, str]]:
    """Status, output and remarks of every command's help in a process that knows ASCII only."""
    done = subprocess.run(
        [sys.executable, "-c", HELPS],
        input=json.dumps(COMMANDS),
        env=plain_locale("ascii"),
        capture_output=True,
        text=True,
        check=True,
    )
    *said, _ = done.stdout.split("\0")
    *remarks, _ = done.stderr.split("\0")
    names = map(" ".join, COMMANDS)
    return dict(zip(names, zip(said[1::2], said[::2], remarks, strict=True), strict=True))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_can_be_printed_in_ascii(
    words: list[str], helps: dict[str, tuple[str, str, str]]
) -> None:
    name = " ".join(words)
    status, said, remarks = helps[name]
    assert (status, remarks) == ("0", "")
    assert said.startswith(f"Usage: swapbench {name}")
