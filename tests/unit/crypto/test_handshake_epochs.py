"""Handshakes while keys change: several mesh secrets, an old static key, and cookies."""

from __future__ import annotations

import dataclasses
import random

import pytest

from crypto.cookie import REPLY_SIZE, has_mac2, open_reply, reply_receiver, seal_reply
from crypto.errors import LocalError, RemoteError
from crypto.handshake import (
    INITIATION_SIZE,
    RESPONSE_SIZE,
    Choice,
    HandshakeKey,
    Local,
    Offer,
    handshake_keys,
    initiate,
    mac1,
    read_initiation,
)
from crypto.keyring import Keyring
from crypto.keys import StaticKey
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from crypto.tai64n import stamp

RNG = random.Random(31)
MESH = RNG.randbytes(16)
OLD, NOW, NEXT = (MeshSecret(generation, RNG.randbytes(32)) for generation in (4, 5, 6))
A_KEY, B_KEY, B_OLD = (StaticKey.generate(RNG.randbytes) for _ in range(3))
OFFER = Offer(stamp(10**18), b"bootaaaa", 1, 1, 31, 64_000)
CHOICE = Choice(b"bootbbbb", 1, 5, 32_000)
COOKIE = RNG.randbytes(16)
A = Local(MESH, Suite.AESGCM, Keyring(NOW), A_KEY)
B = Local(MESH, Suite.AESGCM, Keyring(NOW, NEXT, OLD), B_KEY, B_OLD)


def agree(initiator: Local, responder: Local, remote: bytes = B_KEY.public, epoch: int | None = None) -> int:
    """Runs one handshake, checks that it made one pair of keys, and returns the epoch in both datagrams."""
    initiation = initiate(initiator, remote, 1, OFFER, RNG.randbytes, epoch=epoch)
    datagram, theirs = read_initiation(responder, initiation.datagram).answer(2, CHOICE, RNG.randbytes)
    ours = initiation.finish(datagram)
    assert (ours.send_key, ours.receive_key) == (theirs.receive_key, theirs.send_key)
    assert initiation.datagram[1] == datagram[1] == initiation.epoch
    return datagram[1]


@pytest.mark.parametrize("secret", [OLD, NOW, NEXT], ids=["previous", "current", "next"])
def test_every_held_secret_is_understood(secret: MeshSecret) -> None:
    assert agree(dataclasses.replace(A, keyring=Keyring(secret)), B) == secret.epoch
    assert agree(B, Local(MESH, Suite.AESGCM, Keyring(secret), A_KEY), A_KEY.public, secret.epoch) == secret.epoch


def test_an_epoch_that_is_not_held() -> None:
    for epoch in (3, 7, 256, -1):
        with pytest.raises(LocalError, match="epoch"):
            initiate(B, A_KEY.public, 1, OFFER, RNG.randbytes, epoch=epoch)
    later = dataclasses.replace(A, keyring=Keyring(MeshSecret(7, bytes(32))))
    with pytest.raises(RemoteError, match="epoch"):
        read_initiation(B, initiate(later, B_KEY.public, 1, OFFER, RNG.randbytes).datagram)


def test_a_secret_s_epoch_taken_for_another_s() -> None:
    datagram = bytearray(initiate(A, B_KEY.public, 1, OFFER, RNG.randbytes).datagram)
    datagram[1] = NEXT.epoch
    with pytest.raises(RemoteError, match="mac1"):
        read_initiation(B, bytes(datagram))
    # Whoever holds both secrets can make the mac1 fit; the prologue still differs.
    key = next(key for key in handshake_keys(B.keyring, [B_KEY]) if key.epoch == NEXT.epoch)
    with pytest.raises(RemoteError, match="authenticate"):
        read_initiation(B, bytes(datagram[:-32]) + mac1(key.mac1_key, bytes(datagram)) + bytes(16))


def test_the_static_key_that_was_used_is_known_and_answered_with() -> None:
    for static in (B_KEY, B_OLD):
        initiation = initiate(A, static.public, 1, OFFER, RNG.randbytes)
        received = read_initiation(B, initiation.datagram)
        assert received.local_static == initiation.remote_static == static.public
        assert initiation.finish(received.answer(2, CHOICE, RNG.randbytes)[0]).remote_static == static.public
    with pytest.raises(RemoteError, match="mac1"):
        read_initiation(
            dataclasses.replace(B, old_static=None), initiate(A, B_OLD.public, 1, OFFER, RNG.randbytes).datagram
        )


def test_nobody_speaks_to_itself_with_either_key() -> None:
    for own in (B_KEY, B_OLD):
        with pytest.raises(RemoteError, match="own key"):
            read_initiation(B, initiate(B, own.public, 1, OFFER, RNG.randbytes).datagram)


def test_a_handshake_outlives_a_change_of_its_owner_s_keys() -> None:
    initiation = initiate(A, B_KEY.public, 1, OFFER, RNG.randbytes)
    received = read_initiation(B, initiation.datagram)
    # Both ends make new Locals; what was begun under the old ones goes on.
    after = dataclasses.replace(B, keyring=B.keyring.switched().dropped(), static=StaticKey(bytes(32)))
    datagram, theirs = received.answer(2, CHOICE, RNG.randbytes)
    assert initiation.finish(datagram).send_key == theirs.receive_key
    with pytest.raises(RemoteError):
        read_initiation(after, initiation.datagram)


def test_a_response_under_another_epoch() -> None:
    initiation = initiate(A, B_KEY.public, 1, OFFER, RNG.randbytes)
    datagram, _ = read_initiation(B, initiation.datagram).answer(2, CHOICE, RNG.randbytes)
    key = handshake_keys(A.keyring, [A_KEY])[0].mac1_key
    other = bytearray(datagram)
    other[1] = NEXT.epoch
    with pytest.raises(RemoteError, match="epoch"):
        initiation.finish(bytes(other[:-32]) + mac1(key, bytes(other)) + bytes(16))
    initiation.finish(datagram)


def test_keys_for_every_secret_and_static_key() -> None:
    rows = handshake_keys(B.keyring, B.statics())
    assert [row.epoch for row in rows] == [5, 5, 6, 6, 4, 4]
    assert len({key for row in rows for key in (row.mac1_key, row.cookie_key)}) == 12
    assert handshake_keys(B.keyring, [static.public for static in B.statics()]) == rows
    datagram = initiate(A, B_OLD.public, 1, OFFER, RNG.randbytes).datagram
    fitting = [row for row in rows if mac1(row.mac1_key, datagram) == datagram[-32:-16]]
    assert fitting == [rows[1]]
    assert rows[0].mac1_key.hex() not in repr(rows) and repr(rows[0]) == "HandshakeKey(epoch=5)"
    assert isinstance(rows[0], HandshakeKey)


def test_a_cookie_goes_round() -> None:
    initiation = initiate(A, B_KEY.public, 77, OFFER, RNG.randbytes)
    assert initiation.mac1 == initiation.datagram[-32:-16] and initiation.datagram[-16:] == bytes(16)
    received = read_initiation(B, initiation.datagram)
    assert (received.mac1, received.epoch) == (initiation.mac1, NOW.epoch)
    assert received.ephemeral == initiation.datagram[8:40]
    reply = received.cookie_reply(COOKIE, RNG.randbytes(24))
    assert len(reply) == REPLY_SIZE < INITIATION_SIZE and reply_receiver(reply) == 77
    assert initiation.open_cookie(reply) == COOKIE
    again = initiate(A, B_KEY.public, 78, OFFER, RNG.randbytes, cookie=COOKIE)
    assert has_mac2(COOKIE, again.datagram)
    datagram, _ = read_initiation(B, again.datagram).answer(2, CHOICE, RNG.randbytes, cookie=COOKIE)
    assert has_mac2(COOKIE, datagram) and len(datagram) == RESPONSE_SIZE
    again.finish(datagram)


def test_the_forwarder_s_keys_open_what_it_seals() -> None:
    """The forwarder replies with a row's key; the sender opens that with what it knows of the receiver."""
    for row, static in zip(handshake_keys(Keyring(NOW), B.statics()), B.statics(), strict=True):
        initiation = initiate(A, static.public, 77, OFFER, RNG.randbytes)
        reply = seal_reply(row.cookie_key, row.epoch, 77, initiation.mac1, COOKIE, RNG.randbytes(24))
        assert initiation.open_cookie(reply) == COOKIE
        assert open_reply(row.cookie_key, initiation.mac1, reply) == COOKIE


def test_a_reply_to_another_initiation() -> None:
    first, second = (initiate(A, B_KEY.public, 77, OFFER, RNG.randbytes) for _ in range(2))
    reply = read_initiation(B, first.datagram).cookie_reply(COOKIE, RNG.randbytes(24))
    with pytest.raises(RemoteError, match="authenticate"):
        second.open_cookie(reply)
    elsewhere = initiate(A, B_OLD.public, 77, OFFER, RNG.randbytes)
    with pytest.raises(RemoteError, match="authenticate"):
        elsewhere.open_cookie(reply)
    assert first.open_cookie(reply) == COOKIE
