"""Membership certificates and the chain that leads from a peer to the mesh's founder.

Purpose: a peer is a member because a member with role ``invite`` signed a certificate for its identity, and
so on up to the founder, whose self-signed certificate carries the seed from which the mesh id was made: the
mesh id alone tells who may found the chain.
Flow: certificate = msgpack array [version, mesh, identity, name, roles, serial, issuer, seed] + 64-byte
Ed25519 signature over a label and those bytes. A chain lists the peer's own first and the founder's last.
Rule: every check that fails is ``RemoteError``; nothing a certificate says is used before its signature
holds. Only the one encoding that ``issue`` makes is accepted, so equal certificates are equal bytes.
Reference: design §3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from crypto.errors import LocalError, RemoteError
from crypto.keys import IdentityKey
from crypto.primitives import KEY_SIZE, SIGNATURE_SIZE, verify
from crypto.prologue import MESH_SIZE
from crypto.secret import SEED_SIZE, mesh_id

CHAIN_MAX: Final = 8
CERTIFICATE_MAX: Final = 512
ROLES: Final = ("admin", "invite")
SERIAL_MAX: Final = (1 << 63) - 1

_VERSION: Final = 1
_LABEL: Final = b"meshnet-certificate-v1"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Certificate(msgspec.Struct, frozen=True):
    """Who ``identity`` is in ``mesh``: its name, its roles (sorted), and who said so.

    ``serial`` counts the certificates of ``issuer``. ``seed`` is 16 bytes in the founder's own and empty
    elsewhere.
    """

    mesh: bytes
    identity: bytes
    name: str
    roles: tuple[str, ...]
    serial: int
    issuer: bytes
    seed: bytes


class Verified(NamedTuple):
    """What a chain proved: the peer's own ``certificate``, and the certificates that it rests on.

    ``path`` names each by issuer identity (32 bytes) and serial, the peer's own first, the founder's self-signed
    one left out: the peer is a member as long as none of them is void.
    """

    certificate: Certificate
    path: tuple[tuple[bytes, int], ...]


class _Body(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    mesh: bytes
    identity: bytes
    name: str
    roles: tuple[str, ...]
    serial: int
    issuer: bytes
    seed: bytes


_DECODER: Final = msgspec.msgpack.Decoder(_Body)
_ENCODER: Final = msgspec.msgpack.Encoder()


def valid_name(name: str) -> bool:
    """Whether ``name`` is a peer's: 1 to 63 characters of a-z, 0-9 and dash, no dash first or last."""
    return _NAME.fullmatch(name) is not None


def issue(
    issuer_key: IdentityKey,
    *,
    mesh: bytes,
    identity: bytes,
    name: str,
    roles: Iterable[str],
    serial: int,
    seed: bytes = b"",
) -> bytes:
    """The certificate of ``identity``, signed by ``issuer_key``; equal arguments make equal bytes.

    ``seed`` is given for the founder's own certificate alone. Raises ``LocalError`` when a field breaks the
    rules that ``read`` enforces.
    """
    body = _Body(_VERSION, mesh, identity, name, tuple(sorted(roles)), serial, issuer_key.public, seed)
    fault = _fault(body)
    if fault is not None:
        raise LocalError(f"certificate: {fault}")
    encoded = _ENCODER.encode(body)
    return encoded + issuer_key.sign(_LABEL + encoded)


def read(certificate: bytes) -> Certificate:
    """The content of one certificate whose form and signature hold. Raises ``RemoteError``."""
    if not SIGNATURE_SIZE < len(certificate) <= CERTIFICATE_MAX:
        raise RemoteError("certificate of an impossible length")
    encoded, signature = certificate[:-SIGNATURE_SIZE], certificate[-SIGNATURE_SIZE:]
    try:
        body = _DECODER.decode(encoded)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise RemoteError("certificate of another form") from None
    fault = _fault(body)
    if fault is not None:
        raise RemoteError(f"certificate: {fault}")
    if _ENCODER.encode(body) != encoded:
        raise RemoteError("certificate in another encoding")
    if not verify(body.issuer, _LABEL + encoded, signature):
        raise RemoteError("certificate with a false signature")
    return Certificate(body.mesh, body.identity, body.name, body.roles, body.serial, body.issuer, body.seed)


def verified(mesh: bytes, identity: bytes, chain: Sequence[bytes]) -> Verified:
    """What ``chain`` proves about ``identity`` in ``mesh``: its own certificate first, the founder's last.

    Each issuer must hold ``invite`` and every role it passes on. Raises ``RemoteError`` otherwise.
    """
    if not 0 < len(chain) <= CHAIN_MAX:
        raise RemoteError("certificate chain of an impossible depth")
    certificates = [read(certificate) for certificate in chain]
    own, founder = certificates[0], certificates[-1]
    if own.identity != identity:
        raise RemoteError("certificate of another peer")
    if any(certificate.mesh != mesh for certificate in certificates):
        raise RemoteError("certificate of another mesh")
    if len({certificate.identity for certificate in certificates}) != len(certificates):
        raise RemoteError("certificate chain that passes one peer twice")
    for held, issuer in pairwise(certificates):
        if held.issuer != issuer.identity:
            raise RemoteError("certificate chain with a gap")
        if "invite" not in issuer.roles:
            raise RemoteError("certificate issued without the role invite")
        if not set(held.roles) <= set(issuer.roles):
            raise RemoteError("certificate with a role its issuer lacks")
    # A certificate with a seed is self-signed and one without is not (_fault), so the seed tells the
    # founder's.
    if not founder.seed or mesh_id(founder.identity, founder.seed) != mesh:
        raise RemoteError("certificate chain that does not end at the founder")
    return Verified(own, tuple((held.issuer, held.serial) for held in certificates[:-1]))


def verify_chain(mesh: bytes, identity: bytes, chain: Sequence[bytes]) -> Certificate:
    """The certificate that ``chain`` proves ``identity`` to have in ``mesh``. Raises ``RemoteError``."""
    return verified(mesh, identity, chain).certificate


def _fault(body: _Body) -> str | None:
    """What is wrong with a certificate's fields, if anything."""
    if body.version != _VERSION:
        return "unknown version"
    if len(body.mesh) != MESH_SIZE or len(body.identity) != KEY_SIZE or len(body.issuer) != KEY_SIZE:
        return "a key of a wrong length"
    if not valid_name(body.name):
        return "an impossible name"
    if body.roles != tuple(role for role in ROLES if role in body.roles):
        return "an unknown or repeated role"
    if not 0 <= body.serial <= SERIAL_MAX:
        return "an impossible serial number"
    if len(body.seed) != (SEED_SIZE if body.issuer == body.identity else 0):
        return "a seed where none belongs, or none where one does"
    return None
