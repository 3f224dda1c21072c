"""The pool of network numbers: who gives them out, which name each was given for.

Purpose: one number and one founder for each name, however many peers claim it at once, across cuts and crashes.
Rule: the numbers are a ring like any pool, founded by the mesh's founder. A number is given away alone, by a grant that
carries the network's name; the name is in force while the newest deed of that number carries it. Who gives a name up,
or removes the network, deeds the number on without the name; such a number is spent, so that nothing said of it can
come back to life, until an edition of the register, which all members acknowledged, leaves its past out. The registrar
is the one peer that owns every number that is free: an heir who has not heard all grants of the registrar before it
sees two owners there, and gives nothing yet.
Flow: `gossip.networks.networks` adds the deeds of network 0 -> `registrar`, `claims`, `holder`;
`gossip.networks.claims` acts on them.
Reference: design §6; docs/adr/0009-registers.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2s

from gossip.ipam.ranges import Pool
from gossip.ipam.ring import Deed, Fenced, Ring, Tile, never
from gossip.state.address_bodies import DEFAULT_NETWORK

NUMBERS = Pool(0, 2**32, 0)
_FIRST = DEFAULT_NETWORK + 1


@dataclass(frozen=True, slots=True)
class Named:
    """A number whose name is in force: the name, its tile, and every peer that held it under that name."""

    number: int
    name: str
    tile: Tile
    holders: list[bytes]


@dataclass(slots=True)
class Names:
    """What a ring of numbers says: names in force, numbers spent, and who owns those that were never given."""

    named: dict[int, Named] = field(default_factory=dict)
    spent: dict[int, Tile] = field(default_factory=dict)
    owners: dict[bytes, None] = field(default_factory=dict)

    @property
    def registrar(self) -> bytes | None:
        """Who gives numbers out; None when that is not known."""
        return next(iter(self.owners)) if len(self.owners) == 1 else None


def names_of(ring: Ring, past: Mapping[int, Sequence[bytes]]) -> Names:
    """What the ring says. `past`: of each number that its register knows as given, who held it, the newest first."""
    names = Names()
    for tile in ring.tiles():
        chain = ring.chain(tile)
        name = tile.deed.grant.name
        before = past.get(tile.start, ())
        if name:
            newer = [deed for deed in chain if deed.grant.previous or not before]
            holders = [deed.grant.to for deed in newer if deed.grant.name == name]
            known = chain[-1].grant.name == name
            names.named[tile.start] = Named(tile.start, name, tile, [*holders, *(before if known else ())])
        elif before or any(deed.grant.name for deed in chain):
            names.spent[tile.start] = tile
        else:
            names.owners[tile.owner] = None
    return names


class NumberPool:
    """The ring of numbers, and what it says of names."""

    def __init__(self, fenced: Fenced = never) -> None:
        self.ring: Ring | None = None
        self._fenced = fenced
        self._deeds: dict[bytes, Deed] = {}
        self._roots: list[Deed] = []
        self._names: Names | None = None
        self.past: dict[int, list[bytes]] = {}
        """Of each number that the register knows as given for a name: who held it, the newest first."""

    def found(self, founder: bytes) -> None:
        """The mesh's founder is known."""
        if self.ring is None or founder < self.ring.founder:
            version = 0 if self.ring is None else self.ring.version
            self.ring = Ring([NUMBERS], founder, self._fenced, version)
            for deed in self._deeds.values():
                self.ring.add(deed)
            self.ring.rest_on(self._roots)
        self._names = None

    def add(self, deed: Deed) -> None:
        """A grant of network 0 was heard."""
        self._deeds[deed.id] = deed
        if self.ring is not None:
            self.ring.add(deed)
        self._names = None

    def drop(self, deed_id: bytes) -> None:
        """A grant was withdrawn, or is not heeded now."""
        self._deeds.pop(deed_id, None)
        if self.ring is not None:
            self.ring.drop(deed_id)
        self._names = None

    def rest_on(self, roots: Sequence[Deed], past: Mapping[int, Sequence[bytes]]) -> None:
        """Begin with a register's rows; with none: with the founding grant."""
        self._roots, self.past = list(roots), {number: list(held) for number, held in past.items()}
        if self.ring is not None:
            self.ring.rest_on(roots)
        self._names = None

    def touch(self) -> None:
        """Who is fenced changed."""
        if self.ring is not None:
            self.ring.touch()
        self._names = None

    def claims(self) -> dict[int, Named]:
        """Every number whose name is in force."""
        return self._said().named

    def spent(self) -> dict[int, Tile]:
        """Every number that was given for a name and is not free yet."""
        return self._said().spent

    def registrar(self) -> bytes | None:
        """Who gives numbers out; None when that is not known."""
        return self._said().registrar

    def holder(self, name: str) -> Named | None:
        """The number in force for a name."""
        return next((claim for _, claim in sorted(self.claims().items()) if claim.name == name), None)

    def owner(self, number: int) -> bytes | None:
        """Who owns a number."""
        return None if self.ring is None else self.ring.owner(number)

    def free_from(self, wanted: int) -> Tile | None:
        """The tile of the first number from `wanted` on that is free, cut to that number."""
        said = self._said()
        number = wanted
        while number in said.named or number in said.spent:
            number = number + 1 if number + 1 < NUMBERS.end else _FIRST
            if number == wanted:
                return None
        tile = None if self.ring is None else self.ring.tile(number)
        return None if tile is None else Tile(number, number + 1, tile.owner, tile.deed)

    def _said(self) -> Names:
        if self._names is None:
            self._names = Names() if self.ring is None else names_of(self.ring, self.past)
        return self._names


def number_of(mesh: bytes, name: str) -> int:
    """The number a network of that name gets unless it is given already: 32 bits of a hash, neither 0 nor 1."""
    digest = blake2s(name.encode(), key=mesh, digest_size=4, person=b"mnnumber").digest()
    return max(int.from_bytes(digest, "big"), _FIRST)
