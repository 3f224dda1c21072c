"""The Noise state machine: turns, keys that are missing, and that a failed message changes nothing.

The known answers are in test_vectors.py.
"""

from __future__ import annotations

import random

import pytest

from crypto.errors import LocalError, RemoteError
from crypto.keys import StaticKey
from crypto.noise import CipherState, HandshakeState
from crypto.patterns import protocol
from crypto.primitives import Suite

RNG = random.Random(9)
A, B = (StaticKey.generate(RNG.randbytes) for _ in range(2))
PSK = RNG.randbytes(32)


def pair(name: str = "IKpsk2", suite: Suite = Suite.AESGCM) -> tuple[HandshakeState, HandshakeState]:
    parsed = protocol(f"Noise_{name}_25519_{suite.value}_BLAKE2s")
    psks = (PSK,) * parsed.psks
    known = parsed.responder_known
    return (
        HandshakeState(
            parsed, initiator=True, prologue=b"p", entropy=RNG.randbytes, static=A, psks=psks,
            remote_static=B.public if known else None,
        ),
        HandshakeState(parsed, initiator=False, prologue=b"p", entropy=RNG.randbytes, static=B, psks=psks),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["IKpsk2", "XXpsk3", "XX", "IK"])
@pytest.mark.parametrize("suite", list(Suite))
def test_every_flipped_byte_and_the_genuine_message_after_it(name: str, suite: Suite) -> None:
    writer, reader = pair(name, suite)
    while not writer.complete:
        message = writer.write_message(b"payload")
        refused = 0
        for position in range(len(message)):
            flipped = bytearray(message)
            flipped[position] ^= 0x40
            before = reader.handshake_hash
            try:
                reader.copy().read_message(bytes(flipped))
            except RemoteError:
                refused += 1
                with pytest.raises(RemoteError):
                    reader.read_message(bytes(flipped))
                assert reader.handshake_hash == before and not reader.writes_next
        # XX's first message is in the clear; everything else is refused at once.
        assert refused == (0 if name == "XX" and len(message) == 39 else len(message))
        assert reader.read_message(message) == b"payload"
        writer, reader = reader, writer
    assert writer.split() == reader.split()[::-1]
    assert writer.handshake_hash == reader.handshake_hash


def test_turns() -> None:
    initiator, responder = pair()
    for call in (
        lambda: responder.write_message(b""),
        lambda: initiator.read_message(b""),
        initiator.split,
    ):
        with pytest.raises(LocalError):
            call()
    message = initiator.write_message(b"")
    with pytest.raises(LocalError):
        initiator.write_message(b"")
    responder.read_message(message)
    initiator.read_message(responder.write_message(b""))
    assert initiator.complete and responder.complete
    for call in (lambda: responder.write_message(b""), lambda: initiator.read_message(b"")):
        with pytest.raises(LocalError):
            call()


def test_missing_keys() -> None:
    parsed = protocol("Noise_IKpsk2_25519_AESGCM_BLAKE2s")
    with pytest.raises(LocalError):
        HandshakeState(parsed, initiator=True, prologue=b"", entropy=RNG.randbytes, static=A)
    with pytest.raises(LocalError):
        HandshakeState(parsed, initiator=False, prologue=b"", entropy=RNG.randbytes)
    state = HandshakeState(parsed, initiator=True, prologue=b"", entropy=RNG.randbytes, remote_static=B.public)
    with pytest.raises(LocalError):
        state.write_message(b"")


def test_the_psk_may_come_late_but_must_come() -> None:
    parsed = protocol("Noise_IKpsk2_25519_AESGCM_BLAKE2s")
    initiator, _ = pair()
    responder = HandshakeState(parsed, initiator=False, prologue=b"p", entropy=RNG.randbytes, static=B)
    responder.read_message(initiator.write_message(b""))
    with pytest.raises(LocalError, match="psk"):
        responder.write_message(b"")
    responder.add_psk(PSK)
    for psk in (PSK, b"short"):
        with pytest.raises(LocalError):
            responder.add_psk(psk)
    assert initiator.read_message(responder.write_message(b"late")) == b"late"


def test_lengths() -> None:
    initiator, responder = pair()
    with pytest.raises(LocalError, match="long"):
        initiator.write_message(bytes(65_535))
    message = initiator.write_message(bytes(65_535 - 96))
    for damaged in (*(message[:size] for size in (0, 1, 31, 32, 79, 80, 95)), message[:-1], message + b"x"):
        with pytest.raises(RemoteError):
            responder.read_message(damaged)
    assert len(responder.read_message(message)) == 65_535 - 96


def test_a_low_order_key_is_refused_and_changes_nothing() -> None:
    initiator, responder = pair("XX")
    message = initiator.write_message(b"")
    evil = responder.copy()
    assert evil.read_message(bytes(32)) == b""
    with pytest.raises(RemoteError, match="order"):
        evil.write_message(b"")
    assert responder.read_message(message) == b""


@pytest.mark.parametrize("suite", list(Suite))
def test_cipher_state_counts_and_ends(suite: Suite) -> None:
    sender, receiver = CipherState(suite, PSK), CipherState(suite, PSK)
    first, second = sender.encrypt(b"ad", b"same"), sender.encrypt(b"ad", b"same")
    assert first != second
    with pytest.raises(RemoteError):
        receiver.decrypt(b"ad", second)
    assert [receiver.decrypt(b"ad", sealed) for sealed in (first, second)] == [b"same", b"same"]
    sender.nonce = (1 << 64) - 1
    with pytest.raises(LocalError):
        sender.encrypt(b"", b"")
    assert PSK.hex()[:8] not in repr(sender)
