"""The bodies of the statement kinds this version understands, and their schemas.

Purpose: one typed shape per kind, checked before anything is believed or signed.
Rule: a body is a msgpack array in the order of the fields below; a later version may append fields, which are ignored
here. Each body checks what its schema cannot say in `check`. Addresses of the pools travel as big-endian bytes of the
least length, because msgpack integers end at 64 bits; an IPv4 address is an integer below 2^32, an IPv6 address one
above it (pools inside ::/96 do not exist).
Flow: statements carry `encode_body(...)`; `decode_body(kind, bytes)` gives the value or RemoteError.
Reference: design §5, §6; docs/wire.md.
"""

from __future__ import annotations

import re
from hashlib import blake2s
from itertools import pairwise
from typing import Annotated

import msgspec

from gossip import limits
from gossip.errors import LocalError, RemoteError
from gossip.ipam.ranges import MAX_ADDRESS, network_of, parse_interface

PEER = "peer"
LINKS = "links"
NETWORK = "network"
ENDPOINT = "endpoint"
GRANT = "grant"
MANIFEST = "manifest"
LEFT = "left"
REQUEST = "request"
REVOKE = "revoke"
ALLOW = "allow"
SECRET = "secret"
AUTHORITY = (REVOKE, ALLOW, SECRET)
"""The kinds that count only from a member with role `admin` (gossip.authority)."""

INSTALL, SWITCH, DROP = 0, 1, 2
"""The phases of a new mesh secret: every member takes it, uses it, gives the one before it up."""

NUMBER_POOL = 0
"""The network of grants that give numbers of networks, not addresses."""
DEFAULT_NETWORK = 1
"""The number of the network that the mesh's founder makes with the mesh."""

Identity = Annotated[bytes, msgspec.Meta(min_length=limits.IDENTITY_B, max_length=limits.IDENTITY_B)]
Name = Annotated[str, msgspec.Meta(max_length=limits.MAX_NAME_CHARS)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=limits.U32_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Mac = Annotated[bytes, msgspec.Meta(min_length=6, max_length=6)]
Nonce = Annotated[bytes, msgspec.Meta(min_length=limits.NONCE_B, max_length=limits.NONCE_B)]
Hash16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
AddressText = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_ADDRESS_CHARS)]
Text = Annotated[str, msgspec.Meta(max_length=limits.MAX_VERSION_CHARS)]
Certificate = Annotated[bytes, msgspec.Meta(min_length=1, max_length=limits.MAX_CERTIFICATE_B)]
Chain = Annotated[list[Certificate], msgspec.Meta(min_length=1, max_length=limits.MAX_CHAIN)]
Addresses = Annotated[list[AddressText], msgspec.Meta(max_length=limits.MAX_ADDRESSES)]
Boot = Annotated[bytes, msgspec.Meta(min_length=limits.BOOT_B, max_length=limits.BOOT_B)]
Peers = Annotated[list[Identity], msgspec.Meta(max_length=limits.MAX_LINKS)]
Costs = Annotated[
    list[Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_COST)]], msgspec.Meta(max_length=limits.MAX_LINKS)
]
Pools = Annotated[list[AddressText], msgspec.Meta(min_length=1, max_length=limits.MAX_POOLS)]
Held = Annotated[list[tuple[AddressText, Count]], msgspec.Meta(max_length=limits.MAX_ENDPOINT_ADDRESSES)]
Tags = Annotated[
    list[Annotated[bytes, msgspec.Meta(min_length=limits.TAG_B, max_length=limits.TAG_B)]],
    msgspec.Meta(max_length=limits.MAX_SECRETS),
]
Reason = Annotated[str, msgspec.Meta(max_length=limits.MAX_REASON_CHARS)]
Commitment = Annotated[bytes, msgspec.Meta(min_length=limits.COMMITMENT_B, max_length=limits.COMMITMENT_B)]
Phase = Annotated[int, msgspec.Meta(ge=INSTALL, le=DROP)]
Mtu = Annotated[int, msgspec.Meta(ge=limits.MIN_MTU, le=limits.MAX_MTU)]

_PRINTABLE = re.compile(r"[\x20-\x7e]*\Z")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")


class Body(msgspec.Struct, frozen=True, array_like=True):
    """What all bodies share: an array on the wire, and a check beyond the schema."""

    def check(self) -> None:
        """Raise ValueError if the value means nothing although its shape is right."""


class PeerBody(Body, frozen=True):
    """A peer about itself: name, "host:port" addresses (TCP and UDP alike), X25519 key, certificates, boot id.

    `secrets`: the tags (8 bytes) of the mesh secrets it holds, the current one's first; a peer of an earlier version
    names none.
    """

    name: Name
    addresses: Addresses
    static: Identity
    chain: Chain
    boot: Boot
    version: Text
    secrets: Tags = []

    def check(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError("the peer's name is not of a-z, 0-9 and dashes")
        if not all(_PRINTABLE.match(text) for text in (*self.addresses, self.version)):
            raise ValueError("an address or version holds unprintable characters")


class LinksBody(Body, frozen=True):
    """The peers this one has a live link with, sorted.

    `costs`: of each link its cost (`gossip.pulse`), in the same order; a peer of an earlier version says none.
    """

    peers: Peers
    costs: Costs = []

    def check(self) -> None:
        if len(self.costs) not in (0, len(self.peers)):
            raise ValueError("costs and links are not equally many")


class NetworkBody(Body, frozen=True):
    """A network: number, name, pools as CIDR text, MTU. Its statement's key is the number, 4 bytes."""

    number: U32
    name: Name
    pools: Pools
    mtu: Mtu

    def check(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError("the network's name is not of a-z, 0-9 and dashes")
        spans = sorted((pool.start, pool.end) for pool in map(network_of, self.pools))
        if any(left[1] > right[0] for left, right in pairwise(spans)):
            raise ValueError("the pools of one network overlap")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.number.to_bytes(4, "big")


class EndpointBody(Body, frozen=True):
    """A port on a network: MAC, addresses as ("a.b.c.d/len", lease number), a name. Key: number and MAC."""

    network: U32
    mac: Mac
    addresses: Held
    name: Name

    def check(self) -> None:
        if not _PRINTABLE.match(self.name):
            raise ValueError("the endpoint's name holds unprintable characters")
        if self.mac[0] & 1 or self.mac == bytes(6):
            raise ValueError("the endpoint's MAC is not one interface's")
        values = [parse_interface(text)[0] for text, _ in self.addresses]
        if len(dict.fromkeys(values)) != len(values):
            raise ValueError("the endpoint names one address twice")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return endpoint_key(self.network, self.mac)


def endpoint_key(network: int, mac: bytes) -> bytes:
    """The key of an endpoint's statement."""
    return network.to_bytes(4, "big") + mac


class _GrantWire(Body, frozen=True):
    network: U32
    start: Annotated[bytes, msgspec.Meta(max_length=16)]
    end: Annotated[bytes, msgspec.Meta(max_length=17)]
    to: Identity
    version: Count
    previous: Annotated[bytes, msgspec.Meta(max_length=16)]


class _AnswerWire(_GrantWire, frozen=True):
    name: Name = ""
    answers: Annotated[bytes, msgspec.Meta(max_length=limits.NONCE_B)] = b""


class Grant(msgspec.Struct, frozen=True):
    """A half-open range given to `to` by the statement's owner.

    `version` 0 and an empty `previous` make a founding grant; else `previous` is the id of the grant by which the donor
    owns the range and `version` is one more than that grant's. `name`: the network that one number of the number pool
    is given for. `answers`: the nonce of the request of `to` that this grant answers, or empty.
    """

    network: int
    start: int
    end: int
    to: bytes
    version: int
    previous: bytes
    name: str = ""
    answers: bytes = b""

    def check(self) -> None:
        """Raise ValueError on an empty or impossible range, an ancestor or a name where none can be."""
        if not 0 <= self.start < self.end <= MAX_ADDRESS + 1:
            raise ValueError("the granted range is empty or outside the address space")
        if (self.version == 0) != (self.previous == b"") or len(self.previous) not in (0, 16):
            raise ValueError("the grant's version and its ancestor do not fit")
        if len(self.answers) not in (0, limits.NONCE_B):
            raise ValueError("the grant answers what is no request")
        if self.name and not (self.network == NUMBER_POOL and self.end == self.start + 1 and _NAME.match(self.name)):
            raise ValueError("the grant names what is no number")

    def wire(self) -> bytes:
        """The body's bytes."""
        start, end = least_bytes(self.start), least_bytes(self.end)
        short = (self.network, start, end, self.to, self.version, self.previous)
        if self.name or self.answers:
            return msgspec.msgpack.encode(_AnswerWire(*short, self.name, self.answers))
        return msgspec.msgpack.encode(_GrantWire(*short))


def grant_id(donor: bytes, body: bytes) -> bytes:
    """16 bytes that name a grant in its children's `previous`, and the key of its statement.

    It covers donor and body but neither incarnation nor seq; as the key is the content, no later statement of the donor
    can replace a grant, only add one.
    """
    return blake2s(donor + body, digest_size=16, person=b"mngrant").digest()


class RequestBody(Body, frozen=True):
    """Asks peer `of` for a grant: a number for network `name` (network 0), or addresses of a network.

    `start`: the address wanted, big-endian bytes of the least length; empty: any. `free`: how many addresses the asker
    has left. `nonce`: what the grant repeats, so that one request is answered once. Key: see `request_key`.
    """

    of: Identity
    network: U32
    name: Name
    start: Annotated[bytes, msgspec.Meta(max_length=16)]
    free: Count
    nonce: Nonce

    def check(self) -> None:
        if (self.network == NUMBER_POOL) != bool(self.name) or (self.name and not _NAME.match(self.name)):
            raise ValueError("the request's network and name do not fit")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return request_key(self.network, self.name, self.start)


def request_key(network: int, name: str, start: bytes) -> bytes:
    """The key of a request's statement, 12 bytes: one slot for each network, name and address wanted."""
    return network.to_bytes(4, "big") + blake2s(name.encode() + b"/" + start, digest_size=8, person=b"mnask").digest()


class ManifestBody(Body, frozen=True):
    """How many slots the owner's state of this incarnation has (grants, networks and such aside), and their hash."""

    count: Count
    digest: Hash16


class LeftBody(Body, frozen=True):
    """The owner left; up to its incarnation nothing of it counts but its grants."""


class RevokeBody(Body, frozen=True):
    """The identity is out for good, and so is whoever holds a certificate that it issued from `from_serial` on.

    Its statement's key is the identity.
    """

    identity: Identity
    from_serial: Count
    reason: Reason

    def check(self) -> None:
        if not _PRINTABLE.match(self.reason):
            raise ValueError("the reason holds unprintable characters")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.identity


class AllowBody(Body, frozen=True):
    """The identity is on the allow-list; empty: there is an allow-list. Its statement's key is the identity."""

    identity: Annotated[bytes, msgspec.Meta(max_length=limits.IDENTITY_B)]

    def check(self) -> None:
        if len(self.identity) not in (0, limits.IDENTITY_B):
            raise ValueError("the allow-list names what is no identity")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.identity


class SecretBody(Body, frozen=True):
    """A new mesh secret: its generation, what commits to its key without saying it (32 B), how far its coming is.

    `phase` is INSTALL, SWITCH or DROP.
    """

    generation: U32
    commitment: Commitment
    phase: Phase


AnyBody = (
    PeerBody
    | LinksBody
    | NetworkBody
    | EndpointBody
    | Grant
    | ManifestBody
    | LeftBody
    | RequestBody
    | RevokeBody
    | AllowBody
    | SecretBody
)

_DECODERS: dict[str, msgspec.msgpack.Decoder[Body]] = {
    kind: msgspec.msgpack.Decoder(shape)
    for kind, shape in (
        (PEER, PeerBody),
        (LINKS, LinksBody),
        (NETWORK, NetworkBody),
        (ENDPOINT, EndpointBody),
        (GRANT, _AnswerWire),
        (MANIFEST, ManifestBody),
        (LEFT, LeftBody),
        (REQUEST, RequestBody),
        (REVOKE, RevokeBody),
        (ALLOW, AllowBody),
        (SECRET, SecretBody),
    )
}


def known(kind: str) -> bool:
    """Whether this version interprets statements of that kind."""
    return kind in _DECODERS


def decode_body(kind: str, data: bytes) -> AnyBody:
    """The checked body of a known kind; raises RemoteError and nothing else."""
    try:
        body = _DECODERS[kind].decode(data)
        if isinstance(body, _AnswerWire):
            start, end = int.from_bytes(body.start, "big"), int.from_bytes(body.end, "big")
            grant = Grant(body.network, start, end, body.to, body.version, body.previous, body.name, body.answers)
            grant.check()
            return grant
        body.check()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise RemoteError(f"body of kind {kind}: {type(error).__name__}") from error
    assert isinstance(body, AnyBody)
    return body


def encode_body(kind: str, body: AnyBody) -> bytes:
    """The body's bytes, checked the way every receiver will check them; raises LocalError."""
    try:
        data = body.wire() if isinstance(body, Grant) else msgspec.msgpack.encode(body)
        decode_body(kind, data)
    except (RemoteError, OverflowError, TypeError, ValueError) as error:
        cause = error.__cause__ or error
        raise LocalError(f"not a valid {kind} statement: {cause}") from error
    return data


def least_bytes(value: int) -> bytes:
    """The integer, big endian, in as few bytes as it needs; none for 0."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
