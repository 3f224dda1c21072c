"""What the bodies of all kinds of statements share: the types of their fields, with bounds, and the base class.

Purpose: one bound for one kind of field, wherever it occurs.
Rule: a body is a msgpack array in the order of its fields; a later version may append fields, which are ignored here.
Flow: `gossip.state.bodies` and `gossip.state.address_bodies` build their schemas of these.
Reference: design §5; docs/wire.md.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from gossip import limits

Identity = Annotated[bytes, msgspec.Meta(min_length=limits.IDENTITY_B, max_length=limits.IDENTITY_B)]
Name = Annotated[str, msgspec.Meta(max_length=limits.MAX_NAME_CHARS)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=limits.U32_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Mac = Annotated[bytes, msgspec.Meta(min_length=6, max_length=6)]
Nonce = Annotated[bytes, msgspec.Meta(min_length=limits.NONCE_B, max_length=limits.NONCE_B)]
Hash16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
AddressText = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_ADDRESS_CHARS)]
Text = Annotated[str, msgspec.Meta(max_length=limits.MAX_VERSION_CHARS)]
Certificate = Annotated[bytes, msgspec.Meta(min_length=1, max_length=limits.MAX_CERTIFICATE_B)]
Chain = Annotated[list[Certificate], msgspec.Meta(min_length=1, max_length=limits.MAX_CHAIN)]
Addresses = Annotated[list[AddressText], msgspec.Meta(max_length=limits.MAX_ADDRESSES)]
Boot = Annotated[bytes, msgspec.Meta(min_length=limits.BOOT_B, max_length=limits.BOOT_B)]
Peers = Annotated[list[Identity], msgspec.Meta(max_length=limits.MAX_LINKS)]
Costs = Annotated[
    list[Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_COST)]], msgspec.Meta(max_length=limits.MAX_LINKS)
]
Pools = Annotated[list[AddressText], msgspec.Meta(min_length=1, max_length=limits.MAX_POOLS)]
Held = Annotated[list[tuple[AddressText, Count]], msgspec.Meta(max_length=limits.MAX_ENDPOINT_ADDRESSES)]
Tags = Annotated[
    list[Annotated[bytes, msgspec.Meta(min_length=limits.TAG_B, max_length=limits.TAG_B)]],
    msgspec.Meta(max_length=limits.MAX_SECRETS),
]
Reason = Annotated[str, msgspec.Meta(max_length=limits.MAX_REASON_CHARS)]
Commitment = Annotated[bytes, msgspec.Meta(min_length=limits.COMMITMENT_B, max_length=limits.COMMITMENT_B)]
Mtu = Annotated[int, msgspec.Meta(ge=limits.MIN_MTU, le=limits.MAX_MTU)]

PRINTABLE = re.compile(r"[\x20-\x7e]*\Z")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")


class Body(msgspec.Struct, frozen=True, array_like=True):
    """What all bodies share: an array on the wire, and a check beyond the schema."""

    def check(self) -> None:
        """Raise ValueError if the value means nothing although its shape is right."""


def least_bytes(value: int) -> bytes:
    """The integer, big endian, in as few bytes as it needs; none for 0."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
