"""A fleet on this machine: a scheduler, two hosts, and four emulated phones of two profiles over adb."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import skip_without
from fleet_lab import Lab, lab, wait_until
from phone.lifecycle import Unavailable, adb_server, emulated_phone
from tiny_files import small_onnx

from swapbench import cli, store
from swapbench.devices import leases
from swapbench.fleet.parcel import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phone.lifecycle import Phone

    from swapbench.records import Record

pytestmark = pytest.mark.slow
skip_without("distributed")
skip_without("ziglang")

PROFILE = 'name = "{}"\nkind = "android"\n[match]\n"ro.product.model" = ["{}*"]\n[steady]\ncool_down_s = 0\n'
QUICK = ("--budget", "1", "--window", "1", "--no-accuracy", "--no-report")
DOUBTFUL = 3  # every record of an emulated phone is


@pytest.fixture(scope="module")
def phones() -> Iterator[list[Phone]]:
    """Two of each profile; the first of each belongs to the host a, the others to b."""
    with contextlib.ExitStack() as stack:
        try:
            adb = stack.enter_context(adb_server())
            yield [
                stack.enter_context(emulated_phone(adb, dialect=dialect))
                for dialect in ("pixel", "samsung", "pixel", "samsung")
            ]
        except Unavailable as error:
            pytest.skip(f"no emulated phone: {error}")


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the hosts build the native runner, once for all tests."""
    return tmp_path_factory.mktemp("kits")


@pytest.fixture
def fleet(tmp_path: Path, phones: list[Phone], kits: Path) -> Iterator[Lab]:
    """The lab, with the profiles one and two on the hosts, and a file to measure where a person works."""
    for host in "ab":
        (tmp_path / host / "devices").mkdir(parents=True)
        (tmp_path / host / "build").symlink_to(kits)
        for name, model in (("one", "Pixel"), ("two", "SM-")):
            (tmp_path / host / "devices" / f"{name}.toml").write_text(PROFILE.format(name, model))
    (tmp_path / "person").mkdir()
    (tmp_path / "person" / "net.onnx").write_bytes(small_onnx())
    for phone in phones:
        phone.reset()
    with lab(tmp_path, ANDROID_ADB_SERVER_PORT=str(phones[0].adb_server.port)) as made:
        yield made


def offered(of: Sequence[Phone]) -> list[str]:
    """A host's options that offer phones, and nothing else."""
    return ["--cores", "0", "--no-processor", *(word for phone in of for word in ("--phone", phone.serial))]


def seen(made: Lab) -> dict[str, Any]:
    """What `swapbench fleet` shows."""
    shown = made.start("person", "fleet", str(made.join_file), "--json")
    shown.ended()
    return dict(json.loads(shown.said))


def runs(made: Lab, name: str) -> dict[str, Record]:
    """The records of all devices of a run, by run folder; each has one."""
    folders = sorted((made.folder / "person" / "reports").glob(f"{name}-*"))
    found = {folder.name: store.load_run(folder) for folder in folders}
    assert all(len(records) == 1 for records in found.values())
    return {folder: records[0] for folder, records in found.items()}


def desk_jobs(made: Lab) -> list[dict[str, Any]]:
    """What the scheduler kept of every job."""
    files = (made.folder / "scheduler" / "fleet" / "jobs").glob("*.json")
    return [json.loads(path.read_text()) for path in files]


def left_running(phones: Sequence[Phone]) -> list[str]:
    return [command for phone in phones for _, command in phone.processes() if "runner" in command]


def at_work(made: Lab, host: str) -> bool:
    """Whether a host has begun to measure."""
    return any((made.folder / host / "fleet" / "jobs").glob("*/reports/*/run.json"))


def test_six_jobs_end_though_a_host_and_the_scheduler_are_lost(fleet: Lab, phones: list[Phone]) -> None:
    scheduler = fleet.scheduler()
    port = json.loads(fleet.join_file.read_text())["port"]
    fleet.host("a", *offered(phones[:2]))
    b = fleet.host("b", *offered(phones[2:]))
    every = fleet.run("net.onnx", *QUICK, "--device", "one,two", "--name", "every")
    each = fleet.run("net.onnx", *QUICK, "--device", "one,two", "--name", "each", "--one-each")
    wait_until(lambda: at_work(fleet, "b"), "the host b at work")
    b.kill()
    wait_until(lambda: left_running(phones[2:]) == [], "nothing left on the phones of b")
    scheduler.kill()
    fleet.scheduler(port=port)
    fleet.host("b", *offered(phones[2:]))
    assert every.ended() == DOUBTFUL, every.said
    assert each.ended() == DOUBTFUL, each.said
    assert "is back; what had not come back" in every.said

    jobs = desk_jobs(fleet)
    assert len(jobs) == 6
    assert {job["state"] for job in jobs} == {"done"}
    of_phone: dict[str, list[tuple[datetime, datetime]]] = {}
    for result in (Result.read(job["result"].encode()) for job in jobs):
        began = datetime.fromisoformat(result.began)
        of_phone.setdefault(result.device, []).append((began, began + timedelta(seconds=result.seconds)))
    assert len(of_phone) == 4
    for spans in of_phone.values():
        assert all(before[1] <= after[0] for before, after in pairwise(sorted(spans)))

    records = {**runs(fleet, "every"), **runs(fleet, "each")}
    assert len(records) == 6
    assert Counter(record.machine.name for record in records.values()) == {"one": 3, "two": 3}
    again = {name: record.lost_hosts for name, record in records.items() if record.lost_hosts}
    assert again
    assert set(again.values()) == {("b",)}
    assert sorted(job["title"] for job in jobs if len(job["begun"]) > 1) == sorted(again)
    assert "was measured again: b began it and was lost" in every.said + each.said
    assert left_running(phones) == []

    # the same at the desk: the record has the same name, file and plan
    desk = fleet.start(
        "a",
        "run",
        "../person/net.onnx",
        *QUICK,
        "--device",
        "one",
        "--name",
        "desk",
        "--serial",
        phones[0].serial,
    )
    assert desk.ended() == DOUBTFUL, desk.said
    (here,) = store.load_run(fleet.folder / "a" / "reports" / "desk")
    for record in records.values():
        for field in ("id", "artifact_sha256", "plan", "runtime", "shapes", "remarks"):
            assert getattr(record, field) == getattr(here, field), field
    # what came back is not measured again
    came = fleet.run("net.onnx", *QUICK, "--device", "one,two", "--name", "every")
    assert came.ended() == 2
    assert "has records already" in came.said


def test_a_phone_is_one_commands_and_one_that_is_gone_is_a_reason(
    fleet: Lab, phones: list[Phone], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in fleet.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(leases.FOLDER, str(fleet.folder / "leases"))
    monkeypatch.setattr(leases, "_own", {})
    monkeypatch.chdir(fleet.folder / "a")
    fleet.scheduler()
    fleet.host("a", *offered(phones[:2]))
    # a person at the desk has the phone: the job waits, and its lease does not run meanwhile
    mine = leases.take(phones[0].serial, "ann")
    late = fleet.run("net.onnx", *QUICK, "--device", "one", "--name", "late", "--lease", "1s")
    wait_until(lambda: "waits: in use by ann" in late.said, "a job that waits")
    assert leases.give_back(mine)
    assert late.ended() == 4
    assert "its lease of 1 s ran out before it ended" in late.said
    assert left_running(phones) == []

    # the fleet has the phone: the person at the desk is told so
    gone = fleet.run("net.onnx", *QUICK, "--device", "two", "--name", "gone", "--wait", "2s")
    wait_until(lambda: at_work(fleet, "a"), "the host a at work")
    (held,) = [phone for phone in seen(fleet)["phones"] if phone["held by"]]
    assert held["serial"] == phones[1].serial
    words = ["run", "../person/net.onnx", *QUICK, "--device", "two", "--serial", phones[1].serial]
    assert cli.main(words) == 4
    assert f"phone {phones[1].serial} is in use by a job of the fleet (gone-two" in capsys.readouterr().err

    # the phone is unplugged for ever, in the middle of a job and before the next
    phones[1].adb_server("disconnect", phones[1].serial)
    assert gone.ended() == 4, gone.said
    again = fleet.run("net.onnx", *QUICK, "--device", "two", "--name", "gone", "--wait", "2s")
    assert again.ended() == 4
    assert f"no host of the fleet has offered the phone {phones[1].serial} (two) for 2 s" in again.said
    unknown = fleet.run("net.onnx", *QUICK, "--device", "three")
    assert unknown.ended() == 2
    assert "there is no device in the fleet named 'three'" in unknown.said
