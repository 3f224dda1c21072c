"""Addresses asked of other peers: when none is left here, and before that.

Purpose: allocation that waits for another peer only when it must, and never longer than CLAIM_S.
Rule: the peer that seems to have the most free space is asked first, reachable ones before others; one that does not
answer within ASK_S is left for the next. A donor gives half of a free block; of an address that was asked for, the
free block around it, or a loan (`gossip.ipam.loans`); once for each request. Asking ahead happens after an allocation
or a donation, one that was refused too, and only of a peer that has much more, so that two peers never pass one block
to and fro.
Flow: `allocate` -> Lease, or a request and a wait -> `act` tries again whenever grants came -> LeaseSettled.
Reference: design §6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Lease, LeaseSettled, Output, Waiting
from gossip.ipam.addresses import Addresses
from gossip.ipam.loans import Loans
from gossip.ipam.ranges import address_of
from gossip.ipam.requests import Requests
from gossip.networks.networks import Directory
from gossip.people.roster import Roster
from gossip.state.address_bodies import RequestBody, request_key
from gossip.state.body import least_bytes
from gossip.state.replica import Replica

_NEVER = float("inf")
_AT_ONCE = 0.0
_WORTH_ASKING = ("no-space", "foreign")
_MUCH_MORE = 4


@dataclass(slots=True)
class _Wait:
    wanted: str | None
    start: bytes
    since: float
    until: float
    why: str


@dataclass(slots=True)
class _Ask:
    network: int
    start: bytes
    until: float
    next_at: float = _NEVER
    nonce: bytes = b""
    asked: dict[bytes, None] = field(default_factory=dict)


class Shares:
    """The allocations of this peer that wait, what it asks for them, and what it gives."""

    def __init__(
        self,
        replica: Replica,
        directory: Directory,
        roster: Roster,
        addresses: Addresses,
        requests: Requests,
        loans: Loans,
    ) -> None:
        self._replica = replica
        self._directory = directory
        self._roster = roster
        self._addresses = addresses
        self._requests = requests
        self._loans = loans
        self._waits: dict[tuple[int, bytes], _Wait] = {}
        self._asks: dict[bytes, _Ask] = {}
        self._ahead_at: dict[int, float] = {}
        self._short: dict[int, None] = {}  # networks in which a peer could not be given any

    def allocate(
        self, out: Output, network: int, endpoint: bytes, wanted: str | None, now: float
    ) -> Lease | Refusal | None:
        """Lease an address, refuse, or begin to wait (None)."""
        answer = self._addresses.allocate(out, network, endpoint, wanted)
        place = (network, endpoint)
        if isinstance(answer, Lease):
            self._settle(out, place, answer)
            self._ask_ahead(out, network, limits.LOW_ADDRESSES, now)
            return answer
        full = place not in self._waits and len(self._waits) >= limits.MAX_WAITING
        if answer.code not in _WORTH_ASKING or full:
            self._settle(out, place, answer)
            return answer
        start = b"" if wanted is None else least_bytes(address_of(wanted))
        if start and self._addresses.borrowed() >= limits.MAX_BORROWED:
            answer = Refusal(answer.what, "this host borrows as many addresses as it can", answer.fix, "exhausted")
            self._settle(out, place, answer)
            return answer
        if not self._need(out, network, start, now):
            self._settle(out, place, answer)
            return answer
        since = self._waits[place].since if place in self._waits else now
        self._waits[place] = _Wait(wanted, start, since, now + limits.CLAIM_S, answer.why)
        return None

    def donate(self, out: Output, network: int, to: bytes, now: float) -> None:
        """Give addresses to a peer that owns none, and ask for more before the last are given.

        Raises Refusal; then more is asked for in the next step, so that who tries again is not refused again.
        """
        try:
            self._addresses.donate(out, network, to)
        except Refusal:
            self._short[network] = None
            raise
        self._ask_ahead(out, network, limits.LOW_TO_GIVE, now)

    def cancel(self, out: Output, network: int, endpoint: bytes) -> None:
        """The endpoint wants no address any more."""
        why = Refusal("no address was leased", "it was released meanwhile", "ask again", "invalid")
        self._settle(out, (network, endpoint), why)

    def answer(self, out: Output, asker: bytes, request: RequestBody) -> None:
        """Give the asker addresses, if there are enough; or lend it the one it names."""
        if self._roster.gone(asker):
            return
        if request.start:
            self._loans.answer(out, asker, request)
        else:
            self._addresses.share(out, request.network, asker, request.free, request.nonce)

    def pending(self) -> list[Waiting]:
        """The allocations that wait, by network and endpoint."""
        found: list[Waiting] = []
        for (network, endpoint), wait in sorted(self._waits.items()):
            ask = self._asks.get(request_key(network, "", wait.start))
            asked = [] if ask is None else list(ask.asked)
            found.append(Waiting(network, endpoint, wait.wanted, wait.since, wait.until, asked, wait.why))
        return found

    def act(self, out: Output, now: float) -> bool:
        """Settle what can be settled, ask on where nobody answered; whether anything was said."""
        before = self._replica.seq
        for (network, endpoint), wait in list(self._waits.items()):
            answer = self._addresses.allocate(out, network, endpoint, wait.wanted)
            if isinstance(answer, Refusal) and answer.code in _WORTH_ASKING:
                wait.why = answer.why
                if now < wait.until:
                    continue
                answer = self._too_late(network, wait, answer)
            self._settle(out, (network, endpoint), answer)
        for key, ask in list(self._asks.items()):
            self._go_on(out, key, ask, now)
        for network in list(self._short):
            self._ask_ahead(out, network, limits.LOW_TO_GIVE, now)
        self._short = {}
        return self._replica.seq != before

    def end(self, out: Output) -> None:
        """This peer leaves: nothing is waited for any more."""
        why = Refusal("no address was leased", "this peer left the mesh", "join again", "invalid")
        for place in list(self._waits):
            self._settle(out, place, why)
        self._asks = {}

    def next_time(self) -> float | None:
        """When something is given up, or another donor is asked."""
        times = [wait.until for wait in self._waits.values()]
        times += [min(ask.until, ask.next_at) for ask in self._asks.values()]
        return _AT_ONCE if self._short else min(times, default=None)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _settle(self, out: Output, place: tuple[int, bytes], answer: Lease | Refusal) -> None:
        if self._waits.pop(place, None) is not None:
            out.tell.append(LeaseSettled(*place, answer))

    def _needed(self, ask: _Ask) -> bool:
        return any(place[0] == ask.network and wait.start == ask.start for place, wait in self._waits.items())

    def _need(self, out: Output, network: int, start: bytes, now: float) -> bool:
        key = request_key(network, "", start)
        ask = self._asks.get(key)
        if ask is None:
            ask = _Ask(network, start, now + limits.CLAIM_S)
            if not self._ask_next(out, ask, now):
                return False
            self._asks[key] = ask
        elif ask.next_at == _NEVER:
            ask.next_at = now + limits.ASK_S  # it was asked ahead of need: now it is needed
        ask.until = now + limits.CLAIM_S
        return True

    def _ask_next(self, out: Output, ask: _Ask, now: float) -> bool:
        donors = [peer for peer in self._donors(ask.network, ask.start) if peer not in ask.asked]
        ask.next_at = now + limits.ASK_S if donors else _NEVER
        if not donors:
            return False
        ask.asked[donors[0]] = None
        free = self._addresses.free(ask.network)
        ask.nonce = self._requests.ask(out, donors[0], ask.network, "", ask.start, free).nonce
        return True

    def _go_on(self, out: Output, key: bytes, ask: _Ask, now: float) -> None:
        needed, replied = self._needed(ask), ask.nonce in self._requests.replied
        ahead = ask.next_at == _NEVER
        if now >= ask.until or (not needed and (replied or not ahead)):
            del self._asks[key]
            held = self._requests.own.get(key)
            if held is not None and self._addresses.borrows(held):
                self._requests.answered(key)
            else:
                self._requests.withdraw(out, key)
        elif needed and replied:  # it gave, but too little
            ask.asked = {}
            self._ask_next(out, ask, now)
        elif needed and now >= ask.next_at:
            self._ask_next(out, ask, now)

    def _ask_ahead(self, out: Output, network: int, few: int, now: float) -> None:
        key = request_key(network, "", b"")
        free, owned = self._addresses.free(network), self._addresses.owned(network)
        low = free < few or free * 8 < owned
        if not low or key in self._asks or now < self._ahead_at.get(network, -_NEVER) + limits.ASK_AHEAD_S:
            return
        spaces = self._spaces(network)
        donor = next((peer for peer in self._donors(network, b"") if self._roster.reachable(peer)), None)
        if donor is None or spaces.get(donor, 0) <= max(free * _MUCH_MORE, limits.LOW_ADDRESSES):
            return
        self._ahead_at[network] = now
        nonce = self._requests.ask(out, donor, network, "", b"", free).nonce
        self._asks[key] = _Ask(network, b"", now + limits.CLAIM_S, nonce=nonce, asked={donor: None})

    def _spaces(self, network: int) -> dict[bytes, int]:
        """How many free addresses each other peer seems to have."""
        ring = self._directory.rings.get(network)
        spaces: dict[bytes, int] = {}
        for tile in [] if ring is None else ring.tiles():
            pool = ring.pool(tile.start) if ring is not None else None
            if pool is not None and tile.owner != self._replica.identity and not self._roster.gone(tile.owner):
                spaces[tile.owner] = spaces.get(tile.owner, 0) + pool.usable(tile.start, tile.end)
        for owner, body in self._directory.endpoints(network):
            if owner in spaces:
                spaces[owner] -= len(body.addresses)
        return spaces

    def _donors(self, network: int, start: bytes) -> list[bytes]:
        ring = self._directory.rings.get(network)
        if ring is None:
            return []
        owner = ring.owner(int.from_bytes(start, "big")) if start else None
        spaces = self._spaces(network)
        if owner is not None or not ring.tiles():
            first = owner or ring.founder
            return [first] if first != self._replica.identity and not self._roster.gone(first) else []
        wealthy = [peer for peer in spaces if spaces[peer] > 0]
        return sorted(wealthy, key=lambda peer: (not self._roster.reachable(peer), -spaces[peer], peer))

    def _too_late(self, network: int, wait: _Wait, refusal: Refusal) -> Refusal:
        ask = self._asks.get(request_key(network, "", wait.start))
        names = [] if ask is None else [self._roster.name(peer) for peer in ask.asked]
        deaf = [] if ask is None else [self._roster.name(p) for p in ask.asked if not self._roster.reachable(p)]
        asked = ", ".join(f"{name} (not reachable)" if name in deaf else name for name in names) or "no other peer"
        why = f"{refusal.why}, and {asked} gave none within {limits.CLAIM_S} s"
        fix = f"start {', '.join(deaf)}, or {refusal.fix}" if deaf else refusal.fix
        if wait.wanted is None:
            return Refusal(refusal.what, why, fix, "no-space")
        return Refusal(refusal.what, why, fix, "foreign")
