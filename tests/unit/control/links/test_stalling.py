"""Far ends that take their time: bytes that drip in, and answers that nobody reads, cost their own connection alone."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest

from gossip import limits
from gossip.spreading.codec import Want, encode
from meshnet.control.links import links as links_module
from meshnet.control.links import listener as listener_module
from meshnet.control.links.dialling import CONFIRM
from meshnet.control.links.links import MESSAGE, Links
from meshnet.control.streams.pipe import Pipe, connect, split_address
from tests.unit.control.loopback import Hand, Mesh, ended, poll

DEADLINE_S = 0.5  # in place of HANDSHAKE_S
DRIP_S = DEADLINE_S / listener_module.HANDSHAKE_S  # so that this is one byte a second
OPENING = b"MESHNET\x01\x02\x02\x00" + bytes(5) + b"\x01\x00" + bytes(256)
ELSEWHERE = "127.0.0.2"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "HANDSHAKE_S", DEADLINE_S)


async def connect_from(address: str, to: str) -> Pipe:
    return Pipe(*await asyncio.open_connection(*split_address(to), local_addr=(address, 0)))


async def drip(pipe: Pipe, data: bytes) -> int:
    """Send one byte after the other until the other end closes the connection; how many it was sent."""
    closed = asyncio.ensure_future(ended(pipe))
    for sent, byte in enumerate(data):
        if (await asyncio.wait([closed], timeout=DRIP_S))[0]:
            return sent
        pipe.put(bytes([byte]))
    raise AssertionError("every byte was waited for")


def narrow(*pipes: Pipe) -> None:
    """Let the kernel keep little of what waits on these connections."""
    for pipe in pipes:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            pipe._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 16_384)


async def test_a_stranger_that_drips_holds_one_place_until_the_deadline(mesh: Mesh, hasty: None) -> None:
    a = await mesh.run(mesh.founder)
    dripping = asyncio.ensure_future(drip(await connect(a.address), OPENING))
    await poll(lambda: a.links.half_open == 1)
    good = await Hand.open(a, mesh.member("beta"))
    await poll(lambda: len(a.links) == 1)
    assert not dripping.done(), "the member had to wait for the stranger"
    begun = asyncio.get_running_loop().time()
    assert 0 < await dripping <= DEADLINE_S / DRIP_S
    assert asyncio.get_running_loop().time() - begun < DEADLINE_S + 2.0
    await poll(lambda: a.links.half_open == 0)
    assert a.links.counters["refused: too slow"] == 1 and len(a.links) == 1
    good.pipe.abort()


async def test_many_that_drip_from_one_address_hold_its_places_and_no_others(mesh: Mesh, hasty: None) -> None:
    a = await mesh.run(mesh.founder)
    most = listener_module.MAX_HALF_OPEN_PER_ADDRESS
    pipes = [await connect_from(ELSEWHERE, a.address) for _ in range(most + 4)]
    dripping = [asyncio.ensure_future(drip(pipe, OPENING)) for pipe in pipes]
    await poll(lambda: a.links.counters["refused: too many half open"] == 4)
    assert a.links.half_open == most
    good = await Hand.open(a, mesh.member("beta"))
    await poll(lambda: len(a.links) == 1)
    assert a.links.half_open == most, "the member had to wait for the strangers"
    await asyncio.gather(*dripping)
    await poll(lambda: a.links.half_open == 0)
    assert a.links.counters["refused: too slow"] == most and len(a.links) == 1
    good.pipe.abort()


async def test_who_drips_the_proof_of_the_secret_is_ended_by_the_deadline(mesh: Mesh, hasty: None) -> None:
    a = await mesh.run(mesh.founder)
    hand = await Hand.open(a, mesh.member("beta"), confirm=False)
    record = hand.stream.seal(CONFIRM, b"")
    assert 0 < await drip(hand.pipe, record) < len(record)
    await poll(lambda: a.links.half_open == 0)
    assert a.links.counters["refused: too slow"] == 1 and a.links.counters["links opened"] == 0


async def test_a_member_that_drips_a_record_has_said_nothing(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SILENCE_S", 0.6)
    a = await mesh.run(mesh.founder)
    hand = await Hand.open(a, mesh.member("beta"))
    await poll(lambda: len(a.links) == 1)
    record = hand.stream.seal(MESSAGE, bytes(200))
    assert 0 < await drip(hand.pipe, record) < len(record)
    await poll(lambda: len(a.links) == 0 and a.linked == [])
    assert a.links.counters["closed by the node"] == 1


async def test_answers_that_nobody_reads_are_bounded_and_end_that_link_alone(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member asks for everything again and again, says that it lives, and reads nothing."""
    waiting: list[int] = []
    send = Links.send

    def watched(links: Links, number: int, message: bytes) -> None:
        send(links, number, message)
        waiting.append(links.unsent)

    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    await poll(lambda: a.linked == [b.identity] and a.summary() == b.summary())
    stalled = await Hand.open(a, mesh.member("gamma"))
    await poll(lambda: len(a.links) == 2)
    monkeypatch.setattr(Links, "send", watched)
    narrow(stalled.pipe, next(link.pipe for link in a.links._links.values() if link.peer != b.identity))
    ask = encode(Want([a.identity, b.identity]))
    with suppress(ConnectionError):
        for _ in range(20_000):  # more than the kernel's buffers and the queue hold together
            await stalled.pipe.write(stalled.stream.seal(MESSAGE, ask))
            if a.links.counters["cut: does not read"]:
                break
    await poll(lambda: a.links.counters["cut: does not read"] == 1)
    await poll(lambda: a.linked == [b.identity] and len(a.links) == 1)
    slack = limits.MAX_MESSAGE_B
    assert links_module.MAX_SEND_QUEUE - slack < max(waiting) < links_module.MAX_SEND_QUEUE + slack
    assert a.links.unsent < slack and a.runner.faults == 0
    c = await mesh.run(mesh.member("delta"), b)
    await poll(lambda: a.summary() == b.summary() == c.summary())
    stalled.pipe.abort()
