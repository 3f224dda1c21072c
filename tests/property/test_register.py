"""Registers among real cores that hear each other in pieces, in any order: custody never depends on what was settled.

Every host is an admin and proposes whenever it would like to, whoever it reaches; statements travel one by one, late,
again, or not at all; hosts restart, leave, are revoked. After every step no address is owned by two hosts in their own
eyes, and at rest all say what a table of honest moves says.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossip import limits
from gossip.custody.register import Register
from gossip.events import Output
from gossip.ipam.ranges import network_of
from gossip.state.address_bodies import NETWORK, Grant, NetworkBody
from gossip.state.bodies import encode_body
from tests.sim.people import chain_of, identity_of, peer_body
from tests.unit.gossip.cores import Core

POOL = network_of("10.0.0.0/26")
BODY = NetworkBody(1, "default", ["10.0.0.0/26"], 1500)
HOSTS = 4
GIVEN_UP_AFTER = 400  # rounds of telling everybody everything


class Life:
    """Some hosts, what each of them gave to whom, and the time."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.hosts = [self.begin(Core(f"h{n}")) for n in range(HOSTS)]
        self.silent: dict[str, None] = {}  # left or revoked
        first = self.hosts[0]
        first.take(first.node.found_network(BODY, self.now))
        self.table = dict.fromkeys(range(POOL.start, POOL.end), first.identity)
        self.settled = 0

    def begin(self, core: Core) -> Core:
        chain = chain_of("h0") if core.name == "h0" else chain_of(core.name, ("h0", 1), roles=["admin"])
        return core.begin(self.now, body=peer_body(core.name, chain=chain))

    def step(self) -> None:
        """Something happens."""
        self.now += self.rng.choice((0.0, 0.3, 1.0, 3.0))
        speaking = [host for host in self.hosts if host.name not in self.silent]
        one, two = self.rng.choice(speaking), self.rng.choice(self.hosts)
        act = self.rng.random()
        if act < 0.55:
            self.tell(one, two, self.rng.random() < 0.5)
        elif act < 0.8:
            self.give(one, two)
        elif act < 0.96:
            one.take(one.node.handle_timer(self.now))
        elif act < 0.985:
            self.hosts[self.hosts.index(one)] = self.begin(one.again())
        elif len(speaking) > 2 and one.name != "h0":
            self.silence(one)

    def tell(self, one: Core, two: Core, all_of_it: bool) -> None:
        """`two` hears some of what `one` holds."""
        said = [statement.wire() for statement in one.node._replica.view.statements()]
        if not all_of_it:
            said = self.rng.sample(said, self.rng.randrange(len(said) + 1))
        two.take(two.node.absorb(said, self.now))

    def give(self, one: Core, to: Core) -> None:
        """A piece of one tile."""
        tiles = one.node._directory.rings[1].owned(one.identity) if 1 in one.node._directory.rings else []
        if not tiles:
            return
        tile = self.rng.choice(tiles)
        start = self.rng.randrange(tile.start, tile.end)
        end = self.rng.randint(start + 1, tile.end)
        grant = Grant(1, start, end, to.identity, tile.deed.grant.version + 1, tile.deed.id)
        out = Output()
        one.node._addresses.grant(out, grant)
        one.take(one.node._finish(out, self.now))
        self.table.update(dict.fromkeys(range(start, end), to.identity))

    def silence(self, one: Core) -> None:
        """It leaves, or is revoked."""
        self.silent[one.name] = None
        if self.rng.random() < 0.5:
            by = self.hosts[0]
            by.take(by.node.revoke(one.identity, 0, "", self.now))
            return
        mine = one.node._directory.rings[1].owned(one.identity) if 1 in one.node._directory.rings else []
        one.take(one.node.leave(self.now))
        for tile in mine:
            for address in range(tile.start, tile.end):
                self.table[address] = one.node._directory.rings[1].owner(address) or b""

    def check(self) -> None:
        """No address is two hosts' own."""
        seen: dict[int, str] = {}
        for host in self.hosts:
            ring = host.node._directory.rings.get(1)
            for tile in [] if ring is None else ring.owned(host.identity):
                for address in range(tile.start, tile.end):
                    assert address not in seen, f"{seen[address]} and {host.name} both own {address - POOL.start}"
                    assert self.table[address] == host.identity
                    seen[address] = host.name

    def rest(self) -> None:
        """All hear all until nobody has anything to say."""
        for _ in range(GIVEN_UP_AFTER):
            self.now += limits.REGISTER_LOOK_S
            before = [host.node.summary() for host in self.hosts]
            for one in self.hosts:
                for two in self.hosts:
                    self.tell(one, two, True)
                if one.name not in self.silent:
                    one.take(one.node.handle_timer(self.now))
                self.check()
            quiet = all(host.node._register.next_time() is None for host in self.hosts if host.name not in self.silent)
            if quiet and before == [host.node.summary() for host in self.hosts]:
                return
        raise AssertionError("the hosts never come to rest")


@pytest.fixture(autouse=True, scope="module")
def _eager() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "REGISTER_AFTER", 2)
        patch.setattr(limits, "REGISTER_PACE_S", 2.0)
        patch.setattr(limits, "REGISTER_PATIENCE_S", 20.0)
        patch.setattr(limits, "REGISTER_LOOK_S", 0.2)
        patch.setattr(limits, "REGISTER_RETRY_S", 1.0)
        patch.setattr(Register, "_near", lambda *_: True)
        patch.setattr(Register, "_first_admin", lambda register: register._identity)
        yield


def live(seed: int, steps: int = 150) -> int:
    """One life; returns how many editions were settled in it."""
    life = Life(seed)
    for _ in range(steps):
        life.step()
        life.check()
    life.rest()
    for host in life.hosts:
        ring = host.node._directory.rings[1]
        assert {address: ring.owner(address) for address in life.table} == life.table
    base = life.hosts[0].node._directory.custody.base(1)
    return 0 if base is None else base.number


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_custody_is_what_it_would_be_without_registers(seed: int) -> None:
    live(seed)


def test_editions_are_settled_on_the_way() -> None:
    assert live(1) > 1


def test_the_founding_statement_is_the_network_s() -> None:
    """So that the table above begins with what the first host owns."""
    assert Life(1).hosts[0].node._replica.view.get(identity_of("h0"), (NETWORK, BODY.key)) is not None
    assert encode_body(NETWORK, BODY)
