"""Every route over a real socket: what it asks of the backend, and every body it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnet.cli.client import Client
from meshnet.control.api.requests import DockerRequest, EndpointRequest, ExposeRequest, NetworkRequest, RevokeRequest
from tests.unit.cli.fake import (
    ALLOWED,
    CONNECTED,
    DOCKER,
    ENDPOINT,
    EXPOSED,
    KEY,
    NETWORKS,
    REVOKED,
    SECRET,
    STATUS,
    TOKEN,
    TOKENS,
    FakeDaemon,
)
from tests.unit.control.api.test_api import send

NETNS = "4:4026531840"
REQUEST = {"target": "web", "netns": NETNS}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as fake:
        yield fake


@pytest.fixture
def client(daemon: FakeDaemon) -> Client:
    return Client(daemon.path)


def test_every_route_answers_what_the_backend_says(daemon: FakeDaemon, client: Client) -> None:
    assert client.request("GET", "/v1/status") == STATUS
    assert client.daemon_pid == os.getpid()
    assert client.daemon_version == "0.1.0"
    assert client.request("GET", "/v1/peers")["schema"] == "meshnet.peers/v1"
    assert client.request("POST", "/v1/tokens", {"uses": 3, "ttl_s": 60, "roles": ["invite"]}) == TOKEN
    assert client.request("POST", "/v1/endpoints", {**REQUEST, "ip": "10.32.0.9"}) == ENDPOINT
    assert client.request("POST", "/v1/endpoints/0a1b2c3d4e/confirm") == ENDPOINT
    assert client.request("GET", f"/v1/endpoints?netns={NETNS}")["endpoints"] == STATUS["endpoints"]
    assert client.request("DELETE", "/v1/endpoints/0a1b2c3d4e")["schema"] == "meshnet.detached/v1"
    wanted = {"name": "web", "subnets": ["10.77.0.0/16"], "mtu": 9000}
    assert client.request("POST", "/v1/networks", wanted)["schema"] == "meshnet.network/v1"
    assert client.request("GET", "/v1/networks") == NETWORKS
    assert client.request("DELETE", "/v1/networks/web")["everywhere"] is False
    assert client.request("DELETE", "/v1/networks/web?everywhere=1")["everywhere"] is True
    assert client.request("POST", "/v1/expose", {"network": "web"}) == EXPOSED
    assert client.request("DELETE", "/v1/expose/web")["schema"] == "meshnet.hidden/v1"
    assert client.request("POST", "/v1/leave", {"wipe": True})["wiped"] is True
    assert client.request("POST", "/v1/docker", {"enabled": True})["enabled"] is True
    assert client.request("GET", "/v1/docker") == DOCKER
    assert client.request("POST", "/v1/stop") == {"schema": "meshnet.stopped/v1", "stopping": True}
    assert daemon.backend.calls == [
        ("status", None),
        ("peers", None),
        ("create_token", (3, 60, ("invite",))),
        ("create_endpoint", EndpointRequest("web", NETNS, "default", "10.32.0.9", "mesh0")),
        ("confirm_endpoint", "0a1b2c3d4e"),
        ("list_endpoints", NETNS),
        ("delete_endpoint", "0a1b2c3d4e"),
        ("create_network", NetworkRequest("web", ["10.77.0.0/16"], 9000)),
        ("list_networks", None),
        ("remove_network", ("web", False)),
        ("remove_network", ("web", True)),
        ("expose", ExposeRequest("web", False, None)),
        ("hide", "web"),
        ("leave", True),
        ("docker", DockerRequest(True)),
        ("docker_status", None),
        ("stop", None),
    ]


def test_every_route_of_membership_and_keys_answers_what_the_backend_says(daemon: FakeDaemon, client: Client) -> None:
    key = "b1" * 32
    assert client.request("GET", "/v1/tokens") == TOKENS
    assert client.request("DELETE", "/v1/tokens/" + "0a" * 8)["id"] == "0a" * 8
    assert client.request("POST", "/v1/password", {"password": "not told"})["enabled"] is True
    assert client.request("POST", "/v1/password", {"password": None})["enabled"] is False
    assert client.request("POST", "/v1/peers/host-c/revoke", {"issued_from": 4, "reason": "lost"}) == REVOKED
    way = "198.51.100.7:6799"
    assert client.request("POST", "/v1/peers/host-c/connect", {"addresses": [way]}) == CONNECTED
    assert client.request("POST", "/v1/peers/host-c/forget", {})["addresses"] == []
    assert client.request("POST", "/v1/allow", {"key": key, "on": True}) == ALLOWED
    assert client.request("POST", "/v1/allow", {"key": None, "on": False}) == ALLOWED
    assert client.request("GET", "/v1/allow") == ALLOWED
    assert client.request("GET", "/v1/secret") == SECRET
    assert client.request("POST", "/v1/secret/rotate") == SECRET
    assert client.request("POST", "/v1/secret/finish", {"force": True}) == SECRET
    assert client.request("POST", "/v1/secret/accept", {"token": "mesh1-abc"}) == SECRET
    assert client.request("POST", "/v1/key/rotate") == KEY
    assert daemon.backend.calls == [
        ("list_tokens", None),
        ("revoke_token", b"\x0a" * 8),
        ("set_password", "not told"),
        ("set_password", None),
        ("revoke_peer", ("host-c", RevokeRequest(4, False, "lost"))),
        ("connect_peer", ("host-c", [way])),
        ("forget_peer", ("host-c", [])),
        ("allow", (bytes.fromhex(key), True)),
        ("allow", (None, False)),
        ("allowed", None),
        ("secret", None),
        ("rotate_secret", None),
        ("finish_secret", True),
        ("accept_secret", "mesh1-abc"),
        ("rotate_key", None),
    ]


def test_creating_answers_201(daemon: FakeDaemon) -> None:
    assert send(daemon.path, "POST", "/v1/endpoints", json.dumps(REQUEST).encode())[0] == 201


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/tokens", b""),
        ("/v1/tokens", b"{"),
        ("/v1/tokens", b"\xff\xfe"),
        ("/v1/tokens", b'{"uses": "\xff"}'),
        ("/v1/tokens", b"[" * 60_000),
        ("/v1/tokens", b"[]"),
        ("/v1/tokens", b"null"),
        ("/v1/tokens", b'{"uses": 0}'),
        ("/v1/tokens", b'{"uses": 10001}'),
        ("/v1/tokens", b'{"uses": true}'),
        ("/v1/tokens", b'{"uses": 1e400}'),
        ("/v1/tokens", b'{"ttl_s": -1}'),
        ("/v1/tokens", b'{"ttl_s": 99999999999999999999}'),
        ("/v1/tokens", b'{"roles": ["king"]}'),
        ("/v1/tokens", b'{"roles": ["invite", "invite", "invite"]}'),
        ("/v1/tokens", b'{"usse": 1}'),
        ("/v1/endpoints", b"{}"),
        ("/v1/endpoints", b'{"target": "", "netns": "1:2"}'),
        ("/v1/endpoints", b'{"target": "a", "netns": "12"}'),
        ("/v1/endpoints", b'{"target": "a", "netns": "1:2\\n"}'),
        ("/v1/endpoints", b'{"target": "a", "netns": "1:2", "ip": "10.0.0.300"}'),
        ("/v1/endpoints", b'{"target": "a", "netns": "1:2", "ifname": "a/b"}'),
        ("/v1/endpoints", b'{"target": "a", "netns": "1:2", "ifname": ".."}'),
        ("/v1/endpoints", b'{"target": "a", "netns": "1:2", "ifname": "sixteen-letters-"}'),
        ("/v1/endpoints", b'{"target": "a", "netns": "1:2", "ifname": "mesh0\\n"}'),
        ("/v1/networks", b"{}"),
        ("/v1/networks", b'{"name": "Web"}'),
        ("/v1/networks", b'{"name": "-web"}'),
        ("/v1/networks", b'{"name": "web\\n"}'),
        ("/v1/networks", b'{"name": "web", "mtu": 100}'),
        ("/v1/networks", b'{"name": "web", "mtu": 60001}'),
        ("/v1/networks", b'{"name": "web", "subnets": ["1", "2", "3", "4", "5", "6", "7", "8", "9"]}'),
        ("/v1/expose", b'{"ip": "10.0.0.300"}'),
        ("/v1/expose", b'{"masquerade": "yes"}'),
        ("/v1/leave", b'{"wipe": 1}'),
        ("/v1/password", b"{}"),
        ("/v1/password", b'{"password": ""}'),
        ("/v1/peers/host-c/revoke", b'{"issued_from": -1}'),
        ("/v1/peers/host-c/revoke", b'{"reason": "two\\nlines"}'),
        ("/v1/peers/host-c/connect", b"{}"),
        ("/v1/peers/host-c/connect", b'{"addresses": []}'),
        ("/v1/peers/host-c/connect", b'{"addresses": ["1", "2", "3", "4", "5", "6", "7", "8", "9"]}'),
        ("/v1/peers/host-c/forget", b'{"addresses": "192.0.2.1:1"}'),
        ("/v1/allow", b'{"on": true}'),
        ("/v1/allow", b'{"key": "B1", "on": true}'),
        ("/v1/allow", b'{"key": null}'),
        ("/v1/secret/finish", b'{"force": "yes"}'),
        ("/v1/secret/accept", b'{"token": ""}'),
    ],
)
def test_bad_bodies_are_400(daemon: FakeDaemon, path: str, body: bytes) -> None:
    status, headers, answer = send(daemon.path, "POST", path, body)
    error = json.loads(answer)["error"]
    assert (status, error["code"], headers["meshnet-api"]) == (400, 2, "1")
    assert set(error) == {"what", "why", "fix", "code"}
    assert daemon.backend.calls == []
