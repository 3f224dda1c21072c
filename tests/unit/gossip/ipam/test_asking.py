from __future__ import annotations

from gossip import limits
from gossip.events import NetworkSettled
from gossip.state.address_bodies import REQUEST, RequestBody
from gossip.state.bodies import encode_body
from gossip.state.statements import key_of
from tests.unit.gossip.cores import Core, founder, member, say


def claim(core: Core, other: str, name: str, seq: int) -> bytes:
    body = RequestBody(core.identity, 0, name, b"", 0, seq.to_bytes(8, "big"))
    data = encode_body(REQUEST, body)
    return say(other, (REQUEST, key_of(core.identity, REQUEST, data, body)), (9, seq), data).wire()


def test_more_requests_than_fit_a_step_are_answered_in_the_next() -> None:
    a = founder()
    b = member("h1", a)
    a.take(a.node.absorb(b.node.export(), 0.0))
    many = limits.MAX_ANSWERS_PER_STEP + 5
    a.take(a.node.absorb([claim(a, "h1", f"n{n}", n + 1) for n in range(many)], 1.0))
    assert 0 < len(a.node.names()) < many
    timer = a.node.next_timer()
    assert timer is not None and timer[0] <= 1.0
    a.take(a.node.handle_timer(1.0))
    assert len(a.node.names()) == many


def test_two_claims_of_one_name_in_one_message_make_one_grant() -> None:
    a = founder()
    b, c = member("h1", a), member("h2", a)
    a.take(a.node.absorb([*b.node.export(), *c.node.export()], 0.0))
    a.take(a.node.absorb([claim(a, "h1", "web", 1), claim(a, "h2", "web", 1)], 1.0))
    assert [(name, owner) for name, _, owner in a.node.names()] == [("web", b.identity)]


def test_a_claim_said_again_after_its_end_gets_nothing_more() -> None:
    a = founder()
    b = member("h1", a)
    a.take(a.node.absorb(b.node.export(), 0.0))
    a.take(a.node.absorb([claim(a, "h1", "web", 1)], 1.0))
    grants = [row for row in a.node.summary() if row[1] == "grant"]
    a.take(a.node.absorb([claim(a, "h1", "web", 1), claim(a, "h1", "web", 2)], 2.0))
    assert [row for row in a.node.summary() if row[1] == "grant"] == grants
    assert a.told(NetworkSettled) == []
