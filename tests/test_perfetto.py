"""A phone's power rails through Perfetto: bytes worked out by hand, damaged traces, the meter, the phone."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phone.dialects import PIXEL, Rail
from phone.perfetto import message, power_packet

from swapbench.commands.place import phone_meters
from swapbench.devices.adb import Adb
from swapbench.devices.android import Android
from swapbench.devices.android_profile import Profile
from swapbench.errors import DeviceFailed
from swapbench.meters.perfetto import COMMAND, LARGEST_TRACE, find_perfetto_rails
from swapbench.meters.perfetto_trace import traced_rails
from swapbench.meters.power_rails import REFRESH_NS, PowerRails, RailReading
from swapbench.meters.power_stats_text import RailEnergy
from swapbench.ports import Finished
from swapbench.records import Absent, PhoneState

if TYPE_CHECKING:
    from collections.abc import Callable

    from phone.lifecycle import Phone

pytest_plugins = ["phone.fixture"]

# Trace { packet { timestamp: 7 power_rails {
#   rail_descriptor { index: 1 rail_name: "CPU" subsys_name: "big" sampling_rate: 125 }
#   energy_data { index: 1 timestamp_ms: 300 energy: 70000 } } } }
BY_HAND = bytes.fromhex(
    "0a20 4007 c2021b"  # packet of 32 bytes; timestamp; field 40 (its key is 40 x 8 + 2 = 322) of 27 bytes
    "0a0e 0801 1203435055 1a03626967 207d"  # descriptor of 14 bytes
    "1209 0801 10ac02 18f0a204"  # energy of 9 bytes: 300 = 2 x 128 + 44, 70000 = (4 x 128 + 34) x 128 + 112
)
CPU = Rail("CPU", "big", 0, 0.0)
GPU = Rail("GPU", "", 0, 0.0)


def trace(*energies_uws: tuple[int, int], boot_ns: int = 5_000_000_000) -> bytes:
    """A packet a second, of the rails CPU and GPU."""
    return b"".join(
        power_packet(
            [CPU, GPU],
            {"CPU": cpu, "GPU": gpu},
            boot_ns + place * 10**9,
            named=place == 0,
        )
        for place, (cpu, gpu) in enumerate(energies_uws)
    )


# ---------------------------------------------------------------------------------------------- the trace


def test_a_trace_of_one_rail_worked_out_by_hand() -> None:
    assert traced_rails(BY_HAND) == (
        RailReading((RailEnergy("CPU", "big", 70_000),), 300_000_000, exact=True),
    )


def test_the_traces_of_the_emulated_phone_are_those_worked_out_by_hand() -> None:
    fields = message([(1, 1), (2, "CPU"), (3, "big"), (4, 125)]), message([(1, 1), (2, 300), (3, 70_000)])
    rails = message([(1, fields[0]), (2, fields[1])])
    assert message([(1, message([(8, 7), (40, rails)]))]) == BY_HAND


def test_rails_are_named_in_the_first_packet_and_counted_in_all() -> None:
    first, second = traced_rails(trace((10, 20), (13, 21)))
    assert first.rails == (RailEnergy("CPU", "big", 10), RailEnergy("GPU", "", 20))
    assert [rail.energy_uj for rail in second.rails] == [13, 21]
    assert (first.time_ns, second.time_ns) == (5_000_000_000, 6_000_000_000)


def test_what_is_not_about_rails_is_skipped() -> None:
    other = message([(8, 1), (38, message([(1, 2_914_000)])), (50, b"\x00\xff")])
    fixed = b"\x09" + bytes(8) + b"\x15" + bytes(4)  # fields 1 and 2, of 64 and of 32 bits
    stray = message([(1, other + fixed), (7, 3), (9, b"text")])
    assert traced_rails(stray + BY_HAND + stray) == traced_rails(BY_HAND)
    assert traced_rails(stray) == traced_rails(b"") == ()


def test_names_that_come_alone_or_not_at_all() -> None:
    named = message([(1, message([(40, message([(1, message([(1, 4), (2, "TPU")]))]))]))])
    counted = message([(2, message([(1, 4), (3, 9)])), (2, message([(1, 5), (3, 8)]))])
    packet = message([(1, message([(8, 12), (40, counted)]))])
    # without the time of the chips the time of the packet counts
    assert traced_rails(named + packet) == (
        RailReading((RailEnergy("TPU", "", 9), RailEnergy("rail 5", "", 8)), 12, exact=True),
    )


def test_a_rail_that_is_traced_twice_is_an_error() -> None:
    twice = [CPU, CPU]
    with pytest.raises(DeviceFailed, match="power rail CPU twice"):
        traced_rails(power_packet(twice, {"CPU": 1}, 1, named=True))


@pytest.mark.parametrize("end", range(1, len(BY_HAND)))
def test_a_trace_that_is_cut_off_is_damaged(end: int) -> None:
    with pytest.raises(DeviceFailed, match="is damaged"):
        traced_rails(BY_HAND[:end])


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x0b",  # a group
        b"\x0a" + b"\xff" * 9 + b"\x01",  # a length of 2^63 and more
        b"\x08" + b"\xff" * 20,  # a number that does not end
        message([(1, message([(40, message([(2, message([(1, b"x")]))]))]))]),  # a text for a number
        message([(1, message([(40, message([(1, message([(2, 5)]))]))]))]),  # a number for a text
    ],
)
def test_bytes_that_are_no_trace_are_damaged(damaged: bytes) -> None:
    with pytest.raises(DeviceFailed, match="is damaged"):
        traced_rails(damaged)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(trace: bytes) -> None:
    with contextlib.suppress(DeviceFailed):
        assert traced_rails(BY_HAND + trace)[:1] == traced_rails(BY_HAND)


# ---------------------------------------------------------------------------------------------- the meter


class Tracing:
    """Answers each request for a trace with the next one; the last is given again."""

    def __init__(self, *traces: bytes, exit_code: int = 0, stderr: str = "") -> None:
        self.traces, self.exit_code, self.stderr = list(traces), exit_code, stderr

    def ask(self, command: str) -> Finished:
        assert command == COMMAND
        content = self.traces.pop(0) if len(self.traces) > 1 else self.traces[0]
        return Finished(base64.encodebytes(content).decode(), self.stderr, self.exit_code)

    def find(self, *summed: str) -> PowerRails | Absent:
        return find_perfetto_rails(self.ask, PhoneState, summed)


def absent(found: object) -> Absent:
    assert isinstance(found, Absent), found
    return found


def test_a_reading_is_the_first_packet_of_a_trace_at_the_time_of_the_chips() -> None:
    meter = Tracing(trace((10, 20), (50, 60)), trace((13, 20), (53, 60), boot_ns=7_000_400_000)).find("CPU")
    assert isinstance(meter, PowerRails)
    (cpu, gpu) = meter.read()
    assert (cpu.counter, cpu.value_uj, cpu.time_ns) == ("CPU", 13, 7_000_000_000)
    assert (gpu.counter, gpu.value_uj) == ("beside/GPU", 20)
    assert (meter.name, meter.grade, meter.resolution_uj) == ("perfetto-rails", "rails", 1)
    assert meter.update_ns == REFRESH_NS
    assert (meter.scope, meter.basis) == ("1 power rails", ("sum of CPU (big)",))


def test_rails_that_no_profile_names_are_listed_and_never_summed() -> None:
    found = absent(Tracing(trace((10_000_000, 20_000_000))).find())
    assert "it is unknown which power rails" in found.absent
    assert "CPU (big) 10.0 J, GPU 20.0 J" in found.remedy


@pytest.mark.parametrize(
    ("tracing", "says"),
    [
        (Tracing(b"", exit_code=1, stderr="Could not connect to traced\n"), "not trace.*connect to traced"),
        (Tracing(b"", exit_code=127, stderr="sh: perfetto: not found\n"), "perfetto: not found"),
        (Tracing(b""), "traces no power rails"),
        (Tracing(BY_HAND[:-1]), "is damaged"),
        (Tracing(BY_HAND), "does not report its power rails GPU"),
        (Tracing(bytes(LARGEST_TRACE)), "is damaged"),
    ],
)
def test_a_phone_that_traces_no_rails_says_why(tracing: Tracing, says: str) -> None:
    found = absent(tracing.find("GPU"))
    assert re.search(says, found.absent)
    assert found.remedy


@pytest.mark.parametrize("printed", ["not base64!", "Zm9v=Zm9v", "é"])
def test_what_is_no_trace_at_all_is_damaged(printed: str) -> None:
    found = absent(find_perfetto_rails(lambda _: Finished(printed, "", 0), PhoneState, ("CPU",)))
    assert "is damaged" in found.absent


# ---------------------------------------------------------------------------------------------- the phone

RAILS = {"summed": tuple(rail.name for rail in PIXEL.rails)}


def android(phone: Phone) -> Android:
    profile = Profile.model_validate(
        {"name": "p", "kind": "android", "match": {"ro.product.device": ("panther",)}, "rails": RAILS}
    )
    return Android(Adb(phone.serial), profile)


def test_a_stock_phone_on_its_cable_refuses_the_dump_and_answers_perfetto(phone: Phone) -> None:
    phone.set(charging=True)
    meters = phone_meters(android(phone))
    assert next(iter(meters)) == "perfetto-rails"
    assert "does not let adb dump its power stats" in absent(meters["power-rails"]()).absent
    assert "powered by usb" in absent(meters["battery-charge"]()).absent
    meter = meters["perfetto-rails"]()
    assert isinstance(meter, PowerRails)
    truths_uj = [phone.truth()["energy_uj"]]
    before = meter.read()
    truths_uj.append(phone.truth()["energy_uj"])
    phone.shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
    truths_uj.append(phone.truth()["energy_uj"])
    after = meter.read()
    truths_uj.append(phone.truth()["energy_uj"])
    used_uj = sum(b.used_since(a) for a, b in zip(before, after, strict=True))
    # whole uWs of 8 rails
    assert truths_uj[2] - truths_uj[1] - 8 <= used_uj <= truths_uj[3] - truths_uj[0] + 8
    assert phone.shell("ls /data/misc/perfetto-traces").stdout == ""


def test_a_phone_whose_tracing_service_is_off_says_so(phone: Phone) -> None:
    phone.set(traced=False)
    found = absent(phone_meters(android(phone))["perfetto-rails"]())
    assert "Could not connect to the traced socket" in found.absent


def test_a_phone_without_rails_traces_none(start_phone: Callable[..., Phone]) -> None:
    found = absent(phone_meters(android(start_phone(dialect="samsung")))["perfetto-rails"]())
    assert "traces no power rails" in found.absent
