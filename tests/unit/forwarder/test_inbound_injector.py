"""An injector on the path, as fast as the sender: it costs the records it touches, and no memory past the bounds.

It sees every datagram, forges the sender's address and any byte, and gets one datagram in for each true one; it can
neither seal a record nor take a true datagram away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from meshnet.forwarder.counters import Drop
from meshnet.forwarder.datagram import HEADER_BYTES
from meshnet.forwarder.inbound import COUNTERS_AHEAD
from meshnet.forwarder.reassembly import ENTRY_OPENS, SESSION_BYTES
from tests.unit.forwarder.fakes import Rig, current, ethernet, send_train, throw

Forgery = Callable[[bytes, random.Random], bytes]
RECORDS, LENGTH = 120, 20_000


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def with_byte(datagram: bytes, at: int, value: int) -> bytes:
    return datagram[:at] + bytes([value]) + datagram[at + 1 :]


def another(rng: random.Random, old: int, least: int, most: int) -> int:
    """A number within the bounds that is not `old`."""
    value = rng.randint(least, most - 1)
    return value if value < old else value + 1


def forged_parities(datagram: bytes, rng: random.Random) -> bytes:
    return with_byte(datagram, 0, rng.randint(1, 15) << 4 | 4)


def forged_lane(datagram: bytes, rng: random.Random) -> bytes:
    return with_byte(datagram, 1, rng.randint(1, 255))


def forged_count(datagram: bytes, rng: random.Random) -> bytes:
    return with_byte(datagram, 3, another(rng, datagram[3], 0, 255))


def forged_tail(datagram: bytes, rng: random.Random) -> bytes:
    tail = another(rng, int.from_bytes(datagram[8:10]), 0, 65_535)
    return datagram[:8] + tail.to_bytes(2) + datagram[10:]


def forged_counter(datagram: bytes, rng: random.Random) -> bytes:
    counter = int.from_bytes(datagram[10:16]) + RECORDS + rng.randrange(COUNTERS_AHEAD)
    return datagram[:10] + counter.to_bytes(6) + datagram[16:]


def forged_length(datagram: bytes, rng: random.Random) -> bytes:
    return forged_counter(datagram, rng)[: HEADER_BYTES + rng.randint(1, 20)]


def forged_everything(datagram: bytes, rng: random.Random) -> bytes:
    return rng.choice((forged_parities, forged_lane, forged_count, forged_tail, forged_counter))(datagram, rng)


def forged_slice(datagram: bytes, rng: random.Random) -> bytes:
    return datagram[:HEADER_BYTES] + rng.randbytes(len(datagram) - HEADER_BYTES)


def forged_number(datagram: bytes, rng: random.Random) -> bytes:
    return with_byte(datagram, 2, another(rng, datagram[2], 0, datagram[3] - 1))


OTHER_RECORDS = (
    forged_parities,
    forged_lane,
    forged_count,
    forged_tail,
    forged_counter,
    forged_length,
    forged_everything,
)


@pytest.mark.parametrize("forge", OTHER_RECORDS)
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_forged_headers_cost_no_record(rig: Rig, forge: Forgery, is_first: bool) -> None:
    left, right = rig.pair()
    rng, table = random.Random(7), right.work.inbound.reassembly
    for number in range(RECORDS):
        frame = ethernet(right.mac, left.mac, LENGTH)
        sent: list[bytes] = []
        for datagram in rig.capture(left, right, frame):
            pair = (forge(datagram, rng), datagram)
            sent += pair if is_first else pair[::-1]
        assert throw(left, right, sent) == [frame], f"record {number}"
        assert table.bytes_held <= SESSION_BYTES
    assert current(right, left).opener.window.highest == RECORDS + 1, "no forged counter counted"
    if forge is forged_counter:
        assert right.count(Drop.REASSEMBLY_FULL) > 0, "the table was never full, so nothing was shown"
    table.expire(1e9)
    assert len(table) == table.bytes_held == 0


@pytest.mark.parametrize("forge", [forged_slice, forged_number])
def test_forged_slices_cost_their_own_record_alone(rig: Rig, forge: Forgery) -> None:
    left, right = rig.pair()
    rng, table = random.Random(9), right.work.inbound.reassembly
    untouched: list[bytes] = []
    delivered: list[bytes] = []
    for number in range(RECORDS):
        frame = ethernet(right.mac, left.mac, LENGTH)
        datagrams = rig.capture(left, right, frame)
        if number % 4 == 0:
            before = right.count(Drop.BAD_TAG)
            delivered += throw(left, right, [d for true in datagrams for d in (forge(true, rng), true)])
            assert right.count(Drop.BAD_TAG) - before <= 2 * ENTRY_OPENS, "what a touched record costs is bounded"
        else:
            untouched.append(frame)
            delivered += throw(left, right, datagrams)
        assert table.bytes_held <= SESSION_BYTES
    assert set(untouched) <= set(delivered) and len(delivered) == len(set(delivered))
    table.expire(1e9)
    assert len(table) == table.bytes_held == 0


def test_a_forged_slice_ahead_of_its_record_does_not_make_the_record_old(rig: Rig) -> None:
    left, right = rig.pair()
    rng = random.Random(11)
    frames = [ethernet(right.mac, left.mac, LENGTH) for _ in range(2)]
    first, second = (rig.capture(left, right, frame) for frame in frames)
    throw(left, right, [forged_slice(second[0], rng)])
    while not right.count(Drop.REASSEMBLY_FULL):
        # Just short of the bound the forged slice is the oldest of all, and the record's own slices join it.
        throw(left, right, [forged_counter(first[0], rng)])
        if right.work.inbound.reassembly.bytes_held > SESSION_BYTES - 10_000:
            break
    both = [datagram for true in second for datagram in (true, forged_counter(true, rng))]
    assert throw(left, right, both) == [frames[1]]
    assert right.count(Drop.REASSEMBLY_FULL) > 0


@pytest.mark.parametrize("forge", OTHER_RECORDS)
def test_forged_headers_within_a_train_cost_no_record(rig: Rig, forge: Forgery) -> None:
    left, right = rig.pair()
    rng = random.Random(10)
    for _ in range(30):
        frame = ethernet(right.mac, left.mac, LENGTH)
        datagrams = rig.capture(left, right, frame)
        place = rng.randrange(len(datagrams))
        forged = forge(datagrams[0], rng).ljust(len(datagrams[0]), b"\0")
        send_train(left.sock, [*datagrams[:place], forged, *datagrams[place:]], right.address)
        assert right.receive() == [frame]
