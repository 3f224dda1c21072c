"""Letting hosts in: what a peer with the role `invite` answers to those who ask to join.

Purpose: a token or the password turns into a membership, exactly once, although every message may be lost.
Rule: nothing is consumed or signed before the joiner's first record came, which proves what it joins by; what is
granted is durable before the reply leaves. The allow-list and revocations are asked at that moment.
Flow: ``serve`` (channel JOIN) and ``serve_password`` (channel PASSWORD) -> ``Tokens`` -> commit -> grant -> reply.
Reference: design §3 "Joining"; ``join_wire`` for the messages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from crypto.errors import RemoteError
from crypto.stream import StreamResponder
from meshnet.control.budget import Budget
from meshnet.control.joining import join_wire as wire
from meshnet.control.joining.tokens import Reason, Refused, Tokens, Writes
from meshnet.control.keys.membership import JoinRequest, Membership
from meshnet.control.store.row import PutLike
from meshnet.control.streams.pipe import Pipe
from meshnet.control.streams.records import Records
from meshnet.errors import MeshnetError

ANSWER_S = 15.0  # the answer to one joiner that has proven itself
PASSWORD_PER_S = 1.0
PASSWORD_BURST = 5

_log = logging.getLogger(__name__)

Decide = Callable[[], tuple[Writes, tuple[bytes, ...]]]


class Issuer:
    """Answers joiners. membership(): this host's. commit: durable on return.

    in_use(name, identity): whether another peer bears the name. grant(identity): gives the joiner its first
    addresses, durable on return, once per identity however often it is asked, and returns every statement the
    joiner should know. allowed(identity): False for a revoked identity, and for one that is missing on the
    allow-list where there is one. wall: seconds, for tokens' expiry.
    """

    def __init__(
        self,
        membership: Callable[[], Membership],
        tokens: Tokens,
        commit: Callable[[Sequence[PutLike]], Awaitable[None]],
        in_use: Callable[[str, bytes], bool],
        grant: Callable[[bytes], Awaitable[Sequence[bytes]]],
        allowed: Callable[[bytes], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._membership = membership
        self._tokens = tokens
        self._commit = commit
        self._in_use = in_use
        self._grant = grant
        self._allowed = allowed
        self._wall = wall
        self._attempts = Budget(PASSWORD_PER_S, PASSWORD_BURST)

    def password_attempt(self, now: float) -> bool:
        """Whether one more opening of channel PASSWORD may go on now (monotonic seconds).

        To be asked once for each, before its third message is read: that is what tells a guess from the password.
        """
        return self._attempts.take(now)

    async def serve(self, pipe: Pipe, responder: StreamResponder, proven: Callable[[], None]) -> bool:
        """Answer one joiner whose request was read; `proven` is called once it has shown the token's secret.

        Whether a membership was handed out. Raises RemoteError and ConnectionError; the caller ends the pipe
        and sets the deadline of the part before `proven`.
        """
        if responder.request is None:
            raise RemoteError("a join without a request")
        ask = wire.decode(responder.request.payload, wire.Ask)
        request = _own_request(ask.request, responder.request.remote_static)
        try:
            psk = self._tokens.psk_for(ask.token_id, request.identity, self._wall())
        except Refused as refusal:
            responder.accept(wire.NO_PSK, wire.encode(wire.Denied(refusal.reason.value)))
            pipe.finish(responder.data_to_send())
            return False
        responder.accept(psk, b"")
        await pipe.write(responder.data_to_send())

        def redeem() -> tuple[Writes, tuple[bytes, ...]]:
            return self._tokens.redeem(ask.token_id, request, self._wall(), self._in_use)

        return await self._confirmed(pipe, responder, request, redeem, proven)

    async def serve_password(self, pipe: Pipe, responder: StreamResponder, proven: Callable[[], None]) -> bool:
        """As `serve`, for a joiner whose handshake has already proved the password."""
        if responder.request is None:
            raise RemoteError("a join without a request")
        asked = wire.decode(responder.request.payload, JoinRequest)
        request = _own_request(asked, responder.request.remote_static)

        def admit() -> tuple[Writes, tuple[bytes, ...]]:
            if self._membership().password_key is None:
                raise Refused(Reason.UNKNOWN)
            return self._tokens.admit(request, self._wall(), self._in_use)

        return await self._confirmed(pipe, responder, request, admit, proven)

    async def _confirmed(
        self, pipe: Pipe, responder: StreamResponder, request: JoinRequest, decide: Decide, proven: Callable[[], None]
    ) -> bool:
        records = Records(pipe, responder.secure())
        if await records.next() != (wire.CONFIRM, b""):
            raise RemoteError("a join that is not confirmed")
        proven()
        async with asyncio.timeout(ANSWER_S):
            return await self._answer(records, request, decide)

    async def _answer(self, records: Records, request: JoinRequest, decide: Decide) -> bool:
        try:
            if not self._allowed(request.identity):
                raise Refused(Reason.NOT_ALLOWED)
            puts, chain = decide()
            await self._commit(puts)
            statements = await self._grant(request.identity)
            if not self._allowed(request.identity):  # revoked while this waited: it gets no secret
                raise Refused(Reason.NOT_ALLOWED)
        except Refused as refusal:
            await records.send(wire.DENIED, wire.encode(wire.Denied(refusal.reason.value)))
            records.finish()
            return False
        except MeshnetError as error:
            _log.warning("a join failed here: %s", error)
            text = f"{error.what}: {error.why}"[: wire.MAX_TEXT]
            await records.send(wire.DENIED, wire.encode(wire.Denied(wire.FAILED, text)))
            records.finish()
            return False
        own = self._membership()
        secret = own.keyring.current
        welcome = wire.Welcome(chain, secret.key, secret.generation, own.suite.number, own.identity.public)
        await records.send(wire.WELCOME, wire.encode(welcome))
        for part in wire.slices(statements):
            await records.send(wire.STATEMENTS, wire.encode(part))
        await records.send(wire.END, wire.encode(wire.End(len(statements))))
        records.finish()
        return True


def _own_request(request: JoinRequest, remote_static: bytes) -> JoinRequest:
    if request.static != remote_static:
        raise RemoteError("a join for another key than the one that asks")
    return request
