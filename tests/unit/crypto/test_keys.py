"""Identity and static keys: what they show, compare and refuse."""

from __future__ import annotations

import random

import pytest

from crypto.errors import KeyFormatError
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import verify


@pytest.mark.parametrize("kind", [IdentityKey, StaticKey])
def test_generate_store_compare(kind: type[IdentityKey] | type[StaticKey]) -> None:
    key, other = kind.generate(random.Random(1).randbytes), kind.generate(random.Random(2).randbytes)
    private = key.seed if isinstance(key, IdentityKey) else key.private
    again = kind.from_bytes(private)
    assert again == key and hash(again) == hash(key) and again.public == key.public
    assert key != other and key != private
    assert private.hex()[:8] not in repr(key) and str(private) not in repr(key)


@pytest.mark.parametrize("private", [b"", bytes(31), bytes(33), "x" * 32])
def test_other_lengths_are_refused(private: bytes) -> None:
    for kind in (IdentityKey, StaticKey):
        with pytest.raises(KeyFormatError):
            kind.from_bytes(private)


def test_identity_signs() -> None:
    key = IdentityKey.generate(random.Random(3).randbytes)
    assert verify(key.public, b"statement", key.sign(b"statement"))
