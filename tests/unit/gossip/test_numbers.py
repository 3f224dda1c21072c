from __future__ import annotations

from gossip.bodies import GRANT, Grant, encode_body, grant_id
from gossip.ipam.ring import Deed
from gossip.numbers import NUMBERS, NumberPool, number_of
from tests.sim.people import MESH, identity_of

A, B, C = identity_of("a"), identity_of("b"), identity_of("c")
WEB = number_of(MESH, "web")


def deed(donor: bytes, grant: Grant) -> Deed:
    return Deed(grant_id(donor, encode_body(GRANT, grant)), donor, grant)


ROOT = deed(A, Grant(0, NUMBERS.start, NUMBERS.end, A, 0, b""))


def named(donor: bytes, number: int, to: bytes, name: str, parent: Deed) -> Deed:
    return deed(donor, Grant(0, number, number + 1, to, parent.grant.version + 1, parent.id, name))


def pool_of(*deeds: Deed) -> NumberPool:
    pool = NumberPool()
    for each in deeds:
        pool.add(each)
    pool.found(A)
    return pool


def test_numbers_are_neither_0_nor_1_and_depend_on_mesh_and_name() -> None:
    numbers = {number_of(mesh, name) for mesh in (MESH, bytes(16)) for name in ("web", "db")}
    assert len(numbers) == 4 and min(numbers) >= 2


def test_before_the_founding_grant_nobody_gives_numbers() -> None:
    assert pool_of().registrar() is None and pool_of().free_from(WEB) is None
    assert NumberPool().registrar() is None


def test_a_named_number_is_held_and_the_next_is_free() -> None:
    web = named(A, WEB, B, "web", ROOT)
    pool = pool_of(web, ROOT)
    holder, tile = pool.holder("web"), pool.free_from(WEB)
    assert holder is not None and (holder.number, holder.holders) == (WEB, [B])
    assert tile is not None and (tile.start, tile.end, tile.owner) == (WEB + 1, WEB + 2, A)
    assert pool.registrar() == A and pool.owner(WEB) == B


def test_a_number_given_up_is_spent() -> None:
    web = named(A, WEB, B, "web", ROOT)
    pool = pool_of(ROOT, web, named(B, WEB, B, "", web))
    tile = pool.free_from(WEB)
    assert pool.holder("web") is None and tile is not None and tile.start == WEB + 1
    assert pool.registrar() == A


def test_a_name_handed_on_keeps_its_founder() -> None:
    web = named(A, WEB, B, "web", ROOT)
    holder = pool_of(ROOT, web, named(B, WEB, C, "web", web)).holder("web")
    assert holder is not None and holder.holders == [C, B] and holder.tile.owner == C


def test_an_heir_who_misses_a_grant_is_not_the_registrar_yet() -> None:
    web = named(A, WEB, C, "web", ROOT)
    low = deed(A, Grant(0, 0, WEB, B, 1, ROOT.id))
    high = deed(A, Grant(0, WEB + 1, NUMBERS.end, B, 1, ROOT.id))
    assert pool_of(ROOT, low, high).registrar() is None
    assert pool_of(ROOT, low, high, web).registrar() == B


def test_the_search_for_a_free_number_goes_round() -> None:
    last = NUMBERS.end - 1
    tile = pool_of(ROOT, named(A, last, B, "web", ROOT)).free_from(last)
    assert tile is not None and tile.start == 2
