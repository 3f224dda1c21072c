"""A mesh whose hosts fight over addresses: claims, loans, reclaims of hosts that died, registers, a new registrar.

Rule: what takes hours in earnest takes seconds here (`hurried`), and pools are small, so that every life comes to each
rule's edge. Half of the hosts have the role admin.
Flow: `AddressWorld(seed, size)` -> `act()` or `do(...)` -> the invariants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gossip import limits
from gossip.ipam.ranges import network_of, show
from gossip.node import Node
from gossip.state.address_bodies import FENCE, FenceBody, NetworkBody
from gossip.state.bodies import decode_body
from tests.sim.host import Host
from tests.sim.people import BOTH_ROLES, chain_of
from tests.sim.world import World

POOLS = ["10.0.0.0/26", "10.9.0.0/28", "10.7.0.0/31", "fd00:1::/123"]
_HURRIED = {
    "HEARD_S": 4.0,
    "RECLAIM_TRY_S": 3.0,
    "LOAN_KEPT_S": 5.0,
    "REGISTER_AFTER": 6,
    "REGISTER_PACE_S": 5.0,
    "REGISTER_PATIENCE_S": 8.0,
    "REGISTER_RETRY_S": 3.0,
}


@contextmanager
def hurried() -> Iterator[None]:
    """Meanwhile the core waits seconds where it waits minutes, and settles custody after a few grants."""
    before = {name: getattr(limits, name) for name in _HURRIED}
    _limit(_HURRIED)
    try:
        yield
    finally:
        _limit(before)


class AddressWorld(World):
    """Hosts with small pools in common."""

    default = NetworkBody(1, "default", POOLS, 1500)
    ways = ("before", "after", "done", "amid")

    def __init__(self, seed: int, size: int) -> None:
        super().__init__(seed, size)
        self.chains = {
            host.name: chain_of(host.name, ("h0", host.index), roles=BOTH_ROLES) for host in self.hosts[1::2]
        }
        self.mortal = True
        """Whether hosts die, to return only by chance."""

    def acts(self) -> dict[str, int]:
        """What an operator or fate may do, and how often."""
        ours = {"attach": 8, "claim": 8, "detach": 7, "create": 2, "crash": 1, "registrar": 1, "release": 1}
        ours |= {"die": 2, "return": 1, "reclaim": 8} if self.mortal else {}
        return super().acts() | ours

    def do(self, act: str, host: Host) -> None:
        """Carry one act out, where it can be."""
        serving = host.up and not host.left and host.joined and bool(host.node.networks())
        if act == "claim" and serving:
            self._claim(host)
        elif act == "release" and serving:
            body = self.rng.choice(host.node.networks())
            host.free_address(body.number, self._address(body))
        elif act == "registrar" and serving:
            host.hand_registrar(self.rng.choice(self.hosts).identity)
        elif act == "die" and host.up and host.joined and not host.left and sum(h.dead for h in self.hosts) < 2:
            host.dead = True
            host.crash(silently=self.rng.random() < 0.5)
        elif act == "return" and host.dead:
            self._return(host)
        elif act == "reclaim" and serving:
            self._reclaim(host)
        else:
            super().do(act, host)

    def started(self, host: Host) -> None:
        """What ran on the host wants addresses at once, before it hears of anybody."""
        for _ in range(self.rng.choice((0, 0, 2))):
            if host.up and host.joined and host.node.networks():
                self.do(self.rng.choice(("attach", "claim")), host)

    def fences(self, nodes: dict[int, Node]) -> dict[bytes, dict[bytes, int]]:
        """Of every peer that was reclaimed by the belief of any of these: the runs, each with its incarnation."""
        found: dict[bytes, dict[bytes, int]] = {}
        for _, node in sorted(nodes.items()):
            for body in fences_held(node):
                found.setdefault(body.peer, {})[body.run] = body.incarnation
        return found

    def _claim(self, host: Host) -> None:
        body = self.rng.choice(host.node.networks())
        self._endpoints += 1
        endpoint = b"endpoint-%d" % self._endpoints
        if self.rng.random() < 0.3:
            host.silent[endpoint] = None
        host.attach(endpoint, body.number, self._address(body))

    def _address(self, body: NetworkBody) -> str:
        pool = network_of(self.rng.choice(body.pools))
        return show(self.rng.randrange(pool.start, pool.end))

    def _return(self, host: Host) -> None:
        host.dead = False
        host.begin()

    def _reclaim(self, host: Host) -> None:
        """By any host, also one that may not; now and then of one that lives."""
        dead = [each for each in self.hosts if each.dead]
        others = [each for each in self.hosts if each is not host]
        named = dead if dead and self.rng.random() < 0.9 else [self.rng.choice(others)]
        informed = all(each.joined and len(each.node.peers()) == len(self.hosts) for each in others if not each.dead)
        if informed and self._can_ask(host, named):
            host.reclaim([each.identity for each in named])

    def _can_ask(self, host: Host, named: Sequence[Host]) -> bool:
        """Whether it knows everybody, or somebody to ask: else nobody can tell it whom the dead let in."""
        views = host.node.peers()
        asked = [view for view in views if not view.left and view.identity != host.identity]
        dead = [each.identity for each in named]
        return len(views) == len(self.hosts) or any(view.identity not in dead for view in asked)


def settled(size: int, pools: Sequence[str], seed: int = 1) -> AddressWorld:
    """A mesh at rest without faults, its default network with these pools; wants `hurried`."""
    world = AddressWorld(seed, size)
    world.default = NetworkBody(1, "default", list(pools), 1500)
    for host in world.hosts:
        host.begin()
    world.clock.run(15.0)
    return world


def fences_held(node: Node) -> list[FenceBody]:
    """The fences that a core holds."""
    found: list[FenceBody] = []
    for owner in sorted(node._replica.view.owners):
        for (kind, _), statement in sorted(node._replica.view.owners[owner].held.items()):
            body = decode_body(FENCE, statement.body) if kind == FENCE and statement.body is not None else None
            found += [body] if isinstance(body, FenceBody) else []
    return found


def _limit(values: dict[str, float]) -> None:
    for name, value in values.items():
        setattr(limits, name, value)
