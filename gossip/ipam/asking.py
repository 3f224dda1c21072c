"""All that may have to ask another peer: claims of networks, shares and loans of addresses, and their requests.

Purpose: one part for `gossip.node`, so that every step ends with whatever grants made possible.
Rule: one request of another peer is answered at a time, and its grant interpreted before the next is looked at: two
claims of one name that come together must not both find it free. A host that does not count, or has a clone, gives
nothing, and ends no loan: what is asked of it is dropped.
Flow: node's step -> `apply` each change -> `act` until it says nothing more.
Reference: design §6.
"""

from __future__ import annotations

from gossip.events import Output
from gossip.ipam.addresses import Addresses
from gossip.ipam.loans import Loans
from gossip.ipam.requests import Requests
from gossip.ipam.shares import Shares
from gossip.networks.claims import Claims
from gossip.networks.networks import Directory
from gossip.people.roster import Roster
from gossip.state.address_bodies import NUMBER_POOL
from gossip.state.replica import Replica
from gossip.state.view import Change

_AT_ONCE = 0.0


class Asking:
    """Requests, claims, shares and loans of one peer."""

    def __init__(self, replica: Replica, directory: Directory, roster: Roster, addresses: Addresses) -> None:
        self._replica = replica
        self._roster = roster
        self._requests = Requests(replica)
        self.claims = Claims(replica, directory, roster, addresses, self._requests)
        self.loans = Loans(replica, directory, roster, addresses, self._requests)
        self.shares = Shares(replica, directory, roster, addresses, self._requests, self.loans)
        self._gives = False  # when last looked at: loans end, and requests are answered

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        self._requests.apply(change)
        self.loans.apply(change)

    def act(self, out: Output, now: float) -> bool:
        """Settle what can be settled and look at one request; whether to interpret and call again."""
        settled = self.claims.act(out, now)
        shared = self.shares.act(out, now)
        replica = self._replica
        self._gives = not (self._roster.barred(replica.identity) or replica.clones.alive(now) or replica.doubt.alive)
        lent = self._gives and self.loans.act(out, now)
        if settled or shared or lent:
            return True
        taken = self._requests.take()
        if taken is None:
            return False
        asker, request = taken
        if self._gives:
            (self.claims if request.network == NUMBER_POOL else self.shares).answer(out, asker, request)
        return True

    def end(self, out: Output) -> None:
        """This peer leaves."""
        self.claims.end(out)
        self.shares.end(out)

    def next_time(self) -> float | None:
        """When `act` wants to be called without anything having been heard."""
        times = [_AT_ONCE if self._requests.waiting else None, self.claims.next_time(), self.shares.next_time()]
        times.append(self.loans.next_time() if self._gives else None)
        return min((at for at in times if at is not None), default=None)
