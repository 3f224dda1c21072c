"""The pool of network numbers: who gives them out, which name each was given for.

Purpose: one number and one founder for each name, however many peers claim it at once, across cuts and crashes.
Rule: the numbers are a ring like any pool, founded by the mesh's founder. A number is given away alone, by a grant that
carries the network's name; the name is in force while the newest deed of that number carries it. Who gives a name up,
or removes the network, deeds the number to itself without the name; such a number is spent and never given again, so
that nothing said of it can come back to life. The registrar is the one peer that owns every number never given for a
name: an heir who has not heard all grants of the registrar before it sees two owners there, and gives nothing yet.
Flow: `gossip.networks` adds the deeds of network 0 -> `registrar`, `claims`, `holder`; `gossip.claims` acts on them.
Reference: design §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2s

from gossip.bodies import DEFAULT_NETWORK
from gossip.ipam.ranges import Pool
from gossip.ipam.ring import Deed, Ring, Tile

NUMBERS = Pool(0, 2**32, 0)
_FIRST = DEFAULT_NETWORK + 1


@dataclass(frozen=True, slots=True)
class Named:
    """A number whose name is in force: the name, its tile, and every peer that held it under that name."""

    number: int
    name: str
    tile: Tile
    holders: list[bytes]


class NumberPool:
    """The ring of numbers, and what it says of names."""

    def __init__(self) -> None:
        self.ring: Ring | None = None
        self._deeds: dict[bytes, Deed] = {}
        self._named: dict[int, Named] | None = None
        self._spent: dict[int, None] = {}
        self._owners: dict[bytes, None] = {}

    def found(self, founder: bytes) -> None:
        """The mesh's founder is known."""
        if self.ring is None or founder < self.ring.founder:
            self.ring = Ring([NUMBERS], founder)
            for deed in self._deeds.values():
                self.ring.add(deed)
        self._named = None

    def add(self, deed: Deed) -> None:
        """A grant of network 0 was heard."""
        self._deeds[deed.id] = deed
        if self.ring is not None:
            self.ring.add(deed)
        self._named = None

    def claims(self) -> dict[int, Named]:
        """Every number whose name is in force."""
        if self._named is None:
            self._named, self._spent, self._owners = {}, {}, {}
            for tile in [] if self.ring is None else self.ring.tiles():
                self._sort(tile)
        return self._named

    def registrar(self) -> bytes | None:
        """Who gives numbers out; None when that is not known."""
        self.claims()
        return next(iter(self._owners)) if len(self._owners) == 1 else None

    def holder(self, name: str) -> Named | None:
        """The number in force for a name."""
        return next((claim for _, claim in sorted(self.claims().items()) if claim.name == name), None)

    def owner(self, number: int) -> bytes | None:
        """Who owns a number."""
        return None if self.ring is None else self.ring.owner(number)

    def free_from(self, wanted: int) -> Tile | None:
        """The tile of the first number from `wanted` on that was never given for a name, cut to that number."""
        named = self.claims()
        number = wanted
        while number in named or number in self._spent:
            number = number + 1 if number + 1 < NUMBERS.end else _FIRST
            if number == wanted:
                return None
        tile = None if self.ring is None else self.ring.tile(number)
        return None if tile is None else Tile(number, number + 1, tile.owner, tile.deed)

    def _sort(self, tile: Tile) -> None:
        assert self.ring is not None and self._named is not None
        chain = self.ring.chain(tile)
        name = tile.deed.grant.name
        if name:
            holders = [deed.grant.to for deed in chain if deed.grant.name == name]
            self._named[tile.start] = Named(tile.start, name, tile, holders)
        elif any(deed.grant.name for deed in chain):
            self._spent[tile.start] = None
        else:
            self._owners[tile.owner] = None


def number_of(mesh: bytes, name: str) -> int:
    """The number a network of that name gets unless it is given already: 32 bits of a hash, neither 0 nor 1."""
    digest = blake2s(name.encode(), key=mesh, digest_size=4, person=b"mnnumber").digest()
    return max(int.from_bytes(digest, "big"), _FIRST)
