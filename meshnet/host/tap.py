"""Open a TAP device with virtio headers and every offload the kernel accepts.

Purpose: one `readv` of the returned descriptor yields a 10-byte little-endian virtio header and a frame of up
to 64 KB; one `writev` takes the same.
Rule: what the kernel lacks is never an error while frames can still flow: the offloads are asked for in
steps, and each step down leaves a note for the operator. MTU, MAC, bridge and the link's state are netlink's
business.
Flow: create (pytun where it is installed, the same ioctl by hand elsewhere) -> header size -> byte order ->
offloads -> queue length -> non-blocking.
Reference: linux/if_tun.h, Documentation/networking/tuntap.rst, virtio 1.2 §5.1.6; design §4.1, §8.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
from dataclasses import dataclass, field

from meshnet.host.errors import HostError, os_reason, os_refused

# What the kernel behind the TAP takes as one super-frame; the bits travel in the handshake.
FEATURE_TSO4 = 1
FEATURE_TSO6 = 2
FEATURE_ECN = 4
FEATURE_USO4 = 8
FEATURE_USO6 = 16

TUN_DEVICE = "/dev/net/tun"
HEADER_BYTES = 10
QUEUE_FRAMES = 1000

IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
IFF_TUN_EXCL = 0x8000
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
TUNSETVNETLE = 0x400454DC
SIOCSIFTXQLEN = 0x8943

_FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL
_F_CSUM, _F_TSO4, _F_TSO6, _F_ECN, _F_USO4, _F_USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40
_F_TCP = _F_CSUM | _F_TSO4 | _F_TSO6 | _F_ECN
_FEATURES_TCP = FEATURE_TSO4 | FEATURE_TSO6 | FEATURE_ECN

# (TUN_F_* mask, feature bits it stands for, what is lost when this step is refused), best first.
_STEPS = (
    (_F_TCP | _F_USO4 | _F_USO6, _FEATURES_TCP | FEATURE_USO4 | FEATURE_USO6, "UDP segmentation (Linux 6.2)"),
    (_F_TCP, _FEATURES_TCP, "TCP segmentation"),
    (_F_CSUM, 0, "checksum offload"),
)


@dataclass
class Tap:
    """An open TAP: descriptor, name in its namespace, FEATURE bits the kernel accepts, notes on what it
    lacks.
    """

    fd: int
    name: str
    features: int
    notes: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Close the descriptor; the device goes with its last descriptor. Closing twice is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_tap(name: str) -> Tap:
    """Create the TAP `name` in the calling thread's network namespace and return it open and non-blocking.

    The device is down, without a bridge, and has carrier; it disappears with its last descriptor.
    Raises HostError when the device cannot be made or could not carry 10-byte little-endian virtio headers.
    """
    try:
        fd = _create(name)
    except OSError as error:
        raise _not_created(name, error) from error
    try:
        tap = Tap(fd, name, 0)
        _set_header(tap)
        _set_offloads(tap)
        _set_queue_length(tap)
        os.set_blocking(fd, False)
    except BaseException:
        os.close(fd)
        raise
    return tap


def _create(name: str) -> int:
    """Return a descriptor attached to a new TAP; raises OSError."""
    if not 0 < len(name.encode()) < 16:
        raise OSError(errno.EINVAL, "an interface name has 1 to 15 bytes")
    try:
        import pytun
    except ImportError:
        return _create_by_ioctl(name)
    device = pytun.TunTapDevice(name=name, flags=_FLAGS)
    try:
        # The device object closes its own descriptor when collected: keep a duplicate (close-on-exec)
        # instead.
        return os.dup(device.fileno())
    finally:
        device.close()


def _create_by_ioctl(name: str) -> int:
    """The same without pytun, which has wheels for x86_64 alone; raises OSError."""
    fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), _FLAGS))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _not_created(name: str, error: OSError) -> HostError:
    fixes = {
        errno.ENOENT: "load the module: `modprobe tun` (in a container also pass --device /dev/net/tun)",
        errno.ENODEV: "load the module: `modprobe tun` (in a container also pass --device /dev/net/tun)",
        errno.EINVAL: "see with `ip link` whether another kind of interface holds the name",
        errno.EBUSY: f"the name is taken: see `ip -d link show {name}`",
    }
    return os_refused(f"cannot create TAP {name}", error, fix=fixes.get(error.errno or 0, ""))


def _set_header(tap: Tap) -> None:
    try:
        fcntl.ioctl(tap.fd, TUNSETVNETHDRSZ, struct.pack("i", HEADER_BYTES))
    except OSError as error:
        raise os_refused(f"TAP {tap.name} does not take a {HEADER_BYTES}-byte virtio header", error) from error
    try:
        fcntl.ioctl(tap.fd, TUNSETVNETLE, struct.pack("i", 1))
    except OSError as error:
        # The header is in the host's byte order then, and peers exchange it little endian.
        if sys.byteorder != "little":
            raise os_refused(f"TAP {tap.name} does not take little-endian headers", error) from error
        tap.notes.append(f"TAP {tap.name}: byte order left to the host, little endian here: {os_reason(error)}")


def _set_offloads(tap: Tap) -> None:
    for mask, features, lost in _STEPS:
        try:
            fcntl.ioctl(tap.fd, TUNSETOFFLOAD, mask)
        except OSError as error:
            tap.notes.append(f"TAP {tap.name}: no {lost}: {os_reason(error)}")
            continue
        tap.features = features
        return
    # Nothing to ask for is what a new TAP starts with: frames come whole and with finished checksums.


def _set_queue_length(tap: Tap) -> None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            request = struct.pack("16si20x", tap.name.encode(), QUEUE_FRAMES)
            fcntl.ioctl(control.fileno(), SIOCSIFTXQLEN, request)
    except OSError as error:
        tap.notes.append(f"TAP {tap.name}: queue length left at the default: {os_reason(error)}")
