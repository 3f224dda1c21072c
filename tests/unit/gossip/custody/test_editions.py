from __future__ import annotations

from gossip import limits
from gossip.custody.editions import Editions, chunks_of, digest_of
from gossip.state.address_bodies import (
    ACK,
    GRANT,
    REGISTER,
    SETTLED,
    AckBody,
    RegisterBody,
    Row,
    SettledBody,
    register_key,
)
from gossip.state.bodies import encode_body
from gossip.state.view import Change
from tests.sim.people import identity_of
from tests.unit.gossip.cores import say

A, B = identity_of("a"), identity_of("b")
ROWS = [Row(bytes((1, 2, 3, low)), bytes((1, 2, 3, low + 1)), A, 1, bytes(16)) for low in range(150)]


class Heard:
    def __init__(self) -> None:
        self.editions = Editions()
        self.seq = 0

    def hear(self, name: str, kind: str, key: bytes, body: bytes | None) -> int | None:
        self.seq += 1
        statement = say(name, (kind, key), (1, self.seq), body)
        return self.editions.apply(Change(identity_of(name), (kind, key), None, statement))

    def propose(self, name: str, number: int, rows: list[Row] = ROWS, *, skip: int = -1) -> bytes:
        bodies = chunks_of(1, number, rows)
        assert bodies is not None
        for chunk, body in enumerate(bodies):
            if chunk != skip:
                assert self.hear(name, REGISTER, register_key(1, number, chunk), body) == 1
        return digest_of(bodies)

    def settle(self, name: str, number: int, digest: bytes) -> None:
        assert self.hear(name, SETTLED, b"\0\0\0\1", encode_body(SETTLED, SettledBody(1, number, digest))) == 1

    def base(self, *admins: str, fits: bool = True) -> tuple[int, bytes] | None:
        names = [identity_of(name) for name in admins]
        found = self.editions.base(1, names.__contains__, lambda _: fits)
        return None if found is None else (found.number, found.author)


def test_chunks_are_full_and_fit_into_statements() -> None:
    bodies = chunks_of(1, 7, ROWS)
    assert bodies is not None and len(bodies) == 3
    assert all(len(body) <= limits.MAX_CHUNK_B for body in bodies)
    named = [Row(b"\1" * 4, b"\2" * 4, A, 1, bytes(16), "n" * 63, [A] * limits.MAX_HOLDERS)] * 40
    wide = chunks_of(0, 7, named)
    assert wide is not None and all(len(body) <= limits.MAX_CHUNK_B for body in wide)
    assert chunks_of(1, 7, ROWS[:1] * (limits.MAX_ROWS * limits.MAX_CHUNKS + 1)) is None


def test_a_settled_edition_is_the_base_when_it_is_whole_and_its_author_an_admin() -> None:
    heard = Heard()
    digest = heard.propose("a", 1, skip=1)
    heard.settle("a", 1, digest)
    assert heard.base("a") is None, "a chunk is missing"
    heard.propose("a", 1)
    assert heard.base("a") == (1, A)
    assert heard.base("b") is None and heard.base("a", fits=False) is None
    edition = heard.editions.edition(1, A, 1)
    assert edition is not None and [root.grant.to for root in edition.roots()] == [A] * 150 and edition.past() == {}


def test_another_digest_settles_nothing() -> None:
    heard = Heard()
    heard.propose("a", 1)
    heard.settle("a", 1, b"another digest..")
    assert heard.base("a") is None


def test_the_greatest_number_goes_first_then_the_smallest_author() -> None:
    heard = Heard()
    for name in ("a", "b"):
        heard.settle(name, 3, heard.propose(name, 3))
    assert heard.base("a", "b") == (3, min(A, B))
    heard.settle("a", 4, heard.propose("a", 4))
    assert heard.base("a", "b") == (4, A)
    heard.hear("a", REGISTER, register_key(1, 4, 0), None)
    assert heard.base("a", "b") == (3, B), "the edition before, where that is whole"


def test_what_would_take_the_base_s_place_and_what_the_base_made_needless() -> None:
    heard = Heard()
    heard.propose("a", 1)
    heard.settle("a", 2, heard.propose("a", 2))
    heard.propose("b", 3, skip=0)
    base = heard.editions.base(1, lambda _: True, lambda _: True)
    assert base is not None
    assert heard.editions.above(1, base, lambda _: True) == [(B, 3)]
    assert heard.editions.above(1, base, lambda author: author == A) == []
    assert heard.editions.above(1, None, lambda _: True) == [(B, 3), (A, 2), (A, 1)]
    assert heard.editions.below(1, A, base) == [(1, 0), (1, 1), (1, 2)]
    assert heard.editions.below(1, B, base) == []
    assert heard.editions.networks(B) == [1] and heard.editions.any_settled(1) and not heard.editions.any_settled(2)
    assert heard.editions.chunks(1, A, 1) == [0, 1, 2]


def test_acknowledgements_are_kept_by_owner() -> None:
    heard = Heard()
    body = AckBody(1, A, 1, bytes(16))
    assert heard.hear("b", ACK, b"\0\0\0\1", encode_body(ACK, body)) is None
    assert heard.editions.ack(1, B) == body
    heard.hear("b", ACK, b"\0\0\0\1", None)
    assert heard.editions.ack(1, B) is None
    assert heard.hear("b", GRANT, bytes(16), None) is None


def test_of_numbers_it_is_known_who_held_them() -> None:
    heard = Heard()
    rows = [Row(b"\5", b"\6", B, 2, bytes(16), "web", [B, A]), Row(b"\6", b"\7", A, 0, bytes(16))]
    body = encode_body(REGISTER, RegisterBody(0, 1, 0, 1, rows))
    heard.hear("a", REGISTER, register_key(0, 1, 0), body)
    edition = heard.editions.edition(0, A, 1)
    assert edition is not None and edition.past() == {5: [B, A]}
    assert edition.roots()[0].grant.name == "web"
