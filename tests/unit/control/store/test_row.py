"""A durable write: gossip's own fits where ours does, and its value is not shown."""

from __future__ import annotations

from gossip.events import Put
from meshnet.control.store.row import PutLike, Row


def test_both_kinds_of_write_are_told_apart_by_nothing_the_store_uses() -> None:
    writes: list[PutLike] = [Row("token", b"k", b"v"), Put("token", b"k", b"v")]
    assert len({(write.space, write.key, write.value) for write in writes}) == 1


def test_a_value_may_be_secret() -> None:
    assert "sesame" not in repr(Row("token", b"k", b"sesame"))
