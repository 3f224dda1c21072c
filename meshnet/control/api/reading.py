"""What a request carries, read into shapes: anything else is refused in words before a handler sees it.

Reference: design §9.
"""

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from meshnet.errors import ExitCode, MeshnetError

__all__ = ["BODY_TIMEOUT_S", "NAME", "Address", "Answer", "NetworkName", "check_address", "read", "wrong_value"]

BODY_TIMEOUT_S = 10.0

NAME = r"{name:[a-z0-9-]{1,63}}"
"""The part of a path that names a network."""

Answer = Mapping[str, object]
NetworkName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")]
Address = Annotated[str, msgspec.Meta(max_length=64)]

_S = TypeVar("_S", bound=msgspec.Struct)


def wrong_value(why: str, what: str = "the request has a wrong value") -> MeshnetError:
    """The refusal of a request that says what nobody can do."""
    return MeshnetError(what, why, "use the `meshnet` command of this version", ExitCode.USAGE)


async def read(request: web.Request, kind: type[_S]) -> _S:
    """The request's JSON body as `kind`; raises MeshnetError (USAGE) for anything else."""
    async with asyncio.timeout(BODY_TIMEOUT_S):
        body = await request.read()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise wrong_value(str(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise wrong_value(f"its body is no JSON: {error}", "the request cannot be read") from None


def check_address(text: str | None) -> None:
    """Raises MeshnetError (USAGE) unless the text, where there is one, is an IP address."""
    try:
        ipaddress.ip_address(text or "0.0.0.0")
    except ValueError:
        raise wrong_value(f"{text!r} is not an IP address") from None
