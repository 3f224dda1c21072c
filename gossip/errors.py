"""The errors of the gossip package.

Purpose: one tree, so that a caller can tell bytes from afar from its own mistakes.
Rule: bytes that came from another peer raise `RemoteError` and nothing else; it is caught inside the package and
counted. `LocalError` is a wrong use by this host, `Refusal` an answer an operator reads: what, why, fix.
"""

from __future__ import annotations


class GossipError(Exception):
    """Root of this package's errors."""


class RemoteError(GossipError):
    """Bytes from another peer are not acceptable. Carries a short reason that holds no secret."""


class LocalError(GossipError):
    """This host asked for something the core cannot do in its state."""


class Refusal(LocalError):
    """A request that cannot be granted; both a value (`allocate`) and an exception (`donate`, `set_endpoint`).

    `code` is one of the words in `REFUSAL_CODES`, for programs; the other three are lines for people.
    """

    def __init__(self, what: str, why: str, fix: str, code: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why
        self.fix = fix
        self.code = code


REFUSAL_CODES = (
    "unknown-network",
    "no-space",
    "bad-address",
    "foreign",
    "taken",
    "not-founder",
    "invalid",
    "exhausted",
    "unreachable",
    "in-use",
    "role",
    "revoked",
    "cloned",
    "rolled-back",
    "alive",
)
