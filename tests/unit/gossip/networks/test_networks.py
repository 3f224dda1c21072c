from __future__ import annotations

from gossip.events import EndpointGone, EndpointSet, NetworkSeen, Trouble
from gossip.networks.networks import Directory
from gossip.state.address_bodies import (
    ENDPOINT,
    GRANT,
    LOAN,
    NETWORK,
    EndpointBody,
    Grant,
    LoanBody,
    grant_id,
    loan_key,
)
from gossip.state.bodies import encode_body
from gossip.state.statements import Statement
from gossip.state.view import Change
from tests.sim.people import identity_of
from tests.unit.gossip.cores import DEFAULT, say

A, B = identity_of("a"), identity_of("b")
POOL = (0x0A200000, 0x0A300000)
MAC = b"\x02abcde"


class Heard:
    def __init__(self, own: str = "me") -> None:
        self.quarantine: set[tuple[bytes, int]] = set()
        self.directory = Directory(identity_of(own), lambda owner, inc: (owner, inc) in self.quarantine)
        self.directory.founder(A)
        self.seq = 0

    def hear(self, name: str, kind: str, key: bytes, body: bytes | None) -> list[object]:
        self.seq += 1
        statement: Statement | None = say(name, (kind, key), (1, self.seq), body)
        self.directory.apply(Change(identity_of(name), (kind, key), None, statement))
        return list(self.directory.refresh())

    def network(self, name: str = "a") -> list[object]:
        return self.hear(name, NETWORK, DEFAULT.key, encode_body(NETWORK, DEFAULT))

    def grant(
        self, name: str, start: int, end: int, to: bytes, version: int, previous: bytes
    ) -> tuple[bytes, list[object]]:
        data = encode_body(GRANT, Grant(1, start, end, to, version, previous))
        key = grant_id(identity_of(name), data)
        return key, self.hear(name, GRANT, key, data)

    def endpoint(self, name: str, number: int = 1, mac: bytes = MAC, address: str = "10.32.0.9/12") -> list[object]:
        body = EndpointBody(1, mac, [(address, number)], name)
        return self.hear(name, ENDPOINT, body.key, encode_body(ENDPOINT, body))

    def loan(self, name: str, to: bytes, number: int, address: int = 0x0A200009) -> list[object]:
        body = LoanBody(1, address.to_bytes(4, "big"), to, number)
        return self.hear(name, LOAN, body.key, encode_body(LOAN, body))


def macs(directory: Directory) -> list[tuple[bytes, bytes]]:
    return [(owner, body.mac) for owner, body in directory.endpoints(None)]


def test_an_endpoint_waits_for_network_and_range() -> None:
    heard = Heard()
    assert heard.endpoint("b") == []
    root, _ = heard.grant("a", *POOL, A, 0, b"")
    assert heard.network() == [NetworkSeen(DEFAULT)]
    _, events = heard.grant("a", POOL[0], POOL[0] + 64, B, 1, root)
    assert [type(event) for event in events] == [EndpointSet]
    assert heard.endpoint("b") == [], "said again, nothing changed"
    assert heard.hear("b", ENDPOINT, b"\0\0\0\1" + MAC, None) == [EndpointGone(B, 1, MAC)]


def test_only_the_meshs_founder_founds() -> None:
    heard = Heard()
    assert heard.network("b") == []
    assert heard.directory.networks == {}


def test_of_two_endpoints_at_one_address_the_greater_number_counts() -> None:
    heard = Heard()
    heard.network()
    heard.grant("a", *POOL, A, 0, b"")
    other = b"\x02other"
    heard.endpoint("a", 1)
    assert [type(event) for event in heard.endpoint("a", 2, other)] == [EndpointGone, EndpointSet]
    assert macs(heard.directory) == [(A, other)]
    assert heard.directory.number_above(1, 0x0A200009) == 2
    heard.endpoint("a", 2**64 - 1, b"\x02absurd"[:6])
    assert heard.directory.number_above(1, 0x0A200009) == 2
    heard.hear("a", ENDPOINT, b"\0\0\0\1" + b"\x02absurd"[:6], None)
    assert macs(heard.directory) == [(A, other)]


def test_endpoints_of_a_quarantined_incarnation_do_not_count() -> None:
    heard = Heard()
    heard.network()
    heard.grant("a", *POOL, A, 0, b"")
    heard.endpoint("a")
    heard.quarantine.add((A, 1))
    heard.directory.suspect({A: None})
    assert heard.directory.refresh() == [EndpointGone(A, 1, MAC)]


def test_an_own_endpoint_that_counts_again_is_told_of() -> None:
    """The host took it out of its table when it counted no longer."""
    heard = Heard("a")
    heard.network()
    heard.grant("a", *POOL, A, 0, b"")
    assert heard.endpoint("a") == [], "it is the host itself that set it"
    for _ in range(2):
        heard.quarantine.add((A, 1))
        heard.directory.suspect({A: None})
        assert heard.directory.refresh() == [EndpointGone(A, 1, MAC)]
        heard.quarantine.clear()
        heard.directory.suspect({A: None})
        assert [type(event) for event in heard.directory.refresh()] == [EndpointSet]
    heard.quarantine.add((A, 1))
    heard.directory.suspect({A: None})
    heard.directory.refresh()
    heard.quarantine.clear()
    assert heard.hear("a", ENDPOINT, b"\0\0\0\1" + MAC, None) == []
    assert heard.endpoint("a") == [], "a new one of that MAC is set by the host"


def test_a_fork_is_told_once() -> None:
    heard = Heard()
    heard.network()
    root, _ = heard.grant("a", *POOL, A, 0, b"")
    heard.grant("a", POOL[0], POOL[0] + 64, B, 1, root)
    _, events = heard.grant("a", POOL[0], POOL[0] + 32, identity_of("c"), 1, root)
    assert [type(event) for event in events] == [Trouble]
    _, events = heard.grant("a", POOL[0] + 512, POOL[0] + 600, B, 1, root)
    assert events == []


def test_a_lent_address_counts_for_its_borrower_with_the_loans_number_alone() -> None:
    heard = Heard()
    heard.network()
    heard.grant("a", *POOL, A, 0, b"")
    assert heard.endpoint("b", 5) == [], "an address of another peer"
    assert heard.loan("b", B, 5) == [], "which it cannot lend to itself"
    assert heard.loan("a", B, 4) == [], "nor was it lent with that number"
    assert [type(event) for event in heard.loan("a", B, 5)] == [EndpointSet]
    assert heard.directory.lent(1, 0x0A200009) == LoanBody(1, bytes((10, 32, 0, 9)), B, 5)
    found = heard.directory.holder(1, 0x0A200009)
    assert found is not None and found[0] == B and heard.directory.says(B, 1, 0x0A200009)
    assert heard.directory.number_above(1, 0x0A200009) == 5
    assert heard.hear("a", LOAN, loan_key(1, 0x0A200009), None) == [EndpointGone(B, 1, MAC)]
    assert heard.directory.lent(1, 0x0A200009) is None and heard.directory.holder(1, 0x0A200009) is None


def test_the_owners_endpoint_loses_against_its_later_loan_and_an_earlier_loan_against_its_endpoint() -> None:
    for number, owner in ((6, B), (4, A)):
        heard = Heard()
        heard.network()
        heard.grant("a", *POOL, A, 0, b"")
        heard.endpoint("a", 5)
        heard.endpoint("b", number, b"\x02other")
        heard.loan("a", B, number)
        assert [who for who, _ in heard.directory.endpoints(1)] == [owner]


def test_a_loan_ends_with_the_lenders_ownership() -> None:
    heard = Heard()
    heard.network()
    root, _ = heard.grant("a", *POOL, A, 0, b"")
    heard.loan("a", B, 5)
    heard.endpoint("b", 5)
    _, events = heard.grant("a", POOL[0], POOL[0] + 64, identity_of("c"), 1, root)
    assert events == [EndpointGone(B, 1, MAC)] and heard.directory.lent(1, 0x0A200009) is None
