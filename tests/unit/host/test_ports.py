"""Only names we give are ours, so that a sweep never deletes somebody's interface."""

from __future__ import annotations

import pytest

from meshnet.host.ports import is_own_name


@pytest.mark.parametrize("name", ["mn0000beef", "mt12345678", "mv0123456789", "mp0123456789abc"])
def test_names_we_give_are_ours(name: str) -> None:
    assert is_own_name(name)


@pytest.mark.parametrize("name", ["mnt0", "mv1", "eth0", "mt1234567", "mn0000BEEF", "mn0000beeg", "xmn0000beef", "mn"])
def test_other_names_are_not(name: str) -> None:
    assert not is_own_name(name)


def test_prefixes_narrow_it() -> None:
    assert is_own_name("mv0123456789", ("mv",))
    assert not is_own_name("mn0000beef", ("mv",))
