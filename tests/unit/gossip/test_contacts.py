from __future__ import annotations

from random import Random

from gossip import limits
from gossip.contacts import Contacts
from gossip.events import CloseLink, Dial, Output
from gossip.roster import Roster
from tests.sim.world import identity_of
from tests.unit.gossip.cores import Core

PEER = identity_of("h1")


def contacts() -> Contacts:
    core = Core("h0")
    made = Contacts(core.node._replica, Roster(core.identity), Random(1))
    made.begin(0.0)
    return made


def test_heartbeats_digests_and_silence_have_their_times() -> None:
    made, out = contacts(), Output()
    made.up(out, 1, PEER, True, 0.0)
    assert [link for link, _ in out.send] == [1], "who opened the link begins the exchange"
    assert min(made.times(False))[0] <= limits.HEARTBEAT_S
    beat = Output()
    made.tick(beat, limits.HEARTBEAT_S)
    assert len(beat.send) == 1
    dead = Output()
    made.tick(dead, limits.SILENCE_S)
    assert [type(event) for event in dead.tell] == [CloseLink] and made.links.all() == []


def test_the_links_are_said_at_most_once_in_their_pace() -> None:
    made = contacts()
    made._replica.started = True
    made.up(Output(), 1, PEER, False, 0.0)
    made.say_due(Output(), 0.0)
    seq = made._replica.seq
    made.lose(1, 0.1)
    made.say_due(Output(), 0.1)
    assert made._replica.seq == seq
    made.say_due(Output(), limits.LINKS_PACE_S)
    assert made._replica.seq == seq + 1


def test_who_is_not_known_is_not_dialled() -> None:
    made, out = contacts(), Output()
    made.consider(PEER, 0.0)
    made.dial_due(out, 9.0)
    assert not any(isinstance(event, Dial) for event in out.tell)
