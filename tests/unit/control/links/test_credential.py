"""A credential: good for one static key in one mesh, and for nothing after any change."""

from __future__ import annotations

import os

import pytest

from crypto.certificate import CHAIN_MAX, issue
from crypto.errors import RemoteError
from crypto.keys import IdentityKey
from crypto.primitives import Suite
from crypto.stream import PAYLOAD_MAX
from meshnet.control.keys.membership import Membership, found
from meshnet.control.links.credential import Credential


def read(payload: bytes, mesh: bytes, static: bytes) -> bytes:
    credential = Credential.decode(payload)
    credential.check(mesh, static)
    return credential.identity


@pytest.fixture
def member() -> Membership:
    return found("alpha", Suite.CHACHAPOLY, os.urandom)


def test_it_shows_whose_static_key_it_is(member: Membership) -> None:
    payload = Credential.make(member).encode()
    assert read(payload, member.mesh, member.static.public) == member.identity.public


def test_it_is_of_one_key_and_one_mesh(member: Membership) -> None:
    payload = Credential.make(member).encode()
    for mesh, static in ((os.urandom(16), member.static.public), (member.mesh, os.urandom(32))):
        with pytest.raises(RemoteError, match="another key"):
            read(payload, mesh, static)


def test_another_members_certificates_are_no_use(member: Membership) -> None:
    stranger = found("beta", Suite.CHACHAPOLY, os.urandom)
    borrowed = Credential(
        stranger.identity.public,
        stranger.identity.sign(b"meshnet-link-v1" + member.mesh + stranger.static.public),
        member.chain,
    )
    with pytest.raises(RemoteError, match="another peer"):
        read(borrowed.encode(), member.mesh, stranger.static.public)


def test_every_changed_or_missing_byte_is_refused(member: Membership) -> None:
    payload = Credential.make(member).encode()
    for position in range(len(payload)):
        changed = bytearray(payload)
        changed[position] ^= 1
        for spoiled in (bytes(changed), payload[:position]):
            with pytest.raises(RemoteError):
                read(spoiled, member.mesh, member.static.public)
    with pytest.raises(RemoteError):
        read(payload + b"\0", member.mesh, member.static.public)


def test_the_longest_chain_fits_a_handshake(member: Membership) -> None:
    issuer, chain, name = member.identity, member.chain, "n" * 63
    while len(chain) < CHAIN_MAX:
        joiner = IdentityKey.generate(os.urandom)
        certificate = issue(
            issuer,
            mesh=member.mesh,
            identity=joiner.public,
            name=name,
            roles=("admin", "invite"),
            serial=(1 << 63) - 1,
        )
        issuer, chain = joiner, (certificate, *chain)
    deep = Membership(member.state_id, member.mesh, issuer, member.static, member.keyring, member.suite, name, chain)
    payload = Credential.make(deep).encode()
    assert len(payload) <= PAYLOAD_MAX
    assert read(payload, member.mesh, member.static.public) == issuer.public
