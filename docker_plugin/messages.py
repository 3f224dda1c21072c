"""libnetwork's requests, spelt as it spells them.

Rule: what Go may leave out or send as null has a default here and arrives as the empty value; unknown keys are
ignored, because later engines add some; lengths are bounded.  Answers are plain dicts built by the drivers.
Reference: moby drivers/remote/api/api.go, ipams/remote/api/api.go.
"""

from typing import Annotated

import msgspec

__all__ = [
    "CreateEndpoint",
    "CreateNetwork",
    "Discovery",
    "EndpointId",
    "Interface",
    "IpamData",
    "Join",
    "NetworkId",
    "Nothing",
    "PoolId",
    "ReleaseAddress",
    "RequestAddress",
    "RequestPool",
]

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=255)]
Options = dict[str, object]


class Nothing(msgspec.Struct):
    """A call whose body says nothing that is used; it may be empty."""


class IpamData(msgspec.Struct):
    """A pool of a network; absent values are missing or the text "<nil>"."""

    space: Text = msgspec.field(name="AddressSpace", default="")
    pool: Text = msgspec.field(name="Pool", default="")
    gateway: Text = msgspec.field(name="Gateway", default="")
    aux: dict[str, Text] | None = msgspec.field(name="AuxAddresses", default=None)


Pools = Annotated[list[IpamData], msgspec.Meta(max_length=64)]


class CreateNetwork(msgspec.Struct):
    """/NetworkDriver.CreateNetwork, and AllocateNetwork, whose options lie one level higher."""

    network: Id = msgspec.field(name="NetworkID")
    options: Options | None = msgspec.field(name="Options", default=None)
    ipv4: Pools | None = msgspec.field(name="IPv4Data", default=None)
    ipv6: Pools | None = msgspec.field(name="IPv6Data", default=None)


class NetworkId(msgspec.Struct):
    """/NetworkDriver.DeleteNetwork, FreeNetwork."""

    network: Id = msgspec.field(name="NetworkID")


class Interface(msgspec.Struct):
    """An endpoint's addresses with length and its MAC; any may be empty."""

    address: Text = msgspec.field(name="Address", default="")
    address6: Text = msgspec.field(name="AddressIPv6", default="")
    mac: Text = msgspec.field(name="MacAddress", default="")


class CreateEndpoint(msgspec.Struct):
    """/NetworkDriver.CreateEndpoint."""

    network: Id = msgspec.field(name="NetworkID")
    endpoint: Id = msgspec.field(name="EndpointID")
    interface: Interface | None = msgspec.field(name="Interface", default=None)
    options: Options | None = msgspec.field(name="Options", default=None)


class EndpointId(msgspec.Struct):
    """DeleteEndpoint, EndpointOperInfo, Leave, Program- and RevokeExternalConnectivity."""

    network: Id = msgspec.field(name="NetworkID")
    endpoint: Id = msgspec.field(name="EndpointID")


class Join(msgspec.Struct):
    """/NetworkDriver.Join.  The sandbox need not exist yet and is never entered."""

    network: Id = msgspec.field(name="NetworkID")
    endpoint: Id = msgspec.field(name="EndpointID")
    sandbox: Annotated[str, msgspec.Meta(max_length=4096)] = msgspec.field(name="SandboxKey", default="")


class Discovery(msgspec.Struct):
    """/NetworkDriver.DiscoverNew, DiscoverDelete: a node of a swarm; meshnet finds its peers itself."""

    kind: int = msgspec.field(name="DiscoveryType", default=0)


class RequestPool(msgspec.Struct):
    """/IpamDriver.RequestPool."""

    space: Text = msgspec.field(name="AddressSpace", default="")
    pool: Text = msgspec.field(name="Pool", default="")
    sub_pool: Text = msgspec.field(name="SubPool", default="")
    options: dict[str, str] | None = msgspec.field(name="Options", default=None)
    v6: bool = msgspec.field(name="V6", default=False)


class PoolId(msgspec.Struct):
    """/IpamDriver.ReleasePool."""

    pool: Text = msgspec.field(name="PoolID")


class RequestAddress(msgspec.Struct):
    """/IpamDriver.RequestAddress."""

    pool: Text = msgspec.field(name="PoolID")
    address: Text = msgspec.field(name="Address", default="")
    options: dict[str, str] | None = msgspec.field(name="Options", default=None)


class ReleaseAddress(msgspec.Struct):
    """/IpamDriver.ReleaseAddress."""

    pool: Text = msgspec.field(name="PoolID")
    address: Text = msgspec.field(name="Address", default="")
