"""What an operator asks about addresses, and does about them: who has what, what is odd, a dead peer's ranges.

Rule: the core decides; here words become identities and numbers, and answers name peers, networks and addresses.  A
plan changes nothing and says whom a reclaim would touch and who must agree.  An address claimed by hand is a lease
under a key of its own, so that reconciliation leaves it alone.
Flow: API -> here -> the node's queries and steps.  Reference: design §6; docs/addresses.md.
"""

from collections.abc import Callable, Sequence
from typing import Final

from gossip.errors import LocalError, Refusal
from gossip.events import Output, ReclaimDone, ReclaimPlan, Share
from gossip.ipam.ranges import show
from gossip.node import Node
from gossip.state.address_bodies import NUMBER_POOL, NetworkBody
from meshnet.control.names import find_peer
from meshnet.control.networks.adoption import Adoption
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.reconcile import MANUAL, Reconciler, manual_key
from meshnet.control.pending import RECLAIM, Pending, refused
from meshnet.control.runner import NodeRunner
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["RECLAIM_DEADLINE_S", "Answer", "Ipam"]

RECLAIM_DEADLINE_S: Final = 15.0
"""The node gives a reclaim up after 10 s; its answer must not be missed."""
NUMBERS: Final = "network numbers"
"""What the number pool is called where networks are listed."""

Answer = dict[str, object]


class Ipam:
    """Addresses of the mesh, as one host knows them."""

    def __init__(
        self,
        node: Node,
        runner: NodeRunner[Node],
        pending: Pending,
        desk: NetworkDesk,
        adoption: Adoption,
        reconciler: Reconciler,
        clock: Callable[[], float],
    ) -> None:
        self._node = node
        self._runner = runner
        self._pending = pending
        self._desk = desk
        self._adoption = adoption
        self._reconciler = reconciler
        self._clock = clock

    # --- questions -------------------------------------------------------------------------------------------------

    def listed(self) -> Answer:
        """meshnet.ipam/v1: how full each network is, by peer, and what waits for addresses."""
        names = self._names()
        shares = sorted(self._node.utilisation(), key=lambda row: (row.network, names.get(row.peer, ""), row.peer))
        numbers = dict.fromkeys(row.network for row in shares)
        return {
            "schema": "meshnet.ipam/v1",
            "networks": [self._network(number, [row for row in shares if row.network == number]) for number in numbers],
            "pending": self._waiting(),
            "unclaimed": self._adoption.described(),
            "registrar": self._registrar(),
        }

    def shown(self, network: str | None) -> Answer:
        """meshnet.ipam-networks/v1: ranges and addresses in use of a network, or of all.  Raises MeshnetError."""
        bodies = self._node.networks() if network is None else [self._desk.known(network)]
        return {"schema": "meshnet.ipam-networks/v1", "networks": [self._detail(body) for body in bodies]}

    def checked(self) -> Answer:
        """meshnet.ipam-check/v1: what is odd, one line each."""
        unclaimed = [
            f"endpoint {row['endpoint']} on network {row['network']} has no lease: {row['why']}"
            for row in self._adoption.described()
        ]
        leaseless = [
            f"{_key_text(key)} on network {self._network_name(network)} uses an address without a lease: take it back"
            " (hide, detach, or remove the container), and have it anew"
            for network, key in self._reconciler.leaseless()
        ]
        problems = [*self._node.check(), *unclaimed, *leaseless]
        return {"schema": "meshnet.ipam-check/v1", "sound": not problems, "problems": problems}

    def plan(self, peers: Sequence[str]) -> Answer:
        """meshnet.ipam-plan/v1: what a reclaim of these peers would do, without doing it.  Raises MeshnetError."""
        return self._planned(self._identities(peers))

    def registrar(self) -> Answer:
        """meshnet.registrar/v1: who gives out network numbers."""
        return {"schema": "meshnet.registrar/v1", **self._registrar()}

    # --- acts ------------------------------------------------------------------------------------------------------

    async def reclaim(self, peers: Sequence[str], forced: bool) -> Answer:
        """meshnet.ipam-reclaimed/v1, durable: the peers' ranges are this host's.  Raises MeshnetError."""
        identities = self._identities(peers)
        try:
            done: ReclaimDone = await self._pending.ask(
                RECLAIM, lambda now: self._node.reclaim(identities, forced, now), RECLAIM_DEADLINE_S
            )
        except LocalError as error:
            raise _misused(error) from None
        quarantined = [{"network": self._network_name(number), "address": text} for number, text in done.quarantined]
        return {
            "schema": "meshnet.ipam-reclaimed/v1",
            "run": done.run.hex(),
            "forced": forced,
            "peers": [self._named(identity) for identity in done.peers],
            "ranges": self._ranges(done.ranges),
            "quarantined": quarantined,
        }

    async def claim(self, network: str, address: str) -> Answer:
        """meshnet.ipam-claim/v1, durable: the address is this host's to use by hand.  Raises MeshnetError."""
        body = self._desk.known(network)
        lease = await self._pending.lease(self._node, body.number, manual_key(address), address)
        return {
            "schema": "meshnet.ipam-claim/v1",
            "network": body.name,
            "address": lease.address,
            "lease": lease.number,
        }

    async def release(self, network: str, address: str) -> Answer:
        """meshnet.ipam-release/v1: a claim by hand ends, or a loan to a peer that is gone.  Raises MeshnetError."""
        body = self._desk.known(network)
        key = manual_key(address)
        if any((number, held) == (body.number, key) for number, held, _ in self._node.held()):
            await self._act(lambda now: self._node.release(body.number, key, now))
        else:
            await self._act(lambda now: self._node.release_address(body.number, address, now))
        return {"schema": "meshnet.ipam-release/v1", "network": body.name, "address": address}

    async def hand_registrar(self, peer: str) -> Answer:
        """meshnet.registrar/v1, durable: `peer` gives out network numbers from now on.  Raises MeshnetError."""
        identity = find_peer(self._node.peers(), peer).identity
        await self._act(lambda now: self._node.hand_registrar(identity, now))
        return self.registrar()

    async def _act(self, act: Callable[[float], Output]) -> None:
        try:
            await self._runner.step(act)
        except Refusal as refusal:
            raise refused(refusal) from None
        except LocalError as error:
            raise _misused(error) from None

    # --- words -----------------------------------------------------------------------------------------------------

    def _names(self) -> dict[bytes, str]:
        return {view.identity: view.body.name for view in self._node.peers()}

    def _name(self, identity: bytes) -> str:
        view = self._node.peer(identity)
        return identity.hex()[:16] if view is None else view.body.name

    def _named(self, identity: bytes) -> Answer:
        return {"name": self._name(identity), "id": identity.hex()}

    def _identities(self, peers: Sequence[str]) -> list[bytes]:
        views = self._node.peers()
        return list(dict.fromkeys(find_peer(views, peer).identity for peer in peers))

    def _network_name(self, number: int) -> str:
        return NUMBERS if number == NUMBER_POOL else self._desk.name_of(number)

    def _network(self, number: int, shares: Sequence[Share]) -> Answer:
        rows = [self._share(row) for row in shares]
        owned, used = _sum(rows, "owned"), _sum(rows, "used")
        lost = sum(_int(row["owned"]) for row in rows if not row["reachable"])
        return {
            "network": self._network_name(number),
            "number": number,
            "owned": owned,
            "used": used,
            "free": _sum(rows, "free"),
            "lent": _sum(rows, "lent"),
            "unreachable_percent": _percent(lost, owned),
            "peers": rows,
        }

    def _share(self, row: Share) -> Answer:
        return {
            "peer": self._name(row.peer),
            "id": row.peer.hex(),
            "owned": row.owned,
            "used": row.used,
            "lent": row.lent,
            "free": max(row.owned - row.used - row.lent, 0),
            "used_percent": _percent(row.used + row.lent, row.owned),
            "reachable": row.reachable,
            "left": row.left,
        }

    def _waiting(self) -> list[Answer]:
        now = self._clock()
        return [
            {
                "network": self._network_name(row.network),
                "endpoint": _key_text(row.endpoint_id),
                "wanted": row.wanted,
                "waits_s": round(max(now - row.since, 0.0), 3),
                "left_s": round(max(row.until - now, 0.0), 3),
                "asked": [self._name(peer) for peer in row.asked],
                "why": row.why,
            }
            for row in self._node.pending()
        ]

    def _registrar(self) -> Answer:
        holder = self._node.registrar()
        if holder is None:
            return {"name": None, "id": None, "reachable": None, "here": False}
        view = self._node.peer(holder)
        reachable = view is not None and view.reachable
        return {**self._named(holder), "reachable": reachable, "here": holder == self._node.identity}

    def _detail(self, body: NetworkBody) -> Answer:
        endpoints = [
            {"address": address, "lease": lease, "peer": self._name(owner), "mac": end.mac.hex(":"), "of": end.name}
            for owner, end in self._node.endpoints(body.number)
            for address, lease in end.addresses
        ]
        leases = [
            {"address": lease.address, "lease": lease.number, "of": _key_text(key)}
            for number, key, lease in self._node.held()
            if number == body.number
        ]
        return {
            "network": body.name,
            "number": body.number,
            "pools": list(body.pools),
            "ranges": [
                {**_span(body.number, row.start, row.end), **self._named(row.owner)}
                for row in self._node.ranges(body.number)
            ],
            "addresses": endpoints,
            "leases": leases,
        }

    def _planned(self, identities: Sequence[bytes]) -> Answer:
        try:
            plan: ReclaimPlan = self._node.reclaim_plan(identities, self._clock())
        except LocalError as error:
            raise _misused(error) from None
        refusal = plan.refusal
        heard = {identity: plan.heard_ago.get(identity) for identity in identities}
        return {
            "schema": "meshnet.ipam-plan/v1",
            "peers": [{**self._named(identity), "heard_s": ago} for identity, ago in heard.items()],
            "ranges": self._ranges(plan.ranges),
            "in_use": [
                {"network": self._network_name(number), "address": address, "of": name}
                for number, address, name in plan.in_use
            ],
            "must_agree": [self._name(identity) for identity in plan.must_consent],
            "unreachable": [self._name(identity) for identity in plan.unreachable],
            "possible": refusal is None,
            "why_not": None if refusal is None else {"what": refusal.what, "why": refusal.why, "fix": refusal.fix},
        }

    def _ranges(self, spans: Sequence[tuple[int, int, int]]) -> list[Answer]:
        return [{"network": self._network_name(number), **_span(number, start, end)} for number, start, end in spans]


def _span(number: int, start: int, end: int) -> Answer:
    text = str if number == NUMBER_POOL else show
    return {"first": text(start), "last": text(end - 1), "size": end - start}


def _key_text(key: bytes) -> str:
    """An endpoint's id as operators meet it: hex digits, or the words where it is made of words."""
    if key.startswith(MANUAL):
        return "claimed by hand"
    text = key.decode("ascii", "replace")
    return text if text.isascii() and text.isprintable() and " " in text else key.hex()


def _sum(rows: Sequence[Answer], field: str) -> int:
    return sum(_int(row[field]) for row in rows)


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _misused(error: LocalError) -> MeshnetError:
    fix = "use the `meshnet` command of this version"
    return MeshnetError("nothing was done", str(error), fix, ExitCode.USAGE)
