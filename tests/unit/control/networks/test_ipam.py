"""What an operator asks about addresses and does about them, in words; the core decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from gossip.errors import Refusal
from gossip.events import Lease, ReclaimDone, ReclaimPlan, ReclaimSettled, Share, Waiting
from gossip.state.address_bodies import EndpointBody
from meshnet.control.networks.adoption import Adoption
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.ipam import Ipam
from meshnet.control.networks.reconcile import Reconciler, manual_key
from meshnet.control.pending import Pending
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.control.fake_core import OTHER, OWN, WEB, Bench, view

GONE = b"q" * 32
FOREIGN = Refusal("no address was leased", "10.77.0.9 belongs to peer host-b", "attach there", "foreign")


class Unclaimed:
    """Stands in for `Adoption` and `Reconciler`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        self.keys: list[tuple[int, bytes]] = []

    def leaseless(self) -> list[tuple[int, bytes]]:
        return self.keys

    def described(self) -> list[dict[str, object]]:
        return self.rows


class Desk(Bench):
    """An `Ipam` on a core that a test steers."""

    def __init__(self) -> None:
        super().__init__()
        self.core.known[WEB.number] = WEB
        self.core.views.append(view(GONE, "host-c"))
        self.pending = Pending(self.runner)
        self.tell = self.pending.tell
        desk = NetworkDesk(self.node, self.runner, self.pending, self.store, self.netlink, self.networks)
        self.unclaimed = Unclaimed()
        adoption, reconciler = cast("Adoption", self.unclaimed), cast("Reconciler", self.unclaimed)
        self.ipam = Ipam(self.node, self.runner, self.pending, desk, adoption, reconciler, lambda: 100.0)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    await made.close()


def test_utilisation_is_by_network_and_peer_with_what_cannot_be_reached(desk: Desk) -> None:
    desk.core.shares = [
        Share(WEB.number, OTHER, 100, 10, 5, False, False),
        Share(WEB.number, OWN, 300, 0, 0, True, False),
        Share(0, OWN, 5, 1, 0, True, False),
    ]
    answer = desk.ipam.listed()
    assert answer["schema"] == "meshnet.ipam/v1"
    numbers, web = _by_number(answer)
    assert (web["network"], web["owned"], web["used"], web["lent"], web["free"]) == ("web", 400, 10, 5, 385)
    assert web["unreachable_percent"] == 25.0
    own, other = cast("list[dict[str, object]]", web["peers"])
    assert (own["peer"], own["used_percent"], other["peer"], other["used_percent"]) == ("host-a", 0.0, "host-b", 15.0)
    assert numbers["network"] == "network numbers"


def _by_number(answer: dict[str, object]) -> list[dict[str, object]]:
    rows = cast("list[dict[str, object]]", answer["networks"])
    return sorted(rows, key=lambda row: cast("int", row["number"]))


def test_what_waits_says_for_what_whom_it_asked_and_why(desk: Desk) -> None:
    desk.core.waits = [Waiting(WEB.number, b"\x0a\x1b", None, 99.5, 100.4, [OTHER], "every address is in use")]
    (row,) = cast("list[dict[str, object]]", desk.ipam.listed()["pending"])
    assert row == {
        "network": "web",
        "endpoint": "0a1b",
        "wanted": None,
        "waits_s": 0.5,
        "left_s": 0.4,
        "asked": ["host-b"],
        "why": "every address is in use",
    }


def test_a_network_is_shown_with_ranges_and_addresses(desk: Desk) -> None:
    desk.core.said = [EndpointBody(WEB.number, b"\2\0\0\0\0\1", [("10.77.0.2/16", 5)], "db")]
    desk.core.keys = {(WEB.number, manual_key("10.77.0.3")): Lease(WEB.number, "10.77.0.3/16", 6)}
    (web,) = cast("list[dict[str, object]]", desk.ipam.shown("web")["networks"])
    first = cast("list[dict[str, object]]", web["ranges"])[0]
    assert first == {"first": "10.77.0.0", "last": "10.77.255.255", "size": 65_536, "name": "host-a", "id": OWN.hex()}
    assert cast("list[dict[str, object]]", web["addresses"])[0]["of"] == "db"
    assert web["leases"] == [{"address": "10.77.0.3/16", "lease": 6, "of": "claimed by hand"}]
    assert len(cast("list[object]", desk.ipam.shown(None)["networks"])) == 2
    with pytest.raises(MeshnetError) as error:
        desk.ipam.shown("nowhere")
    assert error.value.code is ExitCode.NOT_FOUND


def test_what_is_odd_is_listed_with_what_has_no_lease(desk: Desk) -> None:
    assert desk.ipam.checked() == {"schema": "meshnet.ipam-check/v1", "sound": True, "problems": []}
    desk.core.odd = ["10.77.0.0 was granted twice by one owner"]
    desk.unclaimed.rows = [{"endpoint": "0a1b", "network": "web", "why": "host-b does not answer"}]
    desk.unclaimed.keys = [(WEB.number, b"this host")]
    answer = desk.ipam.checked()
    assert answer["sound"] is False
    assert str(cast("list[str]", answer["problems"]).pop()).startswith("this host on network web uses an address")
    assert answer["problems"] == [
        "10.77.0.0 was granted twice by one owner",
        "endpoint 0a1b on network web has no lease: host-b does not answer",
    ]


def test_a_plan_names_everything_and_changes_nothing(desk: Desk) -> None:
    why = Refusal("nothing was reclaimed", "host-b cannot be reached", "start it, or name it too", "unreachable")
    desk.core.plan = ReclaimPlan(
        [GONE],
        [(WEB.number, 0x0A4D8000, 0x0A4E0000), (0, 10, 12)],
        [(WEB.number, "10.77.128.7", "db")],
        [OTHER],
        [OTHER],
        {GONE: 600.0},
        why,
    )
    answer = desk.ipam.plan(["host-c", GONE.hex()])
    assert desk.core.asked == [("plan", (GONE,))], "named twice, meant once; and nothing else was asked"
    assert answer["peers"] == [{"name": "host-c", "id": GONE.hex(), "heard_s": 600.0}]
    assert answer["ranges"] == [
        {"network": "web", "first": "10.77.128.0", "last": "10.77.255.255", "size": 32_768},
        {"network": "network numbers", "first": "10", "last": "11", "size": 2},
    ]
    assert answer["in_use"] == [{"network": "web", "address": "10.77.128.7", "of": "db"}]
    assert (answer["must_agree"], answer["unreachable"], answer["possible"]) == (["host-b"], ["host-b"], False)
    assert answer["why_not"] == {"what": why.what, "why": why.why, "fix": why.fix}
    with pytest.raises(MeshnetError, match="no peer nobody"):
        desk.ipam.plan(["nobody"])


async def test_a_reclaim_is_answered_when_the_others_have_agreed(desk: Desk) -> None:
    asking = asyncio.ensure_future(desk.ipam.reclaim(["host-c"], False))
    while not desk.core.asked:  # noqa: ASYNC110 -- one turn of the loop each
        await asyncio.sleep(0)
    done = ReclaimDone(b"12345678", [GONE], [(WEB.number, 0x0A4D8000, 0x0A4E0000)], [(WEB.number, "10.77.128.7")])
    desk.pending.tell(ReclaimSettled(b"12345678", done))
    answer = await asking
    assert desk.core.asked == [("reclaim", (GONE,), False)]
    assert answer["schema"] == "meshnet.ipam-reclaimed/v1" and answer["forced"] is False
    assert answer["peers"] == [{"name": "host-c", "id": GONE.hex()}]
    assert answer["quarantined"] == [{"network": "web", "address": "10.77.128.7"}]


async def test_a_reclaim_that_is_refused_says_why(desk: Desk) -> None:
    desk.core.reclaim_answer = Refusal("nothing was reclaimed", "host-c was heard 3 s ago", "revoke it", "alive")
    with pytest.raises(MeshnetError, match="heard 3 s ago"):
        await desk.ipam.reclaim(["host-c"], True)
    desk.core.reclaim_answer = Refusal("nothing was reclaimed", "this peer has not the role admin", "x", "role")
    with pytest.raises(MeshnetError) as error:
        await desk.ipam.reclaim(["host-c"], True)
    assert error.value.code is ExitCode.PERMISSION


async def test_a_claim_by_hand_is_a_lease_of_its_own_until_it_is_released(desk: Desk) -> None:
    desk.core.lease_answer = Lease(WEB.number, "10.77.0.9/16", 4)
    answer = await desk.ipam.claim("web", "10.77.0.9")
    assert answer == {"schema": "meshnet.ipam-claim/v1", "network": "web", "address": "10.77.0.9/16", "lease": 4}
    key = b"manual:10.77.0.9"
    assert desk.core.asked == [("allocate", WEB.number, key, "10.77.0.9")]
    assert (await desk.ipam.release("web", "10.77.0.9"))["address"] == "10.77.0.9"
    assert desk.core.asked[1:] == [("release", WEB.number, key)]


async def test_a_reservation_for_a_peer_that_is_gone_is_the_cores_to_release(desk: Desk) -> None:
    await desk.ipam.release("web", "10.77.128.7")
    assert desk.core.asked == [("release_address", WEB.number, "10.77.128.7")]
    desk.core.refusal = FOREIGN
    with pytest.raises(MeshnetError, match="belongs to peer host-b"):
        await desk.ipam.release("web", "10.77.128.7")


async def test_the_registrar_is_shown_and_handed_on(desk: Desk) -> None:
    own = {"name": "host-a", "id": OWN.hex(), "reachable": True, "here": True}
    assert desk.ipam.registrar() == {"schema": "meshnet.registrar/v1", **own}
    answer = await desk.ipam.hand_registrar("host-b")
    assert (answer["name"], answer["here"]) == ("host-b", False)
    desk.core.refusal = Refusal("the registrar stays", "host-b is it", "ask there", "registrar")
    with pytest.raises(MeshnetError, match="host-b is it"):
        await desk.ipam.hand_registrar("host-c")
    desk.core.registrar_id = None
    assert desk.ipam.registrar()["name"] is None
