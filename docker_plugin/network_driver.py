"""Docker's NetworkDriver: containers' ends of networks.

Rule: only what Docker left empty is answered (an echoed address is an error to it); no gateway is ever returned, so
that docker_gwbridge gives egress and published ports; unknown ids end every deleting call well.
Flow: request struct -> checked values -> `Backend` -> the dict Docker reads.
Reference: libnetwork docs/remote.md; moby drivers/remote/driver.go.
"""

import ipaddress
from collections.abc import Sequence

from docker_plugin import messages, options
from docker_plugin.backend import Backend, Claim, NetworkPool, NetworkRequest
from docker_plugin.errors import BadRequest, Refused

__all__ = ["NetworkDriver"]

Answer = dict[str, object]

NIL = ("", "<nil>")
ANY_POOLS = ("0.0.0.0/0", "::/0")
"""What the null IPAM gives: no pool at all."""


class NetworkDriver:
    """One method a call of libnetwork."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get_capabilities(self, _: messages.Nothing) -> Answer:
        """Networks are of this host, their connectivity is not; no gateway address needs to be kept (28.0)."""
        return {"Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": True}

    async def gw_alloc_check(self, _: messages.Nothing) -> Answer:
        """No network of ours has a gateway (28.0 and later ask)."""
        return {"SkipIPv4": True, "SkipIPv6": True}

    async def create_network(self, request: messages.CreateNetwork) -> Answer:
        """Serve a network; this is where a wrong option is refused."""
        given = options.generic(request.options)
        pools = tuple(_pool(data) for data in [*(request.ipv4 or ()), *(request.ipv6 or ())] if data.pool not in NIL)
        if not pools or any(pool.cidr in ANY_POOLS for pool in pools):
            raise Refused("a meshnet network needs addresses: give --ipam-driver meshnet, or a --subnet")
        wanted = NetworkRequest(
            id=request.network,
            network=options.network_name(given),
            pools=pools,
            mtu=options.mtu(given),
            internal=(request.options or {}).get(options.INTERNAL) is True,
        )
        await self._backend.create_network(wanted)
        return {}

    async def delete_network(self, request: messages.NetworkId) -> Answer:
        """Serve it no longer; an unknown one is no error."""
        await self._backend.delete_network(request.network)
        return {}

    async def allocate_network(self, request: messages.CreateNetwork) -> Answer:
        """A swarm's manager asks; what comes back reaches every node's CreateNetwork, so all of it does."""
        return {"Options": {key: value for key, value in (request.options or {}).items() if isinstance(value, str)}}

    async def free_network(self, _: messages.NetworkId) -> Answer:
        """Nothing was kept for AllocateNetwork."""
        return {}

    async def create_endpoint(self, request: messages.CreateEndpoint) -> Answer:
        """Make a container's end; answers the MAC unless Docker chose it."""
        interface = request.interface or messages.Interface()
        addresses = tuple(_interface(text) for text in (interface.address, interface.address6) if text not in NIL)
        claim = Claim(addresses, _mac(interface.mac), request.options or {})
        mac = await self._backend.create_endpoint(request.network, request.endpoint, claim)
        return {} if mac is None else {"Interface": {"MacAddress": mac.hex(":")}}

    async def delete_endpoint(self, request: messages.EndpointId) -> Answer:
        """Take it away; an unknown one is no error."""
        await self._backend.delete_endpoint(request.network, request.endpoint)
        return {}

    async def endpoint_info(self, _: messages.EndpointId) -> Answer:
        """Nothing of interest to Docker."""
        return {"Value": {}}

    async def join(self, request: messages.Join) -> Answer:
        """Tell which link to move into the container."""
        link = await self._backend.join(request.network, request.endpoint)
        return {"InterfaceName": {"SrcName": link, "DstPrefix": "eth"}, "DisableGatewayService": False}

    async def leave(self, request: messages.EndpointId) -> Answer:
        """The container is going; DeleteEndpoint follows."""
        await self._backend.leave(request.network, request.endpoint)
        return {}

    async def connectivity(self, _: messages.EndpointId) -> Answer:
        """Published ports are docker_gwbridge's, as no gateway was returned."""
        return {}

    async def discovered(self, _: messages.Discovery) -> Answer:
        """A node of a swarm came or went; the mesh has its own gossip."""
        return {}


def _pool(data: messages.IpamData) -> NetworkPool:
    aux = [_interface(text).partition("/")[0] for text in (data.aux or {}).values() if text not in NIL]
    return NetworkPool(data.space, network_text(data.pool), tuple(aux))


def network_text(text: str) -> str:
    """A CIDR in its normal form; raises BadRequest."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise BadRequest(f"{text[:60]!r} is no subnet") from None


def _interface(text: str) -> str:
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError:
        raise BadRequest(f"{text[:60]!r} is no address") from None


def _mac(text: str) -> bytes | None:
    if not text:
        return None
    parts: Sequence[str] = text.split(":")
    try:
        mac = bytes(int(part, 16) for part in parts if len(part) == 2)
    except ValueError:
        mac = b""
    if len(parts) != 6 or len(mac) != 6:
        raise BadRequest(f"{text[:40]!r} is no MAC address")
    if mac[0] & 1 or not any(mac):
        raise Refused(f"{text} is not the MAC address of one interface")
    return mac
