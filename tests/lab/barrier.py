"""Walls in the underlay's switch: what is between two hosts, or goes from one to the other, is dropped.

Rule: the walls stand in the switch alone and stop IPv4 and IPv6; ARP and neighbour discovery pass, as they would at a
firewall. A new set of walls replaces the old one; `lift` takes all away.

Flow: `wall = Barrier(lab.switch)`, `wall.between([h1], [h2, h3])`, `one_way(…)` or `one_begins(…)`, `wall.lift()`.

Reference: nft(8) family bridge.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.lab.hosts import Host
from tests.lab.wire import Switch

INITIATION = "@th,64,8 1"  # the first byte behind the UDP header, docs/wire.md


class Barrier:
    """The walls of one lab."""

    def __init__(self, switch: Switch) -> None:
        self._namespace = switch.namespace

    def between(self, here: Sequence[Host], there: Sequence[Host]) -> None:
        """Nothing passes from a host of `here` to one of `there`, nor back."""
        pairs = [(one, other) for one in here for other in there]
        self._put([rule for one, other in pairs for rule in (*_rules(one, other), *_rules(other, one))])

    def one_way(self, source: Host, target: Host, *, udp: int) -> None:
        """No UDP datagram to port `udp` passes from `source` to `target`."""
        self._put([f"{rule} udp dport {udp}" for rule in _rules(source, target)])

    def one_begins(self, source: Host, target: Host, *, udp: int) -> None:
        """No handshake initiation passes from `target` to `source`, so that every session is begun by `source`."""
        self._put([f"{rule} udp dport {udp} {INITIATION}" for rule in _rules(target, source)])

    def lift(self) -> None:
        """Take the walls away."""
        self._namespace.run(["nft", "-f", "-"], input="add table bridge walls\ndelete table bridge walls\n")

    def _put(self, rules: Sequence[str]) -> None:
        body = "".join(f"{rule} drop\n" for rule in rules)
        self._namespace.run(
            ["nft", "-f", "-"],
            input="add table bridge walls\ndelete table bridge walls\ntable bridge walls {\nchain forward {\n"
            f"type filter hook forward priority 0; policy accept;\n{body}}}\n}}\n",
        )


def _rules(source: Host, target: Host) -> list[str]:
    families = (("ip", source.ipv4, target.ipv4), ("ip6", source.ipv6, target.ipv6))
    return [f"{family} saddr {one} {family} daddr {other}" for family, one, other in families if one and other]
