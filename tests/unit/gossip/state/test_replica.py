from __future__ import annotations

import pytest

from gossip import limits
from gossip.events import SPACE_OWN, SPACE_STATEMENT, Output
from gossip.state.address_bodies import ENDPOINT, EndpointBody, NetworkBody
from gossip.state.bodies import MANIFEST, PEER, encode_body
from gossip.state.replica import Replica, load_all
from gossip.state.statements import parse
from tests.sim.people import MESH, admit, identity_of, mac_of, peer_body, sign_as, verify
from tests.unit.gossip.cores import Core, say


def replica() -> Replica:
    identity = identity_of("h0")
    made = Replica(MESH, identity, sign_as(identity), verify, admit)
    made.started = True
    return made


def step(made: Replica) -> Output:
    out = Output()
    made.close_step(out)
    made.persist(out, made.changes)
    made.changes = []
    news, _ = made.news()
    out.send += [(link, s.wire()) for s, origin in news for link in (1, 2) if link != origin]
    return out


def test_a_new_incarnation_is_the_first_write_and_the_manifest_the_last_statement() -> None:
    core = Core("h0").begin()
    output = core.again().node.start(peer_body("h0"), 1.0)
    assert (output.persist[0].space, output.persist[0].value) == (SPACE_OWN, (2).to_bytes(8, "big"))
    said = [parse(put.value) for put in output.persist if put.space == SPACE_STATEMENT and put.value is not None]
    assert said[-1].kind == MANIFEST and {s.incarnation for s in said} == {2}


def test_what_is_said_already_is_not_said_again() -> None:
    made = replica()
    made.renew(Output())
    body = encode_body(PEER, peer_body("h0"))
    made.publish(Output(), (PEER, b""), body)
    assert step(made).send
    made.publish(Output(), (PEER, b""), body)
    assert step(made) == Output()


def test_news_goes_to_all_links_but_the_one_it_came_from() -> None:
    made = replica()
    made.hear(Output(), [say("h1", (PEER, b""), (1, 1), encode_body(PEER, peer_body("h1"))).wire()], 1, 0.0)
    assert [link for link, _ in step(made).send] == [2]
    made.hear(Output(), [say("h1", (PEER, b""), (1, 1), encode_body(PEER, peer_body("h1"))).wire()], 2, 0.0)
    assert step(made).send == []


def test_many_tombstones_end_in_a_new_incarnation_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_OWN_TOMBSTONES", 5)
    core = Core("h0").begin()
    core.take(core.node.found_network(NetworkBody(1, "n", ["10.0.0.0/24"], 1500), 0.0))
    for n in range(7):
        body = EndpointBody(1, mac_of(b"%d" % n), [], "")
        core.take(core.node.set_endpoint(body, 1.0))
        core.take(core.node.drop_endpoint(1, body.mac, 1.0))
    assert core.node.incarnation == 2
    assert sum(kind == ENDPOINT for _, kind, _, _ in core.node.summary()) == 1


def test_forced_incarnations_are_paced() -> None:
    made = replica()
    made.renew(Output())

    def hear(incarnation: int, now: float) -> int:
        made.hear(Output(), [say("h0", ("note", b""), (incarnation, 1), b"").wire()], None, now)
        return made.incarnation

    assert hear(5, 10.0) == 6
    assert hear(8, 10.1) == 6
    made.catch_up(Output(), 10.0 + limits.RENEW_PACE_S / 2)
    assert made.incarnation == 6
    made.catch_up(Output(), 10.0 + limits.RENEW_PACE_S)
    assert made.incarnation == 9, "what was put off is done when it is time"
    made.catch_up(Output(), 20.0)
    assert made.incarnation == 9


def test_damaged_rows_are_counted_and_skipped() -> None:
    made = replica()
    load_all(made, [(SPACE_STATEMENT, b"key", b"junk"), ("gossip.proof", b"key", b"junk")])
    assert made.counters == {"stored_row_damaged": 2}
    assert made.view.statements() == []
