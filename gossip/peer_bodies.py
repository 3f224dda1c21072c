"""What every peer says of itself, read from its statement whenever somebody asks.

Purpose: the names, addresses and certificates of a thousand peers are not held twice.
Rule: what it says is what the view holds now; who is in it, and in which incarnation, what was heard of.
Flow: `gossip.roster` -> `bodies[peer]` -> the peer statement of `gossip.view`, decoded.
Reference: design §5 (memory of an idle peer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gossip.bodies import PEER, PeerBody, decode_body
from gossip.view import View


class PeerBodies(Mapping[bytes, PeerBody]):
    """PeerBody by identity."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[bytes, int] = {}

    def __getitem__(self, peer: bytes) -> PeerBody:
        if peer not in self._known:
            raise KeyError(peer)
        statement = self._view.peer(peer)
        assert statement is not None and statement.body is not None, "a peer statement is never withdrawn"
        body = decode_body(PEER, statement.body)
        assert isinstance(body, PeerBody)
        return body

    def __contains__(self, peer: object) -> bool:
        return peer in self._known

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def heard(self, peer: bytes, incarnation: int) -> None:
        """The view took the peer's statement in."""
        self._known[peer] = incarnation

    def incarnation(self, peer: bytes) -> int:
        """The incarnation of the peer's statement; 0 when the peer is unknown."""
        return self._known.get(peer, 0)
