"""What the tests of tokens share: a disk for their writes, hosts that ask, and members of every depth."""

from __future__ import annotations

import os
from collections.abc import Iterable

from crypto.certificate import issue
from crypto.keys import IdentityKey, StaticKey
from crypto.token import Token
from meshnet.control.joining.tokens import Tokens
from meshnet.control.keys.membership import JoinRequest, Membership
from meshnet.control.store.row import Row

WALL = 1_800_000_000.0
ADDRESSES = ["192.0.2.1:6799", "[2001:db8::1]:6799"]


def free(name: str, identity: bytes) -> bool:
    return False


class Disk:
    """What the writes of a `Tokens` would have left in the store."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def apply(self, puts: Iterable[Row]) -> None:
        for put in puts:
            assert put.space == "token"
            if put.value is None:
                del self.rows[put.key]
            else:
                self.rows[put.key] = put.value


class Joiner:
    def __init__(self, name: str) -> None:
        self.identity = IdentityKey.generate(os.urandom)
        self.static = StaticKey.generate(os.urandom)
        self.name = name

    def request(self, mesh: bytes) -> JoinRequest:
        return JoinRequest.make(mesh, self.identity, self.static.public, self.name)


def create(tokens: Tokens, uses: int = 1, ttl_s: int = 3600, roles: Iterable[str] = ()) -> Token:
    return tokens.create(uses, ttl_s, list(roles), ADDRESSES, os.urandom, WALL)[1]


def member(founder: Membership, depth: int, roles: Iterable[str]) -> Membership:
    """A member `depth` steps from the founder."""
    issuer, chain = founder.identity, founder.chain
    for step in range(depth):
        held = ("admin", "invite") if step < depth - 1 else roles
        joiner = IdentityKey.generate(os.urandom)
        certificate = issue(issuer, mesh=founder.mesh, identity=joiner.public, name=f"p{step}", roles=held, serial=1)
        issuer, chain = joiner, (certificate, *chain)
    return Membership(
        bytes(16),
        founder.mesh,
        issuer,
        StaticKey.generate(os.urandom),
        founder.keyring,
        founder.suite,
        f"p{depth - 1}",
        chain,
    )
