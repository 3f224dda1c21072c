"""What the host routes, which addresses it has, and what the kernel knows of a path's MTU.

Purpose: the overlap check of a mesh's pool, the addresses a peer advertises, the first path MTU of a session.
Rule: read only. Our own links are left out of addresses, and default, link-local and multicast routes out of
routes: none of them says where another network is.
Reference: rtnetlink(7), linux/rtnetlink.h; design §4.5, §6, §9.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from meshnet.host.errors import HostError
from meshnet.host.ports import is_own_name
from meshnet.host.rtnl import Rtnl, doing

RT_TABLE_LOCAL = 255
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE = 0
# What is not ours to advertise: temporary (v6; secondary in v4 has the same bit), failed, deprecated,
# tentative.
IFA_F_TEMPORARY, IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x01, 0x08, 0x20, 0x40
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def routes(rtnl: Rtnl) -> list[tuple[str, str]]:
    """Every (CIDR, device) in any table but the local one, sorted; raises HostError."""
    found: set[tuple[str, str]] = set()
    with doing("cannot read the host's routes"):
        for family in _FAMILIES:
            for route in rtnl.dump("get_routes", family=family):
                found.update(_of_route(route))
    return sorted(found)


def _of_route(route: Any) -> list[tuple[str, str]]:
    destination = route.get_attr("RTA_DST")
    table = route.get_attr("RTA_TABLE") or route["table"]
    if destination is None or table == RT_TABLE_LOCAL or route["type"] != RTN_UNICAST:
        return []
    network = ipaddress.ip_network(f"{destination}/{route['dst_len']}")
    if network.is_multicast or network.is_link_local or network.prefixlen == 0:
        return []
    hops = [int(hop["oif"]) for hop in route.get_attr("RTA_MULTIPATH") or []]
    single = route.get_attr("RTA_OIF")
    indexes = hops if single is None else [int(single)]
    return [(str(network), _device(index)) for index in indexes] or [(str(network), "")]


def addresses(rtnl: Rtnl) -> list[str]:
    """Global addresses of links that are not ours: those of a default route's device first.

    A bridge without a default route is most often another container network's, with the same address on every host:
    its addresses count only where there are no others.
    """
    with doing("cannot read the host's addresses"):
        default = {
            route.get_attr("RTA_OIF")
            for family in _FAMILIES
            for route in rtnl.dump("get_routes", family=family)
            if route["dst_len"] == 0 and route["type"] == RTN_UNICAST
        }
        links = {link["index"]: link for link in rtnl.dump("get_links")}
        found = rtnl.dump("get_addr")
    ranked: list[tuple[int, int, int, str]] = []
    for entry in found:
        index = int(entry["index"])
        link = links.get(index)
        text = entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")
        if link is None or is_own_name(str(link.get_attr("IFLA_IFNAME"))) or not _is_lasting(entry):
            continue
        address = ipaddress.ip_address(text)
        if address.is_loopback or address.is_link_local:
            continue
        rank = 0 if index in default else 2 if _kind(link) == "bridge" else 1
        ranked.append((rank, address.version, index, str(address)))
    best = [entry for entry in ranked if entry[0] < 2] or ranked
    return list(dict.fromkeys(text for *_, text in sorted(best)))


def _is_lasting(entry: Any) -> bool:
    if entry["scope"] != RT_SCOPE_UNIVERSE:
        return False
    flags = entry.get_attr("IFA_FLAGS") or entry["flags"]
    unfit = IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE
    return not flags & (unfit | IFA_F_TEMPORARY if entry["family"] == socket.AF_INET6 else unfit)


def _kind(link: Any) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return str((info.get_attr("IFLA_INFO_KIND") if info is not None else None) or "")


def route_mtu(rtnl: Rtnl, address: str) -> int:
    """The MTU of the way to `address` in bytes: a route's `mtu`, a learned path MTU, else the device's MTU.

    Raises HostError when `address` is no literal or nothing leads there.
    """
    what = f"cannot tell the MTU of the way to {address}"
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    except ValueError as error:
        raise HostError(what, str(error), "give a literal IP address") from error
    with doing(what):
        route = next(iter(rtnl.ipr.route("get", dst=address, family=family)))
        metrics = route.get_attr("RTA_METRICS")
        known = metrics.get_attr("RTAX_MTU") if metrics is not None else None
        device = rtnl.mtu_of(route.get_attr("RTA_OIF"))
    # A route may promise more than its device carries.
    return min(int(known), device) if known else device


def _device(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""  # gone since the dump
