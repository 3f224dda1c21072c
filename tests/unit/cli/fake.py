"""A daemon that only answers: the real API over a real socket, before a backend that remembers what it was asked."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meshnet.control.api.api import ApiServer
from meshnet.control.api.requests import DockerRequest, EndpointRequest, ExposeRequest, NetworkRequest, RevokeRequest
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.cli.fake_ipam import FakeIpam

START_S = 10.0

PEER: dict[str, Any] = {
    "name": "host-b",
    "id": "b1" * 32,
    "addresses": ["192.0.2.2:6799", "[2001:db8::2]:6799"],
    "state": "up",
    "path": "direct",
    "session_age_s": 37.4,
    "mtu": 1420,
    "rx_bytes": 1_234_567,
    "tx_bytes": 830,
    "rx_records": 900,
    "tx_records": 7,
    "last_receive_s": 2.0,
    "reachable": True,
}
LOST: dict[str, Any] = {
    "name": "host-c",
    "id": "c1" * 32,
    "addresses": [],
    "state": "down",
    "path": None,
    "session_age_s": None,
    "mtu": None,
    "rx_bytes": 0,
    "tx_bytes": 0,
    "rx_records": 0,
    "tx_records": 0,
    "last_receive_s": None,
    "reachable": False,
}
ENDPOINT: dict[str, Any] = {
    "schema": "meshnet.endpoint/v1",
    "endpoint": "0a1b2c3d4e",
    "network": "default",
    "link": "mp0a1b2c3d4e",
    "ifname": "mesh0",
    "mac": "02:00:00:00:00:01",
    "addresses": ["10.32.0.2/12"],
    "mtu": 1500,
    "routes": ["224.0.0.0/4"],
}
STATUS: dict[str, Any] = {
    "schema": "meshnet.status/v1",
    "generated_at": "2026-11-20T10:00:00Z",
    "version": "0.1.0",
    "state": "ready",
    "mesh": {"id": "5e" * 16, "cipher": "AESGCM"},
    "peer": {
        "name": "host-a",
        "id": "a1" * 32,
        "addresses": ["192.0.2.1:6799"],
        "port": 6799,
        "uptime_s": 273_700.0,
    },
    "forwarder": {"pid": 4242, "running": True, "boot": "00" * 8, "age_s": 192.0, "notes": ["no USO: kernel"]},
    "peers": [PEER, LOST],
    "networks": [
        {
            "name": "default",
            "number": 1,
            "pools": ["10.32.0.0/12"],
            "mtu": 1500,
            "members": ["host-a", "host-b"],
            "endpoints": 2,
            "owned": ["10.32.0.0-10.35.255.255"],
        }
    ],
    "endpoints": [
        {
            "endpoint": "0a1b2c3d4e",
            "network": "default",
            "target": "web",
            "ifname": "mesh0",
            "mac": "02:00:00:00:00:01",
            "addresses": ["10.32.0.2/12"],
        }
    ],
    "drops": {"replay": 3, "unknown index": 0, "bad tag": 1},
    "notices": [{"what": "host-c is unreachable", "why": "no answer from 192.0.2.3:6799", "fix": "check UDP 6799"}],
}
NETWORK: dict[str, Any] = {
    "name": "web",
    "number": 3_735_928_559,
    "pools": ["10.77.0.0/16"],
    "mtu": 9000,
    "served": True,
    "exposed": "10.77.0.2/16",
    "members": ["host-a"],
    "endpoints": 1,
    "owned": ["10.77.0.0-10.77.255.255"],
}
UNSERVED: dict[str, Any] = {
    **NETWORK,
    "name": "db",
    "number": 77,
    "pools": ["10.78.0.0/24", "10.79.0.0/24"],
    "mtu": 1500,
    "served": False,
    "exposed": None,
    "members": [],
    "endpoints": 0,
    "owned": [],
}
NETWORKS: dict[str, Any] = {"schema": "meshnet.networks/v1", "networks": [UNSERVED, NETWORK]}
DOCKER: dict[str, Any] = {
    "schema": "meshnet.docker/v1",
    "enabled": True,
    "serving": True,
    "socket": "/run/docker/plugins/meshnet.sock",
    "problem": None,
    "spanning": "docker network create -d meshnet --ipam-driver meshnet --ipam-opt meshnet.network=NAME NAME",
    "networks": [
        {"id": "6f" * 32, "network": "web", "subnets": ["10.77.0.0/16"], "mtu": 1500, "alone": False},
        {"id": "7a" * 32, "network": None, "subnets": ["172.18.0.0/16"], "mtu": 1500, "alone": True},
    ],
    "endpoints": [
        {
            "id": "0b" * 32,
            "docker_network": "6f" * 32,
            "mac": "02:00:00:00:00:01",
            "addresses": ["10.77.0.2/16"],
            "joined": True,
            "link": "mv0123456789",
        }
    ],
    "leases": [{"network": "web", "address": "10.77.0.2"}],
}

EXPOSED: dict[str, Any] = {
    "schema": "meshnet.exposed/v1",
    "network": "web",
    "address": "10.77.0.2/16",
    "masquerade": False,
    "device": "mndeadbeef",
}
TOKEN: dict[str, Any] = {
    "schema": "meshnet.token/v1",
    "token": "mesh1-abcDEF_123",
    "join": "meshnet join mesh1-abcDEF_123",
    "expires_at": "2026-11-20T11:00:00Z",
    "uses": 3,
}
TOKENS: dict[str, Any] = {
    "schema": "meshnet.tokens/v1",
    "tokens": [
        {
            "id": "0a" * 8,
            "roles": ["invite"],
            "uses": 3,
            "left": 2,
            "expires_at": "2026-11-20T11:00:00Z",
            "redeemed": ["b1" * 32],
        }
    ],
}
REVOKED: dict[str, Any] = {
    "schema": "meshnet.revoked/v1",
    "name": "host-c",
    "id": "c1" * 32,
    "issued_from": 4,
    "reason": "",
    "voids": ["host-d"],
}
CONNECTED: dict[str, Any] = {
    "schema": "meshnet.peer-addresses/v1",
    "name": "host-c",
    "id": "c1" * 32,
    "addresses": ["198.51.100.7:6799"],
    "linked": True,
    "linked_before": False,
    "tried": [],
}
ALLOWED: dict[str, Any] = {
    "schema": "meshnet.allowed/v1",
    "enabled": True,
    "keys": [{"key": "b1" * 32, "name": "host-b"}, {"key": "d1" * 32, "name": None}],
}
SECRET: dict[str, Any] = {
    "schema": "meshnet.secret/v1",
    "generation": 1,
    "held": [1, 0],
    "rotation": {"generation": 1, "phase": "switch", "by": "host-a", "lacking": ["host-c"]},
    "cut_off": [],
}
KEY: dict[str, Any] = {
    "schema": "meshnet.key/v1",
    "id": "a1" * 32,
    "static": "5a" * 32,
    "old_until": "2026-11-20T10:10:00Z",
}


class FakeBackend:
    """Answers the samples above; `failures` names methods that raise instead."""

    def __init__(self) -> None:
        self.ipam = FakeIpam(lambda method, argument, default: self._now(method, argument, default))
        self.calls: list[tuple[str, object]] = []
        self.failures: dict[str, Exception] = {}
        self.answers: dict[str, Mapping[str, object]] = {}
        self.hold: asyncio.Event | None = None

    def _now(self, method: str, argument: object, default: Mapping[str, object]) -> Mapping[str, object]:
        self.calls.append((method, argument))
        if method in self.failures:
            raise self.failures[method]
        return self.answers.get(method, default)

    async def _answer(self, method: str, argument: object, default: Mapping[str, object]) -> Mapping[str, object]:
        self.calls.append((method, argument))
        if self.hold is not None:
            await self.hold.wait()
        if method in self.failures:
            raise self.failures[method]
        return self.answers.get(method, default)

    async def status(self) -> Mapping[str, object]:
        return await self._answer("status", None, STATUS)

    async def peers(self) -> Mapping[str, object]:
        return await self._answer("peers", None, {"schema": "meshnet.peers/v1", "peers": STATUS["peers"]})

    async def stop(self) -> Mapping[str, object]:
        return await self._answer("stop", None, {"schema": "meshnet.stopped/v1", "stopping": True})

    async def create_token(self, uses: int, ttl_s: int, roles: tuple[str, ...]) -> Mapping[str, object]:
        return await self._answer("create_token", (uses, ttl_s, roles), {**TOKEN, "uses": uses})

    async def list_tokens(self) -> Mapping[str, object]:
        return await self._answer("list_tokens", None, TOKENS)

    async def revoke_token(self, token_id: bytes) -> Mapping[str, object]:
        answer = {"schema": "meshnet.token-revoked/v1", "id": token_id.hex()}
        return await self._answer("revoke_token", token_id, answer)

    async def set_password(self, password: str | None) -> Mapping[str, object]:
        answer = {"schema": "meshnet.password/v1", "enabled": password is not None}
        return await self._answer("set_password", password, answer)

    async def revoke_peer(self, peer: str, request: RevokeRequest) -> Mapping[str, object]:
        return await self._answer("revoke_peer", (peer, request), REVOKED)

    async def connect_peer(self, peer: str, addresses: Sequence[str]) -> Mapping[str, object]:
        return await self._answer("connect_peer", (peer, addresses), CONNECTED)

    async def forget_peer(self, peer: str, addresses: Sequence[str]) -> Mapping[str, object]:
        return await self._answer("forget_peer", (peer, addresses), {**CONNECTED, "addresses": []})

    async def allow(self, key: bytes | None, on: bool) -> Mapping[str, object]:
        return await self._answer("allow", (key, on), ALLOWED)

    async def allowed(self) -> Mapping[str, object]:
        return await self._answer("allowed", None, ALLOWED)

    async def secret(self) -> Mapping[str, object]:
        return await self._answer("secret", None, SECRET)

    async def rotate_secret(self) -> Mapping[str, object]:
        return await self._answer("rotate_secret", None, SECRET)

    async def finish_secret(self, force: bool) -> Mapping[str, object]:
        return await self._answer("finish_secret", force, SECRET)

    async def accept_secret(self, token: str) -> Mapping[str, object]:
        return await self._answer("accept_secret", token, SECRET)

    async def rotate_key(self) -> Mapping[str, object]:
        return await self._answer("rotate_key", None, KEY)

    async def create_endpoint(self, request: EndpointRequest) -> Mapping[str, object]:
        return await self._answer("create_endpoint", request, {**ENDPOINT, "ifname": request.ifname})

    async def confirm_endpoint(self, endpoint: str) -> Mapping[str, object]:
        return await self._answer("confirm_endpoint", endpoint, ENDPOINT)

    async def delete_endpoint(self, endpoint: str) -> Mapping[str, object]:
        if endpoint != ENDPOINT["endpoint"]:
            raise MeshnetError(f"no endpoint {endpoint}", "this host has none", "see status", ExitCode.NOT_FOUND)
        return await self._answer("delete_endpoint", endpoint, {"schema": "meshnet.detached/v1", "endpoint": endpoint})

    async def list_endpoints(self, netns: str) -> Mapping[str, object]:
        return await self._answer(
            "list_endpoints", netns, {"schema": "meshnet.endpoints/v1", "endpoints": STATUS["endpoints"]}
        )

    async def create_network(self, request: NetworkRequest) -> Mapping[str, object]:
        return await self._answer("create_network", request, {"schema": "meshnet.network/v1", **NETWORK})

    async def list_networks(self) -> Mapping[str, object]:
        return await self._answer("list_networks", None, NETWORKS)

    async def remove_network(self, name: str, everywhere: bool) -> Mapping[str, object]:
        answer = {"schema": "meshnet.removed/v1", "name": name, "number": 77, "everywhere": everywhere}
        return await self._answer("remove_network", (name, everywhere), answer)

    async def expose(self, request: ExposeRequest) -> Mapping[str, object]:
        return await self._answer("expose", request, {**EXPOSED, "masquerade": request.masquerade})

    async def hide(self, network: str) -> Mapping[str, object]:
        return await self._answer("hide", network, {**EXPOSED, "schema": "meshnet.hidden/v1"})

    async def docker(self, request: DockerRequest) -> Mapping[str, object]:
        return await self._answer("docker", request, {**DOCKER, "enabled": request.enabled})

    async def docker_status(self) -> Mapping[str, object]:
        return await self._answer("docker_status", None, DOCKER)

    async def leave(self, wipe: bool) -> Mapping[str, object]:
        answer = {"schema": "meshnet.left/v1", "left": True, "detached": 2, "told": ["host-b"], "wiped": wipe}
        return await self._answer("leave", wipe, answer)


class FakeDaemon:
    """The API before a FakeBackend, on a loop in a thread of its own."""

    def __init__(self, run_dir: Path) -> None:
        self.backend = FakeBackend()
        self.run_dir = run_dir
        self.path = run_dir / "meshnet.sock"
        self.loop = asyncio.new_event_loop()
        self._server = ApiServer(self.path, self.backend, group=None, uid_of=lambda _: 0)
        self._thread = threading.Thread(target=self.loop.run_forever, name="fake-daemon")

    def __enter__(self) -> "FakeDaemon":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self.loop).result(START_S)
        return self

    async def _close(self) -> None:
        await self._server.close()
        await asyncio.sleep(0)  # a closed transport lets go of its socket one turn later

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(START_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(START_S)
        self.loop.close()
