"""What both ends of a handshake must agree on before its first byte.

Purpose: the prologue enters the handshake hash, so a handshake made for another mesh, channel, cipher or
epoch of the mesh secret, or over changed hellos, fails at its first tag instead of being negotiated.
Reference: the Noise specification §6; design §3.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from crypto.errors import KeyFormatError
from crypto.primitives import Suite

MESH_SIZE: Final = 16
EPOCH_MAX: Final = 255

_PROTOCOL: Final = b"meshnet/1"


class Channel(IntEnum):
    """What a handshake is for; keeps a message of one use from being taken for another's."""

    UDP = 1
    LINK = 2
    JOIN = 3
    PASSWORD = 4


def prologue(channel: Channel, mesh: bytes, suite: Suite, epoch: int, hellos: bytes = b"") -> bytes:
    """The prologue: protocol name, channel u8, mesh 16 bytes, suite u8, epoch u8, both hellos as sent.

    Raises ``KeyFormatError`` when the mesh id or the epoch has no place in it.
    """
    if len(mesh) != MESH_SIZE:
        raise KeyFormatError(f"mesh id: {MESH_SIZE} bytes are needed")
    if not 0 <= epoch <= EPOCH_MAX:
        raise KeyFormatError(f"epoch: 0 to {EPOCH_MAX} is possible")
    return b"".join((_PROTOCOL, bytes((channel,)), mesh, bytes((suite.number, epoch)), hellos))
