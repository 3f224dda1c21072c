"""Stand-ins for keys, signatures and certificates: identities from names, fast, and good for one mesh.

Rule: who made a signature here is checked as in earnest, but nothing is secret. "h0" founded the mesh and has both
roles. A certificate names its subject, roles and serial; who issued it is the subject of the next one in the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2s
from itertools import pairwise

from gossip.people.authority import Admitted
from gossip.state.bodies import PeerBody

MESH = b"simulated mesh.."
FOUNDER = "h0"
BOTH_ROLES = ("admin", "invite")
_LABEL = b"certificate of "


def identity_of(name: str) -> bytes:
    """The identity of a simulated peer."""
    return blake2s(name.encode()).digest()


def sign_as(identity: bytes) -> Callable[[bytes], bytes]:
    """A stand-in for a signature that only its owner makes in these tests, and that is fast."""
    return lambda message: blake2s(message, key=identity).digest() * 2


def verify(identity: bytes, message: bytes, signature: bytes) -> bool:
    """The check of `sign_as`."""
    return signature == blake2s(message, key=identity).digest() * 2


def certificate(identity: bytes, roles: Sequence[str] = (), serial: int = 0) -> bytes:
    """A stand-in for a certificate."""
    return _LABEL + identity + f" {serial} {','.join(roles)}".encode()


def chain_of(name: str, *path: tuple[str, int], roles: Sequence[str] = ()) -> list[bytes]:
    """The chain of a peer. `path`: each issuer with the serial it gave, the founder last; issuers have both roles."""
    founder = certificate(identity_of(FOUNDER), BOTH_ROLES)
    if name == FOUNDER:
        return [founder]
    chain = [certificate(identity_of(name), roles, path[0][1] if path else 0)]
    for (issuer, _), (_, serial) in pairwise(path):
        chain.append(certificate(identity_of(issuer), BOTH_ROLES, serial))
    return [*chain, founder]


def admit(identity: bytes, chain: Sequence[bytes]) -> Admitted:
    """The check of `certificate` chains: the own one first, the founder's last."""
    read = [_read(each) for each in chain]
    if read[0][0] != identity or chain[-1] != certificate(identity_of(FOUNDER), BOTH_ROLES):
        raise ValueError("not a member")
    path = tuple((issuer, serial) for (_, serial, _), (issuer, _, _) in pairwise(read))
    return Admitted(read[0][2], path)


def _read(one: bytes) -> tuple[bytes, int, tuple[str, ...]]:
    if not one.startswith(_LABEL):
        raise ValueError("no certificate")
    at = len(_LABEL) + 32
    _, serial, roles = one[at:].decode().split(" ")
    return one[len(_LABEL) : at], int(serial), tuple(filter(None, roles.split(",")))


def peer_body(name: str, *addresses: str, boot: int = 0, chain: Sequence[bytes] = ()) -> PeerBody:
    """A peer's statement, with a chain straight from the founder and no role unless another is given."""
    return PeerBody(name, list(addresses), bytes(32), list(chain or chain_of(name)), boot.to_bytes(8, "big"), "1")


def mac_of(endpoint: bytes) -> bytes:
    """An endpoint's MAC."""
    return b"\x02" + blake2s(endpoint, digest_size=5).digest()
