"""Membership: founding a mesh, what is shown of it, and requests to join that their identity signed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from crypto.certificate import verify_chain
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite
from meshnet.control.keys.membership import JoinRequest, Membership, found
from meshnet.errors import ExitCode, MeshnetError


@pytest.fixture
def founder() -> Membership:
    return found("alpha", Suite.CHACHAPOLY, os.urandom)


def test_a_founder_is_a_member_with_every_role(founder: Membership) -> None:
    certificate = verify_chain(founder.mesh, founder.identity.public, founder.chain)
    assert certificate.name == "alpha" and certificate.roles == founder.roles == ("admin", "invite")
    assert len(founder.mesh) == len(founder.state_id) == 16
    assert founder.keyring.current.generation == 0 and founder.keyring.secrets() == (founder.keyring.current,)


def test_two_foundings_share_nothing() -> None:
    one, two = (found("alpha", Suite.AESGCM, os.urandom) for _ in range(2))
    assert one.mesh != two.mesh and one.keyring.current != two.keyring.current and one.state_id != two.state_id


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a" * 64, "ä"])
def test_a_bad_name_founds_nothing(name: str) -> None:
    with pytest.raises(MeshnetError, match="cannot be a peer's name") as caught:
        found(name, Suite.AESGCM, os.urandom)
    assert caught.value.code is ExitCode.USAGE


def test_a_mesh_is_founded_by_the_identity_that_was_made_before() -> None:
    identity = IdentityKey.generate(os.urandom)
    founder = found("alpha", Suite.AESGCM, os.urandom, identity)
    assert founder.identity is identity
    assert verify_chain(founder.mesh, identity.public, founder.chain).name == "alpha"


def test_the_old_static_key_comes_behind_the_one_in_use(founder: Membership) -> None:
    assert founder.statics == (founder.static,)
    old = StaticKey.generate(os.urandom)
    assert replace(founder, old_static=old).statics == (founder.static, old)


def test_nothing_secret_is_shown(founder: Membership) -> None:
    whole = replace(founder, old_static=StaticKey.generate(os.urandom), password_key=os.urandom(32))
    assert whole.old_static is not None and whole.password_key is not None
    shown = repr(whole)
    for key in (
        whole.identity.seed,
        whole.static.private,
        whole.old_static.private,
        whole.keyring.current.key,
        whole.password_key,
    ):
        assert key.hex() not in shown and repr(key) not in shown
    assert "alpha" in shown


@pytest.mark.parametrize("field", ["identity", "static", "name", "signature"])
def test_a_request_holds_only_as_its_identity_signed_it(founder: Membership, field: str) -> None:
    static = StaticKey.generate(os.urandom).public
    request = JoinRequest.make(founder.mesh, founder.identity, static, "beta")
    assert request.holds(founder.mesh) and not request.holds(bytes(16))
    other = JoinRequest.make(founder.mesh, IdentityKey.generate(os.urandom), bytes(32), "gamma")
    fields = {name: getattr(request, name) for name in ("identity", "static", "name", "signature")}
    assert not JoinRequest(**(fields | {field: getattr(other, field)})).holds(founder.mesh)


def test_a_request_for_a_name_that_is_none_does_not_hold(founder: Membership) -> None:
    assert not JoinRequest.make(founder.mesh, founder.identity, bytes(32), "Not A Name").holds(founder.mesh)
