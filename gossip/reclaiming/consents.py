"""What this host promises when an admin wants to take over a dead peer's ranges.

Purpose: nobody begins to use what a dead peer gave away unless whoever takes over from it knows of the gift.
Rule: who hears that an admin reclaims a peer heeds from then on no grant, loan or fence of that peer but those it has
heard already; whatever else it answers, and whichever incarnation they are of. That is stored in the step that says the
consent, so that a restart heeds no more than before. The consent tells the digest of the peer's estate
(gossip.reclaiming.estates) as this host sees it with that, and is said again when it changes. The promise ends only by
a statement that says how the run ended for that peer (gossip.reclaiming.fences), or by the asker's own word that it
came to nothing; then all that was kept back is heeded as if it had just been heard. One promise per peer: while it
stands, no other run gets one; but one that takes over from the first asker as well does, for it ends that one's run.
What is heeded stays as it was then.
Flow: `keeps_back(change)` before a change is understood; `act` in every step.
Reference: design §6 (reclaim); docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2s

import msgspec

from gossip import limits
from gossip.events import SPACE_OWN, Output, Put
from gossip.people.authority import ADMIN, Authority
from gossip.people.roster import Roster
from gossip.people.sightings import Sightings
from gossip.reclaiming.estates import Estates
from gossip.reclaiming.fences import Fences, run_for
from gossip.state.address_bodies import (
    AGREED,
    ALIVE,
    CONSENT,
    ENDPOINT,
    ENGAGED,
    FENCE,
    GRANT,
    LOAN,
    NETWORK,
    RECLAIM,
    SETTLED,
    ConsentBody,
    FenceBody,
    ReclaimBody,
)
from gossip.state.bodies import AUTHORITY, LEFT, PEER, decode_body, encode_body
from gossip.state.replica import Replica
from gossip.state.statements import Slot
from gossip.state.view import Change

FROZEN_KINDS = (FENCE, GRANT, LOAN)
"""What of a peer's word is heeded no further: all by which it gives something away."""
_MATTERS = (*FROZEN_KINDS, NETWORK, SETTLED, ENDPOINT, RECLAIM, CONSENT, PEER, LEFT, *AUTHORITY)
_ROW = b"consent:"


class _PromiseRow(msgspec.Struct, frozen=True, array_like=True):
    runs: list[tuple[bytes, bytes]]
    heard: list[bytes]


@dataclass(frozen=True, slots=True)
class Promise:
    """To the runs of admins: of the peer's word only these are heeded (hashes of slot and body).

    `runs`: asker and run of each, the one that is answered last.
    """

    runs: list[tuple[bytes, bytes]]
    heard: dict[bytes, None]


class Consents:
    """The promises of this host, one per peer."""

    def __init__(
        self,
        replica: Replica,
        roster: Roster,
        authority: Authority,
        fences: Fences,
        estates: Estates,
        sightings: Sightings,
    ) -> None:
        self._replica = replica
        self._roster = roster
        self._authority = authority
        self._fences = fences
        self._estates = estates
        self._sightings = sightings
        self._identity = replica.identity
        self._promises: dict[bytes, Promise] = {}
        self._stirred = True
        self._said_at = float("-inf")
        self.reclaiming: Callable[[bytes], bool] = lambda _: False
        """Whether this host reclaims that peer itself."""

    def load(self, rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Take the stored promises in; before any statement is understood. A damaged one is counted and skipped."""
        for space, key, value in rows:
            if space != SPACE_OWN or not key.startswith(_ROW):
                continue
            try:
                row = msgspec.msgpack.decode(value, type=_PromiseRow)
            except msgspec.MsgspecError:
                self._replica.gate.count("stored_row_damaged")
                continue
            self._promises[key[len(_ROW) :]] = Promise(row.runs, dict.fromkeys(row.heard))

    def keeps_back(self, change: Change) -> bool:
        """Whether the change is not to be understood now, because of a promise."""
        if change.slot[0] not in FROZEN_KINDS:
            return False
        promise = self._promises.get(change.owner)
        if promise is None or change.new is None or change.new.body is None:
            return False
        if change.slot[0] == FENCE and _ends(promise, change.owner, change.new.body):
            return False
        return _mark(change.slot, change.new.body) not in promise.heard

    def apply(self, change: Change) -> None:
        """Follow one change of the view that is understood."""
        self._stirred = self._stirred or change.slot[0] in _MATTERS

    def engaged(self, peer: bytes) -> Promise | None:
        """The promise about that peer that stands."""
        return self._promises.get(peer)

    def promises(self) -> list[tuple[bytes, Promise]]:
        """Every promise that stands, by peer."""
        return sorted(self._promises.items(), key=lambda item: item[0])

    def act(self, out: Output, now: float) -> bool:
        """End promises, give new ones, say what changed; whether anything was said or is heeded anew."""
        if self._sightings.stirred:
            self._sightings.stirred, self._stirred = False, True
        if not self._stirred:
            return False
        before, changes = self._replica.seq, len(self._replica.changes)
        for peer, promise in self.promises():
            runs = [each for each in promise.runs if not self._over(peer, *each)]
            if not runs:
                self._release(out, peer, promise)
            elif runs != promise.runs:
                self._keep(out, peer, Promise(runs, promise.heard))
        self._review_own(out)
        if len(self._replica.changes) != changes:
            return True  # what was kept back is to be understood before anything is promised anew
        fresh = self._promise(out)
        if fresh or now >= self._said_at + limits.CONSENT_PACE_S:
            self._stirred = not self._answer(out, now)
        return self._replica.seq != before

    def next_time(self) -> float | None:
        """When a changed answer may be said."""
        return self._said_at + limits.CONSENT_PACE_S if self._stirred and self._promises else None

    # --- inside ---------------------------------------------------------------------------------------------------

    def _over(self, peer: bytes, asker: bytes, run: bytes) -> bool:
        """Whether the run ended for that peer; a reclaim that was heard and is not said any more was withdrawn."""
        said = (asker, run) in self._estates.reclaims
        return not said or self._fences.concluded(asker, peer, run)

    def _release(self, out: Output, peer: bytes, promise: Promise) -> None:
        del self._promises[peer]
        out.persist.append(Put(SPACE_OWN, _ROW + peer, None))
        self._withdraw(out, peer)
        for slot, body in self._word(peer):
            if _mark(slot, body) not in promise.heard:
                self._replica.changes.append(Change(peer, slot, None, self._replica.view.get(peer, slot)))

    def _withdraw(self, out: Output, peer: bytes) -> None:
        said = self._replica.view.get(self._identity, (CONSENT, peer))
        if said is not None and said.body is not None:
            self._replica.publish(out, (CONSENT, peer), None)

    def _review_own(self, out: Output) -> None:
        """Consents that stand without a promise: of a run that is over, or of a state that was rolled back."""
        for peer, answers in sorted(self._estates.consents.items()):
            said = answers.get(self._identity)
            if said is None or peer in self._promises:
                continue
            if self._over(peer, said.of, said.run):
                self._withdraw(out, peer)
            elif said.verdict != ENGAGED:
                self._engage(out, peer, said.of, said.run)

    def _engage(self, out: Output, peer: bytes, asker: bytes, run: bytes) -> None:
        held = self._promises.get(peer)
        heard = dict.fromkeys(_mark(slot, data) for slot, data in self._word(peer)) if held is None else held.heard
        self._keep(out, peer, Promise([*([] if held is None else held.runs), (asker, run)], heard))

    def _keep(self, out: Output, peer: bytes, promise: Promise) -> None:
        self._promises[peer] = promise
        row = msgspec.msgpack.encode(_PromiseRow(promise.runs, list(promise.heard)))
        out.persist.append(Put(SPACE_OWN, _ROW + peer, row))

    def _standing(self) -> list[tuple[bytes, ReclaimBody]]:
        """The reclaims this host has to answer, as (asker, body)."""
        return [
            (asker, body)
            for (asker, _), body in sorted(self._estates.reclaims.items())
            if asker != self._identity
            and self._identity not in body.peers
            and ADMIN in self._authority.roles(asker)
            and not all(self._fences.concluded(asker, peer, body.run) for peer in body.peers)
        ]

    def _promise(self, out: Output) -> bool:
        fresh = False
        for asker, body in self._standing():
            for peer in body.peers:
                concluded = self._fences.concluded(asker, peer, body.run)
                if concluded or peer == asker or self.reclaiming(peer):
                    continue
                held = self._promises.get(peer)
                named = held is None or all(each in body.peers for each, _ in held.runs)
                if not named or (held is not None and (asker, body.run) in held.runs):
                    continue
                self._engage(out, peer, asker, body.run)
                fresh = True
        return fresh

    def _answer(self, out: Output, now: float) -> bool:
        """Answer all that stand; False when this host may not answer now."""
        self._said_at = now
        if self._replica.doubt.alive or self._replica.clones.alive(now):
            return False  # it may not know what it promised or was given: it agrees to nothing
        for asker, body in self._standing():
            for peer in body.peers:
                self._answer_one(out, asker, body, peer, now)
        return True

    def _answer_one(self, out: Output, asker: bytes, body: ReclaimBody, peer: bytes, now: float) -> None:
        promise = self._promises.get(peer)
        mine = promise is not None and promise.runs[-1] == (asker, body.run)
        if not mine and (promise is not None or not self.reclaiming(peer)):
            return  # the one answer there may be about the peer is to another run
        verdict = AGREED if mine else ENGAGED
        if mine and not self._roster.gone(peer) and self._sightings.lately(peer, now):
            verdict = ALIVE
        count, digest = self._estates.digest(peer, body.peers)
        known = max(self._roster.bodies.incarnation(peer), self._fences.level(peer), 0)
        answer = ConsentBody(asker, body.run, peer, known, verdict, count, digest)
        self._replica.publish(out, (CONSENT, peer), encode_body(CONSENT, answer))

    def _word(self, peer: bytes) -> list[tuple[Slot, bytes]]:
        """What the peer says that it could be held to, in order."""
        entry = self._replica.view.owners.get(peer)
        found = [] if entry is None else sorted(entry.held.items(), key=lambda item: item[0])
        return [(slot, s.body) for slot, s in found if slot[0] in FROZEN_KINDS and s.body is not None]


def _ends(promise: Promise, peer: bytes, data: bytes) -> bool:
    """Whether the peer took over from the asker itself, and says that the very run is void."""
    body = decode_body(FENCE, data)
    return isinstance(body, FenceBody) and any(
        body.peer == asker and body.run == run_for(run, peer) for asker, run in promise.runs
    )


def _mark(slot: Slot, body: bytes) -> bytes:
    kind = slot[0].encode()
    return blake2s(bytes((len(kind), len(slot[1]))) + kind + slot[1] + body, digest_size=16).digest()
