"""The half of the handshakes that this host begins: attempts, their initiations, and what answers them. PURE.

Rules
- Each try is a new initiation with a greater stamp, to the peer's next address, under a mesh secret the peer holds.
  Only the newest may be answered. A stamp is reserved before it is used; until then the attempt waits.
- A peer is tried until a session is known to work: one we initiated, or one under which a record arrived. So a lost
  datagram delays, and never leaves both ends waiting for each other.
- A cookie that the peer gives is answered at once, once per attempt and cookie and HURRIES_MAX times per attempt, and
  then used in what is sent to that address as mac2 and as the challenge.
- The session a response makes leads to where the initiation was sent: that address was just shown to reach the peer,
  which the response's source was not.
Reference: the WireGuard paper §5-6 (timers in crypto/lifetime.py), docs/wire.md.
"""

from __future__ import annotations

from typing import Final

from crypto import lifetime
from crypto.cookie import reply_receiver
from crypto.errors import RemoteError
from crypto.handshake import initiate, receiver_index
from meshnet.boundary import Address
from meshnet.control.budget import Budget
from meshnet.control.handshakes.cookies import NO_CHALLENGE, Given
from meshnet.control.handshakes.known_peers import KnownPeers
from meshnet.control.handshakes.own_end import OwnEnd
from meshnet.control.handshakes.peer_output import Output, ReserveStamps, SendDatagram, install, state_change
from meshnet.control.handshakes.remote import Attempt, Remote, Session
from meshnet.control.handshakes.stamps import Stamps

__all__ = ["CONFIRM_S", "HURRIES_MAX", "PENDING_MAX", "RESERVED_WITHIN_S", "Trying"]

PENDING_MAX: Final = 512
CONFIRM_S: Final = 2.0
"""How long a session the peer initiated is given to prove itself before we try by ourselves."""
HURRIES_MAX: Final = 4
"""Cookies that one attempt answers at once; a peer under attack changes its secret every two minutes."""
RESERVED_WITHIN_S: Final = 1.0
"""An attempt whose stamp is not reserved by then looks again."""


class Trying:
    """The attempts of all peers; ``budget`` is that of Diffie-Hellman work that others can cause."""

    def __init__(self, own: OwnEnd, known: KnownPeers, stamps: Stamps, budget: Budget) -> None:
        self._own = own
        self._known = known
        self._stamps = stamps
        self._budget = budget

    def begin(self, remote: Remote, now: float) -> list[Output]:
        """Starts to try a peer, unless that is under way."""
        if remote.attempt is not None:
            return []
        remote.attempt = Attempt(since=now, retry_at=now)
        self._known.stir(remote)
        fresh = remote.unconfirmed()
        if fresh is not None and now < fresh.created + CONFIRM_S:
            remote.attempt.retry_at = fresh.created + CONFIRM_S
            return state_change(remote)
        return self.go_on(remote, now) + state_change(remote)

    def go_on(self, remote: Remote, now: float, at: Address | None = None) -> list[Output]:
        """Sends the next initiation of an attempt (``at`` this address if given), or gives the attempt up."""
        attempt = remote.attempt
        if attempt is None:
            return []
        self._known.abandon(remote)
        attempt.waits = False
        if lifetime.gave_up(now - attempt.since):
            return self._give_up(remote)
        candidates = [one for one in remote.candidates() if self._own.usable(remote.peer_id, one)]
        if not candidates or self._known.under_way >= PENDING_MAX:
            attempt.retry_at = now + lifetime.retry_delay(1, self._own.rng.random())
            return []
        stamp = self._stamps.take()
        until = self._stamps.reservation()
        asked: list[Output] = [] if until is None else [ReserveStamps(until)]
        if stamp is None:
            attempt.waits, attempt.retry_at = True, now + RESERVED_WITHIN_S
            return asked
        address = at or candidates[attempt.tries % len(candidates)]
        attempt.tries += at is None
        rounds = -(-attempt.tries // len(candidates))
        attempt.retry_at = now + lifetime.retry_delay(rounds, self._own.rng.random())
        return [*asked, *self._send(remote, attempt, address, stamp, now)]

    def settle(self, remote: Remote, session: Session) -> None:
        """A session works, so trying ends. It is the one in use unless a newer one has taken its place already."""
        if remote.current is None or session.created >= remote.current.created:
            remote.current = session
        self.end(remote)
        remote.unreachable = False

    def end(self, remote: Remote) -> None:
        """Ends the attempt, if there is one."""
        self._known.abandon(remote)
        remote.attempt = None

    # --- what arrives ----------------------------------------------------------------------------------------------

    def receive_response(self, address: Address, datagram: bytes, now: float) -> list[Output]:
        """A response. Raises ``RemoteError``; the attempt then goes on."""
        remote = self._known.of_initiation(receiver_index(datagram))
        attempt = None if remote is None else remote.attempt
        if remote is None or attempt is None or attempt.initiation is None or attempt.sent_to is None:
            raise RemoteError("response to no initiation of ours")
        if not (self._budget.take(now) or (address == attempt.sent_to and self._budget.take_reserved(now))):
            raise RemoteError("more handshakes than are computed")
        established = attempt.initiation.finish(datagram)
        choice = established.choice
        record = self._own.record_size(choice.largest_record)
        path, remote.boot = attempt.sent_to, choice.boot
        self._known.prove(remote, path)
        session = Session(established.local_index, True, now, True)
        self.settle(remote, session)
        self._known.add_session(remote, session)
        output = install(remote.peer_id, established, path, initiator=True, features=choice.features, record=record)
        return [output, *state_change(remote)]

    def receive_cookie(self, datagram: bytes, now: float) -> list[Output]:
        """A cookie reply. Raises ``RemoteError``; whoever forges one without the mesh secret costs a look-up."""
        remote = self._known.of_initiation(reply_receiver(datagram))
        attempt = None if remote is None else remote.attempt
        if remote is None or attempt is None or attempt.initiation is None or attempt.sent_to is None:
            raise RemoteError("cookie for no initiation of ours")
        cookie = attempt.initiation.open_cookie(datagram)
        remote.take_cookie(Given(cookie, attempt.sent_to, now))
        if cookie in attempt.hurried or len(attempt.hurried) >= HURRIES_MAX or not self._budget.take_reserved(now):
            return []
        attempt.hurried = (*attempt.hurried, cookie)
        return self.go_on(remote, now, at=attempt.sent_to) + state_change(remote)

    def reserved(self, until: bytes, now: float) -> list[Output]:
        """Stamps up to ``until`` are reserved: what waited for that goes on."""
        self._stamps.reserved(until)
        outputs: list[Output] = []
        for remote in self._known.stirring():
            if remote.attempt is not None and remote.attempt.waits:
                outputs += self.go_on(remote, now) + state_change(remote)
        return outputs

    # --- doing -----------------------------------------------------------------------------------------------------

    def _send(self, remote: Remote, attempt: Attempt, address: Address, stamp: bytes, now: float) -> list[Output]:
        own = self._own
        given = remote.cookie_for(address, now)
        offer = own.offer(stamp, NO_CHALLENGE if given is None else given.challenge)
        try:
            initiation = initiate(
                own.local,
                remote.static,
                self._known.new_index(),
                offer,
                own.entropy,
                epoch=own.epoch_for(remote.tags),
                cookie=None if given is None else given.cookie,
            )
        except RemoteError as error:
            own.counters[error.reason] += 1
            return self._give_up(remote)
        attempt.initiation, attempt.static = initiation, own.local.static.public
        attempt.sent_at, attempt.sent_to = now, address
        self._known.sent(remote, initiation)
        return [SendDatagram(address, initiation.datagram)]

    def _give_up(self, remote: Remote) -> list[Output]:
        self.end(remote)
        remote.unreachable = True
        return state_change(remote)
