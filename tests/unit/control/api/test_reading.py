"""What a request carries becomes a shape, or a refusal in words."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from aiohttp import web

from meshnet.control.api.reading import check_address, read
from meshnet.errors import ExitCode, MeshnetError


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    count: int


class Request:
    def __init__(self, body: bytes) -> None:
        self.body = body

    async def read(self) -> bytes:
        return self.body


async def said(body: bytes) -> Wish:
    return await read(cast("web.Request", Request(body)), Wish)


async def test_a_body_becomes_its_shape() -> None:
    assert await said(b'{"count": 3}') == Wish(3)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[" * 100_000, "wrong value"),
        (b'{"count": "3"}', "wrong value"),
        (b'{"count": 3, "more": 1}', "wrong value"),
    ],
)
async def test_anything_else_is_refused_in_words(body: bytes, what: str) -> None:
    with pytest.raises(MeshnetError, match=what) as error:
        await said(body)
    assert error.value.code is ExitCode.USAGE


def test_an_address_is_one_or_is_left_out() -> None:
    check_address(None)
    check_address("10.32.0.9")
    check_address("fd00::9")
    for text in ("10.32.0", "10.32.0.9/12", "web"):
        with pytest.raises(MeshnetError, match="wrong value"):
            check_address(text)
