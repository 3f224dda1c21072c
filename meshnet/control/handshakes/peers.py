"""The UDP handshakes of all peers: who is tried when, who is answered, which sessions the forwarder gets. PURE.

Flow: what happened goes in with ``now`` (monotonic seconds), outputs to be applied in order come back; so with timers.
This file has who exists and the life of sessions; ``trying`` begins handshakes, ``answering`` takes those of others.
Rules
- Anything that arrives is bounded: handshakes computed per second, those under way, sessions and addresses kept.
- Keys pass through an output once and are kept nowhere. No session is installed twice.
- A change of keys (ours or a peer's) ends no session: gossip has shown that the identity is the same.
Reference: the WireGuard paper §5-6 (timers in crypto/lifetime.py), docs/wire.md, design §3.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from crypto import lifetime
from crypto.cookie import TYPE_COOKIE
from crypto.errors import RemoteError
from crypto.handshake import TYPE_INITIATION, TYPE_RESPONSE, Local
from crypto.keys import Entropy
from crypto.tai64n import stamp
from meshnet.boundary import Address, ProgressRow, SessionRow
from meshnet.control.budget import Budget
from meshnet.control.handshakes.answering import Answering
from meshnet.control.handshakes.cookies import Cookies
from meshnet.control.handshakes.freshness import Freshness
from meshnet.control.handshakes.known_peers import KnownPeers
from meshnet.control.handshakes.own_end import OwnEnd
from meshnet.control.handshakes.peer_output import DropSession, Output, PeerView, state_change
from meshnet.control.handshakes.remote import Remote, Session
from meshnet.control.handshakes.stamps import Stamps
from meshnet.control.handshakes.trying import Trying

__all__ = ["COMPUTED_BURST", "COMPUTED_PER_SECOND", "COMPUTED_RESERVE", "WANTED_IGNORED_S", "Peers"]

COMPUTED_PER_SECOND: Final = 100
"""Handshake messages of others that may cost a Diffie-Hellman; together about a twentieth of a core."""
COMPUTED_BURST: Final = 100
COMPUTED_RESERVE: Final = 20
"""How many of these only addresses may use that showed that they receive, or where a peer is known to be."""
WANTED_IGNORED_S: Final = 5.0
"""A wish for a session that is as young as this crossed its installation."""


class Peers:
    """The handshakes of this host with every peer it knows; ``counters`` tells what was refused and why."""

    def __init__(
        self,
        local: Local,
        boot: bytes,
        *,
        entropy: Entropy,
        rng: random.Random,
        wall_ns: Callable[[], int],
        features: int,
        largest_record: int,
        reserved: bytes,
        barred: Callable[[bytes, Address], bool] = lambda peer_id, address: False,
    ) -> None:
        """``boot`` is the forwarder's 8 bytes; ``wall_ns`` reads the wall clock, which only makes and judges stamps.

        ``reserved`` (12 bytes, or empty) is the last stamp that was asked to be reserved, in this run or before.
        ``barred``: whether a peer is neither to be tried nor answered at an address, whoever names it.
        """
        self._own = OwnEnd(local, boot, features, largest_record, entropy, rng, wall_ns, barred)
        self._known = KnownPeers(entropy)
        self._cookies = Cookies()
        budget = Budget(COMPUTED_PER_SECOND, COMPUTED_BURST, COMPUTED_RESERVE)
        self._trying = Trying(self._own, self._known, Stamps(reserved, wall_ns), budget)
        self._answering = Answering(self._own, self._known, self._trying, self._cookies, budget)
        self.counters = self._own.counters

    # --- who exists, and with which keys ---------------------------------------------------------------------------

    def know(
        self, peer_id: bytes, static: bytes, addresses: Sequence[Address], tags: Sequence[bytes], now: float
    ) -> list[Output]:
        """A peer exists, with this static key (32 bytes) and these addresses, and holds the secrets of these tags.

        Under a changed key its sessions go on. A key that is ours or another peer's makes the peer unknown.
        """
        remote = self._known.remotes.get(peer_id)
        if self._own.is_static(static) or self._known.by_static(static) not in (None, remote):
            self._own.counters["peer with a static key that is not its own"] += 1
            return self.forget(peer_id)
        if remote is None:
            # What it sent before it was known here is no occasion for a handshake: it may be a recording.
            fresh = Freshness(stamp(self._own.wall_ns()))
            self._known.add(Remote(peer_id, static, tuple(addresses), tuple(tags), fresh))
            return []
        remote.addresses, remote.tags = tuple(addresses), tuple(tags)
        if static != remote.static:
            self._known.change_static(remote, static, now)
        return []

    def knows(self, peer_id: bytes) -> bool:
        """Whether a peer is known."""
        return peer_id in self._known.remotes

    def forget(self, peer_id: bytes) -> list[Output]:
        """A peer is gone or may not speak any more: its sessions and attempts end, and nothing of it is kept."""
        remote = self._known.remotes.get(peer_id)
        if remote is None:
            return []
        outputs: list[Output] = [DropSession(index) for index in remote.sessions]
        self._known.remove(remote)
        remote.attempt, remote.unreachable = None, False
        return outputs + state_change(remote)

    def rekeyed(self, local: Local) -> None:
        """Our keyring or static keys are others now: sessions go on, and what is in flight may still be answered."""
        self._own.local = local

    def cookies(self, current: bytes, previous: bytes) -> None:
        """The cookie secrets (32 bytes each, ``previous`` perhaps empty) that the forwarder uses too."""
        self._cookies.use(current, previous)

    def stamps_reserved(self, until: bytes, now: float) -> list[Output]:
        """A ``ReserveStamps`` is durable: the initiations that waited for it leave."""
        return self._trying.reserved(until, now)

    # --- what happened ---------------------------------------------------------------------------------------------

    def wanted(self, peer_id: bytes, now: float) -> list[Output]:
        """A frame waits for a session with the peer."""
        remote = self._known.remotes.get(peer_id)
        if remote is None or (remote.current and now - remote.current.created < WANTED_IGNORED_S):
            return []
        return self._trying.begin(remote, now)

    def receive(self, address: Address, datagram: bytes, now: float) -> list[Output]:
        """A handshake datagram arrived. Never raises: what is wrong is counted."""
        kind = datagram[0] if datagram else 0
        try:
            if kind == TYPE_INITIATION:
                return self._answering.receive(address, datagram, now)
            if kind == TYPE_RESPONSE:
                return self._trying.receive_response(address, datagram, now)
            if kind == TYPE_COOKIE:
                return self._trying.receive_cookie(datagram, now)
        except RemoteError as error:
            self.counters[error.reason] += 1
            return []
        self.counters["datagram of another type"] += 1
        return []

    def moved(self, peer_id: bytes, address: Address) -> None:
        """The peer answered a probe of the forwarder from this address."""
        remote = self._known.remotes.get(peer_id)
        if remote is not None and self._own.usable(peer_id, address):
            self._known.prove(remote, address)

    def progressed(self, rows: Iterable[ProgressRow], now: float) -> list[Output]:
        """What sessions did, about once a second: sessions prove themselves, age and fall silent by it."""
        outputs: list[Output] = []
        for row in rows:
            remote = self._known.of_session(row.index)
            if remote is not None:
                outputs += self._progress(remote, remote.sessions[row.index], row, now)
        return outputs

    def session_lost(self, index: int) -> list[Output]:
        """The forwarder ended a session by itself."""
        remote = self._known.of_session(index)
        if remote is None:
            return []
        self._known.lose(remote, index)
        return state_change(remote)

    def rebooted(self, peer_id: bytes, boot: bytes, now: float) -> list[Output]:
        """The peer's statement names a forwarder (8 bytes); a session made with an earlier one is dead there."""
        remote = self._known.remotes.get(peer_id)
        if remote is None or remote.boot == boot:
            return []
        if remote.attempt is not None:
            return self._trying.go_on(remote, now) + state_change(remote)
        return self._trying.begin(remote, now) if remote.current else []

    def adopted(self, rows: Iterable[SessionRow], now: float) -> list[Output]:
        """A forwarder was found running with these sessions; those of unknown peers end, old ones are made anew."""
        outputs: list[Output] = []
        oldest_first = sorted(rows, key=lambda row: -row.age_s)
        in_use = {row.peer: row for row in oldest_first if row.current}
        for row in oldest_first:
            remote = self._known.remotes.get(row.peer)
            if remote is None:
                outputs.append(DropSession(row.index))
                continue
            # Only a session younger than the one in use may still wait for its first record.
            confirmed = row.peer in in_use and row.age_s >= in_use[row.peer].age_s
            session = Session(row.index, row.initiator, now - row.age_s, confirmed)
            self._known.add_session(remote, session)
            self._known.prove(remote, in_use.get(row.peer, row).address)
            if row.current:
                remote.current = session
                outputs += state_change(remote)
                if row.age_s > lifetime.ADOPTED_REKEY_S:
                    outputs += self._trying.begin(remote, now)
        return outputs

    def restarted(self, boot: bytes, now: float) -> list[Output]:
        """A new forwarder started and no session is left: those in use are made anew, the busiest first."""
        self._own.boot = boot
        remotes = list(self._known.remotes.values())
        lost = [(remote.current.records, remote) for remote in remotes if remote.current]
        outputs: list[Output] = []
        for remote in remotes:
            for index in list(remote.sessions):
                self._known.lose(remote, index)
            self._known.abandon(remote)
            if remote.attempt is not None:
                remote.attempt.retry_at = now
        for _, remote in sorted(lost, key=lambda pair: -pair[0]):
            outputs += self._trying.begin(remote, now)
        for remote in remotes:
            outputs += state_change(remote)
        return outputs

    # --- time ------------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When ``handle_timer`` is to be called next, or ``None`` while nothing is under way."""
        dues = (remote.due() for remote in self._known.stirring())
        return min((due for due in dues if due is not None), default=None)

    def handle_timer(self, now: float) -> list[Output]:
        """Does what is due at ``now``."""
        outputs: list[Output] = []
        for remote in self._known.stirring():
            due = remote.due()
            if due is None or due > now:
                continue
            for session in list(remote.sessions.values()):
                if lifetime.expires_at(session.created) <= now:
                    outputs.append(DropSession(session.index))
                    self._known.lose(remote, session.index)
            self._known.forget_former_statics(remote, now)
            current = remote.current
            silence = None if current is None else current.unanswered_since
            if current and silence is not None and lifetime.silent_at(silence) <= now:
                current.unanswered_since = None
                outputs += self._trying.begin(remote, now)
            if remote.attempt is not None and remote.attempt.retry_at <= now:
                outputs += self._trying.go_on(remote, now)
            outputs += state_change(remote)
        return outputs

    # --- what is known ---------------------------------------------------------------------------------------------

    def view(self, peer_id: bytes, now: float) -> PeerView:
        """What status shows of a peer; one that is not known is idle."""
        remote = self._known.remotes.get(peer_id)
        if remote is None:
            return PeerView("idle", None, None)
        age = None if remote.current is None else now - remote.current.created
        return PeerView(remote.state, age, remote.proved)

    def _progress(self, remote: Remote, session: Session, row: ProgressRow, now: float) -> list[Output]:
        due = session.note(row, now)
        if not session.confirmed and row.received_records > 0:
            session.confirmed = True
            self._trying.settle(remote, session)
        begun = self._trying.begin(remote, now) if due and session is remote.current else []
        return begun + state_change(remote)
