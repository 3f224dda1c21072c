"""Floods of handshake initiations: the three kinds an attacker can send, and what he has to have for each.

  junk      an outsider: a random mac1
  replayed  somebody on the path: true initiations of another host, recorded
  forged    a member, which knows the mesh secret: a right mac1 on every one, over random bytes but for a few that are
            valid to the end

Rule: every frame has another source address; junk and forged ones have another content too.

Reference: docs/threat-model.md (outsiders, members).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.lab.forge import Forger
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.poll import poll
from tests.lab.spoof import PORT, Attacker

KINDS = ("junk", "replayed", "forged")
RATE = 20_000
FRAMES, VALID = 60_000, 1_000
INITIATION = 1
NEW_SESSION_S = 15.0


def record(lab: Lab, victim: Host, other: Host, workloads: Sequence[Workload]) -> list[bytes]:
    """True initiations from `other` to `victim`; `workloads` are theirs, in this order."""
    here, there = workloads
    with lab.capture(victim) as capture:

        def initiations() -> list[bytes]:
            return [
                one.payload
                for one in capture.datagrams(port=PORT)
                if one.source == other.ipv4 and one.payload[:1] == bytes([INITIATION])
            ]

        other.daemon.kill("forwarder")
        # Either may begin; traffic from both sides makes it likely that the other one does.
        poll(lambda: there.answers(here.address) and initiations(), NEW_SESSION_S, "an initiation of a new forwarder")
        return initiations()


def frames(kind: str, attacker: Attacker, victim: Host, recorded: Sequence[bytes]) -> list[bytes]:
    """The frames of a flood of this kind, for `Attacker.shoot`; the attacker's host is a member."""
    forger = Forger(attacker.host.daemon.state_dir, victim.daemon.state_dir)
    make: dict[str, Callable[[], Sequence[bytes]]] = {
        "junk": lambda: forger.junk(FRAMES),
        "replayed": lambda: recorded,
        "forged": lambda: forger.valid(VALID) + forger.hollow(FRAMES - VALID),
    }
    return attacker.spoofed(victim, make[kind](), FRAMES)
