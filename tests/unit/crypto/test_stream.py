"""The secured stream: any way of cutting the bytes, any byte changed, any hello that does not fit."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from crypto.errors import LocalError, RemoteError
from crypto.keys import Entropy, StaticKey
from crypto.primitives import Suite
from crypto.prologue import Channel
from crypto.stream import (
    CLOSE,
    Request,
    StreamInitiator,
    StreamResponder,
)

RNG = random.Random(12)
MESH, PSK = RNG.randbytes(16), RNG.randbytes(32)
A, B, B_OLD = (StaticKey.generate(RNG.randbytes) for _ in range(3))
EPOCHS = {Channel.LINK: (4, 5, 3), Channel.JOIN: (0,)}


def opener(
    channel: Channel = Channel.LINK,
    *,
    mesh: bytes = MESH,
    suite: Suite = Suite.AESGCM,
    epoch: int = 4,
    static: StaticKey = A,
    remote: bytes = B.public,
    psk: bytes = PSK,
    payload: bytes = b"request",
    entropy: Entropy = RNG.randbytes,
) -> StreamInitiator:
    return StreamInitiator(
        channel=channel, mesh=mesh, suite=suite, epoch=epoch, static=static, remote_static=remote,
        psk=psk, payload=payload, entropy=entropy,
    )  # fmt: skip


def asked(responder: StreamResponder) -> Request | None:
    return responder.request


def listener(suite: Suite = Suite.AESGCM) -> StreamResponder:
    return StreamResponder(epochs=EPOCHS, mesh=MESH, suite=suite, statics=(B, B_OLD), entropy=RNG.randbytes)


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def shake(initiator: StreamInitiator, responder: StreamResponder, size: int = 1 << 16) -> None:
    """Carries the bytes both ways until nobody has any, ``size`` bytes at a time."""
    while True:
        forward = initiator.data_to_send()
        for piece in pieces(forward, size):
            responder.feed(piece)
        if responder.request is not None and not responder.complete:
            responder.accept(PSK, b"answer")
        back = responder.data_to_send()
        for piece in pieces(back, size):
            initiator.feed(piece)
        if not forward and not back:
            return


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_handshake_and_records_in_pieces_of_any_size(suite: Suite, size: int) -> None:
    initiator, responder = opener(suite=suite), listener(suite)
    shake(initiator, responder, size)
    assert initiator.complete and responder.complete
    assert initiator.payload == b"answer"
    assert responder.request == Request(Channel.LINK, 4, A.public, b"request", B.public)
    near, far = initiator.secure(), responder.secure()
    for sender, receiver in ((near, far), (far, near)):
        sent = [(kind, RNG.randbytes(length)) for kind, length in ((1, 0), (255, 1), (7, 900), (1, 3))]
        wire = b"".join(sender.seal(kind, content) for kind, content in sent)
        got = [record for piece in pieces(wire, size) for record in receiver.feed(piece)]
        assert got == sent and not receiver.closed
        assert receiver.feed(sender.close()) == [(CLOSE, b"")] and receiver.closed


def test_the_responder_learns_who_asks_before_it_chooses_the_psk() -> None:
    token_psk = RNG.randbytes(32)
    initiator, responder = opener(Channel.JOIN, epoch=0, psk=token_psk, payload=b"token 7"), listener()
    responder.feed(initiator.data_to_send())
    assert asked(responder) is None
    initiator.feed(responder.data_to_send())
    responder.feed(initiator.data_to_send())
    assert asked(responder) == Request(Channel.JOIN, 0, A.public, b"token 7", B.public)
    assert responder.data_to_send() == b"" and not responder.complete
    responder.accept(token_psk, b"welcome")
    initiator.feed(responder.data_to_send())
    assert initiator.payload == b"welcome"
    assert responder.secure().feed(initiator.secure().seal(1, b"proof")) == [(1, b"proof")]


def test_a_wrong_psk_is_noticed_by_the_initiator_and_shown_to_the_responder_by_silence() -> None:
    initiator, responder = opener(psk=bytes(32)), listener()
    with pytest.raises(RemoteError, match="authenticate"):
        shake(initiator, responder)
    assert not initiator.complete and initiator.payload is None
    with pytest.raises(LocalError):
        initiator.secure()
    with pytest.raises(RemoteError, match="before"):
        initiator.feed(b"")


def test_records_right_behind_the_answer_are_kept() -> None:
    initiator, responder = opener(), listener()
    responder.feed(initiator.data_to_send())
    initiator.feed(responder.data_to_send())
    responder.feed(initiator.data_to_send())
    responder.accept(PSK, b"")
    answer = responder.data_to_send()
    initiator.feed(answer + responder.secure().seal(9, b"early"))
    assert initiator.secure().feed(b"") == [(9, b"early")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"channel": Channel.UDP}, "not served"),
        ({"suite": Suite.CHACHAPOLY}, "cipher suite"),
        ({"epoch": 6}, "epoch"),
        ({"channel": Channel.JOIN}, "epoch"),
        ({"channel": Channel.PASSWORD, "epoch": 0}, "not served"),
        ({"mesh": bytes(16)}, "authenticate"),
        ({"remote": A.public, "static": B}, "authenticate"),
        ({"static": B}, "own key"),
        ({"static": B_OLD}, "own key"),
    ],
)
def test_openers_that_do_not_fit(change: dict[str, object], reason: str) -> None:
    initiator, responder = opener(**change), listener()  # type: ignore[arg-type]
    with pytest.raises(RemoteError, match=reason):
        shake(initiator, responder)
    assert responder.request is None
    with pytest.raises(RemoteError):
        responder.feed(b"")


def test_the_initiator_can_tell_why_it_was_refused() -> None:
    initiator, responder = opener(epoch=6), listener()
    with pytest.raises(RemoteError):
        responder.feed(initiator.data_to_send())
    with pytest.raises(RemoteError, match="epoch"):
        initiator.feed(responder.data_to_send())


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"M" * 16, b"MESHNET\2\2\1\4" + bytes(5)])
def test_what_is_no_hello(junk: bytes) -> None:
    for end in (listener(), opener()):
        with pytest.raises(RemoteError):
            end.feed(junk)


@pytest.mark.parametrize("epoch", [3, 4, 5])
@pytest.mark.parametrize("static", [B, B_OLD], ids=["static key", "old static key"])
def test_every_epoch_and_static_key_that_is_held(epoch: int, static: StaticKey) -> None:
    initiator, responder = opener(epoch=epoch, remote=static.public), listener()
    shake(initiator, responder)
    assert responder.request == Request(Channel.LINK, epoch, A.public, b"request", static.public)
    assert responder.secure().feed(initiator.secure().seal(1, b"proof")) == [(1, b"proof")]


def test_a_hello_of_no_held_epoch_is_answered_with_the_one_in_use() -> None:
    responder = listener()
    with pytest.raises(RemoteError, match="epoch"):
        responder.feed(opener(epoch=6).data_to_send())
    assert responder.data_to_send()[10] == 4


def test_impossible_responders() -> None:
    for change in ({"statics": ()}, {"epochs": {Channel.LINK: ()}}, {"epochs": {Channel.PASSWORD: (0,)}}):
        arguments: dict[str, object] = {
            "epochs": EPOCHS, "mesh": MESH, "suite": Suite.AESGCM, "statics": (B,), "entropy": RNG.randbytes
        }  # fmt: skip
        with pytest.raises(LocalError):
            StreamResponder(**{**arguments, **change})  # type: ignore[arg-type]


def flips(data: bytes) -> Iterable[bytes]:
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        yield bytes(damaged)


def test_every_flipped_byte_of_the_opening() -> None:
    initiator, responder = opener(), listener()
    hello = initiator.data_to_send()
    responder.feed(hello)
    initiator.feed(responder.data_to_send())
    opening = hello + initiator.data_to_send()
    for damaged in flips(opening):
        responder = listener()
        try:
            responder.feed(damaged)
        except RemoteError:
            pass
        assert asked(responder) is None  # refused, or (a greater length) still waiting
    responder = listener()
    responder.feed(opening)
    assert asked(responder) == Request(Channel.LINK, 4, A.public, b"request", B.public)


def test_every_flipped_byte_of_the_answer() -> None:
    def again() -> StreamInitiator:
        # The same entropy makes the same initiator, so that each byte is tried on a fresh one.
        return opener(entropy=random.Random(1).randbytes)

    initiator, responder = again(), listener()
    responder.feed(initiator.data_to_send())
    answer = responder.data_to_send()
    initiator.feed(answer)
    responder.feed(initiator.data_to_send())
    responder.accept(PSK, b"answer")
    answer += responder.data_to_send()
    for damaged in flips(answer):
        initiator = again()
        try:
            initiator.feed(damaged)
        except RemoteError:
            pass
        assert not initiator.complete and initiator.payload is None
    initiator = again()
    initiator.feed(answer)
    assert initiator.payload == b"answer"


def test_data_ahead_of_the_answer() -> None:
    initiator, responder = opener(), listener()
    responder.feed(initiator.data_to_send())
    initiator.feed(responder.data_to_send())
    with pytest.raises(RemoteError, match="ahead"):
        responder.feed(initiator.data_to_send() + b"x")
    with pytest.raises(LocalError):
        responder.accept(PSK, b"")


def test_the_psk_must_fit() -> None:
    initiator, responder = opener(), listener()
    responder.feed(initiator.data_to_send())
    initiator.feed(responder.data_to_send())
    responder.feed(initiator.data_to_send())
    with pytest.raises(LocalError):
        responder.accept(b"short", b"")
    responder.accept(PSK, b"")
    initiator.feed(responder.data_to_send())
    assert initiator.complete
