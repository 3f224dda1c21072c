"""The leases of this host: which of the own addresses are in use, and which comes next.

Purpose: allocation that asks nobody while the host owns free space, and that survives a crash.
Rule: one lease per (network, endpoint id), handed out round-robin, so that a freed address is not reused at once. Every
lease has a number greater than all this host has given or seen for the network; a lease on loan has the loan's. Nothing
here knows peers or statements: the ring and whose tiles count are arguments. Every change is a Put, and the rows alone
rebuild the leases; what is lent follows from the loans that were said.
Flow: `gossip.ipam.addresses` -> `space` -> `find` -> `lease` -> Output.
Reference: design §6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gossip import limits
from gossip.events import SPACE_LEASE, SPACE_OWN, Lease, Put
from gossip.ipam.ranges import Pool, show
from gossip.ipam.ring import Ring
from gossip.ipam.space import Space

_CURSOR = b"lease"
_ROWS = msgspec.msgpack.Encoder()


class _LeaseRow(msgspec.Struct, frozen=True, array_like=True):
    address: bytes
    length: int
    number: int


class _CursorRow(msgspec.Struct, frozen=True, array_like=True):
    last: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as it is kept."""

    address: int
    length: int
    number: int


@dataclass(slots=True)
class Book:
    """The leases of one network: by endpoint id, by address; what is lent; the last address and number given."""

    by_id: dict[bytes, Held] = field(default_factory=dict)
    by_address: dict[int, bytes] = field(default_factory=dict)
    lent: dict[int, None] = field(default_factory=dict)
    last: int = 0
    number: int = 0
    space: Space | None = None
    made_of: tuple[Ring, int] | None = None
    """The ring and its version that the space was made of."""

    def uses(self, address: int) -> bool:
        """Whether the address is leased or lent."""
        return address in self.by_address or address in self.lent

    def taken(self, address: int) -> None:
        """The address is about to be leased or lent."""
        if self.space is not None and not self.uses(address):
            self.space.take(address)

    def gave(self, address: int) -> None:
        """The address was leased or lent until now."""
        if self.space is not None and not self.uses(address):
            self.space.give(address)


class Allocator:
    """Every network's book."""

    def __init__(self) -> None:
        self._books: dict[int, Book] = {}

    def load(self, space: str, key: bytes, value: bytes) -> None:
        """Take one stored row of "gossip.lease" or "gossip.own" in; raises ValueError on a damaged one."""
        network = int.from_bytes(key[:4] if space == SPACE_LEASE else key[len(_CURSOR) :], "big")
        book = self.book(network)
        if space == SPACE_LEASE:
            row = msgspec.msgpack.decode(value, type=_LeaseRow)
            held = Held(int.from_bytes(row.address, "big"), row.length, row.number)
            book.by_id[key[4:]] = held
            book.by_address[held.address] = key[4:]
        else:
            cursor = msgspec.msgpack.decode(value, type=_CursorRow)
            book.last, book.number = int.from_bytes(cursor.last, "big"), cursor.number

    @staticmethod
    def owns_row(space: str, key: bytes) -> bool:
        """Whether a stored row is this class's."""
        return space == SPACE_LEASE or (space == SPACE_OWN and key[: len(_CURSOR)] == _CURSOR)

    def book(self, network: int) -> Book:
        """The network's book, made when missing."""
        book = self._books.get(network)
        if book is None:
            book = self._books[network] = Book()
        return book

    def leases(self) -> list[Lease]:
        """Every lease, by network and address."""
        return [
            _lease(network, held)
            for network, book in sorted(self._books.items())
            for held in sorted(book.by_id.values(), key=lambda held: held.address)
        ]

    def held_by(self) -> list[tuple[int, bytes, Lease]]:
        """Every lease with the endpoint it is for, by network and endpoint id."""
        return [
            (network, endpoint, _lease(network, held))
            for network, book in sorted(self._books.items())
            for endpoint, held in sorted(book.by_id.items())
        ]

    def held(self, network: int, endpoint: bytes) -> Held | None:
        """The endpoint's lease."""
        return self.book(network).by_id.get(endpoint)

    def lease(self, network: int, pool: Pool, endpoint: bytes, address: int, above: int) -> tuple[Lease, list[Put]]:
        """Lease the address, which the caller found free and owned, with a number greater than `above`."""
        book = self.book(network)
        number = min(max(book.number, above) + 1, limits.U64_MAX)
        book.last = address
        return self._keep(network, endpoint, Held(address, pool.length, number))

    def borrow(self, network: int, pool: Pool, endpoint: bytes, address: int, number: int) -> tuple[Lease, list[Put]]:
        """Lease an address that is another peer's, lent to this one with that number."""
        return self._keep(network, endpoint, Held(address, pool.length, number))

    def number(self, network: int, above: int) -> tuple[int, Put]:
        """A number for a loan: greater than `above`, and than all given here for the network before."""
        book = self.book(network)
        book.number = min(max(book.number, above) + 1, limits.U64_MAX)
        return book.number, _cursor(network, book)

    def release(self, network: int, endpoint: bytes) -> list[Put]:
        """Forget the endpoint's lease; nothing when there is none."""
        book = self.book(network)
        held = book.by_id.pop(endpoint, None)
        if held is None:
            return []
        book.by_address.pop(held.address, None)
        book.gave(held.address)
        return [Put(SPACE_LEASE, network.to_bytes(4, "big") + endpoint, None)]

    def release_all(self) -> list[Put]:
        """Forget every lease."""
        return [
            put
            for network, book in sorted(self._books.items())
            for endpoint in sorted(book.by_id)
            for put in self.release(network, endpoint)
        ]

    def lend(self, network: int, address: int) -> None:
        """The address is lent: it is in use as long as it is. The loan itself is said and stored elsewhere."""
        book = self.book(network)
        book.taken(address)
        book.lent[address] = None

    def take_back(self, network: int, address: int) -> None:
        """The address is lent no more."""
        book = self.book(network)
        if address in book.lent:
            del book.lent[address]
            book.gave(address)

    def space(self, network: int, ring: Ring, owner: bytes) -> Space:
        """The free space in the owner's tiles; kept until the ring's tiles are others."""
        book, tiles = self.book(network), ring.owned(owner)
        made_of = (ring, ring.version)
        if book.space is None or book.made_of != made_of:
            book.made_of = made_of
            book.space = Space(ring, tiles, sorted({**book.by_address, **dict.fromkeys(book.lent)}))
        return book.space

    def _keep(self, network: int, endpoint: bytes, held: Held) -> tuple[Lease, list[Put]]:
        book = self.book(network)
        puts = self.release(network, endpoint)
        book.taken(held.address)
        book.number = max(book.number, held.number)
        book.by_id[endpoint] = held
        book.by_address[held.address] = endpoint
        row = _ROWS.encode(_LeaseRow(_bytes(held.address), held.length, held.number))
        puts.append(Put(SPACE_LEASE, network.to_bytes(4, "big") + endpoint, row))
        puts.append(_cursor(network, book))
        return _lease(network, held), puts


def _cursor(network: int, book: Book) -> Put:
    row = _ROWS.encode(_CursorRow(_bytes(book.last), book.number))
    return Put(SPACE_OWN, _CURSOR + network.to_bytes(4, "big"), row)


def _lease(network: int, held: Held) -> Lease:
    return Lease(network, f"{show(held.address)}/{held.length}", held.number)


def _bytes(address: int) -> bytes:
    return address.to_bytes(16, "big")
