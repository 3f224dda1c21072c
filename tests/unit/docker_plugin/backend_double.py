"""A backend that remembers what it was asked, and the client that asks the way dockerd does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from docker_plugin.backend import Claim, GrantedPool, NetworkRequest, PoolRequest
from docker_plugin.errors import Refused

MAC = bytes.fromhex("0242ac130002")
LINK = "mp0123456789"


class BackendDouble:
    """Answers every call; `refusal` makes the next one refuse, `gate` makes calls wait until it is set."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.refusal: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def _note(self, method: str, argument: object) -> None:
        self.calls.append((method, argument))
        if self.gate is not None:
            await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal

    async def request_pool(self, request: PoolRequest) -> GrantedPool:
        await self._note("request_pool", request)
        pool = request.pool or "10.77.0.0/16"
        return GrantedPool(f"{request.space}/web/{pool}", pool)

    async def release_pool(self, pool: str) -> None:
        await self._note("release_pool", pool)

    async def request_address(self, pool: str, address: str | None, gateway: bool) -> str:
        await self._note("request_address", (pool, address, gateway))
        return f"{address or '10.77.0.2'}/16"

    async def release_address(self, pool: str, address: str) -> None:
        await self._note("release_address", (pool, address))

    async def create_network(self, request: NetworkRequest) -> None:
        await self._note("create_network", request)

    async def delete_network(self, network: str) -> None:
        await self._note("delete_network", network)

    async def create_endpoint(self, network: str, endpoint: str, claim: Claim) -> bytes | None:
        await self._note("create_endpoint", (network, endpoint, claim))
        return MAC if claim.mac is None else None

    async def delete_endpoint(self, network: str, endpoint: str) -> None:
        await self._note("delete_endpoint", (network, endpoint))

    async def join(self, network: str, endpoint: str) -> str:
        await self._note("join", (network, endpoint))
        if endpoint == "unknown":
            raise Refused("meshnet does not know endpoint unknown")
        return LINK

    async def leave(self, network: str, endpoint: str) -> None:
        await self._note("leave", (network, endpoint))


async def ask(
    path: Path, method: str, body: object = None, *, raw: bytes | None = None, verb: str = "POST"
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """One call as dockerd sends it: no content type, an empty Host, JSON and a newline.  (status, headers, body)"""
    data = raw if raw is not None else (b"" if body is None else json.dumps(body).encode() + b"\n")
    reader, writer = await asyncio.open_unix_connection(path)
    accept = "application/vnd.docker.plugins.v1.2+json"
    head = f"{verb} {method} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\nAccept: {accept}\r\n\r\n".encode() + data)
    try:
        answer = await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert len(rest) == int(headers["content-length"])
    return int(first.split()[1]), headers, json.loads(rest)
