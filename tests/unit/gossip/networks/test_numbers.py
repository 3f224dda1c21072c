from __future__ import annotations

from gossip.ipam.ring import Deed
from gossip.networks.numbers import NUMBERS, NumberPool, number_of
from gossip.state.address_bodies import GRANT, Grant, grant_id
from gossip.state.bodies import encode_body
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


def test_a_register_remembers_who_held_a_name_and_what_was_spent() -> None:
    web = named(A, WEB, B, "web", ROOT)
    rows = [Deed(ROOT.id, C, Grant(0, 0, WEB, A, 0, b""))]
    rows.append(Deed(web.id, C, Grant(0, WEB, WEB + 1, B, 1, b"", "web")))
    rows.append(Deed(b"spent by c", C, Grant(0, WEB + 1, WEB + 2, C, 2, b"")))
    rows.append(Deed(ROOT.id, C, Grant(0, WEB + 2, NUMBERS.end, A, 0, b"")))
    pool = pool_of()
    pool.rest_on(rows, {WEB: [B, A], WEB + 1: [C]})
    holder, tile = pool.holder("web"), pool.free_from(WEB)
    assert holder is not None and holder.holders == [B, A]
    assert pool.registrar() == A and list(pool.spent()) == [WEB + 1]
    assert tile is not None and (tile.start, tile.owner) == (WEB + 2, A)
    pool.add(named(B, WEB, C, "web", web))
    holder = pool.holder("web")
    assert holder is not None and holder.holders == [C, B, A]
    pool.rest_on([], {})
    assert pool.registrar() is None and pool.claims() == {}, "without the register nothing is known here"


def test_a_number_given_up_after_it_was_registered_is_spent() -> None:
    web = named(A, WEB, B, "web", ROOT)
    pool = pool_of(named(B, WEB, A, "", web))
    rows = [Deed(ROOT.id, C, Grant(0, 0, WEB, A, 0, b"")), Deed(web.id, C, Grant(0, WEB, WEB + 1, B, 1, b"", "web"))]
    pool.rest_on([*rows, Deed(ROOT.id, C, Grant(0, WEB + 1, NUMBERS.end, A, 0, b""))], {WEB: [B]})
    assert list(pool.spent()) == [WEB] and pool.holder("web") is None and pool.registrar() == A


def test_a_number_that_is_free_again_is_given_for_another_name() -> None:
    back = named(B, WEB, A, "", named(A, WEB, B, "web", ROOT))
    rows = [Deed(ROOT.id, C, Grant(0, 0, WEB, A, 0, b"")), Deed(back.id, C, Grant(0, WEB, WEB + 1, A, 2, b""))]
    pool = pool_of(named(A, WEB, C, "db", back))
    pool.rest_on([*rows, Deed(ROOT.id, C, Grant(0, WEB + 1, NUMBERS.end, A, 0, b""))], {})
    holder = pool.holder("db")
    assert holder is not None and (holder.number, holder.holders) == (WEB, [C])
