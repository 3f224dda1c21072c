"""What `meshnet status` and `meshnet peer ls` say: plain objects, put together from every part that knows something.

Rule: reading changes nothing and asks the forwarder once; ages are seconds, sizes bytes, absent values null.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from gossip.events import PeerView
from gossip.node import Node
from meshnet import __version__
from meshnet.boundary import Counters, PeerCounters
from meshnet.control.handshakes.sessions import Sessions
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.names import namesakes
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.expose import Exposures
from meshnet.control.networks.networks import Networks
from meshnet.control.supervise import Supervisor

__all__ = ["Status"]

DROPS_SHOWN: Final = 64
Answer = dict[str, object]


class Status:
    """Composes the answers."""

    def __init__(
        self,
        keys: HostKeys,
        node: Node,
        sessions: Sessions,
        networks: Networks,
        desk: NetworkDesk,
        endpoints: Endpoints,
        exposures: Exposures,
        supervisor: Supervisor,
        addresses: Callable[[], list[str]],
        port: int,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._node = node
        self._sessions = sessions
        self._networks = networks
        self._desk = desk
        self._endpoints = endpoints
        self._exposures = exposures
        self._supervisor = supervisor
        self._addresses = addresses
        self._port = port
        self._clock = clock
        self._started = clock()
        self.host_notes: Callable[[], list[str]] = lambda: []
        self.notices: list[Answer] = []
        self.standing: Callable[[], list[Answer]] = lambda: []
        """What an operator should read as long as it is so, beside the notices that stay."""
        self.secret: Callable[[], Answer] = lambda: {}
        self.added: Callable[[bytes], Sequence[str]] = lambda peer: ()
        """The addresses of a peer that the operator added here."""

    async def whole(self) -> Answer:
        """meshnet.status/v1"""
        counters = await self._sessions.counters()
        own = self._keys.membership
        secret = self.secret()
        return {
            "schema": "meshnet.status/v1",
            "generated_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "version": __version__,
            "state": "ready" if self._supervisor.link is not None else "degraded",
            "mesh": {
                "id": own.mesh.hex(),
                "cipher": own.suite.value,
                "secret": secret.get("generation", own.keyring.current.generation),
                "rotation": secret.get("rotation"),
            },
            "peer": {
                "name": own.name,
                "id": own.identity.public.hex(),
                "addresses": self._addresses(),
                "port": self._port,
                "roles": list(own.roles),
                "uptime_s": round(self._clock() - self._started, 3),
            },
            "forwarder": self._forwarder(),
            "peers": self._peers(counters),
            "networks": self.networks(),
            "endpoints": self._endpoints.listed(),
            "drops": dict(list((counters.drops if counters else {}).items())[:DROPS_SHOWN]),
            "notices": [*self.standing(), *self.notices],
        }

    async def peers(self) -> Answer:
        """meshnet.peers/v1"""
        return {"schema": "meshnet.peers/v1", "peers": self._peers(await self._sessions.counters())}

    def networks(self) -> list[Answer]:
        """Every network of the mesh, and this host's own address on it."""
        return [
            {**self._desk.describe(body), "exposed": self._exposures.address_on(body.number)}
            for body in self._node.networks()
        ]

    def _forwarder(self) -> Answer:
        link = self._supervisor.link
        if link is None:
            return {"pid": None, "running": False, "boot": None, "age_s": None, "notes": self._notes()}
        age = round(self._clock() - self._sessions.forwarder_since, 3)
        return {
            "pid": link.hello.pid,
            "running": True,
            "boot": link.hello.boot.hex(),
            "age_s": age,
            "notes": self._notes(),
        }

    def _notes(self) -> list[str]:
        return [*self._networks.notes, *self.host_notes()]

    def _peers(self, counters: Counters | None) -> list[Answer]:
        rows = {row.peer: row for row in counters.peers} if counters is not None else {}
        own = self._keys.membership.identity.public
        known = self._node.peers()
        shared = {view.identity for views in namesakes(known).values() for view in views}
        shown = (view for view in known if view.identity != own and (view.revoked or not view.left))
        others = sorted((view.body.name, view.identity, view) for view in shown)
        return [self._peer(view, rows.get(peer), peer in shared) for _, peer, view in others]

    def _peer(self, view: PeerView, row: PeerCounters | None, shares_name: bool) -> Answer:
        facts = self._sessions.describe(view.identity)
        state: str = facts.state if view.reachable or facts.state == "up" else "down"
        state = "revoked" if view.revoked else state
        has_path = facts.state == "up" and row is not None and row.mtu > 0
        return {
            "name": view.body.name,
            "id": view.identity.hex(),
            "name_conflict": shares_name,
            "addresses": list(view.body.addresses),
            "added_addresses": list(self.added(view.identity)),
            "version": view.body.version,
            "state": state,
            "path": "direct" if facts.state == "up" else None,
            "session_age_s": facts.session_age_s,
            "mtu": row.mtu if row is not None and has_path else None,
            "rx_bytes": row.received_bytes if row is not None else 0,
            "tx_bytes": row.sent_bytes if row is not None else 0,
            "rx_records": row.received_records if row is not None else 0,
            "tx_records": row.sent_records if row is not None else 0,
            "last_receive_s": facts.last_receive_s,
            "reachable": view.reachable,
            "route": self._route(view.identity),
        }

    def _route(self, peer: bytes) -> Answer | None:
        """By whom the links between hosts lead to the peer; `via` null: by a link of this host's own."""
        route = self._node.route(peer)
        if route is None:
            return None
        hop = self._node.peer(route.via) if route.via != peer else None
        name = hop.body.name if hop is not None else route.via.hex()[:16]
        return {"via": name if route.via != peer else None, "cost_ms": route.cost_ms}
