"""Joining by password: the key, and XXpsk3 with every way in which it does not come about."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from crypto import framing
from crypto.errors import KeyFormatError, LocalError, RemoteError
from crypto.keys import Entropy, StaticKey
from crypto.noise import HandshakeState
from crypto.password import (
    MEMORY,
    PASSES,
    PasswordInitiator,
    password_key,
    password_prologue,
    password_protocol,
)
from crypto.primitives import Suite, hkdf
from crypto.prologue import Channel
from crypto.stream import PAYLOAD_MAX, Request, StreamResponder

RNG = random.Random(41)
MESH, PSK = RNG.randbytes(16), RNG.randbytes(32)
A, B = (StaticKey.generate(RNG.randbytes) for _ in range(2))
HELLO_AND_MESH = 32


@cache
def key_of(password: str, mesh: bytes = MESH) -> bytes:
    return password_key(password, mesh)


def test_a_key_depends_on_password_and_mesh_alone() -> None:
    assert key_of("correct horse") == password_key("correct horse", MESH)
    assert len({key_of("correct horse"), key_of("correct horsf"), key_of("correct horse", bytes(16))}) == 3
    assert len(key_of("correct horse")) == 32


def test_accents_are_equal_however_they_are_encoded() -> None:
    assert key_of("caf\u00e9") == key_of("cafe\u0301") != key_of("cafe")


def test_the_stretching_is_argon2id_by_another_implementation() -> None:
    oracle = Argon2id(salt=MESH, length=32, iterations=PASSES, lanes=1, memory_cost=MEMORY // 1024)
    assert key_of("oracle") == hkdf(oracle.derive(b"oracle"), b"meshnet/1 psk password")


@pytest.mark.parametrize(
    ("password", "mesh", "error"),
    [("", MESH, LocalError), ("\ud800", MESH, LocalError), ("word", MESH[1:], KeyFormatError)],
)
def test_what_makes_no_key(password: str, mesh: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        password_key(password, mesh)
    assert "word" not in str(refused.value).replace("password", "")


def opener(static: StaticKey = A, entropy: Entropy = RNG.randbytes) -> PasswordInitiator:
    return PasswordInitiator(static=static, entropy=entropy)


def listener(
    suite: Suite = Suite.AESGCM, psk: bytes | None = PSK, static: StaticKey = B, entropy: Entropy = RNG.randbytes
) -> StreamResponder:
    return StreamResponder(
        epochs={Channel.LINK: (4,)}, mesh=MESH, suite=suite, statics=(static, StaticKey(bytes(32))),
        entropy=entropy, password_psk=psk,
    )  # fmt: skip


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def shake(
    initiator: PasswordInitiator,
    responder: StreamResponder,
    size: int = 1 << 16,
    psk: bytes = PSK,
    payload: bytes = b"ask",
) -> tuple[bytes, bytes]:
    """Carries the bytes both ways until nobody has any; returns what each end sent."""
    sent, answered = b"", b""
    while True:
        forward = initiator.data_to_send()
        for piece in pieces(forward, size):
            responder.feed(piece)
        back = responder.data_to_send()
        for piece in pieces(back, size):
            initiator.feed(piece)
        if initiator.mesh is not None and initiator.remote_static is None and not sent[16:]:
            initiator.begin(psk, b"ask")
        sent, answered = sent + forward, answered + back
        if not forward and not back:
            return sent, answered


def both_ways(initiator: PasswordInitiator, responder: StreamResponder) -> None:
    near, far = initiator.secure(), responder.secure()
    for sender, receiver in ((near, far), (far, near)):
        assert receiver.feed(sender.seal(1, b"record")) == [(1, b"record")]


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_who_knows_the_password_gets_in(suite: Suite, size: int) -> None:
    initiator, responder = opener(), listener(suite)
    assert (initiator.mesh, initiator.suite, initiator.remote_static) == (None, None, None)
    sent, answered = shake(initiator, responder, size)
    assert (initiator.mesh, initiator.suite, initiator.remote_static) == (MESH, suite, B.public)
    assert initiator.complete and responder.complete
    assert responder.request == Request(Channel.PASSWORD, 0, A.public, b"ask", B.public)
    # Hello; message 1 of 48, message 3 of 64 and the payload. Hello and mesh id; message 2 of 96, no payload.
    assert (len(sent), len(answered)) == (16 + 50 + 69, HELLO_AND_MESH + 98)
    both_ways(initiator, responder)
    with pytest.raises(LocalError, match="no request"):
        responder.accept(PSK, b"")


def test_who_does_not_know_the_password_is_noticed_at_message_3() -> None:
    initiator, responder = opener(), listener()
    with pytest.raises(RemoteError, match="authenticate"):
        shake(initiator, responder, psk=bytes(32))
    assert responder.request is None and not responder.complete
    with pytest.raises(LocalError):
        responder.secure()


def test_a_responder_that_does_not_know_the_password_gets_no_record() -> None:
    # It gets message 3, under a psk it does not hold: who it was and what was asked stays hidden.
    initiator, impostor = opener(), listener(psk=bytes(32), static=StaticKey(b"i" * 32))
    with pytest.raises(RemoteError):
        shake(initiator, impostor)
    assert impostor.request is None


def test_a_mesh_without_password_does_not_serve_the_channel() -> None:
    with pytest.raises(RemoteError, match="not served"):
        shake(opener(), listener(psk=None))


def test_a_hello_of_the_initiator_that_does_not_fit_is_answered_and_refused() -> None:
    for hello in (b"MESHNET\1\4\1\0" + bytes(5), b"MESHNET\1\4\0\1" + bytes(5), b"MESHNET\2\4\0\0" + bytes(5)):
        responder = listener()
        with pytest.raises(RemoteError, match="another"):
            responder.feed(hello)
        assert responder.data_to_send() == b"MESHNET\1\4\1\0" + bytes(5) + MESH


@pytest.mark.parametrize(
    "answer",
    [b"MESHNET\1\4\0\0" + bytes(5), b"MESHNET\1\4\3\0" + bytes(5), b"MESHNET\1\4\1\1" + bytes(5),
     b"MESHNET\1\2\1\0" + bytes(5), b"MESHNET\1\4\1\0" + bytes(4) + b"x", b"SSH-2.0-OpenSSH_9"],
)  # fmt: skip
def test_answers_that_do_not_fit(answer: bytes) -> None:
    initiator = opener()
    with pytest.raises(RemoteError):
        initiator.feed(answer + MESH)
    with pytest.raises(LocalError):
        initiator.begin(PSK, b"")


def test_beginning_too_early_twice_or_with_impossible_arguments() -> None:
    initiator, responder = opener(), listener()
    with pytest.raises(LocalError, match="begins once"):
        initiator.begin(PSK, b"")
    responder.feed(initiator.data_to_send())
    initiator.feed(responder.data_to_send())
    for psk, payload in ((b"short", b""), (PSK, bytes(PAYLOAD_MAX + 1))):
        with pytest.raises(LocalError):
            initiator.begin(psk, payload)
    initiator.begin(PSK, bytes(PAYLOAD_MAX))
    with pytest.raises(LocalError, match="begins once"):
        initiator.begin(PSK, b"")
    shake(initiator, responder)
    assert responder.request is not None and responder.request.payload == bytes(PAYLOAD_MAX)


def test_data_ahead_of_the_first_message() -> None:
    initiator, responder = opener(), listener()
    responder.feed(initiator.data_to_send())
    with pytest.raises(RemoteError, match="ahead"):
        initiator.feed(responder.data_to_send() + b"x")
    with pytest.raises(LocalError):
        initiator.begin(PSK, b"")


def flips(data: bytes) -> Iterable[bytes]:
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        yield bytes(damaged)


def fixed() -> tuple[PasswordInitiator, StreamResponder]:
    """The same pair every time, so that each change meets fresh ends that expect the same bytes."""
    return opener(entropy=random.Random(1).randbytes), listener(entropy=random.Random(2).randbytes)


def transcript() -> tuple[list[bytes], list[bytes]]:
    """What each end of ``fixed`` sends, step by step."""
    initiator, responder = fixed()
    sent, answered = [], []
    for step in range(3):
        if step == 1:
            initiator.begin(PSK, b"ask")
        sent.append(initiator.data_to_send())
        responder.feed(sent[-1])
        answered.append(responder.data_to_send())
        initiator.feed(answered[-1])
    return sent, answered


def test_every_flipped_byte_to_the_responder() -> None:
    sent, _ = transcript()
    for step in range(3):
        for damaged in (*flips(sent[step]), *(sent[step][:size] for size in range(len(sent[step])))):
            _, responder = fixed()
            responder.feed(b"".join(sent[:step]))
            try:
                responder.feed(damaged)
                for later in sent[step + 1 :]:
                    responder.feed(later)
            except RemoteError:
                pass
            assert responder.request is None and not responder.complete
    _, responder = fixed()
    responder.feed(b"".join(sent))
    assert responder.complete and responder.request is not None


def begun_on(answers: Iterable[bytes]) -> PasswordInitiator:
    """A fresh initiator after these answers; one that was refused them, too."""
    initiator, _ = fixed()
    try:
        for answer in answers:
            initiator.feed(answer)
            if initiator.mesh is not None and initiator.remote_static is None:
                initiator.begin(PSK, b"ask")
    except (RemoteError, LocalError):
        pass
    return initiator


def test_every_flipped_byte_to_the_initiator() -> None:
    _, answered = transcript()
    for step in range(2):
        for damaged in (*flips(answered[step]), *(answered[step][:size] for size in range(len(answered[step])))):
            assert not begun_on((*answered[:step], damaged, *answered[step + 1 :])).complete
    assert begun_on(answered).complete


def test_a_recorded_join_is_worth_nothing() -> None:
    sent, answered = transcript()
    responder = listener()
    with pytest.raises(RemoteError, match="authenticate"):
        responder.feed(b"".join(sent))
    assert responder.request is None
    initiator = opener()
    initiator.feed(answered[0])
    initiator.begin(PSK, b"")
    with pytest.raises(RemoteError, match="authenticate"):
        initiator.feed(answered[1])


def test_speaking_to_oneself() -> None:
    with pytest.raises(RemoteError, match="ourselves"):
        shake(opener(static=B), listener())


def by_hand(initiator: bool) -> HandshakeState:
    """One end of the handshake without the rules of ours."""
    hellos = framing.hello(Channel.PASSWORD, 0, 0) + framing.hello(Channel.PASSWORD, Suite.AESGCM.number, 0)
    return HandshakeState(
        password_protocol(Suite.AESGCM),
        initiator=initiator,
        prologue=password_prologue(MESH, Suite.AESGCM, hellos),
        entropy=RNG.randbytes,
        static=A if initiator else B,
        psks=(PSK,),
    )


def test_a_payload_in_message_1() -> None:
    responder = listener()
    responder.feed(opener().data_to_send())
    with pytest.raises(RemoteError, match="none belongs"):
        responder.feed(framing.frame(by_hand(True).write_message(b"x")))
    assert len(responder.data_to_send()) == HELLO_AND_MESH


def test_a_payload_in_message_2() -> None:
    initiator, responder = opener(), by_hand(False)
    initiator.feed(framing.hello(Channel.PASSWORD, Suite.AESGCM.number, 0) + MESH)
    assert len(initiator.data_to_send()) == 16
    initiator.begin(PSK, b"ask")
    responder.read_message(initiator.data_to_send()[2:])
    with pytest.raises(RemoteError, match="none belongs"):
        initiator.feed(framing.frame(responder.write_message(b"x")))
    assert initiator.data_to_send() == b"" and not initiator.complete


def test_a_payload_in_message_3_that_is_too_long() -> None:
    responder, initiator = listener(), by_hand(True)
    responder.feed(opener().data_to_send() + framing.frame(initiator.write_message(b"")))
    initiator.read_message(responder.data_to_send()[HELLO_AND_MESH + 2 :])
    with pytest.raises(RemoteError, match="length"):
        responder.feed(framing.frame(initiator.write_message(bytes(PAYLOAD_MAX + 1))))
    assert responder.request is None


def test_records_right_behind_message_3_are_kept() -> None:
    initiator, responder = opener(), listener()
    responder.feed(initiator.data_to_send())
    initiator.feed(responder.data_to_send())
    initiator.begin(PSK, b"ask")
    responder.feed(initiator.data_to_send())
    initiator.feed(responder.data_to_send())
    responder.feed(initiator.data_to_send() + initiator.secure().seal(5, b"early"))
    assert responder.secure().feed(b"") == [(5, b"early")]
