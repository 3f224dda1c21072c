"""Which handshake datagrams go up to meshnetd: the right form, a right mac1, and under load a right mac2.

Everything an unauthenticated sender can make this host do is bounded here, the cheapest check first:
length and type; mac1, whose key depends on the mesh secret and on this peer's static key, so that a stranger costs
one keyed hash and gets silence; what went up already; under load mac2, which proves that the sender receives at its
address, or else a cookie reply; a token bucket per address.  What this host asked for by a datagram of its own needs
no cookie: the answer names an index that only its receiver knows.

Rule: PURE; `now` is seconds on CLOCK_BOOTTIME, entropy is an argument.  A reply is shorter than what it answers.
Reference: docs/wire.md, "The UDP handshake"; docs/adr/0004 and 0006; the WireGuard paper §5.3, §5.4.7.
"""

import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2s
from typing import Final, NamedTuple

from crypto.cookie import REPLY_SIZE, TYPE_COOKIE, cookie, has_mac2, reply_receiver, seal_reply
from crypto.errors import RemoteError
from meshnet.boundary import HandshakeKeyRow
from meshnet.forwarder.buckets import Buckets
from meshnet.forwarder.counters import Drop

__all__ = [
    "ASKED_KEPT",
    "ASKED_USES",
    "COOKIES_PER_S",
    "HANDSHAKE_LENGTHS",
    "LOAD_PER_S",
    "REPEAT_S",
    "REPLIES_AT_ONCE",
    "REPLIES_PER_S",
    "SEEN_KEPT",
    "Admission",
    "Verdict",
]

TYPE_INITIATION: Final = 1
TYPE_RESPONSE: Final = 2
HANDSHAKE_LENGTHS: Final = {TYPE_INITIATION: 184, TYPE_RESPONSE: 116, TYPE_COOKIE: REPLY_SIZE}
"""Exact datagram length per type (docs/wire.md)."""
MACS_BYTES: Final = 32
NO_MAC2: Final = bytes(16)
LOAD_PER_S: Final = 50
"""Handshakes with a right mac1 in a second; more in this or the last one is load: half of what meshnetd answers."""
REPLIES_PER_S: Final = 10_000
"""Cookie replies in a second: nobody can tell a newcomer from the flood, so one of two datagrams of a flood of 20,000 a
second is answered, and a newcomer has even odds with each attempt.  More would take the core from the sessions."""
REPLIES_AT_ONCE: Final = 100
"""So few that they are spread over the second, and no newcomer's attempts always fall where there are none left."""
COOKIES_PER_S: Final = 20
"""Cookie replies that go up in a second; all of them are answers to datagrams of ours."""
REPEAT_S: Final = 5.0
"""A datagram that went up is dropped when it comes again within this time (and for at most as long again)."""
SEEN_KEPT: Final = 4_096
ASKED_KEPT: Final = 1_024
"""Indexes of our newest handshake datagrams: meshnetd sends at most 100 in a second and waits 5 s for each."""
ASKED_USES: Final = 4
"""Answers of each type taken for one datagram of ours: the true one, and some forged by who saw ours pass."""

INDEX: Final = slice(4, 8)
RECEIVER_INDEX: Final = slice(8, 12)


class Verdict(NamedTuple):
    """What becomes of a datagram: it goes up if `drop` is None; a `reply` that is not empty goes to its sender."""

    drop: Drop | None
    reply: bytes = b""


UP: Final = Verdict(None)


class Admission:
    """The checks of one forwarder; `entropy(count)` gives random bytes."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._keys: dict[int, list[HandshakeKeyRow]] = {}
        self._secrets: list[bytes] = []
        self._buckets = Buckets()
        self._asked: OrderedDict[bytes, dict[int, int]] = OrderedDict()
        """Index of a datagram of ours → how many answers of each type it still admits."""
        self._seen: dict[bytes, None] = {}
        self._seen_before: dict[bytes, None] = {}
        self._turned = 0.0
        self._second = 0
        self._valid = self._valid_before = self._cookies = 0
        self._replies = float(REPLIES_AT_ONCE)
        self._aged = 0.0

    def set_keys(self, keys: Sequence[HandshakeKeyRow]) -> None:
        """What datagrams to this peer are made with, by epoch; whatever is made otherwise is dropped."""
        self._keys = {}
        for row in keys:
            self._keys.setdefault(row.epoch, []).append(row)

    def set_cookie_secrets(self, current: bytes, previous: bytes) -> None:
        """The secrets of cookies, 32 bytes each, `previous` perhaps empty; raises ValueError otherwise."""
        if len(previous) not in (0, 32):
            raise ValueError("a cookie secret has 32 bytes")
        self._secrets = [current, previous] if previous else [current]

    def sent(self, datagram: bytes) -> None:
        """A handshake datagram of ours leaves: its answers are asked for."""
        if datagram[:1] in (b"\1", b"\2"):
            index = datagram[INDEX]
            self._asked[index] = {TYPE_RESPONSE: ASKED_USES, TYPE_COOKIE: ASKED_USES}
            self._asked.move_to_end(index)
            if len(self._asked) > ASKED_KEPT:
                self._asked.popitem(last=False)

    def judge(self, datagram: bytes, host: str, port: int, now: float) -> Verdict:
        """What becomes of a datagram from (host, port) that is no record."""
        self._age(now)
        kind = datagram[0] if datagram else 0
        expected = HANDSHAKE_LENGTHS.get(kind)
        if expected is None:
            return Verdict(Drop.UNKNOWN_TYPE)
        if len(datagram) != expected:
            return Verdict(Drop.HANDSHAKE_LENGTH)
        if kind == TYPE_COOKIE:
            return self._cookie_reply(datagram)
        row = self._row(datagram)
        if row is None:
            return Verdict(Drop.HANDSHAKE_MAC)
        mac1 = datagram[-MACS_BYTES:-16]
        if mac1 in self._seen or mac1 in self._seen_before:
            return Verdict(Drop.HANDSHAKE_REPEATED)
        if kind != TYPE_RESPONSE or not self._is_asked(kind, datagram[RECEIVER_INDEX]):
            self._valid += 1
            if self._is_loaded() and not self._has_mac2(datagram, host, port):
                return self._ask_back(row, datagram, host, port)
            if not self._buckets.take(host, now):
                return Verdict(Drop.HANDSHAKE_RATE)
        self._remember(mac1, now)
        return UP

    def _row(self, datagram: bytes) -> HandshakeKeyRow | None:
        """The keys with which this datagram was made."""
        for row in self._keys.get(datagram[1], ()):
            mac = blake2s(datagram[:-MACS_BYTES], key=row.mac1_key, digest_size=16).digest()
            if hmac.compare_digest(mac, datagram[-MACS_BYTES:-16]):
                return row
        return None

    # --- cookies ---------------------------------------------------------------------------------------------------

    def _has_mac2(self, datagram: bytes, host: str, port: int) -> bool:
        if datagram[-16:] == NO_MAC2:
            return False
        return any(has_mac2(cookie(secret, host, port), datagram) for secret in self._secrets)

    def _ask_back(self, row: HandshakeKeyRow, datagram: bytes, host: str, port: int) -> Verdict:
        """Under load: the sender is to show that it receives where it says it is."""
        if not self._secrets or self._replies < 1.0:
            return Verdict(Drop.COOKIE_LIMIT)
        self._replies -= 1.0
        made = cookie(self._secrets[0], host, port)
        index, mac1 = int.from_bytes(datagram[INDEX]), datagram[-MACS_BYTES:-16]
        reply = seal_reply(row.cookie_key, row.epoch, index, mac1, made, self._entropy(24))
        return Verdict(Drop.HANDSHAKE_NO_COOKIE, reply)

    def _cookie_reply(self, datagram: bytes) -> Verdict:
        """A reply under another's load: only to what we sent, so a forger must have seen our datagram."""
        try:
            index = reply_receiver(datagram)
        except RemoteError:
            return Verdict(Drop.COOKIE_UNASKED)
        if self._cookies >= COOKIES_PER_S:
            return Verdict(Drop.COOKIE_RATE)
        if not self._is_asked(TYPE_COOKIE, index.to_bytes(4)):
            return Verdict(Drop.COOKIE_UNASKED)
        self._cookies += 1
        return UP

    # --- what is remembered ----------------------------------------------------------------------------------------

    def _is_asked(self, kind: int, index: bytes) -> bool:
        """Whether an answer of this type belongs to a datagram of ours; takes one of its ASKED_USES."""
        left = self._asked.get(index)
        if left is None or not left[kind]:
            return False
        left[kind] -= 1
        return True

    def _is_loaded(self) -> bool:
        return self._valid > LOAD_PER_S or self._valid_before > LOAD_PER_S

    def _age(self, now: float) -> None:
        """Time has passed: counts begin anew with a second, and what went up long ago may go up again."""
        if now - self._turned >= REPEAT_S:
            self._turn(now)
        if now > self._aged:
            self._replies = min(REPLIES_AT_ONCE, self._replies + (now - self._aged) * REPLIES_PER_S)
            self._aged = now
        second = int(now)
        if second != self._second:
            self._valid_before = self._valid if second == self._second + 1 else 0
            self._second = second
            self._valid = self._cookies = 0

    def _remember(self, mac1: bytes, now: float) -> None:
        if len(self._seen) >= SEEN_KEPT:
            self._turn(now)
        self._seen[mac1] = None

    def _turn(self, now: float) -> None:
        self._seen_before = self._seen if now - self._turned < 2 * REPEAT_S else {}
        self._seen = {}
        self._turned = now
