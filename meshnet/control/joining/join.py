"""Joining a mesh by token, over TCP, and coming back with one after a missed change of the mesh secret.

Purpose: a token turns into a membership, exactly once, although every message may be lost.
Rule: the joiner believes nothing that the token's issuer key and the mesh id do not prove, and may ask again: the
same identity gets the same certificate. A refusal of the token itself comes sealed under ``NO_PSK``; only who holds
the issuer's static key can have sent it.
Flow: ``join`` and ``rejoin`` try the token's addresses -> ``Issuer.serve`` answers -> ``join_reply`` reads it.
Reference: design §3 "Joining"; ``join_wire`` for the messages.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace

from crypto.errors import CryptoError, RemoteError
from crypto.keyring import Keyring
from crypto.keys import Entropy, IdentityKey, StaticKey
from crypto.primitives import Suite
from crypto.prologue import Channel
from crypto.secret import MeshSecret
from crypto.stream import SecureStream, StreamInitiator
from crypto.token import Token
from meshnet.control.joining import join_wire as wire
from meshnet.control.joining.join_reply import TOKEN_REFUSALS, JoinReply, check_issued, check_issuer, collect, refused
from meshnet.control.keys.membership import STATE_ID_SIZE, JoinRequest, Membership, check_name
from meshnet.control.streams.pipe import Pipe, connect
from meshnet.control.streams.records import Records
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["JoinReply", "caught_up", "join", "rejoin"]

JOIN_S = 15.0  # a whole attempt at one address

Accept = Callable[[wire.Welcome], Membership]
"""Makes the membership of a welcome that was read whole; raises RemoteError when it proves nothing."""


async def join(
    token: Token, name: str, identity: IdentityKey, static: StaticKey, *, entropy: Entropy = os.urandom
) -> JoinReply:
    """Become a member by `token` under `name`, with keys made for it; tries the token's addresses in turn.

    Raises one MeshnetError that says what every address answered, or why the issuer refused.
    """
    check_name(name)
    request = JoinRequest.make(token.mesh, identity, static.public, name)

    def accept(welcome: wire.Welcome) -> Membership:
        check_issued(welcome, token.mesh, request)
        return Membership(
            state_id=entropy(STATE_ID_SIZE),
            mesh=token.mesh,
            identity=identity,
            static=static,
            keyring=Keyring(MeshSecret(welcome.generation, welcome.secret)),
            suite=token.suite,
            name=name,
            chain=welcome.chain,
        )

    return await _try_addresses(_Attempt(token, request, static, entropy, accept))


async def rejoin(token: Token, membership: Membership, *, entropy: Entropy = os.urandom) -> JoinReply:
    """Get the mesh secret anew for a member that missed its replacement.

    The reply's membership is this one, certificates included, with another keyring. Raises MeshnetError: a token
    of another mesh or of this host, a secret older than the one held, and as `join`.
    """
    why = None
    if token.mesh != membership.mesh:
        why = "it is one of another mesh"
    elif token.issuer_identity == membership.identity.public:
        why = "this host made it itself"
    if why is not None:
        fix = "run `meshnet token create` on another host of this host's mesh"
        raise MeshnetError("the token is of no use here", why, fix, ExitCode.USAGE)
    own, static = membership, membership.static
    request = JoinRequest.make(own.mesh, own.identity, static.public, own.name)

    def accept(welcome: wire.Welcome) -> Membership:
        check_issuer(welcome, own.mesh, request)
        return replace(own, keyring=caught_up(own.keyring, MeshSecret(welcome.generation, welcome.secret)))

    return await _try_addresses(_Attempt(token, request, static, entropy, accept))


def caught_up(ring: Keyring, secret: MeshSecret) -> Keyring:
    """The keyring with `secret` in use; of those before, one that can be told apart from it stays accepted.

    Raises MeshnetError for a secret older than the one in use.
    """
    if secret == ring.current:
        return ring
    if secret.generation < ring.current.generation:
        raise MeshnetError(
            "the mesh secret of that host is older than this one's",
            f"it has number {secret.generation}, this host {ring.current.generation}",
            "create the token on a host that has the newest, as `meshnet secret status` shows",
        )
    before = (ring.current, ring.previous)
    return Keyring(secret, previous=next((one for one in before if one and one.epoch != secret.epoch), None))


async def _try_addresses(attempt: _Attempt) -> JoinReply:
    failures: dict[str, str] = {}
    for _ in range(2):  # a second round only after a reply that was lost: the issuer may have granted it
        for address in attempt.token.addresses:
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

    def __init__(self, token: Token, request: JoinRequest, static: StaticKey, entropy: Entropy, accept: Accept) -> None:
        self.token = token
        self._request = request
        self._static = static
        self._entropy = entropy
        self._accept = accept
        self.confirmed = False

    async def at(self, address: str) -> JoinReply:
        """Join at one address; raises what `_try_addresses` tells apart."""
        pipe = await connect(address)
        try:
            records = Records(pipe, await self._open(pipe))
            await records.send(wire.CONFIRM, b"")
            self.confirmed = True
            reply = await self._read(records)
            records.finish()
            return reply
        finally:
            pipe.abort()

    async def _open(self, pipe: Pipe) -> SecureStream:
        """The handshake. Raises MeshnetError when the issuer refuses the token."""
        tape = _Tape(self._entropy)
        wanted = self._initiator(self.token.psk(), tape.record)
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
                    raise refused(wire.decode(refusal.payload or b"", wire.Denied), TOKEN_REFUSALS) from None
                raise

    def _initiator(self, psk: bytes, entropy: Entropy) -> StreamInitiator:
        token = self.token
        return StreamInitiator(
            channel=Channel.JOIN,
            mesh=token.mesh,
            suite=token.suite,
            epoch=wire.EPOCH,
            static=self._static,
            remote_static=token.issuer_static,
            psk=psk,
            payload=wire.encode(wire.Ask(token.token_id, self._request)),
            entropy=entropy,
        )

    async def _read(self, records: Records) -> JoinReply:
        token = self.token
        welcome, statements = await collect(records, TOKEN_REFUSALS)
        if welcome.issuer != token.issuer_identity or Suite.from_number(welcome.suite) is not token.suite:
            raise RemoteError("a welcome that does not fit the token")
        return JoinReply(self._accept(welcome), token.issuer_identity, statements)


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
