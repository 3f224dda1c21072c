"""Who this host is in its mesh: the material that makes it a peer, how it is founded and asked for. PURE.

Purpose: one value that holds every key of this host, so that a change of one is a new value that is stored whole.
Rule: no key is shown by ``repr``. A password is kept as the key derived from it, never as text.
Flow: ``found`` at launch, a join's reply elsewhere; ``keyfile`` stores it, ``hostkeys`` changes it.
Reference: design §3 "Identity, membership, keys".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from crypto.certificate import issue, valid_name, verify_chain
from crypto.keyring import Keyring
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite, verify
from crypto.secret import MeshSecret, mesh_id
from meshnet.errors import ExitCode, MeshnetError

ROLES = ("admin", "invite")
STATE_ID_SIZE = 16
SEED_SIZE = 16
SECRET_SIZE = 32
_JOIN_CONTEXT = b"meshnet-join-v1"


@dataclass(frozen=True, slots=True)
class Membership:
    """All that makes a host one peer of one mesh; the key file holds it.

    state_id: 16 bytes, also in the database. mesh: 16 bytes. chain: the peer's certificates, its own first.
    old_static: the static key before the last replacement, accepted until `old_static_until` (wall seconds).
    password_key: 32 bytes, while this host admits by password.
    """

    state_id: bytes
    mesh: bytes
    identity: IdentityKey = field(repr=False)
    static: StaticKey = field(repr=False)
    keyring: Keyring
    suite: Suite
    name: str
    chain: tuple[bytes, ...] = field(repr=False)
    old_static: StaticKey | None = field(default=None, repr=False)
    old_static_until: float = 0.0
    password_key: bytes | None = field(default=None, repr=False)

    @property
    def roles(self) -> tuple[str, ...]:
        """What this peer's certificate allows; raises crypto's RemoteError when the chain does not hold."""
        return verify_chain(self.mesh, self.identity.public, self.chain).roles

    @property
    def statics(self) -> tuple[StaticKey, ...]:
        """The static keys in use, the one told to others first."""
        return (self.static,) if self.old_static is None else (self.static, self.old_static)


class JoinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a joiner asks for. identity, static: its public keys, 32 bytes; signature: by the identity."""

    identity: bytes
    static: bytes
    name: str
    signature: bytes

    @classmethod
    def make(cls, mesh: bytes, identity: IdentityKey, static: bytes, name: str) -> JoinRequest:
        """A signed request of the owner of `identity`."""
        return cls(identity.public, static, name, identity.sign(_request_bytes(mesh, static, name)))

    def holds(self, mesh: bytes) -> bool:
        """Whether the identity signed this request for this mesh and the name is a valid one."""
        if not valid_name(self.name):
            return False
        return verify(self.identity, _request_bytes(mesh, self.static, self.name), self.signature)


def found(name: str, suite: Suite, entropy: Callable[[int], bytes], identity: IdentityKey | None = None) -> Membership:
    """The material of a new mesh whose founder is called `name`; raises MeshnetError for a bad name.

    identity: the founder's, if it was made before.
    """
    check_name(name)
    identity, seed = identity or IdentityKey.generate(entropy), entropy(SEED_SIZE)
    mesh = mesh_id(identity.public, seed)
    certificate = issue(identity, mesh=mesh, identity=identity.public, name=name, roles=ROLES, serial=0, seed=seed)
    return Membership(
        state_id=entropy(STATE_ID_SIZE),
        mesh=mesh,
        identity=identity,
        static=StaticKey.generate(entropy),
        keyring=Keyring(MeshSecret(0, entropy(SECRET_SIZE))),
        suite=suite,
        name=name,
        chain=(certificate,),
    )


def check_name(name: str) -> None:
    """Raise MeshnetError unless `name` can be a peer's name."""
    if not valid_name(name):
        raise MeshnetError(
            f"{name[:64]!r} cannot be a peer's name",
            "a name is 1 to 63 characters of a-z, 0-9 and -, and neither begins nor ends with -",
            "choose one with --name",
            ExitCode.USAGE,
        )


def _request_bytes(mesh: bytes, static: bytes, name: str) -> bytes:
    return _JOIN_CONTEXT + mesh + static + name.encode()
