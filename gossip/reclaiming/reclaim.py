"""This host takes over what peers own that are dead for good.

Purpose: ranges of a host that never comes back are not lost, and are nobody else's when they are taken.
Rule: an admin says whom it reclaims; every other member that may own something must agree (gossip.reclaiming.consents),
with the very digest of the estate and of the members that this host computes itself at that moment. Then one step says
it all: the fences, a grant of each tile in the dead peer's stead, its lent addresses to those who borrow them, a loan
to the dead peer of each address its endpoints used (quarantined until released), and that its own runs are void. A run
that does not get there begins anew every RECLAIM_TRY_S, so that what was kept back by its promises can be heard, and
fails after RECLAIM_S; then its word is withdrawn, which ends the promises. The word of a run that is through stands for
good: whoever missed the fence must not take it for failed. Forced: nobody unreachable is waited for, and whoever does
not agree in time is passed over. A host that hears of a fence on itself goes on in a newer incarnation; while it has
not heard all of it, it gives up what it owns.
Flow: `plan`; `begin` -> `act` in every step -> ReclaimSettled.
Reference: design §6 (reclaim); docs/addresses.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2s

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Output, ReclaimDone, ReclaimPlan, ReclaimSettled, Trouble
from gossip.ipam.ranges import show
from gossip.people.authority import ADMIN, Authority
from gossip.people.roster import Roster
from gossip.people.sightings import Sightings
from gossip.reclaiming.consents import Consents
from gossip.reclaiming.estates import Estates
from gossip.reclaiming.fences import Fences, run_for
from gossip.reclaiming.succession import Succession
from gossip.state.address_bodies import AGREED, ALIVE, FENCE, RECLAIM, ConsentBody, FenceBody, ReclaimBody
from gossip.state.bodies import encode_body
from gossip.state.replica import Replica
from gossip.state.view import Change


@dataclass(slots=True)
class Run:
    """A reclaim under way: its nonce, whom it names, until when, and when it begins anew."""

    nonce: bytes
    peers: list[bytes]
    forced: bool
    until: float
    again_at: float


class Reclaims:
    """The reclaim of this host, one at a time."""

    def __init__(
        self,
        replica: Replica,
        roster: Roster,
        authority: Authority,
        fences: Fences,
        estates: Estates,
        consents: Consents,
        sightings: Sightings,
        succession: Succession,
    ) -> None:
        self._replica = replica
        self._roster = roster
        self._authority = authority
        self._fences = fences
        self._estates = estates
        self._consents = consents
        self._sightings = sightings
        self._succession = succession
        self._identity = replica.identity
        self._run: Run | None = None
        self._stirred, self._fenced, self._lapses = True, False, False
        consents.reclaiming = self.reclaiming

    def reclaiming(self, peer: bytes) -> bool:
        """Whether a run of this host names the peer."""
        return self._run is not None and peer in self._run.peers

    def plan(self, peers: Sequence[bytes], now: float) -> ReclaimPlan:
        """What a reclaim of these peers would do; changes nothing."""
        named = sorted(dict.fromkeys(peers))
        estates = [self._estates.of(peer) for peer in named]
        asked = self._asked(named)
        return ReclaimPlan(
            peers=named,
            ranges=sorted((number, tile.start, tile.end) for each in estates for number, tile in each.tiles),
            in_use=[(use.network, show(use.address), use.name) for each in estates for use in each.uses],
            must_consent=asked,
            unreachable=[peer for peer in asked if not self._roster.reachable(peer)],
            heard_ago={peer: self._sightings.ago(peer, now) for peer in named},
            refusal=self._objection(named, False, now),
        )

    def begin(self, out: Output, peers: Sequence[bytes], forced: bool, now: float) -> ReclaimDone | Refusal | None:
        """Reclaim, refuse, or begin to wait for the others (None)."""
        named = sorted(dict.fromkeys(peers))
        objection = self._objection(named, forced, now)
        if objection is not None:
            return objection
        run = Run(self._nonce(), named, forced, now + limits.RECLAIM_S, now + limits.RECLAIM_TRY_S)
        if not self._waited_for(run):
            return self._complete(out, run)
        self._run = run
        self._say(out, run)
        return None

    def end(self, out: Output) -> None:
        """This peer leaves."""
        if self._run is not None:
            self._fail(out, Refusal(self._what(self._run.peers), "this peer left the mesh", "join again", "invalid"))

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        if change.slot[0] == FENCE and change.slot[1][: limits.IDENTITY_B] == self._identity:
            self._replica.surpass(self._fences.level(self._identity))
            self._fenced = self._fenced or (self._replica.started and change.old is None)
        self._stirred = True

    def act(self, out: Output, now: float) -> bool:
        """Answer for old runs, see whether this one is through or failed; whether anything was said."""
        before, run = self._replica.seq, self._run
        if self._lapses:
            self._succession.lapse(out)
        self._lapses = self._fenced
        if self._fenced:
            self._fenced = False
            self._survive(out)
        if self._stirred and not self._replica.doubt.alive:
            self._answer_for_old_runs(out)
            self._void_late(out)
        if run is not None and (self._stirred or now >= min(run.until, run.again_at)):
            self._go_on(out, run, now)
        self._stirred = False
        return self._replica.seq != before or self._lapses

    def next_time(self) -> float | None:
        """When the run begins anew or ends."""
        return None if self._run is None else min(self._run.until, self._run.again_at)

    # --- whether it may begin -------------------------------------------------------------------------------------

    def _what(self, peers: Sequence[bytes]) -> str:
        return f"nothing was reclaimed of {', '.join(map(self._roster.name, peers))}"

    def _asked(self, named: Sequence[bytes]) -> list[bytes]:
        return [peer for peer in self._estates.electorate(named) if peer != self._identity]

    def _objection(self, named: Sequence[bytes], forced: bool, now: float) -> Refusal | None:
        what = self._what(named[: limits.MAX_RECLAIMED])
        if ADMIN not in self._authority.roles(self._identity):
            return Refusal(what, "this host has not the role admin", "do it on a host that has it", "role")
        if self._run is not None:
            return Refusal(what, "another reclaim is under way here", "wait for it", "taken")
        if not 0 < len(named) <= limits.MAX_RECLAIMED:
            fix = f"name 1 to {limits.MAX_RECLAIMED} peers"
            return Refusal(what, f"{len(named)} peers were named", fix, "invalid")
        for peer in named:
            refusal = self._objection_to(what, peer, named, forced, now)
            if refusal is not None:
                return refusal
        away = [] if forced else [peer for peer in self._asked(named) if not self._roster.reachable(peer)]
        if away:
            who = ", ".join(map(self._roster.name, away[:4]))
            why = f"{who} must agree and cannot be reached"
            return Refusal(what, why, f"start {who}, or name it as well if it is dead too", "unreachable")
        return self._succession.room(what, named)

    def _objection_to(self, what: str, peer: bytes, named: Sequence[bytes], forced: bool, now: float) -> Refusal | None:
        name, owns = self._roster.name(peer), bool(self._estates.of(peer).tiles)
        if peer == self._identity:
            return Refusal(what, "this host is not dead", "use `meshnet leave` to give its ranges back", "invalid")
        if peer not in self._roster.bodies and not owns:
            return Refusal(what, f"no peer {name} is known here", "see the list of peers", "invalid")
        if peer not in self._roster.bodies and not forced and not self._roster.gone(peer):
            why = f"{name} never said anything that was heard here, so nobody knows whom it let in"
            return Refusal(what, why, "wait for the others; or force it, if it never came up", "invalid")
        if self._fences.fenced_out(peer) and not owns:
            return Refusal(what, f"{name} owns nothing any more", "see who owns what", "invalid")
        if not forced and not self._roster.gone(peer) and self._sightings.lately(peer, now):
            why = f"{name} was heard of less than {limits.HEARD_S:.0f} s ago"
            return Refusal(what, why, f"stop {name} first; or let it leave", "alive")
        other = self._rival(peer, named)
        if other is not None:
            who = self._roster.name(other)
            return Refusal(what, f"{who} is reclaiming it", f"wait for {who}; if it died, name {who} as well", "taken")
        return None

    def _rival(self, peer: bytes, named: Sequence[bytes]) -> bytes | None:
        """Another host that reclaims that peer, and is not named itself."""
        promise = self._consents.engaged(peer)
        askers = [] if promise is None else [asker for asker, _ in promise.runs]
        for (asker, nonce), body in sorted(self._estates.reclaims.items()):
            counts = asker != self._identity and ADMIN in self._authority.roles(asker)
            if counts and peer in body.peers and not self._fences.concluded(asker, peer, nonce):
                askers.append(asker)
        return next((asker for asker in askers if asker not in named), None)

    # --- a run ----------------------------------------------------------------------------------------------------

    def _nonce(self) -> bytes:
        said = self._replica.incarnation.to_bytes(8, "big") + self._replica.seq.to_bytes(8, "big")
        return blake2s(self._identity + said, digest_size=limits.NONCE_B, person=b"mnreclm").digest()

    def _say(self, out: Output, run: Run) -> None:
        self._replica.publish(out, (RECLAIM, run.nonce), encode_body(RECLAIM, ReclaimBody(run.nonce, run.peers)))

    def _waited_for(self, run: Run) -> list[bytes]:
        asked = self._asked(run.peers)
        return [peer for peer in asked if self._roster.reachable(peer)] if run.forced else asked

    def _go_on(self, out: Output, run: Run, now: float) -> None:
        what = self._what(run.peers)
        rivals = [rival for rival in (self._rival(peer, run.peers) for peer in run.peers) if rival is not None]
        alive = [p for p in run.peers if not self._roster.gone(p) and self._sightings.lately(p, now)]
        if self._replica.doubt.alive or ADMIN not in self._authority.roles(self._identity):
            why = "this host does not know for certain any more what is its own, or has the role admin no longer"
            self._fail(out, Refusal(what, why, "see `meshnet status`", "role"))
        elif any(rival < self._identity for rival in rivals):
            who = self._roster.name(min(rivals))
            self._fail(out, Refusal(what, f"{who} is reclaiming it as well", f"wait for {who}", "taken"))
        elif alive and not run.forced:
            name = self._roster.name(alive[0])
            self._fail(out, Refusal(what, f"{name} came back", "let it leave, if it is to go", "alive"))
        elif self._agreed(run) or (run.forced and now >= run.until):
            self._run = None
            answer = self._complete(out, run)
            if isinstance(answer, Refusal):
                self._replica.publish(out, (RECLAIM, run.nonce), None)
            out.tell.append(ReclaimSettled(run.nonce, answer))
        elif now >= run.until:
            self._fail(out, self._too_late(run, what))
        elif now >= run.again_at:
            self._replica.publish(out, (RECLAIM, run.nonce), None)
            run.nonce, run.again_at = self._nonce(), now + limits.RECLAIM_TRY_S
            self._say(out, run)

    def _agreed(self, run: Run) -> bool:
        """Whether everybody asked agrees to what this host would do now."""
        asked = self._waited_for(run)
        if any(self._consent(run, member, peer) is None for member in asked for peer in run.peers):
            return False
        mine = {peer: self._estates.digest(peer, run.peers) for peer in run.peers}
        fine = (AGREED, ALIVE) if run.forced else (AGREED,)
        for member in asked:
            for peer in run.peers:
                answer = self._consent(run, member, peer)
                if answer is None or answer.verdict not in fine or (answer.grants, answer.digest) != mine[peer]:
                    return False
        return True

    def _consent(self, run: Run, member: bytes, peer: bytes) -> ConsentBody | None:
        """What the member answers this run about the peer; None while it does not."""
        answer = self._estates.consents.get(peer, {}).get(member)
        return answer if answer is not None and (answer.of, answer.run) == (self._identity, run.nonce) else None

    def _complete(self, out: Output, run: Run) -> ReclaimDone | Refusal:
        refusal = self._succession.room(self._what(run.peers), run.peers)
        if refusal is not None:
            return refusal
        for peer in run.peers:
            answers = [self._consent(run, member, peer) for member in self._asked(run.peers)]
            heard = [answer.incarnation for answer in answers if answer is not None]
            level = max([self._roster.bodies.incarnation(peer), *heard])
            self._fence(out, run, peer, level)
        return self._succession.take_over(out, run.nonce, run.peers)

    def _fence(self, out: Output, run: Run, peer: bytes, level: int) -> None:
        void = [run_for(nonce, about) for nonce, about in self._estates.of(peer).runs]
        grants = self._succession.grants(peer, run.peers)
        for nonce, count in [(run_for(run.nonce, peer), grants), *((nonce, 0) for nonce in void)]:
            body = FenceBody(peer, nonce, level, run.forced, count)
            self._replica.publish(out, (FENCE, body.key), encode_body(FENCE, body))

    def _fail(self, out: Output, why: Refusal) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._replica.publish(out, (RECLAIM, run.nonce), None)
            out.tell.append(ReclaimSettled(run.nonce, why))

    def _too_late(self, run: Run, what: str) -> Refusal:
        within = f"within {limits.RECLAIM_S:.0f} s"
        silent: list[bytes] = []
        for member in self._waited_for(run):
            name = self._roster.name(member)
            for peer in run.peers:
                answer = self._consent(run, member, peer)
                whose = self._roster.name(peer)
                if answer is None:
                    other = self._estates.consents.get(peer, {}).get(member)
                    if other is not None and other.of != self._identity:
                        who = self._roster.name(other.of)
                        why = f"{name} has given its word about {whose} to {who}"
                        return Refusal(what, why, f"wait for {who}; if it died, name {who} as well", "taken")
                    silent.append(member)
                elif answer.verdict == ALIVE:
                    return Refusal(what, f"{name} heard of {whose} lately", f"stop {whose} first", "alive")
        if silent:
            who = ", ".join(map(self._roster.name, sorted(dict.fromkeys(silent))[:4]))
            return Refusal(what, f"{who} did not answer {within}", f"start {who} and try again", "unreachable")
        why = f"not all members knew the same of what they owned {within}"
        return Refusal(what, why, "wait until all hosts have heard of each other and try again", "invalid")

    # --- what others hold of this host ----------------------------------------------------------------------------

    def _through(self, body: ReclaimBody) -> bool:
        return any(self._fences.taken(self._identity, peer, body.run) for peer in body.peers)

    def _answer_for_old_runs(self, out: Output) -> None:
        """A run that a life before did not end came to nothing; whoever still keeps a promise to it is told so."""
        for (asker, nonce), body in sorted(self._estates.reclaims.items()):
            current = self._run is not None and self._run.nonce == nonce
            if asker == self._identity and not current and not self._through(body):
                self._replica.publish(out, (RECLAIM, nonce), None)
        for about, answers in sorted(self._estates.consents.items()):
            for answer in answers.values():
                old = answer.of == self._identity and (self._run is None or answer.run != self._run.nonce)
                if not old or self._fences.concluded(self._identity, about, answer.run):
                    continue
                if self._replica.view.get(self._identity, (RECLAIM, answer.run)) is None:
                    self._replica.publish(out, (RECLAIM, answer.run), None)

    def _void_late(self, out: Output) -> None:
        """A run of whom this host took over from, that only such knew who were taken over as well, is void too."""
        for (asker, nonce), body in sorted(self._estates.reclaims.items()):
            level, said = self._fences.outlived(self._identity, asker), self._replica.view.get(asker, (RECLAIM, nonce))
            if said is None or said.incarnation > level:
                continue
            for about in body.peers:
                known = self._fences.concluded(asker, about, nonce) or self._fences.taken(asker, about, nonce)
                if not known and len(self._fences.by(self._identity)) < limits.MAX_OWN_FENCES:
                    fence = FenceBody(asker, run_for(nonce, about), level, False, 0)
                    self._replica.publish(out, (FENCE, fence.key), encode_body(FENCE, fence))

    def _survive(self, out: Output) -> None:
        """Somebody took this host for dead: go on anew, without what it owned."""
        level = self._fences.level(self._identity)
        self._replica.surpass(level)
        if level >= self._replica.incarnation and not self._replica.renew(out):
            return
        by = self._fences.author(self._identity)
        if by is None:
            return
        text = f"{self._roster.name(by)} took this host for dead and took over its ranges; it asks for addresses anew"
        out.tell.append(Trouble(text))
        for heir in self._fences.halves(self._identity)[:1]:
            self._succession.give_up(out, heir)
