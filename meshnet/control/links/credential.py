"""What a peer shows when a link opens: that its static key belongs to an identity of the mesh. PURE.

Purpose: a peer that joined a moment ago elsewhere is not in our gossip yet, and must be able to link all the same.
Rule: public data only (message 1 has no forward secrecy). The identity signs the static key for this mesh; the
Noise handshake proves that the other end holds that static key; the certificate chain proves membership.
Flow: ``Credential.make(...).encode()`` goes into messages 1 and 2 of a link's handshake;
``Credential.decode(...).check(...)`` at the other end.
Reference: design §3 (links without a valid chain are refused).
"""

from __future__ import annotations

import msgspec

from crypto.certificate import Verified, verified
from crypto.errors import RemoteError
from crypto.primitives import verify
from meshnet.control.keys.membership import Membership

_CONTEXT = b"meshnet-link-v1"


class Credential(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """identity: 32 bytes; signature: 64 bytes, by the identity over its static key; chain: own certificate first."""

    identity: bytes
    signature: bytes
    chain: tuple[bytes, ...]

    @classmethod
    def make(cls, membership: Membership) -> Credential:
        """This peer's own."""
        signature = membership.identity.sign(_CONTEXT + membership.mesh + membership.static.public)
        return cls(membership.identity.public, signature, membership.chain)

    def encode(self) -> bytes:
        """The bytes for a handshake's payload; a chain of greatest length fits."""
        return _ENCODER.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> Credential:
        """The credential in a handshake's payload, nothing of it checked; RemoteError for another form."""
        try:
            return _DECODER.decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise RemoteError("credential of another form") from None

    def check(self, mesh: bytes, static: bytes) -> Verified:
        """What its certificates prove; raises RemoteError unless `identity` owns `static` and they hold in `mesh`."""
        if not verify(self.identity, _CONTEXT + mesh + static, self.signature):
            raise RemoteError("credential of another key")
        return verified(mesh, self.identity, self.chain)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Credential)
