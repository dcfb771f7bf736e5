"""Fleets without a fleet: the join file, what travels, the scheduler's desk, who waits for whom, leases."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import fields, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from conftest import skip_without
from tiny_files import small_onnx

from swapbench import cli
from swapbench.catalog import Folders
from swapbench.commands import fleet as commands
from swapbench.commands.fleet_options import FleetOptions, shard_numbers
from swapbench.commands.fleet_run import failures_of
from swapbench.commands.fleet_words import Packing, command_files, run_words
from swapbench.commands.options import (
    DeviceOptions,
    JudgedData,
    RunFolder,
    TimingOptions,
    VariantOptions,
)
from swapbench.commands.run import RunRequest
from swapbench.devices import leases
from swapbench.errors import EnvironmentFailed, MissingPackage, NotValid, UserError
from swapbench.files import file_sha256
from swapbench.fleet import door as doors
from swapbench.fleet.client import Standing
from swapbench.fleet.content import Content
from swapbench.fleet.door import Door, door_to, opened_at, read_join_file, split, write_join_file
from swapbench.fleet.executor import OnFleet
from swapbench.fleet.parcel import Job, Result, inside
from swapbench.fleet.slots import Quiet, can_do, cores_slot, phone_slot, processor_slot
from swapbench.study.executor import Ended
from swapbench.study.jobs import Job as Training

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = Job("r-pixel7", "ann@desk", ("run", "files/net.onnx"), {"files/net.onnx": "0" * 64}, profile="pixel7")


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(leases.FOLDER, str(tmp_path / "leases"))
    monkeypatch.delenv(doors.NAMED, raising=False)
    monkeypatch.delenv(leases.TOKEN, raising=False)
    monkeypatch.setattr(leases, "_own", {})


# ---- The door ----


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("scheduler", ("scheduler", 8786)),
        ("scheduler:99", ("scheduler", 99)),
        (":99", ("", 99)),
        ("[::1]:99", ("::1", 99)),
        ("[::1]", ("::1", 8786)),
    ],
)
def test_a_place_is_a_host_and_a_port(text: str, place: tuple[str, int]) -> None:
    assert split(text) == place


@pytest.mark.parametrize("text", ["scheduler:", "a b:1", "x:99999", "tls://x:1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not an address"):
        split(text)


@pytest.mark.parametrize("place", ["0.0.0.0", ":8786", "10.0.0.5:8786", "lab.example.org", "[::]:1"])
def test_without_tls_nobody_listens_elsewhere(place: str) -> None:
    with pytest.raises(UserError, match="would run what anybody in the network sends it"):
        opened_at(place, tls=False)


@pytest.mark.parametrize("place", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_without_tls_this_computer_alone_is_let_in(place: str) -> None:
    assert opened_at(place, tls=False).protocol == "tcp"


def test_a_join_file_is_a_secret_with_the_whole_door() -> None:
    door = Door("lab", 99, "certificate", "key")
    write_join_file(door, Path("fleet.join"))
    assert Path("fleet.join").stat().st_mode & 0o777 == 0o600
    assert read_join_file(Path("fleet.join")) == door
    assert door_to("elsewhere:5", Path()) == Door("elsewhere", 5, "certificate", "key")
    Path("fleet.join").chmod(0o640)
    with pytest.raises(UserError, match=r"other users can read .*chmod 600"):
        door_to("fleet.join", Path())


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"host": "a"}', '{"host": "a", "port": "b"}', "[" * 9999]
)
def test_what_is_no_join_file_is_called_so(content: str) -> None:
    Path("fleet.join").write_text(content)
    Path("fleet.join").chmod(0o600)
    with pytest.raises(UserError, match="is not a join file"):
        door_to("fleet.join", Path())


def test_another_computer_needs_a_join_file() -> None:
    with pytest.raises(UserError, match="there is no join file for the scheduler lab:1"):
        door_to("lab:1", Path())
    with pytest.raises(UserError, match=r"there is no join file gone\.join"):
        door_to("gone.join", Path())
    assert door_to("127.0.0.1:1", Path()) == Door("127.0.0.1", 1)


def test_a_certificate_of_its_own_is_made_once() -> None:
    skip_without("cryptography")
    one, other = opened_at("lab:1", tls=True), opened_at("lab:1", tls=True)
    assert one.protocol == "tls"
    assert one.certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert one.key.startswith("-----BEGIN PRIVATE KEY-----")
    assert one.key != other.key


def test_without_its_packages_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'swapbench\[fleet\]'"):
        doors.needs_dask()
    assert cli.main(["fleet", "lab:1"]) == 4
    assert cli.main(["run", "net.onnx", "--fleet", "lab:1"]) == 4


@pytest.mark.parametrize("words", [["--one-each"], ["--wait", "1min"], ["--lease", "1min"]])
def test_options_of_a_fleet_need_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "net.onnx", *words]) == 2
    assert f"{words[0]} is for a fleet" in capsys.readouterr().err


def test_times_of_a_fleet_are_typed_with_their_unit() -> None:
    assert FleetOptions.of("lab", "2min", "3h", one_each=True) == FleetOptions("lab", True, 120.0, 10800.0)


# ---- What travels ----


def test_a_job_and_its_result_travel_whole() -> None:
    job = replace(JOB, serial="1A", environment={"GITHUB_ACTIONS": "1"}, outputs=("reports/*",))
    assert Job.read(job.text()) == job
    assert job.id == Job.read(job.text()).id != JOB.id
    result = Result(3, "", ("note",), "{}", {"a": "0" * 64}, "b", "1A", ("a",), "2026", 1.5)
    assert Result.read(result.text()) == result


def test_a_host_does_what_swapbench_does_and_nothing_else() -> None:
    for words in ((), ("clean",), ("fleet", "start"), ("-c", "import os")):
        with pytest.raises(EnvironmentFailed, match="a fleet does not do"):
            Job.read(replace(JOB, words=words).text())


@pytest.mark.parametrize("name", ["/etc/passwd", "../net.onnx", "a/../../b", "", "a\\b", "a\0b"])
def test_a_path_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(EnvironmentFailed, match="leads out of its folder"):
        inside(name)
    with pytest.raises(EnvironmentFailed, match="leads out of its folder"):
        Job.read(replace(JOB, files={name: "0" * 64}).text())


def test_a_job_needs_its_phone_a_profile_or_cores() -> None:
    assert JOB.needs == {"profile pixel7": 1.0}
    assert replace(JOB, serial="1A").needs == {"profile pixel7": 1.0, "serial 1A": 1.0}
    assert replace(JOB, profile="", cores=2).needs == {"cores": 2.0}
    assert replace(JOB, profile="", cores=2, gpu=True).needs == {"gpu": 1.0}


def test_a_host_offers_each_phone_under_every_profile_that_fits() -> None:
    slots = [phone_slot("a", "1A", ("pixel7", "mine")), processor_slot("a"), cores_slot(2, 0)]
    about = {"slots": {slot.name: slot.resources for slot in slots}}
    assert can_do(about, replace(JOB, serial="1A").needs)
    assert can_do(about, replace(JOB, profile="local", host="a").needs)
    assert can_do(about, {"cores": 2.0})
    for needs in ({"cores": 3.0}, replace(JOB, serial="2B").needs, {"profile local": 1.0, "serial 1A": 1.0}):
        assert not can_do(about, needs)


def test_content_is_kept_by_its_digest_and_believed_only_with_it() -> None:
    Path("file").write_bytes(b"abc" * 1000)
    content = Content(Path("content"))
    digest = content.keep(Path("file"))
    assert digest == file_sha256(Path("file"))
    assert content.lacks([digest, "1" * 64, "1" * 64]) == ["1" * 64]
    content.place(digest, Path("out/copy"))
    assert Path("out/copy").read_bytes() == Path("file").read_bytes()
    content.path(digest).write_bytes(b"other")
    with pytest.raises(EnvironmentFailed, match="was damaged"):
        content.place(digest, Path("out/copy"))
    assert content.lacks([digest]) == [digest]


def test_a_file_that_arrives_in_parts_is_there_when_it_is_whole() -> None:
    Path("file").write_bytes(b"abcdef")
    digest, content = file_sha256(Path("file")), Content(Path("content"))
    content.add(digest, "s1", 0, b"abc", last=False)
    assert not content.has(digest)
    with pytest.raises(ValueError, match="was lost"):
        content.add(digest, "s1", 9, b"def", last=True)
    content.add(digest, "s1", 3, b"def", last=True)
    assert content.chunk(digest, 2) == b"cdef"
    with pytest.raises(ValueError, match="arrived damaged"):
        content.add("1" * 64, "s1", 0, b"abc", last=True)
    for wrong in ("../x", "A" * 64, ""):
        with pytest.raises(ValueError, match="is not a digest"):
            content.path(wrong)


# ---- Words ----


def request(**changes: Any) -> RunRequest:
    return replace(RunRequest(files=("nets/net.onnx",)), **changes)


def net(path: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(small_onnx())
    return path


def test_the_words_of_a_run_mean_the_same_run_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option that a fleet takes comes back from the command line as it went in."""
    net("nets/net.onnx")
    Path("nets/net.toml").touch()
    Path("card.toml").touch()
    Path("faces/live").mkdir(parents=True)
    Path("faces/live/a.png").touch()
    for name in ("boxes.csv", "yunet.onnx"):
        Path(name).touch()
    asked = RunRequest(
        files=("nets/net.onnx=card.toml",),
        runtimes=("onnxruntime",),
        device=DeviceOptions(cores=("big", "little"), delegates=("gpu",), require_full_delegation=True),
        data=JudgedData(
            data=Path("faces"),
            protocol="1",
            frames=3,
            faces="frame",
            boxes=Path("boxes.csv"),
            detector="yunet=yunet.onnx",
            threshold=0.25,
            keep_crops=False,
        ),
        card="card.toml",
        accuracy=False,
        timing=TimingOptions(2, 0.05, 7.0, 3, 15.0, 2.0, 60.0, profile=True),
        shapes={"x": (1, 3, 8, 8)},
        switches={"ncnn": {"winograd": "off", "packing": "on"}},
    )
    assert all(
        getattr(asked, field.name) != getattr(RunRequest(), field.name)
        for field in fields(RunRequest)
        if field.name not in {"variants", "output", "lost_hosts"}  # no fleet takes these from a person
    )
    packing = Packing(Folders(Path.cwd()))
    words = run_words(packing, asked)
    assert set(packing.files) == {
        *("files/nets/net.onnx", "files/nets/net.toml", "files/card.toml", "files/faces/live/a.png"),
        *("files/boxes.csv", "files/yunet.onnx"),
    }
    heard: list[RunRequest] = []

    def hear(folders: Folders, request: RunRequest, **_: Any) -> None:
        heard.append(request)
        raise UserError("heard")

    monkeypatch.setattr("swapbench.commands.run.run", hear)
    assert cli.main([*words, "--device", "pixel7", "--name", "r", "--no-report"]) == 2
    data = replace(
        asked.data, data=Path("files/faces"), boxes=Path("files/boxes.csv"), detector="yunet=files/yunet.onnx"
    )
    assert heard == [
        replace(
            asked,
            files=("files/nets/net.onnx=files/card.toml",),
            card="files/card.toml",
            data=data,
            device=replace(asked.device, name="pixel7"),
            output=RunFolder("r", report=False),
        )
    ]


def test_files_from_elsewhere_keep_what_tells_them_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swapbench.commands.named_files import named_files

    names = [net(str(tmp_path / folder / "net.onnx")) for folder in ("a", "b")]
    Path("work").mkdir()
    monkeypatch.chdir("work")
    packing = Packing(Folders(Path.cwd()))
    words = run_words(packing, request(files=tuple(names)))
    places = [word for word in words if word.endswith("net.onnx")]
    assert all(inside(place) for place in places)
    titles = [file.title for file in named_files(places)]
    assert titles == [file.title for file in named_files(names)] == ["a/net.onnx", "b/net.onnx"]


def test_a_manifest_travels_with_its_images() -> None:
    net("nets/net.onnx")
    for name in ("a.png", "b.png"):
        Path(name).touch()
    Path("manifest.csv").write_text("path,label\na.png,live\nb.png,attack\ngone.png,attack\n")
    packing = Packing(Folders(Path.cwd()))
    run_words(packing, request(data=JudgedData(data=Path("manifest.csv"))))
    assert {"files/manifest.csv", "files/a.png", "files/b.png"} <= set(packing.files)
    Path("manifest.csv").write_text("path,label\n/data/a.png,live\n")
    with pytest.raises(UserError, match=r"names /data/a\.png, which hosts of a fleet do not have"):
        run_words(Packing(Folders(Path.cwd())), request(data=JudgedData(data=Path("manifest.csv"))))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"files": ()}, "all bundled models"),
        ({"variants": VariantOptions(("minifasnet_v2",))}, "--models"),
        ({"device": DeviceOptions(detached=True)}, "--detached"),
        ({"device": DeviceOptions(serial="1A")}, "--serial"),
    ],
)
def test_what_only_this_computer_can_do_is_refused(changes: dict[str, Any], named: str) -> None:
    net("nets/net.onnx")
    with pytest.raises(UserError, match=f"{named} cannot go to a fleet"):
        run_words(Packing(Folders(Path.cwd())), request(**changes))


def test_a_training_travels_with_what_it_names_and_the_networks_in_its_folder() -> None:
    for name in ("mine.toml", "faces/a.png", "models/own.toml", "out/teacher.toml", "out/net.state"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    packing = Packing(Folders(Path.cwd()))
    words = ["train", "mine.toml", "--data", "faces", "--out", "out", "--seed", "1"]
    assert command_files(packing, words, [Path("models")], Path("out")) == words
    assert set(packing.files) == {"mine.toml", "faces/a.png", "models/own.toml", "out/teacher.toml"}
    Path("faces.csv").write_text("path,label\nfaces/a.png,live\n")
    packing = Packing(Folders(Path.cwd()))
    command_files(packing, ["train", "net", "--data", "faces.csv"], [], Path("out2"))
    assert set(packing.files) == {"faces.csv", "faces/a.png"}
    with pytest.raises(UserError, match="lies outside the working folder"):
        command_files(packing, ["train", "/etc/hostname"], [], Path("out"))


def test_how_a_command_ended_is_an_error_of_its_kind() -> None:
    assert failures_of(0, "", ["note"]) == []
    assert failures_of(3, "", ["doubt"]) == []
    (failed,) = failures_of(3, "", ["failed: net.onnx: not valid"])
    assert (type(failed), str(failed)) == (NotValid, "net.onnx: not valid")
    (failed,) = failures_of(2, "no file", [])
    assert isinstance(failed, UserError)
    (failed,) = failures_of(-9, "", [])
    assert "status -9" in str(failed)


# ---- The desk ----


@pytest.fixture
def desk() -> Callable[[], Any]:
    """Makes the desk of a scheduler that is started, and started again, in one folder."""
    skip_without("distributed")
    from swapbench.fleet.scheduler import Desk

    return lambda: Desk(Path("fleet"))


ABOUT = {"title": "r", "who": "ann", "needs": {"cores": 1.0}}


def test_a_scheduler_that_is_started_again_knows_jobs_and_results(desk: Callable[[], Any]) -> None:
    first = desk()
    assert first.hand_in("j1", ABOUT) is False
    assert first.begin("j1", "a", "1A") == []
    second = desk()
    assert second.begin("j1", "b", "1A") == ["a"]
    second.done("j1", "result", failed=False)
    second.done("j1", "another", failed=False)  # of a host that was thought lost
    third = desk()
    assert third.hand_in("j1", ABOUT) is True
    assert third.state(["j1"])["jobs"]["j1"]["result"] == "result"


def test_what_failed_is_done_again_when_it_is_handed_in_again(desk: Callable[[], Any]) -> None:
    one = desk()
    one.hand_in("j1", ABOUT)
    one.begin("j1", "a", "")
    one.done("j1", "no phone", failed=True)
    assert one.hand_in("j1", ABOUT) is False
    assert one.begin("j1", "a", "") == []  # it came to an end before: no host was lost


def test_a_cancelled_job_is_told_so_and_may_be_wanted_again(desk: Callable[[], Any]) -> None:
    one = desk()
    one.hand_in("j1", ABOUT)
    assert one.tell("j1", "a", "timing", 0.5) is True
    one.cancel("j1")
    assert one.tell("j1", "a", "timing", 0.6) is False
    one.hand_in("j1", ABOUT)
    assert one.tell("j1", "a", "timing", 0.7) is True


def test_a_host_that_says_nothing_is_not_shown(desk: Callable[[], Any]) -> None:
    one = desk()
    one.clock = lambda: 100.0
    one.announce("a", {"slots": {}, "running": {}, "phones": []})
    assert set(one.state([])["hosts"]) == {"a"}
    one.clock = lambda: 200.0
    assert one.state([])["hosts"] == {}


def test_the_overview_says_who_holds_what(desk: Callable[[], Any]) -> None:
    one = desk()
    phone = {
        "serial": "1A",
        "state": "device",
        "model": "Pixel 7",
        "profiles": ["pixel7"],
        "battery": 80,
        "held_by": "ann",
    }
    slots = {"1A": phone_slot("a", "1A", ("pixel7",)).resources, "cores": cores_slot(4, 0).resources}
    one.announce("a", {"slots": slots, "running": {"1A": "r"}, "phones": [phone]})
    one.hand_in("j1", ABOUT)
    one.hand_in("j2", {**ABOUT, "title": "s"})
    one.begin("j2", "a", "1A")
    rows = commands.rows(one.state([]))
    assert [(row["host"], row["cores"], row["running"]) for row in rows["hosts"]] == [("a", 4, "r")]
    assert [(row["serial"], row["battery"], row["held by"]) for row in rows["phones"]] == [
        ("1A", "80 %", "ann")
    ]
    assert [(row["job"], row["state"], row["where"]) for row in rows["jobs"]] == [
        ("r", "waiting", "1 cores"),
        ("s", "running", "a/1A"),
    ]


def test_versions_that_differ_are_both_named() -> None:
    skip_without("distributed")
    from swapbench.fleet import engine

    engine.refuse_other(engine.versions(), "host")
    with pytest.raises(UserError, match=r"this host has swapbench .*, and the scheduler has swapbench 9\.9"):
        engine.refuse_other({**engine.versions(), "swapbench": "9.9"}, "host")
    other = r"this computer has swapbench's own code \w{16}, and the host a has swapbench's own code unknown"
    with pytest.raises(UserError, match=other):
        engine.refuse_other({**engine.versions(), engine.CODE: "unknown"}, "computer", "the host a")


def test_two_checkouts_of_one_version_have_different_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("distributed")
    import swapbench
    from swapbench.fleet import engine

    ours = engine.code()
    for path in Path(swapbench.__file__).parent.rglob("*"):
        if path.suffix in {".py", ".c", ".h"}:
            copy = Path("swapbench", path.relative_to(Path(swapbench.__file__).parent))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(swapbench, "__file__", str(Path("swapbench/__init__.py").absolute()))
    Path("swapbench/__pycache__").mkdir()
    Path("swapbench/__pycache__/units.cpython-311.pyc").write_bytes(b"x")
    assert engine.code_now() == ours  # it is the content that counts, wherever it lies
    Path("swapbench/units.py").write_text(Path("swapbench/units.py").read_text() + "\n# changed\n")
    changed = engine.code_now()
    Path("swapbench/units.py").rename("swapbench/unit.py")
    assert len({ours, changed, engine.code_now()}) == 3
    assert engine.code() == ours  # what runs stays what it was


def test_a_host_whose_code_changed_does_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("distributed")
    from swapbench.fleet import engine
    from swapbench.fleet.host import Host, Offer

    handed_in: list[tuple[str, str]] = []

    async def ask(door: Door, question: str, **values: Any) -> Any:
        if question == "done":
            handed_in.append((values["job"], values["result"]))
        return [] if question == "lacks" else True

    ours = engine.code()
    monkeypatch.setattr(engine, "ask", ask)
    monkeypatch.setattr(engine, "code_now", lambda: "0" * 16)
    host = Host(Door("lab", 1), Offer("b", Path.cwd()), lambda _: None)
    job = replace(JOB, profile="", cores=1, files={})
    host._slots["cores"] = cores_slot(1, 0)
    asyncio.run(host.job(job, "b/cores"))
    ((name, text),) = handed_in
    result = Result.read(text.encode())
    assert (name, result.failed) == (job.id, True)
    assert f"the host b joined with swapbench's own code {ours}, and now has {'0' * 16}" in result.error


# ---- Who waits for whom ----


def test_while_the_processor_is_measured_nothing_else_runs() -> None:
    async def play() -> list[str]:
        quiet, told = Quiet(), []

        async def job(name: str, *, alone: bool) -> None:
            async with quiet.held(alone=alone):
                told.append(f"{name} begins")
                await asyncio.sleep(0.01)
                told.append(f"{name} ends")

        await asyncio.gather(
            job("phone 1", alone=False),
            job("phone 2", alone=False),
            job("processor", alone=True),
            job("phone 3", alone=False),
        )
        return told

    told = asyncio.run(play())
    assert sorted(told[:4]) == ["phone 1 begins", "phone 1 ends", "phone 2 begins", "phone 2 ends"]
    assert told[4:] == ["processor begins", "processor ends", "phone 3 begins", "phone 3 ends"]


# ---- Leases ----


def test_a_phone_is_one_holders_at_a_time() -> None:
    lease = leases.take("1A", "ann", 60.0)
    with pytest.raises(leases.Leased, match=r"phone 1A is in use by ann since \d\d:\d\d, until"):
        leases.take("1A", "ben")
    leases.take("2B", "ben")
    assert leases.give_back(lease) is True
    assert leases.take("1A", "ben").holder == "ben"
    assert leases.give_back(lease) is False  # it is somebody else's now


def test_a_lease_runs_out() -> None:
    now_s = time.time()
    old = leases.take("1A", "ann", 60.0, clock=lambda: now_s - 61.0)
    assert leases.holder_of("1A") is None
    leases.take("1A", "ben")
    assert leases.give_back(old) is False


def test_a_lease_ends_with_its_process() -> None:
    code = (
        "from swapbench.devices import leases; leases.take('1A', 'ann'); print('taken', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"taken\n"
        with pytest.raises(leases.Leased, match="in use by ann"):
            leases.use("1A")
        other.kill()
    leases.use("1A")
    leases.use("1A")  # ours already
    held = leases.holder_of("1A")
    assert held is not None
    assert held.process == os.getpid()


def test_a_command_measures_under_the_lease_of_who_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lease = leases.take("1A", "a job of the fleet", 60.0)
    with pytest.raises(leases.Leased):
        leases.use("1A")
    monkeypatch.setenv(leases.TOKEN, lease.token)
    leases.use("1A")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"serial": "1A"}', "null", "[" * 5000])
def test_a_note_that_is_no_lease_keeps_nobody_out(content: str) -> None:
    leases.give_back(leases.take("1A", "ann"))
    leases._file("1A").write_text(content)
    assert leases.holder_of("1A") is None
    leases.take("1A", "ben")


def test_a_holder_steers_no_terminal() -> None:
    leases.take("1A", "ann")
    path = leases._file("1A")
    path.write_text(json.dumps({**json.loads(path.read_text()), "holder": "\x1b[2J"}))
    with pytest.raises(leases.Leased, match=r"\\u001b"):
        leases.take("1A", "ben")


def test_where_no_note_can_be_written_nobody_is_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv(leases.FOLDER, "file/below")
    leases.use("1A")
    with pytest.raises(EnvironmentFailed, match="leases of phones cannot be kept"):
        leases.take("1A", "ann")


# ---- Shards ----


def test_every_presentation_is_in_one_shard_with_all_of_its_frames() -> None:
    from swapbench.data.shards import shard_of

    names = [f"person {number}" for number in range(1000)]
    sizes = [sum(shard_of(name, 4) == number for name in names) for number in (1, 2, 3, 4)]
    assert sum(sizes) == 1000
    assert min(sizes) > 150
    assert shard_of("person 1", 4) == 1  # its sha256 begins with 9e6f4bda08124274, a multiple of 4


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/", "/2", "-1/2", "1/99999"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no shard"):
        shard_numbers(text)


CARD = (
    'name = "red"\nsummary = "a test"\nfamily = ""\ncheckpoint = ""\ncheckpoint_sha256 = ""\n[architecture]\n'
    "[preprocessing]\nwidth_px = 8\nheight_px = 8\ncrop_scale = 1.0\n"
    '[output]\nkind = "logits"\nbona_fide_index = 1\n'
)


def scored_data() -> list[str]:
    """Options that score twelve people, one presentation of whom a spreadsheet would compute."""
    from red_faces import red_less_blue, write_red_faces

    write_red_faces(Path.cwd())
    text = Path("manifest.csv").read_text()
    Path("manifest.csv").write_text(text.replace("\n3.png", "\n=3.png"))
    Path("3.png").rename("=3.png")
    Path("net.onnx").write_bytes(red_less_blue(saturated_by=1.0))
    Path("net.toml").write_text(CARD)
    return ["score", "net.onnx", "--data", "manifest.csv"]


def test_shards_together_are_the_file_of_one_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    from swapbench.commands.data import folds
    from swapbench.commands.fleet_score import merged
    from swapbench.commands.options import DataOptions

    words = scored_data()
    assert cli.main([*words, "--out", "whole.csv"]) == 0
    parts = []
    for number in (3, 1, 2):
        assert cli.main([*words, "--out", "part.csv", "--shard", f"{number}/3"]) == 0
        parts.append(Path("part.csv").read_text())
    options = DataOptions(data=Path("manifest.csv"))
    data = folds(Folders(Path.cwd()), options, ("dev", "test"), progress=lambda *_: None, say=lambda _: None)
    with Path("whole.csv").open(newline="") as file:
        assert merged(parts, data, raw=False) == list(csv.reader(file))
    with pytest.raises(EnvironmentFailed, match="lack a frame"):
        merged(parts[:2], data, raw=False)
    with pytest.raises(EnvironmentFailed, match="not in the data"):
        merged([*parts, parts[0]], data, raw=False)
    assert cli.main([*words, "--out", "part.csv", "--shard", "1/9999"]) == 0  # an empty one
    assert len(Path("part.csv").read_text().splitlines()) == 1


# ---- Trainings ----


class OnPaper:
    """A fleet whose jobs stand as they are told."""

    def __init__(self, cores: int) -> None:
        self.about = {"a": {"slots": {"cores": cores_slot(cores, 0).resources}}}
        self.standing: dict[str, Standing] = {}
        self.handed_in: list[Job] = []
        self.cancelled: list[Job] = []

    def hosts(self) -> dict[str, Any]:
        return self.about

    def hand_in(self, job: Job, files: dict[str, Path]) -> None:
        self.handed_in.append(job)
        self.standing[job.id] = Standing(job)

    def standings(self) -> tuple[Standing, ...]:
        return tuple(self.standing.values())

    def fetch(self, result: Result, folder: Path, names: dict[str, str]) -> None:
        for name in names:
            (folder / name).write_text(result.files[name])

    def cancel(self, jobs: list[Job]) -> None:
        self.cancelled += jobs


def test_a_training_goes_to_a_fleet_and_its_files_come_back() -> None:
    training = Training("net.seed1", "net", "k1", ("train", "net"), Path("out"), "net", cores=8)
    Path("out").mkdir()
    fleet = OnPaper(cores=2)
    place = OnFleet(
        cast("Any", fleet),
        Path.cwd(),
        lambda job: (job.words, {"a": "0" * 64}, {}),
        "ann",
        clock=count().__next__,
    )
    assert place.cores == 2
    running = place.start(training)
    (sent,) = fleet.handed_in
    assert (sent.words, sent.cores, sent.nonce) == (("train", "net"), 2, "k1")  # no more than a host has
    assert running.how_far().stage == "waits for a host"
    fleet.standing[sent.id] = Standing(sent, "running", "training net", 0.25, "a")
    assert (running.how_far().stage, running.how_far().share) == ("training net (host a)", 0.25)
    assert running.ended() is None
    result = Result(
        0, said=("a note",), files={"out/net.toml": "card", "out/net.log": "theirs"}, host="a", lost=("b",)
    )
    fleet.standing[sent.id] = Standing(sent, "done", result=result)
    assert running.ended() == Ended(0)
    assert Path("out/net.toml").read_text() == "card"
    assert Path("out/net.log").read_text().splitlines()[:3] == [
        *("done by host a", "b began it before and was lost", "a note")
    ]
    running.end()
    assert fleet.cancelled == [sent]


def test_a_training_that_no_host_does_says_why() -> None:
    fleet = OnPaper(cores=1)
    place = OnFleet(
        cast("Any", fleet), Path.cwd(), lambda job: (job.words, {}, {}), "ann", clock=count().__next__
    )
    running = place.start(Training("net", "net", "k1", ("train", "net"), Path("out"), "net"))
    (sent,) = fleet.handed_in
    fleet.standing[sent.id] = Standing(sent, "failed", error="nobody offers it")
    assert running.ended() == Ended(4, "nobody offers it")
    with pytest.raises(EnvironmentFailed, match="no host of the fleet offers GPUs"):
        OnFleet(cast("Any", fleet), Path.cwd(), lambda job: (job.words, {}, {}), "ann", gpu=True)


def test_what_is_the_hosts_own_business_is_refused() -> None:
    for files in ({"runtimes/onnxruntime.toml": "0" * 64}, {"devices/pixel7.toml": "0" * 64}):
        with pytest.raises(EnvironmentFailed, match="is the host's own"):
            Job.read(replace(JOB, files=files).text())
    with pytest.raises(EnvironmentFailed, match="a fleet does not set LD_PRELOAD"):
        Job.read(replace(JOB, environment={"LD_PRELOAD": "x"}).text())


def test_a_process_that_lives_on_keeps_no_phone_after_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(leases.FOLDER, str(tmp_path))
    with leases.only_meanwhile():
        leases.use("R5C")
        assert leases.holder_of("R5C") is not None
    assert leases.holder_of("R5C") is None
