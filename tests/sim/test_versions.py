"""Peers of different versions in one mesh."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from crypto.certificate import verified
from crypto.keys import IdentityKey
from crypto.primitives import verify
from gossip.events import PeerSeen
from gossip.node import Node
from gossip.people.authority import Admitted
from gossip.state.bodies import LEFT, PeerBody
from gossip.state.statements import parse
from tests.frozen import cast
from tests.frozen.transcript import STORED
from tests.sim.versions import check_relayed


def test_what_a_later_version_says_reaches_all_as_it_was_signed() -> None:
    check_relayed()


def admit(identity: bytes, chain: Sequence[bytes]) -> Admitted:
    proved = verified(cast.MESH, identity, chain)
    return Admitted(proved.certificate.roles, proved.path)


def node_of(key: IdentityKey, name: str, chain: list[bytes]) -> Node:
    node = Node(
        mesh=cast.MESH, identity=key.public, sign=key.sign, verify=verify, admit=admit, rng=Random(name), stored=[]
    )
    node.start(PeerBody(name, [], cast.A_STATIC.public, chain, b"boot of" + name[-1:].encode(), "later"), 0.0)
    return node


def test_a_recorded_peer_is_understood_and_passed_on_byte_for_byte() -> None:
    frozen = json.loads(STORED.read_text())["state"]
    recorded = [bytes.fromhex(wire) for kind, wire in frozen["statements"] if kind != LEFT]  # which voids the others
    near = node_of(cast.FOUNDER, "host-a", cast.chain()[2:])
    far = node_of(cast.JOINER, "host-c", cast.chain())
    near.link_up(1, far.identity, True, 0.0)
    far.link_up(1, near.identity, False, 0.0)
    output = near.absorb(recorded, 1.0)
    assert [event.body.name for event in output.tell if isinstance(event, PeerSeen)] == ["host-b"]
    told = [event for link, message in output.send for event in far.receive(link, message, 1.0).tell]
    assert [event.body.name for event in told if isinstance(event, PeerSeen) and event.peer == cast.MEMBER.public]
    held = {(s.kind, s.key): s for s in map(parse, recorded)}
    for node in (near, far):
        view = node._replica.view
        assert all(view.get(cast.MEMBER.public, slot) is not None for slot in held), node.counters
        assert [s.wire() for slot, s in held.items()] == [
            found.wire() for slot in held if (found := view.get(cast.MEMBER.public, slot)) is not None
        ]
    for _, message in frozen["link messages"]:
        output = near.receive(1, bytes.fromhex(message), 2.0)
        assert near.links() == [(1, far.identity)], "every recorded message is one"
