"""The handshake datagrams: the happy path, and that nothing forged gets in or gets in the way."""

from __future__ import annotations

import dataclasses
import random
from typing import NamedTuple

import pytest

from crypto.errors import LocalError, RemoteError
from crypto.handshake import (
    INITIATION_SIZE,
    MAC_SIZE,
    MACS_SIZE,
    RESPONSE_SIZE,
    WIRE_VERSION,
    Choice,
    Established,
    Initiation,
    Local,
    Offer,
    Received,
    initiate,
    mac1,
    mac1_key,
    read_initiation,
    receiver_index,
)
from crypto.keyring import Keyring
from crypto.keys import StaticKey
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from crypto.tai64n import stamp

RNG = random.Random(11)
MESH = RNG.randbytes(16)
SECRET = MeshSecret(2, RNG.randbytes(32))
RING = Keyring(SECRET)
A_KEY, B_KEY, C_KEY = (StaticKey.generate(RNG.randbytes) for _ in range(3))
OFFER = Offer(stamp(10**18), b"bootaaaa", 1, WIRE_VERSION, 31, 64_000, b"12345678")
CHOICE = Choice(b"bootbbbb", WIRE_VERSION, 5, 32_000)


class Ends(NamedTuple):
    initiator: Local
    responder: Local


@pytest.fixture(params=list(Suite), ids=lambda suite: suite.value)
def ends(request: pytest.FixtureRequest) -> Ends:
    return Ends(Local(MESH, request.param, RING, A_KEY), Local(MESH, request.param, RING, B_KEY))


def begin(ends: Ends, index: int = 77) -> Initiation:
    return initiate(ends.initiator, B_KEY.public, index, OFFER, RNG.randbytes)


def respond(ends: Ends, datagram: bytes, index: int = 88) -> tuple[bytes, Established]:
    return read_initiation(ends.responder, datagram).answer(index, CHOICE, RNG.randbytes)


def with_mac1(datagram: bytes, receiver: StaticKey, secret: MeshSecret = SECRET) -> bytes:
    """The datagram with the mac1 that a member of the mesh could put there."""
    key = mac1_key(secret.mac1_subkey(), receiver.public)
    return datagram[:-MACS_SIZE] + mac1(key, datagram) + datagram[-MACS_SIZE // 2 :]


def flips(datagram: bytes) -> list[bytes]:
    made = []
    for position in range(len(datagram)):
        flipped = bytearray(datagram)
        flipped[position] ^= 1 << (position % 8)
        made.append(bytes(flipped))
    return made


def misfits(datagram: bytes) -> list[bytes]:
    return [*(datagram[:length] for length in range(len(datagram))), datagram + b"\0", datagram * 2]


def test_happy_path(ends: Ends) -> None:
    initiation = begin(ends)
    received = read_initiation(ends.responder, initiation.datagram)
    assert (received.remote_static, received.offer, received.sender_index) == (A_KEY.public, OFFER, 77)
    datagram, theirs = received.answer(88, CHOICE, RNG.randbytes)
    ours = initiation.finish(datagram)
    assert (len(initiation.datagram), len(datagram)) == (INITIATION_SIZE, RESPONSE_SIZE) == (184, 116)
    assert (ours.local_index, ours.remote_index) == (theirs.remote_index, theirs.local_index) == (77, 88)
    assert (ours.send_key, ours.receive_key) == (theirs.receive_key, theirs.send_key)
    assert ours.send_key != ours.receive_key and ours.handshake_hash == theirs.handshake_hash
    assert ours.remote_static == B_KEY.public and theirs.remote_static == A_KEY.public
    assert (ours.offer, theirs.offer) == (None, OFFER) and ours.choice == theirs.choice == CHOICE
    assert receiver_index(datagram) == 77
    assert ours.send_key.hex()[:8] not in repr(ours) and str(ours.send_key) not in repr(ours)


def test_a_response_is_never_longer_than_what_asked_for_it() -> None:
    assert RESPONSE_SIZE <= INITIATION_SIZE


def test_every_handshake_has_new_keys(ends: Ends) -> None:
    initiation = begin(ends)
    keys = {respond(ends, initiation.datagram)[1].send_key for _ in range(3)}
    keys |= {respond(ends, begin(ends).datagram)[1].send_key for _ in range(3)}
    assert len(keys) == 6


def test_every_flipped_byte_of_the_initiation(ends: Ends) -> None:
    initiation = begin(ends)
    for damaged in (*flips(initiation.datagram)[:-MAC_SIZE], *misfits(initiation.datagram)):
        with pytest.raises(RemoteError):
            read_initiation(ends.responder, damaged)
    datagram, theirs = respond(ends, initiation.datagram)
    assert initiation.finish(datagram).send_key == theirs.receive_key


def test_every_flipped_byte_of_the_response(ends: Ends) -> None:
    initiation = begin(ends)
    datagram, theirs = respond(ends, initiation.datagram)
    for damaged in (*flips(datagram)[:-MAC_SIZE], *misfits(datagram)):
        with pytest.raises(RemoteError):
            initiation.finish(damaged)
    assert initiation.finish(datagram).send_key == theirs.receive_key


def test_mac2_is_not_judged_here(ends: Ends) -> None:
    initiation = begin(ends)
    for damaged in flips(initiation.datagram)[-MAC_SIZE:]:
        read_initiation(ends.responder, damaged)
    datagram, _ = respond(ends, initiation.datagram)
    initiation.finish(flips(datagram)[-1])


def test_a_member_s_forgery_with_a_right_mac1(ends: Ends) -> None:
    initiation = begin(ends)
    for position, flipped in enumerate(flips(initiation.datagram)[:-MACS_SIZE]):
        if position not in range(4, 8):  # the sender index is the sender's own choice
            with pytest.raises(RemoteError):
                read_initiation(ends.responder, with_mac1(flipped, B_KEY))
    datagram, theirs = respond(ends, initiation.datagram)
    for position, flipped in enumerate(flips(datagram)[:-MACS_SIZE]):
        if position not in range(4, 8):
            with pytest.raises(RemoteError):
                initiation.finish(with_mac1(flipped, A_KEY))
    assert initiation.finish(datagram).send_key == theirs.receive_key


def test_another_context(ends: Ends) -> None:
    datagram = begin(ends).datagram
    other_suite = next(suite for suite in Suite if suite is not ends.responder.suite)
    for change in (
        {"mesh": bytes(16)},
        {"suite": other_suite},
        {"keyring": Keyring(MeshSecret(2, bytes(32)))},
        {"keyring": Keyring(MeshSecret(3, SECRET.key))},
        {"static": C_KEY},
    ):
        with pytest.raises(RemoteError):
            read_initiation(dataclasses.replace(ends.responder, **change), datagram)


def test_a_psk_that_differs_fails_at_the_response(ends: Ends) -> None:
    # A forged mac1 and epoch get the initiation read, since the psk enters with the response.
    other = dataclasses.replace(ends.responder, keyring=Keyring(MeshSecret(2, bytes(32))))
    initiation = begin(ends)
    received = read_initiation(other, with_mac1(initiation.datagram, B_KEY, other.keyring.current))
    datagram, _ = received.answer(88, CHOICE, RNG.randbytes)
    with pytest.raises(RemoteError, match="authenticate"):
        initiation.finish(with_mac1(datagram, A_KEY))
    initiation.finish(respond(ends, initiation.datagram)[0])


def test_a_static_key_that_differs_fails_at_the_initiation(ends: Ends) -> None:
    misdirected = initiate(ends.initiator, C_KEY.public, 77, OFFER, RNG.randbytes)
    with pytest.raises(RemoteError, match="authenticate"):
        read_initiation(ends.responder, with_mac1(misdirected.datagram, B_KEY))


def test_replayed_and_foreign_responses(ends: Ends) -> None:
    first, second = begin(ends, 1), begin(ends, 1)
    datagram, _ = respond(ends, first.datagram)
    with pytest.raises(RemoteError):
        second.finish(datagram)
    first.finish(datagram)
    with pytest.raises(RemoteError, match="answered"):
        first.finish(datagram)
    second.finish(respond(ends, second.datagram)[0])
    with pytest.raises(RemoteError, match="another initiation"):
        begin(ends, 2).finish(datagram)


def test_reflected_messages(ends: Ends) -> None:
    initiation = begin(ends)
    with pytest.raises(RemoteError):
        read_initiation(ends.initiator, initiation.datagram)
    with pytest.raises(RemoteError):
        read_initiation(ends.initiator, with_mac1(initiation.datagram, A_KEY))
    datagram, _ = respond(ends, initiation.datagram)
    with pytest.raises(RemoteError):
        initiation.finish(initiation.datagram)
    with pytest.raises(RemoteError):
        read_initiation(ends.responder, datagram)
    to_self = initiate(ends.initiator, A_KEY.public, 5, OFFER, RNG.randbytes)
    with pytest.raises(RemoteError, match="own key"):
        read_initiation(ends.initiator, to_self.datagram)


def test_versions(ends: Ends) -> None:
    offer = dataclasses.replace(OFFER, min_version=2, max_version=4)
    initiation = initiate(ends.initiator, B_KEY.public, 77, offer, RNG.randbytes)
    received = read_initiation(ends.responder, initiation.datagram)
    for version in (1, 5):
        with pytest.raises(LocalError):
            received.answer(88, dataclasses.replace(CHOICE, version=version), RNG.randbytes)
    datagram, _ = received.answer(88, dataclasses.replace(CHOICE, version=3), RNG.randbytes)
    assert initiation.finish(datagram).choice.version == 3


def test_a_choice_nobody_offered_leaves_the_initiation_waiting(ends: Ends) -> None:
    initiation = begin(ends)
    received = read_initiation(ends.responder, initiation.datagram)
    wider = dataclasses.replace(OFFER, max_version=9)
    forger = Received(received._terms, received._state.copy(), 77, wider, initiation.datagram)
    datagram, _ = forger.answer(88, dataclasses.replace(CHOICE, version=9), RNG.randbytes)
    with pytest.raises(RemoteError, match="version"):
        initiation.finish(datagram)
    initiation.finish(received.answer(88, CHOICE, RNG.randbytes)[0])


def test_a_hostile_offer_in_a_genuine_handshake(ends: Ends) -> None:
    for low, high in ((0, 1), (3, 2)):
        offer = dataclasses.replace(OFFER, min_version=low, max_version=high)
        initiation = initiate(ends.initiator, B_KEY.public, 1, offer, RNG.randbytes)
        with pytest.raises(RemoteError):
            read_initiation(ends.responder, initiation.datagram)


@pytest.mark.parametrize("index", [0, -1, 1 << 32])
def test_impossible_indexes(ends: Ends, index: int) -> None:
    with pytest.raises(LocalError):
        begin(ends, index)
    with pytest.raises(LocalError):
        respond(ends, begin(ends).datagram, index)


def test_one_answer_per_received_initiation(ends: Ends) -> None:
    received = read_initiation(ends.responder, begin(ends).datagram)
    with pytest.raises(LocalError):
        received.answer(88, dataclasses.replace(CHOICE, boot=b""), RNG.randbytes)
    received.answer(88, CHOICE, RNG.randbytes)
    with pytest.raises(LocalError):
        received.answer(89, CHOICE, RNG.randbytes)
