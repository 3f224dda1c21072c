"""Names: which peer is meant, and two of one name are told to everybody until one of them is gone."""

from __future__ import annotations

import pytest

from gossip.events import PeerView
from gossip.state.bodies import PeerBody
from meshnet.control.names import NOTICES_MAX, find_peer, name_notices, namesakes
from meshnet.errors import ExitCode, MeshnetError

OWN, OLD, NEW = b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32


def seen(
    identity: bytes, name: str, *, reachable: bool = True, left: bool = False, revoked: bool = False, addresses: int = 1
) -> PeerView:
    body = PeerBody(name, ["192.0.2.2:6799"] * addresses, bytes(32), [b"c"], bytes(8), "1")
    return PeerView(identity, body, reachable, left, 1, revoked)


def test_two_of_one_name_are_named_with_their_ids_and_what_to_do() -> None:
    views = [seen(OWN, "a"), seen(OLD, "web", reachable=False), seen(NEW, "web")]
    (notice,) = name_notices(views, OWN)
    assert notice["what"] == "2 peers are called web"
    assert notice["why"] == f"their ids are {'0b' * 8} (unreachable), {'0c' * 8}; all of them work"
    assert "peer revoke ID" in str(notice["fix"]) and "--name" in str(notice["fix"])
    assert namesakes(views) == {"web": views[1:]}


def test_the_host_itself_is_one_of_them() -> None:
    (notice,) = name_notices([seen(OWN, "web"), seen(NEW, "web")], OWN)
    assert f"{'0a' * 8} (this host), {'0c' * 8};" in str(notice["why"])


@pytest.mark.parametrize("end", [{"left": True}, {"revoked": True}, {"name": "other"}])
def test_it_ends_when_one_leaves_is_revoked_or_is_called_otherwise(end: dict[str, object]) -> None:
    changed = seen(OLD, str(end.pop("name", "web")), **end)  # type: ignore[arg-type]
    assert name_notices([changed, seen(NEW, "web")], OWN) == []


def test_what_is_told_is_bounded() -> None:
    views = [seen(bytes([number]) * 32, f"n{number % 20}") for number in range(200)]
    told = name_notices(views, OWN)
    assert len(told) == NOTICES_MAX
    assert all(len(str(notice["why"])) < 200 and "and 6 more" in str(notice["why"]) for notice in told)


def test_a_peer_is_found_by_its_name_or_the_beginning_of_its_id() -> None:
    views = [seen(OWN, "a"), seen(OLD, "web", left=True), seen(NEW, "web")]
    assert find_peer(views, "web").identity == NEW, "live ones first"
    assert find_peer(views, "0b0b0b0b").identity == OLD
    assert find_peer(views[:2], "web").identity == OLD
    for text in ("0b0b", "nobody", "ff" * 32):
        with pytest.raises(MeshnetError) as refusal:
            find_peer(views, text)
        assert refusal.value.code is ExitCode.NOT_FOUND


def test_a_name_of_two_asks_for_an_id() -> None:
    with pytest.raises(MeshnetError, match=f"{'0b' * 8}, {'0c' * 8}.*by its id"):
        find_peer([seen(OLD, "web"), seen(NEW, "web")], "web")
