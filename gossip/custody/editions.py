"""The editions of registers: what admins propose, what they say is settled, and who acknowledged what.

Purpose: from register, settled and acknowledgement statements to the edition that a network's custody begins with.
Rule: an edition is whole when all its chunks are held; its digest is over their bodies in order. It is the base when it
is whole, covers the network's pools, and its author, who must have been certified as an admin, says that it is settled
with that very digest; of several the greatest number, then the smallest author. Words of others are kept and count for
nothing. Nothing is dropped here: how much there can be is bounded by what each owner may say.
Flow: `apply(change)` -> which network to look at -> `base` (gossip.custody.custody), `pending`
(gossip.custody.register).
Reference: docs/adr/0009-registers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import TypeVar

import msgspec

from gossip import limits
from gossip.ipam.ring import Deed
from gossip.state.address_bodies import (
    ACK,
    NUMBER_POOL,
    REGISTER,
    SETTLED,
    AckBody,
    Grant,
    RegisterBody,
    Row,
    SettledBody,
)
from gossip.state.bodies import decode_body, encode_body
from gossip.state.statements import Statement
from gossip.state.view import Change

_T = TypeVar("_T")
Rank = tuple[int, bytes]
"""(minus the number, author): the smallest comes first."""
_ROOM_B = limits.MAX_CHUNK_B - 32


@dataclass(frozen=True, slots=True)
class Edition:
    """A whole edition of a network's register."""

    network: int
    number: int
    author: bytes
    digest: bytes
    rows: tuple[Row, ...]

    @property
    def rank(self) -> Rank:
        """Smaller means that it goes before the other."""
        return -self.number, self.author

    def roots(self) -> list[Deed]:
        """Its rows as the deeds that a ring begins with, in address order."""
        roots = [Deed(row.deed, self.author, self._grant(row)) for row in self.rows]
        return sorted(roots, key=lambda root: root.grant.start)

    def past(self) -> dict[int, list[bytes]]:
        """Of each number given for a name: who held it, the newest first."""
        if self.network != NUMBER_POOL:
            return {}
        return {int.from_bytes(row.start, "big"): row.holders for row in self.rows if row.holders}

    def _grant(self, row: Row) -> Grant:
        start, end = int.from_bytes(row.start, "big"), int.from_bytes(row.end, "big")
        return Grant(self.network, start, end, row.owner, row.version, b"", row.name)


@dataclass(frozen=True, slots=True)
class _Chunk:
    body: bytes
    of: int


class Editions:
    """Every edition heard of, whole or not, by network, author and number."""

    def __init__(self) -> None:
        self._chunks: dict[int, dict[tuple[bytes, int], dict[int, _Chunk]]] = {}
        self._settled: dict[int, dict[bytes, SettledBody]] = {}
        self._acks: dict[int, dict[bytes, AckBody]] = {}

    def apply(self, change: Change) -> int | None:
        """Follow one change of the view; returns the network whose base may be another now."""
        kind, key = change.slot
        if kind not in (REGISTER, SETTLED, ACK):
            return None
        network = int.from_bytes(key[:4], "big")
        if kind == REGISTER:
            number, chunk = int.from_bytes(key[4:8], "big"), int.from_bytes(key[8:], "big")
            self._apply_chunk(network, (change.owner, number), chunk, change.new)
            return network
        data = None if change.new is None else change.new.body
        body = None if data is None else decode_body(kind, data)
        if kind == SETTLED:
            _keep(self._settled.setdefault(network, {}), change.owner, body, SettledBody)
            return network
        _keep(self._acks.setdefault(network, {}), change.owner, body, AckBody)
        return None

    def networks(self, author: bytes) -> list[int]:
        """The networks that the author said something of a register of."""
        chunks = [network for network, held in self._chunks.items() if any(who == author for who, _ in held)]
        return sorted({*chunks, *(network for network, said in self._settled.items() if author in said)})

    def edition(self, network: int, author: bytes, number: int) -> Edition | None:
        """The edition; None while it is not whole."""
        chunks = self._chunks.get(network, {}).get((author, number), {})
        bodies = [chunk.body for _, chunk in sorted(chunks.items())]
        if not chunks or any(chunk.of != len(chunks) for chunk in chunks.values()):
            return None
        rows: list[Row] = []
        for data in bodies:
            body = decode_body(REGISTER, data)
            assert isinstance(body, RegisterBody)
            rows += body.rows
        return Edition(network, number, author, digest_of(bodies), tuple(rows))

    def base(self, network: int, admits: Callable[[bytes], bool], fits: Callable[[Edition], bool]) -> Edition | None:
        """The edition that custody begins with."""
        said = self._settled.get(network, {})
        for author, body in sorted(said.items(), key=lambda item: (-item[1].edition, item[0])):
            edition = self.edition(network, author, body.edition) if admits(author) else None
            if edition is not None and edition.digest == body.digest and fits(edition):
                return edition
        return None

    def settled(self, network: int, author: bytes) -> SettledBody | None:
        """What the author says is settled."""
        return self._settled.get(network, {}).get(author)

    def any_settled(self, network: int) -> bool:
        """Whether anybody ever said that an edition of the network was settled."""
        return bool(self._settled.get(network))

    def ack(self, network: int, owner: bytes) -> AckBody | None:
        """What the owner acknowledges of the network."""
        return self._acks.get(network, {}).get(owner)

    def above(self, network: int, base: Edition | None, admits: Callable[[bytes], bool]) -> list[tuple[bytes, int]]:
        """(author, number) of every edition, whole or not, that would take the base's place if it were settled."""
        known = [(-number, author) for author, number in self._chunks.get(network, {})]
        known += [(-body.edition, author) for author, body in self._settled.get(network, {}).items()]
        ranks = sorted(dict.fromkeys(rank for rank in known if base is None or rank < base.rank))
        return [(author, -number) for number, author in ranks if admits(author)]

    def below(self, network: int, author: bytes, base: Edition) -> list[tuple[int, int]]:
        """(number, chunk) of every chunk of the author's that the base has made needless."""
        held = self._chunks.get(network, {})
        mine = [number for who, number in held if who == author and (-number, who) > base.rank]
        return [(number, chunk) for number in sorted(mine) for chunk in sorted(held[author, number])]

    def chunks(self, network: int, author: bytes, number: int) -> list[int]:
        """Which chunks of an edition are held."""
        return sorted(self._chunks.get(network, {}).get((author, number), {}))

    def _apply_chunk(self, network: int, place: tuple[bytes, int], chunk: int, new: Statement | None) -> None:
        held = self._chunks.setdefault(network, {})
        chunks = held.setdefault(place, {})
        chunks.pop(chunk, None)
        if new is not None and new.body is not None:
            body = decode_body(REGISTER, new.body)
            assert isinstance(body, RegisterBody)
            chunks[chunk] = _Chunk(new.body, body.chunks)
        if not chunks:
            del held[place]


def _keep(said: dict[bytes, _T], owner: bytes, body: object, kind: type[_T]) -> None:
    said.pop(owner, None)
    if isinstance(body, kind):
        said[owner] = body


def digest_of(bodies: Sequence[bytes]) -> bytes:
    """The hash, 16 bytes, of an edition's chunks."""
    state = blake2s(digest_size=16, person=b"mnregist")
    for body in bodies:
        state.update(len(body).to_bytes(2, "big") + body)
    return state.digest()


def chunks_of(network: int, number: int, rows: Sequence[Row]) -> list[bytes] | None:
    """The bodies of an edition's chunks, each as full as it may be; None when it would be too many."""
    packs: list[list[Row]] = [[]]
    size = 0
    for row in rows:
        length = len(msgspec.msgpack.encode(row))
        if packs[-1] and (size + length > _ROOM_B or len(packs[-1]) == limits.MAX_ROWS):
            packs.append([])
            size = 0
        packs[-1].append(row)
        size += length
    if len(packs) > limits.MAX_CHUNKS:
        return None
    bodies = [RegisterBody(network, number, chunk, len(packs), pack) for chunk, pack in enumerate(packs)]
    return [encode_body(REGISTER, body) for body in bodies]
