from __future__ import annotations

from gossip.custody.custody import Custody
from gossip.custody.editions import chunks_of, digest_of
from gossip.custody.rows import rows_of
from gossip.ipam.ranges import network_of
from gossip.networks.numbers import NUMBERS
from gossip.state.address_bodies import (
    FENCE,
    GRANT,
    NUMBER_POOL,
    REGISTER,
    SETTLED,
    FenceBody,
    Grant,
    SettledBody,
    grant_id,
    register_key,
)
from gossip.state.bodies import PEER, encode_body
from gossip.state.view import Change
from tests.sim.people import identity_of, peer_body
from tests.unit.gossip.cores import say

A, B, C = identity_of("a"), identity_of("b"), identity_of("c")
POOL = network_of("10.0.0.0/24")
AT = POOL.start
RUN = b"run 0001"


class Kept:
    """A custody that hears what it is told."""

    def __init__(self) -> None:
        self.admins: dict[bytes, None] = {}
        self.fences: dict[tuple[bytes, bytes, bytes], None] = {}
        self.custody = Custody(
            self.admins.__contains__,
            lambda donor, owner, run: (donor, owner, run) in self.fences,
        )
        self.seq = 0

    def hear(self, name: str, kind: str, key: bytes, body: bytes | None, incarnation: int = 1) -> None:
        self.seq += 1
        statement = say(name, (kind, key), (incarnation, self.seq), body)
        self.custody.apply(Change(identity_of(name), (kind, key), None, statement))

    def grant(self, name: str, grant: Grant, incarnation: int = 1) -> bytes:
        data = encode_body(GRANT, grant)
        key = grant_id(identity_of(name), data)
        self.hear(name, GRANT, key, data, incarnation)
        return key

    def begin(self) -> bytes:
        key = self.grant("a", Grant(1, POOL.start, POOL.end, A, 0, b""))
        self.custody.lay(1, [POOL], A)
        return key

    def settle(self, name: str, network: int, number: int) -> None:
        rows = rows_of(self.custody, network)
        bodies = None if rows is None else chunks_of(network, number, rows)
        assert bodies is not None
        for chunk, body in enumerate(bodies):
            self.hear(name, REGISTER, register_key(network, number, chunk), body)
        settled = SettledBody(network, number, digest_of(bodies))
        self.hear(name, SETTLED, settled.key, encode_body(SETTLED, settled))

    def owners(self, network: int = 1) -> list[tuple[int, int, bytes]]:
        ring = self.custody.ring(network)
        return [] if ring is None else [(tile.start - AT, tile.end - AT, tile.owner) for tile in ring.tiles()]


def test_grants_that_came_before_their_network_are_in_its_ring() -> None:
    kept = Kept()
    kept.begin()
    assert kept.custody.settle() == [1] and kept.owners() == [(0, 256, A)]
    assert kept.custody.settle() == [], "nothing moved since"
    assert kept.custody.networks() == [1] and kept.custody.ring(0) is None


def test_a_withdrawn_grant_leaves_the_ring_and_may_come_again() -> None:
    kept = Kept()
    root = kept.begin()
    given = Grant(1, AT, AT + 64, B, 1, root)
    key = kept.grant("a", given)
    assert [deed.id for deed in kept.custody.given_by(A)] == sorted([root, key])
    before = kept.custody.changes
    kept.hear("a", GRANT, key, None)
    kept.hear("a", GRANT, key, None)
    assert kept.owners() == [(0, 256, A)] and kept.custody.changes == before + 1
    kept.grant("a", given)
    assert kept.owners() == [(0, 64, B), (64, 256, A)]
    assert len(kept.custody.deeds(1)) == 2 and kept.custody.counts() == {A: 2}


def test_a_settled_edition_begins_the_ring_once_its_author_is_known_as_an_admin() -> None:
    kept = Kept()
    root = kept.begin()
    key = kept.grant("a", Grant(1, AT, AT + 64, B, 1, root))
    kept.settle("c", 1, 1)
    kept.custody.settle()
    assert kept.custody.base(1) is None and kept.custody.above(1) == []
    kept.admins[C] = None
    kept.hear("c", PEER, b"", encode_body(PEER, peer_body("c")))
    assert kept.custody.settle() == [1]
    base = kept.custody.base(1)
    assert base is not None and (base.author, base.number) == (C, 1) and kept.custody.above(1) == []
    for name in (root, key):
        kept.hear("a", GRANT, name, None)
    assert kept.owners() == [(0, 64, B), (64, 256, A)]


def test_an_edition_that_does_not_cover_the_pools_is_no_base() -> None:
    kept = Kept()
    kept.begin()
    kept.admins[C] = None
    kept.settle("c", 1, 1)
    kept.custody.settle()
    assert kept.custody.base(1) is not None
    kept.custody.lay(1, [POOL, network_of("10.9.0.0/24")], A)
    assert kept.custody.base(1) is None and kept.owners() == [(0, 256, A)]


def test_a_ring_made_anew_has_a_version_of_its_own() -> None:
    kept = Kept()
    kept.begin()
    before = kept.custody.rings[1].version
    kept.custody.lift(1)
    kept.custody.lift(1)
    assert kept.custody.rings == {} and kept.custody.lay(1, [POOL], A).version > before


def test_a_fence_makes_what_stands_in_for_its_peer_count() -> None:
    kept = Kept()
    root = kept.begin()
    key = kept.grant("a", Grant(1, AT, AT + 64, B, 1, root))
    kept.grant("c", Grant(1, AT, AT + 64, C, 2, key, run=RUN))
    assert kept.owners()[0] == (0, 64, B)
    kept.fences[C, B, RUN] = None
    kept.custody.settle()
    kept.hear("c", FENCE, B + RUN, encode_body(FENCE, FenceBody(B, RUN, 1, False)))
    assert kept.custody.settle() == [1] and kept.owners()[0] == (0, 64, C)


def test_the_number_pool_rests_on_its_register_too() -> None:
    kept = Kept()
    root = kept.grant("a", Grant(NUMBER_POOL, NUMBERS.start, NUMBERS.end, A, 0, b""))
    web = kept.grant("a", Grant(NUMBER_POOL, 5, 6, B, 1, root, "web"))
    kept.custody.found(A)
    kept.admins[A] = None
    kept.settle("a", NUMBER_POOL, 1)
    assert NUMBER_POOL in kept.custody.settle() and kept.custody.networks() == [NUMBER_POOL]
    for name in (root, web):
        kept.hear("a", GRANT, name, None)
    assert kept.custody.numbers.registrar() == A
    holder = kept.custody.numbers.holder("web")
    assert holder is not None and (holder.number, holder.holders) == (5, [B])


def test_a_network_is_forgotten_when_nothing_of_it_is_held() -> None:
    kept = Kept()
    assert kept.custody.forgotten(1)
    root = kept.begin()
    assert not kept.custody.forgotten(1)
    kept.admins[A] = None
    kept.settle("a", 1, 1)
    kept.hear("a", GRANT, root, None)
    assert kept.custody.deeds(1) == [] and not kept.custody.forgotten(1), "a register of it was settled"
