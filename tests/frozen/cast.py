"""Who speaks in the transcript: three hosts with fixed keys, and dice that count."""

from __future__ import annotations

from collections.abc import Callable

from crypto.certificate import issue
from crypto.keyring import Keyring
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite, blake2s
from crypto.secret import MeshSecret, mesh_id
from crypto.token import Token

SEED = b"seed of the mesh"
IDENTITIES = [IdentityKey(bytes((number,)) * 32) for number in (1, 2, 3)]
A_STATIC, B_STATIC, C_STATIC, B_OLD_STATIC = (StaticKey(bytes((number,)) * 32) for number in (17, 18, 19, 20))
FOUNDER, MEMBER, JOINER = IDENTITIES
MESH = mesh_id(FOUNDER.public, SEED)
SECRET, NEXT_SECRET = MeshSecret(258, b"s" * 32), MeshSecret(259, b"n" * 32)
KEYRING = Keyring(SECRET, NEXT_SECRET)
PASSWORD = "transcript of the wire, version one"


def counted(label: str) -> Callable[[int], bytes]:
    """Entropy that is the same in every run: BLAKE2s of a label and the number of the call."""
    calls = iter(range(1 << 16))

    def entropy(size: int) -> bytes:
        return blake2s(f"{label} {next(calls)}".encode(), size=size)

    return entropy


def chain() -> list[bytes]:
    """The joiner's certificates: its own, of the member that invited it, of the founder."""
    founder = issue(
        FOUNDER, mesh=MESH, identity=FOUNDER.public, name="host-a", roles=("admin", "invite"), serial=0, seed=SEED
    )
    member = issue(FOUNDER, mesh=MESH, identity=MEMBER.public, name="host-b", roles=("invite",), serial=1)
    return [issue(MEMBER, mesh=MESH, identity=JOINER.public, name="host-c", roles=(), serial=7), member, founder]


def token() -> Token:
    """A token of the member's."""
    return Token(
        mesh=MESH,
        suite=Suite.AESGCM,
        addresses=("192.0.2.2:6799", "[2001:db8::2]:6799"),
        issuer_identity=MEMBER.public,
        issuer_static=B_STATIC.public,
        secret=b"t" * 32,
        expires=1_900_000_000,
        uses=2,
    )
