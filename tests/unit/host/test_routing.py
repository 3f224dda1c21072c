"""Which routes and addresses count, from made-up dumps."""

from __future__ import annotations

import socket
from typing import Any, cast

import pytest

from meshnet.host import routing
from meshnet.host.errors import HostError
from meshnet.host.rtnl import Rtnl

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
NAMES = {1: "lo", 2: "eth0", 3: "docker0", 4: "mn0000beef", 5: "eth1"}


class Message(dict[str, Any]):
    def get_attr(self, name: str) -> Any:
        return self.get(name)


class Dumps:
    def __init__(self) -> None:
        self.routes: list[Message] = []
        self.addresses: list[Message] = []

    def dump(self, request: str, *, family: int = 0) -> list[Message]:
        if request == "get_routes":
            return [route for route in self.routes if route["family"] == family]
        if request == "get_addr":
            return self.addresses
        bridge = Message(IFLA_INFO_KIND="bridge")
        return [
            Message(index=i, IFLA_IFNAME=name, IFLA_LINKINFO=bridge if name == "docker0" else None)
            for i, name in NAMES.items()
        ]

    def route(self, text: str | None, device: int | None, *, family: int = V4, **more: Any) -> None:
        address, _, length = (text or "0.0.0.0/0").partition("/")
        message = Message(family=family, dst_len=int(length), type=1, table=254, RTA_OIF=device)
        message |= {"RTA_DST": address if text else None} | more
        self.routes.append(message)

    def address(self, text: str, device: int, **more: Any) -> None:
        family = V6 if ":" in text else V4
        message = Message(family=family, index=device, scope=0, flags=0, IFA_ADDRESS=text)
        message |= more
        self.addresses.append(message)

    def rtnl(self) -> Rtnl:
        return cast("Rtnl", self)


@pytest.fixture
def dumps(monkeypatch: pytest.MonkeyPatch) -> Dumps:
    monkeypatch.setattr(routing, "_device", lambda index: NAMES[index])
    return Dumps()


def test_routes_of_every_table_but_the_local_one_count(dumps: Dumps) -> None:
    dumps.route("10.9.0.0/16", 5)
    dumps.route("10.1.0.0/16", 2, table=52)
    dumps.route("10.1.0.0/16", 2, table=52)
    dumps.route("10.2.0.0/16", 2, table=252, RTA_TABLE=1000)
    dumps.route("fd00::/64", 2, family=V6)
    dumps.route("10.1.0.1/32", 2, table=255)
    assert routing.routes(dumps.rtnl()) == [
        ("10.1.0.0/16", "eth0"),
        ("10.2.0.0/16", "eth0"),
        ("10.9.0.0/16", "eth1"),
        ("fd00::/64", "eth0"),
    ]


def test_routes_that_name_no_other_network_do_not_count(dumps: Dumps) -> None:
    dumps.route(None, 2)
    dumps.route("0.0.0.0/0", 2)
    dumps.route("224.0.0.0/4", 2)
    dumps.route("169.254.0.0/16", 2)
    dumps.route("fe80::/64", 2, family=V6)
    dumps.route("ff00::/8", 2, family=V6)
    dumps.route("10.3.0.0/16", 2, type=7)
    assert routing.routes(dumps.rtnl()) == []


def test_a_route_over_two_devices_names_both(dumps: Dumps) -> None:
    dumps.route("10.1.0.0/16", None, RTA_MULTIPATH=[{"oif": 2}, {"oif": 5}])
    dumps.route("10.2.0.0/16", None)
    assert routing.routes(dumps.rtnl()) == [("10.1.0.0/16", "eth0"), ("10.1.0.0/16", "eth1"), ("10.2.0.0/16", "")]


def test_addresses_of_the_default_routes_device_come_first_and_bridges_count_only_alone(dumps: Dumps) -> None:
    dumps.route(None, 5)
    dumps.address("172.17.0.1", 3)
    dumps.address("192.0.2.1", 2)
    dumps.address("2001:db8::5", 5)
    dumps.address("198.51.100.5", 5)
    dumps.address("10.32.0.1", 4)
    assert routing.addresses(dumps.rtnl()) == ["198.51.100.5", "2001:db8::5", "192.0.2.1"]


def test_a_host_whose_uplink_is_a_bridge_has_its_address(dumps: Dumps) -> None:
    dumps.address("172.17.0.1", 3)
    assert routing.addresses(dumps.rtnl()) == ["172.17.0.1"]


def test_passing_and_local_addresses_are_left_out(dumps: Dumps) -> None:
    dumps.address("127.0.0.1", 1)
    dumps.address("192.0.2.9", 2, scope=253)
    dumps.address("fe80::1", 2)
    dumps.address("2001:db8::1", 2, flags=0x01)
    dumps.address("2001:db8::2", 2, IFA_FLAGS=0x40)
    dumps.address("2001:db8::3", 2, flags=0x20)
    dumps.address("2001:db8::4", 2, flags=0x08)
    dumps.address("192.0.2.10", 2, flags=0x01)  # a second IPv4 address of a subnet: as lasting as the first
    dumps.address("10.0.0.2", 2, IFA_LOCAL="10.0.0.1")
    dumps.address("10.0.0.3", 99)
    assert routing.addresses(dumps.rtnl()) == ["10.0.0.1", "192.0.2.10"]


def test_a_name_is_no_address(dumps: Dumps) -> None:
    with pytest.raises(HostError, match="literal IP address"):
        routing.route_mtu(dumps.rtnl(), "example.org")
