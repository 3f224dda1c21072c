"""crypto's decoders: handshake datagrams, cookie replies, streams, certificates, tokens."""

from __future__ import annotations

import random
from collections.abc import Callable

from crypto import cookie, framing
from crypto.certificate import issue, read, verified
from crypto.errors import LocalError, RemoteError
from crypto.handshake import (
    INITIATION_SIZE,
    MAC_SIZE,
    MACS_SIZE,
    RESPONSE_SIZE,
    WIRE_VERSION,
    Choice,
    Local,
    Offer,
    initiate,
    mac1,
    mac1_key,
    read_initiation,
    receiver_index,
)
from crypto.keyring import Keyring
from crypto.keys import IdentityKey, StaticKey
from crypto.offer import pack_choice, pack_offer, unpack_choice, unpack_offer
from crypto.password import PasswordInitiator
from crypto.primitives import Suite
from crypto.prologue import Channel
from crypto.secret import MeshSecret, mesh_id
from crypto.secure_stream import SecureStream
from crypto.stream import StreamInitiator, StreamResponder
from crypto.stream_opening import StreamOpening
from crypto.tai64n import stamp
from crypto.token import Token

_RNG = random.Random(7)
FOUNDER = IdentityKey.generate(_RNG.randbytes)
SEED = _RNG.randbytes(16)
MESH = mesh_id(FOUNDER.public, SEED)
SECRET = MeshSecret(3, _RNG.randbytes(32))
OURS, THEIRS = StaticKey.generate(_RNG.randbytes), StaticKey.generate(_RNG.randbytes)
LOCAL = Local(MESH, Suite.AESGCM, Keyring(SECRET), OURS)
REMOTE = Local(MESH, Suite.AESGCM, Keyring(SECRET), THEIRS)
OFFER = Offer(stamp(10**18), b"bootbyte", 1, WIRE_VERSION, 31, 64_000)
CHOICE = Choice(b"bootbyte", WIRE_VERSION, 31, 64_000)
PENDING = initiate(LOCAL, THEIRS.public, 77, OFFER, _RNG.randbytes)
COOKIE_KEY = cookie.cookie_key(SECRET.cookie_subkey(), THEIRS.public)
PSK = bytes(range(32))
CHAIN = (issue(FOUNDER, mesh=MESH, identity=FOUNDER.public, name="f", roles=("admin", "invite"), serial=0, seed=SEED),)


def _with_mac1(datagram: bytes) -> bytes:
    key = mac1_key(SECRET.mac1_subkey(), OURS.public)
    return datagram[:-MACS_SIZE] + mac1(key, datagram) + datagram[-MAC_SIZE:]


def _sized(data: bytes, size: int) -> bytes:
    return data[:size].ljust(size, b"\0")


def initiation(data: bytes) -> None:
    for datagram in (data, _with_mac1(_sized(data, INITIATION_SIZE))):
        try:
            read_initiation(LOCAL, datagram)
        except RemoteError:
            pass


def response(data: bytes) -> None:
    for datagram in (data, _with_mac1(_sized(data, RESPONSE_SIZE))):
        try:
            receiver_index(datagram)
            PENDING.finish(datagram)
        except RemoteError:
            pass


def cookie_reply(data: bytes) -> None:
    for datagram in (data, _sized(data, cookie.REPLY_SIZE)):
        try:
            cookie.reply_receiver(datagram)
            cookie.open_reply(COOKIE_KEY, bytes(16), datagram)
        except RemoteError:
            pass


def payloads(data: bytes) -> None:
    for decode in (unpack_offer, unpack_choice):
        try:
            decode(data)
        except RemoteError:
            pass


def _feed(stream: StreamOpening, data: bytes) -> None:
    """All of `data` in pieces whose sizes its own first byte gives; a stream that failed must stay so."""
    step = 1 + (data[0] if data else 0)
    try:
        for at in range(0, len(data), step):
            stream.feed(data[at : at + step])
    except RemoteError:
        try:
            stream.feed(b"\0")
        except RemoteError:
            return
        raise AssertionError("a stream went on after its failure") from None


def stream_responder(data: bytes) -> None:
    epochs = {Channel.LINK: (3, 4), Channel.JOIN: (0,)}
    responder = StreamResponder(
        epochs=epochs, mesh=MESH, suite=Suite.AESGCM, statics=(OURS,), entropy=_RNG.randbytes, password_psk=PSK
    )
    _feed(responder, data)
    if responder.request is not None and not responder.complete:
        responder.accept(PSK, b"")


def stream_initiator(data: bytes) -> None:
    initiator = StreamInitiator(
        channel=Channel.LINK,
        mesh=MESH,
        suite=Suite.AESGCM,
        epoch=3,
        psk=PSK,
        static=OURS,
        remote_static=THEIRS.public,
        payload=b"",
        entropy=_RNG.randbytes,
    )
    _feed(initiator, data)


def password_initiator(data: bytes) -> None:
    initiator = PasswordInitiator(static=OURS, entropy=_RNG.randbytes)
    head = framing.HELLO_SIZE + len(MESH)
    _feed(initiator, data[:head])
    if initiator.mesh is not None and initiator.suite is not None:
        initiator.begin(PSK, b"")
        _feed(initiator, data[head:])


def records(data: bytes) -> None:
    """Once any bytes, once any content of a record that authenticates."""
    for wire in (data, SecureStream(Suite.AESGCM, PSK, PSK).seal(data[0] or 1, data[1:60_000]) if data else b""):
        try:
            SecureStream(Suite.AESGCM, PSK, PSK).feed(wire)
        except RemoteError:
            pass


def certificate(data: bytes) -> None:
    try:
        read(data)
    except RemoteError:
        pass
    try:
        verified(MESH, FOUNDER.public, (data, *CHAIN))
    except RemoteError:
        pass


def token(data: bytes) -> None:
    for text in (data.decode("utf-8", "replace"), "mesh1-" + data.decode("latin-1")):
        try:
            Token.decode(text)
        except LocalError:
            pass


TARGETS: dict[str, Callable[[bytes], None]] = {
    "initiation": initiation,
    "response": response,
    "cookie-reply": cookie_reply,
    "payloads": payloads,
    "stream-responder": stream_responder,
    "stream-initiator": stream_initiator,
    "password-initiator": password_initiator,
    "records": records,
    "certificate": certificate,
    "token": token,
}


def seeds() -> dict[str, list[bytes]]:
    theirs = initiate(REMOTE, OURS.public, 88, OFFER, _RNG.randbytes)
    answer, _ = read_initiation(REMOTE, PENDING.datagram).answer(99, CHOICE, _RNG.randbytes)
    reply = cookie.seal_reply(COOKIE_KEY, 3, 77, bytes(16), bytes(16), bytes(24))
    password = framing.hello(Channel.PASSWORD, Suite.AESGCM.number, 0) + MESH
    made = Token(MESH, Suite.AESGCM, ("192.0.2.1:6799",), FOUNDER.public, OURS.public, bytes(32), 2_000_000_000, 3)
    return {
        "initiation": [theirs.datagram],
        "response": [answer],
        "cookie-reply": [reply],
        "payloads": [pack_offer(OFFER), pack_choice(CHOICE)],
        "stream-responder": [framing.hello(channel, 1, 3) + framing.frame(bytes(96)) for channel in Channel],
        "stream-initiator": [framing.hello(Channel.LINK, 1, 3) + framing.frame(bytes(48))],
        "password-initiator": [password + framing.frame(bytes(96))],
        "records": [b"\1hello", b"\0"],
        "certificate": list(CHAIN),
        "token": [made.encode().encode()],
    }
