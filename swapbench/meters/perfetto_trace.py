"""The power rails in a trace of Perfetto, as values: a pure function of bytes.

A trace is a protobuf message (perfetto/protos/perfetto/trace): `Trace.packet` = 1; `TracePacket.timestamp` =
8, in ns since boot, and `.power_rails` = 40; `PowerRails.rail_descriptor` = 1 with `index` = 1, `rail_name` =
2, `subsys_name` = 3; `PowerRails.energy_data` = 2 with `index` = 1, `timestamp_ms` = 2 since boot, `energy` =
3 in uWs since boot. Everything else is skipped. These three messages do not need a protobuf library; whatever
a phone sends, nothing is read beyond its end, and nothing is nested deeper than they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swapbench import stats
from swapbench.errors import DeviceFailed
from swapbench.meters.power_rails import RailReading
from swapbench.meters.power_stats_text import RailEnergy

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf; 3 and 4 are groups, which Perfetto does not write."""
_VARINT_BITS: Final = 64
_TRACE_PACKET, _TIMESTAMP, _POWER_RAILS = 1, 8, 40
_DESCRIPTOR, _ENERGY = 1, 2


@dataclass
class _Packet:
    """One message PowerRails: index -> (name, subsystem), and index -> (time, energy)."""

    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    energies: dict[int, tuple[int, int]] = field(default_factory=dict)


def traced_rails(trace: bytes) -> tuple[RailReading, ...]:
    """Every reading of the power rails in a trace, in its order; nothing where there are none.

    The moment of a reading is when the chips were read, in ns since boot: the median over the rails, which
    differ by a few milliseconds; where the trace does not tell, when the packet was written. A rail that the
    trace does not name is called by its number.

    Raises:
        DeviceFailed: The trace is damaged, or has a rail twice.
    """
    names: dict[int, tuple[str, str]] = {}
    readings = []
    for number, content in _fields(trace):
        if number != _TRACE_PACKET or not isinstance(content, bytes):
            continue
        packet = dict(_fields(content))
        rails = packet.get(_POWER_RAILS)
        if not isinstance(rails, bytes):
            continue
        told = _packet(rails)
        names |= told.names
        if told.energies:
            readings.append(_reading(told, names, packet.get(_TIMESTAMP, 0)))
    return tuple(readings)


def only_rails(trace: bytes) -> bytes:
    """The packets of a trace that hold power rails, without whatever else stands in it.

    Raises:
        DeviceFailed: The trace is damaged.
    """
    kept = b""
    for number, content in _fields(trace):
        if number != _TRACE_PACKET or not isinstance(content, bytes):
            continue
        packet = dict(_fields(content))
        rails = packet.get(_POWER_RAILS)
        if isinstance(rails, bytes):
            written = _encoded(_TIMESTAMP, _whole(packet.get(_TIMESTAMP, 0)))
            kept += _encoded(_TRACE_PACKET, written + _encoded(_POWER_RAILS, rails))
    return kept


def _encoded(number: int, value: int | bytes) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return _varint_bytes(number << 3 | _VARINT) + _varint_bytes(value)
    return _varint_bytes(number << 3 | _LENGTH) + _varint_bytes(len(value)) + value


def _varint_bytes(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _packet(message: bytes) -> _Packet:
    packet = _Packet()
    for number, content in _fields(message):
        if not isinstance(content, bytes):
            continue
        values = dict(_fields(content))
        index = _whole(values.get(1, 0))
        if number == _DESCRIPTOR:
            packet.names[index] = (_text(values.get(2, b"")), _text(values.get(3, b"")))
        elif number == _ENERGY:
            packet.energies[index] = (_whole(values.get(2, 0)) * 1_000_000, _whole(values.get(3, 0)))
    return packet


def _reading(packet: _Packet, names: dict[int, tuple[str, str]], written_ns: int | bytes) -> RailReading:
    rails: dict[str, RailEnergy] = {}
    for index, (_, energy_uj) in packet.energies.items():
        name, subsystem = names.get(index, (f"rail {index}", ""))
        if name in rails:
            raise DeviceFailed(f"the trace of this phone lists the power rail {name} twice")
        rails[name] = RailEnergy(name, subsystem, energy_uj)
    times_ns = [time_ns for time_ns, _ in packet.energies.values() if time_ns]
    read_ns = round(stats.median(times_ns)) if times_ns else _whole(written_ns)
    return RailReading(tuple(rails.values()), read_ns, exact=True)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protobuf message: numbers, or the bytes of texts and messages."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire_type == _LENGTH:
            length, place = _varint(message, place)
        elif wire_type in {_FIXED64, _FIXED32}:
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise damaged()
        end = place + length
        if end > len(message):
            raise damaged()
        if wire_type == _LENGTH:
            yield number, message[place:end]
        place = end


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, _VARINT_BITS, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise damaged()


def _whole(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise damaged()
    return value


def _text(value: int | bytes) -> str:
    if isinstance(value, int):
        raise damaged()
    return value.decode("utf-8", "replace")


def damaged() -> DeviceFailed:
    """What the phone sent is no trace, or not all of it."""
    return DeviceFailed(
        "the trace of this phone's power rails is damaged", remedy="Check the cable and measure again."
    )
