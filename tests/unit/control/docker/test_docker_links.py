"""The names and the alias of Docker's links."""

from __future__ import annotations

from meshnet.control.docker.docker_links import alias, host_link, inner_link
from meshnet.control.docker.docker_rows import Endpoint, Network
from meshnet.control.networks.alias import Alias
from meshnet.control.networks.endpoint_rows import host_link as endpoint_link

MESH, KEY = bytes(range(16)), "9c9c 1f1f"
WEB = Network("web", 0xBEEF, ["10.77.0.0/16"], 1500, True, False)
ROW = Endpoint("9c" * 32, b"\2\0\0\0\0\1", ["10.77.0.2/16", "fd00::2/64"], True, 1.0)


def test_both_ends_share_the_digits_of_the_endpoint() -> None:
    assert host_link(KEY)[2:] == inner_link(KEY)[2:] and (host_link(KEY)[:2], inner_link(KEY)[:2]) == ("mv", "mp")


def test_the_alias_makes_an_endpoint_of_this_very_link() -> None:
    found = Alias.parse(alias(MESH, KEY, WEB, ROW), MESH)
    assert found is not None and endpoint_link(found.endpoint) == host_link(KEY)
    assert (found.network, found.number, found.mac) == ("web", 0xBEEF, ROW.mac)
    assert found.addresses == ("10.77.0.2/16", "fd00::2/64") and found.target == "docker-9c9c9c9c9c9c"


def test_a_network_of_this_host_alone_says_nothing() -> None:
    assert alias(MESH, KEY, Network("", 7, ["172.18.0.0/16"], 1500, False, False), ROW) == ""
