"""Signed own-state statements: the unit of everything that is gossiped.

Purpose: one immutable value per statement, with the exact bytes it was signed and travels as.
Rule: blob = msgpack array [mesh, owner, kind, key, incarnation, seq, body or nil]; signature = Ed25519 over
b"meshnet-statement-v1" and the blob. The blob is never encoded again after it was signed; the outer array
[blob, signature] carries no meaning. A body of None is a tombstone. Unknown kinds are opaque and relayed untouched.
Flow: `author` signs, `wire` sends, `parse` reads (nothing of it is believed before `gossip.state.gate` verified it).
Reference: design §5; docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Annotated

import msgspec

from gossip import limits
from gossip.errors import RemoteError
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
    Grant,
    grant_id,
)
from gossip.state.bodies import (
    ALLOW,
    AUTHORITY,
    LEFT,
    LINKS,
    MANIFEST,
    PEER,
    REVOKE,
    SECRET,
    AnyBody,
    LeftBody,
    LinksBody,
    ManifestBody,
    PeerBody,
    SecretBody,
    decode_body,
    known,
)

CONTEXT = b"meshnet-statement-v1"
LASTING = (PEER, GRANT, NETWORK, LEFT, MANIFEST, *AUTHORITY)
"""Kinds that a new incarnation of their owner does not void: what they promised to others outlives a restart."""
LASTING_MARK = "="
"""So begin the names of all other such kinds, those of later versions too: views are equal across versions."""
FORGETTABLE = (GRANT,)
"""Lasting kinds whose withdrawal a new incarnation makes forgotten, as it does of all marked ones."""
NEVER_TOMBSTONED = (PEER, LEFT, MANIFEST, LINKS, REVOKE, SETTLED, FENCE)

_KEY_B: Mapping[str, Container[int]] = {
    NETWORK: (4,),
    ENDPOINT: (10,),
    REQUEST: (12,),
    GRANT: (16,),
    LOAN: range(4, 21),
    REGISTER: (10,),
    ACK: (4,),
    RECLAIM: (limits.NONCE_B,),
    CONSENT: (limits.IDENTITY_B,),
    ALLOW: (0, limits.IDENTITY_B),
    SECRET: (0,),
}

Slot = tuple[str, bytes]
Version = tuple[int, int]
_ORDER = (
    *(PEER, *AUTHORITY, LEFT, MANIFEST, NETWORK, FENCE, SETTLED, REGISTER, GRANT, LOAN),
    *(LINKS, ENDPOINT, CONSENT, RECLAIM, ACK, REQUEST),
)
_RANK = {kind: rank for rank, kind in enumerate(_ORDER)}


class _Blob(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    mesh: Annotated[bytes, msgspec.Meta(min_length=limits.MESH_B, max_length=limits.MESH_B)]
    owner: Annotated[bytes, msgspec.Meta(min_length=limits.IDENTITY_B, max_length=limits.IDENTITY_B)]
    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_KIND_CHARS)]
    key: Annotated[bytes, msgspec.Meta(max_length=limits.MAX_KEY_B)]
    incarnation: Annotated[int, msgspec.Meta(ge=0)]
    seq: Annotated[int, msgspec.Meta(ge=0)]
    body: bytes | None


class _Wire(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    blob: Annotated[bytes, msgspec.Meta(max_length=limits.MAX_STATEMENT_B)]
    signature: Annotated[bytes, msgspec.Meta(min_length=limits.SIGNATURE_B, max_length=limits.SIGNATURE_B)]


_BLOB = msgspec.msgpack.Decoder(_Blob)
_WIRE = msgspec.msgpack.Decoder(_Wire)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `digest` (16 B) covers blob and signature and breaks ties of equal versions."""

    mesh: bytes
    owner: bytes
    kind: str
    key: bytes
    incarnation: int
    seq: int
    body: bytes | None
    blob: bytes
    signature: bytes
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", blake2s(self.blob + self.signature, digest_size=16).digest())

    @property
    def slot(self) -> Slot:
        """What of its owner it speaks about; a newer statement of the slot replaces it."""
        return self.kind, self.key

    @property
    def version(self) -> Version:
        """(incarnation, seq): the order of one owner's statements."""
        return self.incarnation, self.seq

    @property
    def lasting(self) -> bool:
        """Whether it survives a new incarnation of its owner."""
        if self.kind in LASTING:
            return self.body is not None or self.kind not in FORGETTABLE
        return self.kind.startswith(LASTING_MARK) and self.body is not None

    def wire(self) -> bytes:
        """The bytes that travel and are stored."""
        return msgspec.msgpack.encode(_Wire(self.blob, self.signature))


def signed_bytes(blob: bytes) -> bytes:
    """What the signature covers."""
    return CONTEXT + blob


def author(
    sign: Callable[[bytes], bytes],
    mesh: bytes,
    owner: bytes,
    slot: Slot,
    version: Version,
    body: bytes | None,
) -> Statement:
    """A new statement, signed."""
    kind, key = slot
    blob = blob_of(mesh, owner, slot, version, body)
    return Statement(mesh, owner, kind, key, version[0], version[1], body, blob, sign(signed_bytes(blob)))


def blob_of(mesh: bytes, owner: bytes, slot: Slot, version: Version, body: bytes | None) -> bytes:
    """The bytes that a statement of these fields is signed as."""
    return msgspec.msgpack.encode(_Blob(mesh, owner, slot[0], slot[1], version[0], version[1], body))


def parse(wire: bytes) -> Statement:
    """The statement in the bytes, its form checked but not its signature; raises RemoteError and nothing else."""
    if len(wire) > limits.MAX_STATEMENT_B + limits.SIGNATURE_B + 16:
        raise RemoteError("oversized")
    try:
        outer = _WIRE.decode(wire)
        statement = revived(outer.blob, outer.signature)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise RemoteError("malformed") from error
    check_form(statement)
    return statement


def revived(blob: bytes, signature: bytes) -> Statement:
    """The statement of bytes that `parse` accepted before; of others raises what msgspec raises."""
    inner = _BLOB.decode(blob)
    return Statement(
        inner.mesh, inner.owner, inner.kind, inner.key, inner.incarnation, inner.seq, inner.body, blob, signature
    )


def check_form(statement: Statement) -> None:
    """Raise RemoteError when a known kind's key and body do not fit together."""
    kind, body = statement.kind, statement.body
    if not known(kind):
        return
    if body is None:
        if kind in NEVER_TOMBSTONED:
            raise RemoteError("a statement of this kind cannot be withdrawn")
        if len(statement.key) not in _KEY_B[kind]:
            raise RemoteError("the key does not fit the kind")
    elif statement.key != key_of(statement.owner, kind, body, decode_body(kind, body)):
        raise RemoteError("the key does not fit the body")


def key_of(owner: bytes, kind: str, data: bytes, body: AnyBody) -> bytes:
    """The key a statement of a known kind must carry for its body."""
    if isinstance(body, Grant):
        return grant_id(owner, data)
    return b"" if isinstance(body, PeerBody | LinksBody | ManifestBody | LeftBody | SecretBody) else body.key


def travel(kind: str) -> int:
    """The order in which the statements of many owners travel: who they are, who may stay, all else."""
    return 0 if kind == PEER else 1 if kind in AUTHORITY else 2


def order(slot: Slot) -> tuple[int, str, bytes]:
    """The order in which an owner's statements travel and are kept: what others depend on goes first."""
    return _RANK.get(slot[0], len(_RANK)), slot[0], slot[1]
