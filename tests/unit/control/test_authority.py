"""An admin's acts through real nodes: who is out, whom that touches, who may come in, and who may not decide."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest

from crypto.keys import IdentityKey
from meshnet.control.api.requests import RevokeRequest
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.control.loopback import Mesh, Peer, poll


@pytest.fixture
async def trio(mesh: Mesh) -> tuple[Peer, Peer, Peer]:
    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    c = await mesh.run(mesh.member("gamma"), a)
    await poll(lambda: a.summary() == b.summary() == c.summary())
    return a, b, c


async def test_a_revoked_peer_is_out_everywhere_and_knows_it(trio: tuple[Peer, Peer, Peer]) -> None:
    a, b, c = trio
    answer = await a.authority.revoke("beta", RevokeRequest(reason="lost"))
    assert answer == {
        "schema": "meshnet.revoked/v1",
        "name": "beta",
        "id": b.identity.hex(),
        "issued_from": 0,
        "reason": "lost",
        "voids": [],
    }
    await poll(lambda: all(one.authority.is_revoked(b.identity) for one in trio))
    await poll(lambda: len(b.links) == 0 and a.linked == [c.identity])
    for one in (a, c):
        assert one.authority.is_barred(b.identity) and not one.authority.may_join(b.identity)
        assert one.authority.notices() == []
    (notice,) = b.authority.notices()
    assert (notice["what"], notice["why"]) == ("this host was revoked", "alpha revoked it: lost")
    assert "leave --wipe" in str(notice["fix"])


@pytest.mark.parametrize(
    ("request_", "out"),
    [
        (RevokeRequest(), []),
        (RevokeRequest(issued_from=2), ["delta"]),
        (RevokeRequest(issued_all=True), ["delta", "gamma"]),
    ],
)
async def test_whom_it_voids_is_named(mesh: Mesh, request_: RevokeRequest, out: list[str]) -> None:
    a = await mesh.run(mesh.founder)
    issuer = mesh.member("beta", roles=("invite",))
    b = await mesh.run(issuer, a)
    for name in ("gamma", "delta"):  # with serials 1 and 2
        await mesh.run(mesh.issued(issuer, name), a, b)
    await poll(lambda: len(a.runner.node.peers()) == 4 and len(a.linked) == 3)
    answer = await a.authority.revoke(b.identity.hex()[:12], request_)
    assert answer["voids"] == out
    assert answer["issued_from"] == (3 if request_ == RevokeRequest() else request_.issued_from or 0)


@pytest.mark.parametrize("name", ["nobody", "ab", "0" * 64])
async def test_an_unknown_peer_is_not_found(trio: tuple[Peer, Peer, Peer], name: str) -> None:
    with pytest.raises(MeshnetError) as refusal:
        await trio[0].authority.revoke(name, RevokeRequest())
    assert refusal.value.code is ExitCode.NOT_FOUND


async def test_this_host_and_contradictions_are_refused(trio: tuple[Peer, Peer, Peer]) -> None:
    a = trio[0]
    for name, request in (("alpha", RevokeRequest()), ("beta", RevokeRequest(issued_from=1, issued_all=True))):
        with pytest.raises(MeshnetError) as refusal:
            await a.authority.revoke(name, request)
        assert refusal.value.code is ExitCode.USAGE
    assert a.runner.node.revocations() == []


async def test_two_peers_of_one_name_are_told_apart_by_id(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    await mesh.run(mesh.member("beta"), a)
    await poll(lambda: len(a.runner.node.peers()) == 3)
    with pytest.raises(MeshnetError, match="more than one peer"):
        await a.authority.revoke("beta", RevokeRequest())
    await a.authority.revoke(b.identity.hex(), RevokeRequest())
    answer = await a.authority.revoke("beta", RevokeRequest())
    assert answer["id"] != b.identity.hex(), "the one that is still in"


async def test_without_the_role_nothing_is_decided(trio: tuple[Peer, Peer, Peer]) -> None:
    _, b, c = trio
    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: b.authority.revoke("gamma", RevokeRequest()),
        lambda: b.authority.allow(None, True),
        lambda: b.authority.allow(c.identity, True),
    ]
    for act in acts:
        with pytest.raises(MeshnetError) as refusal:
            await act()
        assert refusal.value.code is ExitCode.PERMISSION
    assert b.runner.node.revocations() == [] and b.authority.allowed()["keys"] == []


async def test_who_is_out_itself_admits_nobody(trio: tuple[Peer, Peer, Peer]) -> None:
    a, b, c = trio
    await a.authority.revoke("beta", RevokeRequest())
    await poll(lambda: bool(b.authority.notices()))
    with pytest.raises(MeshnetError, match="can admit nobody"):
        b.authority.may_join(c.identity)


# The allow-list


async def test_a_list_begins_with_whoever_is_in(trio: tuple[Peer, Peer, Peer]) -> None:
    a, b, c = trio
    stranger = IdentityKey.generate(os.urandom).public
    assert a.authority.allowed() == {"schema": "meshnet.allowed/v1", "enabled": False, "keys": []}
    assert a.authority.may_join(stranger)
    answer = await a.authority.allow(None, True)
    expected = sorted([(a.identity.hex(), "alpha"), (b.identity.hex(), "beta"), (c.identity.hex(), "gamma")])
    assert [(row["key"], row["name"]) for row in rows(answer)] == expected
    await poll(lambda: b.authority.allowed() == c.authority.allowed() == answer)
    assert len(a.linked) == 2, "nobody lost a link"
    for one in trio:
        assert not one.authority.may_join(stranger)
    await a.authority.allow(stranger, True)
    await poll(lambda: c.authority.may_join(stranger))
    assert {"key": stranger.hex(), "name": None} in rows(a.authority.allowed())


async def test_who_is_taken_off_the_list_is_out_until_it_is_on_it_again(trio: tuple[Peer, Peer, Peer]) -> None:
    a, b, c = trio
    await a.authority.allow(None, True)
    await poll(lambda: bool(b.authority.allowed()["enabled"]))
    await a.authority.allow(b.identity, False)
    await poll(lambda: a.linked == [c.identity] and len(b.links) == 0)
    await poll(lambda: [notice["what"] for notice in b.authority.notices()] == ["this host is not on the allow-list"])
    assert a.authority.is_barred(b.identity) and not a.authority.is_revoked(b.identity)
    answer = await a.authority.allow(None, False)
    assert answer["enabled"] is False
    assert not a.authority.is_barred(b.identity)


def rows(answer: dict[str, object]) -> list[dict[str, object]]:
    keys = answer["keys"]
    assert isinstance(keys, list)
    return keys
