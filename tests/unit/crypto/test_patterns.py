"""Protocol names: what they parse to and which are refused."""

from __future__ import annotations

import pytest

from crypto.errors import LocalError
from crypto.patterns import protocol
from crypto.primitives import Suite


def test_ikpsk2() -> None:
    parsed = protocol("Noise_IKpsk2_25519_AESGCM_BLAKE2s")
    assert parsed.messages == (("e", "es", "s", "ss"), ("e", "ee", "se", "psk"))
    assert (parsed.suite, parsed.hash_name, parsed.psks) == (Suite.AESGCM, "blake2s", 1)
    assert (parsed.initiator_known, parsed.responder_known) == (False, True)


def test_psk0_and_several() -> None:
    parsed = protocol("Noise_XXpsk0+psk3_25519_ChaChaPoly_SHA256")
    assert parsed.messages[0] == ("psk", "e") and parsed.messages[2] == ("s", "se", "psk")
    assert parsed.psks == 2 and parsed.hash_name == "sha256"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Noise_QQ_25519_AESGCM_BLAKE2s",
        "Noise_IK_448_AESGCM_BLAKE2s",
        "Noise_IK_25519_AESGCM_SHA512",
        "Noise_IKpsk3_25519_AESGCM_BLAKE2s",
        "Noise_IKpsk2+psk0_25519_AESGCM_BLAKE2s",
        "Noise_IKpsk1+psk1_25519_AESGCM_BLAKE2s",
        "Noise_IK_25519_AESGCM_BLAKE2s ",
    ],
)
def test_unsupported_names(name: str) -> None:
    with pytest.raises(LocalError):
        protocol(name)
