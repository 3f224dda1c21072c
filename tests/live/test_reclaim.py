"""Hosts that are dead, or seem so: the others go on, and take over what they owned."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.wire import Wire
from tests.live.test_addresses import FIRST_S, Mesh, answers, put, refused, shares, sound

pytestmark = pytest.mark.root

SILENCE_S = 75.0  # a minute after a host was heard the others agree that it is gone


@pytest.fixture
def fresh() -> Iterator[Mesh]:
    """A mesh of its own, because hosts end for good."""
    with Lab(Wire.NIC, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2", "h3")]
        yield Mesh(lab, hosts, found(hosts))


def test_two_hosts_one_dead_the_other_goes_on(fresh: Mesh) -> None:
    """No majority is needed: who is left allocates from what it owns; an operator may give it the rest."""
    h1, h2, h3 = fresh.hosts
    h3.daemon.cli("leave", "--yes")
    poll(lambda: set(shares(h1)) == {"h1", "h2"}, FIRST_S, "two hosts")
    in_use = fresh.workloads[1].address
    h2.daemon.kill("meshnetd", "forwarder")
    guests = [put(h1, f"alone{number}") for number in range(3)]
    answers(guests[0], guests[2])
    poll(lambda: not shares(h1)["h2"]["reachable"], FIRST_S, "h2 is missed")
    assert h1.daemon.json("ipam", "ls")["networks"][0]["unreachable_percent"] >= 0
    plan = h1.daemon.json("ipam", "reclaim", "h2")
    assert not plan["possible"] and plan["ranges"] and in_use in str(plan["in_use"])
    refused(h1.daemon.cli("ipam", "reclaim", "h2", "--yes", check=False), "h2")
    done = h1.daemon.json("ipam", "reclaim", "h2", "--force", "--yes")
    assert done["schema"] == "meshnet.ipam-reclaimed/v1" and in_use in str(done["quarantined"])
    rows = shares(h1)
    assert "h2" not in rows or rows["h2"]["owned"] == 0
    refused(h1.daemon.cli("attach", h1.workload("rival").full_name, "--ip", in_use, check=False), in_use)
    h1.daemon.cli("ipam", "release", in_use)
    rival = put(h1, "heir", "--ip", in_use)
    assert rival.address == in_use


def test_a_reclaimed_host_that_comes_back_gives_up_its_ranges_and_asks_anew(fresh: Mesh) -> None:
    h1, h2, h3 = fresh.hosts
    mine = fresh.workloads[2].address
    h3.daemon.kill("meshnetd", "forwarder")
    poll(lambda: "h3" not in h1.daemon.peers_up(), FIRST_S, "h3 is missed")
    h1.daemon.cli("ipam", "reclaim", "h3", "--force", "--yes")
    guests = [put(host, f"more{number}") for host in (h1, h2) for number in range(3)]
    assert len({guest.address for guest in guests}) == len(guests)
    h3.daemon.start()
    poll(lambda: h1.daemon.peers_up() == ["h2", "h3"], FIRST_S, "h3 is back")
    poll(lambda: shares(h3)["h1"]["owned"] == shares(h1)["h1"]["owned"], FIRST_S, "h3 knows what it lost")
    assert mine in str(h3.daemon.status()["endpoints"]), "its workload keeps its address, as a loan"
    all_answer(fresh.workloads)
    newcomer = put(h3, "anew")
    answers(newcomer, fresh.workloads[0])
    used = {guest.address for guest in guests} | {workload.address for workload in fresh.workloads}
    assert newcomer.address not in used


@pytest.mark.slow
def test_a_host_that_is_gone_for_good_is_reclaimed_with_the_others_agreement(fresh: Mesh) -> None:
    h1, h2, h3 = fresh.hosts
    h3.daemon.kill("meshnetd", "forwarder")
    refused(h1.daemon.cli("ipam", "reclaim", "h3", "--yes", check=False), "h3")
    poll(lambda: h1.daemon.json("ipam", "reclaim", "h3")["possible"], SILENCE_S, "h3 silent for a minute")
    plan = h1.daemon.json("ipam", "reclaim", "h3")
    assert plan["must_agree"] == ["h2"] and plan["unreachable"] == []
    poll(
        lambda: h1.daemon.cli("ipam", "reclaim", "h3", "--yes", check=False).returncode == 0,
        SILENCE_S,
        "h2 agrees, which may have heard of h3 a little later",
    )
    for host in (h1, h2):
        poll(lambda host=host: "h3" not in shares(host) or not shares(host)["h3"]["owned"], FIRST_S, "h3 owns nothing")  # type: ignore[misc]
    put(h2, "goes-on")
    sound(h1, h2)
