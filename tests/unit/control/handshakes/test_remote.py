"""One peer's record: its addresses, its sessions, and what progress says about an answer."""

from __future__ import annotations

from crypto.cookie import SECRET_LIFE_S
from crypto.lifetime import NO_REPLY_S, REJECT_AFTER_TIME_S
from meshnet.boundary import ProgressRow
from meshnet.control.handshakes.cookies import Given
from meshnet.control.handshakes.freshness import Freshness
from meshnet.control.handshakes.remote import CANDIDATES_MAX, SESSIONS_MAX, Attempt, Remote, Session

HERE, THERE = ("192.0.2.1", 6799), ("192.0.2.2", 6799)


def row(sent: float = -1.0, received: float = -1.0, records: int = 1) -> ProgressRow:
    return ProgressRow(7, records, records, 0, 0, sent, received)


def waiting(session: Session) -> float | None:
    return session.unanswered_since


def in_use(peer: Remote) -> Session | None:
    return peer.current


def state(peer: Remote) -> str:
    return peer.state


def remote() -> Remote:
    return Remote(bytes(32), bytes(32), (HERE, THERE), (), Freshness(bytes(12)))


def test_the_proved_address_comes_first_and_once() -> None:
    peer = remote()
    assert peer.candidates() == [HERE, THERE]
    peer.proved = THERE
    assert peer.candidates() == [THERE, HERE]
    peer.addresses = tuple((f"192.0.2.{n}", 1) for n in range(50))
    assert len(peer.candidates()) == CANDIDATES_MAX and peer.candidates()[0] == THERE


def test_the_wait_for_an_answer() -> None:
    session = Session(7, True, 100.0, True)
    session.note(row(), 110.0)
    assert waiting(session) is None
    session.note(row(sent=1.0), 120.0)
    assert waiting(session) == 119.0
    session.note(row(sent=0.0), 125.0)
    assert waiting(session) == 119.0, "later frames do not put the limit off"
    session.note(row(sent=2.0, received=2.0), 130.0)
    assert waiting(session) is None
    session.note(row(sent=0.0, received=3.0), 131.0)
    assert waiting(session) == 131.0
    session.note(row(sent=0.0, received=1.0), 134.0)
    assert waiting(session) == 134.0, "an answer came, then one more frame left"


def test_the_occasion_for_the_next_session() -> None:
    session = Session(7, True, 100.0, True)
    assert not session.note(row(sent=0.0, received=0.0), 219.0)
    assert session.note(row(sent=0.0), 220.0)
    assert not session.note(row(sent=1.0, received=0.0), 220.0), "the frame left under a younger key"
    assert not session.note(row(received=0.0), 264.0) and session.note(row(received=0.0), 265.0)
    assert not Session(7, False, 100.0, True).note(row(sent=0.0, received=0.0), 279.0), "it is the initiator's"


def test_what_is_due_next() -> None:
    peer = remote()
    assert peer.due() is None
    session = Session(7, True, 100.0, True)
    peer.add(session)
    assert peer.due() == 100.0 + REJECT_AFTER_TIME_S
    peer.current, session.unanswered_since = session, 150.0
    assert peer.due() == 150.0 + NO_REPLY_S
    peer.attempt = Attempt(since=151.0, retry_at=152.0)
    assert peer.due() == 152.0


def test_sessions_are_bounded_and_the_one_in_use_stays() -> None:
    peer = remote()
    peer.current = Session(0, True, 0.0, True)
    peer.add(peer.current)
    for index in range(1, 50):
        peer.add(Session(index, False, float(index), False))
        assert len(peer.sessions) <= SESSIONS_MAX
    assert list(peer.sessions) == [0, *range(50 - SESSIONS_MAX + 1, 50)]
    newest = peer.unconfirmed()
    assert newest is not None and newest.index == 49
    peer.remove(0)
    assert in_use(peer) is None and state(peer) == "idle"
    peer.remove(0)


def test_a_cookie_serves_its_address_and_few_are_kept() -> None:
    peer = remote()
    for number in range(50):
        peer.take_cookie(Given(bytes([number]) * 16, ("192.0.2.9", number), float(number)))
        assert len(peer.given) <= CANDIDATES_MAX
    peer.take_cookie(Given(b"n" * 16, ("192.0.2.9", 42), 60.0))
    found = peer.cookie_for(("192.0.2.9", 42), 60.0)
    assert found is not None and found.cookie == b"n" * 16
    assert peer.cookie_for(HERE, 60.0) is None and peer.cookie_for(("192.0.2.9", 1), 60.0) is None
    assert peer.cookie_for(("192.0.2.9", 42), 60.0 + SECRET_LIFE_S) is None


def test_states() -> None:
    peer = remote()
    peer.unreachable = True
    assert state(peer) == "down"
    peer.attempt = Attempt(0.0, 0.0)
    assert state(peer) == "connecting"
    peer.current = Session(1, True, 0.0, True)
    assert state(peer) == "up"
