"""What the attacker on the path makes of a datagram it saw."""

from __future__ import annotations

import random
import socket

from tests.lab import onpath, pcap
from tests.lab.spoof import Link, frame

LINK = Link(bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))
ENDS = socket.inet_aton("198.18.0.2"), socket.inet_aton("198.18.0.1")
RECORD = onpath.LAYOUT.pack(4, 0, 1, 3, 77, 900, 0, 41) + bytes(1400)


def seen(payload: bytes) -> bytes:
    return frame(LINK, ("198.18.0.2", 6799), ("198.18.0.1", 6799), payload)


def test_only_the_victims_datagrams_are_taken() -> None:
    assert onpath.is_ours(seen(RECORD), *ENDS, 6799) and onpath.is_record(RECORD)
    assert not onpath.is_ours(seen(RECORD), *ENDS[::-1], 6799)
    assert not onpath.is_ours(seen(RECORD), *ENDS, 6800)
    assert not onpath.is_record(b"\1" + bytes(183))


def test_every_forgery_differs_and_keeps_the_session() -> None:
    rng = random.Random(3)
    for number in range(10 * onpath.KINDS):
        made = onpath.forged(RECORD, number, rng)
        assert made != RECORD and made[4:8] == RECORD[4:8] and made[0] & 15 == 4 and len(made) <= 1416
        _, _, piece, pieces, *_ = onpath.LAYOUT.unpack_from(made)
        assert pieces >= 1 and (piece < pieces or made[0] >> 4)


def test_a_frame_with_another_payload_and_sender_is_whole() -> None:
    made = onpath.reframed(seen(RECORD), b"short", mac=bytes(6), source=socket.inet_aton("198.18.0.3"))
    [found] = pcap.datagrams([pcap.Packet(0.0, made, len(made))])
    assert (found.source, found.destination, found.payload) == ("198.18.0.3", "198.18.0.1", b"short")
    assert made[6:12] == bytes(6)
    total = sum(int.from_bytes(made[at : at + 2], "big") for at in range(14, 34, 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
