"""What peers are called: which one an operator means, and which ones bear one name. PURE.

Rule: an identity says who a peer is, a name is for people. Two peers with one name (a host that lost its disk and came
back, or two that joined at two hosts in the same moment) both go on; every host says so until one is gone.
Reference: docs/membership.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gossip.events import PeerView
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["NOTICES_MAX", "find_peer", "name_notices", "namesakes"]

SHORTEST_ID: Final = 8
"""So many hex digits name a peer at least: fewer are a typing mistake sooner than an id."""
NOTICES_MAX: Final = 8
_SHOWN_ID: Final = 16
_SHOWN_PEERS: Final = 4


def find_peer(views: Sequence[PeerView], text: str) -> PeerView:
    """The peer of that name, live ones first, or whose id begins so.  Raises MeshnetError for none, or several."""
    named = [view for view in views if view.body.name == text]
    found = [view for view in named if _is_live(view)] or named
    if not found and len(text) >= SHORTEST_ID:
        found = [view for view in views if view.identity.hex().startswith(text)]
    if not found:
        raise MeshnetError(
            f"there is no peer {text[:64]}",
            "no peer of the mesh has this name, or an id that begins so",
            "`meshnet peer ls` lists them",
            ExitCode.NOT_FOUND,
        )
    if len(found) > 1:
        ids = ", ".join(view.identity.hex()[:_SHOWN_ID] for view in found)
        raise MeshnetError(f"{text[:64]} is more than one peer", f"their ids are {ids}", "name it by its id")
    return found[0]


def namesakes(views: Iterable[PeerView]) -> dict[str, list[PeerView]]:
    """The names that several live peers bear, with those peers, by name."""
    named: dict[str, list[PeerView]] = {}
    for view in views:
        if _is_live(view):
            named.setdefault(view.body.name, []).append(view)
    return {name: named[name] for name in sorted(named) if len(named[name]) > 1}


def name_notices(views: Iterable[PeerView], own: bytes) -> list[dict[str, object]]:
    """What an operator should know of names that several peers bear; `own`: this host's identity."""
    return [_notice(name, bearers, own) for name, bearers in list(namesakes(views).items())[:NOTICES_MAX]]


def _notice(name: str, bearers: Sequence[PeerView], own: bytes) -> dict[str, object]:
    listed = ", ".join(_described(view, own) for view in bearers[:_SHOWN_PEERS])
    more = f" and {len(bearers) - _SHOWN_PEERS} more" if len(bearers) > _SHOWN_PEERS else ""
    return {
        "what": f"{len(bearers)} peers are called {name}",
        "why": f"their ids are {listed}{more}; all of them work",
        "fix": "if one is gone for good, `meshnet peer revoke ID` on an admin's host; else on one of them"
        " `meshnet leave`, then join with another --name",
    }


def _described(view: PeerView, own: bytes) -> str:
    remark = " (this host)" if view.identity == own else "" if view.reachable else " (unreachable)"
    return view.identity.hex()[:_SHOWN_ID] + remark


def _is_live(view: PeerView) -> bool:
    return not view.left and not view.revoked
