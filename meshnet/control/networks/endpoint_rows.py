"""What is kept of an endpoint, and the names that follow from its id.

Rule: the id decides everything a crash may leave behind: the row's key, both ends of the veth, the core's key of each
lease.  A row with addresses and no leases is *unclaimed*: this host uses them, and the mesh does not know.
Reference: design §8 (names of devices).
"""

from typing import Final

import msgspec

__all__ = ["SPACE", "Record", "host_link", "is_unclaimed", "lease_ids", "peer_link"]

SPACE: Final = "endpoint"


class Record(msgspec.Struct, array_like=True):
    """An endpoint as it is stored; the key of its row is its id."""

    number: int
    mac: bytes
    addresses: list[str]
    leases: list[int]
    target: str
    netns: str
    ifname: str
    confirmed: bool


def host_link(endpoint: bytes) -> str:
    """The end of the veth that stays on the bridge."""
    return f"mv{endpoint.hex()}"


def peer_link(endpoint: bytes) -> str:
    """The workload's end, until it is moved and renamed."""
    return f"mp{endpoint.hex()}"


def is_unclaimed(record: Record) -> bool:
    """Whether it uses an address without a lease."""
    return len(record.leases) < len(record.addresses)


def lease_ids(endpoint: bytes, record: Record) -> list[bytes]:
    """The core's key of each address: the id, then the id with a counter, as one key has one lease."""
    return [endpoint, *(endpoint + bytes((number,)) for number in range(1, len(record.addresses)))]
