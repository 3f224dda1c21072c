from __future__ import annotations

from gossip import limits
from gossip.events import Output
from gossip.ipam.requests import Requests
from gossip.state.address_bodies import LOAN, REQUEST, LoanBody, RequestBody
from gossip.state.bodies import encode_body
from gossip.state.statements import Slot
from gossip.state.view import Change
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


def test_a_loan_answers_as_a_grant_does() -> None:
    desk, loan = requests(), LoanBody(5, b"\x0a\0\0\7", ME, 3, b"a nonce.")
    for name, lent in (("h1", LoanBody(5, b"\x0a\0\0\7", identity_of("h2"), 3, b"another.")), ("h1", loan)):
        slot: Slot = (LOAN, lent.key)
        desk.apply(Change(identity_of(name), slot, None, say(name, slot, (1, 1), encode_body(LOAN, lent))))
    assert list(desk.replied) == [b"a nonce."]


def test_what_holds_a_loan_is_said_once_and_awaited_by_nobody() -> None:
    core = Core("h0").begin()
    desk, out = Requests(core.node._replica), Output()
    asked = desk.ask(out, identity_of("h1"), 5, "", b"\x0a\0\0\7", 0)
    assert list(desk.awaited) == [asked.key]
    desk.own[asked.key] = asked
    seq = core.node._replica.seq
    desk.hold(out, identity_of("h1"), 5, b"\x0a\0\0\7", bytes(8))
    assert core.node._replica.seq == seq, "the request that was answered holds it"
    desk.answered(asked.key)
    assert desk.awaited == {}
    desk.hold(out, identity_of("h1"), 5, b"\x0a\0\0\x09", bytes(8))
    assert core.node._replica.seq == seq + 1 and desk.awaited == {}
