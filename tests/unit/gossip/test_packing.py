from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import limits
from gossip.bodies import LINKS, PEER, LinksBody, encode_body
from gossip.packing import Packer
from gossip.statements import Statement
from tests.sim.people import identity_of, peer_body
from tests.unit.gossip.cores import say

NAMES = [f"h{number}" for number in range(20)]


def of(name: str) -> list[Statement]:
    """A peer and its links."""
    peers = LinksBody(sorted(map(identity_of, NAMES[:8])))
    body = encode_body(PEER, peer_body(name, "192.0.2.1:6799"))
    return [say(name, (PEER, b""), (1, 1), body), say(name, (LINKS, b""), (1, 2), encode_body(LINKS, peers))]


def test_what_was_packed_comes_back_byte_for_byte_and_takes_less_room() -> None:
    packer = Packer()
    first = {name: packer.pack(of(name)) for name in NAMES}
    again = {name: packer.pack(of(name)) for name in NAMES}
    for packed in (first, again):
        assert {name: list(packer.unpack(data)) for name, data in packed.items()} == {name: of(name) for name in NAMES}
    bare = sum(len(s.blob) + len(s.signature) for s in of("h5"))
    assert len(again["h5"]) < bare - 10 * limits.IDENTITY_B, "identities and the founder's certificate stand once"
    assert list(packer.unpack(b"")) == []


@given(st.lists(st.binary(max_size=200) | st.just(b"\xc4\x20" + identity_of("h1") + b"\xc4\x20" + bytes(31))))
def test_whatever_a_statement_says_comes_back(bodies: list[bytes]) -> None:
    packer = Packer()
    packer.pack(of("h1"))
    said = [say("h2", ("note", bytes([at])), (1, at), body) for at, body in enumerate(bodies)]
    assert list(packer.unpack(packer.pack(said))) == said


def test_the_table_is_bounded_and_what_finds_no_place_in_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_OWNERS", 2)
    monkeypatch.setattr(limits, "MAX_SHARED", 0)
    packer = Packer()
    packed = [packer.pack(of(name)) for name in NAMES]
    assert len(packer._texts) <= 4 and [list(packer.unpack(data)) for data in packed] == [of(name) for name in NAMES]
