from __future__ import annotations

import msgspec
import pytest

from gossip import limits
from gossip.errors import LocalError
from gossip.state.address_bodies import ENDPOINT, GRANT, NETWORK, REQUEST, EndpointBody, Grant, NetworkBody, RequestBody
from gossip.state.bodies import (
    ALLOW,
    DROP,
    LINKS,
    PEER,
    REVOKE,
    SECRET,
    AllowBody,
    AnyBody,
    LinksBody,
    PeerBody,
    RevokeBody,
    SecretBody,
    decode_body,
    encode_body,
)
from tests.sim.people import peer_body

WHO = bytes(range(32))
MAC = b"\x02abcde"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PEER, peer_body("h1", "192.0.2.1:6799", "[2001:db8::1]:6799")),
        (LINKS, LinksBody([WHO])),
        (NETWORK, NetworkBody(2**32 - 1, "v6", ["fd00::/48", "10.0.0.0/8"], 9000)),
        (ENDPOINT, EndpointBody(1, MAC, [("10.0.0.1/8", 3), ("fd00::1/48", 2**64 - 1)], "web")),
        (GRANT, Grant(1, 2**127, 2**128, WHO, 0, b"")),
        (GRANT, Grant(1, 0, 2**32, WHO, 7, bytes(16))),
        (GRANT, Grant(0, 77, 78, WHO, 1, bytes(16), "web", bytes(8))),
        (GRANT, Grant(1, 0, 2**32, WHO, 7, bytes(16), answers=bytes(8))),
        (REQUEST, RequestBody(WHO, 0, "web", b"", 0, bytes(8))),
        (REQUEST, RequestBody(WHO, 9, "", b"\x0a\0\0\1", 3, bytes(8))),
        (REVOKE, RevokeBody(WHO, 0, "")),
        (REVOKE, RevokeBody(WHO, 2**63 - 1, "x" * 120)),
        (ALLOW, AllowBody(WHO)),
        (ALLOW, AllowBody(b"")),
        (SECRET, SecretBody(2**32 - 1, bytes(32), DROP)),
    ],
)
def test_bodies_survive_the_wire(kind: str, body: AnyBody) -> None:
    assert decode_body(kind, encode_body(kind, body)) == body


def test_fields_a_later_version_appends_are_ignored() -> None:
    longer = [*msgspec.msgpack.decode(encode_body(PEER, peer_body("h1"))), {"more": [1]}]
    assert decode_body(PEER, msgspec.msgpack.encode(longer)) == peer_body("h1")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PEER, PeerBody("Upper", [], bytes(32), [b"c"], bytes(8), "1")),
        (PEER, PeerBody("a", ["x:1\n"], bytes(32), [b"c"], bytes(8), "1")),
        (PEER, PeerBody("a", [], bytes(31), [b"c"], bytes(8), "1")),
        (PEER, PeerBody("a", [], bytes(32), [], bytes(8), "1")),
        (PEER, PeerBody("a", [f"x:{n}" for n in range(17)], bytes(32), [b"c"], bytes(8), "1")),
        (NETWORK, NetworkBody(1, "n", [], 1500)),
        (NETWORK, NetworkBody(1, "n", ["10.0.0.0/8", "10.1.0.0/16"], 1500)),
        (NETWORK, NetworkBody(1, "n", ["10.0.0.1/8"], 1500)),
        (NETWORK, NetworkBody(1, "n", ["::/0"], 1500)),
        (NETWORK, NetworkBody(1, "n", ["10.0.0.0/8"], 100)),
        (ENDPOINT, EndpointBody(1, b"\x01abcde", [], "")),
        (ENDPOINT, EndpointBody(1, MAC, [("10.0.0.1", 1)], "")),
        (ENDPOINT, EndpointBody(1, MAC, [("10.0.0.1/8", 1), ("10.0.0.1/9", 2)], "")),
        (ENDPOINT, EndpointBody(1, MAC, [("10.0.0.1/8", -1)], "")),
        (GRANT, Grant(1, 5, 5, WHO, 0, b"")),
        (GRANT, Grant(1, 0, 2**128 + 1, WHO, 0, b"")),
        (GRANT, Grant(1, 0, 5, WHO, 1, b"")),
        (GRANT, Grant(1, 0, 5, WHO, 0, bytes(16))),
        (GRANT, Grant(1, 5, 6, WHO, 1, bytes(16), "web")),
        (GRANT, Grant(0, 5, 7, WHO, 1, bytes(16), "web")),
        (GRANT, Grant(0, 5, 6, WHO, 1, bytes(16), "Not a name")),
        (GRANT, Grant(0, 5, 6, WHO, 1, bytes(16), answers=b"short")),
        (REQUEST, RequestBody(WHO, 0, "", b"", 0, bytes(8))),
        (REQUEST, RequestBody(WHO, 9, "web", b"", 0, bytes(8))),
        (REQUEST, RequestBody(WHO, 0, "-", b"", 0, bytes(8))),
        (REQUEST, RequestBody(WHO, 9, "", bytes(17), 0, bytes(8))),
        (PEER, PeerBody("a", [], bytes(32), [b"c"], bytes(8), "1", [bytes(7)])),
        (PEER, PeerBody("a", [], bytes(32), [b"c"], bytes(8), "1", [bytes(8)] * 4)),
        (REVOKE, RevokeBody(bytes(31), 0, "")),
        (REVOKE, RevokeBody(WHO, -1, "")),
        (REVOKE, RevokeBody(WHO, 0, "x" * 121)),
        (REVOKE, RevokeBody(WHO, 0, "two\nlines")),
        (ALLOW, AllowBody(bytes(31))),
        (ALLOW, AllowBody(bytes(33))),
        (SECRET, SecretBody(2**32, bytes(32), DROP)),
        (SECRET, SecretBody(1, bytes(31), DROP)),
        (SECRET, SecretBody(1, bytes(32), DROP + 1)),
        (SECRET, SecretBody(1, bytes(32), -1)),
    ],
)
def test_nonsense_is_never_signed(kind: str, body: AnyBody) -> None:
    with pytest.raises(LocalError):
        encode_body(kind, body)


def test_a_grant_of_an_earlier_version_reads_as_one_without_name_and_answer() -> None:
    data = encode_body(GRANT, Grant(1, 0, 5, WHO, 1, bytes(16)))
    assert len(msgspec.msgpack.decode(data)) == 6, "and is written as that version wrote it: its id must not change"


def test_a_peer_of_an_earlier_version_names_no_secrets() -> None:
    shorter = msgspec.msgpack.decode(encode_body(PEER, peer_body("h1")))[:-1]
    body = decode_body(PEER, msgspec.msgpack.encode(shorter))
    assert isinstance(body, PeerBody) and body.secrets == []
    tagged = msgspec.structs.replace(body, secrets=[b"tag-now.", b"tag-next"])
    assert decode_body(PEER, encode_body(PEER, tagged)) == tagged


def test_links_without_costs_are_those_of_an_earlier_version_and_else_each_has_one() -> None:
    assert decode_body(LINKS, b"\x91\x91\xc4\x20" + WHO) == LinksBody([WHO])
    assert decode_body(LINKS, encode_body(LINKS, LinksBody([WHO], [limits.MAX_COST]))) == LinksBody([WHO], [14])
    for costs in ([1, 2], [limits.MAX_COST + 1], [-1]):
        with pytest.raises(LocalError):
            encode_body(LINKS, LinksBody([WHO], costs))
