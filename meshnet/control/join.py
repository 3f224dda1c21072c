"""Joining a mesh over TCP: the joiner's side and the issuer's.

Purpose: a token turns into a membership, exactly once, although every message may be lost.
Rule: the issuer neither consumes the token nor signs before the joiner's first record came, which proves the
token's secret; what it grants is durable before the reply leaves. The joiner believes nothing that the token's
issuer key and the mesh id do not prove, and may ask again: the same identity gets the same certificate.
Flow: ``join`` tries the token's addresses -> ``Issuer.serve`` (called for hellos of channel JOIN) -> the reply.
Reference: design §3 "Joining"; ``join_wire`` for the messages.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from crypto.certificate import verify_chain
from crypto.errors import CryptoError, RemoteError
from crypto.keys import Entropy, IdentityKey, StaticKey
from crypto.primitives import Suite
from crypto.prologue import Channel
from crypto.secret import MeshSecret
from crypto.stream import CLOSE, SecureStream, StreamInitiator, StreamResponder
from crypto.token import Token
from meshnet.control import join_wire as wire
from meshnet.control.membership import (
    STATE_ID_SIZE,
    JoinRequest,
    Membership,
    Reason,
    Refused,
    Tokens,
    check_name,
)
from meshnet.control.pipe import Pipe, connect
from meshnet.control.row import PutLike
from meshnet.errors import ExitCode, MeshnetError

JOIN_S = 15.0  # a whole attempt at one address, and the answer to one joiner
FAILED = "failed"  # a denial that is the issuer's own trouble, told in its words

_log = logging.getLogger(__name__)
_NEW_TOKEN = "run `meshnet token create` on a host of the mesh and join with what it prints"
_REFUSALS = {
    Reason.UNKNOWN: ("its issuer does not know it", _NEW_TOKEN),
    Reason.EXPIRED: ("it has expired", _NEW_TOKEN),
    Reason.USED_UP: ("it was used as often as it allows", _NEW_TOKEN),
    Reason.NAME_IN_USE: ("another peer of the mesh bears this name", "choose another one with --name"),
    Reason.BAD_REQUEST: ("the issuer did not accept the request", _NEW_TOKEN),
}


@dataclass(frozen=True, slots=True)
class JoinReply:
    """What a join gave. statements: in wire form, for the node to absorb; issuer: its identity."""

    membership: Membership
    issuer: bytes
    statements: list[bytes] = field(repr=False)


class Records:
    """The records of a secured stream, one at a time."""

    def __init__(self, pipe: Pipe, stream: SecureStream) -> None:
        self._pipe = pipe
        self._stream = stream
        self._ready: deque[tuple[int, bytes]] = deque(stream.feed(b""))

    async def next(self) -> tuple[int, bytes]:
        """(kind, plaintext); raises ConnectionError when there is no more, RemoteError for a false one."""
        while not self._ready:
            self._ready.extend(self._stream.feed(await self._pipe.read()))
        kind, plaintext = self._ready.popleft()
        if kind == CLOSE:
            raise ConnectionResetError("the other end closed the connection")
        return kind, plaintext

    async def send(self, kind: int, plaintext: bytes) -> None:
        """Seal and write one record."""
        await self._pipe.write(self._stream.seal(kind, plaintext))

    def finish(self) -> None:
        """End in order."""
        self._pipe.finish(self._stream.close())


class Issuer:
    """Answers joiners. commit: durable on return. in_use(name, identity): whether another bears the name.

    grant(identity): gives the joiner its first addresses, durable on return, once per identity however often it
    is asked, and returns every statement the joiner should know. wall: seconds, for tokens' expiry.
    """

    def __init__(
        self,
        membership: Membership,
        tokens: Tokens,
        commit: Callable[[Sequence[PutLike]], Awaitable[None]],
        in_use: Callable[[str, bytes], bool],
        grant: Callable[[bytes], Awaitable[Sequence[bytes]]],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._membership = membership
        self._tokens = tokens
        self._commit = commit
        self._in_use = in_use
        self._grant = grant
        self._wall = wall

    async def serve(self, pipe: Pipe, responder: StreamResponder, proven: Callable[[], None]) -> bool:
        """Answer one joiner whose request was read; `proven` is called once it has shown the token's secret.

        Whether a membership was handed out. Raises RemoteError and ConnectionError; the caller ends the pipe
        and sets the deadline of the part before `proven`.
        """
        if responder.request is None:
            raise RemoteError("a join without a request")
        ask = wire.decode(responder.request.payload, wire.Ask)
        request = ask.request
        if request.static != responder.request.remote_static:
            raise RemoteError("a join for another key than the one that asks")
        try:
            psk = self._tokens.psk_for(ask.token_id, request.identity, self._wall())
        except Refused as refusal:
            responder.accept(wire.NO_PSK, wire.encode(wire.Denied(refusal.reason.value)))
            pipe.finish(responder.data_to_send())
            return False
        responder.accept(psk, b"")
        await pipe.write(responder.data_to_send())
        records = Records(pipe, responder.secure())
        if await records.next() != (wire.CONFIRM, b""):
            raise RemoteError("a join that is not confirmed")
        proven()
        async with asyncio.timeout(JOIN_S):
            return await self._answer(records, ask.token_id, request)

    async def _answer(self, records: Records, token_id: bytes, request: JoinRequest) -> bool:
        try:
            puts, chain = self._tokens.redeem(token_id, request, self._wall(), self._in_use)
            await self._commit(puts)
            statements = await self._grant(request.identity)
        except Refused as refusal:
            await records.send(wire.DENIED, wire.encode(wire.Denied(refusal.reason.value)))
            records.finish()
            return False
        except MeshnetError as error:
            _log.warning("a join failed here: %s", error)
            text = f"{error.what}: {error.why}"[: wire.MAX_TEXT]
            await records.send(wire.DENIED, wire.encode(wire.Denied(FAILED, text)))
            records.finish()
            return False
        own = self._membership
        welcome = wire.Welcome(chain, own.secret.key, own.secret.epoch, own.suite.number, own.identity.public)
        await records.send(wire.WELCOME, wire.encode(welcome))
        for part in wire.slices(statements):
            await records.send(wire.STATEMENTS, wire.encode(part))
        await records.send(wire.END, wire.encode(wire.End(len(statements))))
        records.finish()
        return True


async def join(
    token: Token, name: str, identity: IdentityKey, static: StaticKey, *, entropy: Entropy = os.urandom
) -> JoinReply:
    """Become a member by `token` under `name`, with keys made for it; tries the token's addresses in turn.

    Raises one MeshnetError that says what every address answered, or why the issuer refused.
    """
    check_name(name)
    attempt = _Attempt(token, name, identity, static, entropy)
    failures: dict[str, str] = {}
    for _ in range(2):  # a second round only after a reply that was lost: the issuer may have granted it
        for address in token.addresses:
            try:
                async with asyncio.timeout(JOIN_S):
                    return await attempt.at(address)
            except MeshnetError:
                raise
            except TimeoutError:
                failures[address] = "no answer in time"
            except CryptoError as error:
                failures[address] = str(error)
            except (OSError, ValueError) as error:
                failures[address] = getattr(error, "strerror", None) or str(error)
        if not attempt.confirmed:
            break
    raise MeshnetError(
        "cannot join the mesh",
        "; ".join(f"{address}: {why}" for address, why in failures.items()),
        "check that the host that made the token is up and its port open for TCP, or run"
        " `meshnet token create` on any other host of the mesh and join with what it prints",
        ExitCode.TIMED_OUT if set(failures.values()) == {"no answer in time"} else ExitCode.FAILED,
    )


class _Attempt:
    """One joiner's tries. `confirmed`: the issuer may have consumed the token for us."""

    def __init__(self, token: Token, name: str, identity: IdentityKey, static: StaticKey, entropy: Entropy) -> None:
        self._token = token
        self._name = name
        self._identity = identity
        self._static = static
        self._entropy = entropy
        self.confirmed = False

    async def at(self, address: str) -> JoinReply:
        """Join at one address; raises what `join` tells apart."""
        pipe = await connect(address)
        try:
            records = Records(pipe, await self._open(pipe))
            await records.send(wire.CONFIRM, b"")
            self.confirmed = True
            reply = await self._collect(records)
            records.finish()
            return reply
        finally:
            pipe.abort()

    async def _open(self, pipe: Pipe) -> SecureStream:
        """The handshake. Raises MeshnetError when the issuer refuses the token."""
        tape = _Tape(self._entropy)
        wanted = self._initiator(self._token.psk(), tape.record)
        refusal = self._initiator(wire.NO_PSK, tape.replay())
        while True:
            refusal.data_to_send()  # the same bytes: a psk enters at message 2 alone
            await pipe.write(wanted.data_to_send())
            if wanted.complete:
                return wanted.secure()
            data = await pipe.read()
            try:
                wanted.feed(data)
                # Only the one the issuer sealed for can read message 2, so the other one fails there.
                _feed_quietly(refusal, data)
            except RemoteError:
                refusal.feed(data)
                if refusal.complete:
                    raise _refused(wire.decode(refusal.payload or b"", wire.Denied)) from None
                raise

    def _initiator(self, psk: bytes, entropy: Entropy) -> StreamInitiator:
        token = self._token
        request = JoinRequest.make(token.mesh, self._identity, self._static.public, self._name)
        return StreamInitiator(
            channel=Channel.JOIN,
            mesh=token.mesh,
            suite=token.suite,
            epoch=wire.EPOCH,
            static=self._static,
            remote_static=token.issuer_static,
            psk=psk,
            payload=wire.encode(wire.Ask(token.token_id, request)),
            entropy=entropy,
        )

    async def _collect(self, records: Records) -> JoinReply:
        kind, data = await records.next()
        if kind == wire.DENIED:
            raise _refused(wire.decode(data, wire.Denied))
        if kind != wire.WELCOME:
            raise RemoteError("a join's reply that does not begin with a welcome")
        membership = self._membership(wire.decode(data, wire.Welcome))
        statements: list[bytes] = []
        size = 0
        while True:
            kind, data = await records.next()
            if kind == wire.END:
                break
            if kind != wire.STATEMENTS:
                raise RemoteError("a join's reply with an unknown part")
            size += len(data)
            statements += wire.decode_statements(data)
            if size > wire.MAX_REPLY_SIZE or len(statements) > wire.MAX_STATEMENTS:
                raise RemoteError("a join's reply that is too long")
        if wire.decode(data, wire.End).count != len(statements):
            raise RemoteError("a join's reply that is not whole")
        return JoinReply(membership, self._token.issuer_identity, statements)

    def _membership(self, welcome: wire.Welcome) -> Membership:
        token = self._token
        certificate = verify_chain(token.mesh, self._identity.public, welcome.chain)
        if certificate.name != self._name or certificate.issuer != token.issuer_identity:
            raise RemoteError("a certificate for another name or of another issuer than the token's")
        if welcome.issuer != token.issuer_identity or Suite.from_number(welcome.suite) is not token.suite:
            raise RemoteError("a welcome that does not fit the token")
        return Membership(
            state_id=self._entropy(STATE_ID_SIZE),
            mesh=token.mesh,
            identity=self._identity,
            static=self._static,
            secret=MeshSecret(welcome.epoch, welcome.secret),
            suite=token.suite,
            name=self._name,
            chain=welcome.chain,
        )


class _Tape:
    """Entropy that can be drawn a second time: two handshakes that differ in their psk alone."""

    def __init__(self, source: Entropy) -> None:
        self._source = source
        self._drawn: list[bytes] = []

    def record(self, size: int) -> bytes:
        """Fresh bytes, kept."""
        self._drawn.append(self._source(size))
        return self._drawn[-1]

    def replay(self) -> Entropy:
        """A source of the kept bytes, in their order."""
        position = 0

        def draw(size: int) -> bytes:
            nonlocal position
            if position == len(self._drawn):
                self.record(size)
            position += 1
            return self._drawn[position - 1]

        return draw


def _feed_quietly(initiator: StreamInitiator, data: bytes) -> None:
    try:
        initiator.feed(data)
    except RemoteError:
        pass


def _refused(denied: wire.Denied) -> MeshnetError:
    try:
        why, fix = _REFUSALS[Reason(denied.reason)]
    except ValueError:
        told = "".join(mark for mark in denied.text if mark.isprintable())
        return MeshnetError(
            "the host that made the token could not admit this one",
            told or "it did not say why",
            "put that right and try again, or run `meshnet token create` on another host of the mesh",
            ExitCode.FAILED,
        )
    what = "the name is taken" if denied.reason == Reason.NAME_IN_USE else "the token was refused"
    return MeshnetError(what, why, fix, ExitCode.FAILED)
