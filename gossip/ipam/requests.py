"""Requests between peers: what this one asked for, and what others ask of it.

Purpose: asking by statement, so that a request reaches its peer over any graph of links and survives neither side's
confusion: it is said, answered at most once by a grant or a loan that repeats its nonce, and withdrawn.
Rule: a request that cannot be granted when it is looked at is dropped; the asker waits no longer than CLAIM_S anyway.
What a life before a restart asked for is withdrawn, for nobody waits for it any more; but one that holds a loan is said
as long as the lease lasts (`gossip.ipam.loans`).
Flow: `ask` -> statement -> the other's `take` -> grant or loan -> `replied`; then `withdraw`, or `answered`.
Reference: design §6; docs/wire.md.
"""

from __future__ import annotations

from hashlib import blake2s

from gossip import limits
from gossip.events import Output
from gossip.state.address_bodies import GRANT, LOAN, REQUEST, Grant, LoanBody, RequestBody, request_key
from gossip.state.bodies import decode_body, encode_body
from gossip.state.replica import Replica
from gossip.state.view import Change


class Requests:
    """The own open requests, and those of others that were not looked at yet."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._identity = replica.identity
        self.own: dict[bytes, RequestBody] = {}
        self.awaited: dict[bytes, None] = {}
        """Keys of the own requests whose answer is waited for."""
        self.replied: dict[bytes, None] = {}
        """Nonces of the requests that were granted to this peer."""
        self._answered: dict[tuple[bytes, bytes], None] = {}
        self._inbox: dict[tuple[bytes, bytes], RequestBody] = {}

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        kind, key = change.slot
        data = None if change.new is None else change.new.body
        if kind == REQUEST:
            self._apply_request(change.owner, key, data)
        elif kind == GRANT and data is not None:
            grant = decode_body(GRANT, data)
            assert isinstance(grant, Grant)
            if grant.answers and change.owner == self._identity:
                self._answered[grant.to, grant.answers] = None
            elif grant.answers and grant.to == self._identity:
                self.replied[grant.answers] = None
        elif kind == LOAN and data is not None and change.owner != self._identity:
            loan = decode_body(LOAN, data)
            assert isinstance(loan, LoanBody)
            if loan.answers and loan.to == self._identity:
                self.replied[loan.answers] = None

    def ask(self, out: Output, of: bytes, network: int, name: str, start: bytes, free: int) -> RequestBody:
        """Ask a peer; replaces an earlier request of the same key."""
        said = self._replica.incarnation.to_bytes(8, "big") + self._replica.seq.to_bytes(8, "big")
        nonce = blake2s(self._identity + said, digest_size=limits.NONCE_B, person=b"mnnonce").digest()
        body = RequestBody(of, network, name, start, free, nonce)
        self._replica.publish(out, (REQUEST, body.key), encode_body(REQUEST, body))
        self.awaited[body.key] = None
        return body

    def hold(self, out: Output, of: bytes, network: int, start: bytes, nonce: bytes) -> None:
        """Say a request that holds a loan, unless one is said for that address."""
        if request_key(network, "", start) not in self.own:
            body = RequestBody(of, network, "", start, 0, nonce)
            self._replica.publish(out, (REQUEST, body.key), encode_body(REQUEST, body))

    def answered(self, key: bytes) -> None:
        """Nobody waits any more; the request stays said while it holds a loan."""
        self.awaited.pop(key, None)

    def withdraw(self, out: Output, key: bytes) -> None:
        """Ask no longer."""
        self.awaited.pop(key, None)
        held = self._replica.view.get(self._identity, (REQUEST, key))
        if held is not None and held.body is not None:
            self._replica.publish(out, (REQUEST, key), None)

    def take(self) -> tuple[bytes, RequestBody] | None:
        """The next request of another peer that was not granted yet, as (asker, request); it is forgotten."""
        while self._inbox:
            place = next(iter(self._inbox))
            body = self._inbox.pop(place)
            if (place[0], body.nonce) not in self._answered:
                return place[0], body
        return None

    @property
    def waiting(self) -> bool:
        """Whether `take` may have something."""
        return bool(self._inbox)

    def _apply_request(self, owner: bytes, key: bytes, data: bytes | None) -> None:
        body = None if data is None else decode_body(REQUEST, data)
        mine = self.own if owner == self._identity else None
        self._inbox.pop((owner, key), None)
        if mine is not None:
            mine.pop(key, None)
        if not isinstance(body, RequestBody):
            return
        if mine is not None:
            mine[key] = body
        elif body.of == self._identity and len(self._inbox) < limits.MAX_OPEN_REQUESTS:
            self._inbox[owner, key] = body
