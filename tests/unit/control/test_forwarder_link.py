"""meshnetd's end of the boundary: hello first, facts up, verbs down in order, and nothing ever waits for the other."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from meshnet.boundary import (
    VERSION,
    BoundaryError,
    DropSession,
    Fact,
    Hello,
    SendDatagram,
    Stop,
    Trouble,
    Verb,
    Wanted,
    decode_verb,
    encode,
)
from meshnet.control import forwarder_link as module
from meshnet.control.forwarder_link import ForwarderLink, connect
from tests.unit.forwarder.fakes import until

HELLO = Hello(
    version=VERSION,
    mesh=b"m" * 16,
    peer=b"p" * 32,
    boot=b"b" * 8,
    pid=os.getpid(),
    sockets=[],
    networks=[],
    sessions=[],
)


class FakeForwarder:
    """A listener that says what the test wants."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(4)
        self.sock: socket.socket | None = None

    def accept(self) -> socket.socket:
        self.sock, _ = self.listener.accept()
        return self.sock

    async def serve(self, first: bytes = encode(HELLO), *descriptors: int) -> ForwarderLink:
        """A connection of `connect` that this end opened with `first`."""
        waiting = asyncio.ensure_future(connect(self.path, deadline_s=2.0))
        await asyncio.sleep(0)
        sock = self.accept()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        if first:
            sock.sendmsg([first], [rights] if descriptors else [])
        else:
            sock.close()
        return await waiting

    def verbs(self) -> Iterator[tuple[Verb, list[int]]]:
        """What has arrived, with its descriptors."""
        assert self.sock is not None
        self.sock.setblocking(False)
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.sock, 1 << 17, 8)
            except BlockingIOError:
                return
            if not data:
                return
            yield decode_verb(data), list(descriptors)

    def close(self) -> None:
        self.listener.close()
        if self.sock is not None:
            self.sock.close()


@pytest.fixture
async def forwarder(tmp_path: Path) -> AsyncIterator[FakeForwarder]:
    made = FakeForwarder(tmp_path / "f")
    yield made
    made.close()


def descriptors_open() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- connecting


async def test_a_link_begins_with_hello_and_its_descriptors(forwarder: FakeForwarder) -> None:
    reader, writer = os.pipe()
    link = await forwarder.serve(encode(HELLO), reader, writer)
    assert link.hello == HELLO and link.is_open
    assert [os.fstat(fd).st_ino for fd in link.descriptors] == [os.fstat(fd).st_ino for fd in (reader, writer)]
    link.close()
    for descriptor in (reader, writer, *link.descriptors):
        os.close(descriptor)


@pytest.mark.parametrize(
    "first",
    [encode(Wanted(peer=b"p")), encode(Stop()), b"\xff" * 9, encode(HELLO).replace(b"mesh", b"m\xffsh")],
    ids=len,
)
async def test_what_does_not_begin_with_hello_is_refused_and_nothing_stays_open(
    forwarder: FakeForwarder, first: bytes
) -> None:
    reader, writer = os.pipe()
    before = descriptors_open()
    with pytest.raises(BoundaryError):
        await forwarder.serve(first, reader, writer)
    assert forwarder.sock is not None
    forwarder.sock.close()
    assert descriptors_open() == before
    os.close(reader)
    os.close(writer)


async def test_who_closes_says_nothing_or_is_not_there_is_an_os_error(forwarder: FakeForwarder, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        await forwarder.serve(b"")
    with pytest.raises(TimeoutError):
        await connect(forwarder.path, deadline_s=0.05)
    with pytest.raises(FileNotFoundError):
        await connect(tmp_path / "nothing")
    forwarder.close()
    with pytest.raises(ConnectionRefusedError):
        await connect(forwarder.path)


async def test_waiting_for_hello_stops_nothing_else(forwarder: FakeForwarder) -> None:
    waiting = asyncio.ensure_future(connect(forwarder.path, deadline_s=5.0))
    turns = 0
    for _ in range(20):
        await asyncio.sleep(0)
        turns += 1
    assert turns == 20 and not waiting.done()
    forwarder.accept().send(encode(HELLO))
    (await waiting).close()


# --- facts


async def test_facts_go_up_in_order_however_many(forwarder: FakeForwarder) -> None:
    link = await forwarder.serve()
    facts: list[Fact] = []
    link.on_fact = facts.append
    assert forwarder.sock is not None
    sent = [Trouble(what=str(number)) for number in range(3 * module.FACTS_PER_TURN)]
    for fact in sent:
        forwarder.sock.send(encode(fact))
    link.start()
    await until(lambda: len(facts) == len(sent))
    assert facts == sent
    link.close()


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00",
        encode(Stop()),
        msgspec.msgpack.encode({"t": "Later"}),
        encode(Trouble(what="x")).replace(b"what", b"w\xffat"),
    ],
    ids=len,
)
async def test_a_fact_that_cannot_be_read_is_skipped(forwarder: FakeForwarder, junk: bytes) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    link = await forwarder.serve()
    facts: list[Fact] = []
    link.on_fact = facts.append
    link.start()
    assert forwarder.sock is not None
    forwarder.sock.send(junk)
    forwarder.sock.send(encode(Trouble(what="after")))
    await until(lambda: facts == [Trouble(what="after")])
    assert complaints == [] and link.is_open
    link.close()


async def test_the_end_is_told_once(forwarder: FakeForwarder) -> None:
    link = await forwarder.serve()
    ends: list[int] = []
    link.on_end = lambda: ends.append(1)
    link.start()
    assert forwarder.sock is not None
    forwarder.sock.send(encode(Trouble(what="last words")))
    facts: list[Fact] = []
    link.on_fact = facts.append
    forwarder.sock.close()
    await until(lambda: bool(ends))
    link.close()
    link.send(Stop())
    assert ends == [1] and not link.is_open and facts == [Trouble(what="last words")]


async def test_a_link_may_be_closed_by_what_a_fact_causes(forwarder: FakeForwarder) -> None:
    link = await forwarder.serve()
    facts: list[Fact] = []

    def close(fact: Fact) -> None:
        facts.append(fact)
        link.close()

    link.on_fact = close
    link.start()
    assert forwarder.sock is not None
    for _ in range(3):
        forwarder.sock.send(encode(Trouble(what="x")))
    await until(lambda: not link.is_open)
    assert len(facts) == 1


# --- verbs


async def test_verbs_leave_in_order_with_their_descriptors(forwarder: FakeForwarder) -> None:
    link = await forwarder.serve()
    reader, writer = os.pipe()
    link.send(DropSession(index=1), (reader, writer))
    link.send(DropSession(index=2))
    (first, descriptors), (second, none) = list(forwarder.verbs())
    assert (first, second, none) == (DropSession(index=1), DropSession(index=2), [])
    assert [os.fstat(fd).st_ino for fd in descriptors] == [os.fstat(fd).st_ino for fd in (reader, writer)]
    for descriptor in (reader, writer, *descriptors):
        os.close(descriptor)
    link.close()


def bulky(number: int) -> SendDatagram:
    return SendDatagram(address=("192.0.2.1", 7), data=number.to_bytes(60_000))


async def test_what_a_slow_forwarder_does_not_take_waits_in_order(forwarder: FakeForwarder) -> None:
    link = await forwarder.serve()
    link.start()
    reader, writer = os.pipe()
    sent: list[Verb] = []
    while not link._queue or len(link._queue) < 50:
        sent.append(bulky(len(sent)))
        link.send(sent[-1])
        assert len(sent) < 5_000
    sent.append(DropSession(index=7))
    link.send(sent[-1], (reader,))
    got: list[Verb] = []
    rights: list[int] = []

    def drained() -> bool:
        for verb, descriptors in forwarder.verbs():
            got.append(verb)
            rights.extend(descriptors)
        return len(got) == len(sent)

    await until(drained)
    assert got == sent and len(rights) == 1 and os.fstat(rights[0]).st_ino == os.fstat(reader).st_ino
    link.send(Stop())
    assert [verb for verb, _ in forwarder.verbs()] == [Stop()]
    for descriptor in (reader, writer, *rights):
        os.close(descriptor)
    link.close()


async def test_a_forwarder_that_takes_nothing_is_given_up(
    forwarder: FakeForwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VERBS_QUEUED", 5)
    link = await forwarder.serve()
    ends: list[int] = []
    link.on_end = lambda: ends.append(1)
    for number in range(5_000):
        link.send(bulky(number))
        if not link.is_open:
            break
    assert ends == [1] and not link.is_open


async def test_a_forwarder_that_died_ends_the_link_at_the_next_verb(forwarder: FakeForwarder) -> None:
    link = await forwarder.serve()
    ends: list[int] = []
    link.on_end = lambda: ends.append(1)
    assert forwarder.sock is not None
    forwarder.sock.close()
    link.send(Stop())
    link.send(Stop())
    assert ends == [1]


async def test_a_verb_that_fits_no_message_is_refused_here(forwarder: FakeForwarder) -> None:
    link = await forwarder.serve()
    with pytest.raises(BoundaryError):
        link.send(SendDatagram(address=("192.0.2.1", 7), data=bytes(70_000)))
    assert link.is_open
    link.close()
