"""The UDP handshakes of all peers: who is tried when, who is answered, which sessions the forwarder gets.

Flow: what happened goes in with ``now`` (monotonic seconds), outputs to be applied in order come back; so with timers.
Rules
- Each try is a new initiation with a greater stamp, to the peer's next address. Only the newest may be answered.
- Both begin at once: the initiation of the smaller static key wins. Its sender does not answer the other's for as long
  as both may be in flight; the other answers, abandons its own and tries again only if no record arrives.
- A peer is tried until a session is known to work: one we initiated, or one under which a record arrived. So a lost
  datagram delays, and never leaves both ends waiting for each other.
- Anything that arrives is bounded: initiations answered per second, handshakes under way, sessions and addresses kept.
- An index is random, not 0 and unlike every live one. Keys pass through an output once and are kept nowhere.
Reference: the WireGuard paper §5-6 (timers in crypto/lifetime.py), docs/wire.md, design §3.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from crypto import lifetime, tai64n
from crypto.errors import RemoteError
from crypto.handshake import (
    TYPE_INITIATION,
    TYPE_RESPONSE,
    WIRE_VERSION,
    Choice,
    Local,
    Offer,
    Received,
    initiate,
    read_initiation,
    receiver_index,
)
from crypto.keys import Entropy
from meshnet.boundary import Address, ProgressRow, SessionRow
from meshnet.control.budget import Budget
from meshnet.control.peer_output import DropSession, InstallSession, Output, PeerState, PeerView, SendDatagram, install
from meshnet.control.remote import Attempt, Remote, Session

__all__ = [
    "ANSWERS_PER_SECOND",
    "CONFIRM_S",
    "PENDING_MAX",
    "RACE_S",
    "WANTED_IGNORED_S",
    "DropSession",
    "InstallSession",
    "Output",
    "PeerState",
    "PeerView",
    "Peers",
    "SendDatagram",
]

PENDING_MAX: Final = 512
ANSWERS_PER_SECOND: Final = 100
ANSWERS_BURST: Final = 100
RACE_S: Final = 1.0
"""For how long an initiation of ours counts as in flight when one of the peer's crosses it."""
CONFIRM_S: Final = 2.0
"""How long a session the peer initiated is given to prove itself before we try by ourselves."""
WANTED_IGNORED_S: Final = 5.0
"""A wish for a session that is as young as this crossed its installation."""
RECORD_MIN: Final = 1_280


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
    ) -> None:
        """``boot`` is the forwarder's 8 bytes; ``wall_ns`` reads the wall clock, which only makes stamps."""
        self._local = local
        self._boot = boot
        self._entropy = entropy
        self._rng = rng
        self._wall_ns = wall_ns
        self._features = features
        self._largest_record = largest_record
        self._remotes: dict[bytes, Remote] = {}
        self._by_static: dict[bytes, Remote] = {}
        self._by_session: dict[int, Remote] = {}
        self._pending: dict[int, Remote] = {}
        self._stamp = bytes(tai64n.STAMP_SIZE)
        self._budget = Budget(ANSWERS_PER_SECOND, ANSWERS_BURST)
        self.counters: Counter[str] = Counter()

    # --- who exists ------------------------------------------------------------------------------------------------

    def know(self, peer_id: bytes, static: bytes, addresses: Sequence[Address]) -> list[Output]:
        """A peer exists, with this static key and these addresses; a changed key ends what the old one made."""
        remote = self._remotes.get(peer_id)
        if remote is not None and remote.static == static:
            remote.addresses = tuple(addresses)
            return []
        outputs = self.forget(peer_id)
        if static != self._local.static.public and static not in self._by_static:
            self._remotes[peer_id] = self._by_static[static] = Remote(peer_id, static, tuple(addresses))
        return outputs

    def forget(self, peer_id: bytes) -> list[Output]:
        """A peer is gone or may not speak any more: its sessions and attempts end."""
        remote = self._remotes.pop(peer_id, None)
        if remote is None:
            return []
        del self._by_static[remote.static]
        self._abandon(remote)
        outputs: list[Output] = [DropSession(index) for index in remote.sessions]
        for index in list(remote.sessions):
            self._lose(remote, index)
        remote.attempt, remote.unreachable = None, False
        return outputs + self._report(remote)

    # --- what happened ---------------------------------------------------------------------------------------------

    def wanted(self, peer_id: bytes, now: float) -> list[Output]:
        """A frame waits for a session with the peer."""
        remote = self._remotes.get(peer_id)
        if remote is None or (remote.current and now - remote.current.created < WANTED_IGNORED_S):
            return []
        return self._begin(remote, now)

    def receive(self, address: Address, datagram: bytes, now: float) -> list[Output]:
        """A handshake datagram arrived. Never raises: what is wrong is counted."""
        kind = datagram[0] if datagram else 0
        try:
            if kind == TYPE_INITIATION:
                return self._receive_initiation(address, datagram, now)
            if kind == TYPE_RESPONSE:
                return self._receive_response(address, datagram, now)
        except RemoteError as error:
            self.counters[error.reason] += 1
            return []
        self.counters["datagram of another type"] += 1
        return []

    def moved(self, peer_id: bytes, address: Address) -> None:
        """An authenticated record of the peer came from this address."""
        remote = self._remotes.get(peer_id)
        if remote is not None:
            remote.proved = address

    def progressed(self, rows: Iterable[ProgressRow], now: float) -> list[Output]:
        """What sessions did, about once a second: sessions prove themselves, age and fall silent by it."""
        outputs: list[Output] = []
        for row in rows:
            remote = self._by_session.get(row.index)
            if remote is not None:
                outputs += self._progress(remote, remote.sessions[row.index], row, now)
        return outputs

    def session_lost(self, index: int) -> list[Output]:
        """The forwarder ended a session by itself."""
        remote = self._by_session.get(index)
        if remote is None:
            return []
        self._lose(remote, index)
        return self._report(remote)

    def rebooted(self, peer_id: bytes, boot: bytes, now: float) -> list[Output]:
        """The peer's statement names a forwarder (8 bytes); a session made with an earlier one is dead there."""
        remote = self._remotes.get(peer_id)
        if remote is None or remote.boot == boot:
            return []
        if remote.attempt is not None:
            return self._try(remote, remote.attempt, now) + self._report(remote)
        return self._begin(remote, now) if remote.current else []

    def adopted(self, rows: Iterable[SessionRow], now: float) -> list[Output]:
        """A forwarder was found running with these sessions; those of unknown peers end, old ones are made anew."""
        outputs: list[Output] = []
        oldest_first = sorted(rows, key=lambda row: -row.age_s)
        in_use = {row.peer: row.age_s for row in oldest_first if row.current}
        for row in oldest_first:
            remote = self._remotes.get(row.peer)
            if remote is None:
                outputs.append(DropSession(row.index))
                continue
            # Only a session younger than the one in use may still wait for its first record.
            confirmed = row.peer in in_use and row.age_s >= in_use[row.peer]
            session = Session(row.index, row.initiator, now - row.age_s, confirmed)
            self._add(remote, session)
            remote.proved = row.address
            if row.current:
                remote.current = session
                outputs += self._report(remote)
                if row.age_s > lifetime.ADOPTED_REKEY_S:
                    outputs += self._begin(remote, now)
        return outputs

    def restarted(self, boot: bytes, now: float) -> list[Output]:
        """A new forwarder started and no session is left: those in use are made anew, the busiest first."""
        self._boot = boot
        lost = [(remote.current.records, remote) for remote in self._remotes.values() if remote.current]
        outputs: list[Output] = []
        for remote in self._remotes.values():
            for index in list(remote.sessions):
                self._lose(remote, index)
            self._abandon(remote)
            if remote.attempt is not None:
                remote.attempt.retry_at = now
        for _, remote in sorted(lost, key=lambda pair: -pair[0]):
            outputs += self._begin(remote, now)
        for remote in self._remotes.values():
            outputs += self._report(remote)
        return outputs

    # --- time ------------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When ``handle_timer`` is to be called next, or ``None`` while nothing is under way."""
        dues = (remote.due() for remote in self._remotes.values())
        return min((due for due in dues if due is not None), default=None)

    def handle_timer(self, now: float) -> list[Output]:
        """Does what is due at ``now``."""
        outputs: list[Output] = []
        for remote in list(self._remotes.values()):
            due = remote.due()
            if due is None or due > now:
                continue
            for session in list(remote.sessions.values()):
                if lifetime.expires_at(session.created) <= now:
                    outputs.append(DropSession(session.index))
                    self._lose(remote, session.index)
            current = remote.current
            silence = None if current is None else current.unanswered_since
            if current and silence is not None and lifetime.silent_at(silence) <= now:
                current.unanswered_since = None
                outputs += self._begin(remote, now)
            if remote.attempt is not None and remote.attempt.retry_at <= now:
                outputs += self._try(remote, remote.attempt, now)
            outputs += self._report(remote)
        return outputs

    # --- what is known ---------------------------------------------------------------------------------------------

    def view(self, peer_id: bytes, now: float) -> PeerView:
        """What status shows of a peer; one that is not known is idle."""
        remote = self._remotes.get(peer_id)
        if remote is None:
            return PeerView("idle", None, None)
        age = None if remote.current is None else now - remote.current.created
        return PeerView(remote.state, age, remote.proved)

    # --- trying ----------------------------------------------------------------------------------------------------

    def _begin(self, remote: Remote, now: float) -> list[Output]:
        """Starts to try a peer, unless that is under way."""
        if remote.attempt is not None:
            return []
        remote.attempt = Attempt(since=now, retry_at=now)
        fresh = remote.unconfirmed()
        if fresh is not None and now < fresh.created + CONFIRM_S:
            remote.attempt.retry_at = fresh.created + CONFIRM_S
            return self._report(remote)
        return self._try(remote, remote.attempt, now) + self._report(remote)

    def _try(self, remote: Remote, attempt: Attempt, now: float) -> list[Output]:
        """Sends the next initiation of an attempt, or gives it up."""
        self._abandon(remote)
        if lifetime.gave_up(now - attempt.since):
            remote.attempt, remote.unreachable = None, True
            return self._report(remote)
        candidates = remote.candidates()
        if not candidates or len(self._pending) >= PENDING_MAX:
            attempt.retry_at = now + lifetime.retry_delay(1, self._rng.random())
            return []
        address = candidates[attempt.tries % len(candidates)]
        attempt.tries += 1
        self._stamp = tai64n.later(self._stamp, self._wall_ns())
        offer = Offer(self._stamp, self._boot, WIRE_VERSION, WIRE_VERSION, self._features, self._largest_record)
        try:
            initiation = initiate(self._local, remote.static, self._new_index(), offer, self._entropy)
        except RemoteError as error:
            self.counters[error.reason] += 1
            remote.attempt, remote.unreachable = None, True
            return self._report(remote)
        rounds = -(-attempt.tries // len(candidates))
        attempt.retry_at = now + lifetime.retry_delay(rounds, self._rng.random())
        attempt.initiation, attempt.sent_at, attempt.sent_to = initiation, now, address
        self._pending[initiation.sender_index] = remote
        return [SendDatagram(address, initiation.datagram)]

    def _abandon(self, remote: Remote) -> None:
        """Takes no answer any more to the initiation that is in flight."""
        if remote.attempt is not None and remote.attempt.initiation is not None:
            del self._pending[remote.attempt.initiation.sender_index]
            remote.attempt.initiation = None

    def _settle(self, remote: Remote, session: Session) -> None:
        """A session works, so trying ends. It is the one in use unless a newer one has taken its place already."""
        if remote.current is None or session.created >= remote.current.created:
            remote.current = session
        self._abandon(remote)
        remote.attempt, remote.unreachable = None, False

    def _progress(self, remote: Remote, session: Session, row: ProgressRow, now: float) -> list[Output]:
        due = session.note(row, now)
        if not session.confirmed and row.received_records > 0:
            session.confirmed = True
            self._settle(remote, session)
        begun = self._begin(remote, now) if due and session is remote.current else []
        return begun + self._report(remote)

    # --- what arrives ----------------------------------------------------------------------------------------------

    def _receive_response(self, address: Address, datagram: bytes, now: float) -> list[Output]:
        remote = self._pending.get(receiver_index(datagram))
        if remote is None or remote.attempt is None or remote.attempt.initiation is None:
            raise RemoteError("response to no initiation of ours")
        established = remote.attempt.initiation.finish(datagram)
        choice = established.choice
        record = self._record_size(choice.largest_record)
        remote.proved, remote.boot = address, choice.boot
        session = Session(established.local_index, True, now, True)
        self._settle(remote, session)
        self._add(remote, session)
        output = install(remote.peer_id, established, address, initiator=True, features=choice.features, record=record)
        return [output, *self._report(remote)]

    def _receive_initiation(self, address: Address, datagram: bytes, now: float) -> list[Output]:
        if not self._budget.take(now):
            raise RemoteError("more initiations than are answered")
        received = read_initiation(self._local, datagram)
        remote = self._by_static.get(received.remote_static)
        if remote is None:
            raise RemoteError("initiation of an unknown peer")
        offer = received.offer
        if offer.stamp <= remote.stamp:
            raise RemoteError("initiation that is not newer than the last")
        if not offer.min_version <= WIRE_VERSION <= offer.max_version:
            raise RemoteError("initiation without a wire version of ours")
        record = self._record_size(offer.largest_record)
        remote.stamp, remote.proved, remote.boot = offer.stamp, address, offer.boot
        attempt = remote.attempt
        ours_wins = self._local.static.public < remote.static
        if attempt and attempt.initiation and ours_wins and now - attempt.sent_at < RACE_S:
            self.counters["initiation that lost a race"] += 1
            # Ours may have gone to an address where nobody is; theirs came from one where they are.
            if attempt.sent_to == address:
                return []
            attempt.tries = 0
            return self._try(remote, attempt, now)
        if attempt and not ours_wins:
            self._abandon(remote)
            attempt.retry_at = now + lifetime.REKEY_TIMEOUT_S + self._rng.random() * lifetime.RETRY_JITTER_S
        return self._answer(remote, received, address, record, now)

    def _answer(self, remote: Remote, received: Received, address: Address, record: int, now: float) -> list[Output]:
        choice = Choice(self._boot, WIRE_VERSION, self._features, self._largest_record)
        response, established = received.answer(self._new_index(), choice, self._entropy)
        self._add(remote, Session(established.local_index, False, now, False))
        # Installed before the response leaves, so that the first record finds its session.
        features = received.offer.features
        output = install(remote.peer_id, established, address, initiator=False, features=features, record=record)
        return [output, SendDatagram(address, response)]

    # --- bounds and books ------------------------------------------------------------------------------------------

    def _record_size(self, theirs: int) -> int:
        if theirs < RECORD_MIN:
            raise RemoteError("handshake with an impossible record size")
        return min(theirs, self._largest_record)

    def _new_index(self) -> int:
        while True:
            index = int.from_bytes(self._entropy(4))
            if index and index not in self._pending and index not in self._by_session:
                return index

    def _add(self, remote: Remote, session: Session) -> None:
        before = list(remote.sessions)
        remote.add(session)
        self._by_session[session.index] = remote
        for index in before:
            if index not in remote.sessions:
                del self._by_session[index]

    def _lose(self, remote: Remote, index: int) -> None:
        remote.remove(index)
        del self._by_session[index]

    def _report(self, remote: Remote) -> list[Output]:
        state = remote.state
        if state == remote.reported:
            return []
        remote.reported = state
        return [PeerState(remote.peer_id, state)]
