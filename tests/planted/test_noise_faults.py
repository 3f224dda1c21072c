"""Faults planted in the handshake's state machine; vectors, negative tests and rollback checks must find each."""

from __future__ import annotations

import pytest

from crypto.errors import RemoteError
from crypto.noise import HandshakeState, SymmetricState
from crypto.primitives import Suite
from tests.unit.crypto.test_noise import contexts_taken, forgeries_taken, pair, refused_at
from tests.unit.crypto.test_vectors import load, run_noise

PATTERNS = ("IKpsk2", "XXpsk3")
honest_key_and_hash = SymmetricState.mix_key_and_hash


def forgets_the_hash(state: SymmetricState, data: bytes) -> None:
    """MixHash that does nothing: both ends still agree, on everything."""


def forgets_the_psk(state: SymmetricState, material: bytes) -> None:
    """MixKeyAndHash of zeros, whatever the psk is."""
    honest_key_and_hash(state, bytes(32))


def keeps_a_failed_message(state: HandshakeState, message: bytes) -> bytes:
    """A read that works on the state itself: what came before the false tag has changed it."""
    rest = message
    for token in state._tokens():
        rest = state._read_token(token, rest)
    payload = state._symmetric.decrypt_and_hash(rest)
    state._turn += 1
    return payload


@pytest.mark.parametrize("name", PATTERNS)
def test_a_hash_that_forgets_is_noticed_by_the_negative_tests(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(SymmetricState, "mix_hash", forgets_the_hash)
    assert refused_at(*pair(name)) is None, "the fault must be one that a happy path does not see"
    assert "prologue" in contexts_taken(name, Suite.AESGCM)


def test_a_hash_that_forgets_is_noticed_by_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SymmetricState, "mix_hash", forgets_the_hash)
    wrong = 0
    for vector in load("noise/cacophony-25519.json")["vectors"]:
        try:
            run_noise(vector)
        except (AssertionError, RemoteError):
            wrong += 1
    assert wrong == 236


@pytest.mark.parametrize("name", PATTERNS)
def test_a_psk_that_does_not_count_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(SymmetricState, "mix_key_and_hash", forgets_the_psk)
    assert contexts_taken(name, Suite.CHACHAPOLY) == ["psk"]


@pytest.mark.parametrize("name", PATTERNS)
def test_a_read_without_rollback_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(HandshakeState, "read_message", keeps_a_failed_message)
    with pytest.raises(RemoteError):
        forgeries_taken(name, Suite.AESGCM)


@pytest.mark.parametrize("name", PATTERNS)
def test_without_a_fault_nothing_is_found(name: str) -> None:
    for suite in Suite:
        assert contexts_taken(name, suite) == [] and forgeries_taken(name, suite) == []
