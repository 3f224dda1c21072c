from __future__ import annotations

from tests.unit.gossip.dying import LONG, Dying


def test_a_peer_is_here_while_it_is_linked_and_until_a_minute_after() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    seen = one.node._sightings
    assert seen.ago(lost.identity, mesh.now) == 0.0 and seen.lately(lost.identity, mesh.now)
    mesh.kill(lost)
    mesh.pass_(10.0)
    ago = seen.ago(lost.identity, mesh.now)
    assert ago is not None and 8.0 < ago <= 10.0 and seen.lately(lost.identity, mesh.now)
    mesh.pass_(LONG - 10.0)
    assert not seen.lately(lost.identity, mesh.now)
    assert two.node._sightings.ago(one.identity, mesh.now) == 0.0


def test_who_has_just_started_has_heard_of_nobody() -> None:
    mesh = Dying(3)
    one, _, lost = mesh.cores
    mesh.kill(lost)
    again = mesh.restart(one)
    assert again.node._sightings.ago(lost.identity, mesh.now) is None
    assert not again.node._sightings.lately(lost.identity, mesh.now)


def test_a_new_incarnation_is_a_sign_of_life() -> None:
    mesh = Dying(3)
    one, _, lost = mesh.cores
    mesh.kill(lost)
    mesh.pass_(LONG)
    assert not one.node._sightings.lately(lost.identity, mesh.now)
    back = mesh.restart(lost)
    one.take(one.node.absorb(back.node.export(), mesh.now))
    assert one.node._sightings.lately(lost.identity, mesh.now)
