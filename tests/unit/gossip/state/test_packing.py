from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import limits
from gossip.state.bodies import LINKS, PEER, LinksBody, encode_body
from gossip.state.identities import Identities
from gossip.state.packing import Packer
from gossip.state.statements import Statement, author, revived
from tests.sim.people import identity_of, peer_body
from tests.unit.gossip.cores import say

NAMES = [f"h{number}" for number in range(20)]


def of(name: str) -> list[Statement]:
    """A peer and its links."""
    peers = LinksBody(sorted(map(identity_of, NAMES[:8])))
    body = encode_body(PEER, peer_body(name, "192.0.2.1:6799"))
    return [say(name, (PEER, b""), (1, 1), body), say(name, (LINKS, b""), (1, 2), encode_body(LINKS, peers))]


def packer_of(names: list[str]) -> Packer:
    """A packer that knows these owners."""
    identities = Identities()
    for name in names:
        identities.add(identity_of(name))
    return Packer(identities)


def pack(packer: Packer, said: list[Statement], settled: int = -1) -> bytes:
    return packer.pack(bytes(8), settled, said)


def test_what_was_packed_comes_back_byte_for_byte_and_takes_less_room() -> None:
    packer = packer_of(NAMES)
    first = {name: pack(packer, of(name)) for name in NAMES}
    again = {name: pack(packer, of(name)) for name in NAMES}
    for packed in (first, again):
        assert {name: list(packer.unpack(data, identity_of(name))) for name, data in packed.items()} == {
            name: of(name) for name in NAMES
        }
    bare = sum(len(s.blob) + len(s.signature) for s in of("h5"))
    assert len(again["h5"]) < bare - 12 * limits.IDENTITY_B, "identities and the founder's certificate stand once"
    assert list(packer.unpack(pack(packer, []), identity_of("h1"))) == []


@pytest.mark.parametrize("settled", [-1, 0, 127, 128, 2**14, limits.U64_MAX])
def test_the_hash_and_the_settled_incarnation_are_read_without_the_rest(settled: int) -> None:
    packer = packer_of(["h1"])
    packed = packer.pack(b"12345678", settled, of("h1"))
    assert (packer.digest(packed), packer.settled(packed)) == (b"12345678", settled)
    assert list(packer.unpack(packed, identity_of("h1"))) == of("h1")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["note", "memo", "peer-of-another-kind"]),
            st.binary(max_size=limits.MAX_KEY_B),
            st.integers(0, limits.U64_MAX),
            st.none() | st.binary(max_size=600) | st.just(b"\xc4\x20" + identity_of("h1") + b"\xc4\x20" + bytes(31)),
        )
    )
)
def test_whatever_a_statement_says_comes_back(bodies: list[tuple[str, bytes, int, bytes | None]]) -> None:
    packer = packer_of(["h1", "h2"])
    pack(packer, of("h1"))
    said = [say("h2", (kind, key), (number, at), body) for at, (kind, key, number, body) in enumerate(bodies)]
    assert list(packer.unpack(pack(packer, said), identity_of("h2"))) == said


def test_a_blob_that_was_written_otherwise_comes_back_as_it_was() -> None:
    packer = packer_of(["h1"])
    usual = say("h1", ("note", b""), (1, 1), b"x")
    other = b"\x97" + msgspec.msgpack.encode(usual.mesh) + b"\xc5\x00\x20" + usual.blob[1 + 2 + limits.MESH_B + 2 :]
    odd = revived(other, usual.signature)
    assert odd.blob != usual.blob and odd.owner == usual.owner
    elsewhere = author(bytes, bytes(limits.MESH_B), usual.owner, usual.slot, usual.version, b"x")
    elsewhere = revived(elsewhere.blob, usual.signature)
    said = [usual, odd, elsewhere]
    assert list(packer.unpack(pack(packer, said), usual.owner)) == said


def test_the_tables_are_bounded_and_what_finds_no_place_in_them_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KINDS", 2)
    monkeypatch.setattr(limits, "MAX_SHARED", 0)
    packer = packer_of(NAMES[:2])
    said = {name: [*of(name), say(name, ("note", b""), (1, 3), b"x")] for name in NAMES}
    packed = {name: pack(packer, said[name]) for name in NAMES}
    assert len(packer._kinds) == 2 and packer._shared == []
    assert {name: list(packer.unpack(packed[name], identity_of(name))) for name in NAMES} == said
