"""The data socket on loopback: its options, and each probe made to fail."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from meshnet.host import udp
from meshnet.host.errors import HostError

IP_RECVERR = 11
Opener = Callable[..., udp.DataSocket]
Refuse = Callable[[set[tuple[int, int]], int], None]


@pytest.fixture
def opened() -> Iterator[Opener]:
    sockets: list[udp.DataSocket] = []

    def open_one(host: str = "127.0.0.1", port: int = 0) -> udp.DataSocket:
        sockets.append(udp.open_udp(host, port))
        return sockets[-1]

    yield open_one
    for each in sockets:
        each.close()


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Make setsockopt refuse the given (level, option) pairs with an errno."""
    real = socket.socket.setsockopt

    def install(pairs: set[tuple[int, int]], code: int) -> None:
        def setsockopt(sock: socket.socket, level: int, option: int, value: int) -> None:
            if (level, option) in pairs:
                raise OSError(code, os.strerror(code))
            real(sock, level, option, value)

        monkeypatch.setattr(socket.socket, "setsockopt", setsockopt)

    return install


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_the_socket_is_bound_unconnected_and_never_fragments(opened: Opener, host: str, family: int) -> None:
    data = opened(host)
    assert (data.family, data.sock.family) == (family, family)
    assert data.sock.getsockname()[0] == host and data.sock.getsockname()[1] > 0
    assert not data.sock.getblocking()
    assert not data.sock.get_inheritable()
    with pytest.raises(OSError, match="not connected"):
        data.sock.getpeername()
    if family == socket.AF_INET6:
        assert data.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert data.sock.getsockopt(socket.IPPROTO_IPV6, udp.IPV6_MTU_DISCOVER) == udp.PMTUDISC_PROBE
    else:
        assert data.sock.getsockopt(socket.IPPROTO_IP, udp.IP_MTU_DISCOVER) == udp.PMTUDISC_PROBE
        assert data.sock.getsockopt(socket.IPPROTO_IP, IP_RECVERR) == 0


def test_this_kernel_has_gso_and_gro_and_the_probe_leaves_no_segment_size(opened: Opener) -> None:
    data = opened()
    assert (data.gso, data.gro) == (True, True)
    assert data.sock.getsockopt(udp.SOL_UDP, udp.UDP_SEGMENT) == 0
    assert data.sock.getsockopt(udp.SOL_UDP, udp.UDP_GRO) == 1


def test_without_gso_there_is_a_note(opened: Opener, refuse: Refuse) -> None:
    refuse({(udp.SOL_UDP, udp.UDP_SEGMENT)}, errno.ENOPROTOOPT)
    data = opened()
    assert (data.gso, data.gro) == (False, True)
    assert any("no GSO" in note and "ENOPROTOOPT" in note for note in data.notes)


def test_without_gro_there_is_a_note(opened: Opener, refuse: Refuse) -> None:
    refuse({(udp.SOL_UDP, udp.UDP_GRO)}, errno.ENOPROTOOPT)
    data = opened()
    assert (data.gso, data.gro) == (True, False)
    assert any("no GRO" in note and "ENOPROTOOPT" in note for note in data.notes)


def test_without_privilege_buffers_fall_back_and_say_how_large_they_are(
    opened: Opener, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "BUFFER_BYTES", 1 << 30)  # above net.core.rmem_max of any host
    refuse({(socket.SOL_SOCKET, udp.SO_RCVBUFFORCE), (socket.SOL_SOCKET, udp.SO_SNDBUFFORCE)}, errno.EPERM)
    data = opened()
    notes = [note for note in data.notes if "buffer" in note]
    assert len(notes) == 2
    for note, word, sysctl in zip(notes, ("receive", "send"), ("rmem_max", "wmem_max"), strict=True):
        assert word in note and sysctl in note and "EPERM" in note
    assert data.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 0


def test_a_plain_buffer_that_is_large_enough_needs_no_note(
    opened: Opener, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "BUFFER_BYTES", 16 << 10)
    refuse({(socket.SOL_SOCKET, udp.SO_RCVBUFFORCE), (socket.SOL_SOCKET, udp.SO_SNDBUFFORCE)}, errno.EPERM)
    assert [note for note in opened().notes if "buffer" in note] == []


def test_without_probing_the_kernels_path_mtu_serves(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.setsockopt

    def setsockopt(sock: socket.socket, level: int, option: int, value: int) -> None:
        if (level, option, value) == (socket.IPPROTO_IP, udp.IP_MTU_DISCOVER, udp.PMTUDISC_PROBE):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(sock, level, option, value)

    monkeypatch.setattr(socket.socket, "setsockopt", setsockopt)
    data = opened()
    assert data.sock.getsockopt(socket.IPPROTO_IP, udp.IP_MTU_DISCOVER) == udp.PMTUDISC_DO
    assert any("path MTU cannot be probed" in note for note in data.notes)


@pytest.mark.parametrize(
    ("host", "option"),
    [
        ("127.0.0.1", (int(socket.IPPROTO_IP), udp.IP_MTU_DISCOVER)),
        ("::1", (int(socket.IPPROTO_IPV6), udp.IPV6_MTU_DISCOVER)),
    ],
)
def test_a_kernel_that_would_fragment_is_refused(
    opened: Opener, refuse: Refuse, host: str, option: tuple[int, int]
) -> None:
    refuse({option}, errno.ENOPROTOOPT)
    with pytest.raises(HostError, match="would fragment"):
        opened(host)


def test_a_port_in_use_says_so(opened: Opener) -> None:
    port = opened().sock.getsockname()[1]
    with pytest.raises(HostError) as caught:
        opened("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE
    assert str(port) in caught.value.what and str(port) in caught.value.fix


def test_an_address_of_another_host_says_so(opened: Opener) -> None:
    with pytest.raises(HostError) as caught:
        opened("192.0.2.1")
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert "ip addr" in caught.value.fix


@pytest.mark.parametrize(("host", "port"), [("localhost", 0), ("", 0), ("127.0.0.1", 70000), ("1.2.3", 1)])
def test_what_is_no_address_is_refused_without_asking_any_resolver(opened: Opener, host: str, port: int) -> None:
    with pytest.raises(HostError, match="cannot listen on UDP"):
        opened(host, port)
