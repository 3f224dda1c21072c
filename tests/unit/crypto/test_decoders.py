"""Property: any bytes into any decoder give a value or the one error it may raise, nothing else."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import certificate, cookie, handshake
from crypto.errors import LocalError, RemoteError
from crypto.keyring import Keyring
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite, dh, verify
from crypto.prologue import Channel
from crypto.secret import MeshSecret
from crypto.stream import PasswordInitiator, SecureStream, StreamInitiator, StreamResponder
from crypto.token import Token

RNG = random.Random(14)
KEY, MESH = RNG.randbytes(32), RNG.randbytes(16)
STATIC, REMOTE = (StaticKey.generate(RNG.randbytes) for _ in range(2))
SECRET = MeshSecret(0, KEY)
LOCAL = handshake.Local(MESH, Suite.AESGCM, Keyring(SECRET, MeshSecret(1, KEY)), STATIC, REMOTE)
OFFER = handshake.Offer(bytes(12), bytes(8), 1, 1, 0, 1)
ISSUER = IdentityKey.generate(RNG.randbytes)
CERTIFICATE = certificate.issue(ISSUER, mesh=MESH, identity=STATIC.public, name="host", roles=("invite",), serial=1)
TOKEN = Token(MESH, Suite.AESGCM, ("host:1",), KEY, KEY, KEY, 1, 1).encode()
QUICK = settings(max_examples=80, deadline=None)


def near(genuine: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, and genuine ones with a piece replaced, so that inner checks are reached as well."""
    return st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda at, piece: genuine[:at] + piece + genuine[at + len(piece) :],
            st.integers(0, len(genuine)),
            st.binary(max_size=12),
        ),
    )


@QUICK
@given(near(CERTIFICATE))
def test_certificate(data: bytes) -> None:
    try:
        certificate.read(data)
    except RemoteError:
        pass


@QUICK
@given(st.binary(max_size=200))
def test_certificate_with_a_right_signature(body: bytes) -> None:
    try:
        certificate.read(body + ISSUER.sign(b"meshnet-certificate-v1" + body))
    except RemoteError:
        pass


@QUICK
@given(st.lists(near(CERTIFICATE), max_size=3))
def test_chain(chain: list[bytes]) -> None:
    try:
        certificate.verify_chain(MESH, STATIC.public, chain)
    except RemoteError:
        pass


@QUICK
@given(st.one_of(st.text(max_size=300), near(TOKEN.encode()).map(lambda data: data.decode("latin-1"))))
def test_token(text: str) -> None:
    for candidate in (text, f"mesh1-{text}"):
        try:
            Token.decode(candidate)
        except LocalError:
            pass


INITIATION = handshake.initiate(LOCAL, REMOTE.public, 7, OFFER, RNG.randbytes)


@QUICK
@given(near(INITIATION.datagram))
def test_initiation(data: bytes) -> None:
    key = handshake.mac1_key(SECRET.mac1_subkey(), STATIC.public)
    for datagram in (data, data[:-32] + handshake.mac1(key, data) + bytes(16)):
        try:
            handshake.read_initiation(LOCAL, datagram)
        except RemoteError:
            pass


@QUICK
@given(near(bytes((2, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 7)) + bytes(104)))
def test_response(data: bytes) -> None:
    key = handshake.mac1_key(SECRET.mac1_subkey(), STATIC.public)
    for datagram in (data, data[:-32] + handshake.mac1(key, data) + bytes(16)):
        try:
            INITIATION.finish(datagram)
        except RemoteError:
            pass


REPLY = cookie.seal_reply(KEY, 0, 7, INITIATION.mac1, bytes(16), bytes(24))


@QUICK
@given(near(REPLY))
def test_cookie_reply(data: bytes) -> None:
    for call in (cookie.reply_receiver, INITIATION.open_cookie, lambda reply: cookie.open_reply(KEY, bytes(16), reply)):
        try:
            call(data)
        except RemoteError:
            pass
    assert not cookie.has_mac2(KEY[:16], data)


def greeting(channel: Channel, *rest: bytes) -> bytes:
    """A hello that is taken on ``channel``, and what follows it."""
    suite = 0 if channel is Channel.PASSWORD else 1
    return b"MESHNET\1" + bytes((channel, suite, 0)) + bytes(5) + b"".join(rest)


OPENINGS = st.sampled_from(
    [greeting(Channel.LINK, b"\0\x60", bytes(96)), greeting(Channel.PASSWORD, b"\0\x30", KEY, bytes(16), b"\0\x40")]
)


@QUICK
@given(st.one_of(st.lists(OPENINGS.flatmap(near), max_size=4), st.lists(OPENINGS, min_size=1, max_size=2)))
def test_streams(chunks: list[bytes]) -> None:
    ends: list[StreamInitiator | StreamResponder | PasswordInitiator | SecureStream] = [
        StreamInitiator(
            channel=Channel.LINK, mesh=MESH, suite=Suite.AESGCM, epoch=0, static=STATIC,
            remote_static=REMOTE.public, psk=KEY, payload=b"", entropy=RNG.randbytes,
        ),
        StreamResponder(
            epochs={Channel.LINK: (0, 1)}, mesh=MESH, suite=Suite.AESGCM, statics=(STATIC, REMOTE),
            entropy=RNG.randbytes, password_psk=KEY,
        ),
        begun(),
        SecureStream(Suite.AESGCM, KEY, KEY),
    ]  # fmt: skip
    for end in ends:
        for chunk in chunks:
            try:
                end.feed(chunk)
            except RemoteError:
                pass


def begun() -> PasswordInitiator:
    """An initiator that waits for message 2."""
    initiator = PasswordInitiator(static=STATIC, entropy=RNG.randbytes)
    initiator.feed(b"MESHNET\1\4\1\0" + bytes(5) + MESH)
    initiator.begin(KEY, b"")
    return initiator


@QUICK
@given(near(b"MESHNET\1\4\1\0" + bytes(5) + MESH))
def test_what_answers_a_join_by_password(data: bytes) -> None:
    initiator = PasswordInitiator(static=STATIC, entropy=RNG.randbytes)
    try:
        initiator.feed(data)
    except RemoteError:
        assert initiator.data_to_send() == greeting(Channel.PASSWORD)


@QUICK
@given(st.binary(max_size=40), st.binary(max_size=10), st.binary(max_size=70))
def test_primitives(key: bytes, message: bytes, signature: bytes) -> None:
    assert verify(key, message, signature) is False
    try:
        assert len(dh(KEY, key)) == 32
    except RemoteError:
        pass
