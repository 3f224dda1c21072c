from __future__ import annotations

from gossip.reclaiming.fences import Fences, run_for
from gossip.state.address_bodies import FENCE, GRANT, FenceBody, Grant, grant_id
from gossip.state.bodies import encode_body
from gossip.state.view import Change
from tests.sim.people import identity_of
from tests.unit.gossip.cores import say

ASKER, OTHER, DEAD = identity_of("h1"), identity_of("h2"), identity_of("h3")
RUN = b"run 0001"


def fences(*, admins: tuple[bytes, ...] = (ASKER, OTHER), incarnation: int = 5) -> Fences:
    return Fences(lambda who: who in admins, lambda _: incarnation)


def fence(author: str, peer: bytes, run: bytes, *, incarnation: int = 5, grants: int = 0) -> Change:
    body = FenceBody(peer, run, incarnation, False, grants)
    statement = say(author, (FENCE, body.key), (1, 1), encode_body(FENCE, body))
    return Change(statement.owner, statement.slot, None, statement)


def stead(author: str, run: bytes, start: int) -> Change:
    body = Grant(1, start, start + 1, ASKER, 1, bytes(16), run=run)
    data = encode_body(GRANT, body)
    statement = say(author, (GRANT, grant_id(identity_of(author), data)), (1, 2), data)
    return Change(statement.owner, statement.slot, None, statement)


def test_a_fence_lets_its_author_alone_give_what_the_peer_owned_by_that_run() -> None:
    known = fences()
    nonce = run_for(RUN, DEAD)
    assert not known.fenced(ASKER, DEAD, nonce)
    known.apply(fence("h1", DEAD, nonce))
    assert known.fenced(ASKER, DEAD, nonce)
    assert not known.fenced(OTHER, DEAD, nonce)
    assert not known.fenced(ASKER, OTHER, nonce)
    assert not known.fenced(ASKER, DEAD, run_for(RUN, OTHER))


def test_the_word_of_a_peer_without_the_role_is_no_fence() -> None:
    known = fences(admins=(OTHER,))
    known.apply(fence("h1", DEAD, run_for(RUN, DEAD)))
    assert not known.fenced(ASKER, DEAD, run_for(RUN, DEAD))
    assert not known.concluded(ASKER, DEAD, RUN)
    assert not known.fenced_out(DEAD)


def test_a_run_is_concluded_when_all_its_grants_are_heard() -> None:
    known = fences()
    nonce = run_for(RUN, DEAD)
    known.apply(stead("h1", nonce, 10))
    known.apply(fence("h1", DEAD, nonce, grants=2))
    assert known.taken(ASKER, DEAD, RUN) and not known.concluded(ASKER, DEAD, RUN)
    assert known.halves(DEAD) == [ASKER]
    known.apply(stead("h1", nonce, 10))
    assert not known.concluded(ASKER, DEAD, RUN), "one grant counts once"
    known.apply(stead("h1", run_for(RUN, OTHER), 11))
    assert not known.concluded(ASKER, DEAD, RUN), "that is of another peer"
    known.apply(stead("h1", nonce, 11))
    assert known.concluded(ASKER, DEAD, RUN)
    assert known.halves(DEAD) == []


def test_a_fence_on_the_asker_by_another_voids_its_run() -> None:
    known = fences()
    nonce = run_for(RUN, DEAD)
    known.apply(fence("h1", DEAD, nonce))
    known.apply(fence("h2", ASKER, nonce, incarnation=9))
    assert known.concluded(ASKER, DEAD, RUN)
    assert not known.fenced(ASKER, DEAD, nonce)
    assert known.level(DEAD) == -1
    assert not known.concluded(ASKER, DEAD, b"run 0002")


def test_nobody_voids_a_run_of_its_own() -> None:
    known = fences()
    nonce = run_for(RUN, DEAD)
    known.apply(fence("h1", DEAD, nonce))
    known.apply(fence("h1", ASKER, nonce))
    assert known.fenced(ASKER, DEAD, nonce)


def test_who_came_back_is_not_fenced_out() -> None:
    body = fence("h1", DEAD, run_for(RUN, DEAD), incarnation=5)
    for incarnation, out in ((4, True), (5, True), (6, False)):
        known = fences(incarnation=incarnation)
        assert not known.fenced_out(DEAD)
        known.apply(body)
        assert known.fenced_out(DEAD) == out
        assert known.level(DEAD) == 5
        assert known.author(DEAD) == ASKER


def test_the_keys_of_a_peers_fences() -> None:
    known = fences()
    assert known.by(ASKER) == []
    changes = [fence("h1", DEAD, run_for(RUN, DEAD)), fence("h1", OTHER, run_for(RUN, OTHER))]
    for change in changes:
        known.apply(change)
    assert known.by(ASKER) == sorted(change.slot[1] for change in changes)
