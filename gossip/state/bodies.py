"""The bodies of the statement kinds this version understands, and their schemas.

Purpose: one typed shape per kind, checked before anything is believed or signed.
Rule: a body is a msgpack array in the order of the fields below; a later version may append fields, which are ignored
here. Each body checks what its schema cannot say in `check`. The bodies about addresses are in
`gossip.state.address_bodies`; the table below has every kind.
Flow: statements carry `encode_body(...)`; `decode_body(kind, bytes)` gives the value or RemoteError.
Reference: design §5, §6; docs/wire.md.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from gossip import limits
from gossip.errors import LocalError, RemoteError
from gossip.state.address_bodies import (
    ACK,
    CONSENT,
    ENDPOINT,
    FENCE,
    GRANT,
    LOAN,
    NETWORK,
    RECLAIM,
    REGISTER,
    REQUEST,
    SETTLED,
    AckBody,
    ConsentBody,
    EndpointBody,
    FenceBody,
    Grant,
    GrantWire,
    LoanBody,
    NetworkBody,
    ReclaimBody,
    RegisterBody,
    RequestBody,
    SettledBody,
    grant_of,
)
from gossip.state.body import (
    NAME,
    PRINTABLE,
    U32,
    Addresses,
    Body,
    Boot,
    Chain,
    Commitment,
    Costs,
    Count,
    Hash16,
    Identity,
    Name,
    Peers,
    Reason,
    Tags,
    Text,
)

PEER = "peer"
LINKS = "links"
MANIFEST = "manifest"
LEFT = "left"
REVOKE = "revoke"
ALLOW = "allow"
SECRET = "secret"
AUTHORITY = (REVOKE, ALLOW, SECRET)
"""The kinds that count only from a member with role `admin` (gossip.people.authority)."""

INSTALL, SWITCH, DROP = 0, 1, 2
"""The phases of a new mesh secret: every member takes it, uses it, gives the one before it up."""

Phase = Annotated[int, msgspec.Meta(ge=INSTALL, le=DROP)]


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
    secrets: Tags = msgspec.field(default_factory=list)

    def check(self) -> None:
        if not NAME.match(self.name):
            raise ValueError("the peer's name is not of a-z, 0-9 and dashes")
        if not all(PRINTABLE.match(text) for text in (*self.addresses, self.version)):
            raise ValueError("an address or version holds unprintable characters")


class LinksBody(Body, frozen=True):
    """The peers this one has a live link with, sorted.

    `costs`: of each link its cost (`gossip.spreading.pulse`), in the same order; a peer of an earlier version says
    none.
    """

    peers: Peers
    costs: Costs = msgspec.field(default_factory=list)

    def check(self) -> None:
        if len(self.costs) not in (0, len(self.peers)):
            raise ValueError("costs and links are not equally many")


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
        if not PRINTABLE.match(self.reason):
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
    | LoanBody
    | RegisterBody
    | SettledBody
    | AckBody
    | ReclaimBody
    | ConsentBody
    | FenceBody
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
        (GRANT, GrantWire),
        (MANIFEST, ManifestBody),
        (LEFT, LeftBody),
        (REQUEST, RequestBody),
        (LOAN, LoanBody),
        (REGISTER, RegisterBody),
        (SETTLED, SettledBody),
        (ACK, AckBody),
        (RECLAIM, ReclaimBody),
        (CONSENT, ConsentBody),
        (FENCE, FenceBody),
        (REVOKE, RevokeBody),
        (ALLOW, AllowBody),
        (SECRET, SecretBody),
    )
}

KINDS = tuple(_DECODERS)
"""Every kind that this version interprets."""


def known(kind: str) -> bool:
    """Whether this version interprets statements of that kind."""
    return kind in _DECODERS


def decode_body(kind: str, data: bytes) -> AnyBody:
    """The checked body of a known kind; raises RemoteError and nothing else."""
    try:
        body = _DECODERS[kind].decode(data)
        if isinstance(body, GrantWire):
            grant = grant_of(body)
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
