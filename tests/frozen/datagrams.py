"""The datagrams of one UDP session: a refused initiation, its cookie reply, a handshake, two records."""

from __future__ import annotations

from crypto.cookie import cookie
from crypto.handshake import Choice, Established, Initiation, Local, Offer, initiate, read_initiation
from crypto.primitives import Suite
from crypto.session import TAG_BYTES, Sealer
from crypto.tai64n import stamp
from meshnet.forwarder.datagram import HEADER, TYPE_RECORD
from meshnet.forwarder.record import FRAME_PREFIX, KEEPALIVE, VNET_BYTES, write_prefix
from tests.frozen.cast import A_STATIC, B_OLD_STATIC, B_STATIC, KEYRING, MESH, counted

A_INDEX, B_INDEX = 0x0A0A0A0A, 0x0B0B0B0B
OFFER = Offer(stamp(1_800_000_000 * 10**9), b"boot-a..", 1, 1, 31, 64_000)
CHOICE = Choice(b"boot-b..", 1, 7, 32_000)
COOKIE = cookie(b"c" * 32, "192.0.2.1", 6799)
NETWORK = 1
FRAME = b"\xff" * 6 + b"\x02" + b"a" * 5 + b"\x08\x06" + b"an Ethernet frame of one network".ljust(46, b".")
SLICE_BYTES = 120


def ends(suite: Suite) -> tuple[Local, Local]:
    """The initiator, and the responder that still takes its old static key."""
    return Local(MESH, suite, KEYRING, A_STATIC), Local(MESH, suite, KEYRING, B_STATIC, B_OLD_STATIC)


def first(suite: Suite) -> Initiation:
    """The initiation that is answered by a cookie."""
    return initiate(ends(suite)[0], B_STATIC.public, A_INDEX, OFFER, counted("first initiation"))


def second(suite: Suite) -> Initiation:
    """The initiation that shows the cookie."""
    offer = Offer(OFFER.stamp, OFFER.boot, 1, 1, OFFER.features, OFFER.largest_record, COOKIE[:8])
    entropy = counted("second initiation")
    return initiate(ends(suite)[0], B_STATIC.public, A_INDEX, offer, entropy, cookie=COOKIE)


def answered(suite: Suite, initiation: bytes) -> tuple[bytes, Established]:
    """The response and the session as the responder has it."""
    return read_initiation(ends(suite)[1], initiation).answer(B_INDEX, CHOICE, counted("response"))


def plaintext() -> bytes:
    """A record's entries: a frame behind its virtio header, and a keepalive."""
    entry = bytearray(FRAME_PREFIX) + bytes(VNET_BYTES) + FRAME
    write_prefix(entry, 0, VNET_BYTES + len(FRAME), NETWORK)
    return bytes(entry) + KEEPALIVE


def trains(suite: Suite, session: Established) -> list[list[bytes]]:
    """A record that fits one datagram, and one of three slices; the second's plaintext is the first's, repeated."""
    sealer = Sealer(suite, session.send_key)
    return [_train(sealer, session.remote_index, plaintext() * count, SLICE_BYTES) for count in (1, 3)]


def _train(sealer: Sealer, index: int, content: bytes, size: int) -> list[bytes]:
    sealed = memoryview(bytearray(len(content) + TAG_BYTES))
    slices = -(-len(sealed) // size)
    header = bytearray(HEADER.pack(TYPE_RECORD, 0, 0, slices, index, len(sealed) - (slices - 1) * size, 0, 0))
    sealer.seal(header, content, sealed)
    heads = (header[:2] + bytes((number,)) + header[3:] for number in range(slices))
    return [bytes(head + sealed[number * size : (number + 1) * size]) for number, head in enumerate(heads)]


def section(suite: Suite) -> dict[str, object]:
    """The session's part of the transcript."""
    refused, initiation = first(suite), second(suite)
    reply = read_initiation(ends(suite)[1], refused.datagram).cookie_reply(COOKIE, counted("cookie nonce")(24))
    response, _ = answered(suite, initiation.datagram)
    session = initiation.finish(response)
    return {
        "first initiation": refused.datagram.hex(),
        "cookie reply": reply.hex(),
        "second initiation": initiation.datagram.hex(),
        "response": response.hex(),
        "keys": {"initiator sends": session.send_key.hex(), "responder sends": session.receive_key.hex()},
        "records": [[datagram.hex() for datagram in train] for train in trains(suite, session)],
    }
