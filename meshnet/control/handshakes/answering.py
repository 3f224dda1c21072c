"""The half of the handshakes that another peer begins: whose initiation is answered, and how. PURE.

Flow: budget → the initiation's tags → who sent it → freshness → who goes first → a session and the response.
Rules
- What a stranger can make us compute is bounded by the budget. A part of it is kept for who showed that it receives at
  its address (mac2), and for addresses where a peer is known to be.
- A stale initiation of a peer (freshness.py) changes nothing here; it gets a cookie reply, a third of its size.
- Both begin at once: of the two initiations the one made with the smaller static key wins. Its sender does not answer
  the other's for as long as both may be in flight, once per attempt; the other answers, abandons its own and tries
  again only if no record arrives.
- While there are sessions with a peer, a new one leads to the address that is proved, wherever its initiation came
  from: the forwarder moves the peer by its probe, so nobody who passes an initiation on draws traffic elsewhere.
Reference: docs/wire.md; the WireGuard paper §5.
"""

from __future__ import annotations

from typing import Final

from crypto import lifetime
from crypto.errors import RemoteError
from crypto.handshake import WIRE_VERSION, Received, read_initiation
from meshnet.boundary import Address
from meshnet.control.budget import Budget
from meshnet.control.handshakes.cookies import Cookies
from meshnet.control.handshakes.freshness import Verdict
from meshnet.control.handshakes.known_peers import KnownPeers
from meshnet.control.handshakes.own_end import OwnEnd
from meshnet.control.handshakes.peer_output import Output, SendDatagram, install
from meshnet.control.handshakes.remote import Attempt, Remote, Session
from meshnet.control.handshakes.trying import CONFIRM_S, Trying

__all__ = ["RACE_S", "Answering"]

RACE_S: Final = 1.0
"""For how long an initiation of ours counts as in flight when one of the peer's crosses it."""
NONCE_SIZE: Final = 24


class Answering:
    """Judges and answers what other peers initiate."""

    def __init__(self, own: OwnEnd, known: KnownPeers, trying: Trying, cookies: Cookies, budget: Budget) -> None:
        self._own = own
        self._known = known
        self._trying = trying
        self._cookies = cookies
        self._budget = budget

    def receive(self, address: Address, datagram: bytes, now: float) -> list[Output]:
        """An initiation arrived. Raises ``RemoteError``, and nothing has changed but the budget."""
        if not self._budget.take(now) and not (
            self._is_favoured(address, datagram) and self._budget.take_reserved(now)
        ):
            raise RemoteError("more handshakes than are computed")
        received = read_initiation(self._own.local, datagram)
        remote = self._known.by_static(received.remote_static)
        if remote is None:
            raise RemoteError("initiation of an unknown peer")
        if not self._own.usable(remote.peer_id, address):
            raise RemoteError("initiation from an address that is not to be used")
        offer = received.offer
        if not offer.min_version <= WIRE_VERSION <= offer.max_version:
            raise RemoteError("initiation without a wire version of ours")
        record = self._own.record_size(offer.largest_record)
        challenged, wall_ns = self._cookies.challenged(address, offer.challenge), self._own.wall_ns()
        verdict = remote.fresh.judge(offer.stamp, received.ephemeral, challenged, wall_ns)
        if verdict is Verdict.REPEATED:
            raise RemoteError("initiation that was taken before")
        if verdict is Verdict.STALE:
            return self._ask_back(received, address)
        remote.fresh.accept(verdict, offer.stamp, received.ephemeral, wall_ns)
        remote.heard, remote.boot = address, offer.boot
        return self._settle_race(remote, received, address, record, now)

    def _is_favoured(self, address: Address, datagram: bytes) -> bool:
        return self._cookies.has_mac2(address, datagram) or self._known.is_proved(address)

    def _ask_back(self, received: Received, address: Address) -> list[Output]:
        """The sender's clock or ours is wrong, or this is a recording: a new one with the challenge will tell."""
        self._own.counters["initiation that is not newer than the last"] += 1
        cookie = self._cookies.make(address)
        if cookie is None:
            return []
        return [SendDatagram(address, received.cookie_reply(cookie, self._own.entropy(NONCE_SIZE)))]

    def _settle_race(
        self, remote: Remote, received: Received, address: Address, record: int, now: float
    ) -> list[Output]:
        attempt = remote.attempt
        if attempt is None:
            return self._answer(remote, received, address, record, now)
        if attempt.initiation is None:
            attempt.waits, attempt.retry_at = False, max(attempt.retry_at, now + CONFIRM_S)
        elif attempt.static >= received.remote_static:
            self._known.abandon(remote)
            attempt.retry_at = now + self._own_turn()
        elif now - attempt.sent_at < RACE_S and not attempt.insisted:
            return self._insist(remote, attempt, address, now)
        return self._answer(remote, received, address, record, now)

    def _insist(self, remote: Remote, attempt: Attempt, address: Address, now: float) -> list[Output]:
        """Our initiation goes first; theirs is not answered, once: it may be that only theirs come through."""
        attempt.insisted = True
        self._own.counters["initiation that lost a race"] += 1
        # Ours may have gone to an address where nobody is; theirs came from one where they are.
        return [] if attempt.sent_to == address else self._trying.go_on(remote, now, at=address)

    def _own_turn(self) -> float:
        """How long the peer has to prove the session it initiated, before we try by ourselves."""
        return lifetime.REKEY_TIMEOUT_S + self._own.rng.random() * lifetime.RETRY_JITTER_S

    def _answer(self, remote: Remote, received: Received, address: Address, record: int, now: float) -> list[Output]:
        path = remote.proved if remote.sessions and remote.proved is not None else address
        given = remote.cookie_for(address, now)
        response, established = received.answer(
            self._known.new_index(),
            self._own.choice(),
            self._own.entropy,
            cookie=None if given is None else given.cookie,
        )
        self._known.prove(remote, path)
        self._known.add_session(remote, Session(established.local_index, False, now, False))
        # Installed before the response leaves, so that the first record finds its session.
        features = received.offer.features
        output = install(remote.peer_id, established, path, initiator=False, features=features, record=record)
        return [output, SendDatagram(address, response)]
