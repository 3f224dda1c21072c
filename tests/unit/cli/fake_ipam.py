"""What a daemon that only answers says about addresses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

SHARE: dict[str, Any] = {
    "peer": "host-a",
    "id": "a1" * 32,
    "owned": 524_285,
    "used": 3,
    "lent": 1,
    "free": 524_281,
    "used_percent": 0.0,
    "reachable": True,
    "left": False,
}
IPAM: dict[str, Any] = {
    "schema": "meshnet.ipam/v1",
    "networks": [
        {
            "network": "default",
            "number": 1,
            "owned": 524_285,
            "used": 3,
            "free": 524_281,
            "lent": 1,
            "unreachable_percent": 50.0,
            "peers": [SHARE, {**SHARE, "peer": "host-c", "id": "c1" * 32, "lent": 0, "reachable": False}],
        }
    ],
    "pending": [
        {
            "network": "default",
            "endpoint": "0a1b2c3d4e",
            "wanted": None,
            "waits_s": 0.4,
            "left_s": 0.5,
            "asked": ["host-c"],
            "why": "every address of this peer's ranges is in use",
        }
    ],
    "unclaimed": [
        {
            "endpoint": "0a1b2c3d4e",
            "network": "default",
            "target": "web",
            "addresses": ["10.32.0.2/12"],
            "why": "host-c, whose range it is in, does not answer",
        }
    ],
    "registrar": {"name": "host-a", "id": "a1" * 32, "reachable": True, "here": True},
}
IPAM_NETWORKS: dict[str, Any] = {
    "schema": "meshnet.ipam-networks/v1",
    "networks": [
        {
            "network": "default",
            "number": 1,
            "pools": ["10.32.0.0/12"],
            "ranges": [
                {
                    "first": "10.32.0.0",
                    "last": "10.47.255.255",
                    "size": 1_048_576,
                    "name": "host-a",
                    "id": "a1" * 32,
                }
            ],
            "addresses": [
                {
                    "address": "10.32.0.2/12",
                    "lease": 7,
                    "peer": "host-a",
                    "mac": "02:00:00:00:00:01",
                    "of": "web",
                }
            ],
            "leases": [{"address": "10.32.0.2/12", "lease": 7, "of": "0a1b2c3d4e"}],
        }
    ],
}
CHECK: dict[str, Any] = {
    "schema": "meshnet.ipam-check/v1",
    "sound": False,
    "problems": ["10.32.0.0 was granted twice by one owner"],
}
PLAN: dict[str, Any] = {
    "schema": "meshnet.ipam-plan/v1",
    "peers": [{"name": "host-c", "id": "c1" * 32, "heard_s": 600.0}],
    "ranges": [{"network": "default", "first": "10.40.0.0", "last": "10.47.255.255", "size": 524_288}],
    "in_use": [{"network": "default", "address": "10.40.0.7", "of": "db"}],
    "must_agree": ["host-b", "host-d"],
    "unreachable": ["host-d"],
    "possible": False,
    "why_not": {"what": "nothing was reclaimed", "why": "host-d cannot be reached", "fix": "start host-d, or name it"},
}
RECLAIMED: dict[str, Any] = {
    "schema": "meshnet.ipam-reclaimed/v1",
    "run": "0e" * 8,
    "forced": False,
    "peers": [{"name": "host-c", "id": "c1" * 32}],
    "ranges": PLAN["ranges"],
    "quarantined": [{"network": "default", "address": "10.40.0.7"}],
}
REGISTRAR: dict[str, Any] = {"schema": "meshnet.registrar/v1", **IPAM["registrar"]}


class FakeIpam:
    """Answers the samples above; `answer` remembers what was asked, and may answer otherwise."""

    def __init__(self, answer: Callable[[str, object, Mapping[str, object]], Mapping[str, object]]) -> None:
        self._now = answer

    def listed(self) -> Mapping[str, object]:
        return self._now("ipam_listed", None, IPAM)

    def shown(self, network: str | None) -> Mapping[str, object]:
        return self._now("ipam_shown", network, IPAM_NETWORKS)

    def checked(self) -> Mapping[str, object]:
        return self._now("ipam_checked", None, CHECK)

    def plan(self, peers: Sequence[str]) -> Mapping[str, object]:
        return self._now("ipam_plan", list(peers), PLAN)

    async def reclaim(self, peers: Sequence[str], forced: bool) -> Mapping[str, object]:
        return self._now("ipam_reclaim", (list(peers), forced), RECLAIMED)

    async def claim(self, network: str, address: str) -> Mapping[str, object]:
        answer = {"schema": "meshnet.ipam-claim/v1", "network": network, "address": f"{address}/12", "lease": 9}
        return self._now("ipam_claim", (network, address), answer)

    async def release(self, network: str, address: str) -> Mapping[str, object]:
        answer = {"schema": "meshnet.ipam-release/v1", "network": network, "address": address}
        return self._now("ipam_release", (network, address), answer)

    def registrar(self) -> Mapping[str, object]:
        return self._now("registrar", None, REGISTRAR)

    async def hand_registrar(self, peer: str) -> Mapping[str, object]:
        return self._now("hand_registrar", peer, {**REGISTRAR, "name": peer, "here": False})
