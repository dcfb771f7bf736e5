"""What real phones and tools printed, as public reports and firmware show it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import PRETRAINED

from swapbench.devices import android_text
from swapbench.devices.android_text import Battery
from swapbench.errors import WorkerFailed
from swapbench.ports import Finished
from swapbench.runtimes.benchmark_model import BenchmarkModel, Coverage, coverage, report

CASES = PRETRAINED.parents[1] / "cases" / "phones"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases beside the repository")


def case(name: str) -> str:
    return (CASES / name).read_text(encoding="utf-8")


def test_a_serial_of_wireless_debugging_with_a_space() -> None:
    assert android_text.listed_phones(case("adb_devices_mdns_space.txt")) == (
        ("adb-0A1B2C3D4E-AbCdEf (2)._adb-tls-connect._tcp", "device"),
    )


def test_a_terminal_escape_in_a_log() -> None:
    said = report(case("05_escape.txt"))
    assert (said.warmup_runs, said.first_ns, said.summary.mean_ns) == (132, 3_678_000, 3_790_920)


@pytest.mark.parametrize(
    ("name", "delegate"),
    [("08_litert2_gpu_fallback.txt", "gpu"), ("09_litert2_nnapi.txt", "nnapi")],
)
@pytest.mark.parametrize("require_full", [False, True])
def test_times_of_the_processor_are_not_those_of_a_delegate(
    name: str, delegate: Any, require_full: bool
) -> None:
    with pytest.raises(WorkerFailed, match=f"not the {delegate} delegate that benchmark_model timed"):
        BenchmarkModel("b", delegate, require_full=require_full).parse_run(Finished(case(name), "", 0))


def test_a_whole_graph_on_the_gpu() -> None:
    text = case("10_litert2_gpu_whole.txt")
    assert coverage(text, "gpu") == Coverage("all", 476, 476)
    run = BenchmarkModel("b", "gpu", require_full=True, api="CompiledModel").parse_run(Finished(text, "", 0))
    assert (run.used.providers, run.summary.median_ns) == (("gpu",), 1_210_000)


def test_a_pixel_whose_sensors_do_not_all_know_their_temperature() -> None:
    heat = android_text.heat(case("pixel_thermal_unknown_-5700.txt"))
    assert heat.temperatures_c == {
        "VIRTUAL-SKIN-CPU": 36.0,
        "VIRTUAL-SKIN": 23.793081,
        "VIRTUAL-USB-UI": 22.373001,
    }
    assert (heat.status, heat.skin_c) == (0, 23.793081)


def test_batteries_that_say_more_than_android_does() -> None:
    assert android_text.battery(case("s23_battery_android16.txt")) == Battery(
        level_percent=33,
        charging=False,
        plugged=(),
        voltage_mv=3674,
        temperature_c=40.7,
        charge_counter_uah=1_244_880,
    )
    assert android_text.battery(case("hyperos3_battery.txt")) == Battery(
        level_percent=80,
        charging=True,
        plugged=("ac",),
        voltage_mv=4228,
        temperature_c=36.4,
        charge_counter_uah=4274,
    )
