"""What addresses cost: allocations a second that are durable, bytes of custody in a large mesh, the first address.

`durable` leases 5,000 addresses on one peer of a /12 that has 10,000 leases already, through the node, its
runner and the store on this disk, for 128 callers at once; `core` is the same without disk, one after the other.
`grants` are the bytes on the wire of all grants of one network in a mesh of 1,000 peers, each of which joined at a
random earlier one; `register` those of the edition that takes their place once all have acknowledged it, its settling
included. `first` is how long meshnetd of a host that has just joined takes to answer with an address and a link for
it, in the default network, of which it got a range with the join; `asked` the same in a network it owns nothing of, so
that another peer has to answer first. Both need root and are left out without.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from bench.machine import steal_ticks
from bench.run import Table, say
from gossip.custody.editions import chunks_of, digest_of
from gossip.events import Event, Lease, Output
from gossip.ipam.ranges import network_of
from gossip.ipam.ring import Deed, Ring
from gossip.ipam.space import Space
from gossip.ipam.spare import spare_block
from gossip.node import Node
from gossip.state.address_bodies import (
    GRANT,
    REGISTER,
    SETTLED,
    Grant,
    NetworkBody,
    Row,
    SettledBody,
    grant_id,
    register_key,
)
from gossip.state.bodies import encode_body
from gossip.state.body import least_bytes
from gossip.state.statements import author
from meshnet.cli.client import Client
from meshnet.control.runner import NodeRunner
from meshnet.control.store.store import Store
from tests.lab.hosts import Host
from tests.lab.lab import Lab, missing
from tests.lab.wire import Wire
from tests.sim.people import MESH, admit, identity_of, peer_body, sign_as, verify

UNITS = {
    "core": "allocations/s, no disk",
    "durable": "allocations/s",
    "tiles": "in a mesh of 1,000",
    "grants": "B on the wire",
    "register": "B on the wire",
    "first": "ms",
    "asked": "ms",
}
POOL = "10.32.0.0/12"
LEASES, AT_ONCE, LEASED = 10_000, 128, 5_000
PEERS = 1_000
WHAT = "one network"


def measure(rounds: int) -> Table:
    """Every figure, `rounds` times."""
    table = Table("memory", 0.0, samples={WHAT: {}}, settings={WHAT: {"leases": LEASES, "at once": AT_ONCE}})
    before = steal_ticks()
    for number in range(rounds):
        figures = allocations() | custody(PEERS, number)
        if missing() is None:
            figures |= first_addresses()
        for figure, value in figures.items():
            table.samples[WHAT].setdefault(figure, []).append(value)
        say(f"round {number + 1}/{rounds}: " + ", ".join(f"{key} {value:.0f}" for key, value in figures.items()))
    table.steal_percent = steal_ticks().percent_since(before)
    return table


def allocations(leases: int = LEASES, leased: int = LEASED) -> dict[str, float]:
    """Allocations a second on a peer with that many leases: the core alone, and durable."""
    node = full_node(leases)
    names = map(b"core %d".__mod__, itertools.count())
    begun = time.perf_counter()
    for name in itertools.islice(names, leased):
        node.allocate(1, name, time.monotonic())
    core = leased / (time.perf_counter() - begun)
    return {"core": core, "durable": asyncio.run(durable(full_node(leases), leased))}


def full_node(leases: int) -> Node:
    """A peer that founded the network and uses that many of its addresses."""
    me = identity_of("h0")
    node = Node(mesh=MESH, identity=me, sign=sign_as(me), verify=verify, admit=admit, rng=Random(1))
    node.start(peer_body("h0", "h0:6799"), time.monotonic())
    node.found_network(NetworkBody(1, "default", [POOL], 1500), time.monotonic())
    for number in range(leases):
        node.allocate(1, b"old %d" % number, time.monotonic())
    return node


async def durable(node: Node, leased: int) -> float:
    """Allocations a second through runner and store."""
    with TemporaryDirectory(prefix="meshnet-bench-") as path:
        store = Store.open(Path(path) / "state.db", bytes(16), create=True)
        runner = NodeRunner(node, store, time.monotonic, _unheard, _untold)
        names = map(b"new %d".__mod__, range(leased))

        async def attach() -> None:
            for name in names:

                def act(now: float, name: bytes = name) -> tuple[Output, object]:
                    return node.allocate(1, name, now)

                answer = await runner.step(act)
                if not isinstance(answer, Lease):
                    raise ValueError(f"no lease: {answer}")

        begun = time.perf_counter()
        await asyncio.gather(*(attach() for _ in range(AT_ONCE)))
        passed = time.perf_counter() - begun
        await runner.close()
        store.close()
    return leased / passed


def _unheard(link: int, message: bytes) -> None:
    """Nobody is linked."""


def _untold(event: Event) -> None:
    """Nobody wants to know."""


def custody(peers: int, seed: int) -> dict[str, float]:
    """Bytes of the grants of a network when each peer joined at a random earlier one, and of the register of that."""
    rng, pool = Random(seed), network_of(POOL)
    owners = [identity_of("h0")]
    ring = Ring([pool], owners[0])
    size = _granted(ring, owners[0], Grant(1, pool.start, pool.end, owners[0], 0, b""))
    while len(owners) < peers:
        newcomer = identity_of(f"h{len(owners)}")
        for donor in rng.sample(owners, len(owners)):
            block = spare_block(Space(ring, ring.owned(donor), ()), ring, donor, newcomer)
            if block is not None:
                tile, start, end = block
                version = tile.deed.grant.version + 1
                size += _granted(ring, donor, Grant(1, start, end, newcomer, version, tile.deed.id))
                break
        owners.append(newcomer)
    return {"tiles": len(ring.tiles()), "grants": size, "register": settled_size(ring, owners[0])}


def settled_size(ring: Ring, by: bytes) -> int:
    """Bytes of the statements of an edition with the ring's tiles, and of its settling."""
    rows = [
        Row(least_bytes(t.start), least_bytes(t.end), t.owner, t.deed.grant.version, t.deed.id) for t in ring.tiles()
    ]
    bodies = chunks_of(1, 1, rows)
    if bodies is None:
        raise ValueError("the ring is too large for one edition")
    said = [((REGISTER, register_key(1, 1, chunk)), body) for chunk, body in enumerate(bodies)]
    settled = SettledBody(1, 1, digest_of(bodies))
    said.append(((SETTLED, settled.key), encode_body(SETTLED, settled)))
    return sum(len(author(sign_as(by), MESH, by, slot, (1, 1), body).wire()) for slot, body in said)


def _granted(ring: Ring, donor: bytes, grant: Grant) -> int:
    """Add the grant to the ring; how long its statement is."""
    body = encode_body(GRANT, grant)
    key = grant_id(donor, body)
    ring.add(Deed(key, donor, grant))
    return len(author(sign_as(donor), MESH, donor, (GRANT, key), (1, 1), body).wire())


def first_addresses() -> dict[str, float]:
    """How long a host that has just joined waits for its first addresses, in ms."""
    with Lab(Wire.OFFLOAD) as lab:
        old, new = lab.host("h1"), lab.host("h2")
        token = old.daemon.launch()
        old.daemon.cli("network", "create", "second")
        new.daemon.join(token)
        return {"first": address_ms(new, "w", "default"), "asked": address_ms(new, "v", "second")}


def address_ms(host: Host, name: str, network: str) -> float:
    """How long meshnetd takes to make an endpoint of a new workload, in ms."""
    workload = host.workload(name)
    place = Path("/run/netns", workload.full_name).stat()
    client = Client(host.daemon.run_dir / "meshnet.sock")
    wish = {"target": workload.full_name, "network": network, "ip": None, "ifname": "mesh0"}
    begun = time.perf_counter()
    answer = client.request("POST", "/v1/endpoints", wish | {"netns": f"{place.st_dev}:{place.st_ino}"})
    passed = time.perf_counter() - begun
    if not answer["addresses"]:
        raise ValueError(f"no address in {network}: {answer}")
    return passed * 1000
