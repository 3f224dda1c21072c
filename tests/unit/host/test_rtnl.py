"""Refusals and missing attributes, with a stand-in for pyroute2's socket and for the names of interfaces."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from meshnet.host import rtnl as module
from meshnet.host.errors import HostError
from meshnet.host.ports import MAX_ALIAS_BYTES
from meshnet.host.rtnl import GSO_IPV4_NOTE, Rtnl, check_name, doing, host_mac, mac_text

from .netlink_scenario import BRIDGE, GSO, MTU, PEER, PEER_MAC, TAP, TAP_MAC, VETH

INDEXES = {BRIDGE: 7, VETH: 8, PEER: 9, TAP: 10}


class Message(dict[str, Any]):
    def get_attr(self, name: str) -> Any:
        return self.get(name)


class Socket:
    """Takes link messages, refuses those a test names, and reads back what a test says the kernel kept."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.refuse: dict[str, int] = {}  # a key of the message -> errno
        self.kept = {"IFLA_GSO_MAX_SIZE": GSO, "IFLA_GSO_IPV4_MAX_SIZE": GSO}
        self.interruptions = 0

    def link(self, verb: str, **settings: Any) -> list[Message]:
        for key, code in self.refuse.items():
            if key in settings:
                raise NetlinkError(code, "refused by the test")
        self.sent.append((verb, settings))
        return [Message(self.kept)]

    def get_links(self) -> Iterator[Message]:
        if self.interruptions:
            self.interruptions -= 1
            raise NetlinkDumpInterrupted
        yield from ()

    def close(self) -> None:
        return None

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.sent]


@pytest.fixture
def socket(monkeypatch: pytest.MonkeyPatch) -> Socket:
    socket = Socket()
    monkeypatch.setattr(module, "IPRoute", lambda **_: socket)
    monkeypatch.setattr(module, "index_of", INDEXES.__getitem__)
    monkeypatch.setattr(module, "silence_ipv6", lambda name: [f"silenced {name}"])
    return socket


@pytest.fixture
def rtnl(socket: Socket) -> Iterator[Rtnl]:
    with Rtnl() as opened:
        yield opened


def make_veth(rtnl: Rtnl) -> None:
    rtnl.create_veth(VETH, PEER, mtu=MTU, mac=PEER_MAC, bridge=BRIDGE, gso_max_size=GSO)


def test_a_veth_is_one_message_with_both_macs_then_up_and_one_look_back(rtnl: Rtnl, socket: Socket) -> None:
    make_veth(rtnl)
    assert socket.verbs() == ["add", "set", "get"]
    created = socket.sent[0][1]
    caps = {"gso_max_size": GSO, "gso_ipv4_max_size": GSO}
    assert created["peer"] == {"ifname": PEER, "address": "02:00:00:00:00:03", "mtu": MTU, **caps}
    assert created["address"] == host_mac(VETH).hex(":")
    assert {key: created[key] for key in ("mtu", "master", *caps)} == {"mtu": MTU, "master": 7, **caps}
    assert socket.sent[1][1] == {"index": 8, "state": "up"}
    make_veth(rtnl)
    assert socket.verbs()[3:] == ["add", "set"]
    assert list(rtnl.notes) == [f"silenced {VETH}"]


def test_the_alias_is_set_with_the_message_that_sets_the_link_up(rtnl: Rtnl, socket: Socket) -> None:
    """A new link's alias is not taken from the message that makes it."""
    rtnl.create_veth(VETH, PEER, mtu=MTU, mac=PEER_MAC, bridge=BRIDGE, gso_max_size=GSO, alias="whose it is")
    assert "ifalias" not in socket.sent[0][1]
    assert socket.sent[1] == ("set", {"index": 8, "state": "up", "ifalias": "whose it is"})


@pytest.mark.parametrize("alias", ["x" * (MAX_ALIAS_BYTES + 1), "wéb", "two\nlines", "\x00"])
def test_what_no_link_should_bear_is_refused_before_anything_is_made(rtnl: Rtnl, socket: Socket, alias: str) -> None:
    with pytest.raises(HostError, match="no alias"):
        rtnl.create_veth(VETH, PEER, mtu=MTU, mac=PEER_MAC, bridge=BRIDGE, gso_max_size=GSO, alias=alias)
    assert socket.sent == []


def test_a_kernel_that_ignores_the_newer_cap_is_noted_once(rtnl: Rtnl, socket: Socket) -> None:
    socket.kept = {"IFLA_GSO_MAX_SIZE": GSO}
    make_veth(rtnl)
    make_veth(rtnl)
    assert list(rtnl.notes).count(GSO_IPV4_NOTE) == 1
    assert "gso_ipv4_max_size" not in socket.sent[-2][1] and "gso_max_size" in socket.sent[-2][1]


def test_a_kernel_that_keeps_no_cap_is_noted(rtnl: Rtnl, socket: Socket) -> None:
    socket.kept = {}
    rtnl.set_gso_max(VETH, GSO)
    assert any(note.startswith("no gso_max_size") for note in rtnl.notes)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_kernel_that_refuses_the_newer_cap_gets_the_older_one_alone(rtnl: Rtnl, socket: Socket, code: int) -> None:
    socket.refuse = {"gso_ipv4_max_size": code}
    rtnl.configure_tap(TAP, mtu=MTU, mac=TAP_MAC, bridge=BRIDGE, gso_max_size=GSO)
    assert socket.sent[0][1] == {
        "index": 10,
        "address": "02:00:00:00:00:02",
        "mtu": MTU,
        "master": 7,
        "gso_max_size": GSO,
    }
    assert socket.sent[-1][1] == {"index": 10, "state": "up"}
    assert GSO_IPV4_NOTE in rtnl.notes


def test_another_refusal_is_not_blamed_on_the_newer_cap(rtnl: Rtnl, socket: Socket) -> None:
    socket.refuse = {"mtu": errno.EINVAL}
    with pytest.raises(HostError) as caught:
        make_veth(rtnl)
    assert caught.value.why == "EINVAL (22): refused by the test"
    assert list(rtnl.notes) == []
    socket.refuse = {}
    make_veth(rtnl)
    assert "gso_ipv4_max_size" in socket.sent[0][1]


def test_a_veth_that_cannot_be_set_up_is_deleted_again(rtnl: Rtnl, socket: Socket) -> None:
    socket.refuse = {"state": errno.ENOBUFS}
    with pytest.raises(HostError, match="ENOBUFS"):
        make_veth(rtnl)
    assert socket.sent[-1] == ("del", {"index": 8})


def test_a_bridge_gets_its_mac_with_its_creation_and_its_mtu_after(
    rtnl: Rtnl, socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rtnl, "_find", lambda _self, _name: None)
    rtnl.ensure_bridge(BRIDGE, MTU, TAP_MAC)
    options = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0}
    assert socket.sent == [
        ("add", {"ifname": BRIDGE, "kind": "bridge", "address": "02:00:00:00:00:02", **options}),
        ("set", {"index": 7, "mtu": MTU, "state": "up"}),
    ]


def test_an_interrupted_dump_is_asked_again_but_not_for_ever(rtnl: Rtnl, socket: Socket) -> None:
    socket.interruptions = 4
    assert rtnl.list_links() == []
    socket.interruptions = 99
    with pytest.raises(HostError, match="cannot list the host's links"):
        rtnl.list_links()
    assert socket.interruptions == 99 - module.DUMP_ATTEMPTS


def test_notes_are_bounded(rtnl: Rtnl) -> None:
    rtnl.note(*(f"note {n}" for n in range(1000)))
    assert len(rtnl.notes) == module.MAX_NOTES


def test_a_socket_that_does_not_open_is_a_host_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    monkeypatch.setattr(module, "IPRoute", refuse)
    with pytest.raises(HostError, match="netlink socket: EPROTONOSUPPORT"):
        Rtnl()


def test_refusals_carry_the_kernels_own_words() -> None:
    with pytest.raises(HostError) as caught, doing("cannot x", fix="do y"):
        raise NetlinkError(errno.EINVAL, "mtu less than device minimum")
    error = caught.value
    assert (error.what, error.why, error.fix) == ("cannot x", "EINVAL (22): mtu less than device minimum", "do y")
    with pytest.raises(HostError, match="ENODEV") as missing, doing("cannot x"):
        module.index_of("mn0000dead")
    assert missing.value.errno == errno.ENODEV


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a:b", "a%d", "m" * 16, "a\n", "ü" * 8])
def test_what_is_no_interface_name_is_refused(name: str) -> None:
    with pytest.raises(HostError, match="no interface name"):
        check_name(name)


@pytest.mark.parametrize("mac", [b"", b"\2" * 5, b"\2" * 7, b"\1" + bytes(5), bytes(6)])
def test_what_is_no_unicast_mac_is_refused(mac: bytes) -> None:
    with pytest.raises(HostError, match="no unicast MAC"):
        mac_text(mac)


def test_a_host_mac_is_local_unicast_and_the_names_own() -> None:
    macs = {host_mac(f"mv{n:010x}") for n in range(100)}
    assert len(macs) == 100
    assert all(mac[0] & 3 == 2 and len(mac) == 6 for mac in macs)
    assert host_mac(VETH) == host_mac(VETH)


def test_pyroute2_knows_the_attribute_under_its_number() -> None:
    assert ifinfmsg.nla_map[41][0] == "IFLA_GSO_MAX_SIZE"
    assert ifinfmsg.nla_map[63][0] == "IFLA_GSO_IPV4_MAX_SIZE"
