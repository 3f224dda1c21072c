"""Both our patterns against another implementation, the ``noiseprotocol`` package, in both roles."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

from crypto.keys import StaticKey
from crypto.noise import CipherState, HandshakeState
from crypto.patterns import protocol
from crypto.primitives import Suite

RNG = random.Random(13)
OURS, THEIRS = (StaticKey.generate(RNG.randbytes) for _ in range(2))
PSK = RNG.randbytes(32)
PROLOGUE = b"interop"


def foreign(name: str, initiator: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from noise.connection import Keypair, NoiseConnection

        connection = NoiseConnection.from_name(name.encode())
        connection.set_as_initiator() if initiator else connection.set_as_responder()
        connection.set_prologue(PROLOGUE)
        connection.set_psks(PSK)
        connection.set_keypair_from_private_bytes(Keypair.STATIC, THEIRS.private)
        if initiator and "_IK" in name:
            connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, OURS.public)
        connection.start_handshake()
    return connection


@pytest.mark.parametrize(("pattern", "messages"), [("IKpsk2", 2), ("XXpsk3", 3)])
@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("we_initiate", [True, False])
def test_a_live_handshake(pattern: str, messages: int, suite: Suite, we_initiate: bool) -> None:
    name = f"Noise_{pattern}_25519_{suite.value}_BLAKE2s"
    them = foreign(name, not we_initiate)
    us = HandshakeState(
        protocol(name),
        initiator=we_initiate,
        prologue=PROLOGUE,
        entropy=RNG.randbytes,
        static=OURS,
        remote_static=THEIRS.public if we_initiate and pattern == "IKpsk2" else None,
        psks=(PSK,),
    )
    for turn in range(messages):
        if us.writes_next:
            assert bytes(them.read_message(us.write_message(b"ours"))) == b"ours"
        else:
            assert us.read_message(bytes(them.write_message(b"theirs"))) == b"theirs"
        assert us.complete == (turn == messages - 1)
    assert them.handshake_finished and us.handshake_hash == them.get_handshake_hash()
    assert us.remote_static == THEIRS.public
    send, receive = (CipherState(suite, key) for key in us.split())
    for count in range(3):
        content = b"record %d" % count
        assert bytes(them.decrypt(send.encrypt(b"", content))) == content
        assert receive.decrypt(b"", bytes(them.encrypt(content))) == content
