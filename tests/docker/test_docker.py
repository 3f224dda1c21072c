"""Two real Docker engines on one network of the mesh: made, used, cut off at its knees, and taken down.

Every test leaves both hosts without a link, a lease or an endpoint: the fixture looks.
"""

from __future__ import annotations

import ipaddress
import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.docker.site import SUBNET, Site
from tests.lab.errors import CommandFailed
from tests.lab.poll import poll

pytestmark = [pytest.mark.root, pytest.mark.docker]

BACK_S = 5.0


def said(failure: pytest.ExceptionInfo[CommandFailed]) -> str:
    return str(failure.value)


def test_containers_on_two_engines_share_one_network(site: Site) -> None:
    one, two = site.engines
    site.create()
    addresses = [one.run("aa", "web"), one.run("ab", "web"), two.run("ba", "web"), two.run("bb", "web")]
    assert len(set(addresses)) == 4
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network(SUBNET) for address in addresses)
    for index, container in ((0, "aa"), (0, "ab"), (1, "ba"), (1, "bb")):
        for address in addresses:
            site.reach(index, container, address)
    for engine in site.engines:
        engine.docker("rm", "--force", *engine.docker("ps", "--quiet").stdout.split())
        engine.docker("network", "rm", "web")
    for index in (0, 1):
        site.wait_clean(index)


def test_the_default_network_is_used_when_none_is_named_and_only_once(site: Site) -> None:
    one, two = site.engines
    for engine in (one, two):
        engine.docker("network", "create", "-d", "meshnet", "--ipam-driver", "meshnet", "plain")
    address = two.run("ba", "plain")
    one.run("aa", "plain")
    site.reach(0, "aa", address)
    with pytest.raises(CommandFailed) as second:
        one.docker("network", "create", "-d", "meshnet", "--ipam-driver", "meshnet", "again")
    assert "--ipam-opt meshnet.network=NAME" in said(second)


def test_a_network_without_a_subnet_has_one_pool_on_all_hosts(site: Site) -> None:
    with ThreadPoolExecutor(2) as pool:  # in the same second
        list(pool.map(lambda engine: site.create_on(engine, "same", subnet=None), site.engines))
    pools = [engine.inspect("same")["IPAM"]["Config"][0]["Subnet"] for engine in site.engines]
    assert pools[0] == pools[1]
    address = site.engines[1].run("ba", "same")
    site.engines[0].run("aa", "same")
    site.reach(0, "aa", address)


def test_networks_of_equal_subnets_stay_apart(site: Site) -> None:
    one, two = site.engines
    for name in ("red", "blue"):
        site.create(name)
    red, blue = one.run("ra", "red"), two.run("bb", "blue")
    other = two.run("rb", "red")
    site.reach(0, "ra", other)
    assert two.inspect("bb")["NetworkSettings"]["Networks"]["blue"]["IPAddress"] == blue
    if blue not in (red, other):
        assert not one.answers("ra", blue)


def test_another_subnet_for_a_known_name_is_refused_with_the_one_it_has(site: Site) -> None:
    site.create_on(site.engines[0])
    with pytest.raises(CommandFailed) as refusal:
        site.create_on(site.engines[1], "web", subnet="10.78.0.0/16")
    assert SUBNET in said(refusal)


def test_frames_pass_with_forward_drop_and_br_netfilter(site: Site) -> None:
    site.create()
    address = site.engines[1].run("ba", "web")
    site.engines[0].run("aa", "web")
    site.reach(0, "aa", address)
    for host in site.hosts:
        host.run(["iptables", "-P", "FORWARD", "DROP"])
        assert host.run(["cat", "/proc/sys/net/bridge/bridge-nf-call-iptables"]).stdout.strip() == "1"
        assert "docker_gwbridge" in host.run(["ip", "-br", "link"]).stdout
    site.reach(0, "aa", address)
    site.reach(1, "ba", site.engines[0].address("aa", "web"))
    assert site.engines[0].answers("aa", address)


def test_an_address_may_be_chosen_and_meets_nobodys(site: Site) -> None:
    one, two = site.engines
    site.create()
    first = ipaddress.ip_address(one.run("aa", "web"))
    chosen = str(first + 9)
    assert one.run("ab", "web", "--ip", chosen) == chosen
    two.run("ba", "web")
    site.reach(1, "ba", chosen)
    for engine in (one, two):
        with pytest.raises(CommandFailed) as refusal:
            engine.run("ca", "web", "--ip", chosen)
        assert chosen in said(refusal)
        engine.docker("rm", "--force", "ca")
    one.docker("rm", "--force", "ab")
    assert one.run("ab", "web", "--ip", chosen) == chosen
    site.reach(1, "ba", chosen)


def test_a_container_may_be_connected_and_disconnected_while_it_runs(site: Site) -> None:
    one, two = site.engines
    site.create("red")
    site.create("green", subnet="10.78.0.0/16")
    one.run("aa", "red")
    red, green = two.run("ra", "red"), two.run("ga", "green")
    site.reach(0, "aa", red)
    one.docker("network", "connect", "green", "aa")
    site.reach(0, "aa", green)
    one.docker("network", "disconnect", "red", "aa")
    assert not one.answers("aa", red)
    site.reach(0, "aa", green)


def test_containers_reach_the_host_and_publish_ports_through_dockers_bridge(site: Site) -> None:
    one = site.engines[0]
    site.create()
    one.run("aa", "web", "--publish", "8080:80", command=("httpd", "-f", "-p", "80", "-h", "/etc"))
    site.reach(0, "aa", str(site.hosts[1].ipv4))

    def published() -> bool:
        ask = ["busybox", "wget", "-q", "-O", "-", f"http://{site.hosts[0].ipv4}:8080/hostname"]
        return site.hosts[1].run(ask, check=False).stdout.strip() == "aa"

    poll(published, BACK_S, "the published port")


def test_the_plain_form_is_complete_on_one_host_and_alone(site: Site) -> None:
    one, two = site.engines
    for engine in site.engines:
        engine.docker("network", "create", "-d", "meshnet", "lone")
    address = one.run("aa", "lone")
    assert one.run("ab", "lone") != address
    site.reach(0, "ab", address)
    [network] = site.status(0)["networks"]
    assert network["alone"] and network["network"] is None
    told = site.hosts[0].daemon.cli("docker", "status")
    assert "--ipam-driver meshnet" in told.stderr
    two.run("ba", "lone")
    assert two.address("ba", "lone") == address or not two.answers("ba", address)


def test_the_plain_form_spans_hosts_by_name_and_refuses_duplicates(site: Site) -> None:
    form = ("network", "create", "-d", "meshnet", "-o", "meshnet.network=docked", "--subnet", "10.79.0.0/16")
    for engine in site.engines:
        engine.docker(*form, "docked")
    one, two = site.engines
    address = one.run("aa", "docked")
    with pytest.raises(CommandFailed) as refusal:
        two.run("ba", "docked", "--ip", address)
    assert "--ip-range" in said(refusal)
    two.docker("rm", "--force", "ba")


def test_meshnetd_dies_and_returns_under_running_containers(site: Site) -> None:
    one, two = site.engines
    host = site.hosts[0]
    site.create()
    address = two.run("ba", "web")
    own = one.run("aa", "web")
    site.reach(0, "aa", address)
    pings = one.host.spawn(
        ["docker", "-H", f"unix://{one.socket}", "exec", "aa", "ping", "-c", "40", "-i", "0.2", "-W", "1", address]
    )
    pings.wait_for("seq=5")
    host.daemon.kill("meshnetd")
    begun = time.monotonic()
    with pytest.raises(CommandFailed):  # an engine without its plugin says so, and hangs on nothing
        one.docker("network", "create", "-d", "meshnet", "--ipam-driver", "meshnet", "no")
    assert time.monotonic() - begun < 45
    host.daemon.start()
    assert "0% packet loss" in pings.finish(30)
    assert site.sockets(0) == ["meshnet.sock"]
    assert one.address("aa", "web") == own
    fresh = one.run("ab", "web")
    assert fresh not in (own, address)
    site.reach(1, "ba", fresh)
    site.reach(1, "ba", own)


def test_meshnetd_ends_softly_and_starts_again(site: Site) -> None:
    site.create()
    address = site.engines[1].run("ba", "web")
    site.engines[0].run("aa", "web")
    site.reach(0, "aa", address)
    site.hosts[0].daemon.kill("meshnetd", sign=signal.SIGTERM)
    assert site.sockets(0) == []
    assert site.engines[0].answers("aa", address)
    site.hosts[0].daemon.start()
    assert site.sockets(0) == ["meshnet.sock"]
    site.engines[0].docker("rm", "--force", "aa")
    assert site.veths(0) == []


def test_dockerd_dies_and_returns(site: Site) -> None:
    one, two = site.engines
    site.create()
    address = two.run("ba", "web")
    one.run("aa", "web")
    one.run("ab", "web", "--restart", "always")
    site.reach(0, "aa", address)
    one.kill()
    one.start()
    assert one.docker("network", "ls", "--quiet", "--filter", "name=web").stdout.strip()
    poll(lambda: one.inspect("ab")["State"]["Running"], 20, "the container that always restarts")
    site.reach(0, "ab", address)

    def swept() -> bool:
        status = site.status(0)
        return len(status["endpoints"]) == len(status["leases"]) == len(site.veths(0)) == 1

    poll(swept, 30, "one endpoint, one lease and one link")


@pytest.mark.slow
def test_dockerd_starts_without_its_plugin_and_finds_it_later(site: Site) -> None:
    one = site.engines[0]
    site.create()
    chosen = str(ipaddress.ip_address(one.run("aa", "web")) + 20)
    one.run("ab", "web", "--ip", chosen)
    one.kill()
    site.hosts[0].daemon.kill("meshnetd")
    begun = time.monotonic()
    one.start(ready=90)
    assert time.monotonic() - begun < 60
    site.hosts[0].daemon.start()
    one.docker("rm", "--force", "aa", "ab")
    site.wait_leases(0, 0)
    assert one.run("ab", "web", "--ip", chosen) == chosen


def test_what_a_container_leaves_when_it_is_killed(site: Site) -> None:
    one = site.engines[0]
    site.create()
    one.run("aa", "web")
    one.docker("kill", "aa")
    poll(lambda: site.veths(0) == [], BACK_S, "the link is gone")
    poll(lambda: not site.status(0)["leases"], BACK_S, "the lease is gone")
    one.docker("start", "aa")
    assert len(site.veths(0)) == 1


def test_many_containers_at_once_have_distinct_addresses(site: Site) -> None:
    site.create()
    places = [(engine, f"{engine.host.name}-{number}") for engine in site.engines for number in range(6)]
    with ThreadPoolExecutor(4) as pool:
        addresses = list(pool.map(lambda place: place[0].run(place[1], "web"), places))
    assert len(set(addresses)) == len(places)


def test_a_stale_socket_is_replaced_and_disable_removes_it(site: Site) -> None:
    host = site.hosts[0]
    host.daemon.kill("meshnetd")
    assert site.sockets(0) == ["meshnet.sock"]
    host.daemon.start()
    assert site.status(0)["serving"]
    host.daemon.cli("docker", "disable")
    assert site.sockets(0) == []
    host.daemon.cli("docker", "enable")
    site.create_on(site.engines[0])
    refused: subprocess.CompletedProcess[str] = host.daemon.cli("docker", "disable", check=False)
    assert refused.returncode != 0 and "docker network rm" in refused.stderr


def test_a_wrong_option_is_refused_by_name_and_nothing_is_made(site: Site) -> None:
    one = site.engines[0]
    ours = ("network", "create", "-d", "meshnet", "--ipam-driver", "meshnet")
    for options, word in (
        (("--ipam-opt", "meshnet.netwrok=web"), "meshnet.netwrok"),
        (("--ipam-opt", "meshnet.network=web", "-o", "meshnet.network=other", "--subnet", SUBNET), "other"),
        (("--ipam-opt", "meshnet.network=No_Name"), "No_Name"),
        (("--ipam-opt", "meshnet.network=web", "-o", "com.docker.network.driver.mtu=x", "--subnet", SUBNET), "mtu"),
    ):
        with pytest.raises(CommandFailed) as refusal:
            one.docker(*ours, *options, "wrong")
        assert word in said(refusal)
    assert json.loads(one.docker("network", "inspect", "wrong", check=False).stdout) == []
    site.wait_clean(0)
