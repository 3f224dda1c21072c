from __future__ import annotations

from gossip import limits
from gossip.events import PeerLeft, PeerSeen, Reachable
from gossip.people.roster import Roster
from gossip.state.bodies import LEFT, LINKS, PEER, AnyBody, LeftBody, LinksBody, encode_body
from gossip.state.view import View
from tests.sim.people import identity_of, peer_body
from tests.unit.gossip.cores import say

NOBODY: list[bytes] = []
ME, H0, H1 = identity_of("me"), identity_of("h0"), identity_of("h1")


class Heard(Roster):
    """A roster that follows a view of its own."""

    def __init__(self, out: list[bytes]) -> None:
        self.view = View()
        super().__init__(ME, out.__contains__, self.view)


def hear(roster: Heard, name: str, kind: str, incarnation: int, body: AnyBody) -> list[object]:
    statement = say(name, (kind, b""), (incarnation, 1), encode_body(kind, body))
    return [event for change in roster.view.merge(statement) for event in roster.apply(change)]


def test_a_peer_is_seen_when_it_is_new_or_changed() -> None:
    roster = Heard(NOBODY)
    assert hear(roster, "h1", PEER, 1, peer_body("h1")) == [PeerSeen(H1, peer_body("h1"))]
    assert hear(roster, "h1", PEER, 2, peer_body("h1")) == []
    assert len(hear(roster, "h1", PEER, 3, peer_body("h1", "new:1"))) == 1
    assert [view.incarnation for view in roster.views()] == [3]


def test_one_peer_is_seen_as_among_all() -> None:
    out: list[bytes] = []
    roster = Heard(out)
    assert roster.one(H1) is None
    hear(roster, "h1", PEER, 1, peer_body("h1"))
    hear(roster, "h0", PEER, 1, peer_body("h0"))
    out.append(H1)
    hear(roster, "h0", LEFT, 1, LeftBody())
    assert [roster.one(view.identity) for view in roster.views()] == roster.views()
    seen = roster.one(H1)
    assert seen is not None and seen.revoked and not seen.left


def test_left_holds_until_a_newer_incarnation() -> None:
    roster = Heard(NOBODY)
    hear(roster, "h1", PEER, 1, peer_body("h1"))
    assert hear(roster, "h1", LEFT, 1, LeftBody()) == [PeerLeft(H1)]
    assert roster.left(H1)
    assert hear(roster, "h1", PEER, 2, peer_body("h1")) == [PeerSeen(H1, peer_body("h1"))]
    assert not roster.left(H1)


def test_the_founder_is_who_certified_itself() -> None:
    roster = Heard(NOBODY)
    hear(roster, "h0", PEER, 1, peer_body("h0"))
    hear(roster, "h1", PEER, 1, peer_body("h1"))
    assert roster.founder(H0) and not roster.founder(H1) and not roster.founder(ME)


def test_reachability_is_surveyed_when_links_change_and_not_too_often() -> None:
    roster = Heard(NOBODY)
    hear(roster, "h0", LINKS, 1, LinksBody([H1, ME]))
    assert roster.survey([H0], 0.0) == [Reachable(H0, True)]
    assert roster.survey_at() is None
    hear(roster, "h1", LINKS, 1, LinksBody([H0]))
    assert roster.survey([H0], 0.1) == []
    assert roster.survey_at() == limits.REACH_PACE_S
    assert roster.survey([H0], limits.REACH_PACE_S) == [Reachable(H1, True)]
    roster.stir()
    assert roster.survey([], 9.0) == [Reachable(peer, False) for peer in sorted([H0, H1])]


def test_what_does_not_count_is_not_seen_and_its_links_lead_nowhere() -> None:
    out = [H0]
    roster = Heard(out)
    assert hear(roster, "h0", PEER, 1, peer_body("h0")) == []
    hear(roster, "h0", LINKS, 1, LinksBody([H1]))
    hear(roster, "h1", LINKS, 1, LinksBody([H0]))
    assert roster.survey([H0], 0.0) == [Reachable(H0, True)], "the own link is first-hand"
    assert roster.gone(H0) and not roster.left(H0) and roster.views()[0].revoked
    out.clear()
    roster.stir()
    assert roster.survey([H0], 9.0) == [Reachable(H1, True)]
    assert not roster.gone(H0) and not roster.views()[0].revoked
