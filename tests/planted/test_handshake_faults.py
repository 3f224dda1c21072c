"""Faults planted in handshakes and sessions, each of which the simulation of handshakes must notice."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from crypto.handshake import Received
from crypto.tai64n import later
from meshnet.boundary import Address
from meshnet.control.handshakes.answering import Answering
from meshnet.control.handshakes.cookies import Cookies
from meshnet.control.handshakes.known_peers import KnownPeers
from meshnet.control.handshakes.own_end import OwnEnd
from meshnet.control.handshakes.peer_output import InstallSession, Output
from meshnet.control.handshakes.peers import Peers
from meshnet.control.handshakes.remote import Remote
from meshnet.control.handshakes.stamps import Stamps
from meshnet.control.handshakes.trying import Trying
from tests.sim.handshake_life import live
from tests.sim.invariants import InvariantBroken
from tests.sim.test_handshakes_plain import check_race

SEEDS = range(30)


def noticed(seeds: Iterable[int] = SEEDS) -> str | None:
    """What the first life that breaks an invariant breaks: the lives of tests/sim/test_handshakes.py."""
    for seed in seeds:
        try:
            live(seed)
        except InvariantBroken as broken:
            return str(broken)
    return None


def test_a_session_installed_again_in_a_new_forwarder_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if meshnetd kept the keys so that a forwarder that died would be back the sooner."""
    receive, restarted = Peers.receive, Peers.restarted
    kept: dict[int, list[Output]] = {}

    def receive_and_keep(peers: Peers, address: Address, datagram: bytes, now: float) -> list[Output]:
        outputs = receive(peers, address, datagram, now)
        kept.setdefault(id(peers), []).extend(output for output in outputs if isinstance(output, InstallSession))
        return outputs

    def restarted_with_kept(peers: Peers, boot: bytes, now: float) -> list[Output]:
        return [*kept.get(id(peers), [])[-1:], *restarted(peers, boot, now)]

    monkeypatch.setattr(Peers, "receive", receive_and_keep)
    monkeypatch.setattr(Peers, "restarted", restarted_with_kept)
    assert noticed() == "a session installed twice"


def test_a_response_that_installs_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Trying.receive_response

    def receive(trying: Trying, address: Address, datagram: bytes, now: float) -> list[Output]:
        outputs = honest(trying, address, datagram, now)
        return [outputs[0], *outputs]

    monkeypatch.setattr(Trying, "receive_response", receive)
    assert noticed() == "a session installed twice"


def test_a_stamp_used_before_it_is_reserved_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(stamps: Stamps) -> bytes:
        stamps._last = later(stamps._last, stamps._wall_ns())
        return stamps._last

    monkeypatch.setattr(Stamps, "take", take)
    assert noticed() == "a stamp that is not new, or not reserved"


def test_stamps_that_begin_with_the_clock_alone_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a clock that was years ahead came back, a new daemon repeats what an earlier one used."""
    honest = Stamps.__init__

    def begin(stamps: Stamps, reserved: bytes, wall_ns: object) -> None:
        honest(stamps, b"", wall_ns)  # type: ignore[arg-type]

    monkeypatch.setattr(Stamps, "__init__", begin)
    assert noticed() == "a stamp that is not new, or not reserved"


def test_stale_initiations_without_a_way_back_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask_back(answering: Answering, received: Received, address: Address) -> list[Output]:
        return []

    monkeypatch.setattr(Answering, "_ask_back", ask_back)
    assert noticed() is not None


def test_a_challenge_that_is_never_believed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cookies, "challenged", lambda cookies, address, challenge: False)
    assert noticed() is not None


def test_a_changed_static_key_that_is_not_heeded_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(known: KnownPeers, remote: Remote, static: bytes, now: float) -> None:
        """The statement is heard and not acted on."""

    monkeypatch.setattr(KnownPeers, "change_static", change)
    assert noticed() is not None


def test_a_secret_that_the_other_end_does_not_hold_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OwnEnd, "epoch_for", lambda own, tags: own.local.keyring.current.epoch)
    assert noticed() is not None


def test_a_race_without_a_winner_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(
        answering: Answering, remote: Remote, received: Received, address: Address, record: int, now: float
    ) -> list[Output]:
        return answering._answer(remote, received, address, record, now)

    monkeypatch.setattr(Answering, "_settle_race", settle)
    with pytest.raises(AssertionError):
        for seed in range(20):
            check_race(seed)


def test_without_a_fault_the_same_lives_are_green() -> None:
    assert noticed(range(5)) is None
