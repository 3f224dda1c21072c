"""What this host brings to every handshake: its keys, its forwarder, what it can take, its dice. PURE.

Rule: ``local`` and ``boot`` change while handshakes are under way; each handshake goes on with those it began with.
Reference: docs/wire.md (offers, choices, epochs).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from crypto.errors import RemoteError
from crypto.handshake import WIRE_VERSION, Choice, Local, Offer
from crypto.keys import Entropy
from meshnet.boundary import Address

__all__ = ["RECORD_MIN", "OwnEnd"]

RECORD_MIN: Final = 1_280


@dataclass(slots=True)
class OwnEnd:
    """``boot``: 8 bytes of the forwarder, ``features``: bits, ``largest_record``: bytes, ``wall_ns``: wall clock."""

    local: Local
    boot: bytes
    features: int
    largest_record: int
    entropy: Entropy
    rng: random.Random
    wall_ns: Callable[[], int]
    barred: Callable[[bytes, Address], bool]
    """Whether a peer (its identity) is neither to be tried nor answered at an address."""
    counters: Counter[str] = field(default_factory=Counter)
    """What was refused or happened, by reason."""

    def offer(self, stamp: bytes, challenge: bytes) -> Offer:
        """Ours, with a stamp of 12 bytes and a challenge of 8."""
        return Offer(stamp, self.boot, WIRE_VERSION, WIRE_VERSION, self.features, self.largest_record, challenge)

    def choice(self) -> Choice:
        """What we answer an offer with."""
        return Choice(self.boot, WIRE_VERSION, self.features, self.largest_record)

    def record_size(self, theirs: int) -> int:
        """The largest record (bytes) that suits both ends. Raises ``RemoteError`` for a size that is none."""
        if theirs < RECORD_MIN:
            raise RemoteError("handshake with an impossible record size")
        return min(theirs, self.largest_record)

    def epoch_for(self, tags: Sequence[bytes]) -> int:
        """The epoch of the mesh secret to use with a peer that says by tags (8 bytes each) which ones it holds.

        Without a common one, or while nothing is known of the peer's, it is the current one's.
        """
        secrets = self.local.keyring.secrets()
        common = (secret for secret in secrets if secret.tag() in tags)
        return next(common, secrets[0]).epoch

    def usable(self, peer_id: bytes, address: Address) -> bool:
        """Whether a peer may be tried or answered at this address; counts where not."""
        if self.barred(peer_id, address):
            self.counters["address that is not to be used"] += 1
            return False
        return True

    def is_static(self, static: bytes) -> bool:
        """Whether a static key (32 bytes) is one of ours."""
        return any(static == own.public for own in self.local.statics())
