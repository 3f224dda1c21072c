"""What the handshakes of one peer have come to: its addresses, its sessions and the attempt that is under way.

Purpose: the record ``meshnet.control.peers`` keeps per known peer, with the decisions that concern this peer alone.
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

__all__ = ["CANDIDATES_MAX", "SESSIONS_MAX", "Attempt", "Remote", "Session", "State"]

CANDIDATES_MAX: Final = 8
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

    ``initiation`` is the one that may still be answered; there is none while the other peer's own initiation has
    the right of way, or while too many handshakes are under way.
    """

    since: float
    retry_at: float
    tries: int = 0
    initiation: Initiation | None = None
    sent_at: float = -1.0
    sent_to: Address | None = None


@dataclass(slots=True)
class Remote:
    """One known peer: ``peer_id`` and ``static`` are 32 bytes, ``addresses`` what its statement lists."""

    peer_id: bytes
    static: bytes
    addresses: tuple[Address, ...]
    proved: Address | None = None
    """Where the peer's last authenticated datagram came from."""
    boot: bytes = b""
    """The forwarder of the peer that took part in the last handshake."""
    stamp: bytes = b""
    """The greatest stamp of an initiation it sent."""
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
        """Where to try, the address proved last first."""
        proved = [] if self.proved is None else [self.proved]
        return list(dict.fromkeys((*proved, *self.addresses)))[:CANDIDATES_MAX]

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
        if self.attempt is not None:
            times.append(self.attempt.retry_at)
        if self.current is not None and self.current.unanswered_since is not None:
            times.append(lifetime.silent_at(self.current.unanswered_since))
        return min(times, default=None)
