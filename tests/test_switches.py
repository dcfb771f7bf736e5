"""Options of runtimes that a person turns on or off: what is typed, and where it reaches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_files import small_ncnn, small_onnx

from swapbench import catalog, cli
from swapbench.commands.options import DeviceOptions
from swapbench.commands.place import Place, open_place
from swapbench.commands.switches import runtime_switches, switched
from swapbench.errors import UserError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return open_place(catalog.Folders(tmp_path), DeviceOptions(), ("onnxruntime", "ncnn"))


def test_switches_are_read_by_runtime() -> None:
    texts = ["ncnn.winograd=off,ncnn.sgemm=on", "other.x=on"]
    assert runtime_switches(texts) == {"ncnn": {"winograd": "off", "sgemm": "on"}, "other": {"x": "on"}}


@pytest.mark.parametrize("text", ["winograd=off", "ncnn.winograd", "ncnn.winograd=0", "ncnn.=on", ""])
def test_what_is_no_switch_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no switch"):
        runtime_switches([text])


def test_a_switch_is_given_once() -> None:
    with pytest.raises(UserError, match=r"gives ncnn\.winograd twice"):
        runtime_switches(["ncnn.winograd=off", "ncnn.winograd=on"])


def test_the_worker_of_that_runtime_alone_is_told(place: Place) -> None:
    assert switched(place, {}) is place
    told = switched(place, {"ncnn": {"winograd": "off", "sgemm": "on"}})
    ort, ncnn = (one.command("m", mode="time", threads=1, options={}) for one in told.runtimes)
    assert "--switches" not in ort
    assert ncnn[ncnn.index("--switches") + 1] == "winograd=off,sgemm=on"


@pytest.mark.parametrize(
    ("switches", "message", "remedy"),
    [
        ({"litert": {"x": "on"}}, "names litert, which does not run here", "--runtime litert"),
        ({"ncnn": {"speed": "on"}}, "ncnn has no switch 'speed'", "Choose winograd, sgemm"),
        ({"onnxruntime": {"x": "on"}}, "onnxruntime has no switch 'x'", "Leave --switch out"),
    ],
)
def test_a_switch_that_nothing_has_is_refused(
    place: Place, switches: dict[str, dict[str, str]], message: str, remedy: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        switched(place, switches)
    assert remedy in caught.value.remedy


def test_a_run_keeps_its_switches_and_is_not_taken_for_one_without(place: Place) -> None:
    pytest.importorskip("ncnn")
    small_ncnn(Path("net.param"))
    quick = ("--budget", "1", "--window", "1", "--no-accuracy", "--name")
    for name, switch in (("off", ("--switch", "ncnn.winograd=off")), ("plain", ())):
        assert cli.main(["run", "net.param", "--runtime", "ncnn", *switch, *quick, name]) in {0, 3}
    kept = {}
    for name in ("off", "plain"):
        (path,) = Path("reports", name, "records").glob("*.json")
        kept[name] = json.loads(path.read_text())["runtime"]["settings"]["winograd"]
    assert kept["off"] == "off"
    setups = [json.loads(Path("reports", name, "run.json").read_text()) for name in ("off", "plain")]
    assert setups[0] != setups[1]


def test_a_phone_has_no_switches(place: Place) -> None:
    Path("net.onnx").write_bytes(small_onnx())

    class Phone:
        name = "pixel7"

    from dataclasses import replace

    with pytest.raises(UserError, match="--switch is for this computer"):
        switched(replace(place, device=Phone()), {"ncnn": {"winograd": "off"}})  # type: ignore[arg-type]
