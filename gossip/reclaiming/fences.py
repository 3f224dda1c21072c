"""Fences: whose ranges were taken over, by which run, and which runs came to nothing for good.

Purpose: the meaning of fence statements, the same at every peer that heard the same ones.
Rule: a fence counts if its author's certificate has the role admin, whether or not it was revoked since: custody
outlives revocation. A run of an admin speaks of each peer it names by a nonce of its own (`run_for`). A fence on peer P
with the nonce of run R says that R took over what P owned; a fence on an asker A itself, by somebody else, with a nonce
of A's run says that this run is void: A died before anybody heard how it ended. So how a run ended for a peer is told
by statements that stay for ever, and never by something that is not there. A fence tells how many grants in the peer's
stead belong to it, for statements come in any order: only who has heard them all knows whose is what now.
Flow: `apply(change)` -> `fenced` (gossip.ipam.ring), `concluded` (gossip.reclaiming.consents), `fenced_out` (who must
agree).
Reference: design §6 (reclaim); docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2s

from gossip import limits
from gossip.state.address_bodies import FENCE, GRANT, FenceBody, Grant
from gossip.state.bodies import decode_body
from gossip.state.view import Change


def run_for(run: bytes, peer: bytes) -> bytes:
    """What fences and grants of a run carry for one of the peers it names, 8 bytes."""
    return blake2s(run + peer, digest_size=limits.NONCE_B, person=b"mnrun").digest()


class Fences:
    """Every fence heard. `admits`: whether a certificate has the role admin; `incarnation`: a peer's newest known."""

    def __init__(self, admits: Callable[[bytes], bool], incarnation: Callable[[bytes], int]) -> None:
        self._admits = admits
        self._incarnation = incarnation
        self._on: dict[bytes, dict[tuple[bytes, bytes], FenceBody]] = {}  # by peer: author and run
        self._by: dict[bytes, dict[bytes, FenceBody]] = {}  # by author: key
        self._stead: dict[tuple[bytes, bytes], dict[bytes, None]] = {}  # by author and run: ids of grants ever heard

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        kind, key = change.slot
        if kind == GRANT and change.new is not None and change.new.body is not None:
            grant = decode_body(GRANT, change.new.body)
            if isinstance(grant, Grant) and grant.run:
                self._stead.setdefault((change.owner, grant.run), {})[key] = None
        if kind != FENCE:
            return
        old = self._by.get(change.owner, {}).pop(key, None)
        if old is not None:
            self._on[old.peer].pop((change.owner, old.run), None)
        body = None if change.new is None or change.new.body is None else decode_body(FENCE, change.new.body)
        if isinstance(body, FenceBody):
            self._by.setdefault(change.owner, {})[key] = body
            self._on.setdefault(body.peer, {})[change.owner, body.run] = body

    def fenced(self, donor: bytes, owner: bytes, run: bytes) -> bool:
        """Whether `donor` took over, by that nonce, what `owner` owned."""
        return self._said(donor, owner, run) and not self._void(donor, run)

    def concluded(self, asker: bytes, peer: bytes, run: bytes) -> bool:
        """Whether it is known how the asker's run ended for that peer: it took over, and all of it is heard; or never.

        Never: the run is void.
        """
        nonce = run_for(run, peer)
        return (self._said(asker, peer, nonce) and self._complete(asker, peer, nonce)) or self._void(asker, nonce)

    def halves(self, peer: bytes) -> list[bytes]:
        """By whom something was taken over from the peer of which not all is heard yet, sorted."""
        fences = self._on.get(peer, {})
        found = [who for who, run in fences if self.fenced(who, peer, run) and not self._complete(who, peer, run)]
        return sorted(dict.fromkeys(found))

    def taken(self, asker: bytes, peer: bytes, run: bytes) -> bool:
        """Whether the asker's run took over what the peer owned."""
        return self.fenced(asker, peer, run_for(run, peer))

    def level(self, peer: bytes) -> int:
        """The greatest incarnation of the peer that a fence is on; -1 when there is none."""
        fences = self._on.get(peer, {})
        levels = [body.incarnation for (author, run), body in fences.items() if self.fenced(author, peer, run)]
        return max(levels, default=-1)

    def outlived(self, author: bytes, peer: bytes) -> int:
        """The greatest incarnation of the peer that the author took over from with everybody's consent; or -1."""
        fences = self._on.get(peer, {})
        levels = [
            body.incarnation
            for (who, run), body in fences.items()
            if who == author and not body.forced and self.fenced(who, peer, run)
        ]
        return max(levels, default=-1)

    def fenced_out(self, peer: bytes) -> bool:
        """Whether nothing newer is known of the peer than what a fence is on: it did not come back yet."""
        return peer in self._on and self.level(peer) >= self._incarnation(peer)

    def by(self, author: bytes) -> list[bytes]:
        """The keys of the author's fences, in order."""
        return sorted(self._by.get(author, {}))

    def author(self, peer: bytes) -> bytes | None:
        """Who took over from the peer last, as far as that is known."""
        found = [(body.incarnation, who) for (who, run), body in self._on.get(peer, {}).items() if self._admits(who)]
        return max(found)[1] if found else None

    def _said(self, author: bytes, peer: bytes, nonce: bytes) -> bool:
        return (author, nonce) in self._on.get(peer, {}) and self._admits(author)

    def _complete(self, author: bytes, peer: bytes, nonce: bytes) -> bool:
        heard = len(self._stead.get((author, nonce), {}))
        return heard >= self._on[peer][author, nonce].grants

    def _void(self, asker: bytes, nonce: bytes) -> bool:
        fences = self._on.get(asker, {})
        return any(run == nonce and who != asker and self._admits(who) for who, run in fences)
