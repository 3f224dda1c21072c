"""The replay window of one receiving key and lane (RFC 6479).                                   # HOT PATH

Rule: a counter is *checked* before the record is opened and *accepted* only after its tag verified; a forged
counter therefore never moves the window.  The window counts records, not datagrams.

The bitmap is a ring of 64-bit blocks.  Advancing clears only the blocks that are entered, so the common case (the
next counter in order) touches one list element and allocates nothing that outlives the call.
"""

__all__ = ["WINDOW_RECORDS", "ReplayWindow"]

BLOCK_BITS = 64
BLOCKS = 128
BLOCK_MASK = BLOCKS - 1
WINDOW_RECORDS = BLOCKS * BLOCK_BITS - BLOCK_BITS
"""How far behind the highest accepted counter a record may be: 8,128 (one block is always being entered)."""


class ReplayWindow:
    """Which counters of one key were accepted; counters are integers >= 1."""

    __slots__ = ("_blocks", "highest")

    def __init__(self) -> None:
        self.highest = 0
        self._blocks = [0] * BLOCKS

    def check(self, counter: int) -> bool:
        """Tell whether a record with this counter may still be accepted; changes nothing."""
        if counter > self.highest:
            return True
        if counter <= 0 or self.highest - counter >= WINDOW_RECORDS:
            return False
        return not self._blocks[(counter >> 6) & BLOCK_MASK] >> (counter & 63) & 1

    def accept(self, counter: int) -> bool:
        """Take an authenticated counter into the window; False (and no change) if it is old or was taken before."""
        if not self.check(counter):
            return False
        block = counter >> 6
        if counter > self.highest:
            top = self.highest >> 6
            if block != top:
                if block - top >= BLOCKS:
                    self._blocks = [0] * BLOCKS
                else:
                    for entered in range(top + 1, block + 1):
                        self._blocks[entered & BLOCK_MASK] = 0
            self.highest = counter
        self._blocks[block & BLOCK_MASK] |= 1 << (counter & 63)
        return True
