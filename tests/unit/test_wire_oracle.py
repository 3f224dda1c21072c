"""What docs/wire.md says of encodings, checked with msgpack's own library, which shares no code with msgspec."""

from __future__ import annotations

import base64
import random

import msgpack

from crypto.certificate import issue
from crypto.keys import IdentityKey
from crypto.primitives import Suite, verify
from crypto.token import Token
from gossip.state.address_bodies import NETWORK, NetworkBody
from gossip.state.bodies import encode_body
from gossip.state.statements import author
from meshnet.boundary import DropSession, encode

MESH = b"m" * 16


def key(seed: int) -> IdentityKey:
    return IdentityKey.generate(random.Random(seed).randbytes)


def test_a_statement_is_its_blob_and_a_signature_over_it() -> None:
    owner = key(1)
    body = encode_body(NETWORK, NetworkBody(number=7, name="web", pools=["10.7.0.0/16"], mtu=1500))
    statement = author(owner.sign, MESH, owner.public, (NETWORK, b"\0\0\0\7"), (3, 9), body)
    blob, signature = msgpack.unpackb(statement.wire())
    assert msgpack.unpackb(blob) == [MESH, owner.public, "network", b"\0\0\0\7", 3, 9, body]
    assert verify(owner.public, b"meshnet-statement-v1" + blob, signature)
    assert msgpack.unpackb(body)[:4] == [7, "web", ["10.7.0.0/16"], 1500]


def test_a_token_is_base64_of_an_array_and_a_checksum() -> None:
    token = Token(
        mesh=MESH,
        suite=Suite.AESGCM,
        addresses=("192.0.2.1:6799",),
        issuer_identity=b"i" * 32,
        issuer_static=b"s" * 32,
        secret=b"x" * 32,
        expires=2_000_000_000,
        uses=10,
    )
    text = token.encode()
    assert text.startswith("mesh1-")
    raw = base64.urlsafe_b64decode(text[len("mesh1-") :] + "=" * (-len(text[len("mesh1-") :]) % 4))
    fields = msgpack.unpackb(raw[:-4])
    assert fields == [MESH, Suite.AESGCM.number, ["192.0.2.1:6799"], b"i" * 32, b"s" * 32, b"x" * 32, 2_000_000_000, 10]


def test_a_certificate_is_an_array_followed_by_the_issuers_signature() -> None:
    issuer, member = key(2), key(3)
    blob = issue(issuer, mesh=MESH, identity=member.public, name="h2", roles=("invite", "admin"), serial=5)
    fields = msgpack.unpackb(blob[:-64])
    assert fields == [1, MESH, member.public, "h2", ["admin", "invite"], 5, issuer.public, b""]


def test_a_verb_is_a_map_that_names_its_type() -> None:
    assert msgpack.unpackb(encode(DropSession(index=7))) == {"t": "DropSession", "index": 7}
