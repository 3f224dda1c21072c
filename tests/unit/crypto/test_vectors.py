"""The published vectors: Noise handshakes (cacophony) and Wycheproof's files for the primitives.

The files are found through ``MESHNET_VECTORS``. Without them the tests fail in CI and are skipped, saying so,
elsewhere.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from crypto.errors import RemoteError
from crypto.keys import StaticKey
from crypto.noise import CipherState, HandshakeState
from crypto.patterns import protocol
from crypto.primitives import TAG_SIZE, InvalidTag, Suite, aead, dh, verify

NOISE_VECTORS = 236
X25519_VECTORS = 518
X25519_ZERO_RESULTS = 31
AEAD_VECTORS = {Suite.AESGCM: 66, Suite.CHACHAPOLY: 316}
ED25519_VECTORS = 151


def load(name: str) -> dict[str, Any]:
    root = os.environ.get("MESHNET_VECTORS")
    path = Path(root or "absent") / name
    if not path.is_file():
        reason = f"MESHNET_VECTORS={root!r} has no {name}: the published vectors were NOT run"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def unhex(vector: dict[str, Any], key: str) -> bytes | None:
    return bytes.fromhex(vector[key]) if key in vector else None


def end_of(vector: dict[str, Any], side: str) -> HandshakeState:
    static, ephemeral = unhex(vector, f"{side}_static"), unhex(vector, f"{side}_ephemeral")
    return HandshakeState(
        protocol(vector["protocol_name"]),
        initiator=side == "init",
        prologue=bytes.fromhex(vector[f"{side}_prologue"]),
        entropy=lambda size: ephemeral if ephemeral is not None and len(ephemeral) == size else b"",
        static=None if static is None else StaticKey(static),
        remote_static=unhex(vector, f"{side}_remote_static"),
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{side}_psks", [])],
    )


def run_noise(vector: dict[str, Any]) -> None:
    parsed = protocol(vector["protocol_name"])
    one_way = len(parsed.messages) == 1
    writer, reader = end_of(vector, "init"), end_of(vector, "resp")
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    for payload, ciphertext in messages[: len(parsed.messages)]:
        assert writer.write_message(payload) == ciphertext
        if writer._symmetric.has_key:
            for position in range(-TAG_SIZE, 0):
                flipped = bytearray(ciphertext)
                flipped[position] ^= 1
                with pytest.raises(RemoteError):
                    reader.read_message(bytes(flipped))
        assert reader.read_message(ciphertext) == payload
        if not one_way:
            writer, reader = reader, writer
    assert writer.complete and reader.complete
    assert writer.handshake_hash == reader.handshake_hash == bytes.fromhex(vector["handshake_hash"])
    transport = messages[len(parsed.messages) :]
    assert transport
    writers = [CipherState(parsed.suite, end.split()[0]) for end in (writer, reader)]
    readers = [CipherState(parsed.suite, end.split()[1]) for end in (reader, writer)]
    for index, (payload, ciphertext) in enumerate(transport):
        turn = 0 if one_way else index % 2
        assert writers[turn].encrypt(b"", payload) == ciphertext
        assert readers[turn].decrypt(b"", ciphertext) == payload


def test_every_noise_vector() -> None:
    vectors = load("noise/cacophony-25519.json")["vectors"]
    assert len(vectors) == NOISE_VECTORS
    for vector in vectors:
        try:
            run_noise(vector)
        except Exception as error:
            raise AssertionError(vector["protocol_name"]) from error


def test_wycheproof_x25519() -> None:
    seen = zero = 0
    for group in load("wycheproof/x25519_test.json")["testGroups"]:
        for test in group["tests"]:
            seen += 1
            private, public = bytes.fromhex(test["private"]), bytes.fromhex(test["public"])
            if "ZeroSharedSecret" in test["flags"]:
                zero += 1
                with pytest.raises(RemoteError):
                    dh(private, public)
            else:
                assert dh(private, public).hex() == test["shared"], test["tcId"]
    assert (seen, zero) == (X25519_VECTORS, X25519_ZERO_RESULTS)


@pytest.mark.parametrize(("suite", "name"), [(Suite.AESGCM, "aes_gcm"), (Suite.CHACHAPOLY, "chacha20_poly1305")])
def test_wycheproof_aead(suite: Suite, name: str) -> None:
    seen = 0
    for group in load(f"wycheproof/{name}_test.json")["testGroups"]:
        # Our records use one size of key, nonce and tag; other groups test what we cannot express.
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        for test in group["tests"]:
            seen += 1
            key, nonce, data, message, ciphertext, tag = (
                bytes.fromhex(test[part]) for part in ("key", "iv", "aad", "msg", "ct", "tag")
            )
            cipher = aead(suite, key)
            if test["result"] == "valid":
                assert cipher.encrypt(nonce, message, data) == ciphertext + tag, test["tcId"]
                assert cipher.decrypt(nonce, ciphertext + tag, data) == message, test["tcId"]
            else:
                with pytest.raises(InvalidTag):
                    cipher.decrypt(nonce, ciphertext + tag, data)
    assert seen == AEAD_VECTORS[suite]


def test_wycheproof_ed25519() -> None:
    seen = 0
    for group in load("wycheproof/ed25519_test.json")["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for test in group["tests"]:
            seen += 1
            held = verify(public, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
            assert held == (test["result"] == "valid"), test["tcId"]
    assert seen == ED25519_VECTORS
