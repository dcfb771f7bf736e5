"""Reports of phones: what is taken out of them, what is refused, and that a replayed phone is the phone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from phone.programs import ACCOUNT, NETWORK

from swapbench import cli
from swapbench.commands.phone_report import gist
from swapbench.devices import private_text
from swapbench.devices.android_profile import Profile
from swapbench.devices.phone_collect import without
from swapbench.devices.phone_replay import replayed
from swapbench.devices.phone_report import TRACE, Answer, PhoneReport, read_report
from swapbench.errors import UserError
from swapbench.meters.perfetto_trace import only_rails, traced_rails
from swapbench.records import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from phone.lifecycle import Phone

pytest_plugins = ["phone.fixture"]

PROFILE = Profile(name="p", kind="android", match={"ro.x": ("y",)})


def report(**fields: Any) -> PhoneReport:
    given = {"swapbench": "1", "time": "now", "profile": PROFILE, "features": ("shell_v2",), "findings": ()}
    return PhoneReport(**{**given, "properties": {}, "answers": (), "files": {}, **fields})


# ------------------------------------------------------------------------------------------ what is taken out


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("serial R5CT30ABCDE here", "serial <serial> here"),
        ("lower r5ct30abcde, and xR5CT30ABCDEx", "lower <serial>, and xR5CT30ABCDEx"),
        ("from anna.b+c@mail.example.org", "from <e-mail address>"),
        ("wlan0 02:00:5E:10:00:FF up", "wlan0 <address of a network card> up"),
        ("192.168.178.23:5555", "<internet address>:5555"),
        ("fe80::1ff:fe23:4567:890a and 2001:db8:0:0:1:0:0:1", "<internet address> and <internet address>"),
        ("adb-0A1B2C3D4E-AbCdEf (2)._adb-tls-connect._tcp", "<wireless serial> (2)._adb-tls-connect._tcp"),
        ("imei 490154203237518, counter 490154203237519", "imei <IMEI>, counter 490154203237519"),
        ("Wi-Fi Home 5G", "Wi-Fi <network>"),
        ("kernel 5.10.157, level 3, 12:34:56, 2026-12-01", "kernel 5.10.157, level 3, 12:34:56, 2026-12-01"),
    ],
)
def test_names_and_addresses_of_the_owner_are_taken_out(text: str, cleaned: str) -> None:
    secret = {"R5CT30ABCDE": "serial", "Home 5G": "network"}
    found, removed = private_text.cleaned(text, secret)
    assert found == cleaned
    assert sum(removed.values()) == cleaned.count("<")


def test_a_phone_that_is_called_like_its_model_keeps_no_secret_by_that() -> None:
    told = {
        "name": ["Pixel 7", "Anna's phone\n", "null", "", "ab"],
        "account": private_text.accounts("Account {name=a@b.c, type=x}"),
    }
    assert private_text.secrets(told, "Google Pixel 7 Pro") == {"Anna's phone": "name", "a@b.c": "account"}


def test_only_properties_of_model_and_system_are_kept() -> None:
    kept = {
        "ro.product.model": "m",
        "ro.build.fingerprint": "f",
        "ro.soc.model": "s",
        "ro.boot.hardware": "h",
    }
    lost = {
        "ro.serialno": "1",
        "ro.boot.serialno": "2",
        "persist.sys.timezone": "t",
        "gsm.sim.operator": "o",
        "net.hostname": "n",
        "ro.boot.wifimacaddr": "w",
    }
    assert private_text.kept_properties({**kept, **lost}) == kept


def test_secrets_go_from_every_part_of_a_report() -> None:
    name = "secret-1"
    full = report(
        properties={"ro.product.x": name},
        answers=(Answer(words="id", status=0, text=name, errors=name),),
        files={"/proc/cpuinfo": f"Serial\t\t: 00000000deadbeef\nx {name}"},
        findings=(Finding("adb", "ok", name, name),),
    )
    cleaned = without(full, {name: "serial"})
    assert name not in cleaned.shown()
    assert "deadbeef" not in cleaned.shown()
    assert cleaned.removed == {"serial": 6}


# ------------------------------------------------------------------------------------------ what is refused


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = report(
        properties={"ro.build.id": "a]: [b"},
        answers=(Answer(words="dumpsys x", status=3, text="Ä\n", errors="e", begins=True),),
        files={"/sys/a b": "1"},
        unreadable=("/sys/c",),
        findings=(Finding("adb", "ok", "d", "r"),),
        removed={"serial": 2},
    )
    written.write(tmp_path / "r.zip")
    assert read_report(tmp_path / "r.zip") == written
    assert "swapbench device replay r.zip" in zipfile.ZipFile(tmp_path / "r.zip").read("README.txt").decode()


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (None, "BadZipFile"),
        ({"a": "b"}, "KeyError"),
        ({"report.json": "[]"}, "TypeError|AttributeError"),
        ({"report.json": '{"answers": []}', "properties.txt": ""}, "schema_version|swapbench"),
        ({"../../x": "y"}, "it has a file"),
        ({"/etc/passwd": "y"}, "it has a file"),
        ({"files/sys/x": "0" * 8_000_001}, "too large"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, texts: dict[str, str] | None, says: str) -> None:
    path = tmp_path / "r.zip"
    if texts is None:
        path.write_text("PK no zip")
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, text in texts.items():
                packed.writestr(name, text)
    with pytest.raises(UserError, match=rf"is no report of a phone \((?s:.*){says}"):
        read_report(path)


def test_nothing_of_a_report_is_run_and_nothing_of_it_leaves_its_folder(tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    evil = f"$(touch '{mark}')`touch '{mark}'`; touch '{mark}' #"
    hostile = report(
        properties={evil: evil},
        answers=(Answer(words=f"dumpsys {evil}", status=0, text=evil, begins=True),),
        files={"/sys/ok": evil},
    )
    with replayed(hostile) as phone:
        assert phone.adb.query("cat /sys/ok").stdout == evil
        assert evil in phone.adb.query("getprop").stdout
        assert phone.adb.query("dumpsys battery").exit_code == 1
        phone.describe()
    assert not mark.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"files": {"/sys/../../../../../../tmp/x": "x"}},
        {"unreadable": ("/sys/../../../../../../tmp/x/y",)},
        {"files": {"/sys/a": "x", "/sys/a/b": "x"}},
        {"answers": (Answer(words=TRACE, status=0, text="no base64", begins=True),)},
    ],
)
def test_a_report_that_holds_what_no_phone_says_is_not_replayed(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="cannot be replayed"), replayed(report(**fields)):
        pass


def test_a_command_that_a_report_does_not_know_is_told_and_not_asked_of_this_computer() -> None:
    with replayed(report(answers=(Answer(words="uname -r", status=0, text="6.1\n"),))) as phone:
        assert phone.adb.query("uname -r").stdout == "6.1\n"
        assert phone.adb.query("uname -m").stdout == ""
        assert phone.adb.unanswered() == ("uname -m",)  # type: ignore[attr-defined]


def test_a_report_of_what_is_no_phone_or_does_not_answer_is_none(
    phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", "--bundle", "r.zip", "--yes"]) == 2
    assert "--bundle is for phones" in capsys.readouterr().err
    assert cli.main(["doctor", "--device", "emulated-x86", "--bundle", "r.zip", "--yes", "--json"]) == 2
    phone.set(answering=False)
    assert cli.main(["doctor", "--device", "emulated-x86", "--bundle", "r.zip", "--yes"]) == 4
    phone.reset()
    phone.when("power_supply", cable=False)  # while files are read
    assert cli.main(["doctor", "--device", "emulated-x86", "--bundle", "r.zip", "--yes"]) == 4
    assert "Check the cable" in capsys.readouterr().err
    assert not Path("r.zip").exists()
    assert cli.main(["device", "replay", "r.zip"]) == 2


# ------------------------------------------------------------------------------------------ a replayed phone


@pytest.mark.parametrize(
    "dialect",
    [
        "pixel",
        pytest.param("samsung", marks=pytest.mark.slow),
        pytest.param("xiaomi", marks=pytest.mark.slow),
    ],
)
def test_a_replayed_phone_is_found_as_the_phone_was(
    start_phone: Callable[..., Phone],
    dialect: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    phone = start_phone(dialect=dialect)
    phone.shell("settings put global device_name 'Anna phones'")
    planted = f"Anna Phones, {ACCOUNT}, {NETWORK}, EMULATED{dialect.upper()}, 02:00:5e:10:00:ff"
    phone.set(properties={"ro.product.note": planted}, settings_denied=dialect == "xiaomi", thermal_status=1)
    assert cli.main(["doctor", "--device", "emulated-x86", "--bundle", "r.zip"]) == 2
    assert "Add --yes" in capsys.readouterr().err
    report = ["doctor", "--device", "emulated-x86", "--serial", phone.serial, "--bundle", "r.zip", "--yes"]
    assert cli.main(report) == 0
    shown = capsys.readouterr()
    packed = zipfile.ZipFile("r.zip")
    everything = "".join(packed.read(name).decode() for name in packed.namelist())
    for text in (everything, shown.out):
        assert "Current Battery Service state" in text
        for secret in ("Anna", "EMULATED" + dialect.upper(), phone.serial, "02:00:5e"):
            assert secret.lower() not in text.lower()
    assert "network 1x, serial" in shown.err
    then = json.loads(packed.read("report.json"))["findings"]
    assert cli.main(["device", "replay", "r.zip", "--json"]) == 0
    now = json.loads(capsys.readouterr().out)
    about_files = {"runtimes", "pages"}  # of this computer
    assert [(one["name"], gist(Finding(**one))) for one in now] == [
        (one["name"], gist(Finding(**one))) for one in then if one["name"] not in about_files
    ]
    assert cli.main(["device", "replay", "r.zip"]) == 0
    assert "then " not in capsys.readouterr().err


@pytest.mark.slow  # two phones
def test_a_report_makes_an_emulated_phone_that_answers_as_the_real_one_did(
    start_phone: Callable[..., Phone],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    real = start_phone(dialect="samsung")
    real.set(level_percent=41.0, thermal_status=2)
    report = ["doctor", "--device", "emulated-x86", "--serial", real.serial, "--bundle", "r.zip", "--yes"]
    assert cli.main(report) == 0
    capsys.readouterr()
    played = start_phone(report=Path("r.zip"))
    assert played.shell("getprop ro.product.model").stdout == "SM-S911B (emulated)\n"
    assert played.shell("getprop ro.boot.qemu").stdout == "1\n"
    assert played.shell("cat /sys/class/power_supply/battery/capacity").stdout == "41\n"
    assert cli.main(["doctor", "--device", "emulated-x86", "--serial", played.serial, "--json"]) == 0
    printed = capsys.readouterr().out.replace(played.serial, "<serial>")
    now = {row["name"]: gist(Finding(**row)) for row in json.loads(printed)}
    then = {one.name: gist(one) for one in read_report(Path("r.zip")).findings}
    assert now.pop("frequencies") != then.pop("frequencies")  # of this machine's cores
    assert now == then
    assert "thermal status moderate" in now["heat"][1]


def test_only_rails_are_kept_of_a_trace() -> None:
    rails = b"\xc2\x02\x08\x12\x06\x08\x00\x10\x05\x18\x07"  # field 40: energy_data {index 0, ms 5, energy 7}
    packet = b"\x40\x09" + rails + b"\x0a\x06secret"  # timestamp 9, and a text
    other = b"\x0a\x08\x0a\x06secret"
    trace = other + b"\x0a" + bytes([len(packet)]) + packet
    kept = only_rails(trace)
    assert b"secret" not in kept
    assert traced_rails(kept) == traced_rails(trace)
    assert traced_rails(kept)[0].rails[0].energy_uj == 7
