"""What all bodies share: bounds of fields, integers in the fewest bytes."""

from __future__ import annotations

import msgspec
import pytest

from gossip import limits
from gossip.state.body import NAME, Body, Name, least_bytes


class Labelled(Body, frozen=True):
    name: Name


def test_an_integer_takes_the_fewest_bytes_and_comes_back() -> None:
    assert [least_bytes(value) for value in (0, 1, 255, 256)] == [b"", b"\1", b"\xff", b"\1\0"]
    assert int.from_bytes(least_bytes(2**128), "big") == 2**128


def test_a_field_beyond_its_bound_is_refused() -> None:
    decoder = msgspec.msgpack.Decoder(Labelled)
    assert decoder.decode(msgspec.msgpack.encode(["n" * limits.MAX_NAME_CHARS])).name
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(msgspec.msgpack.encode(["n" * (limits.MAX_NAME_CHARS + 1)]))


@pytest.mark.parametrize(("name", "good"), [("web-1", True), ("-web", False), ("Web", False), ("", False)])
def test_names_are_small_letters_digits_and_inner_dashes(name: str, good: bool) -> None:
    assert bool(NAME.match(name)) == good
