"""Members that mean harm, against whole meshes of real cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gossip import limits
from gossip.state.bodies import LINKS, PEER, LinksBody, PeerBody, encode_body
from gossip.state.statements import Statement
from tests.sim.hostile import NAME, Siege, encoded, names, noise, say
from tests.sim.people import chain_of, identity_of

LINKS_TO_ALL = encode_body(LINKS, LinksBody(sorted(identity_of(f"h{n}") for n in range(limits.MAX_LINKS))))
GROWTH_B = 16 << 20  # a hundredth of what a million statements take, kept by each of the seven
FOREIGN = encode_body(PEER, PeerBody("h0", ["198.51.100.1:1"], bytes(32), chain_of("h0"), bytes(8), "9"))


def attacks() -> dict[str, list[Statement]]:
    last = limits.U64_MAX
    return {
        "in another's name": [
            say((LINKS, b""), (last, last), LINKS_TO_ALL, "h0"),
            say((PEER, b""), (last, 1), FOREIGN, "h0"),
        ],
        "of strangers": [say((PEER, b""), (1, 1), FOREIGN, f"x{n}") for n in range(300)],
        "the greatest seq": [say(("name", b""), (last, last), b"x"), say((LINKS, b""), (1, last), LINKS_TO_ALL)],
        "two things at once": [
            say(("name", b""), (seq, 1), body) for seq in range(50) for body in (b"1", b"2", b"3", None)
        ],
        "deep and huge bodies": [say((LINKS, b""), (9, 1), b"\x91" * 4000), say(("name", b""), (9, 2), bytes(3900))],
        "links to everybody": [say((LINKS, b""), (9, 1), LINKS_TO_ALL)],
    }


@pytest.mark.parametrize("attack", sorted(attacks()))
def test_statements_of_harm_change_nothing_of_others_and_cost_no_link(attack: str) -> None:
    siege = Siege()
    before = sorted(peer for _, peer in siege.villain.node.links())
    for _ in range(3):
        siege.say([statement.wire() for statement in attacks()[attack]])
        siege.check()
    assert sorted(peer for _, peer in siege.villain.node.links()) == before
    siege.rest()


def test_messages_that_ask_for_much_or_prove_nothing() -> None:
    siege = Siege()
    siege.world.reset_traffic()
    for _ in range(5):
        siege.send(encoded())
        siege.check()
    sent = max(host.traffic.sent_b for host in siege.honest)
    assert sent < 5 * 5 * limits.MAX_BURST_B, "an answer is bounded, whatever was asked"
    assert not any(host.node._replica.view.quarantined(identity_of("h0"), 3) for host in siege.honest)
    siege.rest()


def test_what_is_no_message_costs_the_villain_its_link_alone() -> None:
    siege = Siege()
    siege.moving = (LINKS,)  # with the villain, and without
    for message in noise():
        siege.send([message])
        siege.check()
        siege.world.run(siege.world.now + 60.0)
        assert siege.villain.streams, "it may come again"
    siege.rest()


def besiege(siege: Siege, batches: range, size: int) -> None:
    """Say new names, batch after batch; what must hold does after each."""
    for batch in batches:
        siege.say(names(size, size * batch))
        siege.check()


def resident_b() -> int:
    """What this process holds in memory: all hosts of the siege."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_names_without_end_fill_its_quota_and_nothing_else() -> None:
    siege = Siege()
    besiege(siege, range(8), 3000)
    persisted = [host.node.counters.get("statement_too_often", 0) for host in siege.honest]
    assert max(persisted) > 10_000, "what comes without end is dropped before it is kept, stored or passed on"
    siege.rest()
    assert any(owner == identity_of(NAME) for owner, *_ in siege.honest[0].node.summary())


@pytest.mark.slow
def test_a_million_names_cost_no_memory_no_link_and_nobody_else() -> None:
    siege = Siege()
    before = sorted(peer for _, peer in siege.villain.node.links())
    besiege(siege, range(20), 5000)
    held = resident_b()
    besiege(siege, range(20, 200), 5000)
    assert resident_b() - held < GROWTH_B
    assert sorted(peer for _, peer in siege.villain.node.links()) == before
    dropped = sum(host.node.counters["statement_too_often"] for host in siege.honest)
    assert dropped > len(before) * 900_000, "all of it was sent, and read"
    siege.rest()
