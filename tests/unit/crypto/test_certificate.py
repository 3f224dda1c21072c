"""Membership certificates: chains that hold, and every way in which one does not."""

from __future__ import annotations

import random

import pytest

from crypto.certificate import CHAIN_MAX, Certificate, Verified, issue, read, valid_name, verified, verify_chain
from crypto.errors import LocalError, RemoteError
from crypto.keys import IdentityKey
from crypto.secret import mesh_id

SEED = b"0123456789abcdef"
KEYS = [IdentityKey.generate(random.Random(seed).randbytes) for seed in range(CHAIN_MAX + 2)]
FOUNDER = KEYS[0]
MESH = mesh_id(FOUNDER.public, SEED)
BOTH = ("admin", "invite")


def made(
    issuer: IdentityKey,
    holder: IdentityKey,
    roles: tuple[str, ...] = (),
    *,
    name: str = "host",
    serial: int = 1,
    mesh: bytes = MESH,
    seed: bytes = b"",
) -> bytes:
    return issue(issuer, mesh=mesh, identity=holder.public, name=name, roles=roles, serial=serial, seed=seed)


ROOT = made(FOUNDER, FOUNDER, BOTH, name="founder", serial=0, seed=SEED)


def chain_of(depth: int) -> list[bytes]:
    """The chain of ``KEYS[depth - 1]``, each invited by the one before it."""
    chain = [ROOT]
    for index in range(1, depth):
        chain.insert(0, made(KEYS[index - 1], KEYS[index], ("invite",), name=f"host-{index}"))
    return chain


def refused(chain: list[bytes], holder: IdentityKey, reason: str) -> None:
    with pytest.raises(RemoteError, match=reason):
        verify_chain(MESH, holder.public, chain)


def test_the_founder_s_own_chain() -> None:
    certificate = verify_chain(MESH, FOUNDER.public, [ROOT])
    assert certificate == Certificate(MESH, FOUNDER.public, "founder", BOTH, 0, FOUNDER.public, SEED)


@pytest.mark.parametrize("depth", range(1, CHAIN_MAX + 1))
def test_chains_up_to_the_limit(depth: int) -> None:
    assert verify_chain(MESH, KEYS[depth - 1].public, chain_of(depth)).identity == KEYS[depth - 1].public


def test_what_a_member_rests_on() -> None:
    assert verified(MESH, FOUNDER.public, [ROOT]) == Verified(verify_chain(MESH, FOUNDER.public, [ROOT]), ())
    middle = made(FOUNDER, KEYS[1], ("invite",), serial=7)
    last = made(KEYS[1], KEYS[2], serial=9)
    proved = verified(MESH, KEYS[2].public, [last, middle, ROOT])
    assert proved.certificate == read(last)
    assert proved.path == ((KEYS[1].public, 9), (FOUNDER.public, 7))


def test_a_chain_beyond_the_limit_or_empty() -> None:
    refused(chain_of(CHAIN_MAX + 1), KEYS[CHAIN_MAX], "depth")
    refused([], FOUNDER, "depth")


def test_issuing_is_deterministic_and_small() -> None:
    largest = made(FOUNDER, KEYS[1], BOTH, name="n" * 63, serial=(1 << 63) - 1)
    assert largest == made(FOUNDER, KEYS[1], ("invite", "admin"), name="n" * 63, serial=(1 << 63) - 1)
    assert len(largest) <= 512


def test_every_flipped_bit_is_refused() -> None:
    for position in range(len(ROOT)):
        for bit in range(8):
            damaged = bytearray(ROOT)
            damaged[position] ^= 1 << bit
            with pytest.raises(RemoteError):
                read(bytes(damaged))


def test_truncated_and_extended() -> None:
    for damaged in (*(ROOT[:length] for length in range(len(ROOT))), ROOT + b"\0", ROOT * 4):
        with pytest.raises(RemoteError):
            read(damaged)


def test_another_encoding_of_the_same_content() -> None:
    # The array header of 8 elements has a longer form; signed properly it is still not what we issue.
    body = b"\xdc\x00\x08" + ROOT[1:-64]
    with pytest.raises(RemoteError, match="encoding"):
        read(body + FOUNDER.sign(b"meshnet-certificate-v1" + body))


def test_another_peer_s_certificate() -> None:
    refused(chain_of(2), KEYS[2], "another peer")


def test_another_mesh() -> None:
    with pytest.raises(RemoteError, match="another mesh"):
        verify_chain(bytes(16), FOUNDER.public, [ROOT])
    foreign = made(KEYS[1], KEYS[2], mesh=bytes(16))
    refused([foreign, *chain_of(2)], KEYS[2], "another mesh")


def test_an_issuer_without_the_role() -> None:
    plain = made(FOUNDER, KEYS[1])
    refused([made(KEYS[1], KEYS[2]), plain, ROOT], KEYS[2], "without the role")
    admin = made(FOUNDER, KEYS[1], ("admin",))
    refused([made(KEYS[1], KEYS[2]), admin, ROOT], KEYS[2], "without the role")


def test_a_role_the_issuer_lacks() -> None:
    inviter = made(FOUNDER, KEYS[1], ("invite",))
    refused([made(KEYS[1], KEYS[2], BOTH), inviter, ROOT], KEYS[2], "role its issuer lacks")


def test_a_gap_and_a_missing_founder() -> None:
    refused([made(KEYS[3], KEYS[2]), *chain_of(2)], KEYS[2], "gap")
    refused(chain_of(3)[:-1], KEYS[2], "founder")


def test_a_self_made_founder() -> None:
    usurper = KEYS[4]
    own_root = made(usurper, usurper, BOTH, seed=SEED)
    refused([own_root], usurper, "founder")
    refused([own_root, ROOT], usurper, "gap")


def test_one_peer_twice() -> None:
    loop = [made(KEYS[1], KEYS[2]), made(KEYS[1], KEYS[1], ("invite",), seed=SEED), *chain_of(2)]
    refused(loop, KEYS[2], "twice")


@pytest.mark.parametrize("name", ["a", "a" * 63, "host-1", "0", "a--b"])
def test_names(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize("name", ["", "a" * 64, "-a", "a-", "-", "A", "a.b", "a_b", "ä", "a\n", "a b"])
def test_names_that_are_none(name: str) -> None:
    assert not valid_name(name)
    with pytest.raises(LocalError, match="name"):
        made(FOUNDER, KEYS[1], name=name)


def test_fields_that_are_not_issued() -> None:
    for arguments in (
        {"roles": ("root",)},
        {"roles": ("invite", "invite")},
        {"serial": -1},
        {"serial": 1 << 63},
        {"mesh": bytes(15)},
        {"seed": SEED},
    ):
        with pytest.raises(LocalError):
            made(FOUNDER, KEYS[1], **arguments)
    with pytest.raises(LocalError):
        made(FOUNDER, FOUNDER)
