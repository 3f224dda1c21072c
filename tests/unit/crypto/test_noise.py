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


def end(
    initiator: bool,
    name: str = "IKpsk2",
    suite: Suite = Suite.AESGCM,
    *,
    prologue: bytes = b"p",
    psk: bytes = PSK,
    static: StaticKey | None = None,
) -> HandshakeState:
    """A's or B's end; A knows B's static key where the pattern wants that."""
    parsed = protocol(f"Noise_{name}_25519_{suite.value}_BLAKE2s")
    return HandshakeState(
        parsed,
        initiator=initiator,
        prologue=prologue,
        entropy=RNG.randbytes,
        static=static or (A if initiator else B),
        remote_static=B.public if initiator and parsed.responder_known else None,
        psks=(psk,) * parsed.psks,
    )


def pair(name: str = "IKpsk2", suite: Suite = Suite.AESGCM) -> tuple[HandshakeState, HandshakeState]:
    return end(True, name, suite), end(False, name, suite)


def refused_at(initiator: HandshakeState, responder: HandshakeState) -> int | None:
    """Which message was refused, ``None`` when all were taken. A refusal must change nothing."""
    writer, reader, turn = initiator, responder, 0
    while not writer.complete:
        message = writer.write_message(b"payload")
        before = dict(reader.__dict__), reader.handshake_hash
        try:
            reader.read_message(message)
        except RemoteError:
            assert (reader.__dict__, reader.handshake_hash) == before
            return turn
        writer, reader, turn = reader, writer, turn + 1
    return None


def contexts_taken(name: str, suite: Suite) -> list[str]:
    """In which wrong contexts a handshake completes all the same; a refusal at any message is a refusal."""
    other = next(one for one in Suite if one is not suite)
    responders = {
        "prologue": end(False, name, suite, prologue=b"q"),
        "psk": end(False, name, suite, psk=bytes(32)),
        "suite": end(False, name, other),
    }
    if protocol(f"Noise_{name}_25519_{suite.value}_BLAKE2s").responder_known:
        responders["static"] = end(False, name, suite, static=StaticKey(bytes(32)))
    return [what for what, responder in responders.items() if refused_at(end(True, name, suite), responder) is None]


def forgeries_taken(name: str, suite: Suite) -> list[str]:
    """Which damaged, replayed or reflected messages were taken, and genuine ones that were not after them."""
    taken: list[str] = []
    writer, reader = pair(name, suite)
    elsewhere, sent = messages_of(name, suite), list[bytes]()
    for turn in range(len(elsewhere)):
        message = writer.write_message(b"payload")
        wrong = {"cut": message[:-1], "longer": message + b"\0", "doubled": message * 2, "nothing": b""}
        wrong["empty"] = message[: -len(b"payload") - 16]
        if turn:
            # Anybody may begin a handshake, so a first message of another run is no forgery.
            wrong |= {"of another run": elsewhere[turn], "reflected": sent[-1], "repeated": sent[max(0, turn - 2)]}
        for what, forged in wrong.items():
            try:
                reader.copy().read_message(forged)
                taken.append(f"message {turn + 1}: {what}")
            except RemoteError:
                with pytest.raises(RemoteError):
                    reader.read_message(forged)
        if reader.read_message(message) != b"payload":
            taken.append(f"message {turn + 1}: not the payload")
        sent.append(message)
        writer, reader = reader, writer
    return taken


def messages_of(name: str, suite: Suite) -> list[bytes]:
    """All messages of one genuine handshake."""
    writer, reader = pair(name, suite)
    made = []
    while not writer.complete:
        made.append(writer.write_message(b"payload"))
        reader.read_message(made[-1])
        writer, reader = reader, writer
    return made


@pytest.mark.parametrize("name", ["IKpsk2", "XXpsk3"])
@pytest.mark.parametrize("suite", list(Suite))
def test_another_context(name: str, suite: Suite) -> None:
    assert contexts_taken(name, suite) == []
    assert refused_at(*pair(name, suite)) is None


@pytest.mark.parametrize("name", ["IKpsk2", "XXpsk3"])
@pytest.mark.parametrize("suite", list(Suite))
def test_forgeries_and_the_genuine_message_after_them(name: str, suite: Suite) -> None:
    assert forgeries_taken(name, suite) == []


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
