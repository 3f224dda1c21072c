"""The capture reader, against packets built by hand."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from tests.lab.errors import LabError
from tests.lab.pcap import Packet, datagrams, find, packets

V4 = (ipaddress.ip_address("198.18.0.1"), ipaddress.ip_address("198.18.0.2"))
V6 = (ipaddress.ip_address("fd00:18::1"), ipaddress.ip_address("fd00:18::2"))
SECRET = bytes(range(32, 96))


def capture(*frames: bytes, order: str = "<", magic: int = 0xA1B2C3D4, linktype: int = 1) -> bytes:
    file = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, linktype)
    for number, frame in enumerate(frames):
        file += struct.pack(f"{order}IIII", 1000 + number, 500, len(frame), len(frame)) + frame
    return file


def udp(payload: bytes, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", 6799, 5401, 8 + len(payload) if length is None else length, 0) + payload


def ipv4(body: bytes, *, flags: int = 0, protocol: int = 17, total: int | None = None) -> bytes:
    size = 20 + len(body) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x45, 0, size, 1, flags, 64, protocol, 0)
    return bytes(12) + b"\x08\x00" + head + V4[0].packed + V4[1].packed + body


def ipv6(body: bytes, *, following: int = 17, length: int | None = None) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(body) if length is None else length, following, 64)
    return bytes(12) + b"\x86\xdd" + head + V6[0].packed + V6[1].packed + body


def parse(*frames: bytes) -> list[tuple[str, int, str, int, bytes, bool]]:
    return [
        (d.source, d.source_port, d.destination, d.destination_port, d.payload, d.fragment)
        for d in datagrams(packets(capture(*frames)))
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "tick"), [(0xA1B2C3D4, 1e-6), (0xA1B23C4D, 1e-9)])
def test_both_byte_orders_and_resolutions(order: str, magic: int, tick: float) -> None:
    found = list(packets(capture(b"one", b"second", order=order, magic=magic)))
    assert found == [Packet(1000 + 500 * tick, b"one", 3), Packet(1001 + 500 * tick, b"second", 6)]


def test_a_file_still_being_written_ends_at_its_last_whole_packet() -> None:
    whole = capture(b"one", b"second")
    assert [len(list(packets(whole[:size]))) for size in range(len(whole) + 1)].count(2) == 1
    assert list(packets(whole[:-1])) == list(packets(capture(b"one")))
    assert list(packets(b"")) == []


def test_what_is_no_capture_of_ethernet_is_refused() -> None:
    with pytest.raises(LabError, match="not a pcap"):
        list(packets(bytes(24)))
    with pytest.raises(LabError, match="link type 276"):
        list(packets(capture(linktype=276)))
    damaged = bytearray(capture(b"one"))
    damaged[24 + 8] = 200
    with pytest.raises(LabError, match="damaged"):
        list(packets(bytes(damaged)))


def test_datagrams_of_both_families() -> None:
    v4, v6 = ("198.18.0.1", 6799, "198.18.0.2", 5401), ("fd00:18::1", 6799, "fd00:18::2", 5401)
    assert parse(ipv4(udp(b"four")), ipv6(udp(b"six"))) == [(*v4, b"four", False), (*v6, b"six", False)]


def test_padding_of_short_frames_is_no_payload() -> None:
    assert parse(ipv4(udp(b"x"), total=29) + bytes(20))[0][4] == b"x"


def test_vlan_tags_and_extension_headers_are_passed() -> None:
    tagged = ipv4(udp(b"tagged"))
    tagged = tagged[:12] + b"\x81\x00\x00\x07" + tagged[12:]
    extended = ipv6(bytes([17, 1]) + bytes(14) + udp(b"extended"), following=0)
    assert [found[4] for found in parse(tagged, extended)] == [b"tagged", b"extended"]


def test_fragments_are_marked_and_only_the_first_has_ports() -> None:
    first, later = ipv4(udp(b"begin", length=3000), flags=0x2000), ipv4(b"the rest", flags=100)
    found = parse(first, later)
    assert [(entry[1], entry[4], entry[5]) for entry in found] == [(6799, b"begin", True), (0, b"the rest", True)]
    whole = struct.pack(">BBHI", 17, 0, 1, 1) + udp(b"six", length=3000)
    assert parse(ipv6(whole, following=44))[0][4:] == (b"six", True)


def test_a_super_packet_keeps_its_whole_payload() -> None:
    """A sender with segmentation offload shows one packet whose UDP length is that of a segment."""
    payload = bytes(60000)
    assert len(parse(ipv4(udp(payload, length=1480)))[0][4]) == len(payload)
    assert len(parse(ipv4(udp(payload)))[0][4]) == len(payload)
    assert len(parse(ipv6(udp(bytes(70000), length=0), length=0))[0][4]) == 70000


def test_other_and_short_packets_are_passed_over() -> None:
    frames = [b"", bytes(13), ipv4(b"tcp", protocol=6), ipv4(b"short"), ipv6(b"", following=58)]
    frames += [bytes(12) + b"\x08\x06" + bytes(28), (bytes(12) + b"\x08\x00" + bytes(10))]
    frames += [ipv6(b"\x11\x00", following=0)]
    assert parse(*frames) == []


def test_a_secret_is_found_whole_or_in_pieces() -> None:
    clear, cut, other = ipv4(udp(SECRET)), ipv4(udp(SECRET[:20])), ipv4(udp(SECRET[::-1]))
    found = find(packets(capture(other, clear, cut)), SECRET)
    assert [packet.data for packet in found] == [clear, cut]


def test_a_needle_too_short_to_prove_anything_is_refused() -> None:
    with pytest.raises(LabError, match="proves nothing"):
        find([], b"short")
