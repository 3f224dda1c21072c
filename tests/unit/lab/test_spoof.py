"""Frames with any source are whole frames, and what shoots them counts what it sent."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.lab import pcap, shoot
from tests.lab.spoof import Link, frame, spoofed_source, write_frames

LINK = Link(bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))


def test_a_frame_is_read_back_as_the_datagram_it_holds() -> None:
    made = frame(LINK, ("100.64.1.2", 1024), ("198.18.0.1", 6799), b"payload")
    assert made[:12] == LINK.target + LINK.source
    [found] = pcap.datagrams([pcap.Packet(0.0, made, len(made))])
    assert (found.source, found.source_port, found.destination_port) == ("100.64.1.2", 1024, 6799)
    assert found.payload == b"payload" and not found.fragment
    total = sum(int.from_bytes(made[at : at + 2], "big") for at in range(14, 34, 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # RFC 1071: a right checksum sums to all ones


def test_spoofed_sources_differ_and_stay_in_their_range() -> None:
    addresses = {spoofed_source(number)[0] for number in range(20_000)}
    assert len(addresses) == 20_000
    assert all(
        socket.inet_aton(address)[0] == 100 and 64 <= socket.inet_aton(address)[1] < 128 for address in addresses
    )


def test_frames_are_shot_in_turn_at_a_rate_and_refusals_are_counted(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", [b"one", b"three"])
    frames = shoot.frames_in((tmp_path / "frames").read_bytes())
    assert frames == [b"one", b"three"]
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        found = shoot.shoot(near, frames, 10_000, 0.0005 * 10)
        assert [far.recv(10) for _ in range(50)] == frames * 25
        assert (found["sent"], found["refused"]) == (50, 0) and found["seconds"] > 0.004
        far.close()
        assert shoot.shoot(near, frames, 10_000, 0)["refused"] == 2
