"""Small meshes of which peers die, are cut off and return, for scenarios of reclaims."""

from __future__ import annotations

from gossip.errors import Refusal
from gossip.events import Lease, Output, ReclaimDone, ReclaimSettled
from gossip.state.address_bodies import GRANT, EndpointBody, Grant, grant_id
from gossip.state.bodies import encode_body
from gossip.state.statements import Statement
from tests.sim.people import BOTH_ROLES, certificate, chain_of, identity_of, mac_of, peer_body
from tests.unit.gossip.cores import Core, Wires, founder

LONG = 61.0  # longer than a peer counts as heard of


def admin(name: str, via: Core, now: float = 0.0) -> Core:
    """A started core with both roles that joined through `via`, with a range of the default network."""
    chain = [certificate(identity_of(name), BOTH_ROLES), *chain_of("h0")]
    core = Core(name).begin(now, body=peer_body(name, f"{name}:6799", chain=chain))
    via.take(via.node.donate(1, core.identity, now))
    core.take(core.node.absorb(via.node.export(), now))
    return core


class Dying:
    """Cores h0 (the founder) to h<n-1>, all admins, all linked with each other, at rest at `now`."""

    def __init__(self, count: int) -> None:
        self.wires = Wires()
        self.now = 0.0
        first = founder()
        self.cores = [first, *(admin(f"h{each}", first) for each in range(1, count))]
        for at, one in enumerate(self.cores):
            for other in self.cores[:at]:
                self.wires.link(one, other, self.now)
        self.wires.cores.setdefault("h0", first)
        self.pass_(3.0)

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.wires.tick(self.now + seconds, self.now)
        self.now += seconds

    def cut(self, core: Core, *others: Core) -> None:
        """The links between the core and these, or all, are gone."""
        names = [other.name for other in others] or list(self.wires.cores)
        for (name, link), (other, there) in list(self.wires.far.items()):
            if name == core.name and other.name in names:
                del self.wires.far[name, link], self.wires.far[other.name, there]
                core.take(core.node.link_down(link, self.now))
                other.take(other.node.link_down(there, self.now))
        self.wires.pump(self.now)

    def link(self, one: Core, two: Core) -> None:
        """They reach each other."""
        self.wires.link(one, two, self.now)

    def kill(self, core: Core) -> None:
        """The core is gone; what it had to send is lost."""
        core.sent = []
        self.cut(core)
        self.wires.cores.pop(core.name, None)
        core.sent = []

    def restart(self, core: Core, *others: Core) -> Core:
        """The core dies and comes back from its store, linked with these."""
        self.kill(core)
        again = core.again()
        again.events = core.events
        body = core.node.peer(core.identity)
        assert body is not None
        again.begin(self.now, body=body.body)
        for other in others:
            self.link(again, other)
        self.wires.cores.setdefault(again.name, again)
        return again

    def reclaim(self, core: Core, *dead: Core, forced: bool = False) -> ReclaimDone | Refusal | None:
        """The answer to a reclaim that is begun; what is sent stays under way."""
        output, answer = core.node.reclaim([each.identity for each in dead], forced, self.now)
        core.take(output)
        return answer

    def settled(self, core: Core, seconds: float = 11.0) -> ReclaimDone | Refusal:
        """The answer to the reclaim that waits."""
        self.pass_(seconds)
        return core.told(ReclaimSettled)[-1].answer


def attach(core: Core, endpoint: bytes, now: float, address: str | None = None) -> str:
    """Lease an address that needs nobody else, and announce the endpoint; the address with its length."""
    output, lease = core.node.allocate(1, endpoint, now, address)
    core.take(output)
    assert isinstance(lease, Lease), lease
    body = EndpointBody(1, mac_of(endpoint), [(lease.address, lease.number)], endpoint.decode())
    core.take(core.node.set_endpoint(body, now))
    return lease.address


def owned(witness: Core, of: Core) -> int:
    """How many addresses of the default network `of` owns, as the witness knows it."""
    return sum(each.end - each.start for each in witness.node.ranges(1) if each.owner == of.identity)


def all_owned(witness: Core) -> int:
    """How many addresses of the default network somebody owns."""
    return sum(each.end - each.start for each in witness.node.ranges(1))


def give(core: Core, to: Core, now: float, count: int = 16) -> Statement:
    """The core gives the last `count` addresses of its first tile away; the statement by which it does."""
    ring = core.node._directory.rings[1]
    tile = ring.owned(core.identity)[0]
    grant = Grant(1, tile.end - count, tile.end, to.identity, tile.deed.grant.version + 1, tile.deed.id)
    data = encode_body(GRANT, grant)
    slot = (GRANT, grant_id(core.identity, data))
    core.take(core.node._say(slot, data, now))
    statement = core.node._replica.view.get(core.identity, slot)
    assert statement is not None
    return statement


def lend(core: Core, to: Core, now: float, number: int = 7) -> int:
    """The core lends the last but one address of its first tile; the address."""
    address = core.node._directory.rings[1].owned(core.identity)[0].end - 2
    out = Output()
    core.node._asking.loans.lend(out, 1, address, to.identity, number)
    core.take(core.node._finish(out, now))
    return address


def of_kind(core: Core, owner: Core, *kinds: str) -> list[bytes]:
    """What the core holds of an owner's statements of these kinds, withdrawn ones too, as they travel."""
    entry = core.node._replica.view.owners.get(owner.identity)
    return [] if entry is None else [s.wire() for s in entry.in_order() if s.kind in kinds]


def promised(core: Core) -> list[bytes]:
    """About whom the core has promised not to heed more."""
    return [peer for peer, _ in core.node._consents.promises()]
