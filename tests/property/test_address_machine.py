"""Three to twenty-five peers found, lease, claim, release, give, crash, part and reclaim as hypothesis chooses."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gossip.errors import Refusal
from tests.sim.address_invariants import check_addresses
from tests.sim.address_life import leave, rest
from tests.sim.address_world import AddressWorld, hurried
from tests.sim.host import Host

LARGEST = 25
whose = st.integers(0, LARGEST - 1)


class AddressMachine(RuleBasedStateMachine):
    """What operators and fate may do, in any order; the mesh must come to rest whole."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self._open.enter_context(hurried())
        self.world = AddressWorld(0, 3)

    @initialize(size=st.integers(3, LARGEST) | st.just(3), seed=st.integers(0, 2**16))
    def begin(self, size: int, seed: int) -> None:
        """So many hosts, one after the other."""
        self.world = AddressWorld(seed, size)
        for host in self.world.hosts:
            self.world.clock.after(host.index * 0.4, host.begin)
        self._pass(12.0 + 0.4 * size)

    @rule(seconds=st.sampled_from([0.02, 0.2, 1.0, 3.0, 9.0]))
    def time_passes(self, seconds: float) -> None:
        """Nobody does anything."""
        self._pass(seconds)

    @rule(at=whose, what=st.sampled_from(["attach", "claim", "detach", "create", "remove", "registrar", "release"]))
    def somebody_acts(self, at: int, what: str) -> None:
        """An operator's act on a host, of what it offers there."""
        host = self._host(at)
        if not host.dead:
            self.world.do(what, host)

    @rule(at=whose, to=whose)
    def somebody_gives(self, at: int, to: int) -> None:
        """A host donates to another, which joins or not."""
        host, other = self._host(at), self._host(to)
        if host.up and host.joined and not host.left and host is not other:
            try:
                host.apply(host.node.donate(1, other.identity, host.now))
            except Refusal:
                return

    @rule(at=whose, way=st.sampled_from(["before", "after", "done", 0, 1, 2]))
    def the_next_write_is_struck(self, at: int, way: str | int) -> None:
        """The host dies in its next step that writes, and comes back."""
        del at
        self.world.strike_at = (self.world.persists + 1, way)
        self._pass(0.5)
        self.world.strike_at = None

    @rule(at=whose, what=st.sampled_from(["crash", "die", "return"]))
    def a_host_fails(self, at: int, what: str) -> None:
        """It comes back soon, or only when somebody starts it."""
        self.world.do(what, self._host(at))

    @rule(at=whose)
    def somebody_reclaims(self, at: int) -> None:
        """Of who is dead, or is not."""
        self.world.do("reclaim", self._host(at))

    @rule(at=whose)
    def somebody_leaves(self, at: int) -> None:
        """For good, if enough are left, and an admin among them: it reclaims what crosses the departure."""
        host, hosts = self._host(at), self.world.hosts
        gone = sum(each.left or each.dead for each in hosts)
        others = [each for each in hosts[:1] + hosts[1::2] if each is not host and not (each.left or each.dead)]
        if host.up and host.joined and not host.left and gone + 2 < len(hosts) and others:
            leave(host)

    @rule(at=st.integers(0, 2))
    def the_mesh_is_cut(self, at: int) -> None:
        """In two, or in no parts again."""
        self.world.network.partition({host.index: host.index % (at + 1) for host in self.world.hosts})

    @invariant()
    def nobody_uses_what_another_does(self) -> None:
        """At every moment."""
        check_addresses(self.world)

    def teardown(self) -> None:
        """The mesh comes to rest."""
        try:
            rest(self.world)
        finally:
            self._open.close()

    def _host(self, at: int) -> Host:
        return self.world.hosts[at % len(self.world.hosts)]

    def _pass(self, seconds: float) -> None:
        until = self.world.clock.now + seconds
        while self.world.clock.now < until:
            self.world.clock.run(min(until, self.world.clock.now + 1.0))
            check_addresses(self.world)


AddressMachine.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.explain],  # it traces every line of whole meshes
)
TestAddresses = pytest.mark.timeout(600)(AddressMachine.TestCase)
