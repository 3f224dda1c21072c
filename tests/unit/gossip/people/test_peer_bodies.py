from __future__ import annotations

import pytest

from gossip.people.peer_bodies import PeerBodies
from gossip.state.bodies import PEER, encode_body
from gossip.state.view import View
from tests.sim.people import identity_of, peer_body
from tests.unit.gossip.cores import say

A, B = identity_of("h1"), identity_of("h2")


def test_a_body_is_the_one_that_is_held_whether_its_owner_is_at_rest_or_not() -> None:
    view = View()
    bodies = PeerBodies(view)
    for incarnation, address in ((1, "old:1"), (2, "new:1")):
        body = peer_body("h1", address)
        view.merge(say("h1", (PEER, b""), (incarnation, 1), encode_body(PEER, body)))
        bodies.heard(A, incarnation)
        assert bodies[A] == body and bodies.incarnation(A) == incarnation
        view.rest()
        assert bodies[A] == body and dict(bodies) == {A: body}


def test_who_was_not_heard_of_is_not_in_it() -> None:
    bodies = PeerBodies(View())
    assert bodies.get(B) is None and B not in bodies and len(bodies) == 0 and bodies.incarnation(B) == 0
    with pytest.raises(KeyError):
        bodies[B]
