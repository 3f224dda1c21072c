"""Tokens of this host, and the certificates they and the password are redeemed for. PURE.

Purpose: every decision on who is let in, in one place, without I/O.
Rule: a token is checked and consumed in one step, and bound to the identity that redeemed it, so that the
same joiner may ask again after a lost reply and gets the same certificate; two joiners never share a use.
Certificates of every way in are counted by one serial number.
Flow: ``create`` -> text for the operator; a joiner names its token -> ``psk_for``; once it has proved the
secret -> ``redeem``. ``admit`` is the same for who proved the password. All return the writes that must be
durable before anything is answered.
Reference: design §3 "Joining".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from crypto.certificate import CHAIN_MAX, issue, read
from crypto.errors import LocalError
from crypto.token import Token
from meshnet.control.keys.membership import ROLES, SECRET_SIZE, JoinRequest, Membership
from meshnet.control.store.row import Row
from meshnet.errors import ExitCode, MeshnetError

SPACE = "token"
TOKEN_ID_SIZE = 8
MAX_USES = 1000
MAX_TTL_S = 30 * 24 * 3600
MAX_TOKENS = 1024
RETRY_S = 3600  # how long after its expiry a token still answers the joiners that redeemed it
RESERVED_S = 20.0  # a name just issued is not issued again while its owner still joins (longer than a join takes)
MAX_REVOKED = 64  # revoked tokens whose deletion can be written once more, should it have failed
MAX_BY_PASSWORD = 4096  # joiners by password that may ask again; the earliest make room
_SERIAL_KEY = b"serial"
_BY_PASSWORD = bytes(TOKEN_ID_SIZE)  # stands for the password where a token's id would be

Writes = list[Row]
InUse = Callable[[str, bytes], bool]
"""in_use(name, identity): whether another peer than `identity` bears the name."""


class Reason(StrEnum):
    """Why a join was refused; the value goes over the wire."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED_UP = "used-up"
    NAME_IN_USE = "name-in-use"
    BAD_REQUEST = "bad-request"
    NOT_ALLOWED = "not-allowed"


class Refused(Exception):
    """A join was refused for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


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


class Tokens:
    """This peer's tokens. `stored` are the (key, value) rows of space "token"; times are wall seconds.

    membership(): this host's, asked at every use, because its keys may be replaced meanwhile. issued(): the greatest
    serial of this host that the mesh knows, which is above the stored one where the state is an older copy.
    """

    def __init__(
        self,
        membership: Callable[[], Membership],
        stored: Iterable[tuple[bytes, bytes]],
        issued: Callable[[], int] = lambda: 0,
    ) -> None:
        self._membership = membership
        self._known_serial = issued
        self._entries: dict[bytes, _Entry] = {}
        self._issued: dict[bytes, dict[bytes, bytes]] = {}  # token id -> identity -> its certificate
        self._reserved: dict[str, tuple[bytes, float]] = {}  # name -> who got it, until when
        self._revoked: dict[bytes, Writes] = {}  # token id -> its deletion, the earliest first
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
    ) -> tuple[Writes, Token]:
        """A new token and the writes that make it count. addresses: where joiners reach this peer, host:port.

        Raises MeshnetError for figures out of bounds, or when this peer may not invite or lacks a role.
        """
        self._check_order(uses, ttl_s, roles)
        puts = self._prune(wall)
        if len(self._entries) >= MAX_TOKENS:
            raise MeshnetError(
                "no more tokens",
                f"{MAX_TOKENS} tokens of this host are still valid",
                "wait until some expire, or create the token on another host",
                ExitCode.FAILED,
            )
        own = self._membership()
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
        self, token_id: bytes, request: JoinRequest, wall: float, in_use: InUse
    ) -> tuple[Writes, tuple[bytes, ...]]:
        """Consume one use for a joiner that has proved the token's secret: the writes and its chain.

        A second call for the same identity consumes nothing and gives the same again. Raises Refused, and then
        nothing has changed.
        """
        self._check_request(request)
        self.psk_for(token_id, request.identity, wall)
        entry = self._entries[token_id]
        if not self._again(token_id, request):
            self._issue(token_id, request, entry.roles, wall, in_use)
            entry.left -= 1
        return [entry.row(), *self._rows(token_id, request.identity)], self._chain(token_id, request.identity)

    def admit(self, request: JoinRequest, wall: float, in_use: InUse) -> tuple[Writes, tuple[bytes, ...]]:
        """The writes and the chain of a joiner that has proved the password; it gets no role.

        As `redeem`, a second call for the same identity gives the same again. Raises Refused.
        """
        self._check_request(request)
        puts: Writes = []
        if not self._again(_BY_PASSWORD, request):
            if why_not_issue(self._membership()) is not None:
                raise Refused(Reason.UNKNOWN)
            self._issue(_BY_PASSWORD, request, (), wall, in_use)
            puts = self._make_room()
        return [*self._rows(_BY_PASSWORD, request.identity), *puts], self._chain(_BY_PASSWORD, request.identity)

    def list(self, wall: float) -> list[dict[str, object]]:
        """The tokens that have not expired, by expiry: id, roles, uses, left, expires (wall seconds), redeemed.

        id and the identities in `redeemed` are hex; nothing here lets anybody join.
        """
        held = sorted((entry.token.expires, token_id) for token_id, entry in self._entries.items())
        return [
            {
                "id": token_id.hex(),
                "roles": list(self._entries[token_id].roles),
                "uses": self._entries[token_id].token.uses,
                "left": self._entries[token_id].left,
                "expires": expires,
                "redeemed": sorted(identity.hex() for identity in self._issued.get(token_id, {})),
            }
            for expires, token_id in held
            if wall < expires
        ]

    def revoke(self, token_id: bytes) -> Writes:
        """The writes after which the token admits nobody, not even who redeemed it and asks again.

        It counts at once; if the writes fail, a second call returns them again. Raises MeshnetError (NOT_FOUND).
        """
        if token_id in self._entries:
            self._revoked[token_id] = self._forget(token_id)
            if len(self._revoked) > MAX_REVOKED:
                del self._revoked[next(iter(self._revoked))]
        if token_id not in self._revoked:
            raise MeshnetError(
                f"there is no token {token_id.hex()[: 2 * TOKEN_ID_SIZE]}",
                "this host made none of that id, or it expired long ago",
                "look at `meshnet token ls` on the host that made it",
                ExitCode.NOT_FOUND,
            )
        return self._revoked[token_id]

    def _check_request(self, request: JoinRequest) -> None:
        if not request.holds(self._membership().mesh):
            raise Refused(Reason.BAD_REQUEST)

    def _again(self, token_id: bytes, request: JoinRequest) -> bool:
        """Whether this identity was admitted so before; Refused if it was under another name."""
        earlier = self._issued.get(token_id, {}).get(request.identity)
        if earlier is not None and read(earlier).name != request.name:
            raise Refused(Reason.BAD_REQUEST)
        return earlier is not None

    def _issue(self, token_id: bytes, request: JoinRequest, roles: tuple[str, ...], wall: float, in_use: InUse) -> None:
        if self._taken(request, wall) or in_use(request.name, request.identity):
            raise Refused(Reason.NAME_IN_USE)
        own = self._membership()
        self._serial = max(self._serial, self._known_serial()) + 1
        self._issued.setdefault(token_id, {})[request.identity] = issue(
            own.identity, mesh=own.mesh, identity=request.identity, name=request.name, roles=roles, serial=self._serial
        )
        self._reserved[request.name] = (request.identity, wall + RESERVED_S)

    def _chain(self, token_id: bytes, identity: bytes) -> tuple[bytes, ...]:
        return (self._issued[token_id][identity], *self._membership().chain)

    def _rows(self, token_id: bytes, identity: bytes) -> Writes:
        """What one admission writes. Also for a retry: the first attempt's commit may have failed."""
        return [
            Row(SPACE, _SERIAL_KEY, self._serial.to_bytes(8, "big")),
            Row(SPACE, token_id + identity, self._issued[token_id][identity]),
        ]

    def _make_room(self) -> Writes:
        """Forget the earliest joiner by password when there are too many."""
        held = self._issued[_BY_PASSWORD]
        if len(held) <= MAX_BY_PASSWORD:
            return []
        earliest = min(held, key=lambda identity: read(held[identity]).serial)
        del held[earliest]
        return [Row(SPACE, _BY_PASSWORD + earliest, None)]

    def _taken(self, request: JoinRequest, wall: float) -> bool:
        """Whether the name was issued so recently to another that the mesh may not show it yet."""
        self._reserved = {name: held for name, held in self._reserved.items() if held[1] > wall}
        held = self._reserved.get(request.name)
        return request.name == self._membership().name or (held is not None and held[0] != request.identity)

    def _check_order(self, uses: int, ttl_s: int, roles: Sequence[str]) -> None:
        own = self._membership()
        why = why_not_issue(own)
        if why is not None:
            raise MeshnetError(
                "this host may not create tokens",
                why,
                "create the token on the host that launched the mesh",
                ExitCode.PERMISSION,
            )
        if not (1 <= uses <= MAX_USES and 1 <= ttl_s <= MAX_TTL_S):
            raise MeshnetError(
                "the token's bounds are wrong",
                f"uses must be 1 to {MAX_USES}, the life time 1 second to {MAX_TTL_S // 86400} days",
                "choose other values of --uses and --ttl",
                ExitCode.USAGE,
            )
        lacking = [role for role in roles if role not in own.roles]
        if lacking:
            raise MeshnetError(
                f"cannot give the role {lacking[0][:32]!r}",
                f"roles are {' and '.join(ROLES)}, and only who holds one can give it",
                "leave the role out, or create the token on a host that has it",
                ExitCode.USAGE,
            )

    def _prune(self, wall: float) -> Writes:
        """Forget tokens that can answer nobody any more."""
        spent = [key for key, entry in self._entries.items() if wall >= entry.token.expires + RETRY_S]
        return [row for token_id in spent for row in self._forget(token_id)]

    def _forget(self, token_id: bytes) -> Writes:
        del self._entries[token_id]
        issued = self._issued.pop(token_id, {})
        return [Row(SPACE, token_id, None), *(Row(SPACE, token_id + identity, None) for identity in sorted(issued))]


def why_not_issue(membership: Membership) -> str | None:
    """Why the owner of this membership can admit nobody, or None when it can."""
    if "invite" not in membership.roles:
        return "its certificate lacks the role `invite`"
    if len(membership.chain) >= CHAIN_MAX:
        return f"its own certificate is {CHAIN_MAX} steps from the founder's, and no chain is longer"
    return None
