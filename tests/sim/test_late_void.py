"""A reclaim that only hosts knew of which were reclaimed themselves: its promises end when the one left hears of it."""

from __future__ import annotations

from tests.sim.address_invariants import check_addresses
from tests.sim.address_world import hurried, settled


def test_a_promise_that_only_a_reclaimed_host_knew_of_ends_when_it_returns() -> None:
    """h1 dies while it reclaims h0; h2 promised and died; h0, back, reclaims both; h2 returns, h1 never does."""
    with hurried():
        world = settled(3, ["10.0.0.0/27"], 1)
        h0, h1, h2 = world.hosts
        h0.dead = True
        h0.crash(silently=False)
        world.clock.run(world.clock.now + 20)
        h1.reclaim([h0.identity])
        deadline = world.clock.now + 4.0
        while not h2.node._consents.promises():
            assert world.clock.now < deadline, "h2 was never asked"
            world.clock.run(world.clock.now + 0.001)
        for host in (h2, h1):
            host.dead = True
            host.crash(silently=False)
        assert not h1.reclaimed
        h0.dead = False
        h0.begin()
        world.clock.run(world.clock.now + 20)
        h0.reclaim([h1.identity, h2.identity])
        world.clock.run(world.clock.now + 12)
        assert len(h0.reclaimed) == 1
        h2.dead = False
        h2.begin()
        world.clock.run(world.clock.now + 100)
        check_addresses(world)
        assert not h2.node._consents.promises(), "it is bound no longer"
        assert h2.node.ranges(1) == h0.node.ranges(1)
        assert h2.node.check() == h0.node.check() == []
