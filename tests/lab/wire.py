"""The underlay: a switch in a namespace of its own, and the three kinds of wire between it and the hosts.

Rule: every figure names its wire.
  offload  packets cross as the sender's stack made them, 64 KB super-packets included: it flatters whoever
  uses GSO. plain    all offloads off at every end: each datagram is a real packet, and the receiver has no
  GRO either. nic      hosts send single packets (no tso, gso, udp segmentation), the switch's ends have
  everything off and the
           hosts receive with GRO on: what a real network card does, the fairest of the three.
Loss acts per packet in the switch alone and never at a receiver, where GRO would have made trains of the
packets; so it needs the plain or the nic wire. It is checked by its own counters.

Reference: ethtool(8) -K, nft(8) family bridge, `numgen random`.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

from tests.lab.errors import LabError
from tests.lab.namespace import Namespace

BRIDGE = "br0"
LOSS_SCALE = 1_000_000
LONGEST_LINK_NAME = 15
EVERYTHING_OFF = "tso off gso off gro off tx-udp-segmentation off"
EGRESS_OFF = "tso off gso off tx-udp-segmentation off gro on"


class Wire(enum.Enum):
    """What the links between hosts and switch do with large packets."""

    OFFLOAD = "offload"
    PLAIN = "plain"
    NIC = "nic"

    def __str__(self) -> str:
        return self.value

    @property
    def host_end(self) -> str:
        """Arguments of `ethtool -K` for a host's interface; empty: leave it as created."""
        return {"offload": "", "plain": EVERYTHING_OFF, "nic": EGRESS_OFF}[self.value]

    @property
    def switch_end(self) -> str:
        """Arguments of `ethtool -K` for the switch's port."""
        return "" if self is Wire.OFFLOAD else EVERYTHING_OFF


@dataclass(frozen=True)
class LossCount:
    """What the loss rule has seen and dropped since `Switch.lose`."""

    seen: int
    dropped: int


class Switch:
    """The underlay's bridge. `ports` maps (host, interface) to the name of the switch's end."""

    def __init__(self, namespace: Namespace, wire: Wire) -> None:
        self.namespace = namespace
        self.wire = wire
        self.ports: dict[tuple[str, str], str] = {}
        # Neither multicast snooping nor learning delays: neighbour discovery must work with the first packet.
        namespace.ip(
            f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link set {BRIDGE} up",
        )

    def connect(self, host: Namespace, ifname: str = "eth0", mtu: int = 1500) -> None:
        """Give `host` an interface on the underlay; both ends have `mtu`, so that larger packets are lost
        here."""
        port = f"{host.name}.{ifname}"
        if len(port) > LONGEST_LINK_NAME:
            raise LabError(f"{port}: a link's name has at most {LONGEST_LINK_NAME} characters")
        self.namespace.ip(
            f"link add {port} mtu {mtu} type veth peer name {ifname} mtu {mtu} netns {host.full_name}",
            f"link set {port} master {BRIDGE} up",
        )
        host.ip(f"link set {ifname} up")
        for namespace, link, features in (
            (host, ifname, self.wire.host_end),
            (self.namespace, port, self.wire.switch_end),
        ):
            if features:
                namespace.run(["ethtool", "-K", link, *features.split()])
        self.ports[host.name, ifname] = port

    def unplug(self, host: Namespace, ifname: str = "eth0") -> None:
        """Take the cable out: the host's interface loses its carrier."""
        self.namespace.ip(f"link set {self.ports[host.name, ifname]} down")

    def plug(self, host: Namespace, ifname: str = "eth0") -> None:
        """Put the cable back."""
        self.namespace.ip(f"link set {self.ports[host.name, ifname]} up")

    def lose(self, fraction: float) -> None:
        """Drop each forwarded packet with probability `fraction` (0 ends it); the counters begin anew."""
        if self.wire is Wire.OFFLOAD:
            raise LabError("loss on the offload wire would drop whole trains and measure nothing; use plain or nic")
        if not 0 <= fraction < 1:
            raise LabError(f"a loss of {fraction} is not a probability below 1")
        rules = "add table bridge loss\ndelete table bridge loss\n"
        if fraction:
            limit = round(fraction * LOSS_SCALE)
            rules += (
                "table bridge loss {\ncounter seen {}\ncounter dropped {}\nchain forward {\n"
                "type filter hook forward priority 0; policy accept;\n"
                'counter name "seen"\n'
                f'numgen random mod {LOSS_SCALE} < {limit} counter name "dropped" drop\n'
                "}\n}\n"
            )
        self.namespace.run(["nft", "-f", "-"], input=rules)

    def lost(self) -> LossCount:
        """The loss rule's counters."""
        listed = json.loads(self.namespace.run(["nft", "-j", "list", "counters", "table", "bridge", "loss"]).stdout)
        counts = {
            item["counter"]["name"]: int(item["counter"]["packets"]) for item in listed["nftables"] if "counter" in item
        }
        return LossCount(counts["seen"], counts["dropped"])
