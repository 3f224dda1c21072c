"""Tokens and the password as an operator handles them at this host.

Rule: what is told is durable; a token's text is in the answer that makes it and in no other.
Reference: docs/membership.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from meshnet.control.joining.password import set_password
from meshnet.control.joining.tokens import Tokens
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.runner import Commits

__all__ = ["Invitations"]


class Invitations:
    """The ways into the mesh at this host; addresses(): where joiners reach it. wall: seconds."""

    def __init__(
        self,
        tokens: Tokens,
        keys: HostKeys,
        store: Commits,
        addresses: Callable[[], list[str]],
        entropy: Callable[[int], bytes],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._store = store
        self._addresses = addresses
        self._entropy = entropy
        self._wall = wall

    async def create(self, uses: int, ttl_s: int, roles: tuple[str, ...]) -> dict[str, object]:
        """meshnet.token/v1, durable before it is told; raises MeshnetError."""
        puts, token = self._tokens.create(uses, ttl_s, roles, self._addresses(), self._entropy, self._wall())
        await self._store.commit([*puts])
        text = token.encode()
        return {
            "schema": "meshnet.token/v1",
            "token": text,
            "join": f"meshnet join {text}",
            "expires_at": _instant(token.expires),
            "uses": uses,
        }

    def listed(self) -> dict[str, object]:
        """meshnet.tokens/v1: those of this host that are still good."""
        rows = []
        for row in self._tokens.list(self._wall()):
            expires = row.pop("expires")
            rows.append({**row, "expires_at": _instant(expires if isinstance(expires, int) else 0)})
        return {"schema": "meshnet.tokens/v1", "tokens": rows}

    async def revoke(self, token_id: bytes) -> dict[str, object]:
        """meshnet.token-revoked/v1, durable; raises MeshnetError (NOT_FOUND)."""
        await self._store.commit([*self._tokens.revoke(token_id)])
        return {"schema": "meshnet.token-revoked/v1", "id": token_id.hex()}

    async def password(self, text: str | None) -> dict[str, object]:
        """meshnet.password/v1, durable: hosts are admitted by this password, or (None) by none."""
        await set_password(self._keys, text)
        return {"schema": "meshnet.password/v1", "enabled": self._keys.membership.password_key is not None}


def _instant(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
