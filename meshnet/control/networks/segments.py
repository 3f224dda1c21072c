"""All that this host has on the mesh's networks, built, brought back and ended together.

Flow: the daemon builds one, hands `pending` and `desk` the node's events (`Mesh`), calls `restore` once the node has
started and `end` last.  Rule: devices first, then who stands on them, then the packet filter, then the host's own
addresses; the end goes the other way.
"""

from collections.abc import Callable, Collection
from typing import Final

from gossip.node import Node
from gossip.state.address_bodies import NetworkBody
from meshnet.control.joining.opening import choose_range
from meshnet.control.networks.adoption import Adoption
from meshnet.control.networks.desk import DEFAULT_NETWORK, NetworkDesk
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.expose import Exposures, Parts
from meshnet.control.networks.ipam import Ipam
from meshnet.control.networks.networks import Networks
from meshnet.control.networks.passage import Passage
from meshnet.control.networks.reconcile import Reconciler
from meshnet.control.pending import Pending
from meshnet.control.runner import NodeRunner
from meshnet.control.store.store import Store
from meshnet.host.ports import FirewallPort, NetlinkPort

__all__ = ["Segments"]

DEFAULT_MTU: Final = 1500


class Segments:
    """Networks, endpoints and the host's own addresses."""

    def __init__(
        self,
        name: str,
        node: Node,
        runner: NodeRunner[Node],
        store: Store,
        netlink: NetlinkPort,
        networks: Networks,
        firewall: FirewallPort,
        entropy: Callable[[int], bytes],
        clock: Callable[[], float],
        mesh: bytes,
    ) -> None:
        self._node = node
        self._runner = runner
        self._netlink = netlink
        self.networks = networks
        self.passage = Passage(firewall)
        self.pending = Pending(runner)
        self.desk = NetworkDesk(node, runner, self.pending, store, netlink, networks)
        self.endpoints = Endpoints(node, runner, store, netlink, networks, self.desk, self.pending, entropy, mesh)
        parts = Parts(node, runner, self.pending, store, netlink, networks, self.desk, self.passage)
        self.exposures = Exposures(name, parts)
        self.adoption = Adoption(mesh, node, netlink, self.desk, self.pending, self.endpoints)
        self.reconciler = Reconciler(node, runner, netlink, self.endpoints, self.adoption, clock)
        self.reconciler.holders.append(self.exposures.held)
        self.reconciler.speakers.append(self.exposures.said)
        self.ipam = Ipam(node, runner, self.pending, self.desk, self.adoption, self.reconciler, clock)

    async def found_default(self, wanted: str | None) -> None:
        """Found the mesh's default network with the pool `wanted`, else the first that no route of this host overlaps.

        Raises MeshnetError.
        """
        pool, why = choose_range(wanted, await self._netlink.routes())
        if why is not None:
            self.desk.notice("the default range was not free", why, "give --range CIDR to choose another")
        network = NetworkBody(number=DEFAULT_NETWORK, name="default", pools=[pool], mtu=DEFAULT_MTU)
        await self._runner.step(lambda now: self._node.found_network(network, now))

    async def restore(self, links: Collection[str] = (), bridges: Collection[str] = ()) -> None:
        """After a start: sweep what is stale, except these links and bridges of somebody else's, and bring the rest
        back.  Addresses in use that no row names are asked for before anybody can ask for a new one.
        """
        await self.networks.sweep(bridges)
        await self.adoption.adopt(links)
        await self.endpoints.reconcile(links)
        await self.adoption.claim_back()
        await self.passage.start(self.exposures.masked())
        await self.exposures.restore()

    async def end(self, stop: bool) -> None:
        """Let everything go on without this process or, with `stop`, take it off this host."""
        self.passage.close()
        if stop:
            await self.passage.remove()
            await self.endpoints.remove_all()
            await self.networks.remove_all()
        else:
            self.networks.close()
