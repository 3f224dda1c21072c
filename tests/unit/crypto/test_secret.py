"""The mesh secret: separate keys for separate uses, and silence about itself."""

from __future__ import annotations

import pytest

from crypto.errors import KeyFormatError, LocalError
from crypto.prologue import Channel
from crypto.secret import MeshSecret, mesh_id

KEY = bytes(range(100, 132))


def test_each_use_has_its_own_key() -> None:
    secret = MeshSecret(0, KEY)
    made = {
        secret.psk(Channel.UDP),
        secret.psk(Channel.LINK),
        secret.mac1_subkey(),
        secret.cookie_subkey(),
        secret.commitment(),
        KEY,
    }
    assert len(made) == 6 and all(len(key) == 32 for key in made)
    assert MeshSecret(0, bytes(32)).psk(Channel.UDP) != secret.psk(Channel.UDP)
    for channel in (Channel.JOIN, Channel.PASSWORD):
        with pytest.raises(LocalError):
            secret.psk(channel)


def test_the_epoch_is_the_last_byte_of_the_generation() -> None:
    assert [MeshSecret(generation, KEY).epoch for generation in (0, 255, 256, (1 << 32) - 1)] == [0, 255, 0, 255]


def test_a_commitment_names_the_key_whatever_its_generation() -> None:
    secret = MeshSecret(7, KEY)
    assert secret.commitment() == MeshSecret(8, KEY).commitment() != MeshSecret(7, bytes(32)).commitment()
    assert secret.tag() == secret.commitment()[:8]


def test_equality_and_repr() -> None:
    secret = MeshSecret(3, KEY)
    assert secret == MeshSecret(3, KEY) and hash(secret) == hash(MeshSecret(3, KEY))
    assert secret != MeshSecret(4, KEY) and secret != MeshSecret(3, bytes(32)) and secret != KEY
    assert repr(secret) == "MeshSecret(generation=3)"


@pytest.mark.parametrize(
    ("generation", "key"), [(-1, KEY), (1 << 32, KEY), (0, KEY[1:]), (0, KEY + b"x"), (0, "k" * 32)]
)
def test_impossible_secrets(generation: int, key: bytes) -> None:
    with pytest.raises(KeyFormatError):
        MeshSecret(generation, key)


def test_mesh_id_binds_founder_and_seed() -> None:
    ids = {mesh_id(founder, seed) for founder in (KEY, bytes(32)) for seed in (bytes(16), b"s" * 16)}
    assert len(ids) == 4 and all(len(one) == 16 for one in ids)
    for founder, seed in ((KEY[1:], bytes(16)), (KEY, bytes(15))):
        with pytest.raises(KeyFormatError):
            mesh_id(founder, seed)
