"""What the handshakes of one peer have come to: its addresses, its sessions and the attempt that is under way.

Purpose: the record ``peers`` keeps per known peer, with the decisions that concern this peer alone.
Rule: no I/O, no clock and no keys here: a session's keys went to the forwarder and are not kept. The forwarder
decides by itself which session seals; ``current`` is what its progress has told us about that.
Reference: crypto/lifetime.py for the timers, docs/architecture.md for who decides what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from crypto import lifetime
from crypto.handshake import Initiation
from meshnet.boundary import Address, ProgressRow
from meshnet.control.handshakes.cookies import Given
from meshnet.control.handshakes.freshness import Freshness

__all__ = ["CANDIDATES_MAX", "SESSIONS_MAX", "Attempt", "Remote", "Session", "State"]

CANDIDATES_MAX: Final = 16
SESSIONS_MAX: Final = 6

State = Literal["idle", "connecting", "up", "down"]


@dataclass(slots=True)
class Session:
    """One installed session. Times are seconds on the monotonic clock; ``records`` counts both directions."""

    index: int
    initiator: bool
    created: float
    confirmed: bool
    unanswered_since: float | None = None
    records: int = 0

    def note(self, row: ProgressRow, now: float) -> bool:
        """Takes in what the forwarder counted; tells whether that is the occasion to make the next session.

        A frame sent after the last receipt starts the wait for an answer.
        """
        self.records = row.sent_records + row.received_records
        sent = now - row.last_sent_age_s if row.last_sent_age_s >= 0 else -1.0
        received = now - row.last_received_age_s if row.last_received_age_s >= 0 else -1.0
        if sent < 0 or received >= sent:
            self.unanswered_since = None
        elif self.unanswered_since is None or received > self.unanswered_since:
            self.unanswered_since = sent
        # What counts is how old the key was then, not how old it is now: an idle session is left to expire.
        return (sent >= 0 and lifetime.rekey_on_send(sent - self.created, self.initiator, row.sent_records)) or (
            received >= 0 and lifetime.rekey_on_receive(received - self.created, self.initiator)
        )


@dataclass(slots=True)
class Attempt:
    """A handshake being tried: since when, how often, and when again.

    ``initiation`` is the one that may still be answered, ``static`` our key (32 bytes) that it was made with; there is
    none while the other peer's own initiation has the right of way, while too many handshakes are under way, and while
    its stamp is not reserved (``waits``).
    """

    since: float
    retry_at: float
    tries: int = 0
    initiation: Initiation | None = None
    static: bytes = b""
    sent_at: float = -1.0
    sent_to: Address | None = None
    waits: bool = False
    hurried: tuple[bytes, ...] = ()
    """The cookies for which this attempt did not wait until its next try."""
    insisted: bool = False
    """An initiation of the peer that crossed ours was left without an answer."""


@dataclass(slots=True)
class Remote:
    """One known peer: ``peer_id`` and ``static`` are 32 bytes, ``addresses`` where it may be, best first."""

    peer_id: bytes
    static: bytes
    addresses: tuple[Address, ...]
    tags: tuple[bytes, ...]
    """Which mesh secrets it holds, 8 bytes each; empty while that is not known."""
    fresh: Freshness
    former: list[tuple[bytes, float]] = field(default_factory=list)
    """Static keys it had, and until when they are its own still; the oldest first."""
    proved: Address | None = None
    """Where the peer is reached: where a response came to us from, or its forwarder's probe was answered."""
    heard: Address | None = None
    """Where its last initiation came from: a place to try, but whoever passes a datagram on may be there."""
    boot: bytes = b""
    """The forwarder of the peer that took part in the last handshake."""
    given: dict[Address, Given] = field(default_factory=dict)
    """The last cookie it gave us for each of its addresses, at most CANDIDATES_MAX, the oldest first."""
    sessions: dict[int, Session] = field(default_factory=dict)
    current: Session | None = None
    attempt: Attempt | None = None
    unreachable: bool = False
    reported: State = "idle"

    @property
    def state(self) -> State:
        """``up`` with a session in use, ``down`` after a handshake was tried in vain."""
        if self.current is not None:
            return "up"
        if self.attempt is not None:
            return "connecting"
        return "down" if self.unreachable else "idle"

    def candidates(self) -> list[Address]:
        """Where to try, the address proved last first, then the one heard from."""
        found = (address for address in (self.proved, self.heard, *self.addresses) if address is not None)
        return list(dict.fromkeys(found))[:CANDIDATES_MAX]

    def take_cookie(self, given: Given) -> None:
        """Remembers a cookie; the oldest makes room."""
        self.given.pop(given.address, None)
        self.given[given.address] = given
        if len(self.given) > CANDIDATES_MAX:
            del self.given[next(iter(self.given))]

    def cookie_for(self, address: Address, now: float) -> Given | None:
        """The cookie of use in what is sent to this address now."""
        given = self.given.get(address)
        return given if given is not None and given.serves(now) else None

    def add(self, session: Session) -> None:
        """Remembers an installed session; the oldest that is not in use makes room."""
        self.sessions[session.index] = session
        if len(self.sessions) > SESSIONS_MAX:
            spare = (index for index, held in self.sessions.items() if held is not self.current)
            del self.sessions[next(spare)]

    def remove(self, index: int) -> None:
        """Forgets a session that is gone."""
        session = self.sessions.pop(index, None)
        if session is not None and session is self.current:
            self.current = None

    def unconfirmed(self) -> Session | None:
        """The newest session made by the peer's initiation under which no record has come yet."""
        return next((held for held in reversed(self.sessions.values()) if not held.confirmed), None)

    def due(self) -> float | None:
        """When the next timer of this peer is due, if there is one."""
        times = [lifetime.expires_at(held.created) for held in self.sessions.values()]
        times += [until for _, until in self.former]
        if self.attempt is not None:
            times.append(self.attempt.retry_at)
        if self.current is not None and self.current.unanswered_since is not None:
            times.append(lifetime.silent_at(self.current.unanswered_since))
        return min(times, default=None)
