"""RAPL on invented powercap trees, in real files and in a dictionary; counters that start again at 0."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.errors import DeviceFailed
from swapbench.meters.rapl import Rapl, Zone, find_psys, find_rapl, step_uj
from swapbench.ports import CounterValue
from swapbench.records import Absent, CounterRead

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swapbench.ports import Meter

RANGE_UJ = 262_143_328_850  # as Intel processors with steps of 61.04 uJ say it
DRAM_RANGE_UJ = 65_532_610_987  # 15.26 uJ
INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme de\n"
VIRTUAL = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu hypervisor lahf_lm\n"
ARM = "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd\n"


class Tree:
    """A powercap tree in a dictionary: zone folder -> its files. A value that is an exception is raised."""

    def __init__(self, cpuinfo: str = INTEL) -> None:
        self.files: dict[str, str | OSError] = {"/proc/cpuinfo": cpuinfo}

    def zone(
        self, folder: str, name: str, energy: int | OSError = 1_000, range_uj: int | None = RANGE_UJ
    ) -> Tree:
        self.files[f"/pc/{folder}/name"] = f"{name}\n"
        self.files[f"/pc/{folder}/energy_uj"] = energy if isinstance(energy, OSError) else f"{energy}\n"
        if range_uj is not None:
            self.files[f"/pc/{folder}/max_energy_range_uj"] = f"{range_uj}\n"
        return self

    def read_text(self, path: str) -> str:
        content = self.files.get(path, FileNotFoundError(2, "No such file or directory", path))
        if isinstance(content, OSError):
            raise content
        return content

    def list_dir(self, folder: str) -> Sequence[str]:
        below = {
            path[len(folder) + 1 :].split("/")[0] for path in self.files if path.startswith(f"{folder}/")
        }
        if not below:
            raise FileNotFoundError(2, "No such file or directory", folder)
        return list(below)

    def find(
        self, finder: Callable[..., Rapl | Absent] = find_rapl, clock_ns: Callable[[], int] = lambda: 0
    ) -> Rapl | Absent:
        return finder("/pc", self.read_text, self.list_dir, clock_ns)


def found(meter: Rapl | Absent) -> Rapl:
    assert isinstance(meter, Rapl), meter
    return meter


def absent(meter: Rapl | Absent) -> Absent:
    assert isinstance(meter, Absent)
    return meter


def values(meter: Meter) -> dict[str, int]:
    return {value.counter: value.value_uj for value in meter.read()}


def total(meter: Meter) -> int:
    """What a record's reader adds up."""
    reads = [CounterRead(counter=one.counter, used_uj=one.value_uj, window_ns=1) for one in meter.read()]
    return sum(read.used_uj for read in reads if read.counts_towards_total)


def denied() -> PermissionError:
    return PermissionError(13, "Permission denied")


def test_a_laptop_tree_in_real_files(tmp_path: Path) -> None:
    for folder, name, energy_uj in [
        ("intel-rapl:0", "package-0", 5_000_000),
        ("intel-rapl:0/intel-rapl:0:0", "core", 3_000_000),
        ("intel-rapl:0/intel-rapl:0:1", "uncore", 500_000),
        ("intel-rapl:1", "psys", 9_000_000),
    ]:
        zone = tmp_path / folder
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "energy_uj").write_text(f"{energy_uj}\n")
        (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (tmp_path / "intel-rapl").mkdir()
    meter = found(find_rapl(str(tmp_path)))
    assert values(meter) == {"package-0": 5_000_000, "package-0/core": 3_000_000, "package-0/uncore": 500_000}
    assert total(meter) == 5_000_000
    assert (meter.name, meter.scope) == ("rapl", "processor packages")
    assert (meter.resolution_uj, meter.update_ns) == (62, 1_000_000)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("5000061\n")
    assert values(meter)["package-0"] == 5_000_061


def two_sockets() -> Tree:
    tree = Tree()
    for socket in (0, 1):
        tree.zone(f"intel-rapl:{socket}", f"package-{socket}", 100 * (socket + 1))
        tree.zone(
            f"intel-rapl:{socket}/intel-rapl:{socket}:0",
            "dram",
            10 * (socket + 1),
            DRAM_RANGE_UJ,
        )
    return tree


def test_packages_of_two_sockets_and_their_memory_add_up() -> None:
    meter = found(two_sockets().find())
    assert values(meter) == {"package-0": 100, "package-1": 200, "dram-0": 10, "dram-1": 20}
    assert total(meter) == 330
    assert meter.scope == "processor packages and memory"


def test_the_memory_of_only_one_socket_is_left_out_and_out_of_the_scope() -> None:
    tree = two_sockets()
    tree.zone("intel-rapl:1/intel-rapl:1:0", "dram", denied())
    meter = found(tree.find())
    assert values(meter) == {"package-0": 100, "package-1": 200}
    assert meter.scope == "processor packages"


def test_amd_shows_package_and_core_under_the_same_names() -> None:
    tree = Tree(INTEL.replace("GenuineIntel", "AuthenticAMD"))
    tree.zone("intel-rapl:0", "package-0", 700, DRAM_RANGE_UJ)
    tree.zone("intel-rapl:0/intel-rapl:0:0", "core", 300, DRAM_RANGE_UJ)
    meter = found(tree.find())
    assert total(meter) == 700
    assert meter.resolution_uj == 16


def test_dies_of_one_package_are_counters_of_their_own() -> None:
    tree = Tree().zone("intel-rapl:0", "package-0-die-0", 5).zone("intel-rapl:1", "package-0-die-1", 6)
    assert total(found(tree.find())) == 11


def test_the_mmio_copy_of_a_package_is_not_added_a_second_time() -> None:
    tree = Tree().zone("intel-rapl:0", "package-0", 100).zone("intel-rapl-mmio:0", "package-0", 100)
    assert total(found(tree.find())) == 100


def test_the_mmio_counters_serve_where_there_are_no_others() -> None:
    assert total(found(Tree().zone("intel-rapl-mmio:0", "package-0", 100).find())) == 100


def test_the_platform_counter_is_a_meter_of_its_own() -> None:
    tree = Tree().zone("intel-rapl:0", "package-0", 100).zone("intel-rapl:1", "psys", 900)
    meter = found(tree.find(find_psys))
    assert values(meter) == {"psys": 900}
    assert (meter.name, meter.scope) == ("rapl-psys", "whole platform")
    assert "psys" not in values(found(tree.find()))


def test_a_processor_without_a_platform_counter_says_so() -> None:
    assert "no platform counter" in absent(Tree().zone("intel-rapl:0", "package-0").find(find_psys)).absent


def test_other_control_types_are_no_rapl_zones() -> None:
    tree = Tree().zone("dtpm:0", "package-0").zone("intel-rapl", "control")
    assert "no RAPL zones" in absent(tree.find()).absent


def test_a_tree_without_a_package_is_absent() -> None:
    assert "none for a processor package" in absent(Tree().zone("intel-rapl:0", "psys").find()).absent


def test_a_counter_that_only_root_may_read_names_the_exact_commands() -> None:
    answer = absent(Tree().zone("intel-rapl:0", "package-0", denied()).find())
    assert answer.absent == "only root may read /pc/intel-rapl:0/energy_uj"
    assert "sudo chmod -R a+r /sys/class/powercap/intel-rapl*" in answer.remedy
    assert "CVE-2020-8694" in answer.remedy
    assert (
        'SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*", RUN+="/bin/chgrp energy /sys%p/energy_uj", '
        'RUN+="/bin/chmod g+r /sys%p/energy_uj"'
    ) in answer.remedy


def test_a_part_that_may_not_be_read_does_not_cost_the_package() -> None:
    tree = Tree().zone("intel-rapl:0", "package-0", 100)
    tree.zone("intel-rapl:0/intel-rapl:0:0", "core", denied())
    assert values(found(tree.find())) == {"package-0": 100}


@pytest.mark.parametrize(
    ("cpuinfo", "reason", "remedy"),
    [
        (VIRTUAL, "this is a virtual machine", "on the computer itself"),
        (ARM, "only Intel and AMD x86 processors", "on a phone"),
        (INTEL, "kernel module is not loaded", "sudo modprobe intel_rapl_msr"),
    ],
)
def test_a_missing_tree_says_why(cpuinfo: str, reason: str, remedy: str) -> None:
    answer = absent(Tree(cpuinfo).find())
    assert answer.absent.startswith("/pc has no RAPL zones")
    assert reason in answer.absent
    assert remedy in answer.remedy


def test_a_missing_tree_without_proc_is_still_an_answer() -> None:
    tree = Tree()
    tree.files = {"/elsewhere": ""}
    assert "no RAPL zones" in absent(tree.find()).absent


def test_a_container_that_hides_the_zones_is_named() -> None:
    tree = Tree().zone("intel-rapl:0", "package-0")
    tree.files["/pc/intel-rapl:0/name"] = FileNotFoundError(2, "No such file or directory")
    answer = absent(tree.find())
    assert "a container hides it" in answer.absent
    assert "systempaths=unconfined" in answer.remedy


def test_a_name_that_may_not_be_read_is_a_question_of_permission() -> None:
    tree = Tree().zone("intel-rapl:0", "package-0")
    tree.files["/pc/intel-rapl:0/name"] = denied()
    assert "may not be read by this user" in absent(tree.find()).absent


def test_counters_that_stand_at_zero_do_not_count() -> None:
    answer = absent(Tree().zone("intel-rapl:0", "package-0", 0).find())
    assert "are all 0" in answer.absent


@pytest.mark.parametrize("text", ["", "many\n", "12.5\n"])
def test_a_counter_that_is_no_number_is_absent(text: str) -> None:
    tree = Tree().zone("intel-rapl:0", "package-0")
    tree.files["/pc/intel-rapl:0/energy_uj"] = text
    assert "energy_uj cannot be read" in absent(tree.find()).absent


@pytest.mark.parametrize(
    ("trouble", "message"),
    [(denied(), "may no longer be read"), (OSError(61, "No data available"), "cannot be read")],
)
def test_a_counter_that_fails_during_a_run_is_a_named_error(trouble: OSError, message: str) -> None:
    tree = Tree().zone("intel-rapl:0", "package-0")
    meter = found(tree.find())
    tree.files["/pc/intel-rapl:0/energy_uj"] = trouble
    with pytest.raises(DeviceFailed, match=f"energy counter package-0 {message}"):
        meter.read()


def test_every_counter_carries_the_time_just_after_it_was_read() -> None:
    tree = Tree().zone("intel-rapl:0", "package-0", 1).zone("intel-rapl:1", "package-1", 2)
    ticks = itertools.count(100)
    read = found(tree.find(clock_ns=lambda: next(ticks))).read()
    assert [(one.counter, one.time_ns) for one in read] == [("package-0", 100), ("package-1", 101)]


def test_a_missing_range_is_not_guessed() -> None:
    tree = Tree().zone("intel-rapl:0", "package-0", 5, range_uj=None)
    meter = found(tree.find())
    assert meter.read()[0].range_uj is None
    assert meter.resolution_uj == 62


@pytest.mark.parametrize(
    ("range_uj", "step"), [(RANGE_UJ, 62), (DRAM_RANGE_UJ, 16), (None, 62), (1_000, 1), (2**32, 1)]
)
def test_the_range_of_32_bits_tells_the_step(range_uj: int | None, step: int) -> None:
    assert step_uj(range_uj) == step


def test_the_coarsest_counter_sets_the_resolution() -> None:
    zones = [Zone("package-0", "/a", RANGE_UJ), Zone("dram-0", "/b", DRAM_RANGE_UJ)]
    assert Rapl(zones, lambda _: "1").resolution_uj == 62


# ------------------------------------------------------------------------------------- restarts of a counter


def at(value_uj: int, range_uj: int | None = 1_000, counter: str = "package-0") -> CounterValue:
    return CounterValue(counter, value_uj, range_uj, 0)


def test_a_counter_that_went_on_used_the_difference() -> None:
    assert at(900).used_since(at(250)) == 650


def test_a_counter_that_started_again_used_what_was_left_and_what_came() -> None:
    assert at(30).used_since(at(950)) == 80


def test_a_counter_that_stood_still_used_nothing() -> None:
    assert at(1_000).used_since(at(1_000)) == 0


def test_without_a_range_a_counter_may_not_go_backwards() -> None:
    assert at(7, None).used_since(at(5, None)) == 2
    with pytest.raises(DeviceFailed, match="went backwards by 2 uJ and its range is not known"):
        at(5, None).used_since(at(7, None))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (at(5, counter="dram-0"), at(7), "two counters were compared: dram-0 and package-0"),
        (at(5, 900), at(7), "changed its range"),
        (at(5, None), at(7), "changed its range"),
        (at(1_001), at(7), "reads 1001 uJ, outside its range"),
        (at(5), at(1_001), "reads 1001 uJ, outside its range"),
        (at(-1), at(7), "reads -1 uJ, outside its range"),
        (at(-1, None), at(7, None), "reads -1 uJ, outside its range"),
    ],
)
def test_a_difference_that_is_not_known_is_an_error(
    before: CounterValue, after: CounterValue, message: str
) -> None:
    with pytest.raises(DeviceFailed, match=message):
        after.used_since(before)


@given(st.integers(1, 2**60), st.data())
def test_a_counter_may_start_again_anywhere(range_uj: int, data: st.DataObject) -> None:
    start_uj = data.draw(st.integers(0, 2**62))
    used_uj = data.draw(st.integers(0, range_uj - 1))
    before = at(start_uj % range_uj, range_uj)
    after = at((start_uj + used_uj) % range_uj, range_uj)
    assert after.used_since(before) == used_uj


@given(st.integers(1, RANGE_UJ - 1), st.lists(st.integers(0, 10**10), min_size=1, max_size=20))
def test_a_meter_that_is_read_often_loses_nothing_at_any_restart(start_uj: int, used_uj: list[int]) -> None:
    """Readings of a fake tree whose counter goes round at its range."""
    tree = Tree().zone("intel-rapl:0", "package-0", start_uj)
    meter = found(tree.find())
    first = last = meter.read()[0]
    spent_uj, counted_uj = 0, 0
    for step in used_uj:
        spent_uj += step
        tree.zone("intel-rapl:0", "package-0", (start_uj + spent_uj) % RANGE_UJ)
        now = meter.read()[0]
        counted_uj += now.used_since(last)
        last = now
    assert counted_uj == spent_uj
    assert first.range_uj == RANGE_UJ
