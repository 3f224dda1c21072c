"""What a peer of the bench must offer, and the plumbing all peers share.

Rule: every peer is measured the same way, between workloads behind a bridge: workload namespace – veth –
bridge – the peer's device. All peers of a run are up at once, each with its own workloads, so that runs can
be interleaved; a peer that nobody uses costs nothing. What a peer needs to be fast (the MTU, a cap on GSO) is
its adapter's choice and stands in `settings`, which the report prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.lab.hosts import Host, Workload
from tests.lab.poll import poll

READY_DEADLINE_S = 20.0
ETHERNET_MTU = 1500


class Peer(Protocol):
    """One way to connect workloads of several hosts."""

    name: str
    settings: Mapping[str, object]

    def up(self, hosts: Sequence[Host]) -> list[Workload]:
        """Connect one new workload per host; each has its `address` and can reach the others when this
        returns."""
        ...

    def down(self) -> None:
        """End what `up` started. The lab removes the devices."""
        ...


def bridge(host: Host, name: str, *ports: str, mtu: int = ETHERNET_MTU) -> None:
    """Make a bridge on `host` with these links as its ports."""
    host.ip(
        f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        *(f"link set {port} master {name} up" for port in ports),
        f"link set {name} mtu {mtu} up",
    )


def plug(host: Host, workload: Workload, into: str, address: str, *, mtu: int, gso_max: int | None = None) -> None:
    """Give `workload` an eth0 whose other end is a port of the bridge `into`. `address` is with its prefix
    length."""
    cap = f" gso_max_size {gso_max}" if gso_max is not None else ""
    port = f"v{into}"
    host.ip(
        f"link add {port} mtu {mtu} type veth peer name eth0 mtu {mtu}{cap} netns {workload.full_name}",
        f"link set {port} master {into} up",
    )
    workload.ip(f"address add {address} dev eth0", "link set eth0 up")
    workload.address = address.partition("/")[0]


def await_answers(workloads: Sequence[Workload]) -> None:
    """Wait until the first workload reaches every other one."""
    first = workloads[0]
    for other in workloads[1:]:

        def answered(address: str = other.address) -> bool:
            return first.answers(address)

        poll(answered, READY_DEADLINE_S, f"ping {first.name} → {other.name}")
