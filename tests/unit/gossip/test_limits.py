from __future__ import annotations

from gossip import limits
from gossip.spreading.codec import Digest, Message, Owners, Proofs, Want, encode
from gossip.state.bodies import LINKS, PEER, LinksBody, PeerBody, encode_body
from tests.unit.gossip.cores import say


def test_the_largest_messages_fit_a_record_of_the_stream() -> None:
    wire = bytes(limits.MAX_STATEMENT_B + limits.SIGNATURE_B + 16)
    owners = [(bytes(32), bytes(8))] * limits.MAX_OWNERS_PER_MESSAGE
    largest: list[Message] = [
        Digest([bytes(8)] * limits.DIGEST_BUCKETS),
        Owners(list(range(limits.DIGEST_BUCKETS)), owners),
        Want([bytes(32)] * limits.MAX_OWNERS_PER_MESSAGE),
        Proofs([(wire, wire)] * limits.MAX_PROOFS_PER_MESSAGE),
    ]
    assert all(len(encode(message)) <= limits.MAX_MESSAGE_B for message in largest)


def test_the_largest_own_statements_fit() -> None:
    links = encode_body(LINKS, LinksBody([bytes(32)] * limits.MAX_LINKS))
    addresses = ["a" * limits.MAX_ADDRESS_CHARS] * limits.MAX_ADDRESSES
    peer = PeerBody("n" * limits.MAX_NAME_CHARS, addresses, bytes(32), [bytes(280)] * limits.MAX_CHAIN, bytes(8), "1")
    for kind, body in ((LINKS, links), (PEER, encode_body(PEER, peer))):
        assert len(say("a", (kind, b""), (limits.U64_MAX, limits.U64_MAX), body).blob) <= limits.MAX_STATEMENT_B


def test_the_paces_fit_each_other() -> None:
    assert 3 * limits.HEARTBEAT_S < limits.SILENCE_S
    assert limits.HEARTBEAT_S < limits.STALE_S < limits.SILENCE_S
