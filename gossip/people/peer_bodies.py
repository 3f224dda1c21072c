"""What every peer says of itself, read from its statement whenever somebody asks.

Purpose: the names, addresses and certificates of a thousand peers are not held twice.
Rule: what it says is what the view holds now; who is in it, and in which incarnation, what was heard of.
Flow: `gossip.people.roster` -> `bodies[peer]` -> the peer statement of `gossip.state.view`, decoded.
Reference: design §5 (memory of an idle peer).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from itertools import compress

from gossip.state.bodies import PEER, PeerBody, decode_body
from gossip.state.view import View


class PeerBodies(Mapping[bytes, PeerBody]):
    """PeerBody by identity."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._identities = view.owners.identities
        self._count = 0
        self._heard = bytearray()  # by number: 1 for who was heard of
        self._incarnations = array("Q")

    def __getitem__(self, peer: bytes) -> PeerBody:
        if peer not in self:
            raise KeyError(peer)
        statement = self._view.peer(peer)
        assert statement is not None and statement.body is not None, "a peer statement is never withdrawn"
        body = decode_body(PEER, statement.body)
        assert isinstance(body, PeerBody)
        return body

    def __contains__(self, peer: object) -> bool:
        return isinstance(peer, bytes) and self._number(peer) is not None

    def __iter__(self) -> Iterator[bytes]:
        return compress(self._identities.all(), self._heard)

    def __len__(self) -> int:
        return self._count

    def heard(self, peer: bytes, incarnation: int) -> None:
        """The view took the peer's statement in."""
        number = self._identities.find(peer)
        assert number is not None, "whose statement is held has a number"
        room = bytes(max(0, number + 1 - len(self._heard)))
        self._heard += room
        self._incarnations.extend(room)
        self._count += not self._heard[number]
        self._heard[number] = 1
        self._incarnations[number] = incarnation

    def incarnation(self, peer: bytes) -> int:
        """The incarnation of the peer's statement; 0 when the peer is unknown."""
        number = self._number(peer)
        return 0 if number is None else self._incarnations[number]

    def _number(self, peer: bytes) -> int | None:
        number = self._identities.find(peer)
        return number if number is not None and number < len(self._heard) and self._heard[number] else None
