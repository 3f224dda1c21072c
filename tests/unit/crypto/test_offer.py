"""What the handshake's payloads say: exact layouts, and every form that is refused."""

from __future__ import annotations

import dataclasses

import pytest

from crypto.errors import LocalError, RemoteError
from crypto.offer import Choice, Offer, pack_choice, pack_offer, unpack_choice, unpack_offer

OFFER = Offer(b"time-stamp12", b"bootaaaa", 1, 3, 31, 64_000, b"12345678")
CHOICE = Choice(b"bootbbbb", 2, 5, 32_000)


def test_layouts() -> None:
    packed = pack_offer(OFFER)
    assert packed.hex() == (b"time-stamp12bootaaaa".hex() + "01030000" + "0000001f" + "0000fa00") + (
        b"12345678".hex() + "00" * 8
    )
    assert unpack_offer(packed) == OFFER
    packed = pack_choice(CHOICE)
    assert packed.hex() == b"bootbbbb".hex() + "02000000" + "00000005" + "00007d00" + "00000000"
    assert unpack_choice(packed) == CHOICE


@pytest.mark.parametrize(
    "change",
    [{"stamp": bytes(11)}, {"boot": bytes(9)}, {"features": 1 << 32}, {"largest_record": -1}, {"max_version": 256},
     {"challenge": b""}],
)  # fmt: skip
def test_offers_that_fit_no_payload(change: dict[str, object]) -> None:
    with pytest.raises(LocalError):
        pack_offer(dataclasses.replace(OFFER, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"boot": b""}, {"version": 256}, {"features": -1}, {"largest_record": 1 << 32}])
def test_choices_that_fit_no_payload(change: dict[str, object]) -> None:
    with pytest.raises(LocalError):
        pack_choice(dataclasses.replace(CHOICE, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("position", [22, 23, *range(40, 48)])
def test_reserved_bytes_of_an_offer(position: int) -> None:
    packed = bytearray(pack_offer(OFFER))
    packed[position] = 1
    with pytest.raises(RemoteError, match="form"):
        unpack_offer(bytes(packed))


@pytest.mark.parametrize("position", [9, 10, 11, *range(20, 24)])
def test_reserved_bytes_of_a_choice(position: int) -> None:
    packed = bytearray(pack_choice(CHOICE))
    packed[position] = 1
    with pytest.raises(RemoteError, match="form"):
        unpack_choice(bytes(packed))


def test_other_lengths_and_impossible_versions() -> None:
    for size in (0, 47, 49):
        with pytest.raises(RemoteError, match="length"):
            unpack_offer(bytes(size))
    for size in (0, 23, 25):
        with pytest.raises(RemoteError, match="length"):
            unpack_choice(bytes(size))
    for low, high in ((0, 1), (3, 2)):
        with pytest.raises(RemoteError, match="form"):
            unpack_offer(pack_offer(dataclasses.replace(OFFER, min_version=low, max_version=high)))
