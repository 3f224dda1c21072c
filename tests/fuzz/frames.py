"""The forwarder's decoders: datagrams, records that authenticate, virtio headers."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from meshnet.boundary import HandshakeKeyRow
from meshnet.forwarder.admission import Admission
from meshnet.forwarder.datagram import HEADER
from meshnet.forwarder.record import VNET_BYTES
from meshnet.forwarder.segment import segments
from meshnet.forwarder.vnet import PLAIN, feature_of, is_sane
from tests.unit.forwarder.fakes import NETWORK, Rig, Side, current, entry, ethernet

LARGEST = 60_000
ONE_DATAGRAM = 65_000
EXPIRED = 1e9
_RNG = random.Random(9)


@cache
def pair() -> tuple[Side, Side]:
    """Two forwarders with a session, on the loopback; for the life of the process."""
    return Rig().pair()


@cache
def admission() -> Admission:
    made = Admission(_RNG.randbytes)
    made.set_keys([HandshakeKeyRow(epoch=0, mac1_key=bytes(32), cookie_key=bytes(32))])
    made.set_cookie_secrets(bytes(32), b"")
    return made


def datagram(data: bytes) -> None:
    """Any datagram from the peer's own address, once as it is and once behind a header of the session."""
    left, right = pair()
    index = current(left, right).remote_index
    for content in (data, data[:4] + index.to_bytes(4, "big") + data[8:]):
        left.sock.sendto(content[:ONE_DATAGRAM], right.address)
    right.receive()
    right.told()
    right.work.inbound.reassembly.expire(EXPIRED)


def record(data: bytes) -> None:
    """Any plaintext, sealed by a peer that has the session."""
    left, right = pair()
    left.sock.sendto(left.seal(current(left, right), data[:LARGEST]), right.address)
    right.receive()
    right.told()


def vnet(data: bytes) -> None:
    """A virtio header and a frame; what is sane is cut as a TAP without offloads needs it."""
    if len(data) <= VNET_BYTES + 14 or not is_sane(data, 0, len(data)):
        return
    feature_of(data[1], data, VNET_BYTES, len(data))
    try:
        for piece in segments(data):
            assert len(piece) <= len(data)
    except (ValueError, IndexError):  # as its caller does: the frame is dropped
        pass


def handshake(data: bytes) -> None:
    """A datagram that is no record, with an address made of its own first bytes."""
    host = ".".join(str(byte) for byte in data[:4].ljust(4, b"\0"))
    verdict = admission().judge(data[4:], host, 6799, float(len(data)))
    assert len(verdict.reply) <= max(0, len(data) - 4)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "datagram": datagram,
    "record": record,
    "vnet": vnet,
    "handshake": handshake,
}


def seeds() -> dict[str, list[bytes]]:
    left, right = pair()
    frame = PLAIN + ethernet(right.mac, left.mac, 200)
    head = HEADER.pack(4, 0, 0, 1, 1, 100, 0, 5)
    return {
        "datagram": [head + bytes(100), HEADER.pack(4, 0, 0, 3, 1, 100, 0, 6) + bytes(100)],
        "record": [entry(NETWORK, frame), b"\2\0\0\0", b"\3\0\0\x08" + bytes(8), b"\4\0\0\x08" + bytes(8)],
        "vnet": [frame],
        "handshake": [bytes(4) + b"\1\0\0\0" + bytes(180), bytes(4) + b"\3\0\0\0" + bytes(60)],
    }
