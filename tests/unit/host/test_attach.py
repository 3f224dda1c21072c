"""The steps inside a target namespace, against a stand-in for the netlink socket."""

from __future__ import annotations

import errno
import ipaddress
from typing import Any, cast

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from meshnet.host import attach
from meshnet.host.errors import HostError, refused
from meshnet.host.rtnl import Rtnl


class Socket:
    """Records requests and refuses those whose kind a test names."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.refuse: dict[str, int] = {}
        self.notes: list[str] = []
        self.ipr = self

    def request(self, kind: str, settings: dict[str, Any]) -> None:
        if kind in self.refuse:
            raise NetlinkError(self.refuse[kind])
        self.sent.append((kind, settings))

    def link(self, _verb: str, **settings: Any) -> None:
        self.request("link", settings)

    def addr(self, _verb: str, **settings: Any) -> None:
        self.request("addr", settings)

    def route(self, _verb: str, **settings: Any) -> None:
        self.request("route", settings)

    def note(self, *lines: str) -> None:
        self.notes += lines

    def rtnl(self) -> Rtnl:
        return cast("Rtnl", self)


@pytest.fixture
def socket() -> Socket:
    return Socket()


def add(socket: Socket, *texts: str) -> None:
    attach._add_addresses(socket.rtnl(), 7, "mesh0", [ipaddress.ip_interface(text) for text in texts])


def test_addresses_have_a_broadcast_where_there_is_room_for_one(socket: Socket) -> None:
    add(socket, "10.32.0.2/12", "10.0.0.1/31", "10.0.0.9/32")
    assert [settings.get("broadcast") for _, settings in socket.sent] == ["10.47.255.255", None, None]
    assert [settings["prefixlen"] for _, settings in socket.sent] == [12, 31, 32]
    assert {settings["index"] for _, settings in socket.sent} == {7}


def test_an_ipv6_address_is_usable_at_once(socket: Socket) -> None:
    add(socket, "fd00::2/64")
    assert socket.sent[0][1]["flags"] == attach.IFA_F_NODAD


def test_a_refused_address_names_it_and_the_errno(socket: Socket) -> None:
    socket.refuse = {"addr": errno.EEXIST}
    with pytest.raises(HostError, match=r"10\.32\.0\.2/12 to mesh0 .*EEXIST"):
        add(socket, "10.32.0.2/12")


def test_a_route_someone_has_is_a_note_and_another_refusal_an_error(socket: Socket) -> None:
    network = [ipaddress.ip_network("224.0.0.0/4")]
    socket.refuse = {"route": errno.EEXIST}
    attach._add_routes(socket.rtnl(), 7, "mesh0", network)
    assert len(socket.notes) == 1 and "224.0.0.0/4" in socket.notes[0]
    socket.refuse = {"route": errno.EINVAL}
    with pytest.raises(HostError, match="EINVAL"):
        attach._add_routes(socket.rtnl(), 7, "mesh0", network)


def test_a_link_goes_home_down_and_under_its_old_name(socket: Socket) -> None:
    first = refused("cannot add address", errno.EINVAL)
    assert attach._restored(socket.rtnl(), 7, "mp0000000001", 5, first) is first
    assert socket.sent == [
        ("link", {"index": 7, "state": "down"}),
        ("link", {"index": 7, "ifname": "mp0000000001"}),
        ("link", {"index": 7, "net_ns_fd": 5}),
    ]


def test_a_link_that_is_gone_needs_no_way_home(socket: Socket) -> None:
    socket.refuse = {"link": errno.ENODEV}
    first = refused("cannot add address", errno.ENODEV)
    assert attach._restored(socket.rtnl(), 7, "mp0000000001", 5, first) is first


def test_a_link_that_stays_behind_is_said_so_beside_the_first_reason(socket: Socket) -> None:
    socket.refuse = {"link": errno.EPERM}
    error = attach._restored(socket.rtnl(), 7, "mp0000000001", 5, refused("cannot add address", errno.EINVAL))
    assert (error.what, error.errno) == ("cannot add address", errno.EINVAL)
    assert "could not be brought back: EPERM" in error.fix and "meshnet detach" in error.fix


@pytest.mark.parametrize(
    ("new_name", "addresses", "routes"),
    [("a/b", [], []), ("mesh0", ["10.0.0.300/8"], []), ("mesh0", [], ["10.0.0.1/8"])],
)
def test_nothing_is_entered_for_what_cannot_be_set(
    monkeypatch: pytest.MonkeyPatch, new_name: str, addresses: list[str], routes: list[str]
) -> None:
    monkeypatch.setattr(attach, "run_in", lambda *_: pytest.fail("entered the target"))
    with pytest.raises(HostError):
        attach.configure("/proc/self/ns/net", "mp0000000001", new_name, addresses, routes, 1500)
