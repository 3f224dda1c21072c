"""Honest histories of one pool, with a table of addresses beside them that is too simple to be wrong.

Rule: whoever has an address may give it on; the table just writes down who has what. The ring must say the same of the
grants alone.
Flow: `History(cidr, founder)` -> `give`, `seize`, `settle` -> `deeds`, `owners`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from gossip.ipam.ranges import network_of
from gossip.ipam.ring import Deed, Ring
from gossip.state.address_bodies import GRANT, Grant, grant_id
from gossip.state.bodies import encode_body

NETWORK = 1


def deed(donor: bytes, grant: Grant) -> Deed:
    """A grant as it is signed."""
    return Deed(grant_id(donor, encode_body(GRANT, grant)), donor, grant)


class History:
    """Who gave what to whom, in order, and the table of it."""

    def __init__(self, cidr: str, founder: bytes) -> None:
        self.pool = network_of(cidr)
        self.founder = founder
        founding = deed(founder, Grant(NETWORK, self.pool.start, self.pool.end, founder, 0, b""))
        self.deeds = [founding]
        self.owners = dict.fromkeys(range(self.pool.start, self.pool.end), founder)
        self._by = dict.fromkeys(self.owners, founding)
        self.runs: dict[tuple[bytes, bytes, bytes], None] = {}
        """The reclaims that counted, as (donor, peer, run)."""

    def pieces(self) -> list[tuple[int, int, Deed]]:
        """The parts held by one deed each, as (start, end, deed), in address order."""
        found: list[tuple[int, int, Deed]] = []
        for _, group in groupby(self._by, key=lambda address: self._by[address].id):
            addresses = list(group)
            found.append((addresses[0], addresses[-1] + 1, self._by[addresses[0]]))
        return found

    def give(self, start: int, end: int, to: bytes) -> Deed:
        """Its owner gives a part of one piece."""
        return self._move(start, end, to, self.owners[start], b"")

    def seize(self, start: int, end: int, by: bytes, run: bytes) -> Deed:
        """A reclaim gives it to `by`, in its owner's stead."""
        self.runs[by, self.owners[start], run] = None
        return self._move(start, end, by, by, run)

    def settle(self, author: bytes) -> list[Deed]:
        """The register as it would be now, as the roots it makes."""
        return [
            Deed(held.id, author, Grant(NETWORK, start, end, held.grant.to, held.grant.version, b""))
            for start, end, held in self.pieces()
        ]

    def ring(self, deeds: Iterable[Deed]) -> Ring:
        """The ring of these grants, with the reclaims that counted."""
        ring = Ring([self.pool], self.founder, lambda donor, owner, run: (donor, owner, run) in self.runs)
        for each in deeds:
            ring.add(each)
        return ring

    def _move(self, start: int, end: int, to: bytes, donor: bytes, run: bytes) -> Deed:
        old = self._by[start]
        assert all(self._by[address] is old for address in range(start, end)), "a grant is of one piece"
        moved = deed(donor, Grant(NETWORK, start, end, to, old.grant.version + 1, old.id, run=run))
        self.deeds.append(moved)
        self.owners.update(dict.fromkeys(range(start, end), to))
        self._by.update(dict.fromkeys(range(start, end), moved))
        return moved


def owners_of(ring: Ring) -> dict[int, bytes]:
    """The ring's answer for every address, and that its tiles lie one after the other."""
    found: dict[int, bytes] = {}
    for tile in ring.tiles():
        assert tile.start < tile.end, "a tile is not empty"
        for address in range(tile.start, tile.end):
            assert address not in found, "two tiles hold one address"
            found[address] = tile.owner
    assert list(found) == sorted(found), "tiles are in order"
    return found
