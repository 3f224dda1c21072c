"""Peers that come and go leave few ranges: at most two for each peer that stays, after a hundred rounds."""

from __future__ import annotations

from random import Random

import pytest

from gossip.errors import Refusal
from gossip.events import Lease
from gossip.state.address_bodies import NetworkBody
from tests.unit.gossip.cores import Core, Wires

PEERS, ROUNDS, POOL = 4, 100, "10.32.0.0/16"


class Churn:
    """A mesh in which one peer after the other leaves and another joins."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.wires = Wires()
        self.now = 1.0
        self.made = 1
        first = Core("h0").begin()
        first.take(first.node.found_network(NetworkBody(1, "default", [POOL], 1500), 0.0))
        self.live = [first]
        self.wires.cores["h0"] = first
        self.leases: dict[str, list[bytes]] = {"h0": []}

    def join(self) -> None:
        """A new peer joins at a random one, which gives it addresses, and links to two."""
        core = Core(f"h{self.made}").begin(self.now)
        self.made += 1
        via = self.rng.choice(self.live)
        try:
            via.take(via.node.donate(1, core.identity, self.now))
        except Refusal:
            pass  # it asks for some when it needs one
        core.take(core.node.absorb(via.node.export(), self.now))
        for other in {via.name: via, **{each.name: each for each in self.rng.sample(self.live, 1)}}.values():
            self.wires.link(core, other, self.now)
        self.live.append(core)
        self.leases[core.name] = []

    def use(self) -> None:
        """A random peer leases an address, or releases one."""
        core = self.rng.choice(self.live)
        mine = self.leases[core.name]
        if mine and self.rng.random() < 0.5:
            core.take(core.node.release(1, mine.pop(self.rng.randrange(len(mine))), self.now))
        else:
            mine.append(b"%d" % self.rng.randrange(2**32))
            core.take(core.node.allocate(1, mine[-1], self.now)[0])
        self.wires.pump(self.now)

    def leave(self) -> None:
        """A random peer leaves; who stays is linked on."""
        core = self.live.pop(self.rng.randrange(len(self.live)))
        core.take(core.node.leave(self.now))
        self.wires.pump(self.now)
        for (name, link), (far, there) in list(self.wires.far.items()):
            if name == core.name:
                del self.wires.far[name, link], self.wires.far[far.name, there]
                far.take(far.node.link_down(there, self.now))
        del self.wires.cores[core.name]
        first = self.live[0]
        for other in self.live[1:]:
            if other.identity not in [peer for _, peer in first.node.links()]:
                self.wires.link(first, other, self.now)

    def round(self) -> int:
        """One round; how many ranges there are."""
        while len(self.live) < PEERS:
            self.join()
        for _ in range(PEERS):
            self.use()
        self.wires.tick(self.now + 1.0, self.now, 0.5)
        self.now += 1.5
        counts = [len(core.node.ranges(1)) for core in self.live]
        assert max(counts) == min(counts)
        self.leave()
        return counts[0]


@pytest.mark.parametrize("seed", [1])
def test_a_hundred_rounds_leave_at_most_two_ranges_for_each_peer(seed: int) -> None:
    churn = Churn(seed)
    for number in range(ROUNDS):
        assert churn.round() <= 2 * PEERS, f"round {number}"
    held = [lease.address for core in churn.live for lease in core.node.leases() if isinstance(lease, Lease)]
    assert len(held) == len(set(held))
    sizes = [end.end - end.start for end in churn.live[0].node.ranges(1)]
    assert sum(sizes) == 2**16
