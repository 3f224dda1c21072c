"""Joining a mesh by password, over TCP.

Purpose: a host that was provisioned with a file becomes a member, with an address as all it knows of the mesh.
Rule: which mesh answers is what its hello says; that it knows the password too is shown by its first record, and
nothing is believed before that. The same identity may ask again and gets the same certificate.
Flow: hello -> the mesh's id -> Argon2id -> ``Issuer.serve_password`` answers -> ``join_reply`` reads it.
Reference: docs/wire.md "Joining"; docs/threat-model.md (what the password form does not promise).
"""

from __future__ import annotations

import asyncio
import os

from crypto.errors import CryptoError, RemoteError
from crypto.keyring import Keyring
from crypto.keys import Entropy, IdentityKey, StaticKey
from crypto.password import PasswordInitiator
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.control.joining import join_wire as wire
from meshnet.control.joining.join_reply import PASSWORD_REFUSALS, JoinReply, check_issued, collect
from meshnet.control.joining.password import check_strength, derive
from meshnet.control.keys.membership import STATE_ID_SIZE, JoinRequest, Membership, check_name
from meshnet.control.streams.pipe import Pipe, connect
from meshnet.control.streams.records import Records
from meshnet.errors import ExitCode, MeshnetError

JOIN_S = 20.0  # a whole attempt, two derivations of the key included
ATTEMPTS = 2  # a second one only after a reply that was lost: the issuer may have granted it


async def join_by_password(
    address: str,
    password: str,
    name: str,
    identity: IdentityKey,
    static: StaticKey,
    *,
    entropy: Entropy = os.urandom,
) -> JoinReply:
    """Become a member of the mesh at `address` ("host:port") under `name`, without a role.

    Raises one MeshnetError that says what went wrong, or why the host refused.
    """
    check_name(name)
    await asyncio.to_thread(check_strength, password)
    attempt = _Attempt(password, name, identity, static, entropy)
    for _ in range(ATTEMPTS):
        try:
            async with asyncio.timeout(JOIN_S):
                return await attempt.at(address)
        except MeshnetError:
            raise
        except TimeoutError:
            failure, code = "no answer in time", ExitCode.TIMED_OUT
        except ConnectionError as error:
            failure, code = f"{getattr(error, 'strerror', None) or error}{attempt.guess}", ExitCode.FAILED
        except CryptoError as error:
            failure, code = str(error), ExitCode.FAILED
        except (OSError, ValueError) as error:
            failure, code = getattr(error, "strerror", None) or str(error), ExitCode.FAILED
        if not attempt.confirmed:
            break
    raise MeshnetError(
        f"cannot join at {address}",
        failure,
        "check the address, the password, and that `meshnet token password --password-file FILE` was run there",
        code,
    )


class _Attempt:
    """One joiner's tries. `confirmed`: the issuer may have admitted us."""

    def __init__(self, password: str, name: str, identity: IdentityKey, static: StaticKey, entropy: Entropy) -> None:
        self._password = password
        self._name = name
        self._identity = identity
        self._static = static
        self._entropy = entropy
        self.confirmed = False
        self.guess = ""

    async def at(self, address: str) -> JoinReply:
        """Join at one address; raises what `join_by_password` tells apart."""
        self.guess = ""
        pipe = await connect(address)
        try:
            self.guess = "; it may admit nobody by password"
            initiator, request = await self._open(pipe)
            mesh, suite = initiator.mesh, initiator.suite
            if mesh is None or suite is None:
                raise RemoteError("a handshake without a mesh")
            self.guess = "; its password may be another one"
            records = Records(pipe, initiator.secure())
            await records.send(wire.CONFIRM, b"")
            self.confirmed = True
            reply = await self._read(records, mesh, suite, request)
            records.finish()
            return reply
        finally:
            pipe.abort()

    async def _open(self, pipe: Pipe) -> tuple[PasswordInitiator, JoinRequest]:
        initiator = PasswordInitiator(static=self._static, entropy=self._entropy)
        await pipe.write(initiator.data_to_send())
        while initiator.mesh is None:
            initiator.feed(await pipe.read())
        request = JoinRequest.make(initiator.mesh, self._identity, self._static.public, self._name)
        initiator.begin(await derive(self._password, initiator.mesh), wire.encode(request))
        await pipe.write(initiator.data_to_send())
        while not initiator.complete:
            initiator.feed(await pipe.read())
            await pipe.write(initiator.data_to_send())
        return initiator, request

    async def _read(self, records: Records, mesh: bytes, suite: Suite, request: JoinRequest) -> JoinReply:
        welcome, statements = await collect(records, PASSWORD_REFUSALS)
        check_issued(welcome, mesh, request)
        if Suite.from_number(welcome.suite) is not suite:
            raise RemoteError("a welcome that does not fit the hello")
        membership = Membership(
            state_id=self._entropy(STATE_ID_SIZE),
            mesh=mesh,
            identity=self._identity,
            static=self._static,
            keyring=Keyring(MeshSecret(welcome.generation, welcome.secret)),
            suite=suite,
            name=self._name,
            chain=welcome.chain,
        )
        return JoinReply(membership, welcome.issuer, statements)
