"""What addresses cost: every figure that needs no root is there, and means what it says."""

from __future__ import annotations

from bench.__main__ import parser
from bench.cases.addresses import UNITS, allocations, custody


def test_durable_allocations_are_counted_on_a_peer_with_leases() -> None:
    found = allocations(leases=50, leased=40)
    assert set(found) == {"core", "durable"} and min(found.values()) > 0


def test_custody_grows_with_the_mesh_and_a_register_is_shorter() -> None:
    small, large = custody(10, 1), custody(40, 1)
    assert small["tiles"] >= 10 and large["tiles"] >= 40
    assert large["grants"] > 2 * small["grants"] > 2 * small["register"] > 0
    assert custody(10, 1) == small


def test_every_figure_has_a_unit_and_it_is_a_case_of_the_bench() -> None:
    assert set(UNITS) == {*allocations(5, 5), *custody(3, 0), "first", "asked"}
    assert parser().parse_args(["addresses"]).case == "addresses"
