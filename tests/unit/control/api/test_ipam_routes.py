"""Every route about addresses over a real socket: what it asks of the backend, and every body it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnet.cli.client import Client
from tests.unit.cli.fake import FakeDaemon
from tests.unit.cli.fake_ipam import CHECK, IPAM, IPAM_NETWORKS, PLAN, RECLAIMED, REGISTRAR
from tests.unit.control.api.test_api import send


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as fake:
        yield fake


@pytest.fixture
def client(daemon: FakeDaemon) -> Client:
    return Client(daemon.path)


def test_every_route_answers_what_the_backend_says(daemon: FakeDaemon, client: Client) -> None:
    assert client.request("GET", "/v1/ipam") == IPAM
    assert client.request("GET", "/v1/ipam/networks") == IPAM_NETWORKS
    assert client.request("GET", "/v1/ipam/networks/web") == IPAM_NETWORKS
    assert client.request("GET", "/v1/ipam/check") == CHECK
    assert client.request("GET", "/v1/ipam/reclaim?peers=host-c,d1d1d1d1") == PLAN
    assert client.request("POST", "/v1/ipam/reclaim", {"peers": ["host-c"], "force": True}) == RECLAIMED
    address = {"network": "web", "address": "10.77.0.9"}
    assert client.request("POST", "/v1/ipam/claim", address)["lease"] == 9
    assert client.request("POST", "/v1/ipam/release", {"address": "fd00::9"})["network"] == "default"
    assert client.request("GET", "/v1/registrar") == REGISTRAR
    assert client.request("POST", "/v1/registrar", {"peer": "host-b"})["name"] == "host-b"
    assert daemon.backend.calls == [
        ("ipam_listed", None),
        ("ipam_shown", None),
        ("ipam_shown", "web"),
        ("ipam_checked", None),
        ("ipam_plan", ["host-c", "d1d1d1d1"]),
        ("ipam_reclaim", (["host-c"], True)),
        ("ipam_claim", ("web", "10.77.0.9")),
        ("ipam_release", ("default", "fd00::9")),
        ("registrar", None),
        ("hand_registrar", "host-b"),
    ]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/ipam/reclaim", {}),
        ("/v1/ipam/reclaim", {"peers": []}),
        ("/v1/ipam/reclaim", {"peers": ["Host C"]}),
        ("/v1/ipam/reclaim", {"peers": ["c"] * 17}),
        ("/v1/ipam/reclaim", {"peers": ["c"], "force": "yes"}),
        ("/v1/ipam/claim", {"network": "web"}),
        ("/v1/ipam/claim", {"network": "web", "address": "10.77.0.9/16"}),
        ("/v1/ipam/claim", {"network": "We b", "address": "10.77.0.9"}),
        ("/v1/ipam/release", {"address": "everything"}),
        ("/v1/registrar", {"peer": "a/b"}),
        ("/v1/registrar", {"peer": "host-b", "force": True}),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(daemon: FakeDaemon, target: str, body: object) -> None:
    status, _, answer = send(daemon.path, "POST", target, json.dumps(body).encode())
    assert status == 400 and set(json.loads(answer)["error"]) == {"what", "why", "fix", "code"}
    assert daemon.backend.calls == []


@pytest.mark.parametrize("query", ["", "?peers=", "?peers=a%20b", "?peers=a,,b", "?peers=" + ",".join(["a"] * 17)])
def test_a_plan_needs_peers(daemon: FakeDaemon, query: str) -> None:
    assert send(daemon.path, "GET", f"/v1/ipam/reclaim{query}")[0] == 400
    assert daemon.backend.calls == []
