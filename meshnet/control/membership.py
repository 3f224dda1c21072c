"""Who belongs to the mesh: founding one, tokens, and the certificates they are redeemed for. PURE.

Purpose: every decision on membership in one place, without I/O.
Rule: a token is checked and consumed in one step, and bound to the identity that redeemed it, so that the
same joiner may ask again after a lost reply and gets the same certificate; two joiners never share a use.
Flow: ``Tokens.create`` -> text for the operator; a joiner names its token -> ``psk_for``; once it has proved
the secret -> ``redeem``. Both return the writes that must be durable before anything is answered.
Reference: design §3 "Joining".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from crypto.certificate import CHAIN_MAX, issue, valid_name, verify_chain
from crypto.errors import LocalError
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite, verify
from crypto.secret import MeshSecret, mesh_id
from crypto.token import Token
from meshnet.control.row import Row
from meshnet.errors import ExitCode, MeshnetError

SPACE = "token"
ROLES = ("admin", "invite")
STATE_ID_SIZE = 16
SEED_SIZE = 16
SECRET_SIZE = 32
TOKEN_ID_SIZE = 8
MAX_USES = 1000
MAX_TTL_S = 30 * 24 * 3600
MAX_TOKENS = 1024
RETRY_S = 3600  # how long after its expiry a token still answers the joiners that redeemed it
RESERVED_S = 20.0  # a name just issued is not issued again while its owner still joins (longer than a join takes)
_SERIAL_KEY = b"serial"
_JOIN_CONTEXT = b"meshnet-join-v1"


class Reason(StrEnum):
    """Why a join was refused; the value goes over the wire."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED_UP = "used-up"
    NAME_IN_USE = "name-in-use"
    BAD_REQUEST = "bad-request"


class Refused(Exception):
    """A join was refused for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Membership:
    """All that makes a host one peer of one mesh; the key file holds it.

    state_id: 16 bytes, also in the database. mesh: 16 bytes. chain: the peer's certificates, its own first.
    """

    state_id: bytes
    mesh: bytes
    identity: IdentityKey = field(repr=False)
    static: StaticKey = field(repr=False)
    secret: MeshSecret = field(repr=False)
    suite: Suite
    name: str
    chain: tuple[bytes, ...] = field(repr=False)

    @property
    def roles(self) -> tuple[str, ...]:
        """What this peer's certificate allows; raises crypto's RemoteError when the chain does not hold."""
        return verify_chain(self.mesh, self.identity.public, self.chain).roles


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


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """A token's value in the store; `left` are the uses still to give."""

    text: str
    roles: tuple[str, ...]
    left: int

    def __repr__(self) -> str:
        return f"_Stored(roles={self.roles}, left={self.left})"


@dataclass(slots=True)
class _Entry:
    """A token, what it gives and what is left of it."""

    token: Token
    roles: tuple[str, ...]
    left: int

    @classmethod
    def read(cls, value: bytes) -> _Entry:
        stored = msgspec.msgpack.decode(value, type=_Stored)
        return cls(Token.decode(stored.text), stored.roles, stored.left)

    def row(self) -> Row:
        value = msgspec.msgpack.encode(_Stored(self.token.encode(), self.roles, self.left))
        return Row(SPACE, self.token.token_id, value)


def found(name: str, suite: Suite, entropy: Callable[[int], bytes]) -> Membership:
    """The material of a new mesh whose founder is called `name`; raises MeshnetError for a bad name."""
    check_name(name)
    identity, seed = IdentityKey.generate(entropy), entropy(SEED_SIZE)
    mesh = mesh_id(identity.public, seed)
    certificate = issue(identity, mesh=mesh, identity=identity.public, name=name, roles=ROLES, serial=0, seed=seed)
    return Membership(
        state_id=entropy(STATE_ID_SIZE),
        mesh=mesh,
        identity=identity,
        static=StaticKey.generate(entropy),
        secret=MeshSecret(0, entropy(SECRET_SIZE)),
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


class Tokens:
    """This peer's tokens. `stored` are the (key, value) rows of space "token"; times are wall seconds."""

    def __init__(self, membership: Membership, stored: Iterable[tuple[bytes, bytes]]) -> None:
        self._membership = membership
        self._entries: dict[bytes, _Entry] = {}
        self._issued: dict[bytes, dict[bytes, bytes]] = {}  # token id -> identity -> its certificate
        self._reserved: dict[str, tuple[bytes, float]] = {}  # name -> who got it, until when
        self._serial = 0
        for key, value in stored:
            if key == _SERIAL_KEY:
                self._serial = int.from_bytes(value, "big")
            elif len(key) == TOKEN_ID_SIZE:
                self._entries[key] = _Entry.read(value)
            else:
                self._issued.setdefault(key[:TOKEN_ID_SIZE], {})[key[TOKEN_ID_SIZE:]] = value

    def create(
        self,
        uses: int,
        ttl_s: int,
        roles: Sequence[str],
        addresses: Sequence[str],
        entropy: Callable[[int], bytes],
        wall: float,
    ) -> tuple[list[Row], Token]:
        """A new token and the writes that make it count. addresses: where joiners reach this peer, host:port.

        Raises MeshnetError for figures out of bounds, or when this peer may not invite or lacks a role.
        """
        self._check_order(uses, ttl_s, roles, addresses)
        puts = self._prune(wall)
        if len(self._entries) >= MAX_TOKENS:
            raise MeshnetError(
                "no more tokens",
                f"{MAX_TOKENS} tokens of this host are still valid",
                "wait until some expire, or create the token on another host",
                ExitCode.FAILED,
            )
        own = self._membership
        try:
            token = Token(
                mesh=own.mesh,
                suite=own.suite,
                addresses=tuple(addresses),
                issuer_identity=own.identity.public,
                issuer_static=own.static.public,
                secret=entropy(SECRET_SIZE),
                expires=int(wall) + ttl_s,
                uses=uses,
            )
        except LocalError as error:
            raise MeshnetError(
                "cannot create the token", error.reason, "name a reachable address with --advertise HOST:PORT"
            ) from error
        entry = _Entry(token, tuple(sorted(set(roles))), uses)
        self._entries[token.token_id] = entry
        return [*puts, entry.row()], token

    def psk_for(self, token_id: bytes, identity: bytes, wall: float) -> bytes:
        """The key the token's owner must prove; raises Refused when the token admits `identity` no more."""
        entry = self._entries.get(token_id)
        if entry is None:
            raise Refused(Reason.UNKNOWN)
        redeemed = identity in self._issued.get(token_id, {})
        if wall >= entry.token.expires + (RETRY_S if redeemed else 0):
            raise Refused(Reason.EXPIRED)
        if entry.left <= 0 and not redeemed:
            raise Refused(Reason.USED_UP)
        return entry.token.psk()

    def redeem(
        self, token_id: bytes, request: JoinRequest, wall: float, in_use: Callable[[str, bytes], bool]
    ) -> tuple[list[Row], tuple[bytes, ...]]:
        """Consume one use for a joiner that has proved the token's secret: the writes and its chain.

        in_use(name, identity): whether another peer than `identity` bears the name. A second call for the
        same identity consumes nothing and gives the same again. Raises Refused, and then nothing has changed.
        """
        own = self._membership
        if not request.holds(own.mesh):
            raise Refused(Reason.BAD_REQUEST)
        self.psk_for(token_id, request.identity, wall)
        earlier = self._issued.get(token_id, {}).get(request.identity)
        if earlier is not None:
            chain = (earlier, *own.chain)
            if verify_chain(own.mesh, request.identity, chain).name != request.name:
                raise Refused(Reason.BAD_REQUEST)
            return self._rows(token_id, request.identity), chain
        if self._taken(request, wall) or in_use(request.name, request.identity):
            raise Refused(Reason.NAME_IN_USE)
        return self._consume(token_id, request, wall)

    def _consume(self, token_id: bytes, request: JoinRequest, wall: float) -> tuple[list[Row], tuple[bytes, ...]]:
        own, entry = self._membership, self._entries[token_id]
        self._serial += 1
        certificate = issue(
            own.identity,
            mesh=own.mesh,
            identity=request.identity,
            name=request.name,
            roles=entry.roles,
            serial=self._serial,
        )
        entry.left -= 1
        self._issued.setdefault(token_id, {})[request.identity] = certificate
        self._reserved[request.name] = (request.identity, wall + RESERVED_S)
        return self._rows(token_id, request.identity), (certificate, *own.chain)

    def _rows(self, token_id: bytes, identity: bytes) -> list[Row]:
        """What one redemption writes. Also for a retry: the first attempt's commit may have failed."""
        return [
            Row(SPACE, _SERIAL_KEY, self._serial.to_bytes(8, "big")),
            self._entries[token_id].row(),
            Row(SPACE, token_id + identity, self._issued[token_id][identity]),
        ]

    def _taken(self, request: JoinRequest, wall: float) -> bool:
        """Whether the name was issued so recently to another that the mesh may not show it yet."""
        self._reserved = {name: held for name, held in self._reserved.items() if held[1] > wall}
        held = self._reserved.get(request.name)
        return request.name == self._membership.name or (held is not None and held[0] != request.identity)

    def _check_order(self, uses: int, ttl_s: int, roles: Sequence[str], addresses: Sequence[str]) -> None:
        held = self._membership.roles
        if "invite" not in held:
            raise MeshnetError(
                "this host may not create tokens",
                "its certificate lacks the role `invite`",
                "create the token on the host that launched the mesh",
                ExitCode.PERMISSION,
            )
        if len(self._membership.chain) >= CHAIN_MAX:
            raise MeshnetError(
                "this host may not create tokens",
                f"its own certificate is {CHAIN_MAX} steps from the founder's, and no chain is longer",
                "create the token on a host that joined earlier",
                ExitCode.PERMISSION,
            )
        if not (1 <= uses <= MAX_USES and 1 <= ttl_s <= MAX_TTL_S):
            raise MeshnetError(
                "the token's bounds are wrong",
                f"uses must be 1 to {MAX_USES}, the life time 1 second to {MAX_TTL_S // 86400} days",
                "choose other values of --uses and --ttl",
                ExitCode.USAGE,
            )
        lacking = [role for role in roles if role not in held]
        if lacking:
            raise MeshnetError(
                f"cannot give the role {lacking[0][:32]!r}",
                f"roles are {' and '.join(ROLES)}, and only who holds one can give it",
                "leave the role out, or create the token on a host that has it",
                ExitCode.USAGE,
            )

    def _prune(self, wall: float) -> list[Row]:
        """Forget tokens that can answer nobody any more."""
        puts: list[Row] = []
        spent = [key for key, entry in self._entries.items() if wall >= entry.token.expires + RETRY_S]
        for token_id in spent:
            del self._entries[token_id]
            puts.append(Row(SPACE, token_id, None))
            puts.extend(Row(SPACE, token_id + identity, None) for identity in self._issued.pop(token_id, {}))
        return puts


def _request_bytes(mesh: bytes, static: bytes, name: str) -> bytes:
    return _JOIN_CONTEXT + mesh + static + name.encode()
