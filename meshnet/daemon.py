"""meshnetd: the control process of one peer, put together and taken apart.

`main` reads the command line that the CLI wrote, `Daemon` builds every part once and wires it (`_build`), starts them
in order (`run`) and ends them.  SIGTERM ends meshnetd alone and the forwarder goes on; `meshnet stop`, and Ctrl-C in
the foreground, end both and remove what was made on this host.  docs/architecture.md tells how it all fits.
"""

import asyncio
import logging
import os
import random
import resource
import signal
import sys
from collections.abc import Sequence

import uvloop
from msgspec.structs import replace

from crypto.certificate import verify_chain
from crypto.errors import RemoteError
from crypto.handshake import Local, mac1_key
from crypto.primitives import verify
from gossip.bodies import PeerBody
from gossip.node import Node
from meshnet import __version__
from meshnet.boundary import Configure, SessionRow
from meshnet.cli.invocation import Invocation
from meshnet.control.api import ApiServer
from meshnet.control.backend import LiveBackend
from meshnet.control.departure import Departure
from meshnet.control.desk import DEFAULT_NETWORK
from meshnet.control.docker import Docker
from meshnet.control.docker_service import DockerService
from meshnet.control.join import Issuer
from meshnet.control.keyfile import StateLock
from meshnet.control.links import Links
from meshnet.control.membership import SPACE as TOKEN_SPACE
from meshnet.control.membership import Tokens
from meshnet.control.mesh import Mesh
from meshnet.control.networks import Networks
from meshnet.control.opening import Opened, make, make_directory, read_secret, resume, retire
from meshnet.control.runner import NodeRunner
from meshnet.control.segments import Segments
from meshnet.control.sessions import Sessions
from meshnet.control.sockets import Sockets, advertised, open_sockets
from meshnet.control.start import LOG_CHECK_S, boottime, bound_log, lock_run_dir, refuse_unreachable, write_ready
from meshnet.control.status import Status
from meshnet.control.supervise import Found, Supervisor
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.netlink import Netlink
from meshnet.host.nft import Firewall

__all__ = ["Daemon", "main"]

log = logging.getLogger("meshnet.daemon")

LAUNCH_TOKEN_USES = 10
LAUNCH_TOKEN_TTL_S = 3600


class Daemon:
    """One run of meshnetd."""

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.ended = asyncio.Event()
        self.stop_both = False
        self._wipe: bool | None = None
        """Once this host has left its mesh: whether its state is deleted instead of being put aside."""
        self._state_lock: StateLock | None = None
        self._run_lock = -1
        self._main: asyncio.Task[None] | None = None
        """The task that is becoming ready, to be cancelled by a signal; None once it is."""

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From nothing to ready, until told to end.  Raises MeshnetError when it cannot become ready."""
        self._handle_signals()
        places = self.invocation.places
        self._run_lock = lock_run_dir(places.run_dir)
        make_directory(places.state_dir)
        self._state_lock = StateLock.acquire(places.state_dir)
        self.netlink = Netlink()
        opened: Opened | None = None
        try:
            secret = None if self.invocation.secret_fd is None else read_secret(self.invocation.secret_fd)
            options = self.invocation.options
            if options is None:
                opened = await resume(places)
                await self._go(opened, None)
            else:
                # Bound before anything is founded or redeemed: a taken port must not cost a token.
                sockets = open_sockets(options)
                try:
                    refuse_unreachable(advertised(options, await self.netlink.addresses(), sockets.families))
                    opened = await make(places, options, secret, os.urandom)
                    await self._go(opened, sockets)
                except BaseException:
                    sockets.close()
                    raise
        finally:
            if opened is not None:
                opened.discard()
            if self._wipe is not None:
                retire(places, self._wipe)
            self.netlink.close()

    async def _go(self, opened: Opened, sockets: Sockets | None) -> None:
        membership = opened.membership
        path = self.invocation.places.forwarder_socket
        self.supervisor = Supervisor(path, membership.mesh, membership.identity.public)
        found = await self.supervisor.start()
        try:
            if sockets is not None:
                self.sockets = sockets
            else:
                self.sockets = await asyncio.to_thread(open_sockets, opened.options, found.sockets)
            self._build(opened, found)
            await self._start(opened, found)
        except BaseException:
            await self._abandon(opened, found)
            raise
        self._main = None
        await self._tell_ready(opened)
        await self.ended.wait()
        await self._end()

    def _build(self, opened: Opened, found: Found) -> None:
        """Every part, made once, on one screen."""
        membership, store, options = opened.membership, opened.store, opened.options
        own = membership.identity.public

        def admit(identity: bytes, chain: Sequence[bytes]) -> None:
            try:
                verify_chain(membership.mesh, identity, list(chain))
            except RemoteError as error:
                raise ValueError(str(error)) from None

        local = Local(membership.mesh, membership.suite, membership.secret, membership.static)
        send = self.supervisor.send
        self.networks = Networks(own, self.netlink, send)
        self.sessions = Sessions(
            own,
            local,
            self.supervisor,
            self.netlink,
            boottime,
            random.Random(os.urandom(16)),
            options.underlay_mtu,
            lambda: self.networks.features,
        )
        self.mesh = Mesh(own, self.sessions, self.networks)
        self.node = Node(
            mesh=membership.mesh,
            identity=own,
            sign=membership.identity.sign,
            verify=verify,
            admit=admit,
            rng=random.Random(os.urandom(16)),
            stored=store.rows("gossip."),
        )
        self.runner = NodeRunner(self.node, store, boottime, self.mesh.send, self.mesh.tell, self._not_durable)
        self.segments = Segments(
            membership.name, self.node, self.runner, store, self.netlink, self.networks, Firewall(), os.urandom
        )
        self.mesh.desk, self.mesh.pending = self.segments.desk, self.segments.pending
        self.segments.desk.notice = self.mesh.notice
        self.docker = DockerService(
            Docker(
                self.node,
                self.runner,
                store,
                self.netlink,
                self.networks,
                self.segments.desk,
                self.segments.endpoints,
                os.urandom,
                boottime,
            ),
            store,
        )
        self._build_links(opened)
        self._build_surface(opened)
        mac1 = mac1_key(membership.secret.mac1_subkey(), membership.static.public)
        self._configure = Configure(mesh=membership.mesh, peer=own, suite=membership.suite.value, mac1_key=mac1)
        self.supervisor.on_fact = self.sessions.fact
        self.supervisor.on_fresh = self._reinstall

    def _build_links(self, opened: Opened) -> None:
        """The way to the other peers, and into the mesh for new ones."""
        membership, store = opened.membership, opened.store
        self.tokens = Tokens(membership, store.load(TOKEN_SPACE))
        issuer = Issuer(membership, self.tokens, store.commit, self._name_in_use, self._grant)
        self.links = Links(
            self.sockets.listeners, membership, self.runner, self.mesh.statics.get, issuer, barred=self._has_left
        )
        self.mesh.links = self.links

    def _build_surface(self, opened: Opened) -> None:
        """What an operator sees: status and the HTTP interface."""
        self.addresses: list[str] = []
        parts = self.segments
        departure = Departure(self.node, self.runner, parts.endpoints, parts.exposures, self.links, self._left)
        self.status = Status(
            opened.membership,
            self.node,
            self.sessions,
            self.networks,
            parts.desk,
            parts.endpoints,
            parts.exposures,
            self.supervisor,
            lambda: self.addresses,
            opened.options.port,
            boottime,
        )
        self.status.notices = self.mesh.notices
        self.status.host_notes = lambda: [*self.sockets.notes, *self.netlink.notes(), *parts.passage.notes()]
        self.backend = LiveBackend(
            self.status,
            parts.desk,
            parts.endpoints,
            parts.exposures,
            departure,
            self.docker,
            self.tokens,
            opened.store,
            lambda: self.addresses,
            os.urandom,
            self._stop,
        )
        self.api = ApiServer(self.invocation.places.socket, self.backend)

    async def _start(self, opened: Opened, found: Found) -> None:
        """Start every part in the order of what it needs."""
        membership, options = opened.membership, opened.options
        self._refuse_departed()
        self.addresses = advertised(options, await self.netlink.addresses(), self.sockets.families)
        self.networks.adopt(found.networks)
        self.supervisor.send(self._configure)
        self.sockets.send(self.supervisor.send)
        boot, held = self._forwarder()
        body = PeerBody(
            name=membership.name,
            addresses=self.addresses,
            static=membership.static.public,
            chain=list(membership.chain),
            boot=boot,
            version=__version__,
        )
        self._body = body
        await self.runner.step(lambda now: self.node.start(body, now))
        if self.invocation.action == "launch":
            await self.segments.found_default(options.range)
        if opened.statements:
            await self.runner.step(lambda now: self.node.absorb(opened.statements, now))
        await self.mesh.settle()
        self.sessions.start(boot, held if found.adopted else [])
        await self.segments.restore(self.docker.own_links(), self.docker.own_bridges())
        await opened.seal()
        await self.links.start()
        await self.api.start()
        await self.docker.start()

    async def _end(self) -> None:
        """End in the reverse order; the forwarder and its devices stay unless both are to stop."""
        await self.api.close()
        await self.docker.close()
        await self.links.close()
        await self.runner.close()
        self.sessions.close()
        if self.stop_both:
            await self.segments.end(stop=True)
            await self.supervisor.stop()
        else:
            self.supervisor.leave()
            await self.segments.end(stop=False)
        self.sockets.close()

    async def _abandon(self, opened: Opened, found: Found) -> None:
        """Becoming ready failed: take back what was begun; a forwarder that was running before goes on."""
        for part in ("api", "docker", "links", "runner"):
            if hasattr(self, part):
                await getattr(self, part).close()
        if hasattr(self, "segments") and not found.adopted:
            await self.segments.passage.remove()
        if opened.fresh and hasattr(self, "networks"):
            await self.networks.remove_all()
        if found.adopted:
            self.supervisor.leave()
        else:
            await self.supervisor.stop()

    # --- what parts ask for ----------------------------------------------------------------------------------------

    def _reinstall(self) -> None:
        """A fresh forwarder: everything again, and new sessions for all."""
        self.supervisor.send(self._configure)
        self.sockets.send(self.supervisor.send)
        self.networks.reinstall()
        boot, _ = self._forwarder()
        self.sessions.forwarder_is_fresh(boot)
        body = self._body = replace(self._body, boot=boot)
        self.runner.post(lambda now: self.node.update_peer(body, now))

    def _forwarder(self) -> tuple[bytes, list[SessionRow]]:
        """Boot id and sessions of the forwarder that is connected now."""
        link = self.supervisor.link
        return (link.hello.boot, link.hello.sessions) if link is not None else (bytes(8), [])

    def _not_durable(self, error: MeshnetError) -> None:
        self.mesh.notice("nothing can be stored any more", f"{error.what}: {error.why}", error.fix)

    def _name_in_use(self, name: str, identity: bytes) -> bool:
        return any(view.body.name == name and view.identity != identity and not view.left for view in self.node.peers())

    def _has_left(self, identity: bytes) -> bool:
        return any(view.identity == identity and view.left for view in self.node.peers())

    async def _grant(self, identity: bytes) -> Sequence[bytes]:
        await self.runner.step(lambda now: self.node.donate(DEFAULT_NETWORK, identity, now))
        return self.node.export()

    def _refuse_departed(self) -> None:
        """A daemon that died between leaving and ending left its state behind: it is put aside now."""
        if self._has_left(self.node.identity):
            self._wipe = False
            raise MeshnetError(
                "this host has left its mesh",
                "its state was still here, and is put aside now",
                "run `meshnet join TOKEN`, or `meshnet launch` for a new mesh",
            )

    def _left(self, wipe: bool) -> None:
        self._wipe = wipe
        self._stop()

    def _stop(self) -> None:
        self.stop_both = True
        self.ended.set()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        if self.invocation.foreground:
            loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def _terminate(self) -> None:
        self.ended.set()
        if self._main is not None:
            self._main.cancel()

    def _interrupt(self) -> None:
        self.stop_both = True
        self._terminate()

    async def _tell_ready(self, opened: Opened) -> None:
        log.info("ready name=%s addresses=%s", opened.membership.name, ",".join(self.addresses))
        if self.invocation.ready_fd is None:
            return
        message: dict[str, object] = {"ready": True, "join": None, "state": await self.status.whole()}
        if self.invocation.action == "launch":
            token = await self.backend.create_token(LAUNCH_TOKEN_USES, LAUNCH_TOKEN_TTL_S, ())
            message["join"] = token["join"]
        write_ready(self.invocation.ready_fd, message)


def main(argv: Sequence[str]) -> int:
    """Run one daemon; returns its exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ready_fd = Invocation.ready_fd_of(argv)
    try:
        invocation = Invocation.parse(argv)
        plain = os.environ.get("MESHNET_LOOP") == "asyncio"
        factory = asyncio.new_event_loop if plain else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_run(invocation))
    except (MeshnetError, HostError) as error:
        failure = error if isinstance(error, MeshnetError) else MeshnetError(error.what, error.why, error.fix)
        log.error("%s", failure)
        if ready_fd is not None:
            write_ready(ready_fd, {"error": failure.to_json()})
        return int(failure.code)
    return int(ExitCode.OK)


async def _run(invocation: Invocation) -> None:
    if not invocation.foreground:
        asyncio.get_running_loop().call_later(LOG_CHECK_S, bound_log)
    try:
        await Daemon(invocation).run()
    except asyncio.CancelledError:
        raise MeshnetError("meshnetd was ended before it was ready", "it got a signal", "start it again") from None
