"""What a namespace's kernel has received, by its own counters."""

from __future__ import annotations

from tests.lab.errors import LabError
from tests.lab.namespace import Namespace


def snmp(text: str, group: str, name: str) -> int:
    """One counter in the text of /proc/net/snmp; `LabError` when there is none of this name."""
    rows = [line.split() for line in text.splitlines() if line.startswith(f"{group}:")]
    if len(rows) != 2 or name not in rows[0]:
        raise LabError(f"no counter {group} {name}")
    return int(rows[1][rows[0].index(name)])


def ipv4_received(namespace: Namespace) -> int:
    """IPv4 packets of any kind that came in, those over `lo` included."""
    return snmp(namespace.run(["cat", "/proc/net/snmp"]).stdout, "Ip", "InReceives")


def echoes_received(namespace: Namespace) -> int:
    """ICMP echo requests that came in."""
    return snmp(namespace.run(["cat", "/proc/net/snmp"]).stdout, "Icmp", "InEchos")
