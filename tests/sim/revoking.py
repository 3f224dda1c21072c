"""Meshes in which admins, and others who may not, revoke, list and announce.

h0 founded; h1 is its admin; h2 an admin that h1 let in; h3 has no role; h4 lets others in, and let h5 in with serial 6.
"""

from __future__ import annotations

from gossip.errors import Refusal
from gossip.events import Output
from gossip.state.bodies import ALLOW, REVOKE, AllowBody, RevokeBody, encode_body
from gossip.state.statements import Slot
from gossip.state.statements import author as sign
from tests.sim.host import Host
from tests.sim.invariants import check_always, check_rest
from tests.sim.life import QUIET_S
from tests.sim.people import MESH, chain_of, identity_of, sign_as
from tests.sim.world import World

SIZE = 6
STAFF = ("admin", "invite")
CHAINS = {
    "h1": chain_of("h1", ("h0", 1), roles=STAFF),
    "h2": chain_of("h2", ("h1", 2), ("h0", 1), roles=STAFF),
    "h3": chain_of("h3", ("h0", 3)),
    "h4": chain_of("h4", ("h0", 4), roles=("invite",)),
    "h5": chain_of("h5", ("h4", 6), ("h0", 4)),
}
STEPS = 40
STEP_S = 0.7


def mesh(seed: int, chains: dict[str, list[bytes]] | None = None) -> World:
    """All six hosts, at rest, each with an endpoint; `chains` replace those above."""
    world = World(seed, SIZE)
    world.chains = {**CHAINS, **(chains or {})}
    for host in world.hosts:
        host.begin()
    world.clock.run(15.0)
    for host in world.hosts:
        host.attach(b"of " + host.name.encode())
    world.clock.run(20.0)
    check_rest(world)
    return world


def rest(world: World) -> None:
    """Let the mesh come to rest, and check it. Who is out may be whatever it is."""
    world.crash_chance = 0.0
    world.strike_at = None
    world.network.partition({})
    for host in world.hosts:
        host.begin()
    world.clock.run(world.clock.now + QUIET_S)
    _announce_again(world)
    check_always(world)
    check_rest(world)


def members(world: World) -> list[str]:
    """Who counts, as the founder sees it."""
    node = world.hosts[0].node
    return [host.name for host in world.hosts if node.member(host.identity)]


def revoke(host: Host, name: str, from_serial: int = 10**9) -> bool:
    """Revoke somebody; whether the act was done and is durable."""
    if not host.up:
        return False
    try:
        output = host.node.revoke(identity_of(name), from_serial, "", host.world.clock.now)
    except Refusal:
        return False
    return host.apply(output)


def lie(host: Host, name: str) -> None:
    """Say a revocation that this host may not say, as a program that was tampered with would."""
    if host.up:
        data = encode_body(REVOKE, RevokeBody(identity_of(name), 0, "lie"))
        forged(host, (REVOKE, identity_of(name)), data)
        forged(host, (ALLOW, b""), encode_body(ALLOW, AllowBody(b"")))


def forged(host: Host, slot: Slot, data: bytes) -> None:
    """Say something without asking the own core, which keeps it as if it had come back from the mesh."""
    node = host.node
    statement = sign(sign_as(host.identity), MESH, host.identity, slot, (max(1, node.incarnation), 1 << 40), data)
    for other in host.world.hosts:
        if other.up and other is not host and host.world.network.joined(host.index, other.index):
            other.apply(other.node.absorb([statement.wire()], host.world.clock.now))


def act(world: World) -> None:
    """One act of an admin, or of somebody who is none; refused or not."""
    author = world.hosts[world.rng.choice((0, 1, 1, 2, 2, world.rng.randrange(SIZE)))]
    victim = world.rng.choice(world.hosts)
    kind = world.rng.choice(("revoke", "list on", "list on", "list off", "allow", "disallow", "announce", "lie"))
    if author.up and kind == "revoke":
        revoke(author, victim.name, world.rng.choice((0, 5, 10**9)))
    elif author.up and kind == "lie":
        lie(world.hosts[world.rng.choice((3, 5))], victim.name)
    elif author.up:
        try:
            author.apply(_output(author, kind, victim.identity))
        except Refusal:
            return


def _output(author: Host, kind: str, victim: bytes) -> Output:
    rng, now = author.world.rng, author.world.clock.now
    if kind == "announce":
        commitment = bytes([rng.randrange(2)]) * 32
        return author.node.announce_secret(rng.randrange(1, 4), commitment, rng.randrange(3), now)
    if kind in ("allow", "disallow"):
        return author.node.allow(victim, kind == "allow", now)
    return author.node.allow(None, kind == "list on", now)


def live(seed: int) -> World:
    """A life with crashes, cuts and acts, come to rest; raises InvariantBroken."""
    world = mesh(seed)
    world.crash_chance = 0.02
    for step in range(STEPS):
        world.clock.run(world.clock.now + world.rng.uniform(0, 2 * STEP_S))
        if step % 2:
            act(world)
        else:
            world.act()
        check_always(world)
    rest(world)
    return world


def _announce_again(world: World) -> None:
    """What a crash left leased but unannounced, where it counts."""
    for host in world.hosts:
        for endpoint, lease in sorted(host.attached.items()):
            known = [body.number for body in host.node.networks()]
            if not host.node.member(host.identity) or lease.network not in known:
                del host.attached[endpoint]
            else:
                host.attach(endpoint, lease.network)
    world.clock.run(world.clock.now + 5.0)
