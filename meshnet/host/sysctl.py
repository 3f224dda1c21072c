"""Keep the host's own IPv6 off the interfaces that only carry the mesh's frames.

Purpose: a bridge, a TAP or the host's end of a veth must not take router advertisements from a mesh, nor
announce the host on it.
Rule: soft. A host without IPv6 needs nothing; where /proc/sys is read-only a note says what stays on.
Reference: Documentation/networking/ip-sysctl.rst; design §8.
"""

from __future__ import annotations

from meshnet.host.errors import os_reason

CONF_DIR = "/proc/sys/net/ipv6/conf"


def silence_ipv6(link: str) -> list[str]:
    """Take IPv6 off a link of the host itself; returns notes on what could not be set."""
    return _write(link, "accept_ra", "0") + _write(link, "disable_ipv6", "1")


def refuse_router_advertisements(link: str) -> list[str]:
    """Let a workload's link have IPv6, but no address or route by a stranger's advertisement; returns
    notes.
    """
    return _write(link, "accept_ra", "0")


def _write(link: str, key: str, value: str) -> list[str]:
    try:
        with open(f"{CONF_DIR}/{link}/{key}", "w", encoding="ascii") as file:
            file.write(value)
    except FileNotFoundError:
        return []  # the kernel runs without IPv6: there is nothing to switch off
    except OSError as error:
        # One note a host: the links come and go, the reason stays.
        return [f"sysctl {key}={value} cannot be set on mesh interfaces: {os_reason(error)}"]
    return []
