"""Addresses and pools as integers.

Purpose: the ring and the allocator compute with half-open integer ranges; text exists only at the edges.
Rule: an IPv4 address is its 32-bit integer, an IPv6 address its 128-bit integer, which is at least 2^32: no pool lies
inside ::/96, so an integer alone tells its family.
Flow: `network_of("10.32.0.0/12")` -> Pool(start, end, length); `show(value)` -> text.
Reference: RFC 4291 §2.6.1 (subnet-router anycast), RFC 6164 (/127), RFC 3021 (/31).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

FIRST_V6 = 2**32
MAX_ADDRESS = 2**128 - 1
_GATEWAY_FROM = 8  # addresses: a v4 pool of /29 or larger


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool: addresses start <= a < end, of prefix length `length`."""

    start: int
    end: int
    length: int

    @property
    def v6(self) -> bool:
        """Whether the pool is an IPv6 one."""
        return self.start >= FIRST_V6

    def reserved(self, address: int) -> bool:
        """Whether the address is never leased: the network's own, v4's broadcast; none in pools of one or two.

        In v4 pools of eight and more also the first usable one: the gateway of Docker networks, the same on all hosts.
        """
        size = self.end - self.start
        if size <= 2:
            return False
        if address == self.start or self.v6:
            return address == self.start
        return address == self.end - 1 or (address == self.start + 1 and size >= _GATEWAY_FROM)

    def usable(self, start: int, end: int) -> int:
        """How many addresses of start <= a < end (within the pool) may be leased."""
        count = end - start
        for edge in dict.fromkeys((self.start, self.start + 1, self.end - 1)):
            if start <= edge < end and self.reserved(edge):
                count -= 1
        return count


def network_of(cidr: str) -> Pool:
    """The pool that a CIDR text names; raises ValueError for host bits, no length, ::/96 and what holds it."""
    network = ip_network(cidr)
    if "/" not in cidr:
        raise ValueError(f"{cidr} has no prefix length")
    start = int(network.network_address)
    if network.version == 6 and start < FIRST_V6:
        raise ValueError(f"{cidr} holds addresses of ::/96, which belong to IPv4")
    return Pool(start, start + network.num_addresses, network.prefixlen)


def address_of(text: str) -> int:
    """The integer of an address without length; raises ValueError."""
    address = ip_address(text)
    value = int(address)
    if address.version == 6 and (value < FIRST_V6 or "%" in text):
        raise ValueError(f"{text} is not an address a pool can hold")
    return value


def parse_interface(text: str) -> tuple[int, int]:
    """(address, prefix length) of "a.b.c.d/len"; raises ValueError."""
    if "/" not in text:
        raise ValueError(f"{text} has no prefix length")
    interface = ip_interface(text)
    return address_of(str(interface.ip)), interface.network.prefixlen


def show(address: int) -> str:
    """The text of an address."""
    return str(IPv6Address(address) if address >= FIRST_V6 else IPv4Address(address))


def aligned_block(start: int, end: int, most: int) -> tuple[int, int]:
    """The largest block of start <= a < end that is a power of two, aligned to its size and no larger than `most`.

    Among equals the highest. start < end and most >= 1; the answer is never empty.
    """
    size = 1 << (min(most, end - start).bit_length() - 1)
    while True:
        high = end // size * size
        if high - size >= start:
            return high - size, high
        size >>= 1


def block_around(address: int, start: int, end: int, most: int) -> tuple[int, int]:
    """The largest aligned power of two around the address that lies in start <= a < end, at most `most` (>= 1)."""
    size = 1 << (most.bit_length() - 1)
    while True:
        low = address // size * size
        if start <= low and low + size <= end:
            return low, low + size
        size >>= 1
