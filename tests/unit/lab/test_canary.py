"""A secret is found however it is written down, and only then."""

from __future__ import annotations

import base64
import os

import pytest

from tests.lab.canary import Needles, Watch
from tests.lab.errors import LabError

SECRET = bytes(range(7, 39))


@pytest.fixture
def needles() -> Needles:
    made = Needles()
    made.add("key", SECRET)
    return made


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
@pytest.mark.parametrize("behind", [b"", b"z", b"zy"])
def test_a_secret_is_found_in_every_form(needles: Needles, before: bytes, behind: bytes) -> None:
    inside = before + SECRET + behind
    for text in (inside, inside.hex().encode(), inside.hex().upper().encode()):
        assert needles.within(b"<" + text + b">") == ["key"]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert needles.within(encode(inside)) == ["key"]


def test_nothing_is_found_where_nothing_is(needles: Needles) -> None:
    assert needles.within(os.urandom(10_000)) == []
    assert needles.within(SECRET[:-1].hex()) == []


def test_a_short_secret_is_refused(needles: Needles) -> None:
    with pytest.raises(LabError):
        needles.add("pin", "1234")


def test_a_watch_sees_arguments(needles: Needles) -> None:
    """This process has no mark of a lab, so nothing is seen; the empty look is told by `seen`."""
    watch = Watch("no-lab-has-this-mark", needles)
    watch.look()
    assert not watch.found and not watch.seen
