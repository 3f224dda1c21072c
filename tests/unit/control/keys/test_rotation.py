"""Replacing the mesh secret as pure steps: nobody is cut off by it, and every phase waits for whom it must."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.keyring import Keyring
from crypto.secret import GENERATION_MAX, MeshSecret
from meshnet.control.keys.rotation import (
    INSTALL_S,
    PREVIOUS_S,
    RESEND_S,
    Act,
    Announce,
    Announced,
    Drop,
    Member,
    Outlook,
    Phase,
    Rotation,
    Send,
    Switch,
    fresh_generation,
    held,
    lacking,
    lost,
    under_way,
)
from meshnet.control.keys.stragglers import Stragglers

OLD, NEW, OTHER = MeshSecret(4, b"\1" * 32), MeshSecret(5, b"\2" * 32), MeshSecret(5, b"\3" * 32)
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
INSTALLED = Keyring(OLD, NEW)
SWITCHED = Keyring(NEW, None, OLD)


def announced(phase: Phase, secret: MeshSecret = NEW) -> Announced:
    return Announced(secret.generation, secret.commitment(), phase, A)


def member(identity: bytes, *secrets: MeshSecret, reachable: bool = True) -> Member:
    return Member(identity, [secret.tag() for secret in secrets], reachable)


def look(
    keyring: Keyring,
    phase: Phase | None,
    linked: Iterable[Member] = (),
    apart: Iterable[Member] = (),
    *,
    drives: bool = True,
    of: MeshSecret = NEW,
) -> Outlook:
    """`apart`: members without a link to this host."""
    said, near = None if phase is None else announced(phase, of), list(linked)
    everybody = [*near, *apart]
    by_identity = {one.identity: one for one in everybody}
    ready = said is not None and Stragglers().none(said, by_identity.get, lambda: everybody)
    return Outlook(keyring, said, near, drives, lambda: ready)


# What everybody does


def test_without_an_announcement_nothing_is_done() -> None:
    assert Rotation().step(look(INSTALLED, None, [member(B, OLD)]), 0.0) == []


@pytest.mark.parametrize("phase", Phase)
def test_who_lacks_the_secret_keeps_what_it_has(phase: Phase) -> None:
    for keyring in (Keyring(OLD), Keyring(OLD, OTHER), Keyring(OTHER, None, OLD)):
        assert Rotation().step(look(keyring, phase, [member(B, OLD)]), 1e6) == []


@pytest.mark.parametrize("drives", [True, False])
def test_each_phase_is_followed_once(drives: bool) -> None:
    def first(keyring: Keyring, phase: Phase) -> list[Act]:
        return Rotation().step(look(keyring, phase, drives=drives), 0.0)

    assert first(INSTALLED, Phase.INSTALL) == []
    assert first(INSTALLED, Phase.SWITCH) == [Switch()]
    assert first(SWITCHED, Phase.SWITCH) == []
    assert first(INSTALLED, Phase.DROP) == [Switch()], "one that heard of the end first still switches before it drops"
    assert first(SWITCHED, Phase.DROP) == [Drop()]
    assert first(Keyring(NEW), Phase.DROP) == []


def test_an_older_rotation_drops_nothing_of_a_newer_keyring() -> None:
    keyring = Keyring(OTHER, None, OLD)
    assert Rotation().step(look(keyring, Phase.DROP, of=OLD), 0.0) == []


def test_a_secret_that_was_replaced_is_sent_to_nobody() -> None:
    """The announcement of its successor counts no longer: its author was revoked."""
    assert Rotation().step(look(SWITCHED, Phase.DROP, [member(A, NEW)], of=OLD), 0.0) == []


def test_the_secret_is_sent_to_the_linked_that_lack_it_and_not_too_often() -> None:
    rotation = Rotation()
    members = [member(A, OLD), member(B, OLD, NEW)]
    view = look(INSTALLED, Phase.INSTALL, members, [member(C, OLD)], drives=False)
    assert rotation.step(view, 10.0) == [Send(A)]
    assert rotation.step(view, 10.0 + RESEND_S / 2) == []
    assert rotation.step(view, 10.0 + RESEND_S) == [Send(A)]
    linked = replace(view, linked=[*members, member(C, OLD)])
    assert rotation.step(linked, 10.1 + RESEND_S) == [Send(C)]
    done = replace(view, linked=[member(A, OLD, NEW)])
    assert rotation.step(done, 99.0) == []
    assert rotation._sent == {}, "who holds it is forgotten"


@pytest.mark.parametrize("phase", [Phase.SWITCH, Phase.DROP])
def test_it_is_sent_in_later_phases_too(phase: Phase) -> None:
    keyring = SWITCHED if phase is Phase.SWITCH else Keyring(NEW)
    assert Rotation().step(look(keyring, phase, [member(A, OLD)], drives=False), 0.0) == [Send(A)]


# What the driver does


def test_the_switch_waits_for_all_that_are_reachable_and_a_while() -> None:
    rotation = Rotation()
    lacks, holds = member(A, OLD), member(A, OLD, NEW)
    away = member(B, OLD, reachable=False)
    assert rotation.step(look(INSTALLED, Phase.INSTALL, [holds], [away]), 0.0) == []
    assert rotation.step(look(INSTALLED, Phase.INSTALL, [], [lacks, away]), INSTALL_S * 2) == []
    assert rotation.step(look(INSTALLED, Phase.INSTALL, [holds], [away]), INSTALL_S * 2) == [Announce(Phase.SWITCH)]


def test_the_drop_waits_for_everybody_and_ten_minutes() -> None:
    rotation = Rotation()
    holds, away = member(A, NEW, OLD), member(B, OLD, reachable=False)
    assert rotation.step(look(SWITCHED, Phase.SWITCH, [holds]), 0.0) == []
    assert rotation.step(look(SWITCHED, Phase.SWITCH, [holds]), PREVIOUS_S - 1) == []
    assert rotation.step(look(SWITCHED, Phase.SWITCH, [holds], [away]), PREVIOUS_S * 9) == []
    back = member(B, NEW, OLD)
    assert rotation.step(look(SWITCHED, Phase.SWITCH, [holds, back]), PREVIOUS_S * 9) == [Announce(Phase.DROP)]


def test_a_driver_that_is_alone_goes_through_all_phases() -> None:
    rotation, keyring, phase, now = Rotation(), INSTALLED, Phase.INSTALL, 0.0
    seen: list[Act] = []
    while now < PREVIOUS_S + 10 * INSTALL_S:
        for act in rotation.step(look(keyring, phase), now):
            seen.append(act)
            match act:
                case Announce(phase):
                    pass
                case Switch():
                    keyring = keyring.switched()
                case Drop():
                    keyring = keyring.dropped()
        now += 1.0
    assert seen == [Announce(Phase.SWITCH), Switch(), Announce(Phase.DROP), Drop()]
    assert keyring == Keyring(NEW)


def test_a_member_of_a_release_that_tells_no_tags_holds_everything_back() -> None:
    rotation = Rotation()
    for now in (0.0, 1e6):
        assert rotation.step(look(INSTALLED, Phase.INSTALL, [], [member(A)]), now) == []


def test_another_announcement_begins_its_own_wait() -> None:
    rotation = Rotation()
    assert rotation.step(look(INSTALLED, Phase.INSTALL), 0.0) == []
    newer = MeshSecret(6, b"\6" * 32)
    assert rotation.step(look(Keyring(OLD, newer), Phase.INSTALL, of=newer), INSTALL_S) == []
    assert rotation.step(look(Keyring(OLD, newer), Phase.INSTALL, of=newer), INSTALL_S * 2) == [Announce(Phase.SWITCH)]


# A mesh of rotations, in any order of hearing


class Host:
    """One member of a model mesh: what it heard and holds."""

    def __init__(self, identity: bytes, keyring: Keyring) -> None:
        self.identity, self.keyring, self.rotation = identity, keyring, Rotation()
        self.phase = Phase.INSTALL
        self.online = True


def can_talk(one: Host, other: Host) -> bool:
    ours = {secret.epoch: secret for secret in one.keyring.secrets()}
    return any(ours.get(secret.epoch) == secret for secret in other.keyring.secrets())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["step", "hear", "toggle"])), max_size=120))
def test_members_that_may_meet_can_always_talk(acts: list[tuple[int, str]]) -> None:
    """Whoever hears and steps when, whoever is off meanwhile: any two members share a secret at every moment."""
    hosts = [Host(bytes([index]) * 32, INSTALLED if index == 0 else Keyring(OLD)) for index in range(4)]
    now = 0.0
    for index, what in acts:
        now += PREVIOUS_S / 5
        host = hosts[index]
        match what:
            case "toggle" if index:
                host.online = not host.online
            case "hear" if host.online and hosts[0].online:
                host.phase = max(host.phase, hosts[0].phase)
            case "step":
                advance(host, hosts, now)
        assert all(can_talk(one, other) for one, other in permutations(hosts, 2)), (index, what)


def advance(host: Host, hosts: list[Host], now: float) -> None:
    near: list[Member] = []
    apart: list[Member] = []
    for o in (o for o in hosts if o is not host):
        meets = host.online and o.online
        (near if meets else apart).append(Member(o.identity, o.keyring.tags(), meets))
    for act in host.rotation.step(look(host.keyring, host.phase, near, apart, drives=host is hosts[0]), now):
        match act:
            case Announce(phase):
                host.phase = phase
            case Switch():
                host.keyring = host.keyring.switched()
            case Drop():
                host.keyring = host.keyring.dropped()
            case Send(to):
                target = next(o for o in hosts if o.identity == to)
                target.keyring = target.keyring.installed(NEW)


# Queries


def test_the_announced_secret_is_known_by_generation_and_commitment() -> None:
    assert held(INSTALLED, announced(Phase.INSTALL)) == NEW
    assert held(SWITCHED, announced(Phase.INSTALL)) == NEW
    assert held(Keyring(OLD, OTHER), announced(Phase.INSTALL)) is None
    assert held(INSTALLED, replace(announced(Phase.INSTALL), generation=6)) is None


@pytest.mark.parametrize(
    ("keyring", "phase", "goes_on", "is_lost"),
    [
        (Keyring(OLD), Phase.INSTALL, True, False),
        (INSTALLED, Phase.INSTALL, True, False),
        (SWITCHED, Phase.SWITCH, True, False),
        (SWITCHED, Phase.DROP, False, False),
        (Keyring(OTHER, None, OLD), Phase.SWITCH, False, True),
        (Keyring(OTHER), Phase.DROP, False, True),
        (Keyring(MeshSecret(6, b"\4" * 32), None, NEW), Phase.SWITCH, False, False),
    ],
)
def test_what_can_be_gone_on_with_and_what_lost(keyring: Keyring, phase: Phase, goes_on: bool, is_lost: bool) -> None:
    assert (under_way(keyring, announced(phase)), lost(keyring, announced(phase))) == (goes_on, is_lost)


def test_who_lacks_it_is_named() -> None:
    assert lacking([member(A, OLD), member(B, NEW), member(C)], announced(Phase.INSTALL)) == [A, C]


def test_a_fresh_generation_is_above_all_known_and_has_an_epoch_of_its_own() -> None:
    assert fresh_generation(Keyring(OLD), None) == 5
    assert fresh_generation(INSTALLED, None) == 6
    assert fresh_generation(Keyring(OLD), announced(Phase.DROP, MeshSecret(9, bytes(32)))) == 10
    wide = announced(Phase.DROP, MeshSecret(4 + 255, bytes(32)))
    assert fresh_generation(Keyring(OLD), wide) == 4 + 257
    assert Keyring(OLD).installed(MeshSecret(fresh_generation(Keyring(OLD), wide), bytes(32)))
    with pytest.raises(ValueError, match="generation"):
        fresh_generation(Keyring(MeshSecret(GENERATION_MAX, bytes(32))), None)
