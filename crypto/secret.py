"""The mesh secret and what is derived from it.

Purpose: the secret is a second factor next to the peers' own keys. Each use has its own key, derived by HKDF
under its own label, so that no two protocols share one.
Rule: nothing uses ``key`` directly, and ``repr`` does not show it.
Reference: design §3; the Noise specification §14 (a psk has one use and 256 bits of entropy).
"""

from __future__ import annotations

from typing import Final

from crypto.errors import KeyFormatError, LocalError
from crypto.primitives import KEY_SIZE, blake2s, equal, hkdf
from crypto.prologue import EPOCH_MAX, MESH_SIZE, Channel

SEED_SIZE: Final = 16

_PSK_LABELS: Final = {Channel.UDP: b"meshnet/1 psk udp", Channel.LINK: b"meshnet/1 psk link"}
_MAC1_LABEL: Final = b"meshnet/1 mac1"
_MESH_ID_KEY: Final = b"meshnet/1 mesh id"


class MeshSecret:
    """The 32-byte secret of a mesh and its epoch (0 to 255): how often it was replaced, modulo 256."""

    __slots__ = ("epoch", "key")

    def __init__(self, epoch: int, key: bytes) -> None:
        """Raises ``KeyFormatError`` for an epoch out of range or a key of another length."""
        if not 0 <= epoch <= EPOCH_MAX:
            raise KeyFormatError(f"epoch: 0 to {EPOCH_MAX} is possible")
        if not isinstance(key, bytes) or len(key) != KEY_SIZE:
            raise KeyFormatError(f"mesh secret: {KEY_SIZE} bytes are needed")
        self.epoch = epoch
        self.key = key

    def psk(self, channel: Channel) -> bytes:
        """The 32-byte psk of ``channel``. Raises ``LocalError`` for JOIN, whose psk comes from a token."""
        label = _PSK_LABELS.get(channel)
        if label is None:
            raise LocalError("the key for joining comes from a token, not from the mesh secret")
        return hkdf(self.key, label)

    def mac1_subkey(self) -> bytes:
        """The 32-byte key from which every peer's mac1 key is made."""
        return hkdf(self.key, _MAC1_LABEL)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeshSecret) and self.epoch == other.epoch and equal(self.key, other.key)

    def __hash__(self) -> int:
        return hash((MeshSecret, self.epoch))

    def __repr__(self) -> str:
        return f"MeshSecret(epoch={self.epoch})"


def mesh_id(founder_identity: bytes, seed: bytes) -> bytes:
    """The 16-byte id of the mesh that ``founder_identity`` founded with a 16-byte random ``seed``.

    Raises ``KeyFormatError`` for other lengths.
    """
    if len(founder_identity) != KEY_SIZE or len(seed) != SEED_SIZE:
        raise KeyFormatError(f"mesh id: an identity of {KEY_SIZE} and a seed of {SEED_SIZE} bytes are needed")
    return blake2s(founder_identity + seed, key=_MESH_ID_KEY, size=MESH_SIZE)
