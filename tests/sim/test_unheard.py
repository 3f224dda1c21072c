"""What becomes of networks of a host that is alive and cut off while the others reclaim it."""

from __future__ import annotations

import pytest

from gossip.events import ReclaimDone
from tests.sim.address_life import rest
from tests.sim.address_world import AddressWorld, hurried, settled
from tests.sim.host import Host
from tests.sim.invariants import InvariantBroken, check_rest

AWAY_S = 20.0


def reclaimed(*, before: str = "", cut_off: str = "", unaware: str = "") -> AddressWorld:
    """h0, the registrar, founds networks: before it is cut off from all others, then, and once h1 reclaimed it."""
    world = settled(3, ["10.0.0.0/24"])
    founder, admin, _ = world.hosts
    _create(world, founder, before)
    world.clock.run(world.clock.now + 5.0)
    world.network.partition({0: 1})
    _create(world, founder, cut_off)
    world.clock.run(world.clock.now + AWAY_S)
    admin.reclaim([founder.identity])
    world.clock.run(world.clock.now + AWAY_S)
    assert isinstance(admin.reclaimed[-1], ReclaimDone)
    _create(world, founder, unaware)
    return world


def _create(world: AddressWorld, host: Host, name: str) -> None:
    if name:
        host.create(name, [])
        assert host.answered[-1].name == name


def test_what_nobody_heard_of_is_gone_and_its_name_can_be_given_anew() -> None:
    with hurried():
        world = reclaimed(cut_off="early", unaware="late")
        rest(world)
        assert [body.name for body in world.hosts[0].node.networks()] == ["default"]
        assert [world.unheard.gone_with_its_founder(body) for body in world.hosts[0].answered] == [True, True]
        for name in ("early", "late"):
            world.hosts[2].create(name, [])
            world.clock.run(world.clock.now + 5.0)
        assert [body.name for body in world.hosts[2].answered] == ["early", "late"]
        rest(world)


def test_what_others_heard_of_stays() -> None:
    with hurried():
        world = reclaimed(before="web")
        rest(world)
        web = world.hosts[0].answered[0]
        assert web in world.hosts[2].node.networks()
        assert not world.unheard.gone_with_its_founder(web)


def test_a_network_that_one_host_heard_of_may_not_be_gone() -> None:
    with hurried():
        world = reclaimed(before="web")
        rest(world)
        admin = world.hosts[1]
        number = world.hosts[0].answered[0].number
        admin.remove(number)
        world.removed.clear()  # as if nobody had meant it
        world.clock.run(world.clock.now + 10.0)
        with pytest.raises(InvariantBroken, match="is not the mesh's"):
            check_rest(world)
