"""Move a workload's end of a veth into its namespace and configure it there, without asyncio.

Purpose: the privileged half of `meshnet attach`, which the command line runs itself: meshnetd never enters
another namespace.
Rule: all or nothing. If any step in the target fails, the link goes back where it came from under its old
name, and the error says what failed. Nothing that exists in the target is replaced.
Flow: move_link -> configure (in a short-lived thread inside the target) -> names, MTU, up -> addresses ->
routes.
Reference: rtnetlink(7), network_namespaces(7); design §2, §8.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence

from meshnet.host.errors import HostError, refused
from meshnet.host.namespace import current_namespace, open_namespace, run_in
from meshnet.host.rtnl import Rtnl, check_name, doing, index_of
from meshnet.host.sysctl import refuse_router_advertisements

IFA_F_NODAD = 0x02
RT_SCOPE_LINK = 253


def move_link(name: str, namespace: str | int) -> None:
    """Move the link `name` of this thread's namespace into another (a path or descriptor); raises
    HostError.
    """
    fd = open_namespace(namespace) if isinstance(namespace, str) else namespace
    try:
        with Rtnl() as rtnl:
            fix = f"see whether the target already has an interface {name}"
            with doing(f"cannot move {name} into the target namespace", fix=fix):
                rtnl.ipr.link("set", index=index_of(name), net_ns_fd=fd)
    finally:
        if isinstance(namespace, str):
            os.close(fd)


def configure(
    namespace: str | int,
    link: str,
    new_name: str,
    addresses: Sequence[str],
    routes: Sequence[str],
    mtu: int,
) -> list[str]:
    """Configure the moved `link`: name it `new_name`, set MTU (bytes), addresses ("a.b.c.d/len") and routes
    (CIDR).

    Returns notes on what was left as it is. On HostError the link is back in this thread's namespace as
    `link`, down.
    """
    check_name(new_name)
    interfaces = [_interface(text) for text in addresses]
    destinations = [_destination(text) for text in routes]
    home = current_namespace()

    def inside() -> list[str]:
        with Rtnl() as rtnl:
            with doing(f"cannot find {link} in the target namespace"):
                # The index outlives the renaming, so what is taken back is surely what was brought.
                index = index_of(link)
            try:
                _rename(rtnl, index, link, new_name, mtu)
                _add_addresses(rtnl, index, new_name, interfaces)
                _add_routes(rtnl, index, new_name, destinations)
            except HostError as error:
                raise _restored(rtnl, index, link, home, error) from error
            return list(rtnl.notes)

    try:
        return run_in(namespace, inside)
    finally:
        os.close(home)


def restore_link(namespace: str | int, name: str, original: str) -> None:
    """Undo an attachment: take the link `name` out of `namespace` into this thread's, named `original` and
    down.
    """
    check_name(original)
    home = current_namespace()

    def inside() -> None:
        with Rtnl() as rtnl:
            with doing(f"cannot find {name} in the target namespace"):
                index = index_of(name)
            _send_home(rtnl, index, original, home)

    try:
        run_in(namespace, inside)
    finally:
        os.close(home)


Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _interface(text: str) -> Interface:
    try:
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise HostError(f"cannot add address {text!r}", str(error), "report this as a bug") from error


def _destination(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise HostError(f"cannot add route {text!r}", str(error), "report this as a bug") from error


def _rename(rtnl: Rtnl, index: int, link: str, new_name: str, mtu: int) -> None:
    what = f"cannot name the interface {new_name} in the target namespace"
    rtnl.note(*refuse_router_advertisements(link))
    if link != new_name and _exists(new_name):
        message = f"the target already has an interface {new_name}"
        fix = "choose another name with --ifname, or remove that interface"
        raise refused(what, errno.EEXIST, message=message, fix=fix)
    with doing(what):
        rtnl.ipr.link("set", index=index, ifname=new_name, mtu=mtu, state="up")


def _add_addresses(rtnl: Rtnl, index: int, name: str, interfaces: Sequence[Interface]) -> None:
    for interface in interfaces:
        settings: dict[str, object] = {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}
        if interface.version == 6:
            # The mesh hands out each address once: detection would only delay its use.
            settings |= {"family": socket.AF_INET6, "flags": IFA_F_NODAD}
        else:
            settings |= {"family": socket.AF_INET}
            if interface.network.prefixlen < 31:
                settings |= {"broadcast": str(interface.network.broadcast_address)}
        with doing(f"cannot add address {interface} to {name} in the target namespace"):
            rtnl.ipr.addr("add", index=index, **settings)


def _add_routes(rtnl: Rtnl, index: int, name: str, destinations: Sequence[Network]) -> None:
    for network in destinations:
        family = socket.AF_INET6 if network.version == 6 else socket.AF_INET
        try:
            with doing(f"cannot add route {network} to {name} in the target namespace"):
                rtnl.ipr.route("add", dst=str(network), oif=index, scope=RT_SCOPE_LINK, family=family)
        except HostError as error:
            if error.errno != errno.EEXIST:
                raise
            # Two attachments want one multicast route; the first keeps it, and neither is broken.
            rtnl.note(f"route {network} stays with the interface that has it in the target namespace")


def _exists(name: str) -> bool:
    try:
        index_of(name)
    except OSError:
        return False
    return True


def _restored(rtnl: Rtnl, index: int, original: str, home: int, error: HostError) -> HostError:
    """Bring the link home and return the error to raise: the first one, with more to do if that failed
    too.
    """
    try:
        _send_home(rtnl, index, original, home)
    except HostError as second:
        if second.errno == errno.ENODEV:
            return error  # its other end was deleted meanwhile: nothing is left to bring back
        fix = f"{error.fix}; the link could not be brought back: {second.why}: run `meshnet detach`"
        return HostError(error.what, error.why, fix, code=error.errno)
    return error


def _send_home(rtnl: Rtnl, index: int, original: str, home: int) -> None:
    with doing(f"cannot bring {original} back from the target namespace"):
        rtnl.ipr.link("set", index=index, state="down")
        rtnl.ipr.link("set", index=index, ifname=original)
        rtnl.ipr.link("set", index=index, net_ns_fd=home)
