"""The mesh secret and what is derived from it.

Purpose: the secret is a second factor next to the peers' own keys. Each use has its own key, derived by HKDF
under its own label, so that no two protocols share one.
Rule: nothing uses ``key`` directly, and ``repr`` does not show it. ``commitment`` and ``tag`` may be told to
everyone: they name a secret and say nothing about it.
Reference: design §3; the Noise specification §14 (a psk has one use and 256 bits of entropy).
"""

from __future__ import annotations

from typing import Final

from crypto.errors import KeyFormatError, LocalError
from crypto.primitives import KEY_SIZE, blake2s, equal, hkdf
from crypto.prologue import EPOCH_MAX, MESH_SIZE, Channel

SEED_SIZE: Final = 16
GENERATION_MAX: Final = (1 << 32) - 1
COMMITMENT_SIZE: Final = 32
TAG_SIZE: Final = 8

_PSK_LABELS: Final = {Channel.UDP: b"meshnet/1 psk udp", Channel.LINK: b"meshnet/1 psk link"}
_MAC1_LABEL: Final = b"meshnet/1 mac1"
_COOKIE_LABEL: Final = b"meshnet/1 cookie"
_COMMITMENT_LABEL: Final = b"meshnet/1 commitment"
_MESH_ID_KEY: Final = b"meshnet/1 mesh id"


class MeshSecret:
    """The 32-byte secret of a mesh and its ``generation``: how often it was replaced (0 to 2^32-1)."""

    __slots__ = ("generation", "key")

    def __init__(self, generation: int, key: bytes) -> None:
        """Raises ``KeyFormatError`` for a generation out of range or a key of another length."""
        if not 0 <= generation <= GENERATION_MAX:
            raise KeyFormatError("generation of the mesh secret: 0 to 2^32-1 is possible")
        if not isinstance(key, bytes) or len(key) != KEY_SIZE:
            raise KeyFormatError(f"mesh secret: {KEY_SIZE} bytes are needed")
        self.generation = generation
        self.key = key

    @property
    def epoch(self) -> int:
        """The byte that stands for the generation in headers, hellos and prologues: its last one."""
        return self.generation % (EPOCH_MAX + 1)

    def psk(self, channel: Channel) -> bytes:
        """The 32-byte psk of ``channel``.

        Raises ``LocalError`` for JOIN and PASSWORD, whose psk comes from a token and from a password.
        """
        label = _PSK_LABELS.get(channel)
        if label is None:
            raise LocalError("the key for joining comes from a token or a password, not from the mesh secret")
        return hkdf(self.key, label)

    def mac1_subkey(self) -> bytes:
        """The 32-byte key from which every peer's mac1 key is made."""
        return hkdf(self.key, _MAC1_LABEL)

    def cookie_subkey(self) -> bytes:
        """The 32-byte key from which the key of every peer's cookie replies is made."""
        return hkdf(self.key, _COOKIE_LABEL)

    def commitment(self) -> bytes:
        """32 bytes that name this secret in public: equal for equal keys, and of no use to find one."""
        return hkdf(self.key, _COMMITMENT_LABEL, COMMITMENT_SIZE)

    def tag(self) -> bytes:
        """The first 8 bytes of the commitment, by which a peer says which secrets it holds."""
        return self.commitment()[:TAG_SIZE]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeshSecret) and self.generation == other.generation and equal(self.key, other.key)

    def __hash__(self) -> int:
        return hash((MeshSecret, self.generation))

    def __repr__(self) -> str:
        return f"MeshSecret(generation={self.generation})"


def mesh_id(founder_identity: bytes, seed: bytes) -> bytes:
    """The 16-byte id of the mesh that ``founder_identity`` founded with a 16-byte random ``seed``.

    Raises ``KeyFormatError`` for other lengths.
    """
    if len(founder_identity) != KEY_SIZE or len(seed) != SEED_SIZE:
        raise KeyFormatError(f"mesh id: an identity of {KEY_SIZE} and a seed of {SEED_SIZE} bytes are needed")
    return blake2s(founder_identity + seed, key=_MESH_ID_KEY, size=MESH_SIZE)
