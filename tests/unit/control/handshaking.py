"""What the tests of the peers' handshakes share: two hosts with known keys, and short names for what they do."""

from __future__ import annotations

import itertools
import random
from typing import Any, TypeVar

from crypto.handshake import Local, Offer, initiate
from crypto.keyring import Keyring
from crypto.keys import StaticKey
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from crypto.tai64n import stamp
from meshnet.boundary import ProgressRow
from meshnet.control.handshakes.peer_output import InstallSession, Output, SendDatagram
from meshnet.control.handshakes.peers import Peers

MESH, SECRET = bytes(range(16)), MeshSecret(0, bytes(range(32)))
KEYS = sorted((StaticKey.generate(random.Random(n).randbytes) for n in range(3)), key=lambda key: key.public)
SMALL, LARGE, STRANGER = KEYS
AT_SMALL, AT_LARGE = ("192.0.2.1", 6799), ("192.0.2.2", 6799)
SMALL_ID, LARGE_ID = b"s" * 32, b"l" * 32
WALL_NS = 10**18
"""Later than anything peers made of ``peers_of`` knew when they met, and than what they send."""
RESERVED = stamp(WALL_NS + 3600 * 10**9)
COOKIE_SECRET = b"c" * 32

T = TypeVar("T", bound=Output)


def local(static: StaticKey) -> Local:
    return Local(MESH, Suite.AESGCM, Keyring(SECRET), static)


def peers_of(static: StaticKey, seed: int = 0, features: int = 31, largest_record: int = 64_000) -> Peers:
    """Peers whose wall clock moves by a millisecond whenever it is read, and whose stamps are reserved."""
    rng, wall = random.Random(seed), itertools.count(WALL_NS - 10**9, 10**6)
    peers = Peers(
        local(static), bytes(8), entropy=rng.randbytes, rng=rng, wall_ns=lambda: next(wall), features=features,
        largest_record=largest_record, reserved=b"",
    )  # fmt: skip
    peers.stamps_reserved(RESERVED, 0.0)
    peers.cookies(COOKIE_SECRET, b"")
    return peers


def only(outputs: list[Output], kind: type[T]) -> T:
    found = [output for output in outputs if isinstance(output, kind)]
    assert len(found) == 1, outputs
    return found[0]


def shake(initiator: Peers, responder: Peers, peer_id: bytes, now: float) -> tuple[InstallSession, InstallSession]:
    """A handshake that works; returns both ends' sessions, the initiator's first."""
    first = only(initiator.wanted(peer_id, now), SendDatagram)
    answer = responder.receive(AT_SMALL, first.data, now)
    ours = only(initiator.receive(AT_LARGE, only(answer, SendDatagram).data, now), InstallSession)
    return ours, only(answer, InstallSession)


def row(session: InstallSession, *, sent: int = 0, received: int = 0, ages: tuple[float, float]) -> ProgressRow:
    return ProgressRow(session.local_index, sent, received, 0, 0, *ages)


def forged(offer: Offer, static: StaticKey = SMALL, receiver: StaticKey = LARGE) -> bytes:
    """An initiation as the holder of ``static`` would send it; equal offers make equal ones."""
    entropy = random.Random(offer.stamp + offer.challenge).randbytes
    return initiate(local(static), receiver.public, 9, offer, entropy).datagram


def offer_at(wall_ns: int, **change: Any) -> Offer:
    fields: dict[str, Any] = {"min_version": 1, "max_version": 1, "features": 0, "largest_record": 9_000}
    return Offer(stamp(wall_ns), bytes(8), **{**fields, **change})


def small_knows_large() -> Peers:
    """The host with the smaller static key."""
    peers = peers_of(SMALL, 1)
    peers.know(LARGE_ID, LARGE.public, [AT_LARGE], (), 0.0)
    return peers


def large_knows_small() -> Peers:
    """The host with the larger static key, whose TAP takes less."""
    peers = peers_of(LARGE, 2, features=4, largest_record=32_000)
    peers.know(SMALL_ID, SMALL.public, [AT_SMALL], (), 0.0)
    return peers
