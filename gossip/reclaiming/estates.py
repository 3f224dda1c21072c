"""What a peer owns, has lent, uses and has begun, as this host's own view shows it; and who must agree to take it over.

Purpose: one digest that is equal at two peers exactly if taking over a dead peer's ranges means the same to both.
Rule: an estate is what the rings show now (each tile with the deed it is owned by), not the grants it came from: so it
also speaks of what others settled, gave on or took over. Beside it stand the loans and endpoints in these tiles, the
peer's own fences, and its runs of which nobody knows yet how they ended. The electorate is everybody who may own
something: every member known and every owner of a tile, but for who left, does not count, was fenced and did not come
back, or is to be taken over as well. It is part of the digest, because who is not known cannot be asked.
Flow: `apply(change)` -> `of`, `electorate`, `digest` -> gossip.reclaiming.consents and gossip.reclaiming.reclaim.
Reference: design §6 (reclaim).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2s

import msgspec

from gossip.ipam.ranges import parse_interface
from gossip.ipam.ring import Ring, Tile
from gossip.networks.networks import Directory
from gossip.people.roster import Roster
from gossip.reclaiming.fences import Fences
from gossip.state.address_bodies import (
    CONSENT,
    ENDPOINT,
    LOAN,
    NUMBER_POOL,
    RECLAIM,
    ConsentBody,
    EndpointBody,
    LoanBody,
    ReclaimBody,
)
from gossip.state.bodies import decode_body
from gossip.state.replica import Replica
from gossip.state.view import Change


@dataclass(frozen=True, slots=True)
class Use:
    """An address of one of the peer's endpoints in its own ranges."""

    network: int
    address: int
    number: int
    name: str


@dataclass(frozen=True, slots=True)
class Estate:
    """Tiles as (network, tile), in order; loans; addresses in use; keys of own fences; open runs as (run, peer)."""

    tiles: list[tuple[int, Tile]]
    loans: list[LoanBody]
    uses: list[Use]
    fences: list[bytes]
    runs: list[tuple[bytes, bytes]]


class Estates:
    """The estates of all peers, and the reclaims and consents that stand."""

    def __init__(self, replica: Replica, directory: Directory, roster: Roster, fences: Fences) -> None:
        self._replica = replica
        self._directory = directory
        self._roster = roster
        self._fences = fences
        self.reclaims: dict[tuple[bytes, bytes], ReclaimBody] = {}
        """Every reclaim that is said: by author and run."""
        self.consents: dict[bytes, dict[bytes, ConsentBody]] = {}
        """Every consent that is said: by the peer it is about, then by who says it."""

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        kind, key = change.slot
        data = None if change.new is None else change.new.body
        if kind == RECLAIM:
            self.reclaims.pop((change.owner, key), None)
            body = None if data is None else decode_body(RECLAIM, data)
            if isinstance(body, ReclaimBody):
                self.reclaims[change.owner, key] = body
        elif kind == CONSENT:
            about = self.consents.setdefault(key, {})
            about.pop(change.owner, None)
            answer = None if data is None else decode_body(CONSENT, data)
            if isinstance(answer, ConsentBody):
                about[change.owner] = answer
            if not about:
                del self.consents[key]

    def of(self, peer: bytes) -> Estate:
        """What is known of the peer's estate."""
        tiles = [(network, tile) for network, ring in self._rings() for tile in ring.owned(peer)]
        held = self._replica.view.owners.get(peer)
        loans: list[LoanBody] = []
        uses: list[Use] = []
        for (kind, key), statement in [] if held is None else sorted(held.held.items(), key=lambda item: item[0]):
            if kind == LOAN:
                loans += self._loans(peer, key)
            elif kind == ENDPOINT and statement.body is not None:
                body = decode_body(ENDPOINT, statement.body)
                uses += self._uses(peer, body) if isinstance(body, EndpointBody) else []
        return Estate(tiles, loans, sorted(uses, key=_place), self._fences.by(peer), self._runs(peer))

    def electorate(self, named: Sequence[bytes]) -> list[bytes]:
        """Everybody who must agree, this host included if it counts, sorted."""
        known = dict.fromkeys(self._roster.bodies)
        known.update(dict.fromkeys(tile.owner for _, ring in self._rings() for tile in ring.tiles()))
        return sorted(
            peer
            for peer in known
            if peer not in named and not self._roster.gone(peer) and not self._fences.fenced_out(peer)
        )

    def digest(self, peer: bytes, named: Sequence[bytes]) -> tuple[int, bytes]:
        """(how many tiles and loans it counts, hash) of the peer's estate and of who must agree."""
        estate = self.of(peer)
        tiles = [(network, _bytes(t.start), _bytes(t.end), t.deed.id) for network, t in estate.tiles]
        loans = [(loan.network, loan.address, loan.to, loan.number) for loan in estate.loans]
        uses = [(use.network, _bytes(use.address), use.number) for use in estate.uses]
        told = (peer, self.electorate(named), tiles, loans, uses, estate.fences, estate.runs)
        state = blake2s(msgspec.msgpack.encode(told), digest_size=16, person=b"mnestate")
        return len(tiles) + len(loans), state.digest()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _rings(self) -> list[tuple[int, Ring]]:
        numbers = self._directory.numbers.ring
        own = [] if numbers is None else [(NUMBER_POOL, numbers)]
        return own + sorted(self._directory.rings.items())

    def _loans(self, peer: bytes, key: bytes) -> list[LoanBody]:
        network, address = int.from_bytes(key[:4], "big"), int.from_bytes(key[4:], "big")
        ring = self._directory.rings.get(network)
        loan = self._directory.lent(network, address)
        return [loan] if ring is not None and loan is not None and ring.owner(address) == peer else []

    def _uses(self, peer: bytes, body: EndpointBody) -> list[Use]:
        ring = self._directory.rings.get(body.network)
        found = [(parse_interface(text)[0], number) for text, number in body.addresses]
        return [
            Use(body.network, address, number, body.name)
            for address, number in found
            if ring is not None and ring.owner(address) == peer
        ]

    def _runs(self, peer: bytes) -> list[tuple[bytes, bytes]]:
        said = [(run, named) for (author, run), body in self.reclaims.items() if author == peer for named in body.peers]
        return sorted((run, about) for run, about in said if not self._fences.concluded(peer, about, run))


def _place(use: Use) -> tuple[int, int, int]:
    return use.network, use.address, use.number


def _bytes(value: int) -> bytes:
    return value.to_bytes(17, "big")
