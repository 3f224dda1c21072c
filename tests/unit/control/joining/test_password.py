"""The password: hard to guess or refused, kept as a key only, set and taken away by who may admit."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from crypto.certificate import issue
from crypto.keys import IdentityKey
from crypto.password import password_key
from crypto.primitives import Suite
from meshnet.control.joining.password import MAX_PASSWORD, check_strength, derive, set_password
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import Membership, found
from meshnet.errors import ExitCode, MeshnetError

PASSWORD = "olive trombone quarry 7 lantern"


@pytest.mark.parametrize("text", [PASSWORD, "k7dq2mzx9w4p1v8s", os.urandom(16).hex(), "ü" * 3 + os.urandom(40).hex()])
def test_what_is_hard_to_guess_is_taken(text: str) -> None:
    check_strength(text)


@pytest.mark.parametrize(
    "text",
    ["", "hunter2", "Tr0ub4dour&3", "a" * 300, "correct horse", "password" * 8, "2026-11-20", "x" * (MAX_PASSWORD + 1)],
)
def test_what_is_easy_to_guess_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(MeshnetError) as caught:
        check_strength(text)
    assert caught.value.code is ExitCode.USAGE and "base32" in caught.value.fix
    assert not text or text not in str(caught.value)


async def test_the_key_is_the_meshs_own_and_a_text_that_is_none_makes_none() -> None:
    mesh = os.urandom(16)
    assert await derive(PASSWORD, mesh) == password_key(PASSWORD, mesh)
    with pytest.raises(MeshnetError, match="cannot be used") as caught:
        await derive("\udcff", mesh)
    assert caught.value.code is ExitCode.USAGE


class Disk:
    def __init__(self) -> None:
        self.saved: list[Membership] = []

    def save(self, membership: Membership) -> None:
        self.saved.append(membership)


async def test_setting_and_taking_away_are_stored() -> None:
    disk, founder = Disk(), found("alpha", Suite.CHACHAPOLY, os.urandom)
    keys = HostKeys(founder, disk.save)
    await set_password(keys, PASSWORD)
    key = password_key(PASSWORD, founder.mesh)
    assert disk.saved == [replace(founder, password_key=key)] and PASSWORD not in repr(disk.saved)
    await set_password(keys, None)
    assert keys.membership == founder and len(disk.saved) == 2


async def test_a_weak_password_and_a_host_that_may_admit_nobody_change_nothing() -> None:
    disk, founder = Disk(), found("alpha", Suite.CHACHAPOLY, os.urandom)
    with pytest.raises(MeshnetError, match="too easy to guess"):
        await set_password(HostKeys(founder, disk.save), "hunter2")
    identity = IdentityKey.generate(os.urandom)
    certificate = issue(founder.identity, mesh=founder.mesh, identity=identity.public, name="beta", roles=(), serial=1)
    member = replace(founder, identity=identity, chain=(certificate, *founder.chain))
    with pytest.raises(MeshnetError, match="may not admit by password") as caught:
        await set_password(HostKeys(member, disk.save), PASSWORD)
    assert caught.value.code is ExitCode.PERMISSION
    assert disk.saved == []
