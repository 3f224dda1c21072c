"""Signed state: a statement of every kind, one withdrawn, every message on a link, a chain, a token."""

from __future__ import annotations

from crypto.keys import IdentityKey, StaticKey
from gossip.spreading import codec
from gossip.state import address_bodies as addresses
from gossip.state import bodies
from gossip.state.statements import Statement, author, key_of
from meshnet.control.links.credential import Credential
from tests.frozen.cast import (
    A_STATIC,
    B_STATIC,
    FOUNDER,
    JOINER,
    KEYRING,
    MEMBER,
    MESH,
    NEXT_SECRET,
    chain,
    token,
)

INCARNATION = 3
RUN = b"run.one."
ROW = addresses.Row(b"\x4d", b"\x4e", JOINER.public, 2, b"newest deed id..", "web", [JOINER.public])
MAC = bytes.fromhex("02aabbccddee")


def every_body() -> list[tuple[str, bodies.AnyBody]]:
    """A body of every kind."""
    return [
        (
            bodies.PEER,
            bodies.PeerBody(
                name="host-b",
                addresses=["192.0.2.2:6799", "[2001:db8::2]:6799"],
                static=B_STATIC.public,
                chain=chain()[1:],
                boot=b"boot-b..",
                version="1.0",
                secrets=list(KEYRING.tags()),
            ),
        ),
        (bodies.REVOKE, bodies.RevokeBody(identity=JOINER.public, from_serial=4, reason="stolen")),
        (bodies.ALLOW, bodies.AllowBody(identity=JOINER.public)),
        (bodies.SECRET, bodies.SecretBody(NEXT_SECRET.generation, NEXT_SECRET.commitment(), bodies.SWITCH)),
        (bodies.LINKS, bodies.LinksBody(sorted((FOUNDER.public, JOINER.public)), [3, 8])),
        (
            addresses.NETWORK,
            addresses.NetworkBody(number=1, name="default", pools=["10.32.0.0/12"], mtu=1500),
        ),
        (addresses.ENDPOINT, addresses.EndpointBody(1, MAC, [("10.32.0.5/12", 2)], "web")),
        (addresses.GRANT, addresses.Grant(1, 0x0A200000, 0x0A300000, MEMBER.public, 0, b"")),
        (
            addresses.GRANT,
            addresses.Grant(0, 77, 78, JOINER.public, 1, b"previous grant..", "web", b"nonce..."),
        ),
        (addresses.REQUEST, addresses.RequestBody(FOUNDER.public, 0, "web", b"", 0, b"nonce...")),
        (addresses.GRANT, addresses.Grant(1, 16, 32, MEMBER.public, 3, b"previous grant..", run=RUN)),
        (addresses.LOAN, addresses.LoanBody(1, b"\x0a\x20\x00\x07", JOINER.public, 9)),
        (addresses.REGISTER, addresses.RegisterBody(0, 2, 0, 1, [ROW])),
        (addresses.SETTLED, addresses.SettledBody(0, 2, b"hash of chunks..")),
        (addresses.ACK, addresses.AckBody(0, FOUNDER.public, 2, b"hash of chunks..")),
        (addresses.RECLAIM, addresses.ReclaimBody(RUN, [JOINER.public])),
        (addresses.CONSENT, addresses.ConsentBody(FOUNDER.public, RUN, JOINER.public, 4, 0, 2, b"hash of grants..")),
        (addresses.FENCE, addresses.FenceBody(JOINER.public, RUN, 4, False)),
        (bodies.MANIFEST, bodies.ManifestBody(11, b"hash of it all..")),
        (bodies.LEFT, bodies.LeftBody()),
    ]


def every_statement() -> list[Statement]:
    """The member's statements, one of every kind and one that withdraws."""
    made = []
    for seq, (kind, body) in enumerate(every_body()):
        data = bodies.encode_body(kind, body)
        slot = kind, key_of(MEMBER.public, kind, data, body)
        made.append(author(MEMBER.sign, MESH, MEMBER.public, slot, (INCARNATION, seq), data))
    withdrawn = addresses.ENDPOINT, addresses.endpoint_key(1, MAC)
    return [*made, author(MEMBER.sign, MESH, MEMBER.public, withdrawn, (INCARNATION, 99), None)]


def wires() -> list[bytes]:
    """The statements as they travel."""
    return [statement.wire() for statement in every_statement()]


def every_message() -> list[codec.Message]:
    """Every message on a link."""
    hashes = [bytes((number,)) * 8 for number in range(32)]
    return [
        codec.Beat(60_000, 300, 2_900),
        codec.Delta(wires()[:2]),
        codec.Digest(hashes),
        codec.Owners([1, 2], [(FOUNDER.public, hashes[3])]),
        codec.Want([MEMBER.public]),
        codec.Proofs([(wires()[0], wires()[1])]),
    ]


def credential(identity: IdentityKey, static: StaticKey) -> Credential:
    """What a host shows when a link opens."""
    own = {FOUNDER.public: chain()[2:], MEMBER.public: chain()[1:], JOINER.public: chain()}
    signature = identity.sign(b"meshnet-link-v1" + MESH + static.public)
    return Credential(identity.public, signature, tuple(own[identity.public]))


def section() -> dict[str, object]:
    """The signed state's part of the transcript."""
    return {
        "chain": [certificate.hex() for certificate in chain()],
        "token": token().encode(),
        "credential": credential(FOUNDER, A_STATIC).encode().hex(),
        "statements": [[statement.kind, statement.wire().hex()] for statement in every_statement()],
        "link messages": [[type(message).__name__, codec.encode(message).hex()] for message in every_message()],
    }
