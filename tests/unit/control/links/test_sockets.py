"""What is listened on: TCP and UDP of one port per family, all or nothing, and a line that says why not."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from meshnet.boundary import AddSocket, SocketRow, Verb
from meshnet.config import Options
from meshnet.control.links import sockets as module
from meshnet.control.links.sockets import Sockets, advertised, open_sockets
from meshnet.errors import MeshnetError
from meshnet.host.errors import refused
from meshnet.host.udp import DataSocket, open_udp

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


def free_port() -> int:
    """A port that is free for TCP and UDP of both families just now."""
    for _ in range(50):
        with socket.socket(socket.AF_INET6) as tcp, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
            tcp.bind(("::", 0))
            try:
                udp.bind(("::", tcp.getsockname()[1]))
            except OSError:
                continue
            return int(tcp.getsockname()[1])
    raise AssertionError("no port is free")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def opened() -> Iterator[Callable[..., Sockets]]:
    made: list[Sockets] = []

    def open_them(*listen: str, held: list[tuple[SocketRow, int]] | None = None) -> Sockets:
        made.append(open_sockets(Options.parse(name="a", listen=listen), held or []))
        return made[-1]

    yield open_them
    for each in made:
        each.close()


def descriptors_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_both_protocols_share_a_port(port: int, opened: Callable[..., Sockets]) -> None:
    sockets = opened(f"127.0.0.1:{port}")
    (listener,), (data,) = sockets.listeners, sockets.data
    assert listener.getsockname() == data.sock.getsockname() == ("127.0.0.1", port)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and not listener.getblocking()
    assert sockets.families == [V4]


def test_every_address_is_both_families(port: int, opened: Callable[..., Sockets]) -> None:
    sockets = opened(f"*:{port}")
    assert sockets.families == [V4, V6]
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("::1", port)):
        pass


def test_what_was_opened_can_be_handed_over(port: int, opened: Callable[..., Sockets]) -> None:
    sockets = opened(f"127.0.0.1:{port}", f"[::1]:{port}")
    sent: list[tuple[Verb, tuple[int, ...]]] = []
    sockets.send(lambda verb, descriptors=(): sent.append((verb, descriptors)))
    expected = [
        (AddSocket(family=family, port=port, gso=data.gso, gro=data.gro), (data.sock.fileno(),))
        for family, data in zip((V4, V6), sockets.data, strict=True)
    ]
    assert sent == expected


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("listen", ["127.0.0.1", "*"])
def test_a_taken_port_is_said_and_nothing_stays_open(
    port: int, opened: Callable[..., Sockets], kind: socket.SocketKind, listen: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            taken.listen(1)
        before = descriptors_open()
        with pytest.raises(MeshnetError) as caught:
            opened(f"{listen}:{port}")
        assert str(port) in caught.value.what and caught.value.fix
        assert descriptors_open() == before
    assert opened(f"{listen}:{port}").data


def test_an_address_that_is_not_ours_is_an_error(port: int, opened: Callable[..., Sockets]) -> None:
    with pytest.raises(MeshnetError, match=r"192\.0\.2\.1"):
        opened(f"192.0.2.1:{port}")


def test_a_failure_of_the_second_closes_the_first(port: int, opened: Callable[..., Sockets]) -> None:
    before = descriptors_open()
    with pytest.raises(MeshnetError):
        opened(f"127.0.0.1:{port}", f"[2001:db8::1]:{port}")
    assert descriptors_open() == before


def test_two_addresses_of_one_family_are_refused(port: int, opened: Callable[..., Sockets]) -> None:
    before = descriptors_open()
    with pytest.raises(MeshnetError, match="one too many"):
        opened(f"127.0.0.1:{port}", f"127.0.0.2:{port}")
    assert descriptors_open() == before


class NoFamily:
    """A host on which sockets of some families cannot be made or bound."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *families: int, at: str, code: int) -> None:
        real = socket.socket

        class Lacking(real):  # type: ignore[misc, valid-type]
            def __init__(self, family: int = -1, *arguments: int, **named: int) -> None:
                if at == "socket" and family in families:
                    raise OSError(code, os.strerror(code))
                super().__init__(family, *arguments, **named)

            def bind(self, address: object) -> None:
                if at == "bind" and self.family in families:
                    raise OSError(code, os.strerror(code))
                super().bind(address)

        monkeypatch.setattr(socket, "socket", Lacking)


@pytest.mark.parametrize(("at", "code"), [("socket", errno.EAFNOSUPPORT), ("bind", errno.EADDRNOTAVAIL)])
def test_a_host_without_ipv6_goes_on_and_says_so(
    port: int, opened: Callable[..., Sockets], monkeypatch: pytest.MonkeyPatch, at: str, code: int
) -> None:
    NoFamily(monkeypatch, V6, at=at, code=code)
    sockets = opened(f"*:{port}")
    assert sockets.families == [V4] and any(f"[::]:{port}" in note for note in sockets.notes)
    with pytest.raises(MeshnetError):
        opened(f"[::1]:{port}")


def test_a_data_socket_that_cannot_be_had_leaves_no_listener(
    port: int, opened: Callable[..., Sockets], monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_one(host: str, number: int) -> DataSocket:
        if ":" in host:
            raise refused("no data socket", errno.EADDRNOTAVAIL)
        return open_udp(host, number)

    monkeypatch.setattr(module, "open_udp", open_one)
    sockets = opened(f"*:{port}")
    assert len(sockets.listeners) == len(sockets.data) == 1
    assert any("no data socket" in note for note in sockets.notes)


def test_a_host_without_any_address_has_nothing_to_listen_on(
    port: int, opened: Callable[..., Sockets], monkeypatch: pytest.MonkeyPatch
) -> None:
    NoFamily(monkeypatch, V4, V6, at="socket", code=errno.EAFNOSUPPORT)
    before = descriptors_open()
    with pytest.raises(MeshnetError, match="nothing to listen on"):
        opened(f"*:{port}")
    assert descriptors_open() == before


def test_the_data_socket_of_a_running_forwarder_is_used_again(port: int, opened: Callable[..., Sockets]) -> None:
    held = open_udp("127.0.0.1", port)
    inode = os.fstat(held.sock.fileno()).st_ino
    row = SocketRow(V4, port, held.gso, False)
    sockets = opened(f"127.0.0.1:{port}", held=[(row, held.sock.detach())])
    (data,) = sockets.data
    assert os.fstat(data.sock.fileno()).st_ino == inode and (data.gso, data.gro) == (held.gso, False)
    assert data.sock.getsockname() == ("127.0.0.1", port)


def test_what_a_forwarder_held_and_nobody_needs_is_closed(port: int, opened: Callable[..., Sockets]) -> None:
    held, spare = open_udp("127.0.0.1", 0), open_udp("::1", 0)
    rows = [(SocketRow(V4, 1, True, True), held.sock.detach()), (SocketRow(V6, 2, True, True), spare.sock.detach())]
    before = descriptors_open()
    sockets = opened(f"127.0.0.1:{port}", held=rows)
    assert sockets.data[0].sock.getsockname() == ("127.0.0.1", port)
    assert descriptors_open() == before, "two opened, two closed"


OWN = ["192.0.2.7", "2001:db8::7"]


@pytest.mark.parametrize(
    ("listen", "advertise", "families", "expected"),
    [
        ((), ("198.51.100.1",), [V4], ["198.51.100.1:6799"]),
        ((), (), [V4, V6], ["192.0.2.7:6799", "[2001:db8::7]:6799"]),
        ((), (), [V4], ["192.0.2.7:6799"]),
        ((":7000",), (), [V4, V6], ["192.0.2.7:7000", "[2001:db8::7]:7000"]),
        (("127.0.0.1:7000",), (), [V4], ["127.0.0.1:7000"]),
        (("0.0.0.0:7000",), (), [V4], ["192.0.2.7:7000"]),
        (("[2001:db8::9]:7000",), (), [V6], ["[2001:db8::9]:7000"]),
        (("[::]:7000",), (), [V6], ["[2001:db8::7]:7000"]),
        (("192.0.2.9",), ("[2001:db8::1]:1", "192.0.2.1:2"), [V4], ["[2001:db8::1]:1", "192.0.2.1:2"]),
    ],
)
def test_peers_are_told_where_to_find_this_one(
    listen: tuple[str, ...], advertise: tuple[str, ...], families: list[int], expected: list[str]
) -> None:
    options = Options.parse(name="a", listen=listen, advertise=advertise)
    assert advertised(options, OWN, families) == expected


def test_not_more_addresses_are_told_than_a_statement_holds() -> None:
    own = [f"192.0.2.{number}" for number in range(1, 60)]
    assert len(advertised(Options.parse(name="a"), own, [V4])) == 16
