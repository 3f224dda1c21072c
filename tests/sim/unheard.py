"""Networks that no host ever knew of but some that were reclaimed and had not heard of that.

Rule: this is the one way in which a network that somebody was answered with may be gone without having been removed:
its founder was cut off from all others for so long that they took it for dead, and none of them had heard of the
network when they took over what it owned. As soon as a single host knew of it that was never taken for dead, it must
stay.
Flow: every step that is stored -> `follow`; at rest `gone_with_its_founder`.
Reference: docs/addresses.md (the exceptions).
"""

from __future__ import annotations

from gossip.events import SPACE_STATEMENT, NetworkGone, NetworkSeen, Output
from gossip.state.address_bodies import FENCE, FenceBody, NetworkBody
from gossip.state.bodies import decode_body
from gossip.state.statements import parse

_Key = tuple[int, str, tuple[str, ...]]


class Unheard:
    """Who knows of which network, and who was reclaimed and has not heard of it."""

    def __init__(self) -> None:
        self._knows: dict[bytes, dict[_Key, None]] = {}
        self._knew: dict[_Key, dict[bytes, None]] = {}
        self._alone: dict[_Key, dict[bytes, None]] = {}  # who knew of it while it was reclaimed unawares
        self._said: dict[bytes, dict[bytes, None]] = {}  # by who was reclaimed: the runs
        self._heard: dict[bytes, dict[bytes, None]] = {}

    def follow(self, host: bytes, output: Output) -> None:
        """Take in what a host has just stored, and what its core understands by it."""
        for put in output.persist:
            if put.space == SPACE_STATEMENT and put.value is not None and FENCE.encode() in put.value:
                self._fence(host, put.value)
        for event in output.tell:
            if isinstance(event, NetworkSeen):
                key = _key(event.body)
                self._knows.setdefault(host, {})[key] = None
                self._knew.setdefault(key, {})[host] = None
                if self._unaware(host):
                    self._alone.setdefault(key, {})[host] = None
            elif isinstance(event, NetworkGone):
                self._knows.get(host, {}).pop(_key(event.body), None)

    def gone_with_its_founder(self, body: NetworkBody) -> bool:
        """Whether everybody who ever knew of the network did so while it was reclaimed unawares."""
        knew, alone = self._knew.get(_key(body), {}), self._alone.get(_key(body), {})
        return bool(alone) and all(host in alone for host in knew)

    def _fence(self, host: bytes, data: bytes) -> None:
        statement = parse(data)
        body = None if statement.kind != FENCE or statement.body is None else decode_body(FENCE, statement.body)
        if not isinstance(body, FenceBody):
            return
        if body.peer == host:
            self._heard.setdefault(host, {})[body.run] = None
            return
        runs = self._said.setdefault(body.peer, {})
        if body.run not in runs:
            runs[body.run] = None
            for key in self._knows.get(body.peer, {}):
                self._alone.setdefault(key, {})[body.peer] = None

    def _unaware(self, host: bytes) -> bool:
        heard = self._heard.get(host, {})
        return any(run not in heard for run in self._said.get(host, {}))


def _key(body: NetworkBody) -> _Key:
    return body.number, body.name, tuple(body.pools)
