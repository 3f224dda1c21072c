"""The links of Docker's endpoints: what they are called and what they say of themselves. PURE.

Rule: names and alias follow from the endpoint's row alone, so that any start finds them again.  The container's own
names are Docker's to know: should the row be lost, the alias makes an ordinary endpoint of the link.
Reference: design §8; meshnet.control.networks.alias.
"""

from meshnet.control.docker.docker_rows import Endpoint, Network, link_id
from meshnet.control.networks.alias import Alias

__all__ = ["alias", "host_link", "inner_link"]


def host_link(key: str) -> str:
    """The end of the veth that stays on the bridge."""
    return f"mv{link_id(key)}"


def inner_link(key: str) -> str:
    """The end that Docker moves, until then and after."""
    return f"mp{link_id(key)}"


def alias(mesh: bytes, key: str, home: Network, row: Endpoint) -> str:
    """The host end's alias; "" on a network of this host alone, whose addresses the mesh does not know."""
    if not home.network:
        return ""
    endpoint, target = bytes.fromhex(link_id(key)), f"docker-{row.network[:12]}"
    return Alias(mesh, home.network, home.number, tuple(row.addresses), row.mac, endpoint, target=target).text()
