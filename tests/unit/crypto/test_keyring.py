"""The keyring: the three steps of replacing the mesh secret, and what each refuses."""

from __future__ import annotations

import pytest

from crypto.errors import LocalError
from crypto.keyring import Keyring
from crypto.secret import MeshSecret

FIRST, SECOND, THIRD = (MeshSecret(generation, bytes((generation,)) * 32) for generation in (1, 2, 3))


def test_the_steps_of_a_rotation() -> None:
    ring = Keyring(FIRST)
    assert (ring.secrets(), ring.tags()) == ((FIRST,), (FIRST.tag(),))
    ring = ring.installed(SECOND)
    assert ring.secrets() == (FIRST, SECOND) and ring.current == FIRST
    ring = ring.switched()
    assert (ring.current, ring.next, ring.previous) == (SECOND, None, FIRST)
    assert ring.installed(THIRD).secrets() == (SECOND, THIRD, FIRST)
    assert ring.installed(THIRD).tags() == (SECOND.tag(), THIRD.tag(), FIRST.tag())
    assert ring.dropped().secrets() == (SECOND,)
    assert ring.installed(THIRD).dropped().secrets() == (SECOND, THIRD)


def test_a_step_leaves_what_was_handed_out_as_it_was() -> None:
    ring = Keyring(FIRST)
    ring.installed(SECOND).switched().dropped()
    assert ring == Keyring(FIRST)


def test_what_is_found() -> None:
    ring = Keyring(FIRST, SECOND, MeshSecret(0, bytes(32)))
    for secret in ring.secrets():
        assert ring.get(secret.epoch) == secret
    assert ring.get(9) is None


def test_a_secret_of_the_same_number_replaces_the_next_one() -> None:
    winner = MeshSecret(2, b"w" * 32)
    assert Keyring(FIRST, SECOND).installed(winner) == Keyring(FIRST, winner)


@pytest.mark.parametrize(
    "secret",
    [
        FIRST,
        MeshSecret(0, b"k" * 32),
        MeshSecret(1, b"k" * 32),
        MeshSecret(257, b"k" * 32),
        MeshSecret(256, b"k" * 32),
    ],
    ids=["the same", "older", "the same number", "epoch of the current", "epoch of the previous"],
)
def test_what_cannot_be_installed(secret: MeshSecret) -> None:
    with pytest.raises(LocalError):
        Keyring(FIRST, previous=MeshSecret(0, bytes(32))).installed(secret)


def test_generations_go_on_where_epochs_begin_anew() -> None:
    last = MeshSecret(255, b"l" * 32)
    ring = Keyring(last, previous=MeshSecret(254, b"p" * 32)).installed(MeshSecret(256, b"n" * 32)).switched()
    assert [secret.epoch for secret in ring.secrets()] == [0, 255]
    assert ring.get(0) == ring.current


def test_switching_to_nothing() -> None:
    with pytest.raises(LocalError):
        Keyring(FIRST).switched()


def test_impossible_keyrings() -> None:
    with pytest.raises(LocalError, match="same epoch"):
        Keyring(FIRST, previous=MeshSecret(257, bytes(32)))
    with pytest.raises(LocalError, match="not newer"):
        Keyring(SECOND, FIRST)


def test_no_key_is_shown() -> None:
    ring = Keyring(FIRST, SECOND)
    assert repr(ring) == "Keyring(current=1, next=2)"
    assert FIRST.key.hex() not in repr(ring) and repr(FIRST.key) not in repr(ring)
