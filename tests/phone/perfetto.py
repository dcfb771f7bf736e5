"""What Perfetto writes of power rails: one packet of a trace for every poll, as protobuf bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .dialects import Rail

VARINT, LENGTH = 0, 2
SAMPLING_HZ = 125


def varint(value: int) -> bytes:
    """A number of seven bits a byte, the lowest first."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def message(fields: Iterable[tuple[int, int | str | bytes]]) -> bytes:
    """A protobuf message of numbers, texts and messages, by field number."""
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += varint(number << 3 | VARINT) + varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            encoded += varint(number << 3 | LENGTH) + varint(len(content)) + content
    return encoded


def power_packet(
    rails: Iterable[Rail], energies_uws: Mapping[str, int], boot_ns: int, *, named: bool
) -> bytes:
    """A trace of one packet, which may be put behind others; rails are only named in the first one.

    The clock of the chips stands still between two milliseconds.
    """
    content: list[tuple[int, int | str | bytes]] = []
    for index, rail in enumerate(rails):
        if named:
            descriptor = message([(1, index), (2, rail.name), (3, rail.subsystem), (4, SAMPLING_HZ)])
            content.append((1, descriptor))
        energy = message([(1, index), (2, boot_ns // 1_000_000), (3, energies_uws[rail.name])])
        content.append((2, energy))
    # TracePacket: timestamp = 8, trusted_packet_sequence_id = 10, power_rails = 40
    return message([(1, message([(8, boot_ns), (10, 2), (40, message(content))]))])
