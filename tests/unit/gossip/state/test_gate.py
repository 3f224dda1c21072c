from __future__ import annotations

from gossip.state.bodies import LINKS, PEER, LinksBody, encode_body
from gossip.state.gate import Gate
from gossip.state.view import View
from tests.sim.people import MESH, admit, identity_of, peer_body, verify
from tests.unit.gossip.cores import say

LINKS_BODY = encode_body(LINKS, LinksBody([]))
PEER_1 = say("h1", (PEER, b""), (1, 1), encode_body(PEER, peer_body("h1")))


class Watch:
    def __init__(self) -> None:
        self.checked = 0
        self.counters: dict[str, int] = {}
        self.view = View()
        self.gate = Gate(MESH, identity_of("me"), self.view, self._verify, admit, self.counters)

    def _verify(self, identity: bytes, message: bytes, signature: bytes) -> bool:
        self.checked += 1
        return verify(identity, message, signature)


def test_owners_unknown_yet_are_named_and_nothing_is_kept() -> None:
    watch, strangers = Watch(), dict[bytes, None]()
    statement = say("h1", (LINKS, b""), (1, 2), LINKS_BODY)
    assert watch.gate.admit_wire(statement.wire(), strangers) is None
    assert list(strangers) == [identity_of("h1")] and watch.checked == 0
    assert watch.gate.admit_wire(PEER_1.wire(), strangers) == PEER_1
    watch.view.merge(PEER_1)
    assert watch.gate.admit_wire(statement.wire(), strangers) == statement


def test_what_is_old_costs_no_signature_check() -> None:
    watch = Watch()
    watch.view.merge(PEER_1)
    assert watch.gate.admit_wire(PEER_1.wire(), {}) is None
    assert watch.checked == 0 and watch.counters == {"statement_old": 1}


def test_a_chain_of_somebody_else_admits_nobody() -> None:
    watch = Watch()
    alien = say("h1", (PEER, b""), (1, 1), encode_body(PEER, peer_body("h2")))
    assert watch.gate.admit_wire(alien.wire(), {}) is None
    assert watch.counters == {"statement_not_member": 1}


def test_a_proof_needs_two_signed_contradicting_statements() -> None:
    watch = Watch()
    watch.view.merge(PEER_1)
    one, two = (say("h1", ("note", b""), (1, 9), body) for body in (b"1", b"2"))
    forged = say("h1", ("note", b""), (1, 9), b"2", signer="h2")
    later = say("h1", ("note", b""), (1, 10), b"2")
    assert watch.gate.admit_proof((one.wire(), two.wire())) == (one, two)
    assert watch.gate.admit_proof((one.wire(), forged.wire())) is None
    assert watch.gate.admit_proof((one.wire(), later.wire())) is None
    assert watch.gate.admit_proof((one.wire(), one.wire())) is None
    assert watch.gate.admit_proof((one.wire(), b"junk")) is None
    assert watch.counters == {"statement_bad_signature": 1, "proof_invalid": 2, "statement_malformed": 1}
