from __future__ import annotations

from gossip import limits
from gossip.bodies import REQUEST, RequestBody, encode_body
from gossip.requests import Requests
from gossip.statements import Slot
from gossip.view import Change
from tests.sim.people import identity_of
from tests.unit.gossip.cores import Core, say

ME = identity_of("h0")


def requests() -> Requests:
    return Requests(Core("h0").node._replica)


def change(name: str, body: RequestBody, said: bool = True, seq: int = 1) -> Change:
    slot: Slot = (REQUEST, body.key)
    return Change(
        identity_of(name), slot, None, say(name, slot, (1, seq), encode_body(REQUEST, body) if said else None)
    )


def body(network: int = 5, of: bytes = ME) -> RequestBody:
    return RequestBody(of, network, "", b"", 0, bytes(8))


def test_what_is_asked_of_this_peer_is_taken_once() -> None:
    desk = requests()
    desk.apply(change("h1", body()))
    desk.apply(change("h2", body(of=identity_of("h3"))))
    assert desk.waiting
    assert desk.take() == (identity_of("h1"), body())
    assert desk.take() is None and not desk.waiting


def test_a_withdrawn_request_is_not_looked_at() -> None:
    desk = requests()
    desk.apply(change("h1", body()))
    desk.apply(change("h1", body(), said=False, seq=2))
    assert desk.take() is None


def test_own_requests_are_kept_apart() -> None:
    desk = requests()
    desk.apply(change("h0", body()))
    assert list(desk.own.values()) == [body()] and desk.take() is None
    desk.apply(change("h0", body(), said=False, seq=2))
    assert desk.own == {}


def test_the_inbox_is_bounded() -> None:
    desk = requests()
    for network in range(1, limits.MAX_OPEN_REQUESTS + 9):
        desk.apply(change("h1", body(network)))
    taken = 0
    while desk.take() is not None:
        taken += 1
    assert taken == limits.MAX_OPEN_REQUESTS
