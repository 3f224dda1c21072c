"""What the accepted certificate chains prove, packed.

Purpose: a thousand chains, checked once each, in a few bytes for each peer.
Rule: per identity a hash of the chain (16 B) and what it proves as msgpack; an issuer that several peers have stands in
a table, which holds no more than there can be owners, and is else written out. What goes in comes out as it was.
Flow: `gossip.people.authority` puts in what `admit` said, and asks.
Reference: design §5 (memory of an idle peer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2s
from typing import NamedTuple

import msgspec

from gossip import limits

_MARK_B = 16


class Admitted(NamedTuple):
    """What an accepted chain proves: the roles of its peer, and (issuer, serial) of each certificate but the founder's.

    `path` begins with the peer's own certificate; it is empty for the founder.
    """

    roles: tuple[str, ...]
    path: tuple[tuple[bytes, int], ...]


_Packed = tuple[tuple[str, ...], tuple[tuple[int | bytes, int], ...]]
_DECODER: msgspec.msgpack.Decoder[_Packed] = msgspec.msgpack.Decoder(_Packed)


def mark_of(chain: Sequence[bytes]) -> bytes:
    """The hash of a chain, 16 bytes."""
    return blake2s(b"".join(len(each).to_bytes(2, "big") + each for each in chain), digest_size=_MARK_B).digest()


class Proven(Mapping[bytes, Admitted]):
    """Admitted by identity; `known`: who is held at all, with or without a chain that holds."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}  # empty: known, and nothing is proved
        self._issuers: dict[bytes, int] = {}
        self._listed: list[bytes] = []

    def __getitem__(self, identity: bytes) -> Admitted:
        row = self._rows[identity]
        if not row:
            raise KeyError(identity)
        roles, path = _DECODER.decode(memoryview(row)[_MARK_B:])
        issuers = (self._listed[each] if isinstance(each, int) else each for each, _ in path)
        return Admitted(roles, tuple((issuer, serial) for issuer, (_, serial) in zip(issuers, path, strict=True)))

    def __contains__(self, identity: object) -> bool:
        return isinstance(identity, bytes) and bool(self._rows.get(identity))

    def __iter__(self) -> Iterator[bytes]:
        return (identity for identity, row in self._rows.items() if row)

    def __len__(self) -> int:
        return sum(map(bool, self._rows.values()))

    @property
    def known(self) -> Mapping[bytes, bytes]:
        """Everybody who was put in."""
        return self._rows

    def by_chain(self, identity: bytes, mark: bytes) -> Admitted | None:
        """What the identity's chain of that hash proves; None when that is another, or none."""
        return self[identity] if self._rows.get(identity, b"")[:_MARK_B] == mark else None

    def put(self, identity: bytes, mark: bytes, found: Admitted | None) -> None:
        """The identity is known, and that is what its chain of that hash proves (None: nothing)."""
        if found is None:
            self._rows[identity] = b""
            return
        path = tuple((self._issuer(issuer), serial) for issuer, serial in found.path)
        self._rows[identity] = mark + msgspec.msgpack.encode((found.roles, path))

    def drop(self, identity: bytes) -> None:
        """The identity is held no more."""
        self._rows.pop(identity, None)

    def _issuer(self, identity: bytes) -> int | bytes:
        number = self._issuers.get(identity)
        if number is None and len(self._listed) < limits.MAX_OWNERS:
            number = self._issuers[identity] = len(self._listed)
            self._listed.append(identity)
        return identity if number is None else number
