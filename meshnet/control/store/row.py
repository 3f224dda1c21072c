"""One durable write, as the store takes it. PURE.

Rule: ``PutLike`` is the shape of a write, so that the gossip node's own type fits without knowing the store;
``Row`` is the control package's. A value of None deletes the key.
Reference: design §6 "Persist before tell".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class PutLike(Protocol):
    """A value for a key of a space; None deletes the key."""

    @property
    def space(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A durable write of the control package. The value may hold a secret, so it is not shown."""

    space: str
    key: bytes
    value: bytes | None = field(repr=False)
