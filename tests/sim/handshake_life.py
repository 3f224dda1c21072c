"""A life of two or three hosts' sessions from a seed: faults, then rest, with what must hold at rest.

During the faults forwarders and daemons die, clocks jump by years, static keys and the mesh secret are replaced, and
forwarders ask for cookies; in some lives only one host's initiations come through. At rest the link is whole and both
ends talk: then every pair comes to one session that both ends seal under, soon, and keeps it.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

from crypto.secret import MeshSecret
from meshnet.control.handshakes.peers import Peers
from tests.sim.handshakes import Host, World
from tests.sim.invariants import InvariantBroken

STEPS = 25
STEP_S = 6.0
AGREED_S = 20.0
"""Silence is noticed after 15 s, and a handshake that is being retried goes on within 5.4 s."""
STEADY_S = 30.0
YEARS_10_NS = 10 * 365 * 86_400 * 10**9


class Rotation:
    """The mesh secret's replacement, phase by phase; hosts follow a little later, and some never switch.

    Any two hosts hold a common secret all the while: nobody switches before all have the next one.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._phase = 0
        self._generation = 0

    def go_on(self) -> None:
        """The next phase: install, switch, drop."""
        world, phase = self._world, self._phase % 3
        if phase == 0:
            self._generation += 1
            self._next = MeshSecret(self._generation, world.rng.randbytes(32))
        elif any(self._generation not in generations(host) for host in world.hosts):
            return  # not everywhere yet
        for host in world.hosts:
            world.clock.after(world.rng.uniform(0.0, 3.0), partial(self._follow, host, phase, self._next))
        self._phase += 1

    def _follow(self, host: Host, phase: int, secret: MeshSecret) -> None:
        keyring = host.local.keyring
        if phase == 0:
            host.rekey(replace(host.local, keyring=keyring.installed(secret)))
        elif phase == 1 and keyring.next == secret and self._world.rng.random() < 0.7:
            host.rekey(replace(host.local, keyring=keyring.switched()))
        elif phase == 2 and keyring.current == secret:
            host.rekey(replace(host.local, keyring=keyring.dropped()))


def generations(host: Host) -> list[int]:
    """Of the mesh secrets that a host holds."""
    return [secret.generation for secret in host.local.keyring.secrets()]


def live(seed: int, steps: int = STEPS) -> World:
    """Run one life; raises InvariantBroken."""
    world = World(seed, size=3 if seed % 4 == 3 else 2)
    if seed % 4 == 2:
        world.beginner = world.rng.randrange(2)
    rotation = Rotation(world)
    for host, other in itertools.permutations(world.hosts, 2):
        if world.rng.random() < 0.7:
            host.talk(other, world.rng.choice([0.3, 2.0, 8.0]))
    for _ in range(steps):
        world.clock.run(world.now + world.rng.uniform(0.0, 2 * STEP_S))
        act(world, rotation)
    rest(world)
    return world


def act(world: World, rotation: Rotation) -> None:
    """One thing goes wrong, or changes."""
    host = world.rng.choice(world.hosts)
    match world.rng.randrange(10):
        case 0:
            host.restart_forwarder()
        case 1:
            for each in world.hosts:
                each.restart_forwarder()
        case 2:
            restart_daemon(host)
        case 3:
            host.restart_forwarder()
            restart_daemon(host)
        case 4:
            host.clock_offset_ns = world.rng.choice([0, YEARS_10_NS, -YEARS_10_NS, -3600 * 10**9])
        case 5:
            host.rotate_static()
        case 6 | 7:
            rotation.go_on()
        case 8:
            host.forwarder.loaded = not host.forwarder.loaded
        case _:
            world.loss = world.rng.choice([0.0, 0.1, 0.3, 1.0])


def restart_daemon(host: Host) -> None:
    """meshnetd is killed, and started again a little later."""
    host.kill_daemon()
    host.world.clock.after(host.world.rng.uniform(0.05, 5.0), partial(start_again, host))


def start_again(host: Host) -> None:
    """Starts a daemon, unless a later one runs."""
    if host.peers is None:
        host.start_daemon()


def rest(world: World) -> None:
    """The link is whole and everything runs, with clocks as they are; what must hold now."""
    world.clean()
    world.clock.run(world.now + 5.0)
    pairs = list(itertools.combinations(range(len(world.hosts)), 2))
    for host, other in itertools.permutations(world.hosts, 2):
        host.talk(other, 0.5)
    if not world.run(AGREED_S, lambda: all(world.matching(*pair) for pair in pairs)):
        raise InvariantBroken(f"no session that both ends seal under after {AGREED_S} s")
    check_steady(world, pairs)
    check_known(world)


def check_steady(world: World, pairs: list[tuple[int, int]]) -> None:
    """Frames flow both ways, under sessions that change only because of their age."""
    world.run(6.0)  # who lost a race tries once more if the winner's first record was late
    for host in world.hosts:
        host.forwarder.waited = 0
    before = sum(host.forwarder.installs for host in world.hosts)
    delivered = [host.forwarder.got for host in world.hosts]
    world.run(STEADY_S)
    installs = sum(host.forwarder.installs for host in world.hosts) - before
    if installs > 2 * len(pairs):
        raise InvariantBroken(f"{installs} sessions were installed in {STEADY_S} s of quiet")
    if not all(world.matching(*pair) for pair in pairs):
        world.run(1.0)  # a change of keys may be under way
    if not all(world.matching(*pair) for pair in pairs):
        raise InvariantBroken("sessions that agreed do so no more")
    if any(host.forwarder.waited for host in world.hosts):
        raise InvariantBroken("a frame waited for a session while there was one")
    expected = STEADY_S / 0.5 * 0.5 * (len(world.hosts) - 1)
    for host, count in zip(world.hosts, delivered, strict=True):
        if host.forwarder.got - count < expected:
            raise InvariantBroken("frames do not flow")


def check_known(world: World) -> None:
    """What the control sides believe is what the forwarders do."""
    for host, other in itertools.permutations(world.hosts, 2):
        assert isinstance(host.peers, Peers)
        view = host.peers.view(other.identity, world.now)
        if (view.state, view.address) != ("up", other.address):
            raise InvariantBroken(f"a peer in use is {view.state} at {view.address}")
