"""Registers: custody that does not grow for ever.

Purpose: now and then an admin writes down whose is what, every member acknowledges it, and the grants that led there
are withdrawn.
Rule: (1) an admin proposes the next edition of a network's register by its chunks; (2) a member that holds the whole
and finds in it what it holds itself acknowledges it, durably; of one number it acknowledges one author's alone while
that stands; (3) when every member has, the author says that it is settled, and custody begins with it wherever that is
held; (4) who holds that withdraws its acknowledgement, and when nobody's is left the author says that all hold it; (5)
then each withdraws those of its own grants that the rows stand for, unless a later edition is proposed, which might
need them. A proposal that is not acknowledged in time is withdrawn, and its number kept for good: it is never settled
after that, nor used again, for an acknowledgement of it may still be on its way. All else that matters is in
statements: who restarts goes on where it was. A host that does not count, has a clone, or doubts its own state takes no
part.
Flow: `apply(change)` -> due -> `act`, at most once in REGISTER_LOOK_S.
Reference: docs/adr/0009-registers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gossip import limits
from gossip.custody.custody import Custody, nobody
from gossip.custody.editions import Edition, chunks_of
from gossip.custody.rows import agrees, rows_of
from gossip.events import SPACE_OWN, Output, Put
from gossip.ipam.ring import Deed, outgrown
from gossip.people.authority import ADMIN, Authority
from gossip.people.roster import Roster
from gossip.state.address_bodies import (
    ACK,
    FENCE,
    GRANT,
    NETWORK,
    REGISTER,
    SETTLED,
    AckBody,
    SettledBody,
    register_key,
)
from gossip.state.bodies import AUTHORITY, LEFT, PEER, encode_body
from gossip.state.replica import Replica
from gossip.state.view import Change

_WATCHED = (GRANT, REGISTER, SETTLED, ACK, NETWORK, FENCE, PEER, LEFT, *AUTHORITY)
_NEVER = float("-inf")
_CLOSED = b"register"


class Register:
    """What this peer does for the registers of all networks. `fenced_out`: whether a peer was reclaimed and silent."""

    def __init__(
        self,
        replica: Replica,
        custody: Custody,
        roster: Roster,
        authority: Authority,
        fenced_out: Callable[[bytes], bool] = nobody,
    ) -> None:
        self._replica = replica
        self._custody = custody
        self._editions = custody.editions
        self._roster = roster
        self._authority = authority
        self._fenced_out = fenced_out
        self._identity = replica.identity
        self._due = True
        self._looked_at = _NEVER
        self._again_at: float | None = None
        self._room = 0  # withdrawals left in this step
        self._proposed: dict[int, float] = {}
        self._paced: dict[int, float] = {}
        self._refused: dict[int, tuple[bytes, int]] = {}
        self._closed: dict[int, int] = {}  # the greatest number of an own proposal that was withdrawn

    def load(self, rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Take the stored rows of withdrawn proposals in."""
        for space, key, value in rows:
            if space == SPACE_OWN and key[:-4] == _CLOSED:
                self._closed[int.from_bytes(key[-4:], "big")] = int.from_bytes(value, "big")

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        self._due = self._due or change.slot[0] in _WATCHED

    def next_time(self) -> float | None:
        """When `act` wants to be called without anything having been heard."""
        due = max(self._looked_at + limits.REGISTER_LOOK_S, 0.0) if self._due else None
        return min((at for at in (due, self._again_at) if at is not None), default=None)

    def act(self, out: Output, now: float) -> bool:
        """Do what is due; whether anything was said."""
        at = self.next_time()
        if at is None or now < at:
            return False
        self._due, self._looked_at, self._again_at = False, now, None
        replica = self._replica
        if self._authority.barred(self._identity) or replica.clones.alive(now) or replica.doubt.alive:
            self._again(now + limits.REGISTER_RETRY_S)
            return False
        before, self._room = replica.seq, limits.MAX_PRUNED
        for network in self._custody.networks():
            self._acknowledge(out, network)
            self._conclude(out, network, now)
            self._prune(out, network)
        self._prune_spent(out)
        self._propose(out, now)
        self._due = self._due or self._room == 0
        return replica.seq != before

    def end(self, out: Output) -> None:
        """This peer leaves: what it proposed comes to nothing."""
        for network in self._custody.networks():
            for number in self._unsettled(network):
                self._withdraw_edition(out, network, number)

    # --- as any member --------------------------------------------------------------------------------------------

    def _acknowledge(self, out: Output, network: int) -> None:
        held = self._editions.ack(network, self._identity)
        above = self._custody.above(network)
        standing = held is not None and (held.of, held.edition) in above
        for author, number in above:
            if held is not None and standing and number == held.edition:
                if author != held.of:
                    continue
                edition = self._editions.edition(network, author, number)
                if edition is not None and edition.digest == held.digest:
                    return
            edition = self._agreeable(network, author, number)
            if edition is not None:
                body = AckBody(network, author, number, edition.digest)
                self._replica.publish(out, (ACK, body.key), encode_body(ACK, body))
                return
        if held is not None:
            self._replica.publish(out, (ACK, held.key), None)

    def _agreeable(self, network: int, author: bytes, number: int) -> Edition | None:
        if ADMIN not in self._authority.roles(author):
            return None
        edition = self._editions.edition(network, author, number)
        if edition is None:
            return None
        mark = (edition.digest, self._custody.changes)
        if self._refused.get(network) == mark:
            return None
        if agrees(self._custody, edition):
            self._refused.pop(network, None)
            return edition
        self._refused[network] = mark
        return None

    def _prune(self, out: Output, network: int) -> None:
        base = self._custody.base(network)
        said = None if base is None else self._editions.settled(network, base.author)
        if base is None or said is None or not said.held or self._custody.above(network):
            return
        for number, chunk in self._editions.below(network, self._identity, base):
            self._withdraw(out, REGISTER, register_key(network, number, chunk))
        roots = self._custody.roots(network)
        for deed in self._custody.given_by(self._identity):
            if deed.grant.network == network and outgrown(deed, roots):
                self._withdraw_grant(out, deed)

    def _prune_spent(self, out: Output) -> None:
        """Grants of addresses of a network that is gone for good serve nobody, and keep its number from being free."""
        spent = self._custody.numbers.spent()
        for deed in self._custody.given_by(self._identity) if spent else ():
            if deed.grant.network in spent:
                self._withdraw_grant(out, deed)

    # --- as an author ---------------------------------------------------------------------------------------------

    def _conclude(self, out: Output, network: int, now: float) -> None:
        for number in self._unsettled(network):
            edition = self._editions.edition(network, self._identity, number)
            until = self._proposed.setdefault(network, now) + limits.REGISTER_PATIENCE_S
            if edition is None or number <= self._closed.get(network, 0):
                self._withdraw_edition(out, network, number)
            elif self._acknowledged(edition):
                self._say_settled(out, edition, held=False)
            elif now >= until:
                self._withdraw_edition(out, network, number)
            else:
                self._again(until)
        base = self._custody.base(network)
        said = self._editions.settled(network, self._identity)
        if base is None or said is None or said.held or base.author != self._identity:
            return
        if not any(self._holds_back(peer, base) for peer in self._members()):
            self._say_settled(out, base, held=True)

    def _acknowledged(self, edition: Edition) -> bool:
        wanted = AckBody(edition.network, edition.author, edition.number, edition.digest)
        return all(self._editions.ack(edition.network, peer) == wanted for peer in self._members())

    def _holds_back(self, peer: bytes, base: Edition) -> bool:
        ack = self._editions.ack(base.network, peer)
        return ack is not None and (ack.of, ack.edition) == (base.author, base.number)

    def _say_settled(self, out: Output, edition: Edition, *, held: bool) -> None:
        body = SettledBody(edition.network, edition.number, edition.digest, held)
        self._replica.publish(out, (SETTLED, body.key), encode_body(SETTLED, body))
        self._proposed.pop(edition.network, None)

    def _propose(self, out: Output, now: float) -> None:
        if ADMIN not in self._authority.roles(self._identity) or self._first_admin() != self._identity:
            return
        worth = {network: self._worth(network) for network in self._custody.networks()}
        wanted = sorted((network for network in worth if worth[network]), key=lambda network: -worth[network])
        ripe = [network for network in wanted if now >= self._paced.get(network, _NEVER)]
        if wanted and not ripe:
            self._again(min(self._paced[network] for network in wanted))
        if not ripe:
            return
        if not all(self._near(peer) for peer in self._members()):
            self._again(now + limits.REGISTER_RETRY_S)
            return
        for network in ripe:
            self._paced[network] = now + limits.REGISTER_PACE_S
            if self._say_edition(out, network):
                self._proposed[network] = now
                return

    def _say_edition(self, out: Output, network: int) -> bool:
        rows, number = rows_of(self._custody, network), self._highest(network) + 1
        bodies = None if rows is None or number > limits.U32_MAX else chunks_of(network, number, rows)
        entry = self._replica.view.owners.get(self._identity)
        most = limits.MAX_STATEMENTS_PER_OWNER - limits.REGISTER_RESERVE
        if bodies is None or entry is None or len(entry.held) + len(bodies) > most:
            return False
        for chunk, body in enumerate(bodies):
            self._replica.publish(out, (REGISTER, register_key(network, number, chunk)), body)
        return True

    def _worth(self, network: int) -> int:
        """How many grants another edition would make needless; 0 for too few, or while one is under way."""
        deeds, roots = self._custody.deeds(network), self._custody.roots(network)
        crowded = {donor: None for donor, said in self._custody.counts().items() if 2 * said > limits.MAX_OWN_GRANTS}
        if (len(deeds) <= limits.REGISTER_AFTER and not crowded) or self._under_way(network):
            return 0
        loose = [deed for deed in deeds if not outgrown(deed, roots)]
        return len(loose) if len(loose) > limits.REGISTER_AFTER else sum(deed.donor in crowded for deed in loose)

    def _under_way(self, network: int) -> bool:
        if any(not self._lost(author) for author, _ in self._custody.above(network)):
            return True
        base = self._custody.base(network)
        said = None if base is None else self._editions.settled(network, base.author)
        return base is not None and said is not None and not said.held and not self._lost(base.author)

    def _lost(self, author: bytes) -> bool:
        return self._roster.gone(author) or self._fenced_out(author)

    def _highest(self, network: int) -> int:
        base = self._custody.base(network)
        numbers = [number for _, number in self._custody.above(network)]
        return max([*numbers, 0 if base is None else base.number, self._closed.get(network, 0)])

    # --- inside ---------------------------------------------------------------------------------------------------

    def _unsettled(self, network: int) -> list[int]:
        """The numbers of the own proposals that stand."""
        said = self._editions.settled(network, self._identity)
        mine = [number for author, number in self._custody.above(network) if author == self._identity]
        return [number for number in mine if said is None or said.edition != number]

    def _members(self) -> list[bytes]:
        """Those without whose word nothing is settled."""
        return [peer for peer in sorted(self._roster.bodies) if not self._lost(peer)]

    def _near(self, peer: bytes) -> bool:
        return peer == self._identity or self._roster.reachable(peer)

    def _first_admin(self) -> bytes | None:
        admins = (peer for peer in self._members() if ADMIN in self._authority.roles(peer) and self._near(peer))
        return next(admins, None)

    def _withdraw_edition(self, out: Output, network: int, number: int) -> None:
        for chunk in self._editions.chunks(network, self._identity, number):
            self._replica.publish(out, (REGISTER, register_key(network, number, chunk)), None)
        self._proposed.pop(network, None)
        if number > self._closed.get(network, 0):
            self._closed[network] = number
            out.persist.append(Put(SPACE_OWN, _CLOSED + network.to_bytes(4, "big"), number.to_bytes(4, "big")))

    def _withdraw_grant(self, out: Output, deed: Deed) -> None:
        if not deed.grant.run:  # a fence says how many of those there are (gossip.reclaiming.fences)
            self._withdraw(out, GRANT, deed.id)

    def _withdraw(self, out: Output, kind: str, key: bytes) -> None:
        if self._room > 0:
            self._room -= 1
            self._replica.publish(out, (kind, key), None)

    def _again(self, at: float) -> None:
        self._again_at = at if self._again_at is None else min(self._again_at, at)
