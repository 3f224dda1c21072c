"""Handshake datagrams that a member makes with what is in its key file: valid ones, and cheap ones that look valid.

Rule: a valid initiation costs its maker Diffie-Hellman operations; one with the right mac1 and otherwise random bytes
costs it one keyed hash, and its receiver as much work as a valid one, until the first tag is checked. A member that
floods would send the cheap ones.

Flow: `Forger(state_dir of the member, state_dir of the victim)`, then `valid(count)`, `hollow(count)`, `junk(count)`.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from crypto import tai64n
from crypto.handshake import INITIATION_SIZE, MACS_SIZE, TYPE_INITIATION, WIRE_VERSION, Local, Offer, initiate
from crypto.handshake import mac1_key as key_of
from crypto.primitives import blake2s
from meshnet.control.keys import keyfile
from meshnet.control.keys.membership import Membership

MAC_SIZE = MACS_SIZE // 2
RECORD_MAX = 64_000


def membership_of(state_dir: Path) -> Membership:
    """What a host's key file holds."""
    return keyfile.load(state_dir)


class Forger:
    """Makes initiations of the member whose state directory is `member`, to the peer whose is `victim`."""

    def __init__(self, member: Path, victim: Path, seed: int = 1) -> None:
        own, self._victim = membership_of(member), membership_of(victim)
        self._keyring = own.keyring
        self._local = Local(own.mesh, own.suite, own.keyring, own.static)
        self._rng = random.Random(seed)

    def valid(self, count: int) -> list[bytes]:
        """Initiations that authenticate, each with a greater stamp than the one before."""
        now = time.time_ns()
        datagrams = []
        for number in range(count):
            offer = Offer(
                stamp=tai64n.stamp(now + number * 1000),
                boot=self._rng.randbytes(8),
                min_version=WIRE_VERSION,
                max_version=WIRE_VERSION,
                features=0,
                largest_record=RECORD_MAX,
            )
            index = self._rng.randrange(1, 1 << 32)
            datagrams.append(initiate(self._local, self._victim.static.public, index, offer, os.urandom).datagram)
        return datagrams

    def hollow(self, count: int) -> list[bytes]:
        """Datagrams of the length and form of an initiation with a right mac1 over random bytes."""
        secret = self._keyring.current
        key = key_of(secret.mac1_subkey(), self._victim.static.public)
        head = bytes((TYPE_INITIATION, secret.epoch, 0, 0))
        datagrams = []
        for _ in range(count):
            content = head + self._rng.randbytes(INITIATION_SIZE - MACS_SIZE - len(head))
            datagrams.append(content + blake2s(content, key=key, size=MAC_SIZE) + bytes(MAC_SIZE))
        return datagrams

    def junk(self, count: int) -> list[bytes]:
        """The same with random bytes for the mac1: what somebody outside of the mesh can send."""
        head = bytes((TYPE_INITIATION, self._keyring.current.epoch, 0, 0))
        size = INITIATION_SIZE - len(head) - MAC_SIZE
        return [head + self._rng.randbytes(size) + bytes(MAC_SIZE) for _ in range(count)]
