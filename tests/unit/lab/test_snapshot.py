"""Comparing before and after."""

from __future__ import annotations

from tests.lab.snapshot import Snapshot, left_behind


def state(**given: set[str]) -> Snapshot:
    names = ("namespaces", "links", "mounts", "processes", "directories")
    return Snapshot(**{name: frozenset(given.get(name, set())) for name in names})


def test_only_what_is_new_was_left_behind() -> None:
    before = state(links={"lo", "eth0"}, mounts={"/"})
    after = state(links={"lo", "mn0"}, mounts={"/"}, processes={"12 sleep"}, namespaces={"b", "a"})
    assert left_behind(before, after) == ["namespaces: a", "namespaces: b", "links: mn0", "processes: 12 sleep"]
    assert left_behind(after, after) == []
