"""Docker's IpamDriver: pools and addresses of networks of the mesh.

Rule: the mesh's network is named by `--ipam-opt meshnet.network=NAME`, because RequestPool sees no other option; an
address is answered with the pool's length, never the sub-pool's.
Reference: libnetwork docs/ipam.md; moby ipams/remote/remote.go.
"""

import ipaddress

from docker_plugin import messages, options
from docker_plugin.backend import Backend, PoolRequest
from docker_plugin.errors import BadRequest, Refused
from docker_plugin.network_driver import network_text

__all__ = ["GLOBAL_SPACE", "LOCAL_SPACE", "IpamDriver"]

Answer = dict[str, object]

LOCAL_SPACE = "meshnet-local"
GLOBAL_SPACE = "meshnet-global"
ADDRESS_KIND = "RequestAddressType"
GATEWAY = "com.docker.network.gateway"
UNSPECIFIED = ("0.0.0.0", "::")


class IpamDriver:
    """One method a call of libnetwork."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get_capabilities(self, _: messages.Nothing) -> Answer:
        """All is kept here: neither MACs nor a replay at Docker's start are needed."""
        return {"RequiresMACAddress": False, "RequiresRequestReplay": False}

    async def get_default_address_spaces(self, _: messages.Nothing) -> Answer:
        """The two spaces, for ever the same."""
        return {"LocalDefaultAddressSpace": LOCAL_SPACE, "GlobalDefaultAddressSpace": GLOBAL_SPACE}

    async def request_pool(self, request: messages.RequestPool) -> Answer:
        """Hold a pool of a network of the mesh, which is founded when nobody has it yet."""
        pool = network_text(request.pool) if request.pool else None
        if pool is not None and pool.split("/")[0] in UNSPECIFIED:
            pool = None  # 29 and later: "any pool of this size"
        sub_pool = network_text(request.sub_pool) if request.sub_pool else None
        if sub_pool is not None:
            if pool is None:
                raise Refused("--ip-range needs a --subnet")
            inner, outer = ipaddress.ip_network(sub_pool), ipaddress.ip_network(pool)
            if inner.version != outer.version or not inner.subnet_of(outer):  # type: ignore[arg-type]
                raise Refused(f"--ip-range {sub_pool} is not inside --subnet {pool}")
        if pool is not None and (":" in pool) != request.v6:
            raise BadRequest(f"{pool} is of the other family than V6={request.v6} says")
        name = options.network_name(request.options)
        wanted = PoolRequest(request.space or LOCAL_SPACE, name, pool, sub_pool, request.v6)
        granted = await self._backend.request_pool(wanted)
        return {"PoolID": granted.id, "Pool": granted.cidr, "Data": {}}

    async def release_pool(self, request: messages.PoolId) -> Answer:
        """Let go; an unknown pool is no error."""
        await self._backend.release_pool(request.pool)
        return {}

    async def request_address(self, request: messages.RequestAddress) -> Answer:
        """Lease one address, the wanted one or any."""
        gateway = (request.options or {}).get(ADDRESS_KIND) == GATEWAY
        address = address_text(request.address) if request.address else None
        answer = await self._backend.request_address(request.pool, address, gateway)
        return {"Address": answer, "Data": {}}

    async def release_address(self, request: messages.ReleaseAddress) -> Answer:
        """End a lease; an unknown one is no error."""
        try:
            address = address_text(request.address)
        except BadRequest:
            return {}  # nothing like that was ever leased
        await self._backend.release_address(request.pool, address)
        return {}


def address_text(text: str) -> str:
    """An address without length in its normal form; raises BadRequest."""
    try:
        return str(ipaddress.ip_address(text.partition("/")[0]))
    except ValueError:
        raise BadRequest(f"{text[:60]!r} is no address") from None
