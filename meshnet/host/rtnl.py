"""The links of one network namespace, asked and changed over rtnetlink by the thread that opened it.

Purpose: the synchronous half of netlink: what `Netlink`'s own thread and `meshnet attach` run.
Rule: the calling thread's namespace is the one meant; no asyncio loop may run in that thread. A link is
created with its MAC, MTU and bridge in one message (udev would otherwise give it a MAC of its own), and comes
up only when its sysctls are set, so that not one of the host's IPv6 packets reaches the mesh. A creation that
fails half-way is undone.
Flow: verb -> one or two messages through pyroute2 -> HostError naming the errno, or a note about what is
missing.
Reference: rtnetlink(7), linux/if_link.h; design §4.1, §8.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfbase

from meshnet.host.errors import HostError, os_refused, refused
from meshnet.host.ports import MAX_ALIAS_BYTES, OWN_PREFIXES, Link, is_own_name
from meshnet.host.sysctl import silence_ipv6

IFF_UP = 1
MAC_BYTES = 6
MAX_NAME_BYTES = 15
MAX_NOTES = 32
DUMP_ATTEMPTS = 5
GSO_IPV4_NOTE = "no gso_ipv4_max_size (Linux 6.3): gso_max_size alone caps super-frames"

# Attributes 62 to 64 of if_link.h, which pyroute2 0.9.7 does not name; the order is the number.
_LATER_ATTRIBUTES = (
    ("IFLA_DEVLINK_PORT", "hex"),
    ("IFLA_GSO_IPV4_MAX_SIZE", "uint32"),
    ("IFLA_GRO_IPV4_MAX_SIZE", "uint32"),
)
if len(ifinfbase.nla_map) == 62:
    # The class describes a link and, nested, the far end of a veth: both learn the attribute here.
    ifinfbase.nla_map = (*ifinfbase.nla_map, *_LATER_ATTRIBUTES)


@contextmanager
def doing(what: str, *, fix: str = "") -> Iterator[None]:
    """Turn a refusal of the kernel met inside into a HostError that says `what` failed."""
    try:
        yield
    except NetlinkError as error:
        message = str(error.args[1]) if len(error.args) > 1 else ""
        raise refused(what, int(error.code), message=message, fix=fix) from error
    except OSError as error:
        raise os_refused(what, error, fix=fix) from error


def check_name(name: str) -> None:
    """Raise HostError unless `name` can be an interface's."""
    good = 0 < len(name.encode()) <= MAX_NAME_BYTES and name not in (".", "..")
    if not good or any(c in "/:%" or c.isspace() or not c.isprintable() for c in name):
        raise HostError(
            f"{name!r} is no interface name",
            "it is empty, too long or holds a stray character",
            "use 1-15 letters",
        )


def check_alias(alias: str) -> None:
    """Raise HostError unless a link can bear the alias."""
    if len(alias) > MAX_ALIAS_BYTES or not alias.isascii() or not alias.isprintable():
        raise HostError(
            f"{alias[:40]!r} is no alias of a link", "it is too long or unprintable", "report this as a bug"
        )


def index_of(name: str) -> int:
    """Return the index of the link `name` in the calling thread's namespace; raises OSError (ENODEV)."""
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        # The C library reports a missing interface without saying which errno it met.
        raise OSError(error.errno or errno.ENODEV, f"no interface {name}") from error


def mac_text(mac: bytes) -> str:
    """Spell a unicast MAC of 6 bytes; raises HostError for anything else."""
    if len(mac) != MAC_BYTES or mac[0] & 1 or not any(mac):
        raise HostError(f"{mac.hex(':')} is no unicast MAC", "six bytes, the first even", "report this as a bug")
    return mac.hex(":")


def host_mac(name: str) -> bytes:
    """The MAC of a veth's host end: derived from its name, locally administered, never seen on the mesh."""
    digest = hashlib.blake2s(name.encode(), digest_size=MAC_BYTES).digest()
    return bytes(((digest[0] & 0xFC) | 0x02,)) + digest[1:]


class Rtnl:
    """An rtnetlink socket of the namespace of the thread that makes it; that thread alone may use it."""

    def __init__(self) -> None:
        """Open the socket; raises HostError."""
        self.notes: dict[str, None] = {}
        self._gso_ipv4: bool | None = None  # unknown until a link was read back
        # A loop of our own: pyroute2's sockets do not run on uvloop, which may be the policy's loop.
        self._loop = asyncio.SelectorEventLoop()
        try:
            with doing("cannot open a netlink socket"):
                self.ipr: Any = IPRoute(use_event_loop=self._loop, ext_ack=True)
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Rtnl:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket and its loop; closing twice is harmless."""
        if not self._loop.is_closed():
            self.ipr.close()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def note(self, *lines: str) -> None:
        """Keep each line once, as many as MAX_NOTES."""
        for line in lines:
            if len(self.notes) < MAX_NOTES:
                self.notes[line] = None

    def dump(self, request: str, *arguments: Any, **filters: Any) -> list[Any]:
        """Return a whole dump (`get_links`, `get_routes`, `get_addr`), asked again while it changes
        underneath.
        """
        for attempt in range(1, DUMP_ATTEMPTS + 1):
            try:
                return list(getattr(self.ipr, request)(*arguments, **filters))
            except NetlinkDumpInterrupted:
                if attempt == DUMP_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    # Links

    def ensure_bridge(self, name: str, mtu: int, mac: bytes) -> None:
        """Make or adopt the bridge: no STP, no forward delay, no snooping, default ageing; then set it up."""
        check_name(name)
        # Without snooping every multicast frame floods, which needs no querier in the mesh.
        stp = {"kind": "bridge", "br_stp_state": 0}
        rest = {"kind": "bridge", "br_forward_delay": 0, "br_mcast_snooping": 0, "address": mac_text(mac)}
        with doing(f"cannot make bridge {name}"):
            link = self._find(name)
            if link is None:
                self.ipr.link("add", ifname=name, **stp | rest)
            elif link.kind != "bridge":
                raise refused(f"cannot make bridge {name}", errno.EEXIST, message="it is another kind of interface")
            else:
                # One message would meet the delay first, and zero is out of range while STP still runs.
                self.ipr.link("set", index=link.index, **stp)
                self.ipr.link("set", index=link.index, **rest)
            self.note(*silence_ipv6(name))
            self.ipr.link("set", index=index_of(name), mtu=mtu, state="up")

    def configure_tap(self, name: str, *, mtu: int, mac: bytes, bridge: str, gso_max_size: int) -> None:
        """Give an open TAP its MAC, MTU, bridge and caps while it is down, then set it up."""
        address = mac_text(mac)
        with doing(f"cannot configure TAP {name}"):
            index = index_of(name)
            settings = {"index": index, "address": address, "mtu": mtu, "master": index_of(bridge)}
            self._with_gso("set", gso_max_size, settings)
            self.note(*silence_ipv6(name))
            self.ipr.link("set", index=index, state="up")
            self._read_back_gso(name, gso_max_size)

    def create_veth(
        self, host_name: str, peer_name: str, *, mtu: int, mac: bytes, bridge: str, gso_max_size: int, alias: str = ""
    ) -> None:
        """Make a veth whose host end is up on the bridge and whose other end, with `mac`, waits to be
        moved. The host's end bears `alias`, which a new link cannot have in the message that makes it.
        """
        check_name(host_name)
        check_name(peer_name)
        check_alias(alias)
        peer = {"ifname": peer_name, "address": mac_text(mac), "mtu": mtu}
        with doing(f"cannot make veth {host_name}"):
            settings = {
                "ifname": host_name,
                "kind": "veth",
                "address": mac_text(host_mac(host_name)),
                "mtu": mtu,
            }
            self._with_gso("add", gso_max_size, {**settings, "master": index_of(bridge)}, peer)
            try:
                self.note(*silence_ipv6(host_name))
                named = {"ifalias": alias} if alias else {}
                self.ipr.link("set", index=index_of(host_name), state="up", **named)
                self._read_back_gso(peer_name, gso_max_size)
            except BaseException:
                self.delete_link(host_name)
                raise

    def attach_to_bridge(self, name: str, bridge: str) -> None:
        """Make the link a port of the bridge."""
        with doing(f"cannot attach {name} to bridge {bridge}"):
            self.ipr.link("set", index=index_of(name), master=index_of(bridge))

    def set_gso_max(self, name: str, size: int) -> None:
        """Cap the super-frames handed to the link, in bytes."""
        with doing(f"cannot set gso_max_size of {name}"):
            self._with_gso("set", size, {"index": index_of(name)})
            self._read_back_gso(name, size)

    def set_up(self, name: str) -> None:
        """Set the link up."""
        with doing(f"cannot set {name} up"):
            self.ipr.link("set", index=index_of(name), state="up")

    def delete_link(self, name: str) -> None:
        """Delete the link; a missing one is no error."""
        try:
            with doing(f"cannot delete {name}"):
                self.ipr.link("del", index=index_of(name))
        except HostError as error:
            if error.errno != errno.ENODEV:
                raise

    def add_address(self, name: str, address: str) -> None:
        """Give the link "a.b.c.d/len"; one it has already is no error."""
        settings = _address(address)
        try:
            with doing(f"cannot add address {address} to {name}"):
                self.ipr.addr("add", index=index_of(name), **settings)
        except HostError as error:
            if error.errno != errno.EEXIST:
                raise

    def remove_address(self, name: str, address: str) -> None:
        """Take "a.b.c.d/len" from the link; neither a missing address nor a missing link is an error."""
        settings = _address(address)
        try:
            with doing(f"cannot remove address {address} from {name}"):
                self.ipr.addr("del", index=index_of(name), **settings)
        except HostError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                raise

    def list_links(self, prefixes: Sequence[str] = OWN_PREFIXES) -> list[Link]:
        """Our own links, sorted by name."""
        with doing("cannot list the host's links"):
            links = self.dump("get_links")
        names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in links}
        ours = [_read_link(link, names) for link in links if is_own_name(names[link["index"]], prefixes)]
        return sorted(ours, key=lambda link: link.name)

    def mtu_of(self, index: int) -> int:
        """The MTU of the link `index`, in bytes; raises NetlinkError."""
        return int(self.ipr.link("get", index=index)[0].get_attr("IFLA_MTU"))

    def _find(self, name: str) -> Link | None:
        try:
            index = index_of(name)
        except OSError:
            return None
        return _read_link(self.ipr.link("get", index=index)[0], {index: name})

    def _with_gso(self, verb: str, size: int, settings: dict[str, Any], peer: dict[str, Any] | None = None) -> None:
        """Send one link message with both caps, or with the older one alone where the newer is refused."""
        if self._gso_ipv4 is not False:
            try:
                self._send(verb, {"gso_max_size": size, "gso_ipv4_max_size": size}, settings, peer)
                return
            except NetlinkError as error:
                if self._gso_ipv4 or error.code not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
        self._send(verb, {"gso_max_size": size}, settings, peer)
        self._gso_ipv4 = False
        self.note(GSO_IPV4_NOTE)

    def _send(self, verb: str, caps: dict[str, int], settings: dict[str, Any], peer: dict[str, Any] | None) -> None:
        extra = {} if peer is None else {"peer": {**peer, **caps}}
        self.ipr.link(verb, **settings, **caps, **extra)

    def _read_back_gso(self, name: str, size: int) -> None:
        """A kernel that does not know an attribute ignores it: look once whether the newer cap was kept."""
        if self._gso_ipv4 is not None:
            return
        link = self.ipr.link("get", index=index_of(name))[0]
        if link.get_attr("IFLA_GSO_MAX_SIZE") != size:
            self.note("no gso_max_size: super-frames above 64,000 bytes will be cut to single packets")
        self._gso_ipv4 = link.get_attr("IFLA_GSO_IPV4_MAX_SIZE") == size
        if not self._gso_ipv4:
            self.note(GSO_IPV4_NOTE)


def _address(text: str) -> dict[str, Any]:
    """The settings of an address message for "a.b.c.d/len"; raises HostError."""
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError as error:
        raise HostError(f"{text!r} is no address", str(error), "report this as a bug") from error
    return {
        "address": str(interface.ip),
        "prefixlen": interface.network.prefixlen,
        "family": socket.AF_INET6 if interface.version == 6 else socket.AF_INET,
    }


def _read_link(link: Any, names: dict[int, str]) -> Link:
    info = link.get_attr("IFLA_LINKINFO")
    master = link.get_attr("IFLA_MASTER")
    address = link.get_attr("IFLA_ADDRESS") or ""
    return Link(
        name=str(link.get_attr("IFLA_IFNAME")),
        index=int(link["index"]),
        mac=bytes.fromhex(address.replace(":", "")),
        # A bridge made between two messages of the dump has no name yet: its index is better than nothing.
        master=None if not master else names.get(master, f"if{master}"),
        kind=str((info.get_attr("IFLA_INFO_KIND") if info is not None else None) or ""),
        up=bool(link["flags"] & IFF_UP),
        mtu=int(link.get_attr("IFLA_MTU") or 0),
        alias=str(link.get_attr("IFLA_IFALIAS") or ""),
    )
