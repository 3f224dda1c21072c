"""Three streams, byte for byte as each end sends them: a link, joining by token, joining by password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crypto.keys import StaticKey
from crypto.password import password_key
from crypto.primitives import Suite
from crypto.prologue import Channel
from crypto.stream import CLOSE, PasswordInitiator, StreamInitiator, StreamResponder
from gossip.spreading.codec import Beat, encode
from meshnet.control.joining import join_wire as wire
from meshnet.control.keys.membership import JoinRequest
from meshnet.control.links.dialling import CONFIRM
from meshnet.control.links.links import MESSAGE, SECRET
from tests.frozen.cast import (
    A_STATIC,
    B_OLD_STATIC,
    B_STATIC,
    C_STATIC,
    FOUNDER,
    JOINER,
    KEYRING,
    MEMBER,
    MESH,
    NEXT_SECRET,
    PASSWORD,
    chain,
    counted,
    token,
)
from tests.frozen.cast import (
    SECRET as MESH_SECRET,
)
from tests.frozen.statements import credential, wires

Record = tuple[int, bytes]
Steps = list[tuple[str, bytes]]
SUITE = Suite.AESGCM
INITIATOR, RESPONDER = "initiator", "responder"
LINK_EPOCHS = tuple(secret.epoch for secret in KEYRING.secrets())


def responder(password_psk: bytes | None = None) -> StreamResponder:
    """The member's end of any stream."""
    return StreamResponder(
        epochs={Channel.LINK: LINK_EPOCHS, Channel.JOIN: (wire.EPOCH,)},
        mesh=MESH,
        suite=SUITE,
        statics=(B_STATIC, B_OLD_STATIC),
        entropy=counted("responder"),
        password_psk=password_psk,
    )


def initiator(channel: Channel, epoch: int, static: StaticKey, psk: bytes, payload: bytes) -> StreamInitiator:
    """The other end of a link or of joining by token."""
    return StreamInitiator(
        channel=channel, mesh=MESH, suite=SUITE, epoch=epoch, static=static, remote_static=B_STATIC.public,
        psk=psk, payload=payload, entropy=counted("initiator"),
    )  # fmt: skip


def join_request() -> JoinRequest:
    """What the joiner asks for."""
    return JoinRequest.make(MESH, JOINER, C_STATIC.public, "host-c")


def reply() -> list[Record]:
    """What a joiner that is admitted is sent."""
    welcome = wire.Welcome(tuple(chain()), MESH_SECRET.key, MESH_SECRET.generation, SUITE.number, MEMBER.public)
    statements = wires()[:2]
    return [
        (wire.WELCOME, wire.encode(welcome)),
        (wire.STATEMENTS, wire.encode(statements)),
        (wire.END, wire.encode(wire.End(len(statements)))),
    ]


@dataclass(frozen=True)
class Conversation:
    """Two ends, what the application of one does when the handshake waits for it, and the records after it."""

    near: StreamInitiator | PasswordInitiator
    far: StreamResponder
    go_on: Callable[[], None]
    said: list[tuple[str, Record]]

    def handshake(self) -> Steps:
        """Carries bytes until the handshake is done; returns who sent what."""
        steps = Steps()
        while not (self.near.complete and self.far.complete):
            forth = self.near.data_to_send()
            self.far.feed(forth)
            back = self.far.data_to_send()
            self.near.feed(back)
            steps += [(who, data) for who, data in ((INITIATOR, forth), (RESPONDER, back)) if data]
            if not forth and not back:
                self.go_on()
        return steps

    def records(self) -> Steps:
        """The sealed records, after the handshake."""
        ends = {INITIATOR: self.near.secure(), RESPONDER: self.far.secure()}
        return [(who, ends[who].seal(kind, content)) for who, (kind, content) in self.said]


def link() -> Conversation:
    """A link under the mesh secret in use; its records: CONFIRM, a beat either way, the next secret, the end."""
    psk = MESH_SECRET.psk(Channel.LINK)
    near = initiator(Channel.LINK, MESH_SECRET.epoch, A_STATIC, psk, credential(FOUNDER, A_STATIC).encode())
    far, beat = responder(), (MESSAGE, encode(Beat()))
    secret = NEXT_SECRET.generation.to_bytes(4, "big") + NEXT_SECRET.key
    said = [(INITIATOR, (CONFIRM, b"")), (INITIATOR, beat), (RESPONDER, beat), (RESPONDER, (SECRET, secret))]
    said += [(INITIATOR, (CLOSE, b"")), (RESPONDER, (CLOSE, b""))]
    return Conversation(near, far, lambda: far.accept(psk, credential(MEMBER, B_STATIC).encode()), said)


def join() -> Conversation:
    """Joining by token."""
    psk, ask = token().psk(), wire.encode(wire.Ask(token().token_id, join_request()))
    near, far = initiator(Channel.JOIN, wire.EPOCH, C_STATIC, psk, ask), responder()
    said = [(INITIATOR, (wire.CONFIRM, b"")), *((RESPONDER, record) for record in reply())]
    return Conversation(near, far, lambda: far.accept(psk, b""), said)


def password() -> Conversation:
    """Joining by password, which the issuer denies after all."""
    psk = password_key(PASSWORD, MESH)
    near, far = PasswordInitiator(static=C_STATIC, entropy=counted("initiator")), responder(psk)
    denied = wire.encode(wire.Denied("name-taken", "another host is called that"))
    said = [(INITIATOR, (wire.CONFIRM, b"")), (RESPONDER, (wire.DENIED, denied))]
    return Conversation(near, far, lambda: near.begin(psk, wire.encode(join_request())), said)


CONVERSATIONS: Final[dict[str, Callable[[], Conversation]]] = {"link": link, "join": join, "password": password}


def section() -> dict[str, object]:
    """The streams' part of the transcript: who sends what, in order."""
    made: dict[str, object] = {}
    for name, make in CONVERSATIONS.items():
        conversation = make()
        steps = {"handshake": conversation.handshake(), "records": conversation.records()}
        made[name] = {part: [[who, data.hex()] for who, data in sent] for part, sent in steps.items()}
    return made
