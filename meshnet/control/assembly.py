"""Every part of a running peer, made once and wired, started in the order of what it needs, and ended.

Rule: no part looks for another: what it needs is given to it here. Keys are read through `HostKeys` at the moment of
use, so that a new mesh secret or static key takes effect everywhere without a restart.
Flow: `Assembly(...)` -> `start` -> (the daemon runs) -> `end`; `abandon` where becoming ready failed.
Reference: docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence

from crypto.certificate import verified
from crypto.errors import RemoteError
from crypto.handshake import Local
from crypto.primitives import verify
from crypto.secret import MeshSecret
from gossip.errors import Refusal
from gossip.node import Node
from gossip.people.authority import Admitted
from meshnet.boundary import Configure, SessionRow
from meshnet.config import Places
from meshnet.control.api.api import ApiServer
from meshnet.control.api.backend import LiveBackend
from meshnet.control.api.status import Status
from meshnet.control.authority import Authority
from meshnet.control.departure import Departure
from meshnet.control.docker.docker import Docker
from meshnet.control.docker.docker_service import DockerService
from meshnet.control.handshakes.sessions import Sessions
from meshnet.control.inside import Inside
from meshnet.control.joining.invitations import Invitations
from meshnet.control.joining.issuer import Issuer
from meshnet.control.joining.opening import Opened
from meshnet.control.joining.tokens import SPACE as TOKEN_SPACE
from meshnet.control.joining.tokens import Tokens
from meshnet.control.keys import keyfile, rotator
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import Membership
from meshnet.control.keys.rotator import Rotator
from meshnet.control.keys.static_rotation import StaticRotation
from meshnet.control.links.links import Links
from meshnet.control.links.reaching import Reaching
from meshnet.control.links.sockets import Sockets, advertised
from meshnet.control.links.statics import Statics
from meshnet.control.links.ways import SPACE as WAYS_SPACE
from meshnet.control.links.ways import Ways
from meshnet.control.mesh import Mesh
from meshnet.control.names import name_notices
from meshnet.control.networks.desk import DEFAULT_NETWORK
from meshnet.control.networks.networks import Networks
from meshnet.control.networks.segments import Segments
from meshnet.control.pending import refused
from meshnet.control.presence import Presence, body_of
from meshnet.control.runner import NodeRunner
from meshnet.control.start import boottime
from meshnet.control.store.durability import Durability
from meshnet.control.supervise import Found, Supervisor
from meshnet.control.upkeep import Upkeep
from meshnet.host.ports import FirewallPort, NetlinkPort

__all__ = ["Assembly", "local_of"]


def local_of(own: Membership) -> Local:
    """What of a membership enters UDP handshakes."""
    return Local(own.mesh, own.suite, own.keyring, own.static, own.old_static)


class Assembly:
    """One peer. on_stop(): end both processes; on_left(wipe): this host left its mesh, or was revoked and gave up;
    on_writable(): the disk takes writes again, end this and begin anew from what is stored.
    """

    def __init__(
        self,
        places: Places,
        opened: Opened,
        supervisor: Supervisor,
        sockets: Sockets,
        netlink: NetlinkPort,
        firewall: FirewallPort,
        on_stop: Callable[[], None],
        on_left: Callable[[bool], None],
        on_writable: Callable[[], None],
    ) -> None:
        self._opened = opened
        self._supervisor = supervisor
        self._sockets = sockets
        self._netlink = netlink
        self._directory = places.state_dir
        self.addresses: list[str] = []
        self.keys = HostKeys(opened.membership, lambda changed: keyfile.replace(self._directory, changed))
        self._build_core()
        self.durability = Durability(opened.store, boottime, lambda: self.runner.failure, on_writable)
        self._build_segments(firewall)
        self._build_links()
        self._build_surface(places, on_stop, on_left)
        self.keys.on_change.append(self._rekeyed)
        supervisor.on_fact = self.sessions.fact
        supervisor.on_fresh = self._reinstall

    # --- building ----------------------------------------------------------------------------------------------------

    def _build_core(self) -> None:
        """Gossip, and the sessions with the peers it tells of."""
        membership, store = self._opened.membership, self._opened.store
        own = membership.identity.public

        def admit(identity: bytes, chain: Sequence[bytes]) -> Admitted:
            try:
                found = verified(membership.mesh, identity, list(chain))
            except RemoteError as error:
                raise ValueError(str(error)) from None
            return Admitted(found.certificate.roles, found.path)

        self.networks = Networks(own, self._netlink, self._supervisor.send)
        self.sessions = Sessions(
            own,
            local_of(membership),
            self._supervisor,
            store,
            self._netlink,
            boottime,
            random.Random(os.urandom(16)),
            self._opened.options.underlay_mtu,
            lambda: self.networks.features,
        )
        self.statics = Statics()
        self.mesh = Mesh(own, self.sessions, self.networks, self.statics, boottime)
        self.sessions.notice = self.mesh.notice
        self.mesh.trust = store.trust
        self.node = Node(
            mesh=membership.mesh,
            identity=own,
            sign=membership.identity.sign,
            verify=verify,
            admit=admit,
            rng=random.Random(os.urandom(16)),
            stored=store.rows("gossip."),
            rolled_back=store.rolled_back is not None,
        )
        self.inside = Inside(self.node, self.networks.is_served, self.mesh.notice)
        self.sessions.why_not = self.inside.why_not
        self.mesh.peers = lambda: self.runner.node.peers()
        self.runner = NodeRunner(self.node, store, boottime, self.mesh.send, self.mesh.tell)
        self.presence = Presence(self.runner)
        self.authority = Authority(self.runner)
        self.ways = Ways(store.load(WAYS_SPACE))
        self.reaching = Reaching(
            self.runner, store, self.ways, self.mesh.readdress, boottime, random.Random(os.urandom(16))
        )
        self.mesh.ways, self.mesh.on_gone = self.ways.to, self.reaching.gone

    def _build_segments(self, firewall: FirewallPort) -> None:
        """What this host has on the networks, for namespaces and for Docker."""
        store, netlink = self._opened.store, self._netlink
        self.segments = Segments(
            self._opened.membership.name,
            self.node,
            self.runner,
            store,
            netlink,
            self.networks,
            firewall,
            os.urandom,
            boottime,
            self._opened.membership.mesh,
        )
        parts = self.segments
        self.mesh.desk, self.mesh.pending = parts.desk, parts.pending
        parts.desk.notice = self.mesh.notice
        docker = Docker(
            self.node,
            self.runner,
            store,
            netlink,
            self.networks,
            parts.desk,
            parts.endpoints,
            os.urandom,
            boottime,
            self._opened.membership.mesh,
        )
        self.docker = DockerService(docker, store)
        parts.reconciler.holders.append(self.docker.held)
        parts.reconciler.speakers.append(self.docker.said)

    def _build_links(self) -> None:
        """The way to the other peers, and into the mesh for new ones."""
        store = self._opened.store
        self.tokens = Tokens(
            lambda: self.keys.membership,
            store.load(TOKEN_SPACE),
            lambda: self.node.highest_serial(self.node.identity),
        )
        issuer = Issuer(
            lambda: self.keys.membership,
            self.tokens,
            store.commit,
            self._name_in_use,
            self._grant,
            self.authority.may_join,
        )
        self.links = Links(
            self._sockets.listeners,
            self.keys,
            self.runner,
            lambda static: self.statics.owner(static, boottime()),
            issuer,
            self._barred,
            self._tags,
            self._offered,
            self.authority.admits,
            ways=self.ways.to,
            on_reached=self.reaching.reached,
            why_not=self.inside.why_not,
        )
        self.mesh.links = self.reaching.links = self.links
        self.rotator = Rotator(
            self.keys,
            self.runner,
            store,
            self.links,
            boottime,
            os.urandom,
            dict(store.load(rotator.SPACE)).get(rotator.DRIVEN),
        )
        self.static_rotation = StaticRotation(self.keys, os.urandom)
        jobs = [self.durability.step, self._look_after, self.static_rotation.expire, self.rotator.step]
        self.upkeep = Upkeep([*jobs, self.reaching.step, self.segments.reconciler.step])
        self.mesh.on_rotation = self.upkeep.soon

    def _build_surface(self, places: Places, on_stop: Callable[[], None], on_left: Callable[[bool], None]) -> None:
        """What an operator sees: status and the HTTP interface."""
        parts = self.segments
        self.status = Status(
            self.keys,
            self.node,
            self.sessions,
            self.networks,
            parts.desk,
            parts.endpoints,
            parts.exposures,
            self._supervisor,
            lambda: self.addresses,
            self._opened.options.port,
            boottime,
        )
        self.status.notices = self.mesh.notices
        self.status.standing = self._standing
        self.status.added = self.ways.added
        self.status.secret = self.rotator.describe
        self.status.host_notes = lambda: [*self._sockets.notes, *self._netlink.notes(), *parts.passage.notes()]
        self.backend = LiveBackend(
            self.status,
            parts.desk,
            parts.endpoints,
            parts.exposures,
            Departure(self.node, self.runner, parts.endpoints, parts.exposures, self.links, on_left, self._is_out),
            self.docker,
            Invitations(self.tokens, self.keys, self._opened.store, lambda: self.addresses, os.urandom),
            self.authority,
            self.rotator,
            self.static_rotation,
            self.reaching,
            parts.ipam,
            on_stop,
        )
        self.api = ApiServer(places.socket, self.backend)

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self, found: Found, founding: bool) -> None:
        """Start every part in the order of what it needs.  Raises MeshnetError, and then nothing is taken back."""
        opened, send = self._opened, self._supervisor.send
        self.addresses = advertised(opened.options, await self._netlink.addresses(), self._sockets.families)
        self.networks.adopt(found.networks)
        self._configure()
        self._sockets.send(send)
        boot, held = self._forwarder()
        await self.presence.begin(body_of(opened.membership, self.addresses, boot))
        self.reaching.begin()
        if founding:
            await self.segments.found_default(opened.options.range)
        if opened.statements:
            await self.runner.step(lambda now: self.node.absorb(opened.statements, now))
        await self.mesh.settle()
        self.sessions.start(boot, held if found.adopted else [])
        await self.segments.restore(self.docker.own_links(), self.docker.own_bridges())
        await opened.seal()
        self.upkeep.start()
        await self.links.start()
        await self.api.start()
        await self.docker.start()

    async def end(self, stop: bool) -> None:
        """End in the reverse order; the forwarder and its devices stay unless both are to `stop`."""
        await self.api.close()
        await self.docker.close()
        await self.upkeep.close()
        await self.links.close()
        await self.reaching.close()
        await self.runner.close()
        self.sessions.close()
        if stop:
            await self.segments.end(stop=True)
            await self._supervisor.stop()
        else:
            self._supervisor.leave()
            await self.segments.end(stop=False)
        self._sockets.close()

    async def abandon(self, found: Found) -> None:
        """Becoming ready failed: take back what was begun; what stands of a forwarder that ran before stays."""
        await self.api.close()
        await self.docker.close()
        await self.upkeep.close()
        await self.links.close()
        await self.runner.close()
        self.sessions.close()
        if not found.adopted:
            await self.segments.passage.remove()
        if self._opened.fresh:
            await self.networks.remove_all()

    @property
    def has_left(self) -> bool:
        """Whether this host said that it left its mesh for good."""
        own = self.node.peer(self.node.identity)
        return own is not None and own.left

    # --- what parts ask for ------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        own = self._opened.membership
        self._supervisor.send(Configure(mesh=own.mesh, peer=own.identity.public, suite=own.suite.value))

    def _reinstall(self) -> None:
        """A fresh forwarder: everything again, and new sessions for all."""
        self._configure()
        self._sockets.send(self._supervisor.send)
        self.networks.reinstall()
        boot, _ = self._forwarder()
        self.sessions.forwarder_is_fresh(boot)
        self.presence.rebooted(boot)

    def _rekeyed(self, own: Membership) -> None:
        """Other keys are stored: handshakes use them, and the others hear of it."""
        self.sessions.rekeyed(local_of(own))
        self.presence.rekeyed(own)

    def _forwarder(self) -> tuple[bytes, list[SessionRow]]:
        """Boot id and sessions of the forwarder that is connected now."""
        link = self._supervisor.link
        return (link.hello.boot, link.hello.sessions) if link is not None else (bytes(8), [])

    async def _look_after(self) -> None:
        self.statics.expire(boottime())
        self.links.tick(asyncio.get_running_loop().time())

    def _is_out(self) -> bool:
        return self.node.barred(self.node.identity)

    def _standing(self) -> list[dict[str, object]]:
        names = name_notices(self.node.peers(), self.node.identity)
        unclaimed = self.segments.adoption.notices()
        return [*self.durability.notices(), *self.authority.notices(), *self.rotator.notices(), *unclaimed, *names]

    def _barred(self, identity: bytes) -> bool:
        """Of this host itself only a revocation counts here: on the allow-list again, it is dialled by the others."""
        if identity == self.node.identity:
            return self.authority.is_revoked(identity)
        return self.authority.is_barred(identity)

    def _tags(self, identity: bytes) -> Sequence[bytes]:
        view = self.node.peer(identity)
        return () if view is None else view.body.secrets

    def _offered(self, peer: bytes, secret: MeshSecret) -> None:
        if self.rotator.offered(peer, secret):
            self.upkeep.soon()

    def _name_in_use(self, name: str, identity: bytes) -> bool:
        others = (view for view in self.node.peers() if view.identity != identity and not view.left)
        return any(view.body.name == name and not view.revoked for view in others)

    async def _grant(self, identity: bytes) -> Sequence[bytes]:
        try:
            await self.runner.step(lambda now: self.node.donate(DEFAULT_NETWORK, identity, now))
        except Refusal as refusal:
            raise refused(refusal) from None
        return self.node.export()
