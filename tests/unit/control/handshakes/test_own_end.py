"""What this host brings to handshakes: offers, choices, and the mesh secret that both ends hold."""

from __future__ import annotations

import random

import pytest

from crypto.errors import RemoteError
from crypto.handshake import Local
from crypto.keyring import Keyring
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.control.handshakes.own_end import RECORD_MIN, OwnEnd
from tests.unit.control.handshaking import AT_SMALL, LARGE, MESH, SMALL, STRANGER

OLD, NOW, NEXT, OTHER = (MeshSecret(number, bytes([number]) * 32) for number in (6, 7, 8, 9))


def own_end(keyring: Keyring) -> OwnEnd:
    rng = random.Random(1)
    local = Local(MESH, Suite.AESGCM, keyring, SMALL, STRANGER)
    return OwnEnd(local, b"boot-id!", 5, 9_000, rng.randbytes, rng, lambda: 10**18, lambda peer_id, address: False)


@pytest.mark.parametrize(
    ("held", "epoch"),
    [
        ((), 7),
        ((NOW,), 7),
        ((NEXT, NOW), 7),
        ((NEXT,), 8),
        ((NEXT, OLD), 8),
        ((OLD,), 6),
        ((OTHER,), 7),
    ],
)
def test_the_secret_that_the_peer_holds_is_used(held: tuple[MeshSecret, ...], epoch: int) -> None:
    own = own_end(Keyring(NOW, NEXT, OLD))
    assert own.epoch_for([secret.tag() for secret in held]) == epoch


def test_an_offer_and_a_choice_say_what_this_end_takes() -> None:
    own = own_end(Keyring(NOW))
    offer = own.offer(b"s" * 12, b"c" * 8)
    assert (offer.stamp, offer.challenge, offer.boot, offer.features) == (b"s" * 12, b"c" * 8, b"boot-id!", 5)
    choice = own.choice()
    assert (choice.boot, choice.version, choice.largest_record) == (b"boot-id!", offer.max_version, 9_000)


def test_the_record_size_suits_both() -> None:
    own = own_end(Keyring(NOW))
    assert own.record_size(64_000) == 9_000 and own.record_size(RECORD_MIN) == RECORD_MIN
    with pytest.raises(RemoteError):
        own.record_size(RECORD_MIN - 1)


def test_our_static_keys_are_both_ours() -> None:
    own = own_end(Keyring(NOW))
    assert own.is_static(SMALL.public) and own.is_static(STRANGER.public) and not own.is_static(LARGE.public)


def test_an_address_that_is_not_to_be_used_is_counted() -> None:
    own = own_end(Keyring(NOW))
    assert own.usable(b"p", AT_SMALL) and not own.counters
    own.barred = lambda peer_id, address: (peer_id, address) == (b"p", AT_SMALL)
    assert own.usable(b"q", AT_SMALL)
    assert not own.usable(b"p", AT_SMALL)
    assert own.counters["address that is not to be used"] == 1
