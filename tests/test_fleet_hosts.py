"""A scheduler and a host on loopback addresses, with TLS: who is let in, what goes there and comes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import skip_without
from fleet_lab import lab, wait_until
from red_faces import red_less_blue, write_red_faces
from test_fleet import CARD

from swapbench import cli, store
from swapbench.errors import EnvironmentFailed, UserError
from swapbench.fleet import door as doors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet_lab import Lab

pytestmark = pytest.mark.slow
skip_without("distributed")
skip_without("cryptography")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A scheduler with the host a, which offers two cores and its processor, and no phone."""
    with lab(tmp_path_factory.mktemp("fleet"), ADB="/nowhere") as made:
        made.scheduler()
        made.host("a", "--cores", "2")
        yield made


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")


def test_who_has_no_right_certificate_or_version_is_refused(
    fleet: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swapbench.fleet import engine
    from swapbench.fleet.client import Fleet
    from swapbench.fleet.host import Host, Offer

    right = doors.read_join_file(fleet.join_file)
    wrong = doors.opened_at(right.place, tls=True)
    none = doors.Door(right.host, right.port)
    for door in (wrong, none):
        with pytest.raises(EnvironmentFailed), Fleet(door):
            pass
    doors.write_join_file(wrong, Path("fleet.join"))
    assert cli.main(["fleet", "join", "fleet.join", "--name", "b"]) == 4
    assert "do not trust each other's certificate" in capsys.readouterr().err
    with Fleet(right) as connected:
        assert set(connected.hosts()) == {"a"}

    monkeypatch.setattr(engine, "__version__", "9.9")
    refused = r"has swapbench 9\.9, and the scheduler has swapbench \d"
    with pytest.raises(UserError, match=f"this computer {refused}"), Fleet(right):
        pass
    host = Host(right, Offer("b", Path.cwd()), lambda _: None)
    with pytest.raises(UserError, match=f"this host {refused}"):
        asyncio.run(host.stay(lambda: None))
    monkeypatch.undo()

    monkeypatch.chdir(tmp_path)
    engine.code.cache_clear()
    monkeypatch.setattr(engine, "code_now", lambda: "0" * 16)
    refused = rf"has swapbench's own code {'0' * 16}, and the scheduler has swapbench's own code \w{{16}}\."
    try:
        with pytest.raises(UserError, match=f"this computer {refused} Install the same commit"), Fleet(right):
            pass
        host = Host(right, Offer("b", Path.cwd()), lambda _: None)
        with pytest.raises(UserError, match=f"this host {refused}"):
            asyncio.run(host.stay(lambda: None))
    finally:
        engine.code.cache_clear()


def test_the_secret_is_its_owners_and_nothing_listens_elsewhere(fleet: Lab) -> None:
    import psutil

    assert fleet.join_file.stat().st_mode & 0o777 == 0o600
    assert (fleet.folder / "scheduler" / "fleet").stat().st_mode & 0o077 == 0
    for process in fleet.started:
        if process.child.poll() is None:
            addresses = {
                connection.laddr.ip
                for connection in psutil.Process(process.child.pid).net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
            assert addresses == {"127.0.0.1"}


def test_shards_on_a_fleet_are_the_file_of_one_computer(fleet: Lab) -> None:
    write_red_faces(Path.cwd())
    Path("net.onnx").write_bytes(red_less_blue(saturated_by=1.0))
    Path("net.toml").write_text(CARD)
    words = ["score", "net.onnx", "--data", "manifest.csv"]
    assert cli.main([*words, "--out", "whole.csv.gz"]) == 0
    away = ["--fleet", str(fleet.join_file), "--shards", "2"]
    assert cli.main([*words, "--out", "joined.csv.gz", *away]) == 0
    assert Path("joined.csv.gz").read_bytes() == Path("whole.csv.gz").read_bytes()
    before = jobs(fleet)
    assert cli.main([*words, "--out", "again.csv.gz", *away]) == 0
    assert Path("again.csv.gz").read_bytes() == Path("whole.csv.gz").read_bytes()
    assert jobs(fleet) == before  # nothing was scored again


def jobs(fleet: Lab) -> dict[str, list[str]]:
    """The hosts that began each job."""
    files = sorted((fleet.folder / "scheduler" / "fleet" / "jobs").glob("*.json"))
    return {path.stem: json.loads(path.read_text())["begun"] for path in files}


def test_a_processor_is_measured_on_its_host_and_what_fails_is_said(
    fleet: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.onnx").write_bytes(red_less_blue(saturated_by=1.0))
    Path("broken.onnx").write_bytes(b"no model")
    run = ["run", "net.onnx", "broken.onnx", "--fleet", str(fleet.join_file), "--budget", "1", "--no-report"]
    assert cli.main([*run, "--no-accuracy", "--name", "r"]) in {2, 4}
    told = capsys.readouterr()
    assert "broken.onnx" in told.err
    assert "net.onnx" in told.out
    (record,) = store.load_run(Path("reports/r-local-a"))
    assert (record.run, record.machine.name, record.lost_hosts) == ("r-local-a", "local", ())
    assert cli.main(["run", "net.onnx", "--fleet", str(fleet.join_file), "--device", "pixel77"]) == 2
    assert "there is no device in the fleet named 'pixel77'" in capsys.readouterr().err


def test_a_gate_judges_on_a_host(fleet: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    for side in ("old", "new"):
        Path(side).mkdir()
        Path(side, "net.onnx").write_bytes(red_less_blue(saturated_by=1.0))
    words = ["gate", "--baseline", "old", "--candidate", "new", "--junit", "j.xml", "--budget-s", "1"]
    assert cli.main([*words, "--fleet", str(fleet.join_file)]) in {0, 3}  # the machine may be too noisy
    assert "file_bytes" in capsys.readouterr().out
    assert "<testsuite" in Path("j.xml").read_text()


def test_a_host_that_leaves_is_no_longer_shown(fleet: Lab) -> None:
    from swapbench.fleet.client import Fleet

    b = fleet.host("b", "--cores", "1", "--no-processor")
    shown = fleet.start("person", "fleet", str(fleet.join_file), "--json")
    assert shown.ended() == 0
    assert {row["host"] for row in json.loads(shown.said)["hosts"]} == {"a", "b"}
    assert b.end() == 0
    with Fleet(doors.read_join_file(fleet.join_file)) as connected:
        wait_until(lambda: set(connected.hosts()) == {"a"}, "host b to be gone")
