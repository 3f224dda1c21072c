"""Every probe of a new TAP is made to fail, and the fall-back and its note are seen. No device is opened."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Callable, Iterator

import pytest

from meshnet.host import tap
from meshnet.host.errors import HostError

ALL = tap.FEATURE_TSO4 | tap.FEATURE_TSO6 | tap.FEATURE_ECN | tap.FEATURE_USO4 | tap.FEATURE_USO6
TCP = tap.FEATURE_TSO4 | tap.FEATURE_TSO6 | tap.FEATURE_ECN
TUN_F_UDP, TUN_F_TCP, TUN_F_CSUM = 0x60, 0x0E, 0x01

Refusal = Callable[[int, object], int]  # (request, argument) -> errno, 0 to accept


class Kernel:
    """Stands in for ioctl: records the requests it takes and refuses what a test says."""

    def __init__(self) -> None:
        self.refuse: Refusal = lambda _request, _argument: 0
        self.taken: list[tuple[int, object]] = []

    def ioctl(self, _fd: int, request: int, argument: object = 0) -> int:
        code = self.refuse(request, argument)
        if code:
            raise OSError(code, os.strerror(code))
        self.taken.append((request, argument))
        return 0

    def argument_of(self, request: int) -> object:
        return dict(self.taken)[request]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
    monkeypatch.setattr(tap, "TUN_DEVICE", os.devnull)
    monkeypatch.setitem(sys.modules, "pytun", None)
    return kernel


@pytest.fixture
def opened(kernel: Kernel) -> Iterator[Callable[[], tap.Tap]]:
    taps: list[tap.Tap] = []

    def open_one() -> tap.Tap:
        taps.append(tap.open_tap("mt00000001"))
        return taps[-1]

    yield open_one
    for each in taps:
        each.close()


def refuse_offloads(bits: int) -> Refusal:
    def refuse(request: int, argument: object) -> int:
        asked = isinstance(argument, int) and bool(argument & bits)
        return errno.EINVAL if request == tap.TUNSETOFFLOAD and asked else 0

    return refuse


def refuse_request(refused: int, code: int) -> Refusal:
    return lambda request, _argument: code if request == refused else 0


def test_a_new_kernel_gives_everything_without_a_note(kernel: Kernel, opened: Callable[[], tap.Tap]) -> None:
    opened_tap = opened()
    assert (opened_tap.name, opened_tap.features, opened_tap.notes) == ("mt00000001", ALL, [])
    assert not os.get_blocking(opened_tap.fd)
    assert not os.get_inheritable(opened_tap.fd)
    assert kernel.argument_of(tap.TUNSETIFF) == struct.pack("16sH22x", b"mt00000001", 0x2 | 0x1000 | 0x4000 | 0x8000)
    assert kernel.argument_of(tap.TUNSETVNETHDRSZ) == struct.pack("i", 10)
    assert kernel.argument_of(tap.TUNSETVNETLE) == struct.pack("i", 1)
    assert kernel.argument_of(tap.TUNSETOFFLOAD) == TUN_F_CSUM | TUN_F_TCP | TUN_F_UDP
    assert kernel.argument_of(tap.SIOCSIFTXQLEN) == struct.pack("16si20x", b"mt00000001", 1000)


@pytest.mark.parametrize(
    ("bits", "features", "mask", "lost"),
    [
        (TUN_F_UDP, TCP, TUN_F_CSUM | TUN_F_TCP, ["UDP segmentation"]),
        (TUN_F_TCP, 0, TUN_F_CSUM, ["UDP segmentation", "TCP segmentation"]),
        (TUN_F_CSUM, 0, None, ["UDP segmentation", "TCP segmentation", "checksum offload"]),
    ],
)
def test_refused_offloads_fall_back_one_step_at_a_time(
    kernel: Kernel,
    opened: Callable[[], tap.Tap],
    bits: int,
    features: int,
    mask: int | None,
    lost: list[str],
) -> None:
    kernel.refuse = refuse_offloads(bits)
    opened_tap = opened()
    assert opened_tap.features == features
    assert dict(kernel.taken).get(tap.TUNSETOFFLOAD) == mask
    assert len(opened_tap.notes) == len(lost)
    for note, word in zip(opened_tap.notes, lost, strict=True):
        assert word in note and "EINVAL" in note


def test_a_queue_length_that_cannot_be_set_is_a_note(kernel: Kernel, opened: Callable[[], tap.Tap]) -> None:
    kernel.refuse = refuse_request(tap.SIOCSIFTXQLEN, errno.EPERM)
    opened_tap = opened()
    assert opened_tap.features == ALL
    assert ["queue length" in note and "EPERM" in note for note in opened_tap.notes] == [True]


def test_without_tunsetvnetle_a_little_endian_host_goes_on(
    kernel: Kernel, opened: Callable[[], tap.Tap], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.refuse = refuse_request(tap.TUNSETVNETLE, errno.EINVAL)
    monkeypatch.setattr(sys, "byteorder", "little")
    assert ["byte order" in note for note in opened().notes] == [True]


def test_without_tunsetvnetle_a_big_endian_host_refuses(
    kernel: Kernel, opened: Callable[[], tap.Tap], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.refuse = refuse_request(tap.TUNSETVNETLE, errno.EINVAL)
    monkeypatch.setattr(sys, "byteorder", "big")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(HostError, match="little-endian"):
        opened()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_wrong_header_size_refuses(kernel: Kernel, opened: Callable[[], tap.Tap]) -> None:
    kernel.refuse = refuse_request(tap.TUNSETVNETHDRSZ, errno.EINVAL)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(HostError, match="10-byte virtio header"):
        opened()
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize(
    ("code", "fix"),
    [(errno.EBUSY, "name is taken"), (errno.EPERM, "CAP_NET_ADMIN"), (errno.EINVAL, "another kind")],
)
def test_a_refused_creation_says_what_to_do(kernel: Kernel, opened: Callable[[], tap.Tap], code: int, fix: str) -> None:
    kernel.refuse = refuse_request(tap.TUNSETIFF, code)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(HostError) as caught:
        opened()
    assert caught.value.errno == code
    assert errno.errorcode[code] in caught.value.why
    assert fix in caught.value.fix
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_missing_tun_device_names_the_module(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "TUN_DEVICE", "/nonexistent/tun")
    with pytest.raises(HostError) as caught:
        tap.open_tap("mt00000001")
    assert caught.value.errno == errno.ENOENT
    assert "modprobe tun" in caught.value.fix


@pytest.mark.parametrize("name", ["", "m" * 16])
def test_a_name_the_kernel_would_cut_is_refused(kernel: Kernel, name: str) -> None:
    with pytest.raises(HostError, match="EINVAL"):
        tap.open_tap(name)
    assert kernel.taken == []


def test_pytun_creates_where_it_is_installed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []

    class TunTapDevice:
        def __init__(self, name: str, flags: int) -> None:
            made.append((name, flags))
            self.fd = os.open(os.devnull, os.O_RDWR)

        def fileno(self) -> int:
            return self.fd

        def close(self) -> None:
            os.close(self.fd)

    module = type(sys)("pytun")
    module.TunTapDevice = TunTapDevice  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pytun", module)
    before = len(os.listdir("/proc/self/fd"))
    opened_tap = tap.open_tap("mt00000001")
    assert made == [("mt00000001", 0x2 | 0x1000 | 0x4000 | 0x8000)]
    assert tap.TUNSETIFF not in dict(kernel.taken)
    assert opened_tap.features == ALL
    assert not os.get_inheritable(opened_tap.fd)
    opened_tap.close()
    opened_tap.close()
    assert len(os.listdir("/proc/self/fd")) == before
